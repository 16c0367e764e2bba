//! `cargo xtask stage`, from outside: it starts a stage, and what it says is there is there; links
//! lead where they should, and clicks are counted. Its end leaves nothing behind.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use seawall_testkit::{PATIENCE, Process, RawClient, Response, Signal};
use serde_json::{Value, json};

/// A stage that `cargo xtask` runs.
struct Stage {
    process: Process,
    site: SocketAddr,
    key: String,
}

impl Stage {
    fn start(number: &str) -> Stage {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["stage", number, "--no-install"]);
        command.arg("--seawall").arg(binary("seawall")).arg("--snip").arg(binary("snip"));
        let process = Process::spawn(command).expect("xtask starts");
        process.wait_for_text("or sign in at").expect("it starts everything");
        let said = |name: &str| {
            let find = |text: &str| text.trim().strip_prefix(name).map(|it| it.trim().to_owned());
            process.lines().iter().find_map(|line| find(&line.text)).expect(name)
        };
        let site = said("site").replace("http://", "").replace('/', "");
        let (site, key) = (site.parse().expect("an address"), said("admin key"));
        Stage { process, site, key }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut client = RawClient::connect(self.site).expect("the site accepts");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.site,
            self.key,
            body.len()
        );
        client.exchange(request).expect("the site answers")
    }

    fn create(&self, target: &str) -> String {
        let made = self.ask("POST", "/api/v1/links", &json!({ "target": target }));
        assert_eq!(made.status, 201, "{}", made.text());
        json_of(&made)["code"].as_str().expect("a code").to_owned()
    }

    /// Where a link leads whoever has no key, and what the cache says.
    fn follow(&self, code: &str) -> (String, String) {
        let mut client = RawClient::connect(self.site).expect("the site accepts");
        let answer = client.get(&self.site.to_string(), &format!("/{code}"));
        let answer = answer.expect("the site answers");
        assert_eq!(answer.status, 302, "{}", answer.text());
        // Each tier adds a line: the last is that of the edge.
        let edge = answer.headers.all("cache-status").last().unwrap_or_default();
        (answer.header("location").unwrap_or_default().to_owned(), edge.to_owned())
    }

    /// Waits until a link has so many clicks; fails when it has more.
    fn until_counted(&self, code: &str, clicks: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/api/v1/links/{code}/stats");
            let stats = json_of(&self.ask("GET", &path, &Value::Null));
            let seen = stats["clicks"].as_u64().unwrap_or(0) + stats["bots"].as_u64().unwrap_or(0);
            assert!(seen <= clicks, "{seen} clicks of {clicks}");
            if seen == clicks {
                return;
            }
            assert!(Instant::now() < deadline, "{seen} clicks of {clicks}:\n{}", self.text());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn text(&self) -> String {
        self.process.text()
    }

    /// As Ctrl-C does.
    fn end(mut self) {
        self.process.signal(Signal::INT).expect("it runs");
        assert!(self.process.wait().expect("it ends").success(), "{}", self.text());
        TcpStream::connect(self.site).expect_err("nobody is left");
    }
}

/// Killed, it could not end what it has started.
impl Drop for Stage {
    fn drop(&mut self) {
        self.process.signal(Signal::INT).ok();
        self.process.wait().ok();
    }
}

fn json_of(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// A binary of the workspace beside this one's, built if it is not there.
fn binary(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let file = beside.with_file_name(name);
    if !file.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", name]);
        if beside.parent().is_some_and(|directory| directory.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success());
    }
    file
}

const OLD: &str = "https://old.example/";
const NEW: &str = "https://new.example/";

/// The story that every stage tells.
fn redirects_changes_and_counts(stage: &Stage) {
    let code = stage.create(OLD);
    for _ in 0..5 {
        assert_eq!(stage.follow(&code).0, OLD);
    }
    let changed = stage.ask("PATCH", &format!("/api/v1/links/{code}"), &json!({ "target": NEW }));
    assert_eq!(changed.status, 200, "{}", changed.text());
    let mut clicks = 5;
    // Another instance may say what was for `memory-ttl`, a second.
    let deadline = Instant::now() + PATIENCE;
    loop {
        clicks += 1;
        if stage.follow(&code).0 == NEW {
            break;
        }
        assert!(Instant::now() < deadline, "it leads where it led");
        thread::sleep(Duration::from_millis(50));
    }
    stage.until_counted(&code, clicks);
}

#[test]
fn stage_0_redirects_and_counts() {
    let stage = Stage::start("0");
    redirects_changes_and_counts(&stage);
    stage.end();
}

#[test]
fn stage_2_redirects_and_counts() {
    let stage = Stage::start("2-instances");
    redirects_changes_and_counts(&stage);
    stage.end();
}

#[test]
fn heavy_stage_5_counts_what_the_edge_answers() {
    let stage = Stage::start("5");
    redirects_changes_and_counts(&stage);
    let code = stage.create(OLD);
    let hits = (0..30).filter(|_| stage.follow(&code).1.contains("; hit")).count();
    assert!(hits >= 28, "the edge answered only {hits} of 30 clicks");
    stage.until_counted(&code, 30);
    stage.end();
}
