// A Stepwell worker in plain Node (18 or newer, no packages): claims steps by HTTP, runs their handlers, reports.
// The protocol is in docs/http-workers.md.

import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { handlers } from "./handlers.mjs";

const { env } = process;
const url = env.STEPWELL_URL ?? "http://127.0.0.1:8080";
const queues = (env.STEPWELL_QUEUES ?? "node").split(",");
const hands = Number(env.WORKER_CONCURRENCY ?? 4); // steps at once
const lease = Number(env.STEPWELL_LEASE ?? 15); // seconds without a word from us after which a step is another's
const name = `${hostname()}:${process.pid}`;

const stopping = new AbortController();
const running = new Map(); // claim -> what stops its handler
let ended = () => {}; // called whenever a step has ended

class Refused extends Error {
  constructor(status, text) {
    super(`${status}: ${text}`);
    this.status = status;
  }
}

async function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  if (env.STEPWELL_TOKEN) headers.authorization = `Bearer ${env.STEPWELL_TOKEN}`;
  const response = await fetch(`${url}/v1/work/${path}`, {
    method: "POST", headers, body: JSON.stringify(body), signal,
  });
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, text);
  return text ? JSON.parse(text) : null;
}

// A request that never came, or that the server could not follow just now: worth another try.
const mayPass = (error) => !(error instanceof Refused) || error.status >= 500 || error.status === 429;
const isLost = (error) => error.status === 404 || error.status === 409;

// Say how a step has ended, for as long as somebody may want to know: saying it twice does no harm.
async function report(step, verb, body) {
  for (const until = Date.now() + lease * 1000; ; await sleep(500)) {
    try {
      return await post(`${step.claim}/${verb}`, body);
    } catch (error) {
      if (isLost(error) || Date.now() > until) return console.error(`${step.step_id} is lost: ${error.message}`);
      if (mayPass(error)) continue;
      if (verb === "fail") return console.error(`${step.step_id} cannot be reported: ${error.message}`);
      return report(step, "fail", { error: { type: "OutputRefused", message: error.message, retryable: false } });
    }
  }
}

async function run(step) {
  const stop = new AbortController();
  const told = {}; // what the handler says besides its result
  running.set(step.claim, stop);
  const beat = setInterval(async () => {
    try {
      const state = await post(`${step.claim}/heartbeat`, told.progress === undefined ? {} : { progress: told.progress });
      if (state.cancelled) stop.abort(new Error("cancelled"));
    } catch (error) {
      if (isLost(error)) stop.abort(error); // somebody else has it
    }
  }, (lease * 1000) / 3);
  try {
    const output = await handlers[step.handler](step.input, {
      step,
      signal: stop.signal,
      progress: (value) => (told.progress = value),
      set: (key, value) => ((told.context ??= {})[key] = value),
    });
    if (!stop.signal.aborted) await report(step, "complete", { output: output ?? null, context: told.context ?? {} });
  } catch (error) {
    if (!stop.signal.aborted) await report(step, "fail", { error: described(error) });
  } finally {
    clearInterval(beat);
    running.delete(step.claim);
    ended();
  }
}

function described(error) {
  const { name: type = "Error", message = String(error), stack = "", retryable = null } = error ?? {};
  return { type, message, traceback: stack, retryable };
}

for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => stopping.abort());

console.log(`${name} works on ${queues} at ${url}`);
for (let pause = 250; !stopping.signal.aborted; ) {
  if (running.size >= hands) {
    await new Promise((resolve) => { ended = resolve; stopping.signal.onabort = resolve; });
    continue;
  }
  const ask = { worker: name, queues, handlers: Object.keys(handlers), limit: hands - running.size };
  try {
    const found = await post("claim", { ...ask, wait_seconds: 30, lease_seconds: lease }, stopping.signal);
    found.steps.forEach(run);
    pause = 250;
  } catch (error) {
    if (stopping.signal.aborted) break;
    console.error(`no steps: ${error.cause?.message ?? error.message}; again in ${pause} ms`);
    await sleep(pause, null, { signal: stopping.signal }).catch(() => {});
    pause = Math.min(pause * 2, 10_000);
  }
}

// What we have goes to others at once, instead of when its lease runs out.
for (const stop of running.values()) stop.abort(new Error("the worker stops"));
await Promise.allSettled([...running.keys()].map((claim) => post(`${claim}/release`, {})));
console.log(`${name} stops`);
process.exit(0);
