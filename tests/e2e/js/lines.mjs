// One JSON object a line: what the test wants done comes in on stdin, what happens goes out on stdout.
import { Console } from "node:console";
import { createInterface } from "node:readline";

// What libraries log must not get between the lines.
globalThis.console = new Console(process.stderr, process.stderr);

/** Tell the test that something happened. */
export function tell(event, facts = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...facts })}\n`);
}

/** Do what the test asks, one thing after the other: `actions` maps "do" to a function. Ends with stdin. */
export async function serve(actions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    await actions[request.do](request);
  }
}

/** A request was answered with a stanza error. */
export class Refused extends Error {
  constructor(condition) {
    super(condition);
    this.condition = condition;
  }
}

/** The same for actions whose result the test waits for: each is answered with "done", or with "failed" and why. */
export async function answer(actions) {
  const answered = ([name, action]) => [
    name,
    async (request) => {
      try {
        tell("done", { result: (await action(request)) ?? null });
      } catch (error) {
        tell("failed", { condition: error.condition ?? String(error) });
      }
    },
  ];
  await serve(Object.fromEntries(Object.entries(actions).map(answered)));
}
