import { el } from "./dom.js";
export function rulesPage() { return { element: el("div", { class: "page" }, el("h1", {}, "rules")), update() {} }; }
