//! Running instances of `snip`, and the links that they serve: what all tests here have in common.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use seawall_testkit::{PATIENCE, Postgres, Process, RawClient, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_snip");

/// A running `snip serve`. Dropping it kills it, and fails the test when any of its threads
/// panicked.
pub(crate) struct Instance {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    key: Option<String>,
}

/// A directory for instances.
pub(crate) struct Home(TempDir, OnceLock<String>);

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().expect("a directory can be made"), OnceLock::new())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The key that the first instance printed.
    pub(crate) fn key(&self) -> String {
        self.1.get().expect("an instance was started").clone()
    }

    /// Starts an instance with this configuration. Those of one home share the file `snip.db`,
    /// unless the configuration names another database.
    pub(crate) fn start(&self, config: &str) -> Instance {
        let file = self.path().join(format!("{:x}.toml", fastrand::u64(..)));
        std::fs::write(&file, config).expect("the file can be written");
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(&file).args(["--listen", "127.0.0.1:0"]);
        command.current_dir(self.path()).env("NO_COLOR", "1");
        let process = Process::spawn(command).expect("snip starts");
        let address = process
            .wait_for_line(|line| line.text.strip_prefix("listening on ")?.parse().ok())
            .expect("it listens");
        let key = process
            .lines()
            .iter()
            .find_map(|line| line.text.strip_prefix("admin key: ").map(str::to_owned));
        if let Some(key) = &key {
            self.1.get_or_init(|| key.clone());
        }
        Instance { process, address, key }
    }
}

impl Instance {
    /// The key that this instance printed, being the first.
    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().expect("it was the first over its database")
    }

    /// A client of its API with the first key.
    pub(crate) fn client(&self) -> Client {
        self.client_with(self.key())
    }

    /// A client with this key.
    pub(crate) fn client_with(&self, key: &str) -> Client {
        Client::connect(self.address, key)
    }

    pub(crate) fn connect(&self) -> RawClient {
        RawClient::connect(self.address).expect("it accepts")
    }

    /// `GET` of a path over a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "", "")
    }

    /// Any request over a connection of its own; fields end with CRLF.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Response {
        self.try_ask(method, path, fields, body).expect("it answers")
    }

    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> io::Result<Response> {
        let mut client = RawClient::connect(self.address)?;
        let length = body.len();
        let length = match length {
            0 => String::new(),
            _ => format!("content-length: {length}\r\n"),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: snip\r\n{fields}{length}\r\n{body}");
        client.send(head)?;
        client.read_response_to(method)
    }

    /// A request with a body in JSON to the API.
    pub(crate) fn api(&self, key: &str, method: &str, path: &str, body: &Value) -> Response {
        let fields = format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, &format!("/api/v1{path}"), &fields, &body)
    }

    /// Makes a link and returns its code.
    pub(crate) fn create(&self, body: Value) -> String {
        self.create_with(self.key(), body)
    }

    pub(crate) fn create_with(&self, key: &str, body: Value) -> String {
        let answer = self.api(key, "POST", "/links", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let link: Value = serde_json::from_slice(&answer.body).expect("JSON");
        link["code"].as_str().expect("a code").to_owned()
    }

    /// Changes a link.
    pub(crate) fn change(&self, key: &str, code: &str, body: Value) {
        let fields = "content-type: application/merge-patch+json\r\n";
        let fields = format!("authorization: Bearer {key}\r\n{fields}");
        let path = format!("/api/v1/links/{code}");
        let answer = self.ask("PATCH", &path, &fields, &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The status and the target of a link, as somebody is told who follows it.
    pub(crate) fn follow(&self, code: &str) -> (u16, Option<String>) {
        led(&self.get(&format!("/{code}")))
    }

    /// The sum of the samples of a metric with these labels, such as `by="store"`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.get("/metrics").text();
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Asks until the answer is as it should be; what it is then.
    pub(crate) fn until<T: std::fmt::Debug>(
        &self,
        ask: impl Fn(&Instance) -> T,
        is_so: impl Fn(&T) -> bool,
    ) -> T {
        self.until_within(PATIENCE, ask, is_so)
    }

    /// The same, for what takes as long as that by itself.
    pub(crate) fn until_within<T: std::fmt::Debug>(
        &self,
        patience: Duration,
        ask: impl Fn(&Instance) -> T,
        is_so: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            let answer = ask(self);
            if is_so(&answer) {
                return answer;
            }
            let log = || self.process.text();
            assert!(Instant::now() < deadline, "still {answer:?}; its log:\n{}", log());
            // There is nothing to wait on but the answer of another process.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        let log = self.process.text();
        if log.contains("panicked at") && !std::thread::panicking() {
            panic!("a thread of snip panicked:\n{log}");
        }
    }
}

/// One instance with a home of its own, whose links begin with `https://sn.ip`.
pub(crate) struct Snip {
    instance: Instance,
    config: String,
    home: Home,
}

impl Snip {
    /// With an SQLite file.
    pub(crate) fn start() -> Snip {
        Snip::with("")
    }

    /// With further configuration (TOML).
    pub(crate) fn with(config: &str) -> Snip {
        let home = Home::new();
        let config = format!("url = \"https://sn.ip\"\n{config}");
        // Commands that are run beside it read this.
        std::fs::write(home.path().join("snip.toml"), &config).expect("it can be written");
        std::fs::write(home.path().join("blocked"), "evil.example\n").expect("it can be written");
        Snip { instance: home.start(&config), config, home }
    }

    /// Over this database.
    pub(crate) fn on(database: &Database<'_>) -> Snip {
        Snip::with(&database.config())
    }

    /// Kills it and starts another over the same database.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().expect("it can be killed");
        let key = self.key.take();
        self.instance = self.home.start(&self.config);
        assert!(self.key.is_none(), "a key is printed once");
        self.key = key;
    }

    /// Its directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file in its directory.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.home().join(name);
        std::fs::write(&file, text).expect("the file can be written");
        file
    }

    /// Runs a command of `snip` against this one, in its directory, and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(self.key(), arguments)
    }

    /// The same with another key.
    pub(crate) fn run_with(&self, key: &str, arguments: &[&str]) -> Run {
        let output = self.command(key, arguments).stdin(Stdio::null()).output();
        Run::of(output.expect("snip runs"))
    }

    /// The same with the first key, and this on its standard input.
    pub(crate) fn run_fed(&self, input: &str, arguments: &[&str]) -> Run {
        let file = self.file("input", input);
        let input = std::fs::File::open(file).expect("it was just written");
        let output = self.command(self.key(), arguments).stdin(input).output();
        Run::of(output.expect("snip runs"))
    }

    /// A command of `snip` against this one.
    pub(crate) fn command(&self, key: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.home());
        command.env("SNIP_URL", format!("http://{}", self.address)).env("SNIP_KEY", key);
        command
    }
}

