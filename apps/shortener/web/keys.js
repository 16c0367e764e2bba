// API keys: who has which, making them, and revoking them.

import { call } from "./api.js";
import { dialog, h, id } from "./dom.js";
import { field, form } from "./form.js";
import { SCOPES } from "./names.js";
import { notice } from "./notice.js";
import { copyButton } from "./share.js";
import { shortcuts } from "./shortcuts.js";
import { ago, date } from "./text.js";

/** What most keys are for: programs that make links. */
const USUAL = ["links:read", "links:write"];

/** The page; `signal` ends what it waits for. */
export function keys({ me, signal, keys: others }) {
  const title = "API keys";
  const heading = h("h1", { class: "page-title", tabindex: "-1" }, title);
  const page = (...content) => ({ title, focus: () => heading.focus(), element: h("main", { id: "main", tabindex: "-1" }, heading, content) });
  if (!me.scopes.includes("keys:admin")) {
    shortcuts(others);
    return page(h("p", { class: "alert warn" }, "This key may not manage keys."));
  }
  const rows = h("ul", { class: "rows" });
  const state = h("p", { class: "state", role: "status" }, "Reading the keys.");
  const load = async () => {
    try {
      const { keys } = await call("GET", "keys", { signal });
      const good = keys.filter((key) => !key.revoked);
      // Those that count first, the newest of them first.
      rows.replaceChildren(...[...good.reverse(), ...keys.filter((key) => key.revoked).reverse()].map((key) => row(key, me, load)));
      state.textContent = `${good.length} in use, ${keys.length - good.length} revoked. Keys themselves are not stored, and cannot be shown again.`;
    } catch (error) {
      if (error.name === "AbortError") return;
      state.textContent = error.message;
    }
  };
  const making = maker(me, load);
  shortcuts({ ...others, n: { label: "New key", run: making.focus } });
  load();
  return page(
    h("section", { class: "card", "aria-labelledby": "new-key" }, h("h2", { id: "new-key" }, "New key"), making.element),
    h("section", { class: "card list", "aria-labelledby": "key-list" }, h("h2", { id: "key-list" }, "All keys"), state, rows));
}

function maker(me, made) {
  const name = field({ name: "name", label: "Name", maxlength: "100", placeholder: "newsletter", hint: "Who or what has it." });
  const scopes = chosen(me);
  const result = h("div", { class: "result" });
  const { element } = form({
    fields: [name, scopes], submit: "Make the key", content: [name.element, scopes.element],
    send: async () => {
      if (!name.read()) throw Object.assign(new Error("Enter a name."), { pointer: "#/name" });
      if (!scopes.read().length) throw Object.assign(new Error("Choose at least one."), { pointer: "#/scopes" });
      const key = await call("POST", "keys", { body: { name: name.read(), scopes: scopes.read() } });
      element.reset();
      show(key);
      made();
    },
  });
  const show = (key) => {
    const button = copyButton(key.key, { label: "Copy", about: `the key “${key.name}”`, said: "Copied the key", main: true });
    result.replaceChildren(h("div", { class: "made" }, h("div", { class: "made-text" },
      h("p", { class: "strong" }, `“${key.name}” is made. Keep the key now: it is shown this once.`),
      h("div", { class: "line" }, h("code", { class: "secret" }, key.key), button),
      h("p", { class: "hint" }, "Programs send it as ", h("code", null, "Authorization: Bearer …"), "; people sign in with it."))));
    button.focus();
    notice("The key is made. It is shown this once.", { quiet: true });
  };
  return { element: [element, result], focus: () => name.input.focus() };
}

/** A field of what a key may be used for; nobody gives what they have not. */
function chosen(me) {
  const wrong = h("p", { class: "wrong", id: id(), hidden: true });
  const boxes = Object.entries(SCOPES).map(([scope, [label, hint]]) => {
    const note = h("span", { class: "hint", id: id() }, me.scopes.includes(scope) ? hint : "Your own key may not.");
    const input = h("input", { type: "checkbox", name: "scopes", value: scope, checked: USUAL.includes(scope) && me.scopes.includes(scope), disabled: !me.scopes.includes(scope), "aria-describedby": note.id });
    return { input, element: h("label", { class: "check" }, input, h("span", null, h("span", { class: "strong" }, label), note)) };
  });
  const group = h("fieldset", { class: "field checks" }, h("legend", null, "It may"), h("div", { class: "grid" }, boxes.map((one) => one.element)), wrong);
  const tell = (text) => {
    wrong.textContent = text ?? "";
    wrong.hidden = !text;
    if (text) group.setAttribute("aria-describedby", wrong.id);
    else group.removeAttribute("aria-describedby");
    for (const { input } of boxes) text ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
  };
  group.addEventListener("change", () => tell(null));
  return { name: "scopes", element: group, input: boxes[0].input, tell, read: () => boxes.filter(({ input }) => input.checked).map(({ input }) => input.value) };
}

function row(key, me, changed) {
  const isOwn = key.id === me.key;
  const revoke = () => {
    const { element } = form({
      fields: [], submit: "Revoke it", cancel: () => box.close(), content: null, danger: true,
      send: async () => {
        await call("DELETE", `keys/${key.id}`);
        box.close();
        notice(`Revoked “${key.name}”`);
        // With the own key the session has ended, which the next question is told.
        if (isOwn) await call("GET", "me").catch(() => {});
        else changed();
      },
    });
    const box = dialog(`Revoke “${key.name}”?`,
      h("p", null, "Whoever uses it is refused from now on; at other servers within a second. This cannot be undone.", isOwn && h("b", null, " It is the key that you are signed in with.")), element);
    element.querySelector("button").focus();
  };
  return h("li", null,
    h("div", { class: "row-text" },
      h("p", { class: "row-head" }, h("span", { class: "strong" }, key.name), isOwn && h("span", { class: "badge" }, "Yours"), key.revoked && h("span", { class: "badge off" }, "Revoked")),
      h("p", { class: "meta" }, key.scopes.map((scope) => h("span", { class: "tag" }, SCOPES[scope]?.[0] ?? scope))),
      h("p", { class: "when" }, "Made ", h("time", { datetime: key.created, title: date(key.created) }, ago(key.created)),
        key.revoked && [", revoked ", h("time", { datetime: key.revoked, title: date(key.revoked) }, ago(key.revoked))])),
    !key.revoked && h("button", { type: "button", class: "danger", "aria-label": `Revoke ${key.name}`, onclick: revoke }, "Revoke"));
}

