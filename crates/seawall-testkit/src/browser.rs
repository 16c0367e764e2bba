//! A real browser, Chromium without a window, driven over the DevTools protocol.
//!
//! The protocol goes through two pipes (`--remote-debugging-pipe`): messages are JSON, each with a
//! zero byte behind it, so that there is no port to be found and nothing else can join in. What
//! tests do is what people do: keys and presses come in as from a keyboard and a screen, not as
//! calls of scripts. Pages are in `browser/page.rs`.

mod page;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::gate::time_left;
use crate::process::command;

pub use page::Page;

/// What it is called by different packages.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// How long it may take to end when it is asked to.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Things that have gone wrong on a page and are kept.
const MOST_TROUBLES: usize = 100;

/// A running Chromium with a profile of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    wire: Arc<Wire>,
    home: TempDir,
}

impl Browser {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When none is installed, or it does not start; the error has what it printed.
    pub fn start() -> io::Result<Browser> {
        let program = find()?;
        let home = tempfile::tempdir()?;
        // Two more pipes than a command can be given: the shell moves those that it can.
        let mut shell = command("sh", ["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh"]);
        shell.arg(program).args(OPTIONS);
        if rustix::process::geteuid().is_root() {
            // Its sandbox is made of users, and does not work for root.
            shell.arg("--no-sandbox");
        }
        shell.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
        shell.arg("about:blank").env("HOME", home.path()).env("TMPDIR", home.path());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        shell.stderr(File::create(home.path().join("log"))?);
        let mut child = shell.spawn()?;
        let (Some(writer), Some(reader)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the pipes of the browser are missing"));
        };
        let wire = Arc::new(Wire::new(writer));
        thread::Builder::new().name("browser".to_owned()).spawn({
            let wire = wire.clone();
            move || wire.read_all(reader)
        })?;
        let browser = Browser { child, wire, home };
        browser.ask("Browser.getVersion", json!({}))?;
        Ok(browser)
    }

    /// A page of this size in CSS pixels, which shares nothing with others: neither cookies nor
    /// caches. It may use the clipboard.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn page(&self, width: u32, height: u32) -> io::Result<Page> {
        let context = self.ask("Target.createBrowserContext", json!({}))?;
        let context = context["browserContextId"].clone();
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let grant = json!({ "permissions": permissions, "browserContextId": context });
        self.ask("Browser.grantPermissions", grant)?;
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.ask("Target.createTarget", target)?["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.ask("Target.attachToTarget", attach)?;
        let session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        Page::new(self.wire.clone(), session, width, height)
    }

    fn ask(&self, method: &str, parameters: Value) -> io::Result<Value> {
        self.wire.ask(None, method, parameters).map_err(|error| {
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            io::Error::new(error.kind(), format!("{error}; the browser printed:\n{log}"))
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its helpers too, which else may outlive the profile that they write.
        self.wire.send(None, "Browser.close", json!({})).ok();
        let deadline = Instant::now() + LAST_WORDS;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// No window, nothing from the network but what pages ask for, the same pictures everywhere.
const OPTIONS: [&str; 16] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
];

fn find() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = NAMES.iter().find_map(|name| {
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|it| it.is_file())
    });
    found.ok_or_else(|| {
        io::Error::new(ErrorKind::NotFound, "no chromium; `cargo xtask test` installs it")
    })
}

/// Both pipes, and who waits for what.
#[derive(Debug)]
struct Wire {
    writer: Mutex<ChildStdin>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// By the number of the question.
    answers: HashMap<u64, Value>,
    /// What has gone wrong, by session.
    troubles: HashMap<String, Vec<String>>,
    is_over: bool,
}

impl Wire {
    fn new(writer: ChildStdin) -> Wire {
        Wire { writer: Mutex::new(writer), state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks and waits for the answer.
    fn ask(&self, session: Option<&str>, method: &str, parameters: Value) -> io::Result<Value> {
        let number = self.send(session, method, parameters)?;
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(mut answer) = state.answers.remove(&number) {
                let error = answer["error"].take();
                return match error {
                    Value::Null => Ok(answer["result"].take()),
                    error => Err(io::Error::other(format!("{method}: {error}"))),
                };
            }
            if state.is_over {
                let text = format!("{method}: the browser has ended");
                return Err(io::Error::new(ErrorKind::BrokenPipe, text));
            }
            let left = time_left(deadline, method)?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    fn send(&self, session: Option<&str>, method: &str, parameters: Value) -> io::Result<u64> {
        let number = {
            let mut state = self.lock();
            state.last += 1;
            state.last
        };
        let mut message = json!({ "id": number, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&bytes)?;
        writer.flush()?;
        Ok(number)
    }

    /// Reads until the browser ends.
    fn read_all(&self, pipe: impl Read) {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(0, &mut bytes), Ok(count) if count > 0) {
            bytes.pop();
            if let Ok(message) = serde_json::from_slice::<Value>(&bytes) {
                self.take(message);
            }
            bytes.clear();
        }
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn take(&self, message: Value) {
        let mut state = self.lock();
        if let Some(number) = message["id"].as_u64() {
            state.answers.insert(number, message);
            self.changed.notify_all();
            return;
        }
        let (Some(trouble), Some(session)) = (trouble(&message), message["sessionId"].as_str())
        else {
            return;
        };
        let troubles = state.troubles.entry(session.to_owned()).or_default();
        if troubles.len() < MOST_TROUBLES {
            troubles.push(trouble);
        }
    }
}

/// What an event says has gone wrong, if anything: a script that failed or says so, a policy that
/// was broken. What the network answers is left to whoever asked.
fn trouble(event: &Value) -> Option<String> {
    let details = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let thrown = &details["exceptionDetails"];
            let text = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            Some(text.unwrap_or("an exception").to_owned())
        }
        "Runtime.consoleAPICalled" if details["type"] == "error" => {
            Some(details["args"].to_string())
        }
        "Log.entryAdded" => {
            let entry = &details["entry"];
            let is_trouble = entry["level"] == "error" && entry["source"] != "network";
            is_trouble.then(|| entry["text"].as_str().unwrap_or("an error").to_owned())
        }
        _ => None,
    }
}
