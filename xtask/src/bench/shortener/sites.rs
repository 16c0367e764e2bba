//! Who answers: `snip`, and the shorteners of `bench/peers/shortener`, each set up as its makers
//! advise for one core.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use seawall_testkit::{PATIENCE, Postgres, Process, RawClient, ReservedPort};
use tempfile::TempDir;

use super::Bench;
use super::links::{self, PEERS, SNIP};
use crate::bench::Setting;
use crate::bench::peers::{nginx_config, pinned};
use crate::{build, tools};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Who {
    /// `snip`.
    Snip,
    /// `snip`, which is told that Seawall counts the clicks: it counts none.
    Uncounted,
    /// A shortener in Node.
    Node,
    /// A shortener in PHP behind NGINX.
    Php,
}

impl Who {
    /// All that are compared with each other.
    pub(super) const ALL: [Who; 4] = [Who::Snip, Who::Uncounted, Who::Node, Who::Php];

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Snip => "snip",
            Who::Uncounted => "snip, clicks not counted",
            Who::Node => "Node",
            Who::Php => "PHP",
        }
    }

    /// The one with this name.
    pub(super) fn named(name: &str) -> Option<Who> {
        Who::value_variants().iter().copied().find(|who| who.name() == name)
    }
}

/// Where the links are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    pub(super) fn name(self) -> &'static str {
        match self {
            Backend::Sqlite => "SQLite",
            Backend::Postgres => "PostgreSQL",
        }
    }
}

/// Links that a process may hold in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room(pub(super) usize);

impl Default for Room {
    /// That of `snip` when it is not told otherwise.
    fn default() -> Room {
        Room(100_000)
    }
}

/// A running shortener. Its database, if it is a file, lives as long as it does.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    processes: Vec<Process>,
    home: TempDir,
    _port: Option<ReservedPort>,
}

impl Site {
    /// Starts one over a copy of the links, or over those of this server.
    pub(super) fn start(
        bench: &Bench,
        who: Who,
        server: Option<&Postgres>,
        room: Room,
    ) -> anyhow::Result<Site> {
        let home = tempfile::tempdir()?;
        let is_snip = matches!(who, Who::Snip | Who::Uncounted);
        let database = match server {
            Some(server) => server.url_of(if is_snip { SNIP } else { PEERS }),
            None => bench.links.copy_to(home.path(), is_snip)?.display().to_string(),
        };
        match who {
            Who::Snip | Who::Uncounted => {
                let url = if server.is_some() { database } else { format!("sqlite:{database}") };
                snip_in(&bench.setting, &bench.snip, home, &url, room, "")
            }
            Who::Node => node(&bench.setting, home, &database, room),
            Who::Php => php(&bench.setting, home, &database, server),
        }
    }

    /// Its processes, those that have others once.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// The file of its database.
    pub(super) fn file(&self) -> PathBuf {
        self.home.path().join("links.db")
    }

    /// Ends it in order, so that everything is written; its files stay.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.terminate()?;
            process.wait_for(Duration::from_secs(20))?;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is killed would leave its children behind.
        self.end().ok();
    }
}

/// Makes the tables of a new database.
pub(super) fn prepare(setting: &Setting, snip: &Path, database: &str) -> anyhow::Result<()> {
    snip_on(setting, snip, database, Room::default(), "").map(drop)
}

/// A key for everything.
pub(super) fn key(snip: &Path, database: &str) -> anyhow::Result<String> {
    let mut command = Command::new(snip);
    command.args(["key", "create", "--name", "bench", "--database", database]);
    let printed = links::output(&mut command)?;
    let key = printed.split_whitespace().find(|word| word.starts_with("snip_"));
    Ok(key.with_context(|| format!("no key in {printed:?}"))?.to_owned())
}

/// Starts `snip` over a database; `more` is added to its configuration.
pub(super) fn snip_on(
    setting: &Setting,
    snip: &Path,
    database: &str,
    room: Room,
    more: &str,
) -> anyhow::Result<Site> {
    snip_in(setting, snip, tempfile::tempdir()?, database, room, more)
}

fn snip_in(
    setting: &Setting,
    snip: &Path,
    home: TempDir,
    database: &str,
    room: Room,
    more: &str,
) -> anyhow::Result<Site> {
    let config = home.path().join("snip.toml");
    // Clients are those that `X-Forwarded-For` names, as behind Seawall.
    let text = format!(
        "listen = \"127.0.0.1:0\"\nurl = \"http://go.example\"\ndatabase = \"{database}\"\n\
         trust = [\"127.0.0.1\"]\n{more}[cache]\nmemory = {}\n",
        room.0
    );
    fs::write(&config, text)?;
    let mut command = pinned(&setting.proxy_cores);
    command.arg(snip).args(["serve", "--config"]).arg(&config).env("NO_COLOR", "1");
    let process = Process::spawn(command)?;
    let address = process
        .wait_for_line(|line| line.text.strip_prefix("listening on ")?.trim().parse().ok())?;
    Ok(Site { address, processes: vec![process], home, _port: None })
}

