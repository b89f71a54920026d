import { el } from "./dom.js";
export function eventsPage() { return { element: el("div", { class: "page" }, el("h1", {}, "events")), update() {} }; }
