//! The origin and the proxies that are compared, each set up as its makers advise for this job:
//! one worker, connections to the origin kept alive and reused, no access log, `X-Forwarded-For`.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use seawall_testkit::{PATIENCE, Process, RawClient, ReservedPort};
use tempfile::TempDir;

use super::Setting;
use super::wrk::{Ask, LARGE, SMALL};
use crate::tools;

/// Open files that are asked for, and without which the cases do not fit.
pub(crate) const OPEN_FILES: u64 = 65_536;
pub(crate) const FEWEST_OPEN_FILES: u64 = 12_000;

/// Clients a proxy is set up for: the 10,000 idle ones and some.
const CLIENTS: u64 = 11_500;

/// Connections that makes for NGINX, which counts those to the origin too.
const NGINX_CONNECTIONS: u64 = 2 * CLIENTS;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Seawall.
    Seawall,
    /// NGINX.
    Nginx,
    /// HAProxy.
    Haproxy,
}

impl Peer {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seawall => "Seawall",
            Self::Nginx => "NGINX",
            Self::Haproxy => "HAProxy",
        }
    }
}

/// The server behind all proxies: NGINX, answering from memory.
pub(crate) struct Origin {
    server: Server,
}

impl Origin {
    /// Starts it on these cores.
    pub(crate) fn start(cores: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        fs::create_dir(home.path().join("files"))?;
        fs::write(home.path().join("files/100k"), vec![b'l'; LARGE])?;
        let config = |address| {
            nginx_config(&format!(
                "  sendfile on; tcp_nopush on;
  open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;
  upstream taker {{ server unix:taker.sock; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen unix:taker.sock;
    location / {{ return 200 ok; }}
  }}
  server {{
    listen {address} reuseport backlog=4096;
    default_type text/plain;
    location = {small_path} {{ return 200 {small}; }}
    location = {large_path} {{ root files; }}
    # NGINX's own `return` would answer before it has read the body; a proxied answer comes after.
    location = {upload_path} {{
      client_body_buffer_size 128k;
      proxy_pass http://taker;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Content-Length \"\";
      proxy_pass_request_body off;
    }}
  }}",
                small_path = Ask::Small.path(),
                large_path = Ask::Large.path(),
                upload_path = Ask::Upload.path(),
                small = "s".repeat(SMALL),
            ))
        };
        let server = Server::nginx_at(cores, home, config)?;
        server.check(&[Ask::Small, Ask::Large, Ask::Upload])?;
        Ok(Self { server })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }
}

/// A running proxy, or the origin.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
    _port: Option<ReservedPort>,
    _home: TempDir,
}

impl Server {
    /// Starts a proxy in front of `origin`. Only Seawall takes more workers than one.
    pub(crate) fn proxy(
        peer: Peer,
        setting: &Setting,
        origin: SocketAddr,
        workers: u32,
    ) -> anyhow::Result<Self> {
        let cores = &setting.proxy_cores;
        match peer {
            Peer::Seawall => {
                let config = seawall_config(workers, &seawall_upstream(origin), "");
                Self::seawall(cores, setting.binary()?, &config)
            }
            Peer::Nginx => {
                let servers = format!("server {origin};");
                Self::nginx(cores, |address| nginx_proxy(address, &servers))
            }
            Peer::Haproxy => {
                let servers = format!("  server origin {origin}\n");
                Self::haproxy(cores, |address| haproxy_proxy(address, &servers))
            }
        }
    }

    /// Starts Seawall with all that watches over servers: checks, ejection, breaker and retries.
    pub(crate) fn guarded(setting: &Setting, origin: SocketAddr) -> anyhow::Result<Self> {
        let check = Ask::Small.path();
        let upstream = format!(
            "{}health = \"{check}\"\neject = true\nbreaker = true\n",
            seawall_upstream(origin)
        );
        let config = seawall_config(1, &upstream, "retry = 2\n");
        Self::seawall(&setting.proxy_cores, setting.binary()?, &config)
    }

    /// Where the admin API of Seawall listens.
    pub(crate) fn admin(&self) -> anyhow::Result<SocketAddr> {
        listening(&self.process, "admin")
    }

    /// Its process, the parent of any other it has.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether each of these is answered as it should be.
    pub(crate) fn check(&self, asks: &[Ask]) -> anyhow::Result<()> {
        let mut client = RawClient::connect(self.address)?;
        for ask in asks {
            let answer = client
                .exchange(ask.request())
                .with_context(|| format!("no answer for {}", ask.path()))?;
            let (status, length) = ask.answer();
            if (answer.status, answer.body.len()) != (status, length) {
                bail!(
                    "{} is answered with status {} and {} bytes instead of {status} and {length}",
                    ask.path(),
                    answer.status,
                    answer.body.len(),
                );
            }
        }
        Ok(())
    }

    /// Starts Seawall with this configuration, which has one listener, `web`, on a free port.
    pub(crate) fn seawall(cores: &str, binary: &Path, config: &str) -> anyhow::Result<Self> {
        Self::seawall_at(cores, binary, tempfile::tempdir()?, config)
    }

    /// The same with a directory of one's own, which lives as long as it does.
    pub(crate) fn seawall_at(
        cores: &str,
        binary: &Path,
        home: TempDir,
        config: &str,
    ) -> anyhow::Result<Self> {
        let file = home.path().join("seawall.toml");
        fs::write(&file, config)?;
        let mut command = pinned(cores);
        command.arg(binary).args(["run", "--config"]).arg(&file).env("NO_COLOR", "1");
        let process = Process::spawn(command)?;
        let address = listening(&process, "web")?;
        process.wait_for_text("ready")?;
        Ok(Self { address, process, _port: None, _home: home })
    }

