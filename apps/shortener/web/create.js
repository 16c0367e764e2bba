// Making a link, and the fields that making and changing have in common.

import { address, call, randomKey } from "./api.js";
import { h, icon } from "./dom.js";
import { choice, field, form } from "./form.js";
import { notice } from "./notice.js";
import { copy, copyButton, qr } from "./share.js";
import { bare, fromLocal, toLocal } from "./text.js";
import { builder } from "./utm.js";

/** Where a link leads: people leave the scheme away. */
const absolute = (text) => (text && !/^[a-z][a-z0-9+.-]*:/i.test(text) ? `https://${text}` : text);

/** The fields of a link that it has besides its code and its target. */
export function details(link) {
  const text = (name, label, more) => field({ name, label, value: link?.[name] ?? "", ...more });
  return {
    title: text("title", "Title", { maxlength: "255", hint: "For you and your colleagues; visitors do not see it." }),
    tags: field({
      name: "tags", label: "Tags", value: link?.tags.join(", ") ?? "", placeholder: "spring, newsletter", hint: "With commas between.",
      read: (input) => [...new Set(input.value.split(",").map((tag) => tag.trim()).filter(Boolean))],
    }),
    expires: expiry(link),
    clicks_left: field({
      name: "clicks_left", label: link ? "Clicks left" : "Clicks at most", type: "number", min: "0", step: "1", inputmode: "numeric", value: link?.clicks_left ?? "", hint: "Empty: any number.",
      read: (input) => {
        if (input.validity.badInput) throw Object.assign(new Error("Enter a whole number, or nothing."), { pointer: "#/clicks_left" });
        return input.value === "" ? null : Number(input.value);
      },
    }),
    status: field({
      name: "status", label: "Redirect", value: String(link?.status ?? ""),
      make: choice([...(link ? [] : [["", "As the server is configured"]]), ["302", "302 – every click is seen"], ["301", "301 – browsers remember it"], ["307", "307 – as 302, keeps the method"], ["308", "308 – as 301, keeps the method"]]),
      read: (input) => (input.value ? Number(input.value) : null),
    }),
    forward_query: field({
      name: "forward_query", label: "Visitors’ parameters", value: String(link?.forward_query ?? ""), hint: "What is behind the ? of the short link.",
      make: choice([...(link ? [] : [["", "As the server is configured"]]), ["false", "Left out"], ["true", "Sent on to the long link"]]),
      read: (input) => (input.value ? input.value === "true" : null),
    }),
  };
}

/** A field for when a link expires. What was not touched keeps its seconds. */
function expiry(link) {
  const known = new Map();
  const written = (value) => {
    if (!value) return "";
    known.set(toLocal(value), value);
    return toLocal(value);
  };
  const one = field({
    name: "expires", label: "Expires", type: "datetime-local", value: written(link?.expires), hint: "In your time zone. Empty: never.",
    read: (input) => (input.value ? known.get(input.value) ?? fromLocal(input.value) : null),
  });
  return { ...one, written };
}

/** The form that makes links. `made` is told of each. */
export function create({ url, made }) {
  const target = field({
    name: "target", label: "Long link", inputmode: "url", spellcheck: "false", autocapitalize: "none", placeholder: "https://example.com/a/long/address",
    read: (input) => absolute(input.value.trim()),
  });
  const alias = field({ name: "alias", label: "Alias", before: `${bare(url)}/`, spellcheck: "false", autocapitalize: "none", maxlength: "64", hint: "Letters, digits, - and _. Empty: seven random ones." });
  const password = field({ name: "password", label: "Password", type: "password", autocomplete: "new-password", maxlength: "256", hint: "Visitors are asked for it.", read: (input) => input.value });
  const more = details();
  const utm = builder(target);
  const result = h("div", { class: "result" });
  let sent = { body: "", key: "" };

  const send = async () => {
    if (!target.read()) throw Object.assign(new Error("Enter the address that the link is to lead to."), { pointer: "#/target" });
    const given = Object.fromEntries([target, alias, password, ...Object.values(more)].map((one) => [one.name, one.read()]));
    given.utm = utm.read();
    const isGiven = (value) => value !== null && value !== undefined && (value === 0 || (typeof value === "object" ? Object.keys(value).length > 0 : value !== ""));
    const body = Object.fromEntries(Object.entries(given).filter(([, value]) => isGiven(value)));
    // Sent once more after the connection broke, it is the same request, and makes no second link.
    if (sent.body !== JSON.stringify(body)) sent = { body: JSON.stringify(body), key: randomKey() };
    const link = await call("POST", "links", { body, fields: { "idempotency-key": sent.key } });
    sent = { body: "", key: "" };
    const copied = await copy(link.short_url);
    element.reset();
    for (const fold of element.querySelectorAll("details")) fold.open = false;
    element.querySelector("output").textContent = "";
    show(link, copied);
    made(link);
  };
  const show = (link, copied) => {
    const button = copyButton(link.short_url, { label: "Copy", about: link.short_url, main: true });
    result.replaceChildren(h("div", { class: "made" },
      h("div", { class: "made-text" },
        h("p", { class: "eyebrow" }, icon("check"), copied ? "Made, and copied" : "Made"),
        h("p", { class: "made-link" }, h("a", { href: link.short_url, target: "_blank", rel: "noopener noreferrer" }, bare(link.short_url))),
        h("p", { class: "target" }, "leads to ", bare(link.target)),
        link.warnings.map((one) => h("p", { class: "alert warn" }, warning(one))),
        h("div", { class: "actions start" }, button, h("a", { class: "button", href: address(`links/${link.code}`), "data-go": true }, icon("chart"), "Details"))),
      qr(link)));
    button.focus();
    if (copied) notice(`Copied ${link.short_url}`, { quiet: true });
  };

  const fold = h("details", { class: "fold" }, h("summary", null, "Options: alias, expiry, password, tags, UTM"),
    h("div", { class: "grid" }, alias.element, more.title.element, more.tags.element, more.expires.element, more.clicks_left.element, password.element, more.status.element, more.forward_query.element),
    utm.element);
  const line = h("div", { class: "line" }, target.element);
  const { element, button } = form({ fields: [target, alias, ...Object.values(more), password, ...utm.fields], submit: "Shorten", className: "create", content: [line, fold], send });
  line.append(button);
  return { element: h("div", null, element, result), focus: () => target.input.focus() };
}

/** What people should know about a link. */
export function warning({ code, detail }) {
  const begun = { "confusable-host": "Look closely", "mixed-scripts": "Look closely", "private-address": "Not for everybody", expired: "Expired" }[code] ?? "Note";
  return `${begun}: ${detail}.`;
}

export { absolute };
