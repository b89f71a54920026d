// Small parts that every page draws the same way.

import { el } from "./dom.js";
import { words } from "./format.js";

/** How bad: a mark, and the word. */
export const severity = (name) =>
  el("span", { class: "severity", "data-severity": name }, el("span", { class: "mark", "aria-hidden": "true" }), words(name));

/** What was done about it. */
export const status = (name) => el("span", { class: "status", "data-status": name }, words(name));

/** Whether an agent is there. */
export const liveness = (name) =>
  el("span", { class: "liveness", "data-liveness": name ?? "unknown" },
    el("span", { class: "mark", "aria-hidden": "true" }), words(name ?? "unknown"));

/** A part of a page with a heading. */
export const card = (title, ...children) =>
  el("section", { class: "card", "aria-label": title }, el("h2", {}, title), ...children);

/** Names and values. */
export const facts = (pairs) =>
  el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

/** Names and values of the container that a process runs in: those that are known. */
export const container = (process) => [
  ["Container", process.container_name ? `${process.container_name} (${process.container_id.slice(0, 12)})` : process.container_id],
  ["Image", process.container_image && el("span", { class: "mono" }, process.container_image)],
  ["Pod", process.pod_name && (process.pod_namespace ? `${process.pod_namespace}/${process.pod_name}` : process.pod_name)],
];

/** A table; a cell is a text or an element. `numbers` are the columns of numbers. */
export function table(label, head, rows, numbers = []) {
  const kind = (index) => ({ class: numbers.includes(index) && "number" });
  return el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, head.map((name, index) => el("th", { scope: "col", ...kind(index) }, name)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, index) => el("td", kind(index), cell)))))));
}
