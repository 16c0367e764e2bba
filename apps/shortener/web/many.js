// Making many links at once, from lines or a file.

import { call, randomKey } from "./api.js";
import { absolute } from "./create.js";
import { cell, read } from "./csv.js";
import { h } from "./dom.js";
import { field, form, sentence } from "./form.js";
import { notice } from "./notice.js";
import { copy } from "./share.js";
import { bare, number, plural } from "./text.js";

/** Links at once, and of one request. */
const MOST = 10_000;
const PIECE = 500;

/** Bytes of a file that is read. */
const LARGEST = 16 * 1024 * 1024;

/** Lines that are shown of what was made, and of what was not. */
const SHOWN = 100;

/** The form; `made` is told when there are new links, `signal` ends what it waits for. */
export function many({ made, signal }) {
  const lines = field({
    name: "lines", label: "Links", hint: "One address a line, perhaps with an alias behind a space; or a table (CSV) whose first line names its columns: target, alias, title, tags, expires, clicks_left, status, forward_query, password.",
    make: (attributes) => h("textarea", { ...attributes, rows: "8", spellcheck: "false", wrap: "off", placeholder: "https://example.com/a/long/address\nexample.com/sale spring-sale" }),
    read: (input) => input.value,
  });
  const file = field({ name: "file", label: "Or a file", make: (attributes) => h("input", { ...attributes, type: "file", accept: ".csv,.txt,text/csv,text/plain" }) });
  const tags = field({
    name: "tags", label: "Tags for all of them", placeholder: "spring, newsletter", hint: "With commas between.",
    read: (input) => [...new Set(input.value.split(",").map((tag) => tag.trim()).filter(Boolean))],
  });
  const progress = h("progress", { "aria-label": "Links that are done", hidden: true });
  const result = h("div", { class: "result" });
  file.input.addEventListener("change", async () => {
    const [chosen] = file.input.files;
    if (!chosen) return;
    if (chosen.size > LARGEST) return file.tell("It has more than 16 MiB; `snip import` takes any size.");
    lines.input.value = await chosen.text();
    file.input.value = "";
    lines.input.dispatchEvent(new Event("input"));
    lines.input.focus();
  });

  // What was made stays made when the connection breaks: the rest is tried again under its keys.
  let begun = null;
  let saved = null;
  const send = async () => {
    const text = JSON.stringify([lines.read(), tags.read()]);
    if (begun?.text !== text) begun = { text, pieces: pieces(lines.read(), tags.read()), done: [] };
    const { pieces: all, done } = begun;
    progress.max = all.length;
    progress.hidden = all.length < 2;
    try {
      while (done.length < all.length) {
        progress.value = done.length;
        done.push(await piece(all[done.length], signal));
      }
    } finally {
      progress.hidden = true;
      if (done.length) show(done.flat());
    }
    begun = null;
    element.reset();
    made();
  };
  const show = (rows) => {
    const good = rows.filter((row) => row.made);
    const bad = rows.filter((row) => row.wrong);
    const table = (some, titles, cells) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": titles.join(", ") },
      h("table", { class: "texts" }, h("thead", null, h("tr", null, titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", null, some.slice(0, SHOWN).map((row) => h("tr", null, cells(row).map((one) => h("td", null, one)))))),
      some.length > SHOWN && h("p", { class: "hint" }, `and ${number(some.length - SHOWN)} more.`));
    const text = () => good.map((row) => row.made.short_url).join("\n");
    if (saved) URL.revokeObjectURL(saved);
    saved = URL.createObjectURL(new Blob([["short_url", "target"], ...good.map(({ made: link }) => [link.short_url, link.target])].map((cells) => `${cells.map(cell).join(",")}\r\n`), { type: "text/csv" }));
    const all = h("button", { type: "button", class: "main", onclick: async () => notice((await copy(text())) ? `Copied ${plural(good.length, "link", "links")}` : "The browser does not allow copying here.") }, "Copy all");
    result.replaceChildren(h("div", { class: "made many" },
      h("p", { class: "strong", tabindex: "-1" }, `${plural(good.length, "link is", "links are")} made${bad.length ? `, ${number(bad.length)} not` : ""}.`),
      bad.length > 0 && [h("h3", null, "Not made"), table(bad, ["Line", "What is wrong"], (row) => [String(row.line), row.wrong])],
      good.length > 0 && [h("div", { class: "actions start" }, all, h("a", { class: "button", href: saved, download: "made.csv" }, "Save as CSV")),
        table(good, ["Short link", "Leads to"], ({ made: link }) => [bare(link.short_url), bare(link.target)])]));
    result.querySelector("[tabindex]").focus();
    notice(result.querySelector(".strong").textContent, { quiet: true });
  };
  const { element } = form({ fields: [lines, file, tags], submit: "Shorten all", content: [lines.element, h("div", { class: "grid" }, file.element, tags.element), progress], send });
  return { element: h("div", null, element, result), focus: () => lines.input.focus() };
}

/** What is to be made, in pieces that are sent one by one. */
function pieces(text, tags) {
  const rows = read(text);
  if (rows.length === 0) throw Object.assign(new Error("Enter at least one address."), { pointer: "#/lines" });
  if (rows.length > MOST) throw Object.assign(new Error(`These are ${number(rows.length)}; ${number(MOST)} at most. \`snip import\` takes any number.`), { pointer: "#/lines" });
  for (const { link } of rows.filter((row) => row.link)) {
    link.target = absolute(link.target);
    if (tags.length) link.tags = [...new Set([...(link.tags ?? []), ...tags])];
  }
  return Array.from({ length: Math.ceil(rows.length / PIECE) }, (_, index) => ({ rows: rows.slice(index * PIECE, (index + 1) * PIECE), key: randomKey() }));
}

async function piece({ rows, key }, signal) {
  const sent = rows.filter((row) => row.link);
  const body = { links: sent.map((row) => row.link) };
  const { results } = sent.length ? await call("POST", "links/bulk", { body, fields: { "idempotency-key": key }, signal }) : { results: [] };
  const of = new Map(sent.map((row, index) => [row, results[index]]));
  return rows.map((row) => {
    if (row.wrong) return { line: row.line, wrong: sentence(row.wrong) };
    const { link, problem } = of.get(row);
    if (link) return { line: row.line, made: link };
    const details = problem.errors?.map((one) => `${one.pointer?.split("/").slice(3).join("/") || "link"}: ${one.detail}`);
    return { line: row.line, wrong: sentence(details?.join("; ") || problem.detail || problem.title) };
  });
}
