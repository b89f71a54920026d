// Rules of one's own: files become a ruleset, which is tested on what is stored, and published.

import { ask, path, read } from "./api.js";
import { announce, el, field, select, show } from "./dom.js";
import { ago, number, words } from "./format.js";
import { table } from "./parts.js";
import { may, role } from "./role.js";

/** How many rulesets, and how much of what was published, is shown. */
const SHOWN = 20;

/** How far back a test looks, in hours. */
const SPANS = [["1", "Last hour"], ["24", "Last day"], ["168", "Last week"]];

/** The most events that a test looks at. */
const TESTED = 20_000;

const STOPPED = {
  end: "all that are stored of that time",
  max_events: "the oldest of that time, since there are more",
  time: "the oldest of that time, since it took too long",
};

const short = (digest) => el("span", { class: "mono", title: digest }, digest.slice(0, 12));

const when = (time) => el("time", { datetime: time, title: time }, ago(time));

const post = async (route, body, signal) => (await ask(path(route), { method: "POST", body, signal })).json();

/** What is wrong with rules, by file and line. */
const faults = (errors) => table("Faults", ["File", "Line", "Rule", "What is wrong"],
  errors.map(({ file, line, rule, reason }) => [el("span", { class: "mono" }, file), line || "", rule ?? "", reason]), [1]);

function findings(result) {
  const rules = new Map();
  for (const { rule, title } of result.found) rules.set(rule, { title, count: (rules.get(rule)?.count ?? 0) + 1 });
  return [
    el("p", {}, `${number(result.matches)} ${result.matches === 1 ? "match" : "matches"} in ${number(result.events)} events: ${STOPPED[result.stopped]}.`),
    rules.size > 0 && table("Matches by rule", ["Rule", "Matches"], [...rules.values()].map(({ title, count }) => [title, number(count)]), [1]),
    result.found.length > 0 && table("Matches", ["Rule", "When", "Why"], result.found.slice(0, 50).map((found) =>
      [found.title, when(found.observed_at), el("span", { class: "mono evidence-value" }, found.evidence.map(({ field: name, value }) => `${name}: ${value}`).join("\n"))])),
  ];
}

