// The live stream, read by fetch, since EventSource sends no token. One for the whole dashboard; it goes on behind
// the last message that it has seen.

import { ask, parse, path } from "./api.js";

/** The control plane says something every 15 s, if only that it is there. */
const SILENCE_MS = 45_000;

const RETRY_MS = [500, 1000, 2000, 5000, 10_000];

/** Tells `alert_raised`, `alert_status`, `agent_liveness`, `telemetry` and `missed`, with `detail`; and `state`. */
export const live = new EventTarget();

let wanted = {};
let last;
let state = "offline";
let running;

function tell(name, detail) {
  live.dispatchEvent(new CustomEvent(name, { detail }));
}

function become(next) {
  if (next === state) return;
  state = next;
  tell("state", next);
}

/** `live`, `connecting` or `offline`. */
export const liveState = () => state;

/** Follows, with telemetry by `{ telemetry, agent, kind }` where it is wanted. */
export function follow(filter = {}) {
  if (running && JSON.stringify(filter) === JSON.stringify(wanted)) return;
  wanted = filter;
  running?.abort();
  running = new AbortController();
  run(running.signal);
}

/** Follows no longer. */
export function stop() {
  running?.abort();
  running = undefined;
  last = undefined;
  become("offline");
}

async function run(signal) {
  for (let failures = 0; !signal.aborted;) {
    become("connecting");
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await ask(path("live", wanted), { signal, headers });
      become("live");
      failures = 0;
      await messages(response.body, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return stop();
      // A place that this store does not know: it is another one.
      if (error.status === 400) last = undefined;
    }
    if (signal.aborted) return;
    become("offline");
    await new Promise((done) => { setTimeout(done, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]); });
  }
}

async function messages(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const silence = setTimeout(() => reader.cancel(), SILENCE_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(silence));
    if (done || signal.aborted) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) message(part);
  }
}

function message(text) {
  let name = "message";
  let id;
  const data = [];
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const key = line.slice(0, colon);
    if (key === "event") name = value;
    else if (key === "id") id = value;
    else if (key === "data") data.push(value);
  }
  if (data.length) tell(name, parse(data.join("\n")));
  if (id !== undefined) last = id;
}
