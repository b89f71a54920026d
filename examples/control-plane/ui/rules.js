// The rules in force, where each comes from, and those of one's own.

import { readAll } from "./api.js";
import { el, field, input, select, show } from "./dom.js";
import { SEVERITIES, number, words } from "./format.js";
import { facts, severity } from "./parts.js";
import { change, href } from "./route.js";
import { rulesets } from "./rulesets.js";

/** The most that are listed. */
const RULES = 10_000;

/** How many are drawn at once. */
const DRAWN = 200;

/** Where rules come from. */
const SOURCES = { __proto__: null, bundled: "Bundled", file: "File", published: "Published" };

const source = (rule) => (rule.revision === undefined ? SOURCES[rule.source] ?? rule.source : `Published, revision ${number(rule.revision)}`);

function entry(rule, open) {
  return el("li", {}, el("details", { open },
    el("summary", {}, severity(rule.severity), el("span", {}, rule.title),
      el("span", { class: rule.source === "bundled" ? "quiet" : "chip" }, source(rule)),
      el("span", { class: "mono quiet" }, rule.correlation ? "correlation" : rule.techniques.slice(0, 3).join(" "))),
    el("div", {}, rule.description && el("p", {}, rule.description),
      facts([["Id", el("span", { class: "mono" }, rule.id)], ["From", source(rule)],
        ["Techniques", rule.techniques.join(", ")], ["Tags", rule.tags.join(", ")],
        ["Alerts", el("a", { href: href("alerts", { rule: rule.id, status: "any" }) }, "alerts of this rule")]]))));
}

/** The page. */
export function rulesPage() {
  const control = new AbortController();
  const filters = el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
  const count = el("p", { class: "quiet", role: "status" }, "Loading");
  const list = el("ul", { class: "rules" });
  const own = rulesets(() => load());
  const element = el("div", { class: "page" }, el("div", { class: "page-head" }, el("h1", {}, "Rules"), filters),
    own.element, el("section", { class: "card", "aria-label": "Rules" }, list), count);
  let rules;
  let drawn = DRAWN;
  let parameters = {};

  function draw() {
    if (!rules) return;
    const text = (parameters.text ?? "").toLowerCase();
    const least = SEVERITIES.indexOf(parameters.severity ?? "informational");
    const found = rules.items.filter((rule) => (!parameters.rule || rule.id === parameters.rule)
      && SEVERITIES.indexOf(rule.severity) >= least
      && (!parameters.source || rule.source === parameters.source)
      && (!text || [rule.title, rule.id, ...rule.tags, ...rule.techniques].some((part) => part.toLowerCase().includes(text))));
    show(list, found.slice(0, drawn).map((rule) => entry(rule, rule.id === parameters.rule)),
      found.length > drawn && el("li", {}, el("button", { class: "plain", onclick: () => { drawn += DRAWN; draw(); } }, "Show more")));
    const revision = rules.items.find((rule) => rule.revision !== undefined)?.revision;
    count.textContent = parameters.rule && !found.length
      ? "That rule is not in force here."
      : `${number(found.length)} of ${number(rules.items.length)}${rules.whole ? "" : "+"} rules in force: ${revision === undefined
        ? "none is published" : `revision ${number(revision)} is published`}. An agent may have others in files of its own.`;
  }

  async function load() {
    try {
      rules = await readAll("rules", {}, RULES, control.signal);
      draw();
    } catch (problem) {
      if (problem.name !== "AbortError") count.textContent = problem.message;
    }
  }

  load();

  return {
    element,
    update(next) {
      parameters = next;
      drawn = DRAWN;
      if (!filters.contains(document.activeElement)) {
        show(filters,
          field("Search", input(next.text ?? "", (text) => change({ text, rule: undefined }))),
          field("Severity", select([["", "Any"], ...SEVERITIES.slice(1).map((name) => [name, `${words(name)} or worse`])],
            next.severity ?? "", (value) => change({ severity: value }))),
          field("From", select([["", "Anywhere"], ...Object.entries(SOURCES)], next.source ?? "", (value) => change({ source: value }))),
          next.rule && el("button", { class: "chip", type: "button", onclick: () => change({ rule: undefined }) }, "One rule ×"));
      }
      draw();
    },
    leave: () => {
      control.abort();
      own.leave();
    },
  };
}