/** The part of the rules page for rules of one's own; `changed` is told when another set is published. */
export function rulesets(changed) {
  const control = new AbortController();
  const files = el("input", { type: "file", multiple: true, accept: ".yml,.yaml", onchange: choose });
  const chosen = el("p", { class: "quiet" }, "No files chosen");
  const reason = el("input", { type: "text", maxlength: 2000, autocomplete: "off", placeholder: "optional" });
  const span = select(SPANS, "24", () => {});
  const upload = el("button", { disabled: true, onclick: () => busy(uploadChosen) }, "Upload");
  const test = el("button", { disabled: true, onclick: () => busy(() => tested({ files: given }, "the chosen files")) }, "Test");
  const outcome = el("div", { class: "outcome", tabindex: "-1" });
  const refusal = el("p", { class: "error", role: "alert", hidden: true });
  const lists = el("div", { class: "outcome" }, el("p", { class: "quiet" }, "Loading"));
  const element = el("section", { class: "card rulesets", "aria-label": "Your rules" }, el("h2", {}, "Your rules"),
    el("p", { class: "quiet" }, "Published rules are added to the built-in ones and to those of each host; a rule takes the place of one with the same id."),
    el("div", { class: "filters" }, field("Rule files", files), field("Test on", span), field("Reason", reason), test, upload),
    chosen, refusal, outcome, lists);
  let given = [];
  let revision = 0;
  let draw = () => {};

  /** Shows what whoever is signed in may do: analysts test, admins upload and publish. */
  function allow() {
    test.hidden = !may("analyst");
    upload.hidden = !may("admin");
    draw();
  }

  function failed(problem) {
    if (problem.name === "AbortError") return;
    refusal.textContent = problem.message;
    refusal.hidden = false;
    show(outcome, problem.errors?.length > 0 && faults(problem.errors));
  }

  /** Does one thing at a time, and shows what went wrong with it. */
  async function busy(work) {
    const held = [...element.querySelectorAll("button")].filter((button) => !button.disabled);
    const had = document.activeElement;
    for (const button of held) button.disabled = true;
    element.setAttribute("aria-busy", "true");
    refusal.hidden = true;
    show(outcome);
    try {
      await work();
    } catch (problem) {
      failed(problem);
    }
    element.removeAttribute("aria-busy");
    for (const button of held) button.disabled = false;
    (had?.isConnected ? had : outcome).focus();
  }

  async function choose() {
    const picked = [...files.files];
    given = await Promise.all(picked.map(async (file) => ({ name: file.webkitRelativePath || file.name, text: await file.text() })));
    chosen.textContent = given.length > 0 ? given.map(({ name }) => name).join(", ") : "No files chosen";
    refusal.hidden = true;
    show(outcome);
    upload.disabled = test.disabled = given.length === 0;
  }

  async function uploadChosen() {
    const ruleset = await post("rulesets", { files: given, reason: reason.value.trim() || undefined }, control.signal);
    announce(`Uploaded: ruleset ${ruleset.digest.slice(0, 12)}`);
    show(outcome, el("p", {}, "Uploaded: ruleset ", short(ruleset.digest), ". Nothing uses it before it is published."));
    await load();
  }

  async function tested(what, name) {
    const to = new Date();
    const from = new Date(to - Number(span.value) * 3_600_000);
    const result = await post("rules/test", { ...what, from: from.toISOString(), to: to.toISOString(), max_events: TESTED }, control.signal);
    announce(`Tested: ${result.matches} matches`);
    show(outcome, el("h3", {}, "Test of ", name), findings(result));
  }

  async function publish(ruleset) {
    const published = await post(`rulesets/${ruleset.digest}/publish`, { revision, reason: reason.value.trim() || undefined }, control.signal);
    const done = published.sent ? "Published, and in use soon." : "Published, and not taken yet";
    announce(done);
    show(outcome, el("p", {}, done, !published.sent && (published.failure ? `: ${published.failure}` : ": nothing is configured to take it.")));
    reason.value = "";
    changed();
    await load();
  }

  function row(ruleset) {
    const called = ruleset.digest.slice(0, 12);
    return [short(ruleset.digest), number(ruleset.files), ruleset.actor, when(ruleset.at), ruleset.reason ?? "",
      el("span", { class: "actions" },
        may("analyst") && el("button", { "aria-label": `Test ${called}`, onclick: () => busy(() => tested({ ruleset: ruleset.digest }, short(ruleset.digest))) }, "Test"),
        ruleset.published ? el("span", { class: "chip" }, words("published"))
          : may("admin") && el("button", { "aria-label": `Publish ${called}`, onclick: () => busy(() => publish(ruleset)) }, "Publish"))];
  }

  async function load() {
    const [all, history] = await Promise.all([
      read("rulesets", { limit: SHOWN }, control.signal), read("rules/publications", { limit: SHOWN }, control.signal)]);
    revision = history.items[0]?.revision ?? 0;
    draw = () => show(lists,
      all.items.length === 0 ? el("p", { class: "quiet" }, "No rules were uploaded yet.")
        : table("Rulesets", ["Ruleset", "Files", "Uploaded by", "When", "Reason", "Do"], all.items.map(row), [1]),
      history.items.length > 0 && [el("h3", {}, "Published"),
        table("Published", ["Revision", "Ruleset", "By", "When", "Reason"],
          history.items.map((it) => [it.revision, short(it.digest), it.actor, when(it.at), it.reason ?? ""]), [0])]);
    draw();
  }

  role.addEventListener("known", allow, { signal: control.signal });
  allow();
  load().catch((problem) => {
    show(lists);
    failed(problem);
  });
  return { element, leave: () => control.abort() };
}
