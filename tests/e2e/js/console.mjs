// The console page in Chromium as a client, in the words of tests/libraries.py: it does what a user can do, and tells what
// a user can see. What the page has no controls for is typed as a stanza.
// Arguments: the endpoint, the JID, the password, and where Chromium listens (chromium.mjs).
import { DOMParser } from "@xmldom/xmldom";
import { chromium } from "playwright-core";

import { Refused, answer, tell } from "./lines.mjs";
import { observe } from "./observe.mjs";

const [url, jid, password, browserUrl] = process.argv.slice(2);
const browser = await chromium.connect(browserUrl);
const page = await browser.newPage();
page.setDefaultTimeout(15_000);

const BLOCKING = "urn:xmpp:blocking";
const requests = new Map();
let lastId = 0;
let dialogText = "";

page.on("dialog", (dialog) => dialog.accept(dialogText));
await page.exposeFunction("tellTest", tell);
await page.exposeFunction("received", (text) => {
  const stanza = new DOMParser().parseFromString(text, "text/xml").documentElement;
  requests.get(stanza.getAttribute("id"))?.(stanza);
});
await page.goto(new URL("/", url.replace("ws", "http")).href);
await page.evaluate(observe);
await page.fill("#jid", jid);
await page.fill("#password", password);
await page.click("#login button");

async function openChat(contact) {
  await page.fill("#new-jid", contact);
  await page.press("#new-jid", "Enter");
}

/** Click a button of a contact's; what it asks is answered with the text. */
async function act(contact, label, text = "") {
  dialogText = text;
  await openChat(contact);
  await page.click(`#actions button:text-matches("^${label}")`);
}

/** Answer a subscription request. */
async function answerRequest(contact, label) {
  await page.click(`#requests [data-jid="${contact}"] button:has-text("${label}")`);
}

async function deny({ jid }) {
  const isAsking = await page.locator(`#requests [data-jid="${jid}"]`).count();
  await (isAsking ? answerRequest(jid, "Refuse") : act(jid, "Hide my presence"));
}

async function appear({ show, status }) {
  await page.selectOption("#show", show);
  await page.fill("#own-status", status);
  await page.press("#own-status", "Enter");
}

async function send({ to, body, kind }) {
  if (kind !== "chat" || to.includes("/")) return typeMessage(to, body, kind);
  await openChat(to);
  await page.fill("#body", body);
  await page.press("#body", "Enter");
  return page.locator("#log ol:not([hidden]) li.mine").last().getAttribute("data-id");
}

async function typeMessage(to, body, kind) {
  const id = newId();
  await type(`<message to="${to}" id="${id}" type="${kind}"><body>${escaped(body)}</body></message>`);
  return id;
}

async function type(stanza) {
  if (!(await page.isVisible("#stanza"))) await page.click("#frames summary");
  await page.fill("#stanza", stanza);
  await page.click("#type button");
}

/** Type a request; return the answer's payload. */
async function asked(kind, payload, to) {
  const id = newId();
  const answered = new Promise((resolve) => requests.set(id, resolve));
  await type(`<iq type="${kind}" id="${id}"${to ? ` to="${to}"` : ""}>${payload}</iq>`);
  const stanza = await answered;
  if (stanza.getAttribute("type") === "result") return stanza;
  throw new Refused(elements(stanza, "error")[0].firstChild.nodeName);
}

function newId() {
  lastId += 1;
  return `typed-${lastId}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function elements(stanza, name) {
  return [...stanza.getElementsByTagName(name)];
}

async function discoInfo({ jid }) {
  const info = await asked("get", `<query xmlns="http://jabber.org/protocol/disco#info"/>`, jid);
  return {
    features: elements(info, "feature").map((found) => found.getAttribute("var")),
    identities: elements(info, "identity").map((found) => `${found.getAttribute("category")}/${found.getAttribute("type")}`),
  };
}

async function blocked() {
  const list = await asked("get", `<blocklist xmlns="${BLOCKING}"/>`);
  return elements(list, "item").map((item) => item.getAttribute("jid"));
}

const set = async (payload) => void (await asked("set", payload));

await answer({
  roster: () => page.evaluate("roster()"),
  set: ({ jid, name }) => act(jid, "(Add|Rename)", name),
  remove: ({ jid }) => act(jid, "Remove"),
  subscribe: ({ jid }) => act(jid, "Subscribe"),
  unsubscribe: ({ jid }) => act(jid, "Unsubscribe"),
  approve: ({ jid }) => answerRequest(jid, "Allow"),
  deny,
  presence: appear,
  message: send,
  unknown: ({ jid }) => asked("get", `<query xmlns="urn:example:unknown"/>`, jid),
  block: ({ jid }) => set(`<block xmlns="${BLOCKING}"><item jid="${jid}"/></block>`),
  unblock: ({ jid }) => set(`<unblock xmlns="${BLOCKING}"><item jid="${jid}"/></unblock>`),
  blocked,
  "set-vcard": ({ name }) => set(`<vCard xmlns="vcard-temp"><FN>${escaped(name)}</FN></vCard>`),
  vcard: async ({ jid }) => elements(await asked("get", `<vCard xmlns="vcard-temp"/>`, jid), "FN")[0].textContent,
  disco: discoInfo,
  ping: async () => void (await asked("get", `<ping xmlns="urn:xmpp:ping"/>`)),
  leave: () => page.click("#logout"),
});
await browser.close();
