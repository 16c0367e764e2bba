// Lines of links: addresses one by one, or comma-separated values with names in the first line.

/** Names of columns, in small letters without anything between, and what they are for the API. */
const COLUMNS = {
  target: "target", url: "target", longurl: "target", destination: "target", destinationurl: "target", originalurl: "target",
  alias: "alias", code: "alias", slug: "alias", keyword: "alias",
  title: "title", tags: "tags", status: "status", forwardquery: "forward_query", expires: "expires", clicksleft: "clicks_left", password: "password",
  disabled: "disabled", protected: "protected",
};

/**
 * Reads a text as `{ line, link }` or `{ line, wrong }`, whose `line` begins with 1. A line that is
 * no table is an address, and perhaps an alias behind a space.
 */
export function read(text) {
  const rows = parse(text.replace(/^\ufeff/, ""));
  const names = rows[0]?.cells.map((name) => COLUMNS[name.toLowerCase().replace(/[^a-z0-9]/g, "")]);
  if (names?.includes("target")) return rows.slice(1).map((row) => named(row, names));
  return text.split(/\r?\n/).map((line, index) => ({ line: index + 1, words: line.trim().split(/\s+/) }))
    .filter(({ words }) => words[0])
    .map(({ line, words }) => (words.length > 2
      ? { line, wrong: "an address and perhaps an alias are wanted, with a space between" }
      : { line, link: { target: words[0], ...(words[1] && { alias: words[1] }) } }));
}

function named({ line, cells }, names) {
  const given = {};
  names.forEach((name, index) => { if (name && cells[index]?.trim()) given[name] ??= plain(cells[index].trim()); });
  const { tags, status, forward_query: forward, clicks_left: clicks, disabled, protected: locked, ...link } = given;
  if (!link.target) return { line, wrong: "it has no address" };
  if (disabled === "true") return { line, wrong: "it is disabled; `snip import` keeps it so" };
  if (locked === "true" && !link.password) return { line, wrong: "it has a password, which is not in the file" };
  if (tags) link.tags = tags.split(",").map((tag) => tag.trim()).filter(Boolean);
  // What is no number is for the API to refuse.
  const count = (text) => (Number.isNaN(Number(text)) ? text : Number(text));
  if (status) link.status = count(status);
  if (forward) link.forward_query = { true: true, false: false }[forward] ?? forward;
  if (clicks) link.clicks_left = count(clicks);
  return { line, link };
}

/** Without the quote that an export puts before what a spreadsheet would take for a formula. */
const plain = (text) => (/^'+[=+\-@＝＋－＠]/.test(text) ? text.slice(1) : text);

/** Rows of cells (RFC 4180), with the line at which each begins. */
function parse(text) {
  const rows = [];
  let cells = [];
  let cell = "";
  let line = 1;
  let begun = 1;
  const endCell = () => {
    cells.push(cell);
    cell = "";
  };
  const endRow = () => {
    endCell();
    if (cells.length > 1 || cells[0].trim()) rows.push({ line: begun, cells });
    cells = [];
    begun = line;
  };
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const one = text[at];
    if (one === "\n") line += 1;
    if (quoted && one === '"' && text[at + 1] === '"') {
      cell += '"';
      at += 1;
    } else if (one === '"' && (quoted || cell === "")) quoted = !quoted;
    else if (quoted) cell += one;
    else if (one === ",") endCell();
    else if (one === "\n") endRow();
    else if (one !== "\r") cell += one;
  }
  endRow();
  return rows;
}

/** A cell as it is written. */
export const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
