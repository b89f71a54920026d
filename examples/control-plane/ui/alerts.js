// Alerts to work on: the newest first, by filter, as they come.

import { ask, path, read } from "./api.js";
import { alertDetail } from "./alert.js";
import { announce, el, field, input, select, show } from "./dom.js";
import { SEVERITIES, STATUSES, base, moment, since, spanOptions, words } from "./format.js";
import { VirtualList } from "./list.js";
import { live } from "./live.js";
import { change, current } from "./route.js";
import { severity, status } from "./parts.js";

const FILTERS = ["status", "severity", "technique", "rule", "agent", "incident", "span"];

/** What keys do to an alert's status. */
const STATUS_KEYS = { a: "acknowledged", r: "resolved", d: "dismissed", o: "open" };

/** What the API is asked, from what the URL says: open ones, unless it says otherwise. */
function query({ status: wanted = "open", span, severity: least, technique, rule, agent, incident }) {
  return { status: wanted === "any" ? "" : wanted, severity: least, technique, rule, agent, incident, from: since(span) };
}

/** Whether an alert that just came is one of them. */
function matches(alert, wanted) {
  return (!wanted.status || alert.status === wanted.status)
    && (!wanted.severity || SEVERITIES.indexOf(alert.severity) >= SEVERITIES.indexOf(wanted.severity))
    && (!wanted.technique || alert.techniques.some((id) => id === wanted.technique || id.startsWith(`${wanted.technique}.`)))
    && (!wanted.rule || alert.rule === wanted.rule)
    && (!wanted.agent || alert.agent === wanted.agent)
    && (!wanted.incident || alert.incident === wanted.incident)
    && (!wanted.from || Date.parse(alert.observed_at) >= Date.parse(wanted.from));
}

function row(alert) {
  const { process } = alert;
  return el("div", { class: "alert-row", "data-status": alert.status },
    severity(alert.severity),
    el("div", { class: "what" },
      el("span", { class: "title" }, alert.title,
        alert.repeats > 0 && el("span", { class: "count", title: "How often it was repeated" }, ` ×${alert.repeats + 1}`)),
      el("span", { class: "mono quiet cut" }, process ? process.command_line || process.executable : words(alert.event_kind))),
    el("div", { class: "where" }, el("span", { class: "cut" }, alert.host),
      el("span", { class: "quiet cut" }, process ? `${base(process.executable)} ${process.pid}` : "")),
    el("span", { class: "technique mono quiet" }, alert.techniques[0] ?? ""),
    status(alert.status),
    el("time", { class: "when quiet", datetime: alert.observed_at }, moment(alert.observed_at)));
}

const narrow = matchMedia("(max-width: 760px)");

