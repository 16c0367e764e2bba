// Makes elements. Texts are always texts: nothing that is shown is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes that are null or false are left out; `on…` are listeners. */
export function h(name, attributes, ...children) {
  return build(name, document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes, ...children) {
  return build(name, document.createElementNS(SVG, name), attributes, children);
}

function build(name, element, attributes, children) {
  // The value of a choice is that of one of its children, which must be there first.
  const { value: content, ...others } = attributes ?? {};
  for (const [key, value] of Object.entries(others)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  if (content !== null && content !== undefined) {
    if (name === "option") element.setAttribute("value", content);
    else element.value = content;
  }
  return element;
}

/**
 * Puts others in place of what is in an element, of the same kind: what was open stays open, and the
 * focus stays where it was.
 */
export function renew(element, children) {
  const all = (selector) => [...element.querySelectorAll(selector)];
  const open = all("details").map((one) => one.open);
  const focused = all("a, button, summary, [tabindex]").indexOf(document.activeElement);
  element.replaceChildren(...children);
  all("details").forEach((one, index) => { one.open = open[index] ?? false; });
  if (focused >= 0) all("a, button, summary, [tabindex]")[focused]?.focus({ preventScroll: true });
}

let last = 0;

/** An id that nothing else on the page has. */
export function id() {
  last += 1;
  return `i${last}`;
}

/** Drawings on buttons, 20 by 20, in the colour of the text. */
const ICONS = {
  copy: "M7 7V4.5A1.5 1.5 0 0 1 8.5 3h7A1.5 1.5 0 0 1 17 4.5v7a1.5 1.5 0 0 1-1.5 1.5H13M4.5 7h7A1.5 1.5 0 0 1 13 8.5v7a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 3 15.5v-7A1.5 1.5 0 0 1 4.5 7z",
  check: "M4 10.5l4 4 8-9",
  open: "M11 3.5h5.5V9M16 4l-7 7M14 11.5v3a2 2 0 0 1-2 2H5.5a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2h3",
  edit: "M13.5 3.5l3 3L7 16l-4 1 1-4z",
  search: "M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12zm4.5-1.5L17 17",
  back: "M12 4l-6 6 6 6",
  plus: "M10 4v12M4 10h12",
  key: "M12.5 9.5a3.5 3.5 0 1 0-3.4-2.7L3.5 12.4V16h3v-2h2v-2l1-1",
  save: "M10 3v9m-3.5-3.5L10 12l3.5-3.5M4 16h12",
  chart: "M4 16v-5m4 5V5m4 11V9m4 7V3",
};

/** A drawing that says nothing to those who hear the page. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

/** A dialog over the page, which Esc closes and which is gone then. */
export function dialog(title, ...content) {
  const heading = h("h2", { id: id() }, title);
  const element = h("dialog", { "aria-labelledby": heading.id }, heading, ...content);
  element.addEventListener("close", () => element.remove());
  // A press beside it, which begins there too: a selection that ends outside closes nothing.
  element.addEventListener("pointerdown", (event) => event.target === element && isBeside(element, event) && element.close());
  document.body.append(element);
  element.showModal();
  return element;
}

function isBeside(element, event) {
  const box = element.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
