// Keys of the page. Single letters can be turned off, since they get in the way of those who
// dictate (WCAG 2.1.4).

import { dialog, h } from "./dom.js";

const OFF = "snip-shortcuts-off";
const ALWAYS = { "?": { label: "Show the shortcuts", run: show } };
let keys = ALWAYS;

/** Says what the page that is shown has: for each key a label, and what it does. */
export function shortcuts(page) {
  keys = { ...page, ...ALWAYS };
}

/** Shows all of them. */
export function show() {
  const rows = Object.entries(keys).map(([key, { label }]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, label)));
  const box = h("input", { type: "checkbox", onchange: () => store(!box.checked) });
  box.checked = !isOff();
  const close = h("button", { type: "button", class: "main", autofocus: true, onclick: () => shown.close() }, "Close");
  const shown = dialog("Keyboard shortcuts",
    h("dl", { class: "keys" }, rows, h("div", null, h("dt", null, h("kbd", null, "Esc")), h("dd", null, "Close what is open"))),
    h("label", { class: "check" }, box, "Use shortcuts of one key"),
    h("div", { class: "actions" }, close));
}

// Storage may be closed to us; then they are on.
function isOff() {
  try { return localStorage.getItem(OFF) === "1"; } catch { return false; }
}

function store(off) {
  try { off ? localStorage.setItem(OFF, "1") : localStorage.removeItem(OFF); } catch { /* as above */ }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest?.("input, select, textarea, dialog") || document.querySelector("dialog[open]")) return;
  const found = keys[event.key];
  if (!found || isOff()) return;
  event.preventDefault();
  found.run();
});
