// What is shown stands in the URL, behind `#`: `#/alerts?severity=high&alert=…`. So a reload shows the same, a link
// leads to it, and no server's log has it.

/** Told when something else is to be shown: `change`. */
export const changes = new EventTarget();

/** The page and its parameters, as the URL has them. */
export function current() {
  const [name, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { page: name || "overview", parameters: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a page. */
export function href(page, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${page}${text && `?${text}`}`;
}

/** Goes to a page; with `replace`, without a step back. */
export function go(page, parameters, replace = false) {
  const to = href(page, parameters);
  if (to === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  changes.dispatchEvent(new Event("change"));
}

/** Changes some parameters of the page that is shown. */
export function change(parameters, replace = true) {
  const at = current();
  go(at.page, { ...at.parameters, ...parameters }, replace);
}

window.addEventListener("popstate", () => changes.dispatchEvent(new Event("change")));
