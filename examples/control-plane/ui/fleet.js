// The fleet: who is there, who dropped and when, what each host can see, and what was lost.

import { read, readAll } from "./api.js";
import { commandsPanel } from "./commands.js";
import { el, field, select, show } from "./dom.js";
import { LIVENESS, SPANS, ago, clock, moment, number, spanOptions, words } from "./format.js";
import { health, isolated, revision, revisions } from "./health.js";
import { VirtualList } from "./list.js";
import { live } from "./live.js";
import { card, facts, liveness as state, table } from "./parts.js";
import { Refresh } from "./refresh.js";
import { change, href } from "./route.js";
import { falls, histories, line, liveness } from "./timeline.js";

/** The most agents and transitions that are shown. */
const AGENTS = 5000;
const TRANSITIONS = 10_000;

const narrow = matchMedia("(max-width: 760px)");

/** Who is gone first, who went last first among them: so those that went at once stand together. */
function inOrder(agents) {
  const rank = (agent) => 2 - LIVENESS.indexOf(agent.liveness ?? "online");
  const since = (agent) => agent.liveness_since ?? "";
  return [...agents].sort((a, b) => rank(a) - rank(b) || since(b).localeCompare(since(a)) || a.agent.localeCompare(b.agent));
}

/** Hosts that can see the same: `{ kernel, version, kinds, agents }`. */
function capabilities(agents) {
  const groups = new Map();
  for (const agent of agents) {
    const key = JSON.stringify([agent.kernel_release, agent.version, [...agent.kinds].sort()]);
    const group = groups.get(key) ?? { kernel: agent.kernel_release, version: agent.version, kinds: new Set(agent.kinds), agents: [] };
    group.agents.push(agent.agent);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.agents.length - a.agents.length);
}

function capabilityTable(agents) {
  const groups = capabilities(agents);
  const kinds = [...new Set(groups.flatMap((group) => [...group.kinds]))].sort();
  if (!kinds.length) return el("p", { class: "quiet" }, "No agent has said yet what its host can deliver.");
  const names = (all) => (all.length > 4 ? `${all.slice(0, 4).join(", ")} and ${all.length - 4} more` : all.join(", "));
  return table("Capabilities", ["Agents", "Kernel", "Version", ...kinds], groups.map((group) => [
    el("span", { title: group.agents.join(", ").slice(0, 2000) }, `${number(group.agents.length)}: ${names(group.agents)}`),
    group.kernel ?? "?", group.version ?? "?",
    ...kinds.map((kind) => (group.kinds.has(kind) ? el("span", { class: "yes" }, "yes") : el("span", { class: "no" }, "no")))]));
}

function agentCard(agent, { transitions: { items: transitions }, newest }, close) {
  const own = transitions.filter((item) => item.agent === agent.agent).slice(0, 20);
  const place = card(agent.agent, facts([
    ["State", state(agent.liveness)], ["Since", agent.liveness_since && moment(agent.liveness_since)],
    ["Last heard", el("time", { datetime: agent.last_seen }, moment(agent.last_seen))], ["First heard", moment(agent.first_seen)],
    ["Host", agent.host], ["Version", agent.version], ["Kernel", agent.kernel_release], ["Rules", agent.rules],
    ["Last loss", agent.last_lost_at && moment(agent.last_lost_at)], ["Delivers", agent.kinds.join(", ")],
    ["Look at", [el("a", { href: href("alerts", { agent: agent.agent, status: "any" }) }, "alerts"), ", ",
      el("a", { href: href("events", { agent: agent.agent }) }, "events")]],
  ]), health(agent, newest), own.length > 0 && table("Transitions", ["When", "From", "To", "Why"], own.map((item) =>
    [moment(item.at), item.from ? words(item.from) : "–", state(item.to), words(item.reason)])),
  el("p", {}, el("button", { onclick: close }, "Close")));
  place.id = "agent";
  return place;
}

