// One alert: what it says, what it rests on, what led to it, and what can be done about it.

import { read, readAll } from "./api.js";
import { el, field, show } from "./dom.js";
import { ago, moment, words } from "./format.js";
import { href } from "./route.js";
import { container, facts, severity, status, table } from "./parts.js";
import { drawTree } from "./tree.js";

const ACTIONS = [["acknowledged", "Acknowledge", "a"], ["resolved", "Resolve", "r"], ["dismissed", "Dismiss", "d"], ["open", "Open again", "o"]];

/** What a status may become. */
const NEXT = {
  open: ["acknowledged", "resolved", "dismissed"], acknowledged: ["resolved", "dismissed", "open"],
  resolved: ["open"], dismissed: ["open"],
};

/** The first events that an alert rests on: those that happened in the second before it. */
async function rawEvents(alert, signal) {
  const at = Date.parse(alert.observed_at);
  const from = new Date(at - 1000).toISOString();
  const to = new Date(at + 1).toISOString();
  const wanted = new Set(alert.events);
  const { items } = await readAll("events", { from, to, agent: alert.agent, process: alert.process?.process_id }, 1000, signal);
  return items.filter(({ event }) => wanted.has(event.id ?? event.event_id));
}

function link(text) {
  // Rules are from elsewhere: what is no plain web address is shown and leads nowhere.
  return /^https?:\/\//i.test(text) ? el("a", { href: text, target: "_blank", rel: "noopener noreferrer" }, text) : text;
}