impl Deref for Snip {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl DerefMut for Snip {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) succeeded: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Run {
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

/// The status and the target of an answer.
pub(crate) fn led(answer: &Response) -> (u16, Option<String>) {
    (answer.status, answer.header("location").map(str::to_owned))
}

/// What [`Instance::follow`] says of a link that leads there.
pub(crate) fn to(target: &str) -> (u16, Option<String>) {
    (302, Some(target.to_owned()))
}

/// Where a test keeps its links.
pub(crate) enum Database<'a> {
    /// In a file of its home.
    File,
    /// In a database of its own on this server.
    Server(&'a Postgres),
}

impl Database<'_> {
    /// The line of the configuration.
    pub(crate) fn config(&self) -> String {
        match self {
            Database::File => String::new(),
            Database::Server(server) => {
                let name = server.database().expect("a database");
                format!("database = \"{}\"\n", server.url_of(&name))
            }
        }
    }
}

/// A test that could end otherwise on another database.
pub(crate) type Case = fn(&Database<'_>);

/// Runs tests on one real server, each in a database of its own, a few at a time.
pub(crate) fn on_one_server(cases: &[(&str, Case)]) {
    let server = Postgres::start().expect("PostgreSQL");
    let left = Mutex::new(cases.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (server, next) = (&server, &next);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                while let Some((name, case)) = next() {
                    eprintln!("{name}");
                    case(&Database::Server(server));
                }
            });
        }
    });
}

/// Makes of functions a test each over an SQLite file, and one test of all over PostgreSQL.
macro_rules! on_both {
    ($all:ident: $($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[test]
                fn $case() {
                    super::$case(&crate::instance::Database::File);
                }
            )+
        }

        #[test]
        fn $all() {
            crate::instance::on_one_server(&[$((stringify!($case), $case)),+]);
        }
    };
}
pub(crate) use on_both;
