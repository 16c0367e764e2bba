// Parameters by which campaigns are told apart, and what a target becomes with them.

import { h } from "./dom.js";
import { field } from "./form.js";

const NAMES = [["source", "Source", "newsletter"], ["medium", "Medium", "email"], ["campaign", "Campaign", "spring-sale"], ["term", "Term", ""], ["content", "Content", ""], ["id", "ID", ""]];

/**
 * Fields for the parameters of a target, in a fold. What the target has already is in them; what is
 * taken out of them is taken out of it.
 */
export function builder(target) {
  const known = URL.canParse(target.read()) ? new URL(target.read()).searchParams : new URLSearchParams();
  const fields = NAMES.map(([name, label, placeholder]) => field({ name: `utm/${name}`, label, placeholder, maxlength: "256", value: known.get(`utm_${name}`) ?? "" }));
  const preview = h("output", { class: "preview" });
  const read = () => Object.fromEntries(fields.map((one) => [one.name.slice(4), one.read()]).filter(([, value]) => value));
  const before = read();
  const isChanged = () => JSON.stringify(read()) !== JSON.stringify(before);
  const bare = () => without(target.read(), Object.keys(before).filter((name) => !(name in read())));
  const show = () => {
    const url = URL.canParse(bare()) ? new URL(bare()) : null;
    for (const [name, value] of Object.entries(read())) url?.searchParams.set(`utm_${name}`, value);
    preview.textContent = url && isChanged() ? url.href : "";
  };
  for (const one of [target, ...fields]) one.input.addEventListener("input", show);
  return {
    fields, read, isChanged, bare,
    element: h("details", { class: "fold inner" }, h("summary", null, "UTM parameters"), h("div", { class: "grid" }, fields.map((one) => one.element)), preview),
  };
}

/** A URL without some parameters; the rest stays byte for byte, since applications may sign it. */
function without(url, names) {
  const [, begin, query, end] = url.match(/^([^?#]*)(\?[^#]*)?(#.*)?$/s);
  const kept = (query ?? "").slice(1).split("&").filter((pair) => pair && !names.some((name) => new URLSearchParams(pair).has(`utm_${name}`)));
  return names.length ? `${begin}${kept.length ? `?${kept.join("&")}` : ""}${end ?? ""}` : url;
}
