// Signing in with an API key.

import { call } from "./api.js";
import { h } from "./dom.js";
import { field, form } from "./form.js";
import { logo } from "./logo.js";
import { shortcuts } from "./shortcuts.js";

/** The page; `done` is told who signed in. */
export function signIn({ ended, done }) {
  shortcuts({});
  const key = field({
    name: "key", label: "API key", type: "password", autocomplete: "current-password", spellcheck: "false", required: true,
    hint: ["The first start of the server printed one; ", h("code", null, "snip key"), " makes others."], placeholder: "snip_…",
  });
  const { element } = form({
    fields: [key], submit: "Sign in",
    content: [
      // For password managers, which want a name to a password.
      h("input", { type: "text", autocomplete: "username", value: "snip", class: "hidden", tabindex: "-1", "aria-hidden": "true", readonly: true }),
      key.element,
    ],
    send: async () => {
      const text = key.read();
      if (!text) throw Object.assign(new Error("Enter an API key."), { pointer: "#/key" });
      try {
        done(await call("POST", "session", { body: { key: text } }));
      } catch (error) {
        if (error.status === 401) error.pointer = "#/key";
        throw error;
      }
    },
  });
  queueMicrotask(() => key.input.focus());
  return h("main", { id: "main", class: "alone", tabindex: "-1" }, logo(),
    h("h1", null, "Sign in"), ended && h("p", { class: "alert", role: "status" }, "Your session has ended. Sign in again."), element);
}
