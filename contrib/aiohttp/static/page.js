// The application's own API, which asks the chat server in the same process.
const answer = await fetch("/api/status");
const { online } = await answer.json();
document.getElementById("online").textContent = online;