fn node(setting: &Setting, home: TempDir, database: &str, room: Room) -> anyhow::Result<Site> {
    let program = node_program()?;
    let mut command = pinned(&setting.proxy_cores);
    command.arg("node").arg(program).env("NODE_ENV", "production");
    command.env("DATABASE", database).env("MEMORY", room.0.to_string());
    // Sessions of PostgreSQL do not wait for the disk.
    command.env("PGOPTIONS", "-c synchronous_commit=off");
    let process = Process::spawn(command)?;
    let port: u16 =
        process.wait_for_line(|line| line.text.strip_prefix("listening ")?.trim().parse().ok())?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Ok(Site { address, processes: vec![process], home, _port: None })
}

/// The program with the packages that it needs, which npm installs once.
fn node_program() -> anyhow::Result<PathBuf> {
    let directory = build::root().join("target/bench/shortener/node");
    fs::create_dir_all(&directory)?;
    let sources = build::root().join("bench/peers/shortener/node");
    for name in ["package.json", "package-lock.json", "server.js"] {
        fs::copy(sources.join(name), directory.join(name))?;
    }
    if !directory.join("node_modules/.package-lock.json").exists() {
        eprintln!("installing what the shortener in Node needs");
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
        tools::run(&mut npm)?;
    }
    Ok(directory.join("server.js"))
}

/// Processes of PHP, as many as have something to do while others wait for the database.
const CHILDREN: u32 = 8;

fn php(
    setting: &Setting,
    home: TempDir,
    database: &str,
    server: Option<&Postgres>,
) -> anyhow::Result<Site> {
    let script = build::root().join("bench/peers/shortener/php/redirect.php");
    let (dsn, user) = match server {
        None => (format!("sqlite:{database}"), ""),
        Some(server) => {
            let address = server.address();
            let (host, port) = (address.ip(), address.port());
            let options = "options='-c synchronous_commit=off'";
            (format!("pgsql:host={host};port={port};dbname={PEERS};{options}"), "postgres")
        }
    };
    let socket = home.path().join("php.sock");
    let is_root = rustix::process::geteuid().is_root();
    let user_of_pool = if is_root { "user = root\ngroup = root\n" } else { "" };
    let pool = format!(
        "[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\n{user_of_pool}listen = {}\n\
         listen.backlog = 4096\npm = static\npm.max_children = {CHILDREN}\n\
         php_admin_value[opcache.enable] = 1\nphp_admin_value[opcache.validate_timestamps] = 0\n",
        socket.display()
    );
    let file = home.path().join("php-fpm.conf");
    fs::write(&file, pool)?;
    let mut command = pinned(&setting.proxy_cores);
    command.args(["php-fpm8.2", "-F", "-y"]).arg(&file);
    if is_root {
        // Its children stay root, as the files here are.
        command.arg("-R");
    }
    let process = Process::spawn(command)?;
    process.wait_for_text("ready to handle connections")?;

    let port = ReservedPort::new()?;
    let config = nginx_config(&format!(
        "  server {{
    listen {address} reuseport backlog=4096;
    location / {{
      fastcgi_pass unix:{socket};
      fastcgi_param SCRIPT_FILENAME {script};
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param REQUEST_URI $request_uri;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param DSN \"{dsn}\";
      fastcgi_param DATABASE_USER \"{user}\";
    }}
  }}",
        address = port.address(),
        socket = socket.display(),
        script = script.display(),
    ));
    fs::write(home.path().join("nginx.conf"), config)?;
    let mut command = pinned(&setting.proxy_cores);
    command.args(["nginx", "-e", "stderr", "-c", "nginx.conf", "-p"]).arg(home.path());
    let user = if is_root { "user root; " } else { "" };
    command.args(["-g", &format!("{user}daemon off; pid nginx.pid; error_log stderr;")]);
    let nginx = Process::spawn(command)?;
    let address = port.address();
    let deadline = Instant::now() + PATIENCE;
    while RawClient::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "NGINX does not come up: {}", nginx.text());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Site { address, processes: vec![nginx, process], home, _port: Some(port) })
}
