// The console: connects what happens on the stream with what is on the page.
// Read next: connection.js (stays logged in), session.js (goes on with one stream after another), login.js (from one to the
// other), stream.js (RFC 7395), sasl.js and scram.js; kept.js is about reloads, seen.js shows what the server sees of this
// page.

import { Chats } from "./chat.js";
import { Connection } from "./connection.js";
import { Contacts } from "./contacts.js";
import { Frames } from "./frames.js";
import { bare, complete, split } from "./jid.js";
import { keptLogin, keptSession } from "./kept.js";
import { Rooms } from "./rooms.js";
import { CAN_SCRAM, LoginFailed } from "./sasl.js";
import { Seen } from "./seen.js";
import { Requests, showActions } from "./subscriptions.js";
import { inWords, refusedByRoom } from "./words.js";
import { NotWellFormed } from "./xml.js";

const byId = (id) => document.getElementById(id);

class Console {
  #url = endpoint();
  #connection = null;
  #open = "";
  // Who has typed a password last, and what the login needs (connection.js).
  #typed = "";
  #account = null;
  #contacts = new Contacts(byId("contacts"), (jid) => this.#openChat(jid));
  #requests = new Requests(byId("requests"), (jid, type) => this.#connection.session.sendSubscription(jid, type));
  #chats = new Chats(byId("log"));
  #rooms = new Rooms({ room: (jid, count) => this.#room(jid, count), out: (jid, why) => this.#out(jid, why) });
  #frames = new Frames(byId("frame-list"), byId("frame-count"));
  #seen = new Seen(byId("facts"), byId("warnings"), byId("seen-summary"));