/** An alert's panel. `setStatus(alert, to, reason)` and `close()` are what can be done there. */
export function alertDetail(id, { setStatus, close }) {
  const control = new AbortController();
  const element = el("div", { class: "alert" }, el("p", { class: "quiet" }, "Loading"));
  const why = el("input", { type: "text", maxlength: 2000, autocomplete: "off", placeholder: "optional" });
  const refusal = el("p", { class: "error", role: "alert", hidden: true });
  const tree = el("section", { "aria-label": "Process tree" });
  const actions = el("div", { class: "actions" });
  const history = el("div", {});
  const panel = { id, element, alert: undefined };
  let drawn = false;

  function drawActions(alert) {
    show(actions, ACTIONS.filter(([to]) => NEXT[alert.status]?.includes(to)).map(([to, text, key]) =>
      el("button", { class: to === "acknowledged" ? "primary" : "", title: `Key ${key}`, onclick: () => setStatus(panel.alert, to, panel.reason()) },
        text, el("kbd", { "aria-hidden": "true" }, key))));
    show(history, alert.history.length > 0 && el("ol", { class: "history" }, [...alert.history].reverse().map((step) =>
      el("li", {}, status(step.to), " ", el("span", { class: "cut" }, step.actor), " ",
        el("time", { class: "quiet", datetime: step.at, title: step.at }, ago(step.at)),
        step.reason && el("p", {}, step.reason)))));
  }

  function drawRaw() {
    const place = el("div", {});
    return el("details", {
      class: "raw",
      ontoggle: async (event) => {
        if (!event.target.open || place.childNodes.length) return;
        show(place, el("p", { class: "quiet" }, "Loading"));
        try {
          const events = await rawEvents(panel.alert, control.signal);
          show(place, events.length === 0 && el("p", { class: "quiet" }, "The event is not stored any more, or not yet."),
            events.length > 0 && events.length < panel.alert.events.length && el("p", { class: "quiet" },
              `${events.length} of the ${panel.alert.events.length} events that it rests on; the others happened earlier, or in other processes.`),
            events.map(({ event: raw }) => el("pre", { tabindex: "0", "aria-label": "Event in JSON" }, JSON.stringify(raw, null, 2))));
        } catch (problem) {
          if (problem.name !== "AbortError") show(place, el("p", { class: "error" }, problem.message));
        }
      },
    }, el("summary", {}, "Raw event"), place);
  }

  panel.draw = (alert) => {
    panel.alert = alert;
    refusal.hidden = true;
    why.value = "";
    const headline = el("div", { class: "badges" }, severity(alert.severity), status(alert.status),
      alert.repeats > 0 && el("span", { class: "chip" }, `repeated ${alert.repeats} times`),
      !alert.certain && el("span", { class: "chip warns" }, "uncertain: a field could not be read whole"),
      alert.incomplete && el("span", { class: "chip warns" }, "events were lost in its window"));
    drawActions(alert);
    if (drawn) return element.querySelector(".badges").replaceWith(headline);
    drawn = true;
    const { process } = alert;
    show(element,
      el("header", {},
        el("div", { class: "title-line" }, el("h2", { tabindex: "-1" }, alert.title),
          el("button", { class: "icon", "aria-label": "Close", title: "Close (Esc)", onclick: close }, "×")),
        headline, alert.description && el("p", {}, alert.description)),
      el("section", { class: "work", "aria-label": "Status" }, actions, field("Reason", why), refusal, history),
      process && el("pre", { class: "command", tabindex: "0", "aria-label": "Command line" }, process.command_line || process.executable),
      facts([
        ["Host", el("a", { href: href("fleet", { agent: alert.agent }) }, alert.host)],
        ["Agent", el("a", { href: href("alerts", { agent: alert.agent, status: "any" }) }, alert.agent)],
        ["Happened", el("time", { datetime: alert.observed_at, title: alert.observed_at }, moment(alert.observed_at))],
        ["Look at", el("a", { href: href("events", { agent: alert.agent, around: alert.observed_at }) }, "events around it")],
        ["Techniques", alert.techniques.length > 0 && alert.techniques.map((technique) =>
          [el("a", { href: href("alerts", { technique, status: "any" }) }, technique), " "])],
        ["Rule", el("a", { class: "mono", href: href("rules", { rule: alert.rule }) }, alert.rule)],
        ["Incident", alert.incident && el("a", { class: "mono", href: href("alerts", { incident: alert.incident, status: "any" }) }, alert.incident.slice(0, 8))],
        ["Score", alert.score],
        ["User", process && (process.user ? `${process.user} (${process.uid})` : String(process.uid))],
        ["Program", process && el("span", { class: "mono" }, process.executable)], ["Pid", process?.pid],
        ["Directory", process && el("span", { class: "mono" }, process.working_directory)],
        ...(process ? container(process) : []),
        ["Capture", alert.capture && el("span", { class: "mono" }, alert.capture)],
      ].map(([name, value]) => [name, value === false ? undefined : value])),
      tree,
      alert.evidence.length > 0 && el("section", { "aria-label": "Evidence" }, el("h3", {}, "Evidence"),
        table("Evidence", ["Field", "Value"], alert.evidence.map(({ field: name, value }) =>
          [name, el("span", { class: "mono evidence-value" }, value)]))),
      drawRaw(),
      alert.false_positives.length > 0 && el("section", { "aria-label": "False positives" }, el("h3", {}, "Also caused by"),
        el("ul", {}, alert.false_positives.map((text) => el("li", {}, text)))),
      alert.references.length > 0 && el("section", { "aria-label": "References" }, el("h3", {}, "Read more"),
        el("ul", {}, alert.references.map((text) => el("li", {}, link(text))))));
    drawTree(tree, alert, control.signal);
  };

  panel.load = async () => {
    try {
      panel.draw(await read(`alerts/${encodeURIComponent(id)}`, {}, control.signal));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      show(element, el("div", { class: "title-line" }, el("h2", {}, words("no alert")),
        el("button", { class: "icon", "aria-label": "Close", onclick: close }, "×")), el("p", { class: "error" }, problem.message));
    }
  };

  /** A change of status was refused. */
  panel.refused = async (problem) => {
    if (problem.status === 409) await panel.load();
    refusal.textContent = problem.message;
    refusal.hidden = false;
  };

  panel.reason = () => why.value.trim();
  panel.leave = () => control.abort();
  panel.load();
  return panel;
}
