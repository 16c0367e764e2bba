// What people do with a short link: copy it, and show its QR code.

import { address } from "./api.js";
import { h, icon } from "./dom.js";
import { notice } from "./notice.js";

/** Puts a text into the clipboard; false where that is not allowed. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// Over plain HTTP, from another machine, browsers have no clipboard for scripts but this.
function copyBySelection(text) {
  const focused = document.activeElement;
  const area = h("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1", readonly: true, value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

/** A button that copies, and says that it did, in the words of `said`. */
export function copyButton(text, { label = "Copy", about, main, said = `Copied ${text}` } = {}) {
  const words = h("span", null, label);
  const mark = h("span", { class: "mark" }, icon("copy"));
  let timer;
  const run = async () => {
    const done = await copy(text);
    if (!done) return notice("The browser does not allow copying here. Select the link instead.", { bad: true });
    words.textContent = "Copied";
    mark.replaceChildren(icon("check"));
    clearTimeout(timer);
    timer = setTimeout(() => { words.textContent = label; mark.replaceChildren(icon("copy")); }, 2000);
    notice(said);
  };
  return h("button", { type: "button", class: main ? "copy main" : "copy", "aria-label": about ? `Copy ${about}` : null, onclick: run }, mark, words);
}

/** The QR code of a link, and its files. */
export function qr(link) {
  const file = (kind, query) => address(`api/v1/links/${encodeURIComponent(link.code)}/qr.${kind}${query}`);
  const save = (kind, query) => h("a", { class: "button", href: file(kind, query), download: `${link.code}.${kind}` }, kind.toUpperCase());
  return h("div", { class: "qr" },
    h("img", { src: file("svg", "?margin=2"), width: "160", height: "160", alt: `QR code of ${link.short_url}` }),
    h("div", { class: "pair", role: "group", "aria-label": "Save the QR code" }, save("svg", ""), save("png", "?size=1024")));
}