  start() {
    byId("endpoint").textContent = this.#url;
    byId("clear-text").hidden = CAN_SCRAM;
    for (const id of ["jid", "new-jid"]) byId(id).placeholder = `name@${defaultDomain()}`;
    byId("room").placeholder = `room@conference.${defaultDomain()}`;
    onSubmit("login", () => this.#login());
    onSubmit("new-chat", () => this.#newChat());
    onSubmit("join", () => this.#join());
    onSubmit("compose", () => this.#send());
    onSubmit("type", () => this.#sendTyped());
    onSubmit("presence", () => {});
    byId("presence").addEventListener("change", () => this.#connection.session.appear(ownPresence()));
    for (const id of ["body", "stanza"]) byId(id).addEventListener("keydown", sendOnEnter);
    byId("logout").addEventListener("click", () => this.#connection.leave());
    byId("reconnect").addEventListener("click", () => this.#connection.retry());
    byId("clear-frames").addEventListener("click", () => this.#frames.clear());
    byId("check").addEventListener("click", () => this.#seen.check());
    byId("jid").focus();
    addEventListener("pagehide", () => this.#keep());
    // A page that comes back from the browser's cache still has its session.
    addEventListener("pageshow", ({ persisted }) => persisted && keptSession.forget());
    this.#goOn();
    this.#seen.check();
  }

  // --- A reload ---

  #keep() {
    // Without a token the next page has to ask for the password.
    if (!this.#connection || !this.#account.token) return;
    keptSession.value = {
      session: this.#connection.session.state,
      contacts: this.#contacts.state,
      requests: this.#requests.state,
      chats: this.#chats.state,
      rooms: this.#rooms.state,
      open: this.#open,
      draft: byId("body").value,
      presence: ownPresence(),
    };
  }

  #goOn() {
    const [login, kept] = [keptLogin.value, keptSession.value];
    keptSession.forget();
    if (!login) return;
    byId("jid").value = this.#typed = login.typed;
    if (kept) this.#restore(kept);
    showApp(true);
    this.#connect(login.account, kept?.session);
  }

  #restore({ session, contacts, requests, chats, rooms, open, draft, presence }) {
    byId("show").value = presence.show;
    byId("own-status").value = presence.status;
    byId("me").textContent = byId("me").title = session.jid;
    this.#contacts.restore(contacts);
    requests.forEach((jid) => this.#requests.add(jid));
    this.#chats.restore(chats);
    this.#rooms.restore(rooms);
    this.#contactsChanged();
    if (open) this.#openChat(open);
    byId("body").value = draft;
  }

  // --- The connection ---

  #login() {
    const jid = complete(byId("jid").value, defaultDomain());
    const { local: username, domain, resource } = split(jid);
    if (!username || !domain) return showProblem(`“${jid}” is no address; it looks like name@${defaultDomain()}.`);
    showProblem("");
    byId("login").inert = true;
    // After an end that nobody wanted the same account finds its chats again.
    if (jid !== this.#typed) this.#forget();
    this.#typed = jid;
    this.#connect({ username, domain, resource, password: byId("password").value, agent: "", token: "" });
  }

  #connect(account, state) {
    this.#account = account;
    this.#connection = new Connection(this.#url, account, ownPresence(), this.#listener(), state);
    this.#connection.run();
  }

  #listener() {
    return {
      connecting: () => this.#status("connecting", "Connecting…"),
      bound: (jid, isResumed) => this.#bound(jid, isResumed),
      waiting: (error, milliseconds) => this.#waiting(error, milliseconds),
      ended: (error) => this.#ended(error),
      loggedOut: (isTold) => this.#loggedOut(isTold),
      contact: (item) => this.#contact(item),
      presence: (presence) => this.#contacts.presence(presence),
      request: (jid) => this.#requests.add(jid),
      message: (message) => this.#arrived(message),
      said: (said) => this.#said(said),
      excluded: (room, error) => this.#rooms.out(room, refusedByRoom(error)),
      failed: (failure) => this.#failed(failure),
      isKnown: (jid, id) => this.#chats.isArchived(jid, id),
      refused: (error) => (byId("status").textContent = inWords(error)),
      frame: (direction, text) => this.#frames.add(direction, text),
      ponged: (milliseconds) => this.#ponged(milliseconds),
      rooms: this.#rooms,
    };
  }

  #bound(jid, isResumed) {
    this.#status("online", isResumed ? "Online again." : "Online.");
    if (!isResumed) this.#contacts.forgetPresence();
    const { password, ...account } = this.#account;
    if (account.token) keptLogin.value = { typed: this.#typed, account };
    byId("password").value = "";
    byId("me").textContent = byId("me").title = jid;
    if (!byId("app").hidden) return;
    showApp(true);
    byId("new-jid").focus();
  }

  #waiting(error, milliseconds) {
    this.#status("waiting", `${inWords(error)} Reconnecting in ${Math.ceil(milliseconds / 1000)} s…`);
  }

  #ponged(milliseconds) {
    const rounded = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
    byId("ping").textContent = `Ping ${rounded} ms`;
    byId("ping").hidden = false;
  }

  #ended(error) {
    this.#connection = null;
    if (!error) this.#forget();
    if (!error || error instanceof LoginFailed) keptLogin.forget();
    showApp(false);
    this.#status("offline", error ? "Not logged in." : "Logging out…");
    showProblem(error ? inWords(error) : "");
    byId(error ? "password" : "jid").focus();
  }

  #loggedOut(isTold) {
    const rest = isTold ? "" : " The server could not be told: until its end the token is good for who has it.";
    if (!this.#connection) byId("status").textContent = `Logged out.${rest}`;
  }

  #forget() {
    this.#open = "";
    this.#contacts.clear();
    this.#requests.clear();
    this.#chats.clear();
    this.#rooms.clear();
    closeChat();
  }

  #status(state, text) {
    byId("bar").dataset.state = state;
    byId("status").textContent = text;
    byId("reconnect").hidden = state !== "waiting";
    if (state !== "online") byId("ping").hidden = true;
    // What is being written stays; it can be sent when the stream is back.
    for (const id of ["compose", "type"]) byId(id).querySelector("button").disabled = state !== "online";
    for (const id of ["presence", "requests", "actions"]) byId(id).inert = state !== "online";
  }

  #contact(item) {
    if (item.subscription === "remove") this.#contacts.remove(item.jid);
    else this.#contacts.set(item);
    this.#contactsChanged();
  }

  #contactsChanged() {
    byId("no-contacts").hidden = this.#contacts.size > 0;
    if (this.#open) showActions(byId("actions"), this.#contacts.get(this.#open), (type) => this.#act(this.#open, type));
  }

  #act(jid, type) {
    const { session } = this.#connection;
    if (type === "enter") this.#enter(jid);
    else if (type === "leave") this.#rooms.leave(session, jid);
    else if (type === "set") {
      const name = prompt(`Name for ${jid}`, this.#contacts.get(jid).name);
      if (name !== null) session.setContact({ jid, name });
    } else if (type === "remove") {
      if (confirm(`Remove ${jid} from your roster?`)) session.setContact({ jid, subscription: "remove" });
    } else session.sendSubscription(jid, type);
  }

  #newChat() {
    const jid = bare(complete(byId("new-jid").value, defaultDomain()));
    byId("new-jid").value = "";
    this.#openChat(jid);
  }

  #openChat(jid) {
    this.#open = jid;
    this.#contacts.add(jid);
    this.#contacts.select(jid);
    this.#contactsChanged();
    this.#chats.open(jid);
    byId("chat-title").textContent = jid;
    byId("no-chat").hidden = true;
    byId("compose").hidden = false;
    byId("body").focus();
  }