    /// Starts NGINX with the configuration for the address it is to listen on.
    pub(crate) fn nginx(
        cores: &str,
        config: impl FnOnce(SocketAddr) -> String,
    ) -> anyhow::Result<Self> {
        Self::nginx_at(cores, tempfile::tempdir()?, config)
    }

    /// The same with a directory of one's own, in which it starts.
    pub(crate) fn nginx_at(
        cores: &str,
        home: TempDir,
        config: impl FnOnce(SocketAddr) -> String,
    ) -> anyhow::Result<Self> {
        let port = ReservedPort::new()?;
        fs::write(home.path().join("nginx.conf"), config(port.address()))?;
        let mut command = pinned(cores);
        command.args(["nginx", "-e", "stderr", "-c", "nginx.conf", "-p"]).arg(home.path());
        // Workers of a privileged nginx would change to a user who may not read the directory.
        let user = if rustix::process::geteuid().is_root() { "user root; " } else { "" };
        command.args(["-g", &format!("{user}daemon off; pid nginx.pid; error_log stderr;")]);
        Self::announced_by_nothing(command, home, port)
    }

    /// Starts HAProxy with the configuration for the address it is to listen on.
    pub(crate) fn haproxy(
        cores: &str,
        config: impl FnOnce(SocketAddr) -> String,
    ) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let port = ReservedPort::new()?;
        let file = home.path().join("haproxy.cfg");
        fs::write(&file, config(port.address()))?;
        let mut command = pinned(cores);
        command.args(["haproxy", "-db", "-f"]).arg(&file);
        Self::announced_by_nothing(command, home, port)
    }

    /// Servers that say nothing when they are up are asked until they are.
    fn announced_by_nothing(
        command: Command,
        home: TempDir,
        port: ReservedPort,
    ) -> anyhow::Result<Self> {
        let address = port.address();
        let up = |_: &Path| RawClient::connect(address).is_ok().then_some(address);
        let mut server = Self::asked(command, home, up)?;
        server._port = Some(port);
        Ok(server)
    }

    /// Starts a server, and asks until it is known where it listens. The directory lives as long
    /// as it does.
    pub(crate) fn asked(
        command: Command,
        home: TempDir,
        mut address: impl FnMut(&Path) -> Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let mut process = Process::spawn(command)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = address(home.path()) {
                return Ok(Self { address, process, _port: None, _home: home });
            }
            if !process.is_running()? {
                process.wait()?;
                bail!("a server ended at once:\n{}", process.text());
            }
            if Instant::now() > deadline {
                bail!("a server does not come up:\n{}", process.text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: an nginx that is killed would leave its worker behind.
        if self.process.terminate().is_ok() {
            self.process.wait_for(Duration::from_secs(5)).ok();
        }
    }
}

/// Where Seawall says that a listener of this name listens.
fn listening(process: &Process, name: &str) -> anyhow::Result<SocketAddr> {
    let name = format!("name={name}");
    let address = process.wait_for_line(|line| {
        let ours = line.text.contains("listening")
            && line.text.split_whitespace().any(|word| word == name);
        let address = line.text.split_whitespace().find_map(|word| word.strip_prefix("address="));
        address.filter(|_| ours)?.parse().ok()
    })?;
    Ok(address)
}

pub(crate) fn pinned(cores: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).env("PATH", tools::search_path());
    command
}

pub(crate) fn nginx_config(inside: &str) -> String {
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        // Writing to a String cannot fail.
        writeln!(temporary, "  {kind}_temp_path temp-{kind};").ok();
    }
    format!(
        "worker_processes 1;
events {{ worker_connections {NGINX_CONNECTIONS}; }}
http {{
{temporary}  access_log off;
  keepalive_timeout 600s; keepalive_requests 1000000000;
{inside}
}}
"
    )
}

/// As NGINX's guide for keep-alive upstreams has it, with buffers that hold the bodies of the
/// cases: with the default ones it would spend twice the time on large answers and put uploads
/// into files, and look worse than it is.
///
/// `servers` is what stands in the block of the upstream.
pub(crate) fn nginx_proxy(address: SocketAddr, servers: &str) -> String {
    nginx_config(&nginx_server(address, servers, ""))
}

/// The upstream and the server; `location` is what the location has besides.
pub(crate) fn nginx_server(address: SocketAddr, servers: &str, location: &str) -> String {
    format!(
        "  upstream app {{ {servers} keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {address} reuseport backlog=4096;
    client_body_buffer_size 128k;
    proxy_buffers 8 32k;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
{location}    }}
  }}"
    )
}

/// `servers` are the lines of the back end.
pub(crate) fn haproxy_proxy(address: SocketAddr, servers: &str) -> String {
    haproxy_config(address, "", servers)
}

/// The same with lines of the front end.
pub(crate) fn haproxy_config(address: SocketAddr, frontend: &str, servers: &str) -> String {
    format!(
        "global
  nbthread 1
  no strict-limits
  maxconn {CLIENTS}
defaults
  mode http
  no log
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
frontend web
  bind {address}
{frontend}  default_backend app
backend app
{servers}"
    )
}

pub(crate) fn seawall_upstream(origin: SocketAddr) -> String {
    format!("servers = [\"{origin}\"]\nkeepalive = {{ idle = 1024 }}\n")
}

/// `upstream` and `route` are the lines of these two sections, the route's beside its `to`.
pub(crate) fn seawall_config(workers: u32, upstream: &str, route: &str) -> String {
    format!(
        "[server]
workers = {workers}
admin = \"127.0.0.1:0\"
access-log = \"off\"
[listen.web]
address = \"127.0.0.1:0\"
timeouts = {{ idle = \"600s\" }}
[upstream.app]
{upstream}[[route]]
to = \"app\"
{route}"
    )
}
