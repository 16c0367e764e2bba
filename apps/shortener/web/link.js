// The page of one link: how it is clicked, what it is, and changing it.

import { address, call } from "./api.js";
import { warning } from "./create.js";
import { dialog, h, icon } from "./dom.js";
import { edit as editing } from "./edit.js";
import { form } from "./form.js";
import { badges } from "./links.js";
import { failed, notice } from "./notice.js";
import { copy, copyButton, qr } from "./share.js";
import { shortcuts } from "./shortcuts.js";
import { clicks } from "./stats.js";
import { ago, bare, date, number } from "./text.js";

const path = (link) => `links/${encodeURIComponent(link.code)}`;

/** The page of the link with this code; `go` leads to another page. */
export async function link({ me, code, signal, go, keys }) {
  let now;
  try {
    now = await call("GET", `links/${encodeURIComponent(code)}`, { signal });
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    return missing(code, error, keys);
  }
  const may = (scope) => me.scopes.includes(scope);
  const head = h("div", { class: "page-head" });
  const side = h("aside", { class: "side", "aria-label": "About the link" });
  const back = () => go("");

  const show = () => {
    const buttons = may("links:write") && [
      h("button", { type: "button", "data-act": "edit", onclick: edit }, icon("edit"), "Edit"),
      h("button", { type: "button", "data-act": "toggle", onclick: toggle }, now.disabled ? "Enable" : "Disable"),
      h("button", { type: "button", class: "danger", "data-act": "delete", onclick: remove }, "Delete"),
    ];
    const focused = document.activeElement?.dataset?.act;
    head.replaceChildren(
      h("p", null, h("a", { class: "back", href: address("."), "data-go": true }, icon("back"), "All links")),
      h("div", { class: "bar-top" },
        h("div", { class: "names" }, h("h1", { tabindex: "-1" }, bare(now.short_url)), now.title && h("p", { class: "strong" }, now.title),
          h("p", { class: "target" }, h("a", { href: now.target, target: "_blank", rel: "noopener noreferrer" }, bare(now.target))), h("p", { class: "row-head" }, badges(now))),
        h("div", { class: "actions" }, copyButton(now.short_url, { about: bare(now.short_url), main: true }),
          h("a", { class: "button", href: now.short_url, target: "_blank", rel: "noopener noreferrer" }, icon("open"), "Open"), buttons)),
      ...now.warnings.map((one) => h("p", { class: "alert warn" }, warning(one))));
    const row = (name, ...value) => h("div", null, h("dt", null, name), h("dd", null, ...value));
    side.replaceChildren(
      h("section", { class: "card" }, h("h2", null, "QR code"), qr(now)),
      h("section", { class: "card" }, h("h2", null, "About"), h("dl", { class: "about" },
        row("Redirect", `${now.status}`),
        row("Visitors’ parameters", now.forward_query ? "Sent on" : "Left out"),
        row("Expires", now.expires ? date(now.expires) : "Never"),
        row("Clicks left", now.clicks_left === null ? "Any number" : number(now.clicks_left)),
        row("Password", now.protected ? "Asked for" : "None"),
        row("Tags", now.tags.length ? now.tags.map((tag) => h("a", { class: "tag", href: address(`.?${new URLSearchParams({ tag })}`), "data-go": true }, tag)) : "None"),
        row("Made", h("time", { datetime: now.created, title: date(now.created) }, ago(now.created))),
        row("Changed", now.version === 1 ? "Never" : h("time", { datetime: now.updated, title: date(now.updated) }, ago(now.updated))))));
    if (focused) head.querySelector(`[data-act="${focused}"]`)?.focus();
  };
  const change = async (body) => {
    now = await call("PATCH", path(now), { body, fields: { "if-match": `"${now.version}"` } });
    show();
  };
  const toggle = async () => {
    const disabled = !now.disabled;
    try {
      await change({ disabled });
      const undo = { label: "Undo", run: () => change({ disabled: !disabled }).catch(failed) };
      notice(disabled ? "Disabled: whoever follows it finds nothing." : "Enabled.", { action: undo });
    } catch (error) {
      failed(await renewed(error));
    }
  };
  // Somebody else has changed it: what is shown is what it is by now.
  const renewed = async (error) => {
    if (error.status !== 412) return error;
    now = await call("GET", path(now), { signal });
    show();
    return Object.assign(error, { newer: now, message: "Somebody has changed the link meanwhile. Look at it, and try again." });
  };
  const edit = () => {
    const box = editing(now, (body) => change(body).then(() => notice("Saved"), async (error) => { throw await renewed(error); }));
    // The button that opened it may have been drawn anew since.
    box.addEventListener("close", () => head.querySelector("[data-act=edit]")?.focus());
  };
  const remove = () => {
    const { element } = form({
      fields: [], submit: "Delete it", cancel: () => box.close(), content: null, danger: true,
      send: async () => {
        await call("DELETE", path(now), { fields: { "if-match": `"${now.version}"` } }).catch(async (error) => { throw await renewed(error); });
        box.close();
        notice(`Deleted ${bare(now.short_url)}`);
        go("");
      },
    });
    const box = dialog("Delete this link?", h("p", null, h("b", null, bare(now.short_url)), " will lead nowhere, and its code can be taken by others. This cannot be undone; disabling can."), element);
    element.querySelector("button").focus();
  };
  shortcuts({
    ...keys,
    c: { label: "Copy the link", run: async () => notice((await copy(now.short_url)) ? `Copied ${now.short_url}` : "The browser does not allow copying here.") },
    ...(may("links:write") && { e: { label: "Edit", run: edit }, d: { label: "Disable or enable", run: toggle } }),
  });
  show();
  const statistics = may("stats:read") ? clicks({ code: now.code, heading: h("h2", null, "Clicks"), usual: "day", signal }) : h("p", { class: "alert" }, "This key may not read how links are clicked.");
  return {
    title: bare(now.short_url), focus: () => head.querySelector("h1").focus(),
    element: h("main", { id: "main", tabindex: "-1" }, head, h("div", { class: "split" }, statistics, side)),
  };
}

function missing(code, error, keys) {
  shortcuts(keys);
  const isGone = error.status === 404;
  return {
    title: "No such link", focus: () => document.querySelector("#main h1").focus(),
    element: h("main", { id: "main", class: "alone", tabindex: "-1" }, h("h1", { tabindex: "-1" }, isGone ? "There is no such link" : "The link cannot be shown"),
      h("p", null, isGone ? `Nothing is called “${code}” here; it may have been deleted.` : error.message),
      h("p", null, h("a", { class: "button", href: address("."), "data-go": true }, "All links"))),
  };
}