/** The page. */
export function alertsPage() {
  const list = new VirtualList({
    label: "Alerts", row, key: (alert) => alert.id, more, rowHeight: () => (narrow.matches ? 92 : 52),
    open: (alert) => change({ alert: alert.id }, false),
  });
  const tells = el("p", { class: "quiet", role: "status" });
  const filters = el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
  const side = el("aside", { class: "detail", "aria-label": "Alert", hidden: true });
  const split = el("div", { class: "split" }, el("section", { class: "list-box", "aria-label": "List" },
    el("div", { class: "alert-row list-head", "aria-hidden": "true" },
      ["Severity", "What", "Where", "Technique", "Status", "When"].map((name) => el("span", {}, name))),
    list.element, tells), side);
  const element = el("div", { class: "page fills" },
    el("div", { class: "page-head" }, el("h1", {}, "Alerts"), filters), split);

  let wanted;
  let shownFilter;
  let next;
  let loading;
  let detail;

  async function load(first) {
    loading?.abort();
    const control = loading = new AbortController();
    if (first) tells.textContent = "Loading";
    try {
      const page = await read("alerts", { ...wanted, limit: 200, after: first ? undefined : next }, control.signal);
      next = page.next;
      loading = undefined;
      if (first) list.set(page.items);
      else list.append(page.items.filter((alert) => list.items.at(-1)?.id !== alert.id));
      if (first) selectOpened();
      tell();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      loading = undefined;
      next = undefined;
      tells.textContent = problem.message;
    }
  }

  function more() {
    if (next && !loading) load(false);
  }

  function tell() {
    const count = list.items.length;
    tells.textContent = count === 0 ? "No alerts here." : `${count}${next ? " and more" : ""}`;
  }

  function selectOpened() {
    const id = current().parameters.alert;
    const index = id ? list.items.findIndex((alert) => alert.id === id) : -1;
    if (index >= 0) list.select(index);
  }

  /** An alert as it is now, whether it came, changed, or left the filter. */
  function apply(alert) {
    const index = list.items.findIndex((known) => known.id === alert.id);
    if (index >= 0 && list.items[index].revision > alert.revision) return;
    if (index >= 0 && matches(alert, wanted)) list.replace(index, alert);
    else if (index >= 0) list.remove(index);
    else if (matches(alert, wanted)) {
      const at = Date.parse(alert.observed_at);
      const place = list.items.findIndex((known) => Date.parse(known.observed_at) <= at);
      // What belongs behind the last page is found when that is asked for.
      if (place >= 0) list.insert(place, alert);
      else if (!next) list.append([alert]);
    }
    tell();
  }

  function raised({ detail: alert }) {
    apply(alert);
    if (matches(alert, wanted)) announce(`New alert, ${alert.severity}: ${alert.title}`);
  }

  function changed({ detail: alert }) {
    apply(alert);
    if (detail?.alert?.id === alert.id && detail.alert.revision < alert.revision) detail.load();
  }

  async function setStatus(alert, to, reason) {
    if (!alert || alert.status === to) return;
    try {
      const response = await ask(path(`alerts/${encodeURIComponent(alert.id)}/status`),
        { method: "PUT", body: { status: to, revision: alert.revision, ...(reason && { reason }) } });
      const now = await response.json();
      announce(`${words(to)}: ${alert.title}`);
      apply(now);
      if (detail?.id === alert.id) detail.draw(now);
    } catch (problem) {
      announce(problem.message);
      tells.textContent = problem.message;
      if (detail?.id === alert.id) detail.refused(problem);
      else if (problem.status === 409) apply(await read(`alerts/${encodeURIComponent(alert.id)}`));
    }
  }

  function close() {
    change({ alert: undefined }, false);
    list.element.focus();
  }

  function openDetail(id) {
    if (detail?.id === id) return;
    detail?.leave();
    detail = id ? alertDetail(id, { setStatus, close }) : undefined;
    side.hidden = !id;
    split.dataset.open = Boolean(id);
    show(side, detail?.element);
    selectOpened();
  }

  function drawFilters(parameters) {
    const set = (name) => (value) => change({ [name]: value });
    const incident = parameters.incident && el("button", {
      class: "chip", type: "button", onclick: () => change({ incident: undefined }),
    }, `Incident ${parameters.incident.slice(0, 8)} ×`);
    show(filters,
      field("Status", select([["open", "Open"], ...STATUSES.slice(1).map((name) => [name, words(name)]), ["any", "Any"]],
        parameters.status ?? "open", (value) => change({ status: value === "open" ? undefined : value }))),
      field("Severity", select([["", "Any"], ...SEVERITIES.slice(1).map((name) => [name, `${words(name)} or worse`])],
        parameters.severity ?? "", set("severity"))),
      field("When", select(spanOptions([["", "Any time"]]), parameters.span ?? "", set("span"))),
      field("Technique", input(parameters.technique ?? "", set("technique"), { placeholder: "T1059" })),
      field("Agent", input(parameters.agent ?? "", set("agent"), { placeholder: "id" })),
      field("Rule", input(parameters.rule ?? "", set("rule"), { placeholder: "id" })),
      incident);
  }

  live.addEventListener("alert_raised", raised);
  live.addEventListener("alert_status", changed);
  const missed = () => load(true);
  live.addEventListener("missed", missed);

  return {
    element,
    update(parameters) {
      const filter = JSON.stringify(FILTERS.map((name) => parameters[name]));
      if (filter !== shownFilter) {
        shownFilter = filter;
        wanted = query(parameters);
        // Whoever types in a field goes on typing.
        if (!filters.contains(document.activeElement) || !filters.children.length) drawFilters(parameters);
        list.element.scrollTop = 0;
        load(true);
      }
      openDetail(parameters.alert);
    },
    keys(event) {
      const about = () => (detail?.alert && detail.id !== list.current()?.id ? detail.alert : list.current() ?? detail?.alert);
      if (event.key === "j" || event.key === "k") {
        list.step(event.key === "j" ? 1 : -1);
        if (detail && list.current()) change({ alert: list.current().id });
        else list.element.focus();
      } else if (event.key === "Enter") {
        if (event.target.closest("button, a, summary") || !list.current()) return false;
        list.open(list.current());
      } else if (event.key === "Escape" && detail) {
        close();
      } else if (event.key in STATUS_KEYS) {
        setStatus(about(), STATUS_KEYS[event.key], detail?.reason());
      } else {
        return false;
      }
      return true;
    },
    leave() {
      loading?.abort();
      detail?.leave();
      list.close();
      live.removeEventListener("alert_raised", raised);
      live.removeEventListener("alert_status", changed);
      live.removeEventListener("missed", missed);
    },
  };
}
