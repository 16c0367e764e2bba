//! Whether people can use the pages who do not see them, or see little, or have no pointer: names,
//! contrast, and where the focus goes. Rules are of WCAG 2.2.

use serde_json::json;

use super::hand::Hand;

/// Everything that breaks a rule, as texts. Runs in the page.
const RULES: &str = r#"(() => {
  const wrong = [];
  const seen = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const label = (one) => `${one.tagName.toLowerCase()} "${(one.name || one.innerText || one.className || "").toString().slice(0, 40)}"`;
  const text = (id) => document.getElementById(id)?.textContent.trim() ?? "";
  const name = (one) => one.getAttribute("aria-label")?.trim()
    || (one.getAttribute("aria-labelledby") ?? "").split(" ").map(text).join(" ").trim()
    || [...(one.labels ?? [])].map((it) => it.textContent.trim()).join(" ")
    || (one.matches("input, select, textarea") ? "" : one.textContent.trim());
  for (const one of document.querySelectorAll("a[href], button, input, select, textarea, summary, dialog, [tabindex='0'], fieldset, nav, [role=region]")) {
    if (!seen(one) || one.ariaHidden === "true") continue;
    const named = one.matches("fieldset") ? one.querySelector("legend")?.textContent.trim() : name(one);
    if (!named) wrong.push(`1.1.1, 4.1.2: ${label(one)} has no name`);
    if (one.tabIndex > 0) wrong.push(`2.4.3: ${label(one)} comes before its turn`);
    const small = one.matches("button, a.button, input:not([type=checkbox], [type=radio]), select, summary") && one.getBoundingClientRect();
    if (small && small.width > 1 && (small.height < 24 || small.width < 24)) wrong.push(`2.5.8: ${label(one)} is ${small.width} by ${small.height}`);
  }
  for (const one of document.images) if (!one.hasAttribute("alt")) wrong.push("1.1.1: an image without a text");
  for (const one of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
    for (const id of [...(one.getAttribute("aria-describedby") ?? "").split(" "), ...(one.getAttribute("aria-labelledby") ?? "").split(" ")].filter(Boolean)) {
      if (!document.getElementById(id)) wrong.push(`1.3.1: ${label(one)} refers to nothing`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of ids.filter((it, at) => ids.indexOf(it) !== at)) wrong.push(`4.1.1: #${id} is there twice`);
  if (!document.documentElement.lang) wrong.push("3.1.1: no language");
  if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("h1").length !== 1) wrong.push("1.3.1: not one main part with one heading");
  const levels = [...document.querySelectorAll("main h1, main h2, main h3")].filter(seen).map((one) => Number(one.tagName[1]));
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) wrong.push(`1.3.1: a heading of level ${level} follows one of ${levels[at - 1]}`); });

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
  const ground = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
      if (at.tagName === "DIALOG" || layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), rgba(getComputedStyle(document.body).backgroundColor));
  };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255).map((part) => (part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)).reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], 0);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const one = node.parentElement;
    if (!node.textContent.trim() || !seen(one) || one.closest(":disabled, label:has(:disabled), .hidden, .skip, script, style, noscript, svg, option")) continue;
    const style = getComputedStyle(one);
    const under = ground(one);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (contrast < least) wrong.push(`1.4.3: "${node.textContent.trim().slice(0, 40)}" has a contrast of ${contrast.toFixed(2)}`);
  }
  return [...new Set(wrong)];
})()"#;

/// What has the focus, and whether it shows: the outline is its own, or that of what stands for it.
const FOCUS: &str = r#"(() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const shown = one.type === "radio" ? one.nextElementSibling : one;
  const style = getComputedStyle(shown);
  const box = shown.getBoundingClientRect();
  const at = one.compareDocumentPosition(window.last ?? one);
  window.last = one;
  return { name: (one.name || one.innerText || one.tagName).slice(0, 40), isSeen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isWithin: box.width > 0 && box.bottom > 0 && box.top < innerHeight, isBack: Boolean(at & Node.DOCUMENT_POSITION_FOLLOWING) };
})()"#;

impl Hand {
    /// Looks at all of what is shown.
    pub(super) fn is_accessible(&self, name: &str) {
        let wrong = self.page.eval(RULES).expect("it runs");
        assert_eq!(wrong, json!([]), "{name}");
    }

    /// Goes through what is shown with the tab key: all that gets the focus shows it, is in view, and
    /// comes in the order of the page.
    pub(super) fn goes_through(&self, name: &str, most: usize) {
        self.page.eval("document.activeElement.blur(), window.last = null").expect("it runs");
        let mut count = 0;
        for _ in 0..most {
            self.press("Tab");
            let focus = self.page.eval(FOCUS).expect("it runs");
            // Behind the last one comes the browser itself.
            if focus.is_null() || (count > 0 && focus["isBack"] == json!(true)) {
                break;
            }
            count += 1;
            assert_eq!(focus["isSeen"], json!(true), "{name}: the focus is not seen: {focus}");
            assert_eq!(focus["isWithin"], json!(true), "{name}: it is out of view: {focus}");
        }
        assert!(count > 3, "{name}: {count} only");
    }
}
