import { el } from "./dom.js";
export function fleetPage() { return { element: el("div", { class: "page" }, el("h1", {}, "fleet")), update() {} }; }
