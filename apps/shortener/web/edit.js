// Changing a link, also when somebody else does so at the same time.

import { absolute, details } from "./create.js";
import { dialog, h } from "./dom.js";
import { choice, field, form } from "./form.js";
import { bare, date } from "./text.js";
import { builder } from "./utm.js";

/**
 * Opens the form over the page. `save` is told what is to change; when it throws an error with
 * `newer`, the link as somebody else has left it, the form shows what that is.
 */
export function edit(link, save) {
  const target = field({ name: "target", label: "Leads to", value: link.target, inputmode: "url", spellcheck: "false", autocapitalize: "none", read: (input) => absolute(input.value.trim()) });
  const more = details(link);
  const secret = field({ name: "password", label: link.protected ? "New password" : "Password", type: "password", autocomplete: "new-password", maxlength: "256", hint: "Visitors are asked for it.", read: (input) => input.value });
  const kept = field({ name: "keep", label: "Password", make: choice([["keep", "Keep it"], ["new", "Another one"], ["none", "None"]]), read: (input) => input.value });
  const disabled = field({ name: "disabled", label: "State", make: choice([["", "Enabled"], ["yes", "Disabled: it leads nowhere"]]), value: link.disabled ? "yes" : "", read: (input) => input.value === "yes" });
  const utm = builder(target);
  const toggle = () => { secret.element.hidden = link.protected && kept.input.value !== "new"; };
  kept.input.addEventListener("change", toggle);
  toggle();

  // Of each property the field, how it is written into it, and how people read it.
  const parts = {
    target: [target, (value) => value, bare],
    title: [more.title, (value) => value ?? "", (value) => value ?? "none"],
    tags: [more.tags, (value) => value.join(", "), (value) => value.join(", ") || "none"],
    expires: [more.expires, more.expires.written, (value) => (value ? date(value) : "never")],
    clicks_left: [more.clicks_left, (value) => value ?? "", (value) => value ?? "any number"],
    status: [more.status, String, String],
    forward_query: [more.forward_query, String, (value) => (value ? "sent on" : "left out")],
    disabled: [disabled, (value) => (value ? "yes" : ""), (value) => (value ? "disabled" : "enabled")],
  };
  let base = link;
  const read = (name) => {
    const value = parts[name][0].read();
    if (name === "title") return value || null;
    return name === "tags" ? value.sort() : value;
  };
  const isOther = (one, other) => JSON.stringify(one) !== JSON.stringify(other);
  const changes = () => {
    const body = Object.fromEntries(Object.keys(parts).map((name) => [name, read(name)]).filter(([name, value]) => isOther(value, base[name])));
    if (utm.isChanged()) Object.assign(body, { target: utm.bare(), utm: utm.read() });
    if (link.protected && kept.read() === "none") body.password = null;
    else if ((!link.protected || kept.read() === "new") && secret.read()) body.password = secret.read();
    else if (link.protected && kept.read() === "new") throw Object.assign(new Error("Enter the new password."), { pointer: "#/password" });
    return body;
  };
  // What only the other has changed is taken over; what both have is shown, and stays to be decided.
  const meet = (newer) => {
    const errors = [];
    for (const [name, [one, written, shown]] of Object.entries(parts)) {
      if (!isOther(newer[name], base[name]) || !isOther(newer[name], read(name))) continue;
      if (isOther(read(name), base[name])) errors.push({ pointer: `#/${name}`, detail: `Somebody has changed this to: ${shown(newer[name])}` });
      else one.input.value = written(newer[name]);
    }
    base = newer;
    const rest = errors.length ? "Save again to put yours in their place." : "Their changes are in the form now. Save again to add yours.";
    return { message: "", errors: [...errors, { detail: `Somebody has changed the link meanwhile. ${rest}` }] };
  };

  const { element } = form({
    fields: [target, ...Object.values(more), kept, secret, disabled, ...utm.fields], submit: "Save", cancel: () => box.close(),
    content: [target.element, utm.element, h("div", { class: "grid" }, Object.values(more).map((one) => one.element), link.protected && kept.element, secret.element, disabled.element)],
    send: async () => {
      const body = changes();
      try {
        if (Object.keys(body).length) await save(body);
      } catch (error) {
        throw error.newer ? meet(error.newer) : error;
      }
      box.close();
    },
  });
  const box = dialog(`Edit ${bare(link.short_url)}`, element);
  target.input.focus();
  return box;
}
