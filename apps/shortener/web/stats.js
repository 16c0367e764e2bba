// How a link is clicked: numbers, and charts, which follow while somebody looks.

import { address, call } from "./api.js";
import { columns, empty, shares } from "./chart.js";
import { h } from "./dom.js";
import { compact, number } from "./text.js";

const DAY = 86_400_000;
const RANGES = [
  { id: "hour", label: "Hour", by: "minute", span: DAY / 24 },
  { id: "day", label: "Day", by: "hour", span: DAY },
  { id: "week", label: "Week", by: "hour", span: 7 * DAY },
  { id: "month", label: "Month", by: "day", span: 30 * DAY },
  { id: "year", label: "Year", by: "day", span: 365 * DAY },
];

/** How often is asked again while the page is seen: without the live feed, and with it. */
const AGAIN = 5_000;
const AGAIN_WITH_FEED = 30_000;

/** How long after a click it is in the numbers. */
const WRITTEN = 1_200;

const DEVICES = { desktop: "Desktop", mobile: "Phone", tablet: "Tablet", other: "Other" };
const referrer = (value) => ({ "": "Direct or unknown", "*": "All others" })[value] ?? value;
const device = (value) => DEVICES[value] ?? value;
const plain = (value) => value || "Unknown";

function country(value) {
  if (!/^[A-Z]{2}$/.test(value)) return plain(value);
  try {
    return new Intl.DisplayNames(undefined, { type: "region" }).of(value);
  } catch {
    return value;
  }
}

/** The part of the page about the clicks of a link; `signal` ends it. */
export function clicks(link, signal) {
  let range = RANGES[1];
  let shown = "";
  let asked = 0;
  const content = h("div", { class: "content", "aria-busy": "true" }, empty("Reading the clicks", "One moment."));
  const live = h("span", { class: "live", hidden: true }, "Live");

  const refresh = async () => {
    asked += 1;
    const turn = asked;
    const to = Date.now();
    const query = new URLSearchParams({ by: range.by, from: new Date(to - range.span).toISOString(), to: new Date(to).toISOString() });
    try {
      const stats = await call("GET", `links/${encodeURIComponent(link.code)}/stats?${query}`, { signal });
      // Of answers to several questions the last counts; what is the same stays as it is, with
      // what somebody has opened or chosen in it.
      if (turn !== asked || JSON.stringify(stats) === shown) return;
      shown = JSON.stringify(stats);
      content.replaceChildren(...draw(stats, range));
      content.removeAttribute("aria-busy");
      live.hidden = false;
    } catch (error) {
      if (error.name === "AbortError" || turn !== asked) return;
      live.hidden = true;
      // What was read before is better than nothing.
      if (!shown) content.replaceChildren(empty("The clicks cannot be shown", error.message));
    }
  };
  const pick = (one) => {
    range = one;
    shown = "";
    refresh();
  };
  const radios = RANGES.map((one) => {
    const input = h("input", { type: "radio", name: "range", value: one.id, onchange: () => pick(one) });
    input.checked = one === range;
    return h("label", null, input, h("span", null, one.label));
  });
  // The feed says that something was clicked, and the numbers are asked for again. It is open only
  // while the page is seen: over HTTP/1.1 a browser has six connections for all of its tabs.
  let feed = null;
  let timer;
  const again = (after) => {
    if (signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(async () => { await refresh(); later(); }, after);
  };
  const later = () => again(feed?.readyState === EventSource.OPEN ? AGAIN_WITH_FEED : AGAIN);
  let soon = false;
  const clicked = () => {
    // Of many clicks the first: what comes later must not put it off for ever.
    if (soon) return;
    soon = true;
    setTimeout(() => { soon = false; if (!signal.aborted) again(0); }, WRITTEN);
  };
  const stop = () => {
    clearTimeout(timer);
    feed?.close();
  };
  const begin = () => {
    stop();
    if (signal.aborted || document.visibilityState !== "visible") return;
    feed = new EventSource(address(`api/v1/clicks/live?code=${encodeURIComponent(link.code)}`));
    feed.addEventListener("click", clicked);
    feed.addEventListener("missed", clicked);
    again(0);
  };
  document.addEventListener("visibilitychange", begin, { signal });
  signal.addEventListener("abort", stop);
  begin();
  return h("section", { class: "clicks", "aria-labelledby": "clicks-title" },
    h("div", { class: "bar-top" }, h("h2", { id: "clicks-title" }, "Clicks", live),
      h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Time"), radios)),
    content);
}

function draw(stats, range) {
  const tile = (label, value, hint) => h("div", { class: "tile" }, h("dt", null, label), h("dd", { title: number(value) }, compact(value)), hint && h("dd", { class: "hint" }, hint));
  const tiles = h("dl", { class: "tiles" },
    tile("Clicks", stats.clicks), tile("Visitors", stats.visitors, range.span < 2 * DAY ? "about, that day" : "about, by day"), tile("Bots", stats.bots, "not in the charts"));
  if (stats.clicks === 0) {
    const text = stats.bots > 0 ? "Only bots have followed this link in this time." : "They appear here a moment after somebody follows the link.";
    return [tiles, h("div", { class: "card" }, empty("No clicks yet", text))];
  }
  return [
    tiles,
    h("div", { class: "card" }, columns(stats.series, stats.by, `Clicks by ${stats.by}`)),
    h("div", { class: "divided" },
      shares("Referrers", stats.referrers, referrer), shares("Countries", stats.countries, country),
      shares("Devices", stats.devices, device), shares("Browsers", stats.browsers, plain)),
  ];
}
