//! What most tests begin with: a Seawall in front of an origin.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use seawall_testkit::{Origin, Response, Seawall};
use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_seawall");

/// A patience for what must not happen: long enough to see it, short enough to wait for.
pub(crate) const MOMENT: Duration = Duration::from_millis(300);

/// A configuration: one listener `web`, the admin API, one worker, and an upstream `app` that a
/// last route `app` without conditions forwards to. Whatever is added is TOML.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    servers: Vec<String>,
    workers: usize,
    server: String,
    listen: String,
    upstream: String,
    route: String,
    sections: String,
}

impl Setup {
    /// In front of this server.
    pub(crate) fn to(server: SocketAddr) -> Setup {
        Setup { servers: vec![server.to_string()], workers: 1, ..Setup::default() }
    }

    /// In front of this origin.
    pub(crate) fn before(origin: &Origin) -> Setup {
        Setup::to(origin.address())
    }

    /// In front of several servers, given as they are written in the file.
    pub(crate) fn to_all(servers: impl IntoIterator<Item = impl ToString>) -> Setup {
        let servers = servers.into_iter().map(|server| server.to_string()).collect();
        Setup { servers, workers: 1, ..Setup::default() }
    }

    /// Without upstream and last route.
    pub(crate) fn alone() -> Setup {
        Setup { workers: 1, ..Setup::default() }
    }

    pub(crate) fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// Adds to `[server]`.
    pub(crate) fn server(mut self, keys: &str) -> Setup {
        self.server += &format!("{keys}\n");
        self
    }

    /// Adds to `[listen.web]`.
    pub(crate) fn listen(mut self, keys: &str) -> Setup {
        self.listen += &format!("{keys}\n");
        self
    }

    /// Adds to `[upstream.app]`.
    pub(crate) fn upstream(mut self, keys: &str) -> Setup {
        self.upstream += &format!("{keys}\n");
        self
    }

    /// Adds to the last route.
    pub(crate) fn route(mut self, keys: &str) -> Setup {
        self.route += &format!("{keys}\n");
        self
    }

    /// Adds sections, before the last route.
    pub(crate) fn with(mut self, sections: &str) -> Setup {
        self.sections += &format!("{sections}\n");
        self
    }

    pub(crate) fn text(&self) -> String {
        let Setup { workers, server, listen, sections, .. } = self;
        let mut text = format!(
            "[server]\nworkers = {workers}\nadmin = \"127.0.0.1:0\"\n{server}\n\
             [listen.web]\naddress = \"127.0.0.1:0\"\n{listen}\n{sections}\n"
        );
        if !self.servers.is_empty() {
            text += &format!(
                "[upstream.app]\nservers = {:?}\n{}\n[[route]]\nname = \"app\"\nto = \"app\"\n{}\n",
                self.servers, self.upstream, self.route
            );
        }
        text
    }

    pub(crate) fn start(&self) -> io::Result<Seawall> {
        Seawall::start(BINARY, &self.text())
    }
}

/// A request with a body framed by its length, and these further fields, each with its CRLF.
pub(crate) fn post(target: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
}

/// A GET with these further fields, each with its CRLF.
pub(crate) fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: test\r\n{fields}\r\n")
}

/// The code of a refusal, from its body; empty when it is none.
pub(crate) fn code(response: &Response) -> String {
    let text = response.text();
    let code = text.split_once("\"code\":\"").and_then(|(_, rest)| rest.split_once('"'));
    code.map_or_else(String::new, |(code, _)| code.to_owned())
}

