// The first page: making links, and finding them again.

import { address, call } from "./api.js";
import { create } from "./create.js";
import { h, icon } from "./dom.js";
import { many } from "./many.js";
import { failed } from "./notice.js";
import { copyButton } from "./share.js";
import { shortcuts } from "./shortcuts.js";
import { ago, bare, compact, date, number, plural } from "./text.js";

const PAGE = 25;

/** Pages of a search that have nothing are gone through without being asked, so many. */
const MOST_EMPTY = 8;

/** An end that is so near is worth a look. */
const SOON = 7 * 86_400_000;

/** How long somebody may type before it is searched. */
const TYPING = 200;

/** The page; `signal` ends what it waits for. */
export function links({ me, signal, keys }) {
  const may = (scope) => me.scopes.includes(scope);
  const list = may("links:read") ? listing(signal, may("stats:read")) : null;
  const form = may("links:write") ? making({ url: me.url, list, signal }) : null;
  shortcuts({
    ...keys,
    ...(form && { n: { label: "New link", run: form.focus } }),
    ...(list && {
      "/": { label: "Search", run: list.search },
      j: { label: "Next link", run: () => list.step(1) },
      k: { label: "Link before", run: () => list.step(-1) },
      c: { label: "Copy the chosen link", run: list.copy },
    }),
  });
  const title = "Links";
  return {
    title, element: h("main", { id: "main", tabindex: "-1" }, h("h1", { class: "hidden" }, title), form?.element, list?.element,
      !list && !form && h("p", { class: "alert warn" }, "This key may neither read nor make links. Sign in with another one.")),
    focus: () => form?.focus(),
  };
}

/** The card that makes links: one, or many at once. */
function making({ url, list, signal }) {
  const one = create({ url, made: (link) => list?.add(link) });
  let shown = one;
  const content = h("div", null, one.element);
  const title = h("h2", { id: "create-title" }, "New link");
  const change = h("button", { type: "button", class: "small", onclick: () => {
    shown = shown === one ? many({ made: () => list?.renew(), signal }) : one;
    title.textContent = shown === one ? "New link" : "Many links";
    change.textContent = shown === one ? "Many at once" : "Only one";
    content.replaceChildren(shown.element);
    shown.focus();
  } }, "Many at once");
  return { element: h("section", { class: "card", "aria-labelledby": "create-title" }, h("div", { class: "bar-top" }, title, change), content), focus: () => shown.focus() };
}

