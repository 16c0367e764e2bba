//! Whoever uses the page: what they see, press and write.

use std::path::{Path, PathBuf};

use seawall_testkit::{Browser, Page};
use serde_json::{Value, json};

/// A page on which nothing may go wrong: no script fails, no policy is broken.
pub(super) struct Hand {
    pub(super) page: Page,
    base: String,
}

impl Hand {
    pub(super) fn new(browser: &Browser, base: &str, width: u32) -> Hand {
        let page = browser.page(width, 800).expect("a page");
        Hand { page, base: base.trim_end_matches('/').to_owned() }
    }

    pub(super) fn go(&self, path: &str) {
        self.page.go(&format!("{}{path}", self.base)).expect("it answers");
    }

    pub(super) fn sign_in(&self, key: &str) {
        self.go("/");
        self.until("document.activeElement.name === 'key'");
        self.write(key);
        self.press("Enter");
        self.until("document.querySelector('header.top')");
    }

    pub(super) fn until(&self, expression: &str) -> Value {
        self.page.until(expression).expect("it becomes so")
    }

    /// Waits until an element has this text in it.
    pub(super) fn reads(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "document.querySelector({selector})?.innerText.toLowerCase().includes({text}.toLowerCase())"
        ));
    }

    pub(super) fn text(&self, expression: &str) -> String {
        self.until(expression).as_str().expect("a text").to_owned()
    }

    pub(super) fn click(&self, selector: &str) {
        self.page.click(selector).expect("it is there");
    }

    pub(super) fn write(&self, text: &str) {
        self.page.write(text).expect("it is written");
    }

    pub(super) fn press(&self, key: &str) {
        self.page.press(key).expect("a key");
    }

    /// Writes into the field with this name, in place of what is there.
    pub(super) fn fill(&self, name: &str, text: &str) {
        self.click(&format!("[name='{name}']"));
        self.press("Control+a");
        self.write(text);
    }

    /// A picture, once all that moves has come to rest, and a look at whether it all fits.
    pub(super) fn picture(&self, name: &str) {
        let wide = self.page.eval("document.documentElement.scrollWidth - innerWidth");
        assert!(wide.as_ref().is_ok_and(|wide| wide.as_i64() <= Some(0)), "{name}: {wide:?}");
        self.until("[...document.images].every((image) => image.complete && image.naturalWidth)");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        std::fs::create_dir_all(&directory).expect("it can be made");
        let file: PathBuf = directory.join(format!("{name}.png"));
        self.page.picture(&file).expect("a picture");
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.page.troubles(), [""; 0]);
        }
    }
}