/// Waits until `condition` holds, for what Seawall counts and tells nobody.
pub(crate) fn eventually(
    what: &str,
    mut condition: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let deadline = std::time::Instant::now() + seawall_testkit::PATIENCE;
    while !condition()? {
        if std::time::Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("in vain: {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until a metric has this value.
pub(crate) fn metric_becomes(
    seawall: &Seawall,
    name: &str,
    labels: &[&str],
    expect: f64,
) -> io::Result<()> {
    let mut last = f64::NAN;
    eventually(&format!("{name}{labels:?} is to become {expect}"), || {
        last = seawall.metric(name, labels)?;
        Ok(last == expect)
    })
    .map_err(|error| io::Error::new(error.kind(), format!("{error}, it is {last}")))
}

/// Waits until so many refusals were counted under this code; they are counted once their answer
/// is out.
pub(crate) fn refused(seawall: &Seawall, code: &str, expect: f64) -> io::Result<()> {
    metric_becomes(seawall, "seawall_refusals_total", &[&format!("code=\"{code}\"")], expect)
}

/// A line of `/proc/PID/status` in KiB: `VmRSS`, or `VmHWM` for the highest so far.
pub(crate) fn memory(seawall: &mut Seawall, line: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", seawall.process().id()))?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    value
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {line} in {status}")))
}

/// Sends so many requests from each of so many clients at once, each client over one connection as
/// long as that is kept, and counts the statuses. Each request has its number. An answer that is
/// not whole is an error.
pub(crate) fn storm(
    seawall: &Seawall,
    clients: usize,
    each: usize,
    request: impl Fn(usize) -> String + Sync,
) -> io::Result<BTreeMap<u16, usize>> {
    let one = |number: usize| -> io::Result<Vec<u16>> {
        let mut client = seawall.connect()?;
        let mut statuses = Vec::with_capacity(each);
        for n in 0..each {
            let response = client.exchange(request(number * each + n))?;
            statuses.push(response.status);
            if response.headers.lists("connection", "close") {
                client = seawall.connect()?;
            }
        }
        Ok(statuses)
    };
    let one = &one;
    let mut counts = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(move || one(number))).collect();
        for thread in threads {
            for status in thread.join().expect("a client panics only if its test is wrong")? {
                *counts.entry(status).or_default() += 1;
            }
        }
        Ok(counts)
    })
}

/// Waits until nothing is left behind: no request in flight, and nobody in line.
pub(crate) fn in_flight_ends(seawall: &Seawall) -> io::Result<()> {
    metric_becomes(seawall, "seawall_upstream_in_flight", &[], 0.0)?;
    metric_becomes(seawall, "seawall_upstream_waiting", &[], 0.0)
}

/// The upstream `app` as the API tells of it.
pub(crate) fn upstream(seawall: &Seawall) -> io::Result<Value> {
    let response = seawall.admin_get("/api/upstreams")?;
    let all: Value = serde_json::from_str(&response.text()).map_err(io::Error::other)?;
    let all = all["upstreams"].as_array().map_or(&[][..], |all| all);
    let found = all.iter().find(|upstream| upstream["name"] == "app");
    found.cloned().ok_or_else(|| io::Error::other(response.text()))
}

/// A server of the upstream `app` as the API tells of it.
pub(crate) fn server(seawall: &Seawall, address: SocketAddr) -> io::Result<Value> {
    let upstream = upstream(seawall)?;
    let servers = upstream["servers"].as_array().map_or(&[][..], |all| all);
    let found = servers.iter().find(|server| server["address"] == address.to_string());
    found.cloned().ok_or_else(|| io::Error::other(format!("no {address} in {upstream}")))
}

/// Waits until a server of the upstream `app` is in this state.
pub(crate) fn state_becomes(
    seawall: &Seawall,
    address: SocketAddr,
    state: &str,
) -> io::Result<Value> {
    let mut last = Value::Null;
    eventually(&format!("{address} is to become {state}"), || {
        last = server(seawall, address)?;
        Ok(last["state"] == state)
    })
    .map_err(|error| io::Error::new(error.kind(), format!("{error}, it is {last}")))?;
    Ok(last)
}

/// Waits until the circuit breaker of the upstream `app` is in this state.
pub(crate) fn breaker_becomes(seawall: &Seawall, state: &str) -> io::Result<Value> {
    let mut last = Value::Null;
    eventually(&format!("the breaker is to become {state}"), || {
        last = upstream(seawall)?["breaker"].clone();
        Ok(last["state"] == state)
    })
    .map_err(|error| io::Error::new(error.kind(), format!("{error}, it is {last}")))?;
    Ok(last)
}
