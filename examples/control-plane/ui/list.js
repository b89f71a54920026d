// A list of any length: only the rows that can be seen are in the document, and the next page is asked for when its
// end comes near. To those who do not see the screen it is a list box whose one selected option is told.

import { el } from "./dom.js";

/** How many rows are drawn above and below what can be seen. */
const MARGIN = 12;

let lists = 0;

export class VirtualList {
  /**
   * `label` names it; `row(item)` draws an item; `key(item)` tells it apart; `more()` asks for the next page;
   * `open(item)` is what Enter and a click do.
   */
  constructor({ label, row, key, more, open, rowHeight }) {
    Object.assign(this, { row, key, more, open, rowHeight });
    this.id = `list-${++lists}`;
    this.items = [];
    this.active = -1;
    this.shown = new Map();
    this.rows = el("div", { class: "list-rows", role: "presentation" });
    this.element = el("div", {
      class: "list", id: this.id, role: "listbox", tabindex: "0", "aria-label": label,
      onscroll: () => this.plan(), onclick: (event) => this.clicked(event), onkeydown: (event) => this.pressed(event),
      onfocus: () => { if (this.active < 0 && this.items.length) this.select(0); },
    }, this.rows);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  /** Shows these items instead. */
  set(items) {
    const known = this.current();
    this.items = items;
    this.redraw();
    this.active = known ? items.findIndex((item) => this.key(item) === this.key(known)) : -1;
    this.draw();
  }

  /** Adds items at the end. */
  append(items) {
    this.items.push(...items);
    this.plan();
  }

  /** Puts an item at a place; whoever has scrolled keeps seeing what they saw. */
  insert(index, item) {
    this.items.splice(index, 0, item);
    if (this.active >= index) this.active += 1;
    const height = this.height();
    if (this.element.scrollTop > index * height) this.element.scrollTop += height;
    this.redraw();
  }

  /** Draws an item anew. */
  replace(index, item) {
    this.items[index] = item;
    this.redraw();
  }

  /** Takes an item out. */
  remove(index) {
    this.items.splice(index, 1);
    if (this.active > index || this.active >= this.items.length) this.active -= 1;
    this.redraw();
  }

  current() {
    return this.items[this.active];
  }

  /** Makes an item the active one, and brings it into sight. */
  select(index) {
    if (!this.items.length) return;
    this.active = Math.max(0, Math.min(index, this.items.length - 1));
    const height = this.height();
    const top = this.active * height;
    // What was added since it was drawn has its height only then, and there is no scrolling beyond it.
    this.rows.style.height = `${this.items.length * height}px`;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + height > scrollTop + clientHeight) this.element.scrollTop = top + height - clientHeight;
    this.draw();
  }

  /** One up or down. */
  step(by) {
    this.select(this.active < 0 ? 0 : this.active + by);
  }

  height() {
    return this.rowHeight();
  }

  plan() {
    this.planned ||= requestAnimationFrame(() => { this.planned = 0; this.draw(); });
  }

  redraw() {
    for (const node of this.shown.values()) node.remove();
    this.shown.clear();
    this.plan();
  }

  draw() {
    const height = this.height();
    const { scrollTop, clientHeight } = this.element;
    this.rows.style.height = `${this.items.length * height}px`;
    const first = Math.max(0, Math.floor(scrollTop / height) - MARGIN);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / height) + MARGIN);
    for (const [index, node] of this.shown) {
      if (index < first || index >= last) {
        node.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      let node = this.shown.get(index);
      if (!node) {
        node = this.row(this.items[index]);
        node.id = `${this.id}-${index}`;
        node.classList.add("list-row");
        node.setAttribute("role", "option");
        node.setAttribute("aria-posinset", index + 1);
        node.setAttribute("aria-setsize", -1);
        this.shown.set(index, node);
        // In the order of the items, for whoever reads the document.
        let before = null;
        for (let next = index + 1; next < last && !before; next += 1) before = this.shown.get(next) ?? null;
        this.rows.insertBefore(node, before);
      }
      node.style.top = `${index * height}px`;
      node.style.height = `${height}px`;
      node.setAttribute("aria-selected", index === this.active);
    }
    if (this.shown.has(this.active)) this.element.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
    else this.element.removeAttribute("aria-activedescendant");
    if (this.more && this.items.length - last < 60) this.more();
  }

  clicked(event) {
    const node = event.target.closest(".list-row");
    if (!node) return;
    this.select([...this.shown].find(([, shown]) => shown === node)[0]);
    this.open?.(this.current());
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      this.step(steps[event.key]);
    }
  }

  /** Has no further use. */
  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.planned);
  }
}
