// Drives Chromium for tests/browser.py: a line in is one call of Playwright's, a line out its result.
// Argument: the program.
import { chromium } from "playwright-core";

import { ARGUMENTS } from "./chromium.mjs";
import { serve, tell } from "./lines.mjs";

const [executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
const pages = new Map();
const problems = new Map();

/** Open the page / in a context of its own, so that pages share nothing; `options` are the context's. */
async function open({ name, origin, options, script }) {
  const context = await browser.newContext(options);
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  watch(name, page, origin);
  await page.goto(`${origin}/`);
}

/** Open / in a tab that a page opens: it begins with a copy of that page's sessionStorage, as a duplicated tab does. */
async function duplicate({ name, from, origin }) {
  const opened = pages.get(from).waitForEvent("popup");
  await pages.get(from).evaluate((url) => void window.open(url), `${origin}/`);
  watch(name, await opened, origin);
}

function watch(name, page, origin) {
  const found = [];
  page.setDefaultTimeout(15_000);
  // A violated Content-Security-Policy is an error on the console, too.
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && found.push(message.text()));
  page.on("pageerror", (error) => found.push(String(error)));
  page.on("request", (request) => request.url().startsWith(`${origin}/`) || found.push(`requested ${request.url()}`));
  page.on("websocket", (socket) => socket.url().startsWith(origin.replace("http", "ws")) || found.push(`connected ${socket.url()}`));
  pages.set(name, page);
  problems.set(name, found);
}

/** Call a method of the page, or of what a selector finds on it. */
async function call({ name, selector, method, args }) {
  const page = pages.get(name);
  return selector ? page.locator(selector)[method](...args) : page[method](...args);
}

async function close() {
  pages.clear();
  await Promise.all(browser.contexts().map((context) => context.close()));
}

async function answer(work) {
  try {
    tell("done", { result: (await work) ?? null });
  } catch (error) {
    tell("failed", { why: error.message });
  }
}

tell("started");
await serve({
  open: (request) => answer(open(request)),
  duplicate: (request) => answer(duplicate(request)),
  call: (request) => answer(call(request)),
  close: () => answer(close()),
  problems: ({ name }) => answer(problems.get(name)),
});
await browser.close();
