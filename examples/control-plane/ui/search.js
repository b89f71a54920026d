// Events that are stored: a span of time is read from its begin on, page by page.

import { read } from "./api.js";
import { since } from "./format.js";

/** How far before and after a moment is looked, and the last moment that a date can be near. */
const AROUND_MS = 600_000;
const LAST_MS = 8.6e15;

/** The span that is searched, from what the URL says; nothing where events are shown as they happen. */
export function searched({ span, around, process }) {
  const at = Date.parse(around);
  const time = (moment) => new Date(moment).toISOString();
  if (Math.abs(at) < LAST_MS) return { from: time(at - AROUND_MS), to: time(at + AROUND_MS) };
  // What one process does is found, and not followed.
  const from = since(span) ?? (process && since("24h"));
  return from && { from, to: time(Date.now()) };
}

/** One search. `came` is given each page, `told` what is to be said of it. */
export class Search {
  constructor(query, { came, told }) {
    Object.assign(this, { query, came, told, count: 0, control: new AbortController() });
  }

  /** Asks for the next page, if there is one. */
  async more() {
    if (this.loading || this.ended) return;
    this.loading = true;
    const { signal } = this.control;
    try {
      const { items, next } = await read("events", { limit: 200, ...this.query, after: this.next }, signal);
      this.next = next;
      this.ended = !next;
      this.count += items.length;
      this.told(this.count === 0 ? "No events here." : `${this.count}${next ? " and more" : ""} events, the oldest first.`);
      this.loading = false;
      this.came(items);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      this.ended = true;
      this.told(problem.message);
    }
  }

  /** Asks no more. */
  stop() {
    this.ended = true;
    this.control.abort();
  }
}
