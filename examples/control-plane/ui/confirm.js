// Asks before something is done that cannot be taken back, and why it is done.

import { el, field } from "./dom.js";
import { changes } from "./route.js";

/**
 * Asks; `{ reason }` when it is to be done, and nothing when not. `act` is what the button says. The reason is asked for
 * where it is kept.
 */
export function confirm(title, text, act, withReason = true) {
  return new Promise((decided) => {
    const reason = el("input", { type: "text", maxlength: 2000, autocomplete: "off", placeholder: "optional" });
    const dialog = el("dialog", { class: "card confirm", "aria-labelledby": "confirm-title", onclose: () => {
      changes.removeEventListener("change", leave);
      dialog.remove();
      decided(dialog.returnValue === "yes" ? { reason: reason.value.trim() || undefined } : undefined);
    } },
    el("form", { method: "dialog" },
      el("h2", { id: "confirm-title" }, title), el("p", {}, text), withReason && field("Reason", reason),
      el("div", { class: "actions" },
        el("button", { class: "primary", value: "yes" }, act),
        // It does not send the form, so that Enter in the field means the button that acts.
        el("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"))));
    // Whoever goes elsewhere meanwhile does not want it any more.
    const leave = () => dialog.close("no");
    changes.addEventListener("change", leave);
    document.body.append(dialog);
    dialog.showModal();
    if (withReason) reason.focus();
  });
}
