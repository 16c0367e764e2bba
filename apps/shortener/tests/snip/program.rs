//! A running `snip` with a database of its own, and a client of its API.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use seawall_testkit::{Process, RawClient, Response};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_snip");

/// A process of `snip serve` on a free port of 127.0.0.1 with an SQLite file in a directory of its
/// own. Dropping it kills it.
pub(crate) struct Snip {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// The key that the first start printed.
    pub(crate) key: String,
    home: TempDir,
}

impl Snip {
    /// With nothing configured but where it listens and what short links begin with.
    pub(crate) fn start() -> Snip {
        Snip::with("")
    }

    /// With further configuration (TOML).
    pub(crate) fn with(config: &str) -> Snip {
        let home = tempfile::tempdir().expect("a directory can be made");
        let file = home.path().join("snip.toml");
        let text = format!("listen = \"127.0.0.1:0\"\nurl = \"https://sn.ip\"\n{config}");
        fs::write(file, text).expect("the configuration can be written");
        fs::write(home.path().join("blocked"), "evil.example\n").expect("it can be written");
        let (process, address) = serve(home.path());
        let key = process
            .lines()
            .iter()
            .find_map(|line| line.text.strip_prefix("admin key: ").map(str::to_owned))
            .expect("the first start prints a key");
        Snip { process, address, key, home }
    }

    /// Kills it and starts another over the same files.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().expect("it can be killed");
        (self.process, self.address) = serve(self.home.path());
    }

    /// Its directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file in its directory.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.home().join(name);
        fs::write(&file, text).expect("the file can be written");
        file
    }

    /// A client with the first key.
    pub(crate) fn client(&self) -> Client {
        self.client_with(&self.key)
    }

    /// A client with this key.
    pub(crate) fn client_with(&self, key: &str) -> Client {
        let wire = RawClient::connect(self.address).expect("snip accepts");
        Client { wire, key: key.to_owned() }
    }

    /// Runs a command of `snip` against this one, in its directory, and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(&self.key, arguments)
    }

    /// The same with another key.
    pub(crate) fn run_with(&self, key: &str, arguments: &[&str]) -> Run {
        let output = Command::new(BINARY)
            .args(arguments)
            .current_dir(self.home())
            .env("SNIP_URL", format!("http://{}", self.address))
            .env("SNIP_KEY", key)
            .stdin(Stdio::null())
            .output()
            .expect("snip runs");
        Run::of(output)
    }
}

/// `snip serve` in a directory, once it listens.
fn serve(home: &Path) -> (Process, SocketAddr) {
    let mut command = Command::new(BINARY);
    command.arg("serve").current_dir(home);
    let process = Process::spawn(command).expect("snip starts");
    let address = process
        .wait_for_line(|line| line.text.strip_prefix("listening on ").map(str::to_owned))
        .expect("it listens");
    (process, address.parse().expect("it prints an address"))
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) succeeded: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    fn of(output: Output) -> Run {
        Run {
            succeeded: output.status.success(),
            out: String::from_utf8(output.stdout).expect("it prints text"),
            err: String::from_utf8(output.stderr).expect("it prints text"),
        }
    }

    /// What it printed, when it did what it should.
    pub(crate) fn ok(self) -> String {
        assert!(self.succeeded, "{self:?}");
        self.out
    }
}

/// One connection to the API, with a key.
pub(crate) struct Client {
    wire: RawClient,
    key: String,
}

impl Client {
    /// Reads a resource; the path begins behind `/api/v1`.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[], None)
    }

    /// Sends JSON to a resource.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, &[("content-type", "application/json")], Some(&body.to_string()))
    }

    /// Sends JSON with further fields.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Response {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(fields);
        self.ask(method, path, &all, Some(&body.to_string()))
    }

    /// Sends whatever it is told to.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let mut text = format!("{method} /api/v1{path} HTTP/1.1\r\nhost: snip\r\n");
        if !self.key.is_empty() {
            text += &format!("authorization: Bearer {}\r\n", self.key);
        }
        for (name, value) in fields {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            text += &format!("content-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body.unwrap_or_default();
        self.wire.send(text).expect("snip takes a request");
        self.wire.read_response_to(method).expect("snip answers")
    }

    /// Makes a link and returns it.
    pub(crate) fn create(&mut self, body: &Value) -> Value {
        let answer = self.post("/links", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        json(&answer)
    }
}

/// The JSON of an answer.
pub(crate) fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| {
        panic!("not JSON ({error}): {} {}", answer.status, answer.text());
    })
}

/// The status of a problem, the last word of its type, and what is wrong with which part.
pub(crate) fn problem(answer: &Response) -> (u16, String, Vec<(String, String)>) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let body = json(answer);
    assert_eq!(body["status"], answer.status, "{body}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    let word = body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:snip:problem:"));
    let word = word.expect("the type is a URN").to_owned();
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let wrong = errors.iter().map(|error| {
        let place = ["pointer", "parameter", "header"].iter().find(|key| !error[**key].is_null());
        (text(&error[*place.expect("it says where")]), text(&error["code"]))
    });
    (answer.status, word, wrong.collect())
}