  #arrived({ jid, body, mine, id, archiveId, delay }) {
    const contact = bare(jid);
    const nick = this.#rooms.has(contact) && !mine ? `${split(jid).resource} (to you alone)` : "";
    // The archive tells again what came by itself meanwhile.
    if (!this.#chats.add(contact, body, { mine, id, archiveId, delay, nick })) return;
    this.#contacts.add(contact);
    if (!mine) this.#contacts.arrived(contact);
    this.#contactsChanged();
  }

  #send() {
    const body = byId("body").value.trim();
    if (!body || byId("bar").dataset.state !== "online") return;
    const { session } = this.#connection;
    // A room sends to all what it takes, also to who has said it.
    if (this.#contacts.get(this.#open).isRoom) session.sendMessage(this.#open, body, "groupchat");
    else this.#chats.add(this.#open, body, { mine: true, id: session.sendMessage(this.#open, body, "chat") });
    byId("body").value = "";
  }

  #join() {
    if (byId("bar").dataset.state !== "online") return;
    const jid = bare(complete(byId("room").value, `conference.${defaultDomain()}`));
    byId("room").value = "";
    if (!this.#rooms.has(jid)) this.#enter(jid);
    this.#openChat(jid);
  }

  #enter(jid) {
    this.#rooms.enter(this.#connection.session, jid, split(byId("me").textContent).local);
    this.#contacts.room(jid, 0);
  }

  #room(jid, count) {
    this.#contacts.room(jid, count);
    this.#contactsChanged();
  }

  #out(jid, why) {
    this.#room(jid, 0);
    this.#chats.note(jid, why);
  }

  #said(said) {
    const { room, nick, body, delay } = said;
    if (!this.#rooms.isNew(said)) return;
    const mine = this.#rooms.isOwn(room, nick);
    if (!mine) this.#contacts.arrived(room);
    this.#chats.add(room, body, { mine, nick, delay });
  }

  #failed({ jid, id, error }) {
    const contact = bare(jid);
    if (this.#contacts.get(contact).isRoom) this.#chats.note(contact, `Not delivered. ${refusedByRoom(error)}`);
    else this.#chats.failed(contact, id, inWords(error));
  }

  #sendTyped() {
    try {
      this.#connection.session.sendText(byId("stanza").value);
      byId("stanza").value = "";
    } catch (error) {
      if (!(error instanceof NotWellFormed)) throw error;
      this.#frames.add("note", `This is not well-formed and was not sent: ${error.message}`);
    }
  }
}

/** The WebSocket URL: the path that the server wrote into the page, on the host that the page came from. */
function endpoint() {
  const url = new URL(document.querySelector("meta[name=xmpp-websocket]").content, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The domain of an address that is typed without one. */
function defaultDomain() {
  const isAddress = /^[\d.]+$|^\[/.test(location.hostname);
  return isAddress ? "localhost" : location.hostname;
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

function ownPresence() {
  return { show: byId("show").value, status: byId("own-status").value.trim() };
}

function showApp(shown) {
  byId("login").inert = false;
  for (const id of ["app", "logout", "me", "presence", "type"]) byId(id).hidden = !shown;
  byId("login").hidden = shown;
}

function closeChat() {
  byId("chat-title").textContent = "No chat is open";
  byId("actions").replaceChildren();
  byId("no-chat").hidden = false;
  byId("no-contacts").hidden = false;
  byId("compose").hidden = true;
  byId("body").value = "";
}

function showProblem(text) {
  byId("login-problem").textContent = text;
  byId("login-problem").hidden = !text;
}

new Console().start();
