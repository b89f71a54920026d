// How things are written: times, numbers, names.

export const SEVERITIES = ["informational", "low", "medium", "high", "critical"];
export const STATUSES = ["open", "acknowledged", "resolved", "dismissed"];
export const LIVENESS = ["online", "degraded", "offline"];

/** `high` to `High`, `kernel_ring` to `Kernel ring`. */
export function words(name) {
  const text = String(name).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Text that somebody else chose, with what is not seen, or turns around what is, written out; lines stay lines if wanted. */
export function plain(text, lines = false) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (letter) =>
    (lines && (letter === "\n" || letter === "\t") ? letter : `\\u{${letter.codePointAt(0).toString(16)}}`));
}

/** The bytes that base64 stands for. */
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** What the kernel has as bytes, to be read: a text, or base64 of what is none. */
export const textOf = (value) => plain(typeof value === "string" ? value : new TextDecoder().decode(bytesOf(value.base64)));

/** Milliseconds of a time as the API has it. */
export const millis = (time) => Date.parse(time);

const two = (number) => String(number).padStart(2, "0");

/** The time of day, here. */
export function clock(time, seconds = true) {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""}`;
}

/** The day, here. */
export function day(time) {
  const at = new Date(time);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** The day where it is not today, and the time of day. */
export const moment = (time) => (day(time) === day(Date.now()) ? clock(time) : `${day(time)} ${clock(time)}`);

/** How long ago, roughly. */
export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** A number with its thousands apart. */
export const number = (count) => Number(count).toLocaleString("en");

/** A number in little room: 12.3k. */
export function short(count) {
  if (count < 10_000) return number(count);
  const [value, unit] = count < 1_000_000 ? [count / 1000, "k"] : [count / 1_000_000, "M"];
  return `${value < 100 ? value.toFixed(1) : Math.round(value)}${unit}`;
}

/** The last part of a path. */
export const base = (path) => path.slice(path.lastIndexOf("/") + 1) || path;

/** The spans of time that can be chosen, each with the buckets that it is shown in, in seconds. */
export const SPANS = {
  __proto__: null,
  "1h": { text: "Last hour", seconds: 3600, bucket: 60 },
  "24h": { text: "Last 24 hours", seconds: 86_400, bucket: 1800 },
  "7d": { text: "Last 7 days", seconds: 604_800, bucket: 10_800 },
  "30d": { text: "Last 30 days", seconds: 2_592_000, bucket: 43_200 },
};

/** The choices of a select for spans. */
export const spanOptions = (more = []) => [...Object.entries(SPANS).map(([key, span]) => [key, span.text]), ...more];

/** The first moment of a span that ends now; none for what is no span. */
export function since(key) {
  const span = SPANS[key];
  return span && new Date(Date.now() - span.seconds * 1000).toISOString();
}
