// What is where: pages by their address, who is signed in, and what stands around all pages.

import { address, call, root, session } from "./api.js";
import { h } from "./dom.js";
import { keys } from "./keys.js";
import { link } from "./link.js";
import { links } from "./links.js";
import { logo } from "./logo.js";
import { failed } from "./notice.js";
import { overview } from "./overview.js";
import { show as showShortcuts } from "./shortcuts.js";
import { signIn } from "./signin.js";

/** After how long a page that is open asks again who it is, which renews the session. */
const RENEWAL = 3_600_000;

/** The pages that lead to each other: path, name, what makes it, its key, and who may see it. */
const PAGES = [
  { path: "", name: "Links", make: links, key: "u" },
  { path: "stats", name: "Overview", make: overview, key: "o", scope: "stats:read" },
  { path: "keys", name: "API keys", make: keys, key: "a", scope: "keys:admin" },
];

const app = document.getElementById("app");
let me = null;
let asked = 0;
let page = new AbortController();

/** Shows the page of the address. `isFirst`: it was opened, rather than gone to. */
async function route(isFirst) {
  page.abort();
  page = new AbortController();
  const { signal } = page;
  if (!me) return enter(false);
  const path = location.pathname.slice(root.pathname.length);
  const code = path.match(/^links\/([^/]+)$/)?.[1];
  const found = PAGES.find((one) => one.path === path) ?? PAGES[0];
  const others = pages().filter((one) => code || one !== found);
  const keys = Object.fromEntries(others.map((one) => [one.key, { label: one.name, run: () => go(one.path) }]));
  try {
    const shown = code ? await link({ me, code: decodeURIComponent(code), signal, go, keys }) : found.make({ me, signal, keys });
    if (signal.aborted) return;
    frame(shown.element, code ? null : found);
    document.title = `${shown.title} – snip`;
    // Whoever opened the page begins where they mean to; whoever goes is told where they are.
    if (!isFirst) window.scrollTo(0, 0);
    if (!isFirst || !code) shown.focus();
  } catch (error) {
    failed(error);
  }
}

function go(path) {
  history.pushState(null, "", address(path || "."));
  route(false);
}

/** The page for whoever is not signed in. */
function enter(ended) {
  document.title = "Sign in – snip";
  app.replaceChildren(signIn({ ended, done: (who) => { known(who); route(true); } }));
}

function known(who) {
  me = who;
  asked = Date.now();
}

/** Those that the key of the session is good for. */
const pages = () => PAGES.filter((one) => !one.scope || me.scopes.includes(one.scope));

function frame(main, shown) {
  const out = async () => {
    try {
      await call("DELETE", "session");
      me = null;
      history.replaceState(null, "", address("."));
      page.abort();
      enter(false);
    } catch (error) {
      failed(error);
    }
  };
  app.replaceChildren(
    h("header", { class: "top" }, h("a", { href: address("."), "data-go": true, "aria-label": "snip: all links" }, logo()),
      h("nav", { class: "tabs", "aria-label": "Pages" },
        pages().map((one) => h("a", { href: address(one.path || "."), "data-go": true, "aria-current": one === shown ? "page" : null }, one.name))),
      h("div", { class: "session" },
        h("button", { type: "button", class: "quiet keys-hint", onclick: showShortcuts, "aria-label": "Keyboard shortcuts" }, h("kbd", null, "?"), h("span", null, "Shortcuts")),
        h("span", { class: "who", title: `Signed in with the key “${me.name}”` }, me.name),
        h("button", { type: "button", class: "quiet", onclick: out }, "Sign out"))),
    main);
}

session.ended = () => {
  if (!me) return;
  me = null;
  page.abort();
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  enter(true);
};

document.addEventListener("click", (event) => {
  const to = event.target.closest?.("a[data-go]");
  // With a key held it is for another tab.
  if (!to || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", to.href);
  route(false);
});
document.querySelector("a.skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main")?.focus();
});
window.addEventListener("popstate", () => route(false));
document.addEventListener("visibilitychange", () => {
  if (me && document.visibilityState === "visible" && Date.now() - asked > RENEWAL) call("GET", "me").then(known, () => {});
});

// Its address is relative, and browsers ask for it anew at addresses that the page goes to.
const sign = document.querySelector("link[rel=icon]");
sign.setAttribute("href", sign.href);

call("GET", "me").then(known, (error) => { if (error.status !== 401) failed(error); }).finally(() => route(true));
