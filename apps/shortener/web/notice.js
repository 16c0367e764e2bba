// Short messages at the edge of the page, which are also read aloud.

import { h } from "./dom.js";

const SHOWN = 6_000;
const WITH_ACTION = 12_000;

/**
 * Shows a message for a while. `action`: a label and what it does, such as an undo; `quiet`: it is
 * only read aloud, since it can be seen elsewhere.
 */
export function notice(text, { action, bad, quiet } = {}) {
  const button = action && h("button", { type: "button", onclick: () => { close(); action.run(); } }, action.label);
  const element = h("div", { class: quiet ? "hidden" : bad ? "notice bad" : "notice" }, h("p", null, text), button);
  let timer;
  const close = () => { clearTimeout(timer); element.remove(); };
  const begin = () => { timer = setTimeout(close, action ? WITH_ACTION : SHOWN); };
  const stop = () => clearTimeout(timer);
  // Whoever reads it, or is about to press, has time.
  element.addEventListener("pointerenter", stop);
  element.addEventListener("pointerleave", begin);
  element.addEventListener("focusin", stop);
  element.addEventListener("focusout", begin);
  const all = document.getElementById("notices");
  while (all.children.length > 2) all.firstChild.remove();
  all.append(element);
  begin();
}

/** Shows what went wrong, unless it was called off. */
export function failed(error) {
  if (error.name === "AbortError") return;
  notice(error.message, { bad: true });
}
