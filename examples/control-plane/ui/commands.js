// Commands to an agent: which there are, giving one, what became of those that were given.

import { ask, path, read } from "./api.js";
import { announce, el, field, select, show } from "./dom.js";
import { confirm } from "./confirm.js";
import { ago, moment, words } from "./format.js";
import { table } from "./parts.js";
import { Refresh } from "./refresh.js";
import { may, role, who } from "./role.js";

/** The most that are listed. */
const LISTED = 20;

/** How much of a file is collected at the most, in bytes, unless said. */
const COLLECTED = 1 << 20;

const PATH = { name: "path", label: "Path", placeholder: "/usr/bin/…", read: (text) => text };
const PROCESS = { name: "process", label: "Process id", placeholder: "as its events have it", read: (text) => text };

/** What an agent can be told: who may, what it needs to know, and what it does to a host, if that is to be asked. */
const ACTIONS = {
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

/** Gives a command. What changes a host is asked for first. `target` is what it is about, in words. */
export async function give(agent, command, target = "") {
  const { does } = ACTIONS[command.action];
  const title = words(command.action);
  const decided = does ? await confirm(`${agent}: ${title.toLowerCase()}`, [target && el("span", { class: "mono" }, target), " ", does], title) : {};
  if (!decided) return undefined;
  const answer = await ask(path(`agents/${encodeURIComponent(agent)}/commands`), { method: "POST", body: { command, ...decided } });
  const given = await answer.json();
  announce(given.sent ? `${title} is on its way to ${agent}` : `${title} is kept for ${agent}, and could not be sent`);
  return given;
}

/** Why nobody here can give commands; nothing when somebody can. */
function whyNot() {
  if (!who()) return "Loading";
  if (!may("analyst")) return "Giving commands takes the role analyst, some of them admin.";
  if (!who().signs_commands) return "This control plane has no key to sign commands with: start it with --signing-key.";
  return undefined;
}

/** What a command was about, in one line. */
function about({ action, ...rest }) {
  const parts = Object.values(rest).map((value) => (typeof value === "object" ? value.path ?? JSON.stringify(value) : String(value)));
  return [words(action), parts.length > 0 && el("span", { class: "mono quiet" }, ` ${parts.join(" ")}`)];
}

function row(given) {
  return [el("time", { datetime: given.issued_at, title: moment(given.issued_at) }, ago(given.issued_at)), about(given.command),
    [el("span", { class: "outcome", "data-outcome": given.status }, words(given.status)),
      given.failure && el("p", { class: "quiet" }, given.failure)],
    [given.actor, given.reason && el("p", { class: "quiet" }, given.reason)]];
}

/** The form that gives commands; `given` is told of each. */
function commandForm(agent, given) {
  const names = Object.keys(ACTIONS).filter((name) => may(ACTIONS[name].role));
  const controls = el("div", { class: "controls" });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  let wanted = names[0];
  let inputs = [];
  const draw = () => {
    inputs = (ACTIONS[wanted].fields ?? []).map((wants) => [wants, el("input", {
      type: "text", required: true, autocomplete: "off", spellcheck: "false", value: String(wants.value ?? ""),
      placeholder: wants.placeholder, pattern: wants.pattern,
    })]);
    show(controls, inputs.map(([{ label }, control]) => field(label, control)));
  };
  const button = el("button", { class: "primary", type: "submit" }, "Give");
  const form = el("form", {
    class: "filters", "aria-label": "Give a command",
    onsubmit: async (event) => {
      event.preventDefault();
      const command = { action: wanted, ...Object.fromEntries(inputs.map(([{ name, read: as }, control]) => [name, as(control.value.trim())])) };
      error.hidden = true;
      button.disabled = true;
      try {
        if (await give(agent, command, inputs.map(([, control]) => control.value.trim()).join(" "))) given();
      } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
      } finally {
        button.disabled = false;
      }
    },
  }, field("Command", select(names.map((name) => [name, words(name)]), wanted, (name) => { wanted = name; draw(); })), controls, button);
  draw();
  return [form, error];
}

/** The commands to one agent: `{ element, leave }`. */
export function commandsPanel(agent) {
  const giving = el("div", {});
  const list = el("div", {}, el("p", { class: "quiet" }, "Loading"));
  const element = el("section", { class: "card stack", "aria-label": "Commands" }, el("h2", {}, "Commands"), giving, list);

  async function load(signal) {
    try {
      const { items } = await read(`agents/${encodeURIComponent(agent)}/commands`, { limit: LISTED }, signal);
      show(list, items.length === 0 ? el("p", { class: "quiet" }, "None was given.")
        : table("Commands given", ["When", "Command", "State", "By"], items.map(row)));
      // Whoever has given one waits for its result.
      if (items.some((given) => given.status === "pending")) refresh.soon();
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      show(list, el("p", { class: "error" }, problem.message));
    }
  }

  const refresh = new Refresh(load);
  const draw = () => {
    const why = whyNot();
    show(giving, why ? el("p", { class: "quiet" }, why) : commandForm(agent, () => refresh.now()));
  };
  role.addEventListener("known", draw);
  draw();
  refresh.now();
  return {
    element,
    leave() {
      refresh.stop();
      role.removeEventListener("known", draw);
    },
  };
}

/** Buttons that end a process of an agent, for those who may. */
export function killButtons(agent, process) {
  if (!may("admin") || !who().signs_commands || process.exited_at) return null;
  const told = el("p", { class: "quiet", role: "status" });
  const name = `${process.executable} (${process.pid})`;
  const button = (action) => el("button", {
    onclick: async () => {
      try {
        const given = await give(agent, { action, process: process.process_id }, name);
        if (given) told.textContent = `${words(action)}: ${given.sent ? "on its way" : "kept, and could not be sent"}.`;
      } catch (problem) {
        told.textContent = problem.message;
      }
    },
  }, words(action));
  return el("div", { class: "actions" }, button("kill"), button("kill_tree"), told);
}
