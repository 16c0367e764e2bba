// The sign of the product.

import { h, s } from "./dom.js";

/** The sign, with the name beside it. */
export function logo() {
  return h("span", { class: "logo" }, s("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("rect", { width: 32, height: 32, rx: 8 }), s("path", { d: "M8 16h5m6 0h5M14 22l4-12" })), h("span", null, "snip"));
}