/** The page. */
export function fleetPage() {
  const body = el("div", { class: "stack" });
  const when = el("div", { class: "filters" });
  const element = el("div", { class: "page" }, el("div", { class: "page-head" }, el("h1", {}, "Fleet"), when), body);
  let span = "24h";
  let opened;
  let command;
  let begun = false;
  let data;
  const list = new VirtualList({
    label: "Agents", key: (agent) => agent.agent, rowHeight: () => (narrow.matches ? 52 : 30),
    row: (agent) => el("div", { class: "agent-row" }, el("span", { class: "cut" }, isolated(agent), agent.agent), state(agent.liveness),
      line(data.known.get(agent.agent), data.from, data.to), revision(agent, data.newest), el("span", { class: "quiet" }, ago(agent.last_seen))),
    open: (agent) => change({ agent: agent.agent, command: undefined }, false),
  });
  const chart = el("div", {});
  const one = el("div", {});
  const orders = el("div", {});
  let commands;
  const rest = el("div", { class: "grid" });
  show(body, chart, one, orders, card("Agents", el("div", { class: "agents" }, list.element)), rest);

  async function load(signal) {
    const to = Date.now();
    const from = to - SPANS[span].seconds * 1000;
    const time = { from: new Date(from).toISOString() };
    try {
      const [agents, transitions, losses, publications] = await Promise.all([readAll("agents", {}, AGENTS, signal),
        readAll("transitions", time, TRANSITIONS, signal), read("losses", time, signal), read("rules/publications", { limit: 1 }, signal)]);
      data = { agents, transitions, losses, from, to, newest: publications.items[0]?.revision ?? 0, known: histories(agents.items, transitions.items, from, to) };
      draw();
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      show(chart, el("p", { class: "error", role: "alert" }, problem.message));
    }
  }

  function draw() {
    const { agents, transitions, losses, from, to, known, newest } = data;
    const drops = falls(transitions.items, agents.items.length);
    show(chart, card("Agents over time",
      drops.length > 0 && el("ul", { class: "falls" }, drops.slice(0, 3).map((drop) => el("li", {},
        el("strong", {}, `${number(drop.agents.length)} agents went offline at once`), ` at ${moment(drop.from)}: `,
        `${drop.agents.slice(0, 6).join(", ")}${drop.agents.length > 6 ? ` and ${drop.agents.length - 6} more` : ""}.`,
        ` Back since: ${number(drop.agents.filter((id) => agents.items.find((agent) => agent.agent === id)?.liveness !== "offline").length)}.`))),
      el("p", { class: "legend" }, LIVENESS.map((name) => el("span", {}, state(name), " ",
        number(agents.items.filter((agent) => agent.liveness === name).length)))),
      liveness(known, drops, from, to),
      !(agents.whole && transitions.whole) && el("p", { class: "quiet" },
        `Only the first ${number(agents.items.length)} agents and the last ${number(transitions.items.length)} transitions are shown.`)));
    list.set(inOrder(agents.items));
    show(rest, card("Published rules in use", revisions(agents.items, newest)), card("What each host can deliver", capabilityTable(agents.items)),
      card(`Losses, ${SPANS[span].text.toLowerCase()}`, losses.length === 0
        ? el("p", { class: "quiet" }, "No agent lost anything.")
        : table("Losses", ["Agent", "Host", "Kind", "Where", "Count"], losses.map((loss) =>
          [loss.agent, loss.host, loss.kind, words(loss.stage), number(loss.count)]), [4])));
    drawOne();
  }

  function drawOne() {
    const agent = opened && data?.agents.items.find((known) => known.agent === opened);
    show(one, agent && agentCard(agent, data, close));
    // What is typed there stays when the rest is drawn anew.
    if (commands?.agent !== agent?.agent) {
      commands?.leave();
      commands = agent && { agent: agent.agent, ...commandsPanel(agent.agent) };
      show(orders, commands?.element);
    }
    commands?.open(command);
  }

  function close() {
    change({ agent: undefined, command: undefined }, false);
    list.element.focus();
  }

  const refresh = new Refresh(load);
  const soon = () => refresh.soon();
  live.addEventListener("agent_liveness", soon);
  live.addEventListener("missed", soon);

  return {
    element,
    update(parameters) {
      const wanted = SPANS[parameters.span] ? parameters.span : "24h";
      opened = parameters.agent;
      command = parameters.command;
      drawOne();
      if (begun && wanted === span) return;
      begun = true;
      span = wanted;
      if (!when.contains(document.activeElement)) {
        show(when, field("When", select(spanOptions(), span, (value) => change({ span: value === "24h" ? undefined : value }))));
      }
      refresh.now();
    },
    keys(event) {
      if (event.key === "j" || event.key === "k") {
        list.step(event.key === "j" ? 1 : -1);
        list.element.focus({ preventScroll: true });
      } else if (event.key === "Enter" && !event.target.closest("button, a") && list.current()) list.open(list.current());
      else if (event.key === "Escape" && commands?.opened()) change({ command: undefined }, false);
      else if (event.key === "Escape" && opened) close();
      else return false;
      return true;
    },
    leave() {
      refresh.stop();
      commands?.leave();
      list.close();
      live.removeEventListener("agent_liveness", soon);
      live.removeEventListener("missed", soon);
    },
  };
}
