// A client of one channel: a browser WebSocket, and the next one when it is lost. man xmppws-channels has the messages.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
const PING_INTERVAL = 20_000;
const HISTORY = 20;

// The same again would end the same: close reasons, and error codes.
const FINAL_ENDS = new Set(["token-invalid", "token-expired", "kicked"]);
const FINAL_ERRORS = new Set(["bad-channel", "bad-event", "conflict", "not-allowed", "refused", "removed"]);

/**
 * `listener` has the methods connecting(), joined(user, users), entered(sender), left(sender), message(told),
 * failed(error) of a request, waiting(end, milliseconds), and ended(end) when it does not come back. An end is {code, text}:
 * an error of the server's, the reason of its close frame, or "unreachable", "lost" or "silent" where there is none.
 */
export class Channel {
  #url;
  #token;
  #name;
  #listener;
  #events = new Set();
  #user = "";
  #isIn = false;
  #socket = null;
  #failures = 0;
  #wake = 0;
  #pinging = 0;
  #isSilent = false;
  #newest = 0;
  #seenUntil = 0;

  constructor({ url, token, name, events }, listener) {
    this.#url = url;
    this.#token = token;
    this.#name = name;
    this.#events = new Set(events);
    this.#listener = listener;
  }

  /** Connect, and stay connected until `close` or an end that is final. Throws what `new WebSocket` does. */
  open() {
    clearTimeout(this.#wake);
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#listener.connecting();
    const current = (handle) => (event) => socket === this.#socket && handle(event);
    // In a message, not in the URL, which proxies write into their logs.
    let code = "unreachable";
    socket.addEventListener("open", current(() => {
      code = "lost";
      this.#send({ type: "auth", token: this.#token });
    }));
    socket.addEventListener("message", current(({ data }) => this.#received(JSON.parse(data))));
    socket.addEventListener("close", current(({ reason }) => this.#lost(endOf(reason, code))));
    this.#isSilent = false;
    this.#pinging = setInterval(() => this.#ping(), PING_INTERVAL);
  }

  /** Leave for good. */
  close() {
    clearTimeout(this.#wake);
    this.#drop();
  }

  /** Send data to all who are subscribed to an event; it comes back as everybody gets it. */
  publish(event, data) {
    this.#send({ type: "publish", channel: this.#name, event, data });
  }

  /** Get the messages of an event. An event is exactly its name: "signal:all" is not "signal". */
  subscribe(event) {
    this.#events.add(event);
    this.#send({ type: "subscribe", channel: this.#name, event });
  }

  /** Get them no more. */
  unsubscribe(event) {
    this.#events.delete(event);
    this.#send({ type: "unsubscribe", channel: this.#name, event });
  }

  #send(request) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(request));
  }

  #received(told) {
    this.#isSilent = false;
    if (told.type === "authenticated") this.#join(told.user);
    else if (told.type === "subscribed") this.#joined(told.users);
    else if (told.type === "message") this.#message(told);
    else if (told.type === "enter") this.#listener.entered(told.sender);
    else if (told.type === "leave") this.#listener.left(told.sender);
    else if (told.type === "pong" && told.id === "joined") this.#seenUntil = 0;
    else if (told.type === "error") this.#error(told);
  }

  #join(user) {
    this.#user = user;
    // What is told again on coming back has been seen; the answer to the ping comes behind it.
    this.#seenUntil = this.#newest;
    for (const event of this.#events) {
      this.#send({ type: "subscribe", channel: this.#name, event, history: HISTORY });
    }
    this.#send({ type: "ping", id: "joined" });
  }

  #joined(users) {
    this.#isIn = true;
    this.#failures = 0;
    this.#listener.joined(this.#user, users);
  }

  #message(told) {
    if (told.timestamp <= this.#seenUntil) return;
    this.#newest = Math.max(this.#newest, told.timestamp);
    this.#listener.message(told);
  }

  #error(error) {
    // The close frame follows, and says the same.
    if (error.code === "token-invalid") return;
    if (this.#isIn && error.code !== "removed") this.#listener.failed(error);
    else this.#lost(error);
  }

  // A browser notices only after minutes that nobody is there any more.
  #ping() {
    if (this.#isSilent) return this.#lost({ code: "silent", text: "" });
    this.#isSilent = true;
    this.#send({ type: "ping" });
  }

  #lost(end) {
    this.#drop();
    if (FINAL_ENDS.has(end.code) || FINAL_ERRORS.has(end.code)) return this.#listener.ended(end);
    const longest = Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE);
    // Not all pages at once when a server has restarted.
    const milliseconds = longest * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#listener.waiting(end, milliseconds);
    this.#wake = setTimeout(() => this.open(), milliseconds);
  }

  #drop() {
    clearInterval(this.#pinging);
    this.#isIn = false;
    this.#socket?.close();
    this.#socket = null;
  }
}

/** Read the reason of a close frame, which is "id: sentence"; the id is stable. */
function endOf(reason, otherwise) {
  const [, code = otherwise, text = reason] = /^([a-z0-9-]+): (.*)$/su.exec(reason) ?? [];
  return { code, text };
}
