// What runs in the console page to tell what can be seen there.

/** Tell each change of the page from now on, through the page's functions `tellTest` and `received`. */
export function observe() {
  const byId = (id) => document.getElementById(id);
  const SHOWS = { online: "online", away: "away", chat: "free for chat", dnd: "do not disturb", xa: "away for long" };
  let isBegun = false;
  let online = false;
  let problem = "";
  let contacts = new Map();
  const known = new WeakSet();

  function contact(button) {
    const { subscription, ask, presence } = button.dataset;
    const [name, state] = [...button.children].map((part) => part.textContent);
    const jid = button.title;
    return { jid, name: name === jid ? "" : name, subscription, ask, presence, state };
  }

  function seen() {
    return [...document.querySelectorAll("#contacts button")].map(contact);
  }

  /** The roster that is shown. */
  globalThis.roster = () =>
    seen()
      .filter(({ subscription }) => subscription)
      .map(({ jid, name, subscription, ask }) => ({ jid, name, subscription, ask }));

  function compareContacts() {
    const found = new Map(seen().map((each) => [each.jid, each]));
    for (const [jid, now] of found) compare(contacts.get(jid) ?? { subscription: "", presence: "offline" }, now);
    for (const [jid, { subscription }] of contacts) {
      if (subscription && !found.has(jid)) tellOnline("contact", { jid, subscription: "remove" });
    }
    contacts = found;
  }

  function compare(before, now) {
    const { jid, name, subscription, ask, presence, state } = now;
    const differs = (...keys) => keys.some((key) => before[key] !== now[key]);
    if (subscription && differs("name", "subscription", "ask")) tellOnline("contact", { jid, name, subscription, ask });
    if (presence === "offline" && differs("presence")) {
      tellOnline("presence", { from: jid, type: "unavailable", show: "", status: "" });
    } else if (presence !== "offline" && differs("presence", "state")) {
      const show = presence === "online" ? "" : presence;
      const status = state === SHOWS[presence] ? "" : state;
      tellOnline("presence", { from: jid, type: "available", show, status });
    }
  }

  function tellOnline(event, facts) {
    // Without a connection the page knows of nobody.
    if (online) globalThis.tellTest(event, facts);
  }

  function frame(entry) {
    const text = entry.querySelector("code").textContent;
    if (entry.className === "received") globalThis.received(text);
    // The page sends its presence once the roster has come.
    else if (!isBegun && text.startsWith("<presence")) {
      isBegun = online = true;
      globalThis.tellTest("online", { jid: byId("me").textContent, roster: globalThis.roster() });
    }
  }

  function message(entry) {
    const from = entry.parentElement.dataset.jid;
    const delay = entry.querySelector("time.delayed")?.dateTime ?? null;
    globalThis.tellTest("message", { from, body: entry.querySelector(".body").textContent, delay });
  }

  function undelivered(why) {
    const entry = why.parentElement;
    const [, condition] = /\(([a-z-]+)\)\.?$/u.exec(why.textContent);
    globalThis.tellTest("undelivered", { from: entry.parentElement.dataset.jid, id: entry.dataset.id, condition });
  }

  function added(node) {
    if (!(node instanceof Element) || known.has(node)) return;
    known.add(node);
    if (node.matches("#frame-list li")) frame(node);
    else if (node.matches("#log li.theirs")) message(node);
    else if (node.matches("#log .why")) undelivered(node);
    else if (node.matches("#requests li")) globalThis.tellTest("presence", { from: node.dataset.jid, type: "subscribe" });
    else if (node.matches("#log ol")) [...node.children].forEach(added);
  }

  function compareState() {
    const isOnline = byId("bar").dataset.state === "online";
    if (online && !isOnline) globalThis.tellTest("offline", {});
    // When its session goes on, it has nothing to send.
    online = isBegun && isOnline;
    const before = problem;
    problem = byId("login-problem").textContent;
    if (!problem || problem === before) return;
    globalThis.tellTest("refused", { condition: /\(([a-z-]+)\)/u.exec(problem)?.[1] ?? problem });
  }

  const options = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver((changes) => {
    compareState();
    compareContacts();
    for (const { addedNodes } of changes) addedNodes.forEach(added);
  }).observe(document.body, options);
}
