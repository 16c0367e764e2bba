//! One round of load from `wrk`, and what it says about it.

use std::io::Write;
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
    /// Nothing, unless it is not what [`ETAG`] stands for any more. It is nothing because `wrk`
    /// waits for as many bytes as `Content-Length` says, even of a 304.
    Unchanged,
    /// 1 KiB under one of [`KEYS`] keys, by Zipf's law with α = 1.
    Zipf,
}

/// The entity tag of everything at the origin of the cache's benchmark.
pub(crate) const ETAG: &str = "\"bench\"";

/// Keys of [`Ask::Zipf`]: numbers from 1 behind [`KEY_PREFIX`].
pub(crate) const KEYS: u32 = 100_000;
pub(crate) const KEY_PREFIX: &str = "/key/";

impl Ask {
    /// The path at the origin.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small => "/1k",
            Self::Large => "/100k",
            Self::Upload => "/upload",
            Self::Zipf => "/key/1",
            Self::Unchanged => "/empty",
        }
    }

    /// The request as bytes.
    pub(crate) fn request(self) -> Vec<u8> {
        let path = self.path();
        match self {
            Self::Small | Self::Large | Self::Zipf => {
                format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
            }
            Self::Unchanged => {
                let condition = format!("if-none-match: {ETAG}");
                format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{condition}\r\n\r\n").into_bytes()
            }
            Self::Upload => {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {UPLOAD}\r\n\r\n"
                );
                [head.into_bytes(), vec![b'u'; UPLOAD]].concat()
            }
        }
    }

    /// Status and bytes of the body of the right answer.
    pub(crate) fn answer(self) -> (u16, usize) {
        match self {
            Self::Small | Self::Zipf => (200, SMALL),
            Self::Large => (200, LARGE),
            Self::Upload => (200, 2),
            Self::Unchanged => (304, 0),
        }
    }

    /// What `wrk` is told in Lua.
    fn script(self) -> String {
        let special = match self {
            Self::Small | Self::Large => String::new(),
            Self::Upload => {
                format!("wrk.method = 'POST'\nwrk.body = string.rep('u', {UPLOAD})\n")
            }
            Self::Unchanged => format!("wrk.headers['If-None-Match'] = '{ETAG}'\n"),
            Self::Zipf => format!("local keys, prefix = {KEYS}, '{KEY_PREFIX}'\n{ZIPF}"),
        };
        format!("{HOST}{special}{SUMMARY}")
    }
}

/// As [`Ask::request`] has it: the host is part of the keys of caches.
const HOST: &str = "wrk.headers['Host'] = 'bench'\n";

/// Requests are drawn beforehand, for drawing takes longer than sending; the same ones each time.
const ZIPF: &str = "\
local drawn, at = {}, 0
init = function()
  math.randomseed(1)
  local sums, sum = {}, 0
  for key = 1, keys do sum = sum + 1 / key; sums[key] = sum end
  local made = {}
  for draw = 1, 200000 do
    local wanted, low, high = math.random() * sum, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < wanted then low = middle + 1 else high = middle end
    end
    made[low] = made[low] or wrk.format('GET', prefix .. low)
    drawn[draw] = made[low]
  end
end
request = function()
  at = at % #drawn + 1
  return drawn[at]
end
";

/// Prints what is wanted in one line, whatever the units in the report for people.
pub(crate) const SUMMARY: &str = "\
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('summary %d %d %d %d %d %d %d %d %d\\n',
    summary.requests, summary.duration, latency:percentile(50.0), latency:percentile(99.0),
    e.connect, e.read, e.write, e.status, e.timeout))
end
";

/// What came of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) micros: u64,
    /// Of the latency, in microseconds.
    pub(crate) p50: u64,
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
    /// Hundredths of the machine's time that others had, if that was too much.
    pub(crate) others: u64,
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
        let counted = named.iter().filter(|(_, count)| *count > 0);
        let mut list: Vec<String> =
            counted.map(|(name, count)| format!("{count} {name}")).collect();
        if self.others > 0 {
            list.push(format!("others had {} % of the machine", self.others));
        }
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
    let url = format!("http://{address}{}", ask.path());
    scripted(cores, &url, &ask.script(), connections, seconds)
}

/// The same with a script of one's own, which ends with [`SUMMARY`].
pub(crate) fn scripted(
    cores: &str,
    url: &str,
    script: &str,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Outcome> {
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    file.write_all(script.as_bytes())?;
    let output = Command::new("taskset")
        .args(["-c", cores, "wrk", "-t", "1", "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), "--timeout", "10s", "-s"])
        .arg(file.path())
        .arg(url)
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
    let [requests, micros, p50, p99, connect, read, write, status, timeout] =
        numbers.try_into().ok()?;
    Some(Outcome {
        requests,
        micros,
        p50,
        p99,
        errors: Errors { connect, read, write, status, timeout, others: 0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_among_the_rest() {
        let outcome = parse("Running 1s test\nsummary 10 1000000 90 250 0 0 0 3 1\nbye\n");
        let outcome = outcome.expect("a summary");
        assert_eq!((outcome.requests, outcome.micros), (10, 1_000_000));
        assert_eq!((outcome.p50, outcome.p99), (90, 250));
        assert_eq!(outcome.errors.describe().as_deref(), Some("3 bad status, 1 timeout"));
        assert_eq!(Errors::default().describe(), None);
        assert_eq!(parse("summary 10 1000000\n"), None);
    }
}
