// Forms: fields with labels, and what the API finds wrong with them, shown where it is.

import { h, id } from "./dom.js";

/**
 * A field. `name` is that in the JSON of the API, with `/` between levels; `make` gives another
 * input than a text. Other properties are attributes of the input.
 */
export function field({ name, label, hint, before, make, read, ...attributes }) {
  const key = id();
  const described = [];
  const note = hint && h("p", { class: "hint", id: `${key}h` }, hint);
  if (note) described.push(note.id);
  const wrong = h("p", { class: "wrong", id: `${key}e`, hidden: true });
  const all = { id: key, name, autocomplete: "off", "aria-describedby": described.join(" ") || null, ...attributes };
  const input = make ? make(all) : h("input", { type: "text", ...all });
  const box = before ? h("div", { class: "joined" }, h("span", { "aria-hidden": "true" }, before), input) : input;
  const element = h("div", { class: "field" }, h("label", { for: key }, label), box, note, wrong);

  const tell = (text) => {
    wrong.textContent = text ?? "";
    wrong.hidden = !text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", [...described, ...(text ? [wrong.id] : [])].join(" "));
  };
  input.addEventListener("input", () => tell(null));
  return { name, element, input, tell, read: () => (read ? read(input) : input.value.trim()) };
}

/** A choice; `options` are pairs of value and label. */
export const choice = (options) => (attributes) =>
  h("select", attributes, options.map(([value, label]) => h("option", { value }, label)));

/**
 * A form that sends once at a time, and shows at its fields what is wrong with them; what is wrong
 * with none of them stands above the button.
 */
export function form({ fields, content, submit, cancel, send, className, danger }) {
  const wrong = h("p", { class: "alert bad", role: "alert", hidden: true });
  const button = h("button", { class: danger ? "main danger" : "main" }, submit);
  const close = cancel && h("button", { type: "button", onclick: cancel }, "Cancel");
  const element = h("form", { class: className, novalidate: true }, content,
    className === "create" ? wrong : h("div", { class: "actions" }, wrong, close, button));

  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (element.ariaBusy === "true") return;
    for (const one of fields) one.tell(null);
    wrong.hidden = true;
    element.ariaBusy = "true";
    button.disabled = true;
    try {
      await send();
    } catch (error) {
      tell(error, fields, wrong);
    } finally {
      element.ariaBusy = "false";
      button.disabled = false;
    }
  });
  return { element, button };
}

function tell(error, fields, wrong) {
  const general = [];
  let first = null;
  for (const one of error.errors?.length ? error.errors : [{ detail: error.message, pointer: error.pointer }]) {
    const path = one.pointer?.replace(/^#\//, "");
    const found = fields.find((field) => path === field.name || path?.startsWith(`${field.name}/`));
    if (found) {
      found.tell(sentence(one.detail));
      first ??= found;
    } else {
      general.push(sentence(one.detail));
    }
  }
  wrong.textContent = general.join(" ");
  wrong.hidden = general.length === 0;
  // In the order of the page, not of the answer.
  first = fields.find((field) => field.input.getAttribute("aria-invalid")) ?? first;
  if (first) {
    for (let fold = first.element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    first.input.focus();
  }
}

/** Details of the API are written to follow a colon, with backquotes around what is quoted. */
export function sentence(text) {
  const quoted = text.replace(/`([^`]*)`/g, "“$1”");
  const begun = quoted.charAt(0).toUpperCase() + quoted.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
