// What a command gave: drawn as text, whatever it is, and a file to keep.

import { el, field, input, show } from "./dom.js";
import { base, bytesOf, number, plain, textOf } from "./format.js";
import { facts, table } from "./parts.js";

/** How many processes are drawn at once. */
const DRAWN = 300;

/** How much of a file that is no text is shown, in bytes; sixteen to the line. */
const SHOWN_BYTES = 512;

/** The pid within a process id: its last 22 bits. */
const pid = (process) => Number.parseInt(process.slice(-6), 16) & 0x3fffff;

/** The processes of a host, to search through. */
function processes({ processes: all, left_out: leftOut }) {
  const place = el("div", {});
  const told = el("p", { class: "quiet", role: "status" });
  let wanted = "";
  let drawn = DRAWN;
  const rows = all.map((it) => [String(pid(it.process)), String(it.parent), String(it.uid), textOf(it.name),
    it.executable === undefined ? "–" : textOf(it.executable), it.process]);
  const draw = () => {
    const found = rows.filter((row) => row.some((cell) => cell.toLowerCase().includes(wanted)));
    show(place, table("Processes", ["Pid", "Parent", "User id", "Name", "Program", "Process id"], found.slice(0, drawn).map(
      (row) => row.map((cell, index) => (index < 3 ? cell : el("span", { class: "mono" }, cell)))), [0, 1, 2]),
    found.length > drawn && el("button", { class: "plain", onclick: () => { drawn += DRAWN; draw(); } }, "Show more"));
    told.textContent = `${number(found.length)} of ${number(all.length)} processes${leftOut > 0
      ? `; there was no room for ${number(leftOut)} more` : ""}.`;
  };
  draw();
  const search = input("", (text) => { wanted = text.toLowerCase(); drawn = DRAWN; draw(); });
  return [el("div", { class: "filters" }, field("Search processes", search)), place, told];
}

/** The text that bytes are, if they are one: a last character may be cut. */
function asText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true });
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

function asHex(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, SHOWN_BYTES); at += 16) {
    const line = [...bytes.subarray(at, at + 16)];
    const digits = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const letters = line.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${digits}  ${letters}`);
  }
  return lines.join("\n");
}

/** Gives the browser bytes to keep: as bytes, so that nothing opens or runs them by their kind. */
function keep(bytes, name) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const link = el("a", { href: url, download: name });
  link.click();
  // It is read by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function file({ content, bytes: whole }, command) {
  const bytes = bytesOf(content);
  const text = asText(bytes);
  const told = bytes.length < whole ? `the first ${number(bytes.length)} of ${number(whole)} bytes` : `${number(whole)} bytes`;
  // Whoever named it may have meant it to be opened.
  const name = `${base(textOf(command.path)).replace(/[^A-Za-z0-9._-]/g, "_").slice(0, 100)}.collected`;
  return [
    el("div", { class: "actions" }, el("button", { onclick: () => keep(bytes, name) }, "Download"),
      el("p", { class: "quiet" }, `${told}, as ${name}. It is as it was on the host: it may do harm.`)),
    bytes.length === 0 ? el("p", { class: "quiet" }, "It is empty.")
      : el("pre", { tabindex: "0", "aria-label": text === undefined ? "Content in hexadecimal" : "Content" },
        text === undefined ? asHex(bytes) : plain(text, true)),
    text === undefined && bytes.length > SHOWN_BYTES && el("p", { class: "quiet" }, `The first ${SHOWN_BYTES} bytes are shown.`),
  ];
}

const mono = (text) => el("span", { class: "mono" }, text);

/** By kind. What a later version gives is shown as it came. */
const KINDS = {
  __proto__: null,
  processes,
  file,
  digest: ({ sha256, bytes }) => facts([["SHA-256", mono(sha256)], ["Bytes", number(bytes)]]),
  quarantined: ({ entry }) => facts([["Entry, by which it is restored", mono(plain(entry))]]),
  tree: ({ killed, spared }) => facts([["Killed", number(killed)], ["Left alone, since protected", number(spared)]]),
  rules: ({ rules }) => facts([["Rules in use", number(rules)]]),
};

/** What a command gave. */
export function drawOutput(output, command) {
  const draw = KINDS[output.kind] ?? ((it) => el("pre", { tabindex: "0", "aria-label": "Output in JSON" }, plain(JSON.stringify(it, null, 2), true)));
  return draw(output, command);
}
