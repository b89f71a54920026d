// When agents were there: how many at each moment, who dropped at once, and a line for each of them.

import { fitted, frame } from "./chart.js";
import { svg } from "./dom.js";
import { LIVENESS, clock, number } from "./format.js";

/** How close together agents go offline to have gone at once, in milliseconds. */
const AT_ONCE_MS = 60_000;

/** What each agent was when: `Map(agent, [{ from, to, state }])`, from the transitions in a span, newest first. */
export function histories(agents, transitions, from, to) {
  const changes = new Map(agents.map((agent) => [agent.agent, []]));
  for (let index = transitions.length - 1; index >= 0; index -= 1) {
    changes.get(transitions[index].agent)?.push(transitions[index]);
  }
  return new Map(agents.map((agent) => {
    const parts = [];
    let at = from;
    const first = changes.get(agent.agent)[0];
    let state = first ? first.from ?? "unknown" : agent.liveness ?? "unknown";
    if (!first && Date.parse(agent.liveness_since ?? agent.first_seen) > from) state = "unknown";
    for (const change of changes.get(agent.agent)) {
      const when = Math.min(to, Math.max(from, Date.parse(change.at)));
      if (when > at) parts.push({ from: at, to: when, state });
      at = when;
      state = change.to;
    }
    parts.push({ from: at, to, state });
    return [agent.agent, parts];
  }));
}

/** Moments at which many went offline at once: `{ from, to, agents }`, the newest first. */
export function falls(transitions, fleet) {
  const many = Math.max(3, Math.ceil(fleet / 20));
  const gone = transitions.filter((change) => change.to === "offline");
  const found = [];
  for (let index = 0; index < gone.length;) {
    const last = Date.parse(gone[index].at);
    let end = index;
    while (end + 1 < gone.length && last - Date.parse(gone[end + 1].at) <= AT_ONCE_MS) end += 1;
    const agents = [...new Set(gone.slice(index, end + 1).map((change) => change.agent))];
    if (agents.length >= many) found.push({ from: Date.parse(gone[end].at), to: last, agents });
    index = end + 1;
  }
  return found;
}

/** How many agents were what over time, as areas on top of each other; what fell at once is marked. */
export function liveness(known, drops, from, to) {
  const moves = [];
  for (const parts of known.values()) {
    for (const part of parts) moves.push([part.from, part.state, 1], [part.to, part.state, -1]);
  }
  moves.sort((a, b) => a[0] - b[0]);
  const counts = { online: 0, degraded: 0, offline: 0, unknown: 0 };
  const steps = [];
  for (let index = 0; index < moves.length;) {
    const at = moves[index][0];
    for (; index < moves.length && moves[index][0] === at; index += 1) counts[moves[index][1]] += moves[index][2];
    if (at < to) steps.push({ at, ...counts });
  }
  const last = steps.at(-1) ?? counts;
  const label = `Agents over time. Now ${LIVENESS.map((state) => `${number(last[state])} ${state}`).join(", ")}.`;
  return fitted(label, (width) => {
    const { node, x, y } = frame({ from, to, most: known.size, width, height: 170 });
    // Who is gone stands at the bottom, where a rise is seen at once.
    const order = ["offline", "degraded", "online"];
    order.forEach((state, level) => {
      const under = (step) => order.slice(0, level).reduce((sum, name) => sum + step[name], 0);
      const corners = (value) => steps.flatMap((step, index) =>
        [[x(step.at), y(value(step))], [x(steps[index + 1]?.at ?? to), y(value(step))]]);
      const upper = corners((step) => under(step) + step[state]);
      const lower = corners(under).reverse();
      if (upper.length) {
        node.append(svg("path", { "data-liveness": state, d: `M${[...upper, ...lower].map((point) => point.join(" ")).join("L")}Z` }));
      }
    });
    for (const drop of drops) {
      const left = x(Math.max(from, drop.from));
      node.append(svg("rect", { class: "fall", x: left - 3, width: Math.max(6, x(drop.to) - left + 6), y: 4, height: 146 },
        svg("title", {}, `${drop.agents.length} agents went offline at ${clock(drop.from)}`)));
    }
    return node;
  });
}

/** One agent's line, as wide as there is room. */
export function line(parts, from, to) {
  const width = to - from;
  return svg("svg", { class: "stretch", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    parts.map((part) => svg("rect", {
      "data-liveness": part.state, y: 0, height: 10, x: ((part.from - from) / width) * 1000,
      width: Math.max(1, ((part.to - part.from) / width) * 1000),
    })));
}
