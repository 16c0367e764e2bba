//! One round of load from `wrk`, and what it says about it.

use std::fmt::Write;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools;

/// Bytes of a small answer.
pub(crate) const SMALL: usize = 1 << 10;
/// Bytes of a large answer.
pub(crate) const LARGE: usize = 100 << 10;
/// Bytes of an upload.
pub(crate) const UPLOAD: usize = 64 << 10;

/// What each request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// 1 KiB.
    Small,
    /// 100 KiB.
    Large,
    /// To take 64 KiB.
    Upload,
}

impl Ask {
    /// The path at the origin.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small => "/1k",
            Self::Large => "/100k",
            Self::Upload => "/upload",
        }
    }

    /// The request as bytes.
    pub(crate) fn request(self) -> Vec<u8> {
        let path = self.path();
        match self {
            Self::Small | Self::Large => {
                format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
            }
            Self::Upload => {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {UPLOAD}\r\n\r\n"
                );
                [head.into_bytes(), vec![b'u'; UPLOAD]].concat()
            }
        }
    }

    /// Bytes of the right answer's body.
    pub(crate) fn answer(self) -> usize {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
            Self::Upload => 2,
        }
    }

    /// What `wrk` is told in Lua.
    fn script(self) -> String {
        let mut script = String::new();
        if self == Self::Upload {
            let body = format!("string.rep('u', {UPLOAD})");
            // Writing to a String cannot fail.
            writeln!(script, "wrk.method = 'POST'\nwrk.body = {body}").ok();
        }
        script.push_str(SUMMARY);
        script
    }
}

/// Prints what is wanted in one line, whatever the units in the report for people.
const SUMMARY: &str = "\
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('summary %d %d %d %d %d %d %d %d\\n',
    summary.requests, summary.duration, latency:percentile(99.0),
    e.connect, e.read, e.write, e.status, e.timeout))
end
";

/// What came of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) micros: u64,
    /// Of the latency, in microseconds.
    pub(crate) p99: u64,
    pub(crate) errors: Errors,
}

/// What went wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Errors {
    pub(crate) connect: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
    /// Answers other than 2xx and 3xx.
    pub(crate) status: u64,
    pub(crate) timeout: u64,
}

impl Errors {
    /// What is to be said of them; `None` when there were none.
    pub(crate) fn describe(self) -> Option<String> {
        let named = [
            ("connect", self.connect),
            ("read", self.read),
            ("write", self.write),
            ("bad status", self.status),
            ("timeout", self.timeout),
        ];
        let list: Vec<String> = named
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        (!list.is_empty()).then(|| list.join(", "))
    }
}

/// Lets `wrk` on these cores ask one address over so many connections for so many seconds.
pub(crate) fn round(
    cores: &str,
    address: SocketAddr,
    ask: Ask,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Outcome> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    script.write_all(ask.script().as_bytes())?;
    let output = Command::new("taskset")
        .args(["-c", cores, "wrk", "-t", "1", "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), "--timeout", "10s", "-s"])
        .arg(script.path())
        .arg(format!("http://{address}{}", ask.path()))
        .env("PATH", tools::search_path())
        .output()
        .context("cannot run wrk")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("wrk failed: {printed}{}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&printed).with_context(|| format!("wrk printed no summary: {printed}"))
}

fn parse(printed: &str) -> Option<Outcome> {
    let line = printed.lines().find_map(|line| line.strip_prefix("summary "))?;
    let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let [requests, micros, p99, connect, read, write, status, timeout] = numbers.try_into().ok()?;
    Some(Outcome {
        requests,
        micros,
        p99,
        errors: Errors { connect, read, write, status, timeout },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_among_the_rest() {
        let outcome = parse("Running 1s test\nsummary 10 1000000 250 0 0 0 3 1\nbye\n");
        let outcome = outcome.expect("a summary");
        assert_eq!((outcome.requests, outcome.micros, outcome.p99), (10, 1_000_000, 250));
        assert_eq!(outcome.errors.describe().as_deref(), Some("3 bad status, 1 timeout"));
        assert_eq!(Errors::default().describe(), None);
        assert_eq!(parse("summary 10 1000000\n"), None);
    }
}
