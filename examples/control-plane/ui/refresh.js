// What a page shows is asked for again: every so often, and soon after something happened; one time at a time.

/** How often, and how soon. */
const EVERY_MS = 30_000;
const SOON_MS = 1000;

export class Refresh {
  /** `load(signal)` asks and draws. */
  constructor(load) {
    this.load = load;
  }

  /** At once, whatever is under way. */
  async now() {
    clearTimeout(this.timer);
    this.due = Infinity;
    this.control?.abort();
    const { signal } = this.control = new AbortController();
    try {
      await this.load(signal);
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    }
    if (signal.aborted) return;
    this.within(this.again ? SOON_MS : EVERY_MS);
  }

  /** Something happened. However often that is said, it is asked once a second and not more. */
  soon() {
    if (this.due === Infinity) this.again = true;
    else this.within(SOON_MS);
  }

  within(delay) {
    this.again = false;
    const due = Date.now() + delay;
    if (this.due <= due) return;
    this.due = due;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.now(), delay);
  }

  /** No more. */
  stop() {
    clearTimeout(this.timer);
    this.control?.abort();
  }
}
