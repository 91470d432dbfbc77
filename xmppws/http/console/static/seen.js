// The pane of what the server sees: the page asks it, compares that with what the browser knows, and warns.

const WHOAMI = new URL("whoami.json", import.meta.url);
const HOST_META = "/.well-known/host-meta.json";
const WEBSOCKET = "urn:xmpp:alt-connections:websocket";

export class Seen {
  #facts;
  #warnings;
  #summary;

  /** The facts go to a <dl>, the warnings to a <ul>, and the gist of both to the summary. */
  constructor(facts, warnings, summary) {
    this.#facts = facts;
    this.#warnings = warnings;
    this.#summary = summary;
  }

  /** Ask the server, and show what it says. */
  async check() {
    const [whoami, hostMeta] = await Promise.all([json(WHOAMI), json(HOST_META)]);
    if (whoami.problem) return this.#show([], [`${WHOAMI.pathname}: ${whoami.problem}`], "");
    const seen = whoami.document;
    const links = (hostMeta.document?.links ?? []).filter(({ rel }) => rel === WEBSOCKET).map(({ href }) => href);
    const warnings = [...warningsOf(seen), ...hostMetaWarnings(links, hostMeta.problem)];
    this.#show(rows(seen, links), warnings, gist(seen));
  }

  #show(rows, warnings, gist) {
    this.#facts.replaceChildren(...rows.map(([name, values, how]) => row(name, values, how)));
    this.#warnings.replaceChildren(...warnings.map((warning) => make("li", "", warning)));
    this.#summary.replaceChildren(gist);
    if (warnings.length === 0) return;
    const count = warnings.length === 1 ? "1 warning" : `${warnings.length} warnings`;
    this.#summary.append(make("span", "alarm", count));
  }
}

function rows(seen, links) {
  return [
    ["Your address", [seen.address.value], sentence(seen.address.how)],
    ["Secure", [seen.secure.value ? "yes" : "no"], `Because ${seen.secure.how}.`],
    ["Virtual host", seen.virtual_host.value.length ? seen.virtual_host.value : ["none"], sentence(seen.virtual_host.how)],
    ["WebSocket", [seen.websocket], "As the server understands this request."],
    ["host-meta", links.length ? links : ["no link"], "What clients find that look the endpoint up (XEP-0156)."],
    ["Headers", seen.headers.map(([name, value]) => `${name}: ${value}`), "Those that decide the above, as they came."],
    ["Server", [`xmppws ${seen.version}`], ""],
  ];
}

function gist({ address, secure, virtual_host: { value: hosts } }) {
  return `${address.value} · ${secure.value ? "secure" : "not secure"} · ${hosts.join(", ") || "no virtual host"}`;
}

function* warningsOf(seen) {
  const host = seen.headers.find(([name]) => name === "Host")?.[1] ?? "";
  if (seen.virtual_host.value.length === 0) yield sentence(seen.virtual_host.how);
  if (hostname(host) !== location.hostname) {
    yield `You asked for ${location.hostname}, but the server got the Host ${host}: let the proxy keep Host.`;
  }
  if (!seen.secure.value) yield insecure();
  yield* seen.notes.map(sentence);
}

function insecure() {
  const proxy = "list the proxy in trusted_proxies and let it set X-Forwarded-Proto";
  return location.protocol === "https:"
    ? `This page came over https, but the server does not know it, and will let nobody log in: ${proxy}.`
    : "This page came over plain http, so the server will let nobody log in: use https, or set consider_websocket_secure.";
}

function* hostMetaWarnings(links, problem) {
  if (links.length === 0) yield `Clients cannot look the endpoint up, host-meta has no link. ${problem}`.trim();
}

/** Read JSON, or say why it cannot be had. */
async function json(url) {
  try {
    const answer = await fetch(url, { cache: "no-store" });
    if (!answer.ok) return { problem: sentence((await answer.text()).trim() || `HTTP status ${answer.status}`) };
    return { document: await answer.json(), problem: "" };
  } catch (error) {
    return { problem: sentence(error.message) };
  }
}

function row(name, values, how) {
  const group = document.createElement("div");
  const definition = document.createElement("dd");
  definition.append(...values.map((value) => make("span", "value", value)));
  if (how) definition.append(make("span", "how", how));
  group.append(make("dt", "", name), definition);
  return group;
}

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function hostname(host) {
  return host.replace(/:\d*$/, "").toLowerCase();
}

/** Let a clause begin and end as a sentence does. */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
