// Access tokens: which there are, making one, taking one back.

import { ask, path, readAll } from "./api.js";
import { confirm } from "./confirm.js";
import { announce, el, field, select, show } from "./dom.js";
import { moment, number, words } from "./format.js";
import { card, table } from "./parts.js";

/** The most that are listed. */
const TOKENS = 2000;

const DAY_MS = 86_400_000;

const LIFETIMES = [["", "Never"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"]];

function state(token) {
  if (token.revoked_at) return `taken back ${moment(token.revoked_at)}`;
  if (!token.expires_at) return "good";
  return Date.parse(token.expires_at) <= Date.now() ? `expired ${moment(token.expires_at)}` : `good until ${moment(token.expires_at)}`;
}

const isGood = (token) => !token.revoked_at && !(Date.parse(token.expires_at) <= Date.now());

/** A new token's secret, which is shown once. */
function secret(made, close) {
  const value = el("input", { type: "text", readonly: true, value: made.secret, class: "mono", onfocus: () => value.select() });
  const copied = el("span", { class: "quiet", role: "status" });
  return el("section", { class: "card stack", id: "secret", "aria-label": "New token" },
    el("h2", {}, `The token ${made.token.name}`), el("p", {}, "It is shown now and never again: keep it where secrets are kept."),
    field("Token", value),
    el("div", { class: "actions" },
      el("button", {
        class: "primary",
        onclick: async () => {
          // Without https there may be no clipboard; then it is marked, to be copied by hand.
          value.select();
          try {
            await navigator.clipboard.writeText(made.secret);
            copied.textContent = "Copied.";
          } catch {
            copied.textContent = "It is marked: copy it by Ctrl+C.";
          }
        },
      }, "Copy"), el("button", { onclick: close }, "I have kept it"), copied));
}

/** The page. */
export function accessPage() {
  const control = new AbortController();
  const shown = el("div", {});
  const list = el("div", {}, el("p", { class: "quiet" }, "Loading"));
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const name = el("input", { type: "text", required: true, maxlength: 100, autocomplete: "off", placeholder: "who or what has it" });
  let role = "viewer";
  let days = "";
  const button = el("button", { class: "primary", type: "submit" }, "Make");
  const form = el("form", {
    class: "filters", "aria-label": "Make a token",
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      await trying(async () => {
        const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : undefined;
        const made = await (await ask(path("tokens"), { method: "POST", body: { name: name.value.trim(), role, expires_at } })).json();
        show(shown, secret(made, () => { show(shown); name.focus(); }));
        shown.querySelector("input").focus();
        name.value = "";
      });
      button.disabled = false;
    },
  }, field("Name", name), field("Role", select([["viewer", "Viewer"], ["analyst", "Analyst"], ["admin", "Admin"]], role, (value) => { role = value; })),
  field("Expires", select(LIFETIMES, days, (value) => { days = value; })), button);
  const element = el("div", { class: "page" }, el("div", { class: "page-head" }, el("h1", {}, "Access")),
    el("section", { class: "card stack", "aria-label": "New" }, el("h2", {}, "Make a token"),
      el("p", { class: "quiet" }, "Viewers look; analysts work on alerts and ask hosts; admins change hosts, rules and access."), form, error),
    shown, card("Tokens", list));

  async function trying(act) {
    error.hidden = true;
    try {
      await act();
      await load();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      error.textContent = problem.message;
      error.hidden = false;
    }
  }

  async function revoke(token) {
    const decided = await confirm(`Take back ${token.name}`, "Whoever has it is refused from then on.", "Take back", false);
    if (!decided) return;
    await trying(async () => {
      await ask(path(`tokens/${encodeURIComponent(token.id)}`), { method: "DELETE" });
      announce(`${token.name} was taken back`);
    });
  }

  async function load() {
    const { items, whole } = await readAll("tokens", {}, TOKENS, control.signal);
    show(list, table("Tokens", ["Name", "Role", "State", "Made", "By", ""], items.map((token) => [
      token.name, words(token.role), state(token), moment(token.created_at), token.created_by,
      isGood(token) && el("button", { "aria-label": `Take back ${token.name}`, onclick: () => revoke(token) }, "Take back")])),
    !whole && el("p", { class: "quiet" }, `Only the last ${number(items.length)} are shown.`));
  }

  load().catch((problem) => {
    if (problem.name !== "AbortError") show(list, el("p", { class: "error" }, problem.message));
  });
  return { element, update() {}, leave: () => control.abort() };
}
