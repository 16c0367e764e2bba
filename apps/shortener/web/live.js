// Clicks as they are made: the feed of the server, and the list of the latest.

import { address } from "./api.js";
import { h } from "./dom.js";
import { country, device } from "./names.js";
import { clock, plural } from "./text.js";

/** Clicks that are listed; what is older goes. */
const KEPT = 10;

/** How often the list is drawn anew at most: nobody reads faster. */
const DRAWN = 500;

/** When a feed that the server refused is asked for again: others may have left. */
const ANEW = 60_000;

/**
 * The clicks of a link, or of all, until `signal` ends it. `clicked` is told of each, `missed` how
 * many came too fast. It is open only while the page is seen: over HTTP/1.1 a browser has six
 * connections for all of its tabs.
 */
export function feed({ code, signal, clicked, missed, changed }) {
  let source = null;
  let timer;
  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const begin = () => {
    stop();
    if (signal.aborted || document.visibilityState !== "visible") return;
    source = new EventSource(address(`api/v1/clicks/live${code ? `?${new URLSearchParams({ code })}` : ""}`));
    source.addEventListener("click", (event) => clicked(JSON.parse(event.data)));
    source.addEventListener("missed", (event) => missed(Number(event.data)));
    source.addEventListener("open", changed);
    source.addEventListener("error", () => {
      changed();
      // While it is connecting, the browser tries by itself.
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(begin, ANEW);
    });
  };
  document.addEventListener("visibilitychange", begin, { signal });
  signal.addEventListener("abort", stop);
  begin();
  return { isOpen: () => source?.readyState === EventSource.OPEN };
}

/** The latest clicks; with the link of each, if `withCode`. */
export function latest(withCode) {
  let clicks = [];
  let skipped = 0;
  let paused = false;
  let timer = null;
  const rows = h("ol", { class: "latest" });
  const state = h("p", { class: "none" }, "They appear here the moment they are made.");
  const pause = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) draw();
  } }, "Pause");
  const draw = () => {
    clearTimeout(timer);
    timer = null;
    if (paused) return;
    rows.replaceChildren(...clicks.map((one) => row(one, withCode)));
    state.hidden = clicks.length > 0 && skipped === 0;
    if (skipped) state.textContent = `${plural(skipped, "click was", "clicks were")} too fast to be shown; all are counted.`;
  };
  const later = () => { timer ??= setTimeout(draw, DRAWN); };
  return {
    element: h("section", { class: "card", "aria-labelledby": "latest-title", hidden: true },
      h("div", { class: "bar-top" }, h("h3", { id: "latest-title" }, "Latest clicks"), pause), rows, state),
    add: (click) => {
      clicks = [click, ...clicks.slice(0, KEPT - 1)];
      later();
    },
    miss: (count) => {
      skipped += count;
      later();
    },
  };
}

function row(click, withCode) {
  const who = click.device === "bot" ? `${click.browser || "A bot"} (bot)` : [click.browser, device(click.device)].filter(Boolean).join(", ");
  return h("li", null,
    h("time", { datetime: new Date(click.time).toISOString() }, clock(click.time)),
    withCode && h("a", { class: "short", href: address(`links/${click.code}`), "data-go": true }, click.code),
    h("span", { class: "what" }, [who, click.country && country(click.country), click.referrer && `from ${click.referrer}`].filter(Boolean).join(" · ")));
}
