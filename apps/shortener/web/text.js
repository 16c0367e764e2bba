// How things are written.

const NUMBER = new Intl.NumberFormat(undefined);
const COMPACT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const AGO = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const STEPS = [["year", 31_536_000], ["month", 2_592_000], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];

export const number = (value) => NUMBER.format(value);
export const compact = (value) => (value < 10_000 ? NUMBER.format(value) : COMPACT.format(value));
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const UTC_DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

export const clock = (time) => CLOCK.format(new Date(time));

/** The days of UTC that a time is in, up to but not including its end. */
export const days = (from, to) => UTC_DAY.formatRange(new Date(from), new Date(new Date(to) - 1));
export const date = (text) => DATE.format(new Date(text));

/** How long ago, or how soon. */
export function ago(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const step = STEPS.find(([, length]) => Math.abs(seconds) >= length);
  if (!step) return seconds > 0 ? "in a moment" : "just now";
  return AGO.format(Math.trunc(seconds / step[1]), step[0]);
}

export const plural = (count, one, more) => `${number(count)} ${count === 1 ? one : more}`;

/** A URL as people read it: without what goes without saying. */
export const bare = (url) => url.replace(/^https?:\/\//, "").replace(/\/$/, "");

/** A time as `<input type=datetime-local>` has it, in the time of this machine; and back. */
export function toLocal(text) {
  const at = new Date(text);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
export const fromLocal = (text) => new Date(text).toISOString();
