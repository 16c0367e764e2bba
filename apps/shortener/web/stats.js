// How a link is clicked, or all links are: numbers and charts, which follow while somebody looks.

import { address, call } from "./api.js";
import { columns, empty, ranking, shares } from "./chart.js";
import { h, renew } from "./dom.js";
import { feed, latest } from "./live.js";
import { country, device, plain, referrer } from "./names.js";
import { bare, compact, days, number } from "./text.js";

const DAY = 86_400_000;
const RANGES = [
  { id: "hour", label: "Hour", by: "minute", span: DAY / 24 },
  { id: "day", label: "Day", by: "hour", span: DAY },
  { id: "week", label: "Week", by: "hour", span: 7 * DAY },
  { id: "month", label: "30 days", by: "day", span: 30 * DAY },
  { id: "year", label: "Year", by: "day", span: 365 * DAY },
];

/** How often is asked again while the page is seen: without the live feed, and with it. */
const AGAIN = 5_000;
const AGAIN_WITH_FEED = 30_000;

/** How long after a click it is asked for: it is in the numbers then. All links are asked for less. */
const WRITTEN = 1_200;
const WRITTEN_OF_ALL = 3_000;

/**
 * The part of a page about the clicks of the link with this code, or of all links; `heading` stands
 * before it, `usual` is the time that is shown at first, `signal` ends it.
 */
export function clicks({ code, heading, usual, signal }) {
  const path = code ? `links/${encodeURIComponent(code)}/stats` : "stats";
  const chosen = new URLSearchParams(location.search).get("range");
  let range = RANGES.find((one) => one.id === chosen) ?? RANGES.find((one) => one.id === usual);
  let shown = "";
  let asked = 0;
  const numbers = h("div", { class: "content", "aria-busy": "true" }, empty("Reading the clicks", "One moment."));
  const parts = h("div", { class: "content" });
  const list = latest(!code);
  const live = h("span", { class: "live", hidden: true }, "Live");

  const refresh = async () => {
    asked += 1;
    const turn = asked;
    const to = Date.now();
    const query = new URLSearchParams({ by: range.by, from: new Date(to - range.span).toISOString(), to: new Date(to).toISOString() });
    try {
      const stats = await call("GET", `${path}?${query}`, { signal });
      // Of answers to several questions the last counts; what is the same stays as it is.
      if (turn !== asked || JSON.stringify(stats) === shown) return;
      shown = JSON.stringify(stats);
      renew(numbers, summary(stats, range, code));
      renew(parts, divided(stats, range));
      numbers.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name === "AbortError" || turn !== asked) return;
      // What was read before is better than nothing.
      if (!shown) numbers.replaceChildren(empty("The clicks cannot be shown", error.message));
    }
  };
  const pick = (one) => {
    range = one;
    shown = "";
    numbers.setAttribute("aria-busy", "true");
    history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({ range: one.id })}`);
    refresh();
  };
  const radios = RANGES.map((one) => {
    const input = h("input", { type: "radio", name: "range", value: one.id, onchange: () => pick(one) });
    input.checked = one === range;
    return h("label", null, input, h("span", null, one.label));
  });

  // The feed says that something was clicked, and the numbers are asked for again.
  let timer;
  const again = (after) => {
    clearTimeout(timer);
    if (signal.aborted || document.visibilityState !== "visible") return;
    timer = setTimeout(async () => { await refresh(); again(source.isOpen() ? AGAIN_WITH_FEED : AGAIN); }, after);
  };
  let soon = false;
  const clicked = () => {
    // Of many clicks the first: what comes later must not put it off for ever.
    if (soon) return;
    soon = true;
    setTimeout(() => { soon = false; again(0); }, code ? WRITTEN : WRITTEN_OF_ALL);
  };
  const source = feed({
    code, signal,
    clicked: (click) => { list.add(click); clicked(); },
    missed: (count) => { list.miss(count); clicked(); },
    changed: () => { live.hidden = list.element.hidden = !source.isOpen(); },
  });
  document.addEventListener("visibilitychange", () => again(0), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  again(0);
  return h("section", { class: "clicks", "aria-label": "Clicks" },
    h("div", { class: "bar-top" }, h("div", { class: "heading" }, heading, live),
      h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Time"), radios)),
    numbers, list.element, parts);
}

function summary(stats, range, code) {
  const tile = (label, value, hint) => h("div", { class: "tile" }, h("dt", null, label), h("dd", { title: number(value) }, compact(value)), hint && h("dd", { class: "hint" }, hint));
  const tiles = h("dl", { class: "tiles" },
    tile("Clicks", stats.clicks, "of people"), tile("Visitors", stats.visitors, range.by === "day" ? "about, day by day" : "about, of whole days"), tile("Bots", stats.bots, "not in the chart"));
  if (stats.clicks > 0) return [tiles, h("div", { class: "card" }, columns(stats.series, stats.by, `Clicks by ${stats.by}`))];
  const text = stats.bots > 0 ? "Only bots came in this time." : `They appear here a moment after somebody follows ${code ? "the link" : "a link"}.`;
  return [tiles, h("div", { class: "card" }, empty("No clicks in this time", text))];
}

function divided(stats, range) {
  const isAny = stats.devices.length > 0 || stats.bots_by_name.length > 0;
  if (!isAny) return [];
  // Only days know who clicked, so that an hour has what its day has.
  const whole = range.by !== "day" && h("p", { class: "state" }, `Of whole days (UTC): ${days(stats.from, stats.to)}`);
  const top = stats.links && ranking("Most clicked", stats.links.map((one) => ({
    href: address(`links/${one.code}`), name: one.title ?? one.code,
    more: one.target ? bare(one.target) : "deleted", isGone: !one.target, clicks: one.clicks,
  })));
  return [
    whole,
    h("div", { class: "divided" }, top,
      shares("Referrers", stats.referrers, referrer), shares("Countries", stats.countries, country),
      shares("Devices", stats.devices, device), shares("Browsers", stats.browsers, plain),
      stats.bots_by_name.length > 0 && shares("Bots, which are not in the others", stats.bots_by_name, plain)),
  ].filter(Boolean);
}
