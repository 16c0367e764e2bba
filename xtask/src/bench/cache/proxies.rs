//! The caches that are compared, each set up as its makers advise for this job: one worker, kept
//! alive, no log, and room for everything.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;

use anyhow::Context;
use clap::ValueEnum;
use rustix::process::{Resource, getrlimit};

use super::origin::{HUGE_PATH, Origin};
use crate::bench::options::Setting;
use crate::bench::peers::{
    OPEN_FILES, Server, haproxy_config, nginx_config, nginx_server, pinned, seawall_config,
    seawall_upstream,
};
use crate::bench::wrk::Ask;
use crate::tools::{Tool, output_of};

/// Who is measured, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Proxy {
    /// Seawall.
    Seawall,
    /// NGINX with `proxy_cache`.
    Nginx,
    /// HAProxy with `cache`.
    Haproxy,
    /// Varnish.
    Varnish,
}

/// How much a cache may keep, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) memory: u32,
    /// 0: nothing is on disk. NGINX has everything there, whatever this says.
    pub(super) disk: u32,
}

impl Proxy {
    /// Those that Seawall is compared with.
    pub(super) const PEERS: [Proxy; 3] = [Self::Nginx, Self::Haproxy, Self::Varnish];

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seawall => "Seawall",
            Self::Nginx => "NGINX",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
        }
    }

    /// The one with a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|proxy| proxy.name() == name)
    }

    /// What has to be installed for it.
    pub(super) fn installed_as(self) -> Option<Tool> {
        match self {
            Self::Seawall => None,
            Self::Nginx => Some(Tool::named("nginx")),
            Self::Haproxy => Some(Tool::named("haproxy")),
            Self::Varnish => Some(Tool { program: "varnishd", package: "varnish" }),
        }
    }

    /// Starts it in front of the origin. Only Seawall takes more workers than one.
    pub(super) fn start(
        self,
        setting: &Setting,
        origin: &Origin,
        room: Room,
        workers: u32,
    ) -> anyhow::Result<Server> {
        let cores = &setting.proxy_cores;
        let origin = origin.address();
        match self {
            Self::Seawall => seawall(setting, origin, room, workers),
            Self::Nginx => Server::nginx(cores, |address| nginx(address, origin)),
            Self::Haproxy => Server::haproxy(cores, |address| haproxy(address, origin, room)),
            Self::Varnish => varnish(cores, origin, room),
        }
        .with_context(|| format!("cannot start {}", self.name()))
    }
}

/// A node of a fleet.
pub(super) fn node(setting: &Setting, origin: &Origin, redis: &str) -> anyhow::Result<Server> {
    let mut config = seawall_config(1, &seawall_upstream(origin.address()), "cache = {}\n");
    // Writing to a String cannot fail.
    write!(config, "[state]\nredis = \"{redis}\"\n").ok();
    Server::seawall(&setting.proxy_cores, setting.binary()?, &config)
}

/// It may store the largest of what is asked for, which with less than eight times as much on disk
/// it would not by itself.
fn seawall(
    setting: &Setting,
    origin: SocketAddr,
    room: Room,
    workers: u32,
) -> anyhow::Result<Server> {
    let home = tempfile::tempdir()?;
    let cache = "cache = { max-object = \"2GiB\" }\n";
    let mut config = seawall_config(workers, &seawall_upstream(origin), cache);
    // Writing to a String cannot fail.
    write!(config, "[cache]\nmemory = \"{}MiB\"\n", room.memory).ok();
    if room.disk > 0 {
        let path = home.path().join("cache");
        writeln!(config, "disk = {{ path = {path:?}, size = \"{}MiB\" }}", room.disk).ok();
    }
    Server::seawall_at(&setting.proxy_cores, setting.binary()?, home, &config)
}

