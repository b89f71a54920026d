// One command: who gave it and why, what became of it, and what it gave.

import { about, mayRead, needed } from "./actions.js";
import { read } from "./api.js";
import { el, show } from "./dom.js";
import { moment, plain, words } from "./format.js";
import { drawOutput } from "./output.js";
import { facts } from "./parts.js";

const time = (at) => el("time", { datetime: at, title: at }, moment(at));

const outcome = (status) => el("span", { class: "outcome", "data-outcome": status }, words(status));

/** What happened to it, in the order of time. */
function history(given) {
  const ended = given.finished_at ?? (given.status === "expired" ? given.expires_at : undefined);
  return el("ol", { class: "history", "aria-label": "History" },
    el("li", {}, time(given.issued_at), " given by ", el("span", {}, given.actor), given.reason && el("p", {}, given.reason)),
    ended && el("li", {}, time(ended), " ", outcome(given.status), given.failure && el("p", {}, plain(given.failure))),
    given.status === "pending" && el("li", {}, outcome(given.status), " until ", time(given.expires_at)));
}

function gave(given) {
  if (!given.output_kind) return given.status === "done" && el("p", { class: "quiet" }, "There is nothing more to say.");
  if (!given.output) return el("p", { class: "quiet" }, `Reading what it gave takes the role ${needed(given.command)}.`);
  return el("section", { class: "stack", "aria-label": "Output" }, el("h4", {}, "Output"), drawOutput(given.output, given.command));
}

/** The part of an agent's page for one of its commands: `{ element, load, leave }`. */
export function commandDetail(agent, id, close) {
  const control = new AbortController();
  const title = el("h3", { tabindex: "-1" }, "Command");
  const body = el("div", { class: "stack" }, el("p", { class: "quiet" }, "Loading"));
  const element = el("section", { class: "command-detail", "aria-label": "One command" },
    el("div", { class: "title-line" }, title,
      el("button", { class: "icon", "aria-label": "Close the command", title: "Close (Esc)", onclick: close }, "×")), body);
  let drawn;

  function draw(given) {
    // What did not change stays as it is, with where it was scrolled to and what was searched for.
    if (drawn === given.status) return;
    drawn = given.status;
    show(title, about(given.command));
    show(body, facts([["State", outcome(given.status)], ["Id", el("span", { class: "mono" }, given.id)],
      ["Signed by key", el("span", { class: "mono" }, given.key)], ["Good until", time(given.expires_at)]]),
    history(given), gave(given));
  }

  return {
    id,
    element,
    focus: () => title.focus(),
    async load() {
      try {
        const given = await read(`commands/${encodeURIComponent(id)}`, {}, control.signal);
        if (given.agent !== agent) throw new Error("It is for another agent.");
        draw(given);
      } catch (problem) {
        if (problem.name !== "AbortError") show(body, el("p", { class: "error" }, problem.message));
      }
    },
    /** Looks again where something else became of it than is shown. */
    follow(given) {
      if (drawn && given.status !== drawn) this.load();
    },
    leave: () => control.abort(),
  };
}

/** A button that opens a command, for a row of a list. */
export function opener(given, opened, open) {
  const what = given.output_kind && mayRead(given.command) ? "Output" : "Details";
  return el("button", {
    class: "plain", "data-command": given.id, "aria-expanded": String(given.id === opened),
    "aria-label": `${what}: ${words(given.command.action).toLowerCase()}, ${moment(given.issued_at)}`, onclick: () => open(given.id),
  }, what);
}
