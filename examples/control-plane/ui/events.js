// Events by agent and kind: as they happen, or those that are stored of a span of time.

import { readAll } from "./api.js";
import { el, field, input, select, show } from "./dom.js";
import { base, moment, spanOptions, words } from "./format.js";
import { kernelCall } from "./kernel.js";
import { VirtualList } from "./list.js";
import { follow, live } from "./live.js";
import { facts } from "./parts.js";
import { change } from "./route.js";
import { Search, searched } from "./search.js";

/** How many are kept in sight. */
const KEPT = 2000;

/** Kinds that can be chosen at once; what else agents deliver is added when they were asked. */
const KINDS = ["exec", "fork", "exit", "file_open", "net_connect", "heartbeat", "lost", "agent_start", "agent_stop", "response"];

/** The kinds to choose from, the one that was chosen among them. */
const kinds = (chosen) => [["", "Any"], ...[...new Set([...KINDS, ...(chosen ? [chosen] : [])])].map((kind) => [kind, kind])];

const narrow = matchMedia("(max-width: 760px)");

const commandLine = (process) => (Array.isArray(process?.arguments) ? process.arguments.join(" ") : process?.name ?? "");

/** A value of an event's data in one line. */
const brief = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));

/** What happened, in one line. */
function what({ kind, event }) {
  const { data = {}, process } = event;
  if (kind === "exec" || kind === "fork" || kind === "exit") return commandLine(process);
  const call = kernelCall(kind, data);
  if (call) return call.map(brief).join(" ");
  if (typeof data.path === "string") return data.path;
  return Object.entries(data ?? {}).map(([name, value]) => `${name}=${brief(value)}`).join(" ");
}

function row(item) {
  const { process } = item.event;
  const program = typeof process?.executable?.path === "string" ? base(process.executable.path) : process?.name;
  return el("div", { class: "event-row" }, el("time", { class: "quiet", datetime: item.observed_at, title: item.observed_at }, moment(item.observed_at)),
    el("span", {}, item.kind), el("span", { class: "cut quiet" }, item.agent),
    el("span", { class: "cut" }, process ? `${brief(program ?? "?")} ${process.pid}` : ""), el("span", { class: "cut mono" }, what(item)));
}

