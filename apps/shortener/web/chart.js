// Charts as SVG: counts over time, and how they divide.

import { h, icon, s } from "./dom.js";
import { compact, number, plural } from "./text.js";

const HEIGHT = 220;
const LEFT = 44;
const BOTTOM = 26;
const TOP = 10;

/** How moments are named, by what a count is of. Days are those of UTC. */
const NAMES = {
  minute: [{ hour: "2-digit", minute: "2-digit" }, { dateStyle: "medium", timeStyle: "short" }],
  hour: [{ hour: "2-digit", minute: "2-digit" }, { dateStyle: "medium", timeStyle: "short" }],
  day: [{ month: "short", day: "numeric", timeZone: "UTC" }, { dateStyle: "full", timeZone: "UTC" }],
};

/**
 * Clicks over time: a column a count. It can be read with the arrow keys, and as a table.
 * `series`: `{ at, clicks, bots }`, at least one.
 */
export function columns(series, by, about) {
  const most = nice(Math.max(...series.map((one) => one.clicks)));
  const [short, long] = NAMES[by].map((format) => new Intl.DateTimeFormat(undefined, format));
  const along = series.length > 30 && by === "hour" ? new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }) : short;
  const say = (one) => `${long.format(new Date(one.at))}: ${plural(one.clicks, "click", "clicks")}${one.bots ? `, ${number(one.bots)} by bots` : ""}`;
  const summary = `${about}. At most ${number(Math.max(...series.map((one) => one.clicks)))} in one ${by}.`;
  const plot = h("div", { class: "plot", tabindex: "0", role: "img", "aria-label": `${summary} Arrow keys go through the counts; the table below has all of them.` });
  const told = h("p", { class: "told", "aria-live": "polite" });
  let chosen = -1;
  let width = 0;

  const x = (index) => LEFT + ((width - LEFT) * index) / series.length;
  const y = (count) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - count / most);

  const draw = () => {
    const step = (width - LEFT) / series.length;
    const gap = step > 6 ? Math.min(6, step * .25) : step > 3 ? 1 : 0;
    const bars = series.map((one, index) => one.clicks > 0 && s("rect", {
      class: index === chosen ? "bar chosen" : "bar", x: x(index) + gap / 2, y: y(one.clicks), rx: Math.min(3, (step - gap) / 4),
      width: Math.max(1, step - gap), height: Math.max(1.5, HEIGHT - BOTTOM - y(one.clicks)),
    }));
    const lines = [0, most / 2, most].filter(Number.isInteger).map((count) => [
      s("line", { class: "grid", x1: LEFT, x2: width, y1: y(count), y2: y(count) }),
      s("text", { x: LEFT - 8, y: y(count) + 4, "text-anchor": "end" }, compact(count)),
    ]);
    // Of counts that are called the same, such as the hours of a day, the first.
    const named = series.map((one, index) => ({ index, name: along.format(new Date(one.at)) })).filter(({ name }, index, all) => index === 0 || name !== all[index - 1].name);
    const every = Math.ceil(named.length / Math.max(2, Math.floor((width - LEFT) / 84)));
    const names = named.filter(({ index }, at) => at % every === 0 && x(index) < width - 40).map(({ index, name }) => s("text", { x: x(index), y: HEIGHT - 6 }, name));
    const mark = chosen >= 0 && s("rect", { class: "mark", x: x(chosen), y: TOP, width: step, height: HEIGHT - TOP - BOTTOM });
    plot.replaceChildren(s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" }, lines, mark, bars, names));
  };
  const choose = (index) => {
    chosen = Math.max(-1, Math.min(series.length - 1, index));
    told.textContent = chosen < 0 ? "" : say(series[chosen]);
    draw();
  };
  plot.addEventListener("pointermove", (event) => {
    const index = Math.floor(((event.offsetX - LEFT) / (width - LEFT)) * series.length);
    if (event.target.closest("svg") && index !== chosen) choose(index);
  });
  plot.addEventListener("pointerleave", () => choose(-1));
  plot.addEventListener("blur", () => choose(-1));
  plot.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: chosen < 0 ? series.length - 1 : Math.max(0, chosen - 1), ArrowRight: chosen + 1, Home: 0, End: series.length - 1, Escape: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    // What is not shown has no width.
    if (now === 0 || now === width) return;
    width = now;
    draw();
  }).observe(plot);

  const rows = series.filter((one) => one.clicks || one.bots).reverse().map((one) =>
    h("tr", null, h("td", null, long.format(new Date(one.at))), h("td", null, number(one.clicks)), h("td", null, number(one.bots))));
  const table = h("details", { class: "table" }, h("summary", null, "As a table"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Clicks over time" },
      h("table", null, h("thead", null, h("tr", null, h("th", null, by === "day" ? "Day (UTC)" : "Time"), h("th", null, "Clicks"), h("th", null, "Bots"))), h("tbody", null, rows))));
  return h("figure", { class: "columns" }, plot, told, table);
}

/** The next number above that is easy to read, and can be halved. */
function nice(count) {
  if (count <= 4) return count <= 2 ? 2 : 4;
  const power = 10 ** Math.floor(Math.log10(count));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= count);
}

const SHOWN = 6;

/** How clicks divide: the most frequent values with their share. `values`: `{ value, clicks }`. */
export function shares(title, values, name) {
  const all = values.reduce((sum, one) => sum + one.clicks, 0);
  const sorted = [...values].sort((one, other) => other.clicks - one.clicks);
  const row = (one) => {
    const part = one.clicks / all;
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max(part * 100, .5)}%`;
    return h("li", null, bar, h("span", { class: "value" }, name(one.value)),
      h("span", { class: "count" }, compact(one.clicks), h("span", { class: "part" }, ` ${Math.round(part * 100)} %`)));
  };
  const list = (some) => h("ul", { class: "shares" }, some.map(row));
  // One more would take the room of saying so.
  const first = sorted.length === SHOWN + 1 ? sorted.length : SHOWN;
  const rest = sorted.length > first && h("details", null, h("summary", null, `${sorted.length - first} more`), list(sorted.slice(first)));
  return h("section", { class: "card" }, h("h3", null, title), all ? [list(sorted.slice(0, first)), rest] : h("p", { class: "none" }, "Nothing yet"));
}

/** What is clicked most: links with what they are. `links`: `{ href, name, more, isGone, clicks }`. */
export function ranking(title, links) {
  const most = Math.max(...links.map((one) => one.clicks));
  const row = (one) => {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max((one.clicks / most) * 100, .5)}%`;
    const name = one.isGone ? h("span", { class: "strong" }, one.name) : h("a", { class: "short", href: one.href, "data-go": true }, one.name);
    return h("li", null, bar, h("span", { class: "value" }, name, " ", h("span", { class: "more" }, one.more)), h("span", { class: "count" }, compact(one.clicks)));
  };
  return h("section", { class: "card wide" }, h("h3", null, title), links.length ? h("ol", { class: "shares" }, links.map(row)) : h("p", { class: "none" }, "Nothing yet"));
}

/** What stands where there is nothing to draw. */
export function empty(title, text) {
  return h("div", { class: "empty" }, icon("chart"), h("p", { class: "strong" }, title), h("p", null, text));
}
