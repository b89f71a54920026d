// What agents say of themselves in heartbeats: whether they see, which published rules they use, what they refused, how their
// spools stand.

import { el } from "./dom.js";
import { moment, number, plain, words } from "./format.js";
import { facts, table } from "./parts.js";

/** The published rules that an agent uses: `{ revision, behind, fault }`; nothing of one that takes none. */
export function rulesOf(agent, newest) {
  const ruleset = agent.heartbeat?.ruleset;
  if (!ruleset) return undefined;
  const revision = ruleset.in_use?.revision ?? 0;
  return { revision, behind: revision < newest, fault: ruleset.fault };
}

/** A mark for an agent whose host is cut off the network. */
export const isolated = (agent) => agent.heartbeat?.isolated === true && [el("span", { class: "chip warns" }, "isolated"), " "];

const named = (revision) => (revision === 0 ? "none" : `revision ${number(revision)}`);

/** In a row: which revision, and whether it is the newest. */
export function revision(agent, newest) {
  const known = rulesOf(agent, newest);
  const text = !known || (known.revision === 0 && newest === 0) ? "" : `rev ${number(known.revision)}${known.behind ? ", behind" : ""}`;
  return el("span", { class: "revision", "data-behind": Boolean(known?.behind || known?.fault), title: known?.fault && plain(known.fault) }, text);
}

/** Who uses which revision, the newest first. */
export function revisions(agents, newest) {
  const known = agents.map((agent) => ({ agent: agent.agent, ...rulesOf(agent, newest) })).filter((it) => it.revision !== undefined);
  if (newest === 0) return el("p", { class: "quiet" }, "No rules were published yet.");
  if (!known.length) return el("p", { class: "quiet" }, `Revision ${number(newest)} is published. No agent has said that it takes published rules.`);
  const groups = new Map();
  for (const it of known) groups.set(it.revision, [...(groups.get(it.revision) ?? []), it]);
  const names = (all) => `${number(all.length)}: ${all.slice(0, 8).map((it) => it.agent).join(", ")}${all.length > 8 ? ` and ${number(all.length - 8)} more` : ""}`;
  const faults = (all) => [...new Set(all.map((it) => it.fault).filter(Boolean))].slice(0, 3).map((fault) => el("p", {}, plain(fault)));
  return table("Published rules in use", ["Revision", "Agents", "Why not a later one"], [...groups.entries()].sort(([a], [b]) => b - a).map(([at, all]) => [
    el("span", { class: "revision", "data-behind": at < newest }, `${named(at)}${at < newest ? `, behind ${number(newest)}` : ", the newest"}`),
    names(all), faults(all)]));
}

/** A time in ns, as events have it. Numbers so large come as they stand in the text where the browser can tell. */
const milliseconds = (nanos) => Number(nanos.rawJSON ?? nanos) / 1e6;

/** Whether an agent's sensor sees what the agent does to be seen. */
function canary(told) {
  if (!told) return undefined;
  const { missing } = told;
  if (!missing) return told.last_seen_at === undefined ? "not seen yet" : `seen in ${number(told.latency_ms)} ms`;
  return [el("span", { class: "error" }, `not seen since ${moment(milliseconds(missing.since))}: ${missing.kinds.map(words).join(", ")}`),
    missing.fault && el("p", { class: "error" }, plain(missing.fault))];
}

/** How prevention in the kernel stands, and what it has done. */
function prevention(told) {
  if (!told) return undefined;
  const counts = [["acts", told.dry_run ? "would have been prevented" : "prevented"], ["untold", "of them not told one by one"],
    ["spared", "let go: protected"], ["missed", "not looked at, for want of memory"]];
  const done = counts.filter(([name]) => told[name] > 0).map(([name, text]) => `${number(told[name])} ${text}`);
  return [[`${number(told.rules)} rules${told.dry_run ? ", dry run" : ""}`, ...done].join("; "),
    ...Object.entries(told.unavailable ?? {}).map(([hook, why]) => el("p", { class: "error" }, `${words(hook)}: ${plain(why)}`))];
}

/** Counts by name, the largest first: `70: file_open 63, net_connect 7`. */
function counted(counts = {}) {
  const known = Object.entries(counts).map(([name, count]) => [name, Number(count.rawJSON ?? count)]).filter(([, count]) => count > 0);
  if (!known.length) return undefined;
  const total = number(known.reduce((sum, [, count]) => sum + count, 0));
  return `${total}: ${known.sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${number(count)}`).join(", ")}`;
}

/** Of one agent: what it said last. */
export function health(agent, newest) {
  const beat = agent.heartbeat;
  if (!beat) return [];
  const known = rulesOf(agent, newest);
  const { commands, spool } = beat;
  const refused = Object.entries(commands?.refused ?? {}).filter(([, count]) => count > 0);
  return [
    facts([
      ["Network", beat.isolated === true && "Isolated: cut off, but for the broker, until it is released"],
      ["Canary", canary(beat.canary)], ["Prevention in the kernel", prevention(beat.prevention)],
      ["Published rules", known && [el("span", { class: "revision", "data-behind": known.behind }, `${named(known.revision)}${known.behind
        ? `, behind ${number(newest)}` : ""}`), known.fault && el("p", { class: "error" }, plain(known.fault))]],
      ["Commands carried out", commands && number(commands.admitted)], ["Commands repeated", commands && number(commands.repeated)],
      ["Commands refused", commands && number(refused.reduce((sum, [, count]) => sum + count, 0))],
      ["Waiting for the broker", spool && `${number(spool.waiting)} messages, ${number(spool.bytes)} bytes`],
      ["Given up for want of room", spool?.shed > 0 && number(spool.shed)],
      ["Spool", spool?.fault && el("span", { class: "error" }, plain(spool.fault))],
      ["Left out, since no rule needs it", counted(beat.filtered)], ["Throttled", counted(beat.throttled)],
      ["Programs not hashed", counted(beat.unhashed)], ["Containers not described", counted(beat.undescribed)],
      ["Said at", moment(agent.heartbeat_at)],
    ].map(([name, value]) => [name, value === false ? undefined : value])),
    refused.length > 0 && table("Commands refused since it started", ["Why", "Count"],
      refused.map(([why, count]) => [words(why), number(count)]), [1]),
  ];
}
