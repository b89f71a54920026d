// The process tree around an alert, drawn: what led to it, what came of it, and where the evidence is.

import { read } from "./api.js";
import { killButtons } from "./commands.js";
import { el, show, svg } from "./dom.js";
import { base, clock } from "./format.js";
import { container, facts } from "./parts.js";
import { href } from "./route.js";

const STEP = 18;
const HEIGHT = 28;

/** How many children without evidence below them are drawn before the rest is one line. */
const CHILDREN = 8;

/** How deep it is indented at the most. */
const DEPTH = 40;

/** The processes in the order in which they are drawn: `{ node, depth, last, lines }`, or `{ rest }` for those left out. */
function arrange(processes, whole) {
  const known = new Map(processes.map((process) => [process.process_id, { process, children: [] }]));
  const roots = [];
  for (const node of known.values()) {
    const parent = node.process.parent !== node.process.process_id && known.get(node.process.parent);
    if (parent) parent.children.push(node);
    else roots.push(node);
  }
  // A parent stands before its children in the list, so the way back sees every child before its parent.
  for (const node of [...known.values()].reverse()) {
    node.marked = node.process.evidence || node.children.some((child) => child.marked);
  }
  const drawn = [];
  const stack = [{ nodes: roots, at: 0, lines: [] }];
  while (stack.length) {
    const level = stack.at(-1);
    if (level.at === 0 && !whole) {
      const unmarked = level.nodes.filter((node) => !node.marked);
      if (unmarked.length > CHILDREN) {
        const kept = new Set(unmarked.slice(0, CHILDREN));
        level.rest = unmarked.length - CHILDREN;
        level.nodes = level.nodes.filter((node) => node.marked || kept.has(node));
      }
    }
    const depth = stack.length - 1;
    if (level.at === level.nodes.length) {
      if (level.rest) drawn.push({ rest: level.rest, depth, last: true, lines: level.lines });
      stack.pop();
      continue;
    }
    const node = level.nodes[level.at++];
    const last = level.at === level.nodes.length && !level.rest;
    drawn.push({ node, depth, last, lines: level.lines });
    if (node.children.length) stack.push({ nodes: node.children, at: 0, lines: [...level.lines, !last] });
  }
  return drawn;
}

/** The lines in front of a process: down past it, and across to it. */
function branches({ depth, last, lines }) {
  const deep = Math.min(depth, DEPTH);
  if (deep === 0) return null;
  const x = (level) => level * STEP + 9;
  const parts = [];
  for (let level = 1; level < deep; level += 1) {
    if (lines[level]) parts.push(`M${x(level - 1)} 0V${HEIGHT}`);
  }
  parts.push(`M${x(deep - 1)} 0V${last ? HEIGHT / 2 - 5 : HEIGHT}`);
  parts.push(`M${x(deep - 1)} ${HEIGHT / 2 - 5}q0 5 5 5H${deep * STEP}`);
  return svg("svg", { class: "branches", width: deep * STEP, height: HEIGHT, "aria-hidden": "true" },
    svg("path", { d: parts.join("") }));
}

function about({ agent, observed_at: at }, process) {
  return el("div", { class: "about" },
    el("pre", { class: "command", tabindex: "0", "aria-label": "Command line" }, process.command_line || process.executable),
    facts([
      ["Program", el("span", { class: "mono" }, process.executable)], ["Pid", process.pid],
      ["User", process.user ?? process.uid], ["Directory", el("span", { class: "mono" }, process.working_directory)],
      ...container(process), ["Ended", process.exited_at && clock(process.exited_at)],
      ["Look at", el("a", { href: href("events", { agent, process: process.process_id, around: at }) }, "what it did")],
    ]),
    killButtons(agent, process));
}

function line(entry, chosen) {
  if (entry.rest) {
    return el("li", {}, branches(entry),
      el("button", { class: "plain rest", onclick: () => chosen.whole() }, `and ${entry.rest} more`));
  }
  const { process } = entry.node;
  const button = el("button", {
    class: "process", "aria-expanded": "false",
    onclick: () => chosen.toggle(button, process),
  },
  el("span", { class: "name" }, base(process.executable) || "?"), el("span", { class: "pid" }, process.pid),
  process.evidence && el("span", { class: "chip" }, "evidence"),
  el("span", { class: "mono cut" }, process.command_line),
  process.exited_at && el("span", { class: "quiet ended" }, `ended ${clock(process.exited_at)}`));
  return el("li", { "data-evidence": process.evidence }, branches(entry), button);
}

/** Asks for the tree of an alert, and draws it. */
export async function drawTree(place, alert, signal) {
  show(place, el("h3", {}, "Process tree"), el("p", { class: "quiet" }, "Loading"));
  let tree;
  try {
    tree = await read(`alerts/${encodeURIComponent(alert.id)}/process-tree`, {}, signal);
  } catch (problem) {
    if (problem.name !== "AbortError") show(place, el("h3", {}, "Process tree"), el("p", { class: "error" }, problem.message));
    return;
  }
  const draw = (whole) => {
    let open;
    const chosen = {
      whole: () => draw(true),
      toggle(button, process) {
        const again = open?.button === button;
        open?.panel.remove();
        open?.button.setAttribute("aria-expanded", "false");
        open = again ? undefined : { button, panel: about(alert, process) };
        if (again) return;
        button.setAttribute("aria-expanded", "true");
        button.parentElement.after(el("li", { class: "about-line" }, open.panel));
        open.panel = button.parentElement.nextSibling;
      },
    };
    show(place, el("h3", {}, "Process tree"),
      tree.processes.length === 0 && el("p", { class: "quiet" }, "The alert is about no process."),
      el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Processes" },
        el("ul", { class: "tree" }, arrange(tree.processes, whole).map((entry) => line(entry, chosen)))),
      tree.truncated && el("p", { class: "quiet" }, "There were more events around it than were looked at: some processes may be missing."));
  };
  draw(false);
}