/** The page. */
export function eventsPage() {
  let paused = false;
  let waiting = [];
  let missed = 0;
  let filter;
  let search;
  let opened;
  const tells = el("p", { class: "quiet" });
  const side = el("aside", { class: "detail", "aria-label": "Event", hidden: true });
  const list = new VirtualList({ label: "Events", row, key: (item) => item.event.id, rowHeight: () => (narrow.matches ? 48 : 30), open,
    more: () => search?.more() });
  const split = el("div", { class: "split" }, el("section", { class: "list-box", "aria-label": "List" },
    el("div", { class: "event-row list-head", "aria-hidden": "true" },
      ["When", "Kind", "Agent", "Process", "What"].map((name) => el("span", {}, name))), list.element, tells), side);
  const filters = el("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
  const pause = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) flush();
  } }, "Pause");
  const one = el("button", { type: "button", class: "chip", onclick: () => change({ process: undefined, ...(!filter.around && { span: filter.span ?? "24h" }) }) },
    "One process ×");
  const element = el("div", { class: "page fills" }, el("div", { class: "page-head" }, el("h1", {}, "Events"), filters), split);
  let frame = 0;

  function came({ detail }) {
    if (search) return;
    waiting.push(detail);
    if (waiting.length > KEPT) missed += waiting.splice(0, waiting.length - KEPT).length;
    if (paused) tells.textContent = `Paused: ${waiting.length} wait.`;
    else frame ||= requestAnimationFrame(flush);
  }

  /** The newest stands on top; whoever has scrolled down keeps seeing what they saw. */
  function flush() {
    frame = 0;
    if (!waiting.length) return;
    const known = new Set(list.items.slice(0, KEPT).map((item) => item.event.id));
    const fresh = waiting.filter((item) => !known.has(item.event.id)).reverse();
    waiting = [];
    const scrolled = list.element.scrollTop;
    list.set([...fresh, ...list.items].slice(0, KEPT));
    if (scrolled > 0) list.element.scrollTop = scrolled + fresh.length * list.height();
    tells.textContent = `${list.items.length} events${missed ? `, ${missed} not shown` : ""}`;
  }

  function open(item) {
    opened = item;
    side.hidden = !item;
    split.dataset.open = Boolean(item);
    if (!item) return list.element.focus();
    show(side, el("div", { class: "alert" },
      el("div", { class: "title-line" }, el("h2", {}, words(item.kind)),
        el("button", { class: "icon", "aria-label": "Close", onclick: () => open(undefined) }, "×")),
      facts([["Agent", item.agent], ["Host", item.host], ["When", item.observed_at]]),
      el("pre", { tabindex: "0", "aria-label": "Event in JSON" }, JSON.stringify(item.event, null, 2))));
  }

  function lost({ detail }) {
    if (!detail.telemetry || search) return;
    missed += 1;
    tells.textContent = "There were more events than can be shown as they happen: choose a time, and they are found.";
  }

  live.addEventListener("telemetry", came);
  live.addEventListener("missed", lost);

  async function offer() {
    const agents = el("datalist", { id: "agents" });
    filters.append(agents);
    const { items } = await readAll("agents", {}, 1000).catch(() => ({ items: [] }));
    show(agents, items.map((agent) => el("option", { value: agent.agent })));
    const more = new Set(items.flatMap((agent) => agent.kinds));
    for (const known of KINDS) more.delete(known);
    more.delete(filter.kind);
    filters.querySelector("select").append(...[...more].sort().map((kind) => el("option", { value: kind }, kind)));
  }

  /** What can be chosen as the time: now, the last so long, and what a link led to. */
  function when({ span, around, process }) {
    const choices = [["", "As they happen"], ...spanOptions(), ...(around ? [[around, `Around ${moment(around)}`]] : [])];
    return field("When", select(choices, around ?? span ?? (process ? "24h" : ""), (value) => change({
      span: value === around ? undefined : value, around: value === around ? around : undefined,
      // Events of one process are found, and not followed.
      ...(!value && { process: undefined }),
    })));
  }

  return {
    element,
    update(parameters) {
      const { agent, kind, span, around, process } = parameters;
      const wanted = { agent, kind, span, around, process };
      if (JSON.stringify(wanted) === JSON.stringify(filter)) return;
      filter = wanted;
      search?.stop();
      const time = searched(parameters);
      search = time && new Search({ ...time, agent, kind, process }, {
        came: (items) => list.append(items),
        told: (text) => { tells.textContent = text; },
      });
      // Whoever is in a field stays there.
      if (!filters.contains(document.activeElement) || !filters.children.length) {
        show(filters, field("Agent", input(agent ?? "", (wants) => change({ agent: wants }), { list: "agents" })),
          field("Kind", select(kinds(kind), kind ?? "", (wants) => change({ kind: wants }))), when(parameters), one, pause);
        offer();
      }
      one.hidden = !process;
      pause.hidden = Boolean(search);
      split.dataset.dated = Boolean(search);
      waiting = [];
      missed = 0;
      list.set([]);
      tells.textContent = search ? "Loading" : "Waiting for events. They are shown two seconds after they happen.";
      follow(search ? {} : { telemetry: true, agent, kind });
      search?.more();
    },
    keys(event) {
      if (event.key === "j" || event.key === "k") {
        list.step(event.key === "j" ? 1 : -1);
        if (opened) open(list.current());
      } else if (event.key === "Enter" && !event.target.closest("button, a") && list.current()) open(list.current());
      else if (event.key === "Escape" && opened) open(undefined);
      else return false;
      return true;
    },
    leave() {
      search?.stop();
      cancelAnimationFrame(frame);
      list.close();
      live.removeEventListener("telemetry", came);
      live.removeEventListener("missed", lost);
      follow({});
    },
  };
}
