// The shell around the pages: who is signed in, which page is shown, light or dark, keys.

import { accessPage } from "./access.js";
import { alertsPage } from "./alerts.js";
import { session, token } from "./api.js";
import { auditPage } from "./audit.js";
import { el, show } from "./dom.js";
import { eventsPage } from "./events.js";
import { fleetPage } from "./fleet.js";
import { helpDialog } from "./help.js";
import { follow, live, liveState, stop } from "./live.js";
import { overviewPage } from "./overview.js";
import { forget, learn, may, role, who } from "./role.js";
import { changes, current, href } from "./route.js";
import { rulesPage } from "./rules.js";
import { signIn } from "./signin.js";
import { themeButton } from "./theme.js";

/** Each page: what it is called, what makes it, and the role that it takes where that is not everybody's. */
const PAGES = {
  // What a link names is looked up here, and nothing else.
  __proto__: null,
  overview: ["Overview", overviewPage],
  alerts: ["Alerts", alertsPage],
  fleet: ["Fleet", fleetPage],
  events: ["Events", eventsPage],
  rules: ["Rules", rulesPage],
  access: ["Access", accessPage, "admin"],
  audit: ["Audit", auditPage, "admin"],
};

const app = document.getElementById("app");
let shown;

function leave() {
  shown?.page.leave?.();
  shown = undefined;
}

function signOut(why) {
  leave();
  token.forget();
  forget();
  stop();
  document.title = "Sign in · Lavender";
  show(app, signIn(why, start));
}

const STATES = { live: "Live", connecting: "Connecting", offline: "Not connected" };

function stateLight() {
  const words = el("span", { class: "label" });
  const light = el("p", { class: "state", role: "status" }, el("span", { class: "light", "aria-hidden": "true" }), words);
  const draw = () => {
    const state = liveState();
    light.dataset.state = state;
    words.textContent = STATES[state];
  };
  live.addEventListener("state", draw);
  draw();
  return light;
}

function start() {
  const help = helpDialog();
  const links = Object.entries(PAGES).map(([name, [title, , needed]]) =>
    el("a", { href: href(name), "data-page": name, "data-role": needed, hidden: Boolean(needed) }, title));
  const main = el("main", { id: "main", tabindex: "-1" });
  show(app,
    el("header", { class: "top" },
      el("a", { class: "brand", href: href("overview") },
        el("img", { src: "/favicon.svg", alt: "", width: 22, height: 22 }), el("span", {}, "Lavender")),
      el("nav", { "aria-label": "Pages" }, links),
      el("div", { class: "tools" },
        stateLight(),
        el("button", { class: "icon", "aria-label": "Keys", title: "Keys (?)", onclick: () => help.showModal() }, "?"),
        themeButton(),
        el("button", { class: "plain", id: "sign-out", onclick: () => signOut() }, "Sign out"))),
    main, help);
  learn();
  follow();
  route();
}

/** Shows what the URL says. */
function route() {
  if (!token.get() || !document.querySelector("header.top")) return;
  const { page, parameters } = current();
  const [title, make] = PAGES[page] ?? [];
  const main = document.getElementById("main");
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title ?? "Not found"} · Lavender`;
  if (shown?.name !== page) {
    const moved = shown !== undefined;
    leave();
    if (!make) {
      show(main, el("div", { class: "page" }, el("h1", {}, "There is no such page"), el("a", { href: href("overview") }, "Overview")));
      return;
    }
    shown = { name: page, page: make() };
    show(main, shown.page.element);
    if (moved) main.focus({ preventScroll: true });
  }
  shown.page.update(parameters);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") document.querySelector("dialog.help")?.showModal();
  else if (event.key === "/") document.querySelector("main .filters :is(input, select)")?.focus();
  else if (!shown?.page.keys?.(event)) return;
  event.preventDefault();
}

session.addEventListener("unauthorized", () => {
  if (token.get()) signOut("The token is not good any more.");
});
role.addEventListener("known", () => {
  for (const link of document.querySelectorAll("nav a[data-role]")) link.hidden = !may(link.dataset.role);
  const out = document.getElementById("sign-out");
  if (out) out.title = `${who().actor}, ${who().role} of ${who().tenant}`;
});
changes.addEventListener("change", route);
document.addEventListener("keydown", keys);
if (token.get()) start();
else signOut();
