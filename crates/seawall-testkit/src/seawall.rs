//! The real `seawall` binary with a configuration of the test's own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::RawClient;
use crate::message::Response;
use crate::process::{Line, Process, command};

/// A running Seawall. Dropping it kills it, and fails the test when any of its threads panicked:
/// a panic that a test does not notice is still one.
#[derive(Debug)]
pub struct Seawall {
    process: Process,
    addresses: BTreeMap<String, SocketAddr>,
    config: PathBuf,
    _home: TempDir,
}

impl Seawall {
    /// Runs `seawall run --config FILE` with this text in the file, and waits until it is ready.
    /// Tests have the binary from `env!("CARGO_BIN_EXE_seawall")`.
    ///
    /// # Errors
    /// When the binary is missing or refuses the configuration; the error carries what it printed.
    pub fn start(binary: impl AsRef<Path>, config: &str) -> io::Result<Self> {
        Self::start_with::<&str>(binary, config, &[])
    }

    /// The same with further arguments, such as `--watch`.
    ///
    /// # Errors
    /// As [`Seawall::start`].
    pub fn start_with<A: AsRef<OsStr>>(
        binary: impl AsRef<Path>,
        config: &str,
        arguments: &[A],
    ) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("seawall.toml");
        std::fs::write(&file, config)?;
        let mut seawall = command(binary.as_ref(), ["run", "--config"]);
        seawall.arg(&file).args(arguments);
        Self::launch(Process::spawn(named(seawall))?, file, home)
    }

    /// Runs `seawall run` with these arguments alone, such as `--to 127.0.0.1:3000`.
    ///
    /// # Errors
    /// As [`Seawall::start`].
    pub fn start_bare<A: AsRef<OsStr>>(
        binary: impl AsRef<Path>,
        arguments: &[A],
    ) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("seawall.toml");
        let mut seawall = command(binary.as_ref(), ["run"]);
        seawall.args(arguments);
        Self::launch(Process::spawn(named(seawall))?, file, home)
    }

    /// The same as [`Seawall::start`], with the process in a group of its own (see
    /// [`Process::spawn_apart`]).
    ///
    /// # Errors
    /// As [`Seawall::start`].
    pub fn start_apart(binary: impl AsRef<Path>, config: &str) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("seawall.toml");
        std::fs::write(&file, config)?;
        let mut seawall = command(binary.as_ref(), ["run", "--config"]);
        seawall.arg(&file);
        Self::launch(Process::spawn_apart(named(seawall))?, file, home)
    }

    /// The same with a file that is there already and these variables for its `${NAME}`s.
    ///
    /// # Errors
    /// As [`Seawall::start`].
    pub fn start_file_apart(
        binary: impl AsRef<Path>,
        file: &Path,
        variables: &[(&str, String)],
    ) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let mut seawall = command(binary.as_ref(), ["run", "--config"]);
        seawall.arg(file).envs(variables.iter().map(|(name, value)| (name, value)));
        Self::launch(Process::spawn_apart(named(seawall))?, file.to_owned(), home)
    }

    fn launch(process: Process, config: PathBuf, home: TempDir) -> io::Result<Self> {
        let addresses = process.wait_for_lines(addresses_when_ready)?;
        Ok(Self { process, addresses, config, _home: home })
    }

    /// Where the listener of this name listens.
    ///
    /// # Panics
    /// When there is no such listener: the test asks for what its own configuration lacks.
    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.addresses.get(listener) {
            Some(address) => *address,
            None => panic!("no listener {listener:?} among {:?}", self.addresses),
        }
    }

    /// Where the admin API listens, if it does.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.addresses.get("admin").copied()
    }

    /// Every listener, the admin API too, by name.
    pub fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.addresses
    }

    /// A new connection to the listener `web`.
    ///
    /// # Errors
    /// What connecting failed with.
    ///
    /// # Panics
    /// When there is no listener of that name.
    pub fn connect(&self) -> io::Result<RawClient> {
        RawClient::connect(self.address("web"))
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Replaces the configuration file, whole and at once, and tells nobody.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(&self, config: &str) -> io::Result<()> {
        let beside = self.config.with_extension("new");
        std::fs::write(&beside, config)?;
        std::fs::rename(&beside, &self.config)
    }

    /// `POST /api/reload`; the answer says what became of it.
    ///
    /// # Errors
    /// When the admin API is off or does not answer.
    pub fn reload(&self) -> io::Result<Response> {
        self.admin_request("POST", "/api/reload")
    }

    /// SIGHUP: asks for a reload. What becomes of it is in the log.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn hang_up(&mut self) -> io::Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// SIGTERM: asks to drain and end; a second one ends at once.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.process.terminate()
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`](crate::PATIENCE).
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }

    /// `GET` from the admin API.
    ///
    /// # Errors
    /// When the admin API is off or does not answer.
    pub fn admin_get(&self, target: &str) -> io::Result<Response> {
        self.admin_request("GET", target)
    }

    /// A request without a body to the admin API.
    ///
    /// # Errors
    /// When the admin API is off or does not answer.
    pub fn admin_request(&self, method: &str, target: &str) -> io::Result<Response> {
        let admin = self
            .admin()
            .ok_or_else(|| io::Error::other("the admin API is off in this configuration"))?;
        RawClient::connect(admin)?.exchange(format!(
            "{method} {target} HTTP/1.1\r\nhost: {admin}\r\ncontent-length: 0\r\n\r\n"
        ))
    }

    /// A request with this body to the admin API.
    ///
    /// # Errors
    /// When the admin API is off or does not answer.
    pub fn admin_send(&self, method: &str, target: &str, body: &str) -> io::Result<Response> {
        let admin = self
            .admin()
            .ok_or_else(|| io::Error::other("the admin API is off in this configuration"))?;
        RawClient::connect(admin)?.exchange(format!(
            "{method} {target} HTTP/1.1\r\nhost: {admin}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// The sum of all samples of a metric whose labels contain each of `labels`, such as
    /// `route="api"`; 0 when there is none.
    ///
    /// # Errors
    /// When the admin API is off or does not answer with metrics.
    pub fn metric(&self, name: &str, labels: &[&str]) -> io::Result<f64> {
        let response = self.admin_get("/metrics")?;
        match response.status {
            200 => Ok(sum_of_samples(&response.text(), name, labels)),
            status => Err(io::Error::other(format!("/metrics answers {status}"))),
        }
    }

    /// The process, with its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.text()
    }
}

impl Drop for Seawall {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        let log = self.process.text();
        if log.contains("panicked at") && !std::thread::panicking() {
            panic!("a thread of Seawall panicked:\n{log}");
        }
    }
}

/// The log is compared with text: no colours in it.
fn named(mut seawall: std::process::Command) -> std::process::Command {
    seawall.env("NO_COLOR", "1");
    seawall
}

/// The addresses announced so far, once `ready` was.
fn addresses_when_ready(lines: &[Line]) -> Option<BTreeMap<String, SocketAddr>> {
    let mut addresses = BTreeMap::new();
    for line in lines {
        if line.text.contains("listening") {
            let value = |key: &str| {
                line.text
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix(key))
                    .map(|value| value.trim_matches('"'))
            };
            if let (Some(name), Some(address)) = (value("name="), value("address=")) {
                addresses.insert(name.to_owned(), address.parse().ok()?);
            }
        } else if line.text.split_whitespace().any(|word| word == "ready") {
            return Some(addresses);
        }
    }
    None
}

/// The sum of all samples of a metric in the text format of Prometheus whose labels contain each of
/// `labels`; 0 when there is none.
pub fn sum_of_samples(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (inside, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest.starts_with(' ').then_some(rest)?),
            };
            let all = labels.iter().all(|label| inside.contains(label));
            let value = value.split_whitespace().next()?;
            all.then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Stream;

    #[test]
    fn addresses_are_taken_from_the_log() {
        let line = |text: &str| Line { stream: Stream::Err, text: text.to_owned() };
        let mut lines = vec![
            line("2026-01-01T00:00:00Z  INFO listening name=web address=127.0.0.1:34567"),
            line("2026-01-01T00:00:00Z  INFO listening name=\"admin\" address=[::1]:9900"),
        ];
        assert_eq!(addresses_when_ready(&lines), None);
        lines.push(line("2026-01-01T00:00:00Z  INFO ready"));
        let addresses = addresses_when_ready(&lines).expect("it is ready");
        assert_eq!(addresses["web"], "127.0.0.1:34567".parse().expect("an address"));
        assert_eq!(addresses["admin"], "[::1]:9900".parse().expect("an address"));
    }

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# HELP a_total x\n# TYPE a_total counter\n\
                    a_total{route=\"x\",class=\"2xx\"} 3\na_total{route=\"y\",class=\"2xx\"} 4\n\
                    a_total_more 100\nb 7\n";
        assert_eq!(sum_of_samples(text, "a_total", &[]), 7.0);
        assert_eq!(sum_of_samples(text, "a_total", &["route=\"x\""]), 3.0);
        assert_eq!(sum_of_samples(text, "b", &[]), 7.0);
        assert_eq!(sum_of_samples(text, "c", &[]), 0.0);
    }
}
