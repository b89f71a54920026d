// The API: a token in each request, and problems as errors.

const KEY = "lavender.token";

/** What went wrong, in the words of the control plane. */
export class Problem extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    /** Of refused rules, what is wrong with them. */
    this.errors = errors;
  }
}

/** The token of this tab; it is gone when the tab is. */
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Told when the token is refused: `unauthorized`. */
export const session = new EventTarget();

/** A path with parameters; those without a value are left out. */
export function path(route, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `/api/v1/${route}${text && `?${text}`}`;
}

/** Asks, and gives the response once it is a good one. */
export async function ask(url, { method = "GET", body, signal, headers = {}, as = token.get() } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method, signal, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      headers: { ...headers, Authorization: `Bearer ${as}`, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The control plane cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) session.dispatchEvent(new Event("unauthorized"));
  throw new Problem(response.status, problem.detail || `The control plane answers with ${response.status}.`, problem.errors);
}

/** JSON with its integers as they are: those that are too large for a number stay what was written. */
export function parse(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (key, value, context) =>
    (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER ? JSON.rawJSON(context.source) : value));
}

/** What a route answers. */
export const read = async (route, parameters, signal) => parse(await (await ask(path(route, parameters), { signal })).text());

/** Pages of a list, as far as `most` items; whether that is all of it. */
export async function readAll(route, parameters, most, signal) {
  const items = [];
  let after;
  do {
    const page = await read(route, { limit: 200, ...parameters, after }, signal);
    items.push(...page.items);
    after = page.next;
  } while (after && items.length < most);
  return { items, whole: !after };
}
