// What whoever is signed in may do. The control plane decides; this only spares people what it would refuse.

import { read } from "./api.js";

const ROLES = ["viewer", "analyst", "admin"];

/** How soon it is asked again when it could not be had. */
const AGAIN_MS = 5000;

let known;
let asked;

/** Told when it is known who is signed in: `known`. */
export const role = new EventTarget();

/** Who is signed in: `{ tenant, role, actor, signs_commands }`; nothing as long as that is not known. */
export const who = () => known;

/** Whether they may do what takes that role. */
export const may = (needed) => ROLES.indexOf(known?.role) >= ROLES.indexOf(needed);

/** Asks who is signed in. */
export async function learn() {
  forget();
  const { signal } = asked = new AbortController();
  while (!signal.aborted) {
    try {
      known = await read("session", {}, signal);
      role.dispatchEvent(new Event("known"));
      return;
    } catch (problem) {
      if (problem.name === "AbortError" || problem.status === 401) return;
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/** Nobody is signed in any more. */
export function forget() {
  asked?.abort();
  known = undefined;
}
