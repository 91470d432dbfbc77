// One Chromium for several scripts, which connect to the URL that it tells. Argument: the program. Ends with stdin.
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { serve, tell } from "./lines.mjs";

const quiet = ["background-networking", "component-update", "quic", "sync"].map((feature) => `--disable-${feature}`);
export const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", ...quiet];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [executablePath] = process.argv.slice(2);
  const server = await chromium.launchServer({ executablePath, args: ARGUMENTS, host: "127.0.0.1" });
  tell("started", { url: server.wsEndpoint() });
  await serve({});
  await server.close();
}
