// How all links together are clicked.

import { h } from "./dom.js";
import { shortcuts } from "./shortcuts.js";
import { clicks } from "./stats.js";

/** The page; `signal` ends what it waits for. */
export function overview({ me, signal, keys }) {
  shortcuts(keys);
  const title = "Overview";
  const heading = h("h1", { class: "page-title", tabindex: "-1" }, title);
  const isAllowed = me.scopes.includes("stats:read");
  return {
    title, focus: () => heading.focus(),
    element: h("main", { id: "main", tabindex: "-1", class: "overview" },
      isAllowed ? clicks({ heading: [heading, h("h2", { class: "hidden" }, "Clicks of all links")], usual: "month", signal }) : [heading, h("p", { class: "alert warn" }, "This key may not read how links are clicked.")]),
  };
}
