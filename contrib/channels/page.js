// The page: what is typed goes to the channel, and what the channel tells is shown. Text is only ever set as text.

import { Channel } from "./channels.js";
import { inWords } from "./words.js";

const TEXT = "message";
const REACTION = "signal:reaction";
const NAME = /^[\u4e00-\u9fa5a-zA-Z0-9 _-]{2,12}$/u;
const MOST_ENTRIES = 500;

const byId = (id) => document.getElementById(id);

class Room {
  #channel = null;
  #user = "";
  #people = new Map();

  start() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    byId("server").value = wanted.get("server") ?? location.origin;
    byId("channel").value = wanted.get("channel") ?? "";
    byId("token").value = wanted.get("token") ?? "";
    if (wanted.has("token")) showAddress(wanted.get("server"), wanted.get("channel"));
    onSubmit("join", () => this.#join());
    onSubmit("compose", () => this.#say());
    byId("text").addEventListener("keydown", sendOnEnter);
    byId("leave").addEventListener("click", () => this.#leave());
    byId("show-reactions").addEventListener("change", ({ target }) => this.#showReactions(target.checked));
    for (const button of document.querySelectorAll("#reactions button")) {
      button.addEventListener("click", () => this.#channel.publish(REACTION, { text: button.value }));
    }
    const empty = ["server", "channel", "token"].map(byId).find((input) => !input.value);
    (empty ?? byId("join").querySelector("button")).focus();
  }

  #join() {
    const [server, name, token] = ["server", "channel", "token"].map((id) => byId(id).value);
    if (!NAME.test(name)) return showProblem(inWords({ code: "bad-channel", text: "" }));
    showProblem("");
    clearEntries();
    const events = byId("show-reactions").checked ? [TEXT, REACTION] : [TEXT];
    try {
      this.#channel = new Channel({ url: endpoint(server), token: token.trim(), name, events }, this.#listener(name));
      this.#channel.open();
    } catch (error) {
      // A page that came by https may not connect by http.
      return showProblem(`This address cannot be used: ${error.message}`);
    }
    byId("join").inert = true;
    showAddress(server, name);
  }

  #listener(name) {
    return {
      connecting: () => showState("connecting", "Connecting…"),
      joined: (user, users) => this.#joined(name, user, users),
      entered: (sender) => this.#present([...this.#people.values(), sender]),
      left: ({ nick }) => this.#present([...this.#people.values()].filter((other) => other.nick !== nick)),
      message: (told) => this.#message(told),
      failed: (error) => showFailure(inWords(error)),
      waiting: (end, milliseconds) => this.#waiting(end, milliseconds),
      ended: (end) => this.#ended(inWords(end)),
    };
  }

  #joined(name, user, users) {
    this.#user = user;
    byId("title").textContent = document.title = name;
    byId("me").textContent = byId("me").title = user;
    showState("in", "You are in the room.");
    this.#present(users);
    if (byId("room").hidden) {
      showRoom(true);
      byId("text").focus();
    }
  }

  #waiting(end, milliseconds) {
    this.#present([]);
    showState("waiting", `${inWords(end)} Trying again in ${Math.ceil(milliseconds / 1000)} s…`);
  }

  #leave() {
    this.#channel.close();
    this.#ended("");
  }

  #ended(problem) {
    this.#present([]);
    showRoom(false);
    showState("out", "Not in a room.");
    showProblem(problem);
    byId("title").textContent = document.title = "Shared room";
    byId("token").focus();
  }

  #present(users) {
    this.#people = new Map(users.map((user) => [user.nick, user]));
    byId("people").replaceChildren(...users.map((user) => person(user, user.id === this.#user)));
    byId("count").textContent = users.length || "";
  }

  // `sender` is the server's word, whatever stands in `data`.
  #message({ event, data, sender, timestamp }) {
    const text = typeof data?.text === "string" ? data.text : JSON.stringify(data);
    const kinds = [event === REACTION ? "reaction" : "text", sender.id && sender.id === this.#user ? "mine" : "theirs"];
    addEntry(entry(kinds, sender, text, timestamp), timestamp);
  }

  #say() {
    const text = byId("text").value.trim();
    if (!text || document.body.dataset.state !== "in") return;
    showFailure("");
    this.#channel.publish(TEXT, { text });
    byId("text").value = "";
  }

  #showReactions(shown) {
    if (shown) this.#channel.subscribe(REACTION);
    else this.#channel.unsubscribe(REACTION);
  }
}

/** The WebSocket of a server whose base URL somebody typed. */
function endpoint(server) {
  const url = new URL("ws", server.endsWith("/") ? server : `${server}/`);
  url.protocol = { "http:": "ws:", "https:": "wss:" }[url.protocol] ?? url.protocol;
  return url.href;
}

/** Name the room in the page's address, so that it can be passed on; never the token. */
function showAddress(server, channel) {
  const shown = Object.entries({ server, channel }).filter(([, value]) => value);
  history.replaceState(null, "", `#${new URLSearchParams(shown)}`);
}

function showState(state, text) {
  document.body.dataset.state = state;
  byId("status").textContent = text;
  // What is being written stays; it can be sent when the room is back.
  byId("compose").querySelector("button").disabled = state !== "in";
  byId("reactions").inert = state !== "in";
  byId("join").inert = state !== "out";
  byId("leave").hidden = state === "out";
}

function showRoom(shown) {
  byId("room").hidden = byId("me").hidden = !shown;
  byId("join").hidden = shown;
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function showFailure(text) {
  byId("failed").textContent = text && `Not sent. ${text}`;
  byId("failed").hidden = !text;
}

function person({ nick, id }, isOwn) {
  const item = document.createElement("li");
  item.append(span("nick", isOwn ? `${nick} (you)` : nick), span("id", id ?? "address not shown"));
  return item;
}

function entry(kinds, sender, text, timestamp) {
  const item = document.createElement("li");
  item.className = kinds.join(" ");
  item.title = sender.id ? `The server knows the sender as ${sender.id}` : "The server does not tell who the sender is";
  const when = document.createElement("time");
  when.dateTime = new Date(timestamp).toISOString();
  when.textContent = new Date(timestamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.append(span("nick", sender.nick), span("body", text), when);
  return item;
}

/** Add an entry where its time puts it: what was said before comes event by event. */
function addEntry(item, timestamp) {
  const list = byId("entries");
  item.dataset.timestamp = timestamp;
  const before = [...list.children].findLast((other) => Number(other.dataset.timestamp) <= timestamp);
  if (before) before.after(item);
  else list.prepend(item);
  if (list.children.length > MOST_ENTRIES) list.firstChild.remove();
  byId("nothing").hidden = true;
}

function clearEntries() {
  byId("entries").replaceChildren();
  byId("nothing").hidden = false;
  showFailure("");
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}

function onSubmit(id, handler) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handler();
  });
}

function sendOnEnter(event) {
  // While an input method composes a character, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

new Room().start();
