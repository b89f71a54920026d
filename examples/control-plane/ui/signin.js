// Who comes without a token is asked for one.

import { ask, path, token } from "./api.js";
import { announce, el, field } from "./dom.js";

/** Asks for a token; `done` when there is a good one. */
export function signIn(why, done) {
  const error = el("p", { class: "error", role: "alert", hidden: !why }, why ?? "");
  const secret = el("input", {
    type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false",
    placeholder: "lvd_…", "aria-describedby": "token-help",
  });
  const button = el("button", { class: "primary", type: "submit" }, "Sign in");
  const refuse = (text) => {
    error.textContent = text;
    error.hidden = false;
    secret.focus();
  };
  const form = el("form", {
    class: "card signin",
    onsubmit: async (event) => {
      event.preventDefault();
      const value = secret.value.trim();
      // A header can hold nothing else.
      if (!/^[\x21-\x7e]+$/.test(value)) return refuse("That is not a token: it begins with lvd_.");
      button.disabled = true;
      try {
        await ask(path("session"), { as: value });
        token.set(value);
        announce("Signed in");
        done();
      } catch (problem) {
        refuse(problem.status === 401 ? "That token is not good. Is it whole, and still valid?" : problem.message);
      } finally {
        button.disabled = false;
      }
    },
  },
  el("h1", {}, el("img", { src: "/favicon.svg", alt: "", width: 28, height: 28 }), "Lavender"),
  error,
  field("Token", secret),
  el("p", { class: "quiet", id: "token-help" },
    "The first one is printed when a control plane or an agent starts on an empty store. It is kept in this tab only."),
  button);
  queueMicrotask(() => secret.focus());
  return el("main", { id: "main", class: "signin-page" }, form);
}
