import { el } from "./dom.js";
export function overviewPage() { return { element: el("div", { class: "page" }, el("h1", {}, "overview")), update() {} }; }