function listing(signal, withClicks) {
  const asked = new URLSearchParams(location.search);
  const search = h("input", { type: "search", id: "q", autocomplete: "off", spellcheck: "false", placeholder: "Search code, address or title", maxlength: "200", value: asked.get("q") ?? "" });
  const tag = h("select", { id: "tag" }, h("option", { value: "" }, "All tags"));
  const sort = h("select", { id: "sort", value: asked.get("sort") ?? "newest" }, h("option", { value: "newest" }, "Newest first"), h("option", { value: "oldest" }, "Oldest first"));
  const save = h("a", { class: "button", download: "links.csv" }, icon("save"), "Export CSV");
  const rows = h("ul", { class: "rows" });
  const state = h("p", { class: "state", role: "status" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(true) }, "Show more");
  let next = null;
  let running = null;
  let timer;

  const query = () => {
    const given = new URLSearchParams();
    if (search.value.trim()) given.set("q", search.value.trim());
    if (tag.value) given.set("tag", tag.value);
    if (sort.value === "oldest") given.set("sort", sort.value);
    return given;
  };
  const load = async (further) => {
    running?.abort();
    running = new AbortController();
    const mine = AbortSignal.any([running.signal, signal]);
    const filtered = search.value.trim() || tag.value;
    more.disabled = true;
    rows.setAttribute("aria-busy", "true");
    try {
      let cursor = further ? next : null;
      const found = [];
      for (let empty = 0; found.length === 0 && empty < MOST_EMPTY; empty += 1) {
        const given = query();
        given.set("limit", PAGE);
        if (withClicks) given.set("with", "clicks");
        if (cursor) given.set("cursor", cursor);
        const page = await call("GET", `links?${given}`, { signal: mine });
        found.push(...page.links);
        cursor = page.next;
        if (!cursor) break;
      }
      next = cursor;
      const items = found.map(row);
      if (further) {
        rows.append(...items);
        items[0]?.querySelector("a").focus();
      } else {
        rows.replaceChildren(...items);
      }
      more.hidden = !next;
      more.textContent = found.length ? "Show more" : "Search further";
      tell(filtered);
    } catch (error) {
      if (error.name === "AbortError") return;
      state.textContent = error.message;
      failed(error);
    } finally {
      more.disabled = false;
      rows.removeAttribute("aria-busy");
    }
  };
  const tell = (filtered) => {
    const count = rows.children.length;
    const order = sort.value === "oldest" ? "oldest" : "newest";
    if (count) state.textContent = `${next ? `The ${number(count)} ${order}${filtered ? " that fit" : ""}` : plural(count, "link", "links")}${withClicks ? "; clicks of 30 days" : ""}`;
    else if (filtered) state.textContent = next ? "None so far." : "No link fits. Try fewer letters, or another tag.";
    else state.textContent = "No links yet. The first one is made above.";
  };
  const changed = () => {
    const given = query();
    history.replaceState(null, "", address(given.size ? `.?${given}` : "."));
    load(false);
    name();
  };
  const name = () => { save.href = address(`api/v1/links.csv?${query()}`); };
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(changed, TYPING); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); step(1); }
  });
  tag.addEventListener("change", changed);
  sort.addEventListener("change", changed);
  rows.addEventListener("click", (event) => {
    const chosen = event.target.closest("button.tag");
    if (!chosen) return;
    choose(chosen.textContent);
    changed();
  });
  const choose = (name) => {
    if (![...tag.options].some((one) => one.value === name)) tag.append(h("option", { value: name }, name));
    tag.value = name;
  };
  if (asked.get("tag")) choose(asked.get("tag"));

  const chosen = () => document.activeElement.closest?.(".rows > li");
  const step = (by) => {
    const all = [...rows.children];
    const at = all.indexOf(chosen());
    all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))]?.querySelector("a").focus();
  };
  name();
  load(false);
  call("GET", "tags", { signal }).then(({ tags }) => {
    const known = tag.value;
    tag.replaceChildren(h("option", { value: "" }, "All tags"), ...tags.map((one) => h("option", { value: one.tag }, `${one.tag} (${number(one.links)})`)));
    if (known) choose(known);
    tag.hidden = tags.length === 0;
    // Without tags there is nothing to choose; a list that cannot be read says so itself.
  }).catch(() => {});

  const element = h("section", { class: "card list", "aria-labelledby": "list-title" },
    h("div", { class: "bar-top" }, h("h2", { id: "list-title" }, "Your links"),
      h("div", { class: "filters", role: "search" },
        h("label", { class: "hidden", for: "q" }, "Search"), h("span", { class: "searching" }, icon("search"), search, h("kbd", { "aria-hidden": "true" }, "/")),
        h("label", { class: "hidden", for: "tag" }, "Tag"), tag, h("label", { class: "hidden", for: "sort" }, "Order"), sort)),
    state, rows, h("div", { class: "actions start" }, more, save));
  return {
    element, step, renew: () => load(false), search: () => { search.focus(); search.select(); }, copy: () => chosen()?.querySelector("button.copy")?.click(),
    add: (link) => {
      if (search.value.trim() || tag.value || sort.value === "oldest") return;
      rows.prepend(row(withClicks ? { ...link, recent_clicks: 0 } : link));
      tell(false);
    },
  };
}

function row(link) {
  const shown = bare(link.short_url);
  return h("li", null,
    h("div", { class: "row-text" },
      h("p", { class: "row-head" }, h("a", { class: "short", href: address(`links/${link.code}`), "data-go": true }, shown), badges(link)),
      h("p", { class: "target", title: link.target }, link.title && h("span", { class: "strong" }, link.title, " "), bare(link.target)),
      h("p", { class: "meta" }, h("time", { datetime: link.created, title: date(link.created) }, ago(link.created)),
        link.recent_clicks !== undefined && h("span", { class: "clicked-small" }, plural(link.recent_clicks, "click", "clicks")), link.tags.map((one) => h("button", { type: "button", class: "tag" }, one)))),
    link.recent_clicks !== undefined && h("p", { class: "clicked" }, h("span", { class: "strong" }, compact(link.recent_clicks)), link.recent_clicks === 1 ? " click" : " clicks"),
    copyButton(link.short_url, { about: shown }));
}

/** What a link is besides being a link. */
export function badges(link) {
  const left = link.clicks_left;
  const isOver = left === 0 || (link.expires && new Date(link.expires) <= Date.now());
  return [
    link.disabled && h("span", { class: "badge off" }, "Disabled"),
    isOver && h("span", { class: "badge bad" }, left === 0 ? "Used up" : "Expired"),
    !isOver && link.expires && h("span", { class: new Date(link.expires) - Date.now() < SOON ? "badge warn" : "badge", title: date(link.expires) }, `Ends ${ago(link.expires)}`),
    left > 0 && h("span", { class: "badge" }, plural(left, "click left", "clicks left")),
    link.protected && h("span", { class: "badge" }, "Password"),
    link.warnings.some(({ code }) => code !== "expired" && code !== "private-address") && h("span", { class: "badge warn" }, "Look closely"),
  ];
}
