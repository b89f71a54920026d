// Elements, made of parts. Text only ever becomes text nodes: nothing here reads markup, so that a name which an
// attacker chose stays a name.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    if (/^(aria|data)-/.test(name)) node.setAttribute(name, String(value));
    else if (value === false) continue;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element: `el("p", { class: "note" }, "text", otherElement)`. */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same in SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Replaces what is inside of an element. */
export const show = (node, ...children) => fill((node.replaceChildren(), node), {}, children);

let forget;

/** Tells those who do not see the screen. The same words again are told again. */
export function announce(text) {
  const place = document.getElementById("say");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
  clearTimeout(forget);
  // Who reads the page later finds no old news in it.
  forget = setTimeout(() => { place.textContent = ""; }, 10_000);
}

let labels = 0;

/** A field with its label. */
export function field(label, control) {
  control.id ||= `field-${++labels}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
}

/** A select with what can be chosen, as `[value, text]`. */
export function select(options, value, changed) {
  const control = el("select", { onchange: () => changed(control.value) },
    options.map(([key, text]) => el("option", { value: key }, text)));
  control.value = value;
  return control;
}

/** A field for text that tells what was typed once its user pauses. */
export function input(value, changed, attributes = {}) {
  let timer;
  const tell = () => { clearTimeout(timer); changed(control.value.trim()); };
  const control = el("input", {
    type: "search", autocomplete: "off", spellcheck: "false", value, ...attributes,
    oninput: () => { clearTimeout(timer); timer = setTimeout(tell, 350); },
    onchange: tell,
  });
  return control;
}
