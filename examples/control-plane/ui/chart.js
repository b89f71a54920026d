// Small charts, drawn by hand. Each says in words what it shows.

import { el, show, svg } from "./dom.js";
import { SEVERITIES, clock, day, number, short } from "./format.js";

/** An element in which `draw(width)` draws, anew whenever its width is another. */
export function fitted(label, draw) {
  const box = el("div", { class: "chart", role: "img", "aria-label": label });
  let known = 0;
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (!box.isConnected) return observer.disconnect();
    if (width > 0 && width !== known) {
      known = width;
      show(box, draw(width));
    }
  });
  observer.observe(box);
  return box;
}

/** Round numbers up to at least `most`. */
function scale(most) {
  const step = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5, 6, 7].map((power) => digit * 10 ** power))
    .sort((a, b) => a - b).find((size) => size * 3 >= most) ?? most;
  return [0, 1, 2, 3].map((times) => times * step).filter((value) => value < most + step);
}

/** Times on the axis below, no more than fit. */
function marks(from, to, width) {
  const minutes = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14_400];
  const fit = Math.max(2, Math.floor(width / 90));
  const step = (minutes.find((minute) => (to - from) / (minute * 60_000) <= fit) ?? 43_200) * 60_000;
  const zone = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < to; at += step) found.push(at);
  return found.map((at) => ({ at, text: step >= 86_400_000 ? day(at).slice(5) : clock(at, false) }));
}

/** A frame with a scale on the left and times below: `{ svg, x, y, high }`, in which something is drawn. */
export function frame({ from, to, most, width, height }) {
  const ticks = scale(Math.max(1, most));
  const top = ticks.at(-1);
  const left = 12 + Math.max(...ticks.map((tick) => short(tick).length)) * 7;
  const x = (at) => left + ((at - from) / (to - from)) * (width - left);
  const y = (value) => height - 20 - (value / top) * (height - 30);
  const node = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ticks.map((tick) => [
      svg("line", { class: "rule", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, short(tick))]),
    marks(from, to, width - left).filter(({ at }) => x(at) > left + 14 && x(at) < width - 14).map(({ at, text }) =>
      svg("text", { x: x(at), y: height - 4, "text-anchor": "middle" }, text)));
  return { node, x, y };
}

/** Alerts over time: a bar for each bucket, the worst at the bottom. */
export function alertRate(statistics, from, to, bucketMs) {
  const totals = statistics.buckets.map((bucket) => bucket.by_severity.reduce((sum, { count }) => sum + count, 0));
  const most = Math.max(0, ...totals);
  const busiest = statistics.buckets[totals.indexOf(most)];
  const label = `Alerts over time: ${number(statistics.total)} in all`
    + (busiest ? `, the most from ${day(busiest.from)} ${clock(busiest.from, false)} on, ${most}` : "");
  return fitted(label, (width) => {
    const { node, x, y } = frame({ from, to, most, width, height: 190 });
    for (const bucket of statistics.buckets) {
      const start = Math.max(from, Date.parse(bucket.from));
      const end = Math.min(to, Date.parse(bucket.from) + bucketMs);
      const counts = Object.fromEntries(bucket.by_severity.map(({ name, count }) => [name, count]));
      let below = 0;
      for (const name of [...SEVERITIES].reverse()) {
        const count = counts[name] ?? 0;
        if (!count) continue;
        const height = y(below) - y(below + count);
        node.append(svg("rect", {
          "data-severity": name, x: x(start) + 0.5, width: Math.max(1, x(end) - x(start) - 1.5),
          y: y(below + count), height: Math.max(1, height - (height > 3 ? 1 : 0)), rx: 1,
        }, svg("title", {}, `${clock(start, false)}: ${count} ${name}`)));
        below += count;
      }
    }
    return node;
  });
}

/** How many of each, as bars with names; `{ name, text, count, to, severity }`. */
export function bars(items) {
  const most = Math.max(1, ...items.map((item) => item.count));
  return el("ul", { class: "bars" }, items.map((item) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true", "data-severity": item.severity });
    bar.style.width = `${Math.max(item.count > 0 ? 1 : 0, (item.count / most) * 100)}%`;
    return el("li", {},
      el("span", { class: "cut", title: item.text }, item.to ? el("a", { href: item.to }, item.text) : item.text),
      el("span", { class: "number" }, number(item.count)), el("span", { class: "track", "aria-hidden": "true" }, bar));
  }));
}
