// What agents can be told to do: who may, what it needs to know, and what it does to a host.

import { el } from "./dom.js";
import { plain, words } from "./format.js";
import { may } from "./role.js";

/** How much of a file is collected at the most, in bytes: more does not fit into one message of a broker. */
const COLLECTED = 256 * 1024;

const PATH = { name: "path", label: "Path", placeholder: "/usr/bin/…", read: (text) => text };
const PROCESS = { name: "process", label: "Process id", placeholder: "as its events have it", read: (text) => text };

/** Of each: the role that it takes, its fields, and what it does to a host, if that is to be asked. */
export const ACTIONS = {
  __proto__: null,
  ping: { role: "analyst" },
  list_processes: { role: "analyst" },
  hash_file: { role: "analyst", fields: [PATH] },
  collect_file: { role: "admin", fields: [PATH,
    { name: "max_bytes", label: "At most, in bytes", value: COLLECTED, pattern: "[0-9]+", read: Number }] },
  quarantine: { role: "admin", fields: [{ ...PATH, name: "file", read: (text) => ({ path: text }) }],
    does: "The file is moved to where nobody runs or reads it." },
  restore: { role: "admin", fields: [{ name: "entry", label: "Entry", placeholder: "its name in quarantine", read: (text) => text }],
    does: "The file goes back to where it was." },
  kill: { role: "admin", fields: [PROCESS], does: "The process is killed." },
  kill_tree: { role: "admin", fields: [PROCESS], does: "The process and everything that it started is killed." },
  isolate: { role: "admin", does: "The host is cut off the network, but for the broker, until it is released." },
  release: { role: "admin", does: "The host is back on the network." },
  reload_rules: { role: "admin" },
};

/** The role that it takes to give a command, and to read what it gave. */
export const needed = ({ action }) => ACTIONS[action]?.role ?? "admin";

/** Whether whoever is signed in may read what a command gave. */
export const mayRead = (command) => may(needed(command));

/** What a command was about, in one line. */
export function about({ action, ...rest }) {
  const parts = Object.values(rest).map((value) => plain(typeof value === "object" ? value.path ?? JSON.stringify(value) : value));
  return [words(action), parts.length > 0 && el("span", { class: "mono quiet" }, ` ${parts.join(" ")}`)];
}
