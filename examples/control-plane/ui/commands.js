// Commands to an agent: which there are, giving one, what became of those that were given.

import { ACTIONS, about } from "./actions.js";
import { ask, path, readAll } from "./api.js";
import { commandDetail, opener } from "./command.js";
import { announce, el, field, select, show } from "./dom.js";
import { confirm } from "./confirm.js";
import { ago, moment, plain, words } from "./format.js";
import { table } from "./parts.js";
import { Refresh } from "./refresh.js";
import { may, role, who } from "./role.js";
import { change } from "./route.js";

/** How many are listed at first, and how many more at a time. */
const LISTED = 20;

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

function row(given, opened) {
  return [el("time", { datetime: given.issued_at, title: moment(given.issued_at) }, ago(given.issued_at)), about(given.command),
    [el("span", { class: "outcome", "data-outcome": given.status }, words(given.status)),
      given.failure && el("p", { class: "quiet" }, plain(given.failure))],
    [given.actor, given.reason && el("p", { class: "quiet" }, given.reason)],
    opener(given, opened, (id) => change({ command: id === opened ? undefined : id }, false))];
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

/** The commands to one agent: `{ element, open, opened, leave }`. */
export function commandsPanel(agent) {
  const giving = el("div", {});
  const list = el("div", {}, el("p", { class: "quiet" }, "Loading"));
  const one = el("div", {});
  const element = el("section", { class: "card stack", "aria-label": "Commands" }, el("h2", {}, "Commands"), giving, list, one);
  let wanted = LISTED;
  let known = { items: [], whole: true };
  let loaded = false;
  let detail;

  const button = (id) => [...list.querySelectorAll("[data-command]")].find((it) => it.dataset.command === id);

  function draw() {
    const { items, whole } = known;
    const had = document.activeElement?.dataset?.command;
    show(list, items.length === 0 ? el("p", { class: "quiet" }, "None was given.")
      : table("Commands given", ["When", "Command", "State", "By", "Look"], items.map((given) => row(given, detail?.id))),
    !whole && el("button", { class: "plain", onclick: () => { wanted += LISTED; refresh.now(); } }, "Show older ones"));
    // Whoever stands on one stays there.
    if (had) button(had)?.focus({ preventScroll: true });
  }

  async function load(signal) {
    try {
      known = await readAll(`agents/${encodeURIComponent(agent)}/commands`, { limit: LISTED }, wanted, signal);
      loaded = true;
      draw();
      const opened = known.items.find((given) => given.id === detail?.id);
      if (opened) detail.follow(opened);
      // Whoever has given one waits for its result.
      if (known.items.some((given) => given.status === "pending")) refresh.soon();
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      show(list, el("p", { class: "error" }, problem.message));
    }
  }

  const refresh = new Refresh(load);
  const drawForm = () => {
    const why = whyNot();
    show(giving, why ? el("p", { class: "quiet" }, why) : commandForm(agent, () => refresh.now()));
    if (loaded) draw();
  };
  role.addEventListener("known", drawForm);
  drawForm();
  refresh.now();
  return {
    element,
    opened: () => detail?.id,
    /** Shows one of them; none without an id. */
    open(id) {
      if (id === detail?.id) return;
      const before = detail?.id;
      const asked = id !== undefined && document.activeElement?.dataset?.command === id;
      detail?.leave();
      detail = id && commandDetail(agent, id, () => change({ command: undefined }, false));
      show(one, detail?.element);
      if (loaded) draw();
      detail?.load();
      if (asked) detail?.focus();
      else if (!id) button(before)?.focus();
    },
    leave() {
      refresh.stop();
      detail?.leave();
      role.removeEventListener("known", drawForm);
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
