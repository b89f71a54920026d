// In one look: is anything wrong, where, and is any host blind.

import { read, readAll } from "./api.js";
import { alertRate, bars } from "./chart.js";
import { el, field, select, show } from "./dom.js";
import { LIVENESS, SEVERITIES, SPANS, ago, number, short, spanOptions, words } from "./format.js";
import { live } from "./live.js";
import { card, severity, table } from "./parts.js";
import { Refresh } from "./refresh.js";
import { change, href } from "./route.js";

/** The most agents that are counted. */
const AGENTS = 5000;

function tile(title, figure, note, to, wrong) {
  return el("a", { class: "card tile", href: to, "data-wrong": Boolean(wrong) },
    el("span", { class: "quiet" }, title), el("span", { class: "figure" }, figure), el("span", { class: "quiet cut" }, note));
}

function latest(items) {
  if (!items.length) return el("p", { class: "quiet" }, "Nothing of that kind is open.");
  return el("ul", { class: "latest" }, items.slice(0, 8).map((alert) =>
    el("li", {}, severity(alert.severity),
      el("a", { class: "cut", href: href("alerts", { severity: "high", alert: alert.id }) }, alert.title),
      el("span", { class: "quiet cut" }, alert.host),
      el("time", { class: "quiet", datetime: alert.observed_at, title: alert.observed_at }, ago(alert.observed_at)))));
}

/** The page. */
export function overviewPage() {
  const body = el("div", { class: "stack", "aria-busy": "true" });
  const when = el("div", { class: "filters" });
  const element = el("div", { class: "page" }, el("div", { class: "page-head" }, el("h1", {}, "Overview"), when), body);
  let span = "24h";
  let titles;
  let begun = false;

  async function load(signal) {
    const { seconds, bucket } = SPANS[span];
    const bucketMs = bucket * 1000;
    // Whole buckets, so that bars do not change their place with every look.
    const to = Math.ceil(Date.now() / bucketMs) * bucketMs;
    const from = to - seconds * 1000;
    const time = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    try {
      titles ??= readAll("rules", {}, 10_000, undefined).then(({ items }) => new Map(items.map((rule) => [rule.id, rule.title])));
      const [statistics, urgent, agents, losses, names] = await Promise.all([
        read("alerts/statistics", { ...time, bucket_s: bucket, top: 8 }, signal),
        read("alerts", { status: "open", severity: "high", limit: 100 }, signal),
        readAll("agents", {}, AGENTS, signal), read("losses", time, signal), titles]);
      draw({ statistics, urgent, agents, losses, names, from, to, bucketMs });
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      titles = undefined;
      show(body, el("p", { class: "error", role: "alert" }, problem.message));
    }
    body.removeAttribute("aria-busy");
  }

  function draw({ statistics, urgent, agents, losses, names, from, to, bucketMs }) {
    const states = Object.fromEntries(LIVENESS.map((state) => [state, agents.items.filter((agent) => agent.liveness === state).length]));
    const isolated = agents.items.filter((agent) => agent.heartbeat?.isolated === true).length;
    const lost = losses.reduce((sum, loss) => sum + loss.count, 0);
    const blind = new Set(losses.map((loss) => loss.agent)).size;
    const open = statistics.by_status.find(({ name }) => name === "open")?.count ?? 0;
    const within = SPANS[span].text.toLowerCase();
    show(body,
      el("div", { class: "tiles" },
        tile("Open, high or worse", `${urgent.items.length}${urgent.next ? "+" : ""}`, "to be looked at first", href("alerts", { severity: "high" }), urgent.items.length),
        tile("Alerts", short(statistics.total), `${number(open)} of them open, ${within}`, href("alerts", { status: "any", span })),
        tile("Agents online", `${number(states.online)}${agents.whole ? "" : "+"}`, `${states.offline} offline, ${states.degraded} degraded${isolated ? `, ${isolated} isolated` : ""}`, href("fleet"), states.offline),
        tile("Events lost", short(lost), lost ? `on ${blind} ${blind === 1 ? "host" : "hosts"}, ${within}` : `none, ${within}`, href("fleet"), lost)),
      el("div", { class: "grid" },
        el("div", { class: "two-thirds" }, card("Alerts over time", alertRate(statistics, from, to, bucketMs))),
        el("div", { class: "third" }, card("By severity", bars([...SEVERITIES].reverse().map((name) => ({
          text: words(name), severity: name, count: statistics.by_severity.find((item) => item.name === name)?.count ?? 0,
          to: href("alerts", { severity: name === "informational" ? undefined : name, status: "any", span }),
        }))))),
        el("div", { class: "third" }, card("By technique", bars(statistics.techniques.map(({ name, count }) =>
          ({ text: name, count, to: href("alerts", { technique: name, status: "any", span }) }))))),
        el("div", { class: "third" }, card("By rule", bars(statistics.rules.map(({ name, count }) =>
          ({ text: names.get(name) ?? name, count, to: href("alerts", { rule: name, status: "any", span }) }))))),
        el("div", { class: "third" }, card("By agent", bars(statistics.agents.map(({ name, count }) =>
          ({ text: name, count, to: href("alerts", { agent: name, status: "any", span }) }))))),
        el("div", { class: "two-thirds" }, card("Open, high or worse", latest(urgent.items))),
        el("div", { class: "third" }, card("Losses", losses.length === 0
          ? el("p", { class: "quiet" }, `No agent lost anything, ${within}.`)
          : table("Losses", ["Agent", "What", "Where", "Count"], losses.slice(0, 8).map((loss) =>
            [loss.agent, loss.kind, words(loss.stage), number(loss.count)]), [3])))));
  }

  const refresh = new Refresh(load);
  const soon = () => refresh.soon();
  const told = ["alert_raised", "alert_status", "agent_liveness", "missed"];
  for (const name of told) live.addEventListener(name, soon);

  return {
    element,
    update(parameters) {
      const wanted = SPANS[parameters.span] ? parameters.span : "24h";
      if (begun && wanted === span) return;
      begun = true;
      span = wanted;
      if (!when.contains(document.activeElement)) {
        show(when, field("When", select(spanOptions(), span, (value) => change({ span: value === "24h" ? undefined : value }))));
      }
      refresh.now();
    },
    leave() {
      refresh.stop();
      for (const name of told) live.removeEventListener(name, soon);
    },
  };
}
