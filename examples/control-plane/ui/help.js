// The keys, told.

import { el } from "./dom.js";

const KEYS = [
  ["j / k", "The next, the one before"],
  ["Enter", "Open the alert"],
  ["Esc", "Close it"],
  ["a", "Acknowledge"],
  ["r", "Resolve"],
  ["d", "Dismiss"],
  ["o", "Open again"],
  ["/", "To the filters"],
  ["?", "This"],
];

/** A dialog that tells the keys. */
export function helpDialog() {
  const dialog = el("dialog", { class: "help card", "aria-labelledby": "help-title" },
    el("h2", { id: "help-title" }, "Keys"),
    el("dl", {}, KEYS.map(([key, does]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, does)])),
    el("button", { onclick: () => dialog.close() }, "Close"));
  return dialog;
}