/// The index is in shared memory, with room for more than a million keys; the objects are files,
/// which the kernel keeps in memory, and which are held open, as many as may be. What is small goes
/// faster without `sendfile`, what is large with it, and both without `tcp_nopush`.
fn nginx(address: SocketAddr, origin: SocketAddr) -> String {
    let large: String = [Ask::Large.path(), HUGE_PATH]
        .map(|path| format!("      location = {path} {{ sendfile on; proxy_pass http://app; }}\n"))
        .concat();
    let location = format!("      proxy_cache hits;\n      sendfile off;\n{large}");
    let server = nginx_server(address, &format!("server {origin};"), &location);
    let held_open = held_open(getrlimit(Resource::Nofile).current);
    nginx_config(&format!(
        "  proxy_cache_path cache levels=1:2 keys_zone=hits:256m max_size=16g inactive=1h
    use_temp_path=off;
  open_file_cache max={held_open} inactive=1h; open_file_cache_valid 1h;
{server}"
    ))
}

/// Files that NGINX may hold open, by the limit of what it may open: some are for connections.
fn held_open(limit: Option<u64>) -> u64 {
    limit.unwrap_or(OPEN_FILES).saturating_sub(FOR_CONNECTIONS).clamp(1, MOST_HELD_OPEN)
}

const FOR_CONNECTIONS: u64 = 2000;

/// Twice as many as there are keys.
const MOST_HELD_OPEN: u64 = 200_000;

/// It keeps at most 4095 MiB, and no object that is larger than half of that; hits are found in the
/// front end, before a back end is chosen.
fn haproxy(address: SocketAddr, origin: SocketAddr, room: Room) -> String {
    let frontend = "  http-request cache-use hits\n  http-response cache-store hits\n";
    let servers = format!(
        "  server origin {origin}
cache hits
  total-max-size {}
  max-object-size 1000000
  max-age 3600
",
        room.memory
    );
    haproxy_config(address, frontend, &servers)
}

/// One pool of threads with enough of them for all connections from the start, and no log in
/// shared memory, as the others have none.
fn varnish(cores: &str, origin: SocketAddr, room: Room) -> anyhow::Result<Server> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("default.vcl");
    let (host, number) = (origin.ip(), origin.port());
    fs::write(
        &file,
        format!("vcl 4.1;\nbackend default {{ .host = \"{host}\"; .port = \"{number}\"; }}\n"),
    )?;
    let mut command = pinned(cores);
    command.args(["varnishd", "-F", "-j", "none", "-a", "127.0.0.1:0", "-n"]).arg(home.path());
    command.arg("-f").arg(&file);
    command.args(["-s", &format!("malloc,{}M", room.memory)]);
    for parameter in [
        "thread_pools=1",
        "thread_pool_min=500",
        "thread_pool_max=1000",
        "timeout_idle=600",
        VARNISH_LOG,
    ] {
        command.args(["-p", parameter]);
    }
    Server::asked(command, home, |home| {
        let home = home.to_string_lossy();
        let text = output_of("varnishadm", &["-n", &home, "-t", "1", "debug.listen_address"]);
        listening(&text)
    })
}

/// No record of a hit is written.
const VARNISH_LOG: &str = "vsl_mask=-SessOpen,-SessClose,-Begin,-End,-Link,-ReqStart,-ReqMethod,\
    -ReqURL,-ReqProtocol,-ReqHeader,-ReqUnset,-ReqAcct,-RespProtocol,-RespStatus,-RespReason,\
    -RespHeader,-RespUnset,-VCL_call,-VCL_return,-VCL_use,-Hit,-HitMiss,-Timestamp,-Filters";

/// The line `a0 127.0.0.1 PORT` of what Varnish says of its listeners.
fn listening(text: &str) -> Option<SocketAddr> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("a0 "))?.split(' ');
    Some(SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_keeps_files_open_and_has_some_left() {
        assert_eq!(held_open(Some(20_000)), 18_000);
        assert_eq!(held_open(Some(1_000)), 1);
        assert_eq!(held_open(Some(1 << 30)), 200_000);
        assert!(held_open(None) > 0);
    }

    #[test]
    fn varnish_says_where_it_listens() {
        assert_eq!(listening("a0 127.0.0.1 4711\n\n"), "127.0.0.1:4711".parse().ok());
        assert_eq!(listening("No -T arg in shared memory"), None);
    }
}
