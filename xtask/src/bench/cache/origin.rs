//! The origin of all that is cached: NGINX. It counts what it is asked, so that a hit can be told
//! from an answer that looks like one.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use seawall_testkit::RawClient;

use crate::bench::peers::{Server, nginx_config};
use crate::bench::wrk::{Ask, ETAG, KEY_PREFIX, LARGE, SMALL};

/// Bytes of the file for the disk.
pub(super) const HUGE: u64 = 1 << 30;
pub(super) const HUGE_PATH: &str = "/1g";

/// What begins so has [`TINY`] bytes and the tag [`TAG`].
pub(super) const TAGGED_PREFIX: &str = "/tagged/";
pub(super) const TINY: usize = 100;
pub(super) const TAG: &str = "all";

/// Bytes that a cache has to keep of each tagged object, with a path of so many bytes: its content,
/// its fields without those of the message and the connection, and its key.
pub(super) fn own_bytes(origin: &Origin, path: &str) -> anyhow::Result<u64> {
    let answer = RawClient::connect(origin.address())?.get("bench", path)?;
    let anew = |name: &str| {
        ["connection", "content-length"].iter().any(|field| name.eq_ignore_ascii_case(field))
    };
    let fields = answer.headers.0.iter().filter(|(name, _)| !anew(name));
    let fields: usize = fields.map(|(name, value)| name.len() + value.len() + 4).sum();
    Ok((answer.body.len() + fields + "bench".len() + path.len()) as u64)
}

/// A server whose answers may be stored for a day.
pub(super) struct Origin {
    server: Server,
    /// How often [`Origin::asked`] asked, this time included.
    looks: AtomicU64,
}

impl Origin {
    /// Starts it on these cores.
    pub(super) fn start(cores: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let files = home.path().join("files");
        fs::create_dir(&files)?;
        fs::write(files.join("100k"), vec![b'l'; LARGE])?;
        // Full of holes here, full of zeros for who reads it.
        fs::File::create(files.join("1g"))?.set_len(HUGE)?;
        let fields =
            format!("add_header Cache-Control 'public, max-age=86400'; add_header ETag '{ETAG}';");
        let config = |address| {
            nginx_config(&format!(
                "  sendfile on; tcp_nopush on; etag off;
  open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;
  server {{
    listen {address} reuseport backlog=4096;
    default_type text/plain;
    {fields}
    location = {small_path} {{ return 200 {small}; }}
    location = {empty_path} {{ return 200 ''; }}
    location {KEY_PREFIX} {{ return 200 {small}; }}
    location {TAGGED_PREFIX} {{ {fields} add_header Surrogate-Key {TAG}; return 200 {tiny}; }}
    location = /asked {{ stub_status; }}
    location / {{ root files; }}
  }}",
                small_path = Ask::Small.path(),
                empty_path = Ask::Unchanged.path(),
                small = "s".repeat(SMALL),
                tiny = "t".repeat(TINY),
            ))
        };
        let server = Server::nginx_at(cores, home, config)?;
        server.check(&[Ask::Small, Ask::Large, Ask::Zipf])?;
        Ok(Self { server, looks: AtomicU64::new(1) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// How often it was asked for something so far.
    pub(super) fn asked(&self) -> anyhow::Result<u64> {
        let answer = RawClient::connect(self.address())?.get("bench", "/asked")?;
        let text = String::from_utf8_lossy(&answer.body);
        let all = requests(&text).with_context(|| format!("no count of requests in {text:?}"))?;
        Ok(all - self.looks.fetch_add(1, Ordering::Relaxed))
    }
}

/// The third number of the third line: accepted connections, handled ones, requests.
fn requests(status: &str) -> Option<u64> {
    status.lines().nth(2)?.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_third_number() {
        let status = "Active connections: 2 \nserver accepts handled requests\n 7 8 9 \nReading: 0";
        assert_eq!(requests(status), Some(9));
        assert_eq!(requests("404"), None);
    }
}
