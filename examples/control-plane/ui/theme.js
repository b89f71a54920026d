// Light or dark: as the system has it, until somebody says otherwise.

import { el } from "./dom.js";

const KEY = "lavender.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  const theme = localStorage.getItem(KEY);
  return theme === "light" || theme === "dark" ? theme : undefined;
}

const theme = () => stored() ?? (dark.matches ? "dark" : "light");

function apply() {
  document.documentElement.dataset.theme = theme();
}

/** A button that turns light to dark and back. */
export function themeButton() {
  const button = el("button", {
    class: "icon", "aria-label": "Dark colours", title: "Light or dark",
    onclick: () => {
      const next = theme() === "dark" ? "light" : "dark";
      // What the system says anyway needs no remembering.
      if ((next === "dark") === dark.matches) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
      apply();
      draw();
    },
  }, "◐");
  const draw = () => button.setAttribute("aria-pressed", theme() === "dark");
  dark.addEventListener("change", () => { apply(); draw(); });
  draw();
  return button;
}

apply();
