// Who changed what, and why.

import { read } from "./api.js";
import { el, field, input, select, show } from "./dom.js";
import { moment, number, since, spanOptions, words } from "./format.js";
import { card, table } from "./parts.js";
import { change, href } from "./route.js";

/** How many are asked for at once. */
const PAGE = 100;

/** What was changed, as a link where there is a page for it. */
function target({ action, target: id }) {
  if (action === "alert_status") return el("a", { class: "mono", href: href("alerts", { status: "any", alert: id }) }, id);
  return el("span", { class: "mono" }, id);
}

/** The page. */
export function auditPage() {
  const filters = el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
  const list = el("div", {}, el("p", { class: "quiet" }, "Loading"));
  const told = el("p", { class: "quiet", role: "status" });
  const element = el("div", { class: "page" }, el("div", { class: "page-head" }, el("h1", {}, "Audit"), filters), card("Changes", list), told);
  let wanted;
  let control;
  let entries = [];

  /** The next page of what is wanted. */
  async function load(after) {
    const { signal } = control;
    try {
      const page = await read("audit", { actor: wanted.actor, from: since(wanted.span), limit: PAGE, after }, signal);
      entries.push(...page.items);
      draw(page.next);
    } catch (problem) {
      if (problem.name !== "AbortError") show(list, el("p", { class: "error", role: "alert" }, problem.message));
    }
  }

  function draw(next) {
    show(list, entries.length === 0 ? el("p", { class: "quiet" }, "Nothing was changed.")
      : table("Changes", ["When", "Who", "What", "To what", "After it", "Why"], entries.map((entry) => [
        el("time", { datetime: entry.at, title: entry.at }, moment(entry.at)),
        el("a", { href: href("audit", { ...wanted, actor: entry.actor }) }, entry.actor), words(entry.action), target(entry),
        entry.change, entry.reason])),
    next && el("p", {}, el("button", { class: "plain", onclick: (event) => { event.target.disabled = true; load(next); } }, "Show more")));
    told.textContent = entries.length === 0 ? "" : `${number(entries.length)}${next ? " and more" : ""}`;
  }

  return {
    element,
    update({ actor, span }) {
      const next = { actor, span };
      if (JSON.stringify(next) === JSON.stringify(wanted)) return;
      wanted = next;
      if (!filters.contains(document.activeElement)) {
        show(filters, field("Who", input(actor ?? "", (value) => change({ actor: value }))),
          field("When", select(spanOptions([["", "Any time"]]), span ?? "", (value) => change({ span: value }))));
      }
      control?.abort();
      control = new AbortController();
      entries = [];
      load();
    },
    leave: () => control?.abort(),
  };
}
