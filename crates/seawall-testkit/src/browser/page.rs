//! A page of a browser: where it is, what is on it, and the hands of whoever uses it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Wire;
use crate::PATIENCE;
use crate::gate::time_left;

/// How often a page is looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A page, which lives as long as its browser.
#[derive(Debug)]
pub struct Page {
    wire: Arc<Wire>,
    session: String,
}

impl Page {
    pub(super) fn new(
        wire: Arc<Wire>,
        session: String,
        width: u32,
        height: u32,
    ) -> io::Result<Page> {
        let page = Page { wire, session };
        for domain in ["Page", "Runtime", "Log"] {
            page.ask(&format!("{domain}.enable"), json!({}))?;
        }
        page.ask("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))?;
        page.resize(width, height, false)?;
        Ok(page)
    }

    /// Goes to a URL and waits until its document is read.
    ///
    /// # Errors
    /// When there is no answer to it.
    pub fn go(&self, url: &str) -> io::Result<()> {
        let gone = self.ask("Page.navigate", json!({ "url": url }))?;
        match gone["errorText"].as_str() {
            Some(error) if !error.is_empty() => Err(io::Error::other(format!("{url}: {error}"))),
            _ => self.until("document.readyState === 'complete'").map(drop),
        }
    }

    /// The value of an expression, which must be fit for JSON; that of a promise once it is there.
    ///
    /// # Errors
    /// When it throws, or the page is gone.
    pub fn eval(&self, expression: &str) -> io::Result<Value> {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let mut answer = self.ask("Runtime.evaluate", parameters)?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].take()),
            details => {
                let text = details["exception"]["description"].as_str().unwrap_or("it throws");
                Err(io::Error::other(format!("{expression}: {text}")))
            }
        }
    }

    /// Waits until an expression is something (in the sense of JavaScript), and returns what.
    ///
    /// # Errors
    /// `TimedOut`, with what is on the page instead.
    pub fn until(&self, expression: &str) -> io::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.eval(expression);
            // While a page goes there is none to ask.
            let value = found.as_ref().ok().filter(|value| is_something(value));
            if let Some(value) = value {
                return Ok(value.clone());
            }
            if matches!(&found, Err(error) if error.kind() == ErrorKind::BrokenPipe) {
                return found;
            }
            if time_left(deadline, expression).is_err() {
                let text = self.eval("location.href + '\\n' + document.body.innerText");
                let (found, text) = (found.map(|it| it.to_string()), text.unwrap_or_default());
                let text = text.as_str().unwrap_or_default();
                let message = format!("{expression} is {found:?} at {text}\n{:?}", self.troubles());
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            // A page tells nobody outside when it changes.
            thread::sleep(LOOK);
        }
    }

    /// Presses the pointer in the middle of the first element that a selector finds, once it is
    /// there; what covers it gets the press.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn click(&self, selector: &str) -> io::Result<()> {
        let selector = json!(selector);
        let place = self.until(&format!(
            "(() => {{ const one = document.querySelector({selector}); if (!one) return null; \
             one.scrollIntoView({{ block: 'nearest' }}); const box = one.getBoundingClientRect(); \
             return box.width && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }} }})()"
        ))?;
        let mut event = json!({ "type": "mouseMoved", "x": place["x"], "y": place["y"] });
        self.ask("Input.dispatchMouseEvent", event.clone())?;
        event["button"] = "left".into();
        event["clickCount"] = 1.into();
        for kind in ["mousePressed", "mouseReleased"] {
            event["type"] = kind.into();
            self.ask("Input.dispatchMouseEvent", event.clone())?;
        }
        Ok(())
    }

    /// Writes a text where the focus is.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn write(&self, text: &str) -> io::Result<()> {
        self.ask("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// Presses a key and lets it go: a character, or a name such as `Enter`, `Tab`, `Escape`,
    /// `ArrowDown`; with `Shift+` or `Control+` before it.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn press(&self, key: &str) -> io::Result<()> {
        let (modifiers, key) = match key.rsplit_once('+') {
            Some(("Shift", key)) => (8, key),
            Some(("Control", key)) => (2, key),
            _ => (0, key),
        };
        let mut characters = key.chars();
        let (code, text) = match (key, characters.next(), characters.next()) {
            ("Enter", ..) => (13, "\r"),
            ("Tab", ..) => (9, ""),
            ("Escape", ..) => (27, ""),
            ("Backspace", ..) => (8, ""),
            ("End", ..) => (35, ""),
            ("Home", ..) => (36, ""),
            ("ArrowLeft", ..) => (37, ""),
            ("ArrowUp", ..) => (38, ""),
            ("ArrowRight", ..) => (39, ""),
            ("ArrowDown", ..) => (40, ""),
            (_, Some(one), None) => (one.to_ascii_uppercase() as u32, key),
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, format!("no key {key}"))),
        };
        // With Control it is a command and no text.
        let text = if modifiers == 2 { "" } else { text };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let mut event = json!({
            "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code,
            "modifiers": modifiers,
        });
        if (modifiers, key) == (2, "a") {
            event["commands"] = json!(["selectAll"]);
        }
        self.ask("Input.dispatchKeyEvent", event.clone())?;
        event["type"] = "keyUp".into();
        event["text"] = "".into();
        event["commands"] = json!([]);
        self.ask("Input.dispatchKeyEvent", event).map(drop)
    }

    /// Another size in CSS pixels; of a phone, with a touch screen, if that is said.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn resize(&self, width: u32, height: u32, is_phone: bool) -> io::Result<()> {
        let scale = if is_phone { 2 } else { 1 };
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone,
        });
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let touch = json!({ "enabled": is_phone });
        self.ask("Emulation.setTouchEmulationEnabled", touch).map(drop)
    }

    /// What its owner prefers, as media features: `("prefers-color-scheme", "dark")`.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn prefer(&self, features: &[(&str, &str)]) -> io::Result<()> {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).map(drop)
    }

    /// What it calls itself to servers from now on, in place of a browser without a window.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn call_itself(&self, agent: &str) -> io::Result<()> {
        self.ask("Emulation.setUserAgentOverride", json!({ "userAgent": agent })).map(drop)
    }

    /// Writes a picture of the whole page, not only of what is in view, as PNG.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub fn picture(&self, file: &Path) -> io::Result<()> {
        let size = &self.ask("Page.getLayoutMetrics", json!({}))?["cssContentSize"];
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        });
        let asked = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let taken = self.ask("Page.captureScreenshot", asked)?;
        let data = taken["data"].as_str().unwrap_or_default();
        fs::write(file, BASE64.decode(data.as_bytes()).map_err(io::Error::other)?)
    }

    /// What has gone wrong since it was opened: scripts that failed, policies that were broken.
    pub fn troubles(&self) -> Vec<String> {
        self.wire.lock().troubles.get(&self.session).cloned().unwrap_or_default()
    }

    fn ask(&self, method: &str, parameters: Value) -> io::Result<Value> {
        self.wire.ask(Some(&self.session), method, parameters)
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
