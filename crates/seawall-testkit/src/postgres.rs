//! A real PostgreSQL server with a cluster of its own, on a port that it keeps when it is started
//! again; and replicas of it.
//!
//! It refuses to run as root. There, it runs as the user `postgres`, which Debian's package makes.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::address::ReservedPort;
use crate::process::{Process, command};

/// Where Debian puts the servers, one directory a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that the server runs as when this is root.
const USER: &str = "postgres";

/// A PostgreSQL server. Dropping it ends it at once.
///
/// Tests that do not stop it do best to share one, and to take a [`Postgres::database`] each.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: ReservedPort,
    options: Vec<String>,
    home: TempDir,
    databases: AtomicUsize,
}

impl Postgres {
    /// Makes a cluster and runs its server on a free port of 127.0.0.1. It does not flush to the
    /// disk, so that it survives every end of its own but not one of the machine.
    ///
    /// # Errors
    /// When PostgreSQL is missing or its server ends at once; the error carries what it printed.
    pub fn start() -> io::Result<Self> {
        Self::with(&["fsync=off"])
    }

    /// The same with other settings than those of PostgreSQL, such as `["max_connections=10"]`. It
    /// flushes to the disk unless one says otherwise.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn with(settings: &[&str]) -> io::Result<Self> {
        let home = home()?;
        cluster(&home)?;
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self::serve(home, settings)
    }

    /// The same as [`Postgres::start`], with TLS for whoever wants it. Its certificate is for
    /// `localhost`, and no address; whom it is to be believed by is [`Postgres::authority`].
    ///
    /// # Errors
    /// As [`Postgres::start`], or when `openssl` is missing.
    pub fn encrypted() -> io::Result<Self> {
        let home = home()?;
        cluster(&home)?;
        let file = |name: &str| home.path().join(name);
        let make = |name: &str, arguments: &[&str]| {
            let new = ["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt"];
            let mut openssl = command("openssl", new);
            openssl.arg("ec_paramgen_curve:prime256v1").args(arguments);
            openssl.arg("-keyout").arg(file(&format!("{name}.key")));
            openssl.arg("-out").arg(file(&format!("{name}.pem")));
            run(openssl).map(drop)
        };
        make("authority", &["-subj", "/CN=authority"])?;
        let (authority, key) = (file("authority.pem"), file("authority.key"));
        let signed = ["-CA", text(&authority)?, "-CAkey", text(&key)?, "-subj", "/CN=localhost"];
        let names = ["basicConstraints=CA:FALSE", "subjectAltName=DNS:localhost"];
        make("server", &[&signed[..], &["-addext", names[0], "-addext", names[1]]].concat())?;
        let (certificate, key) = (file("server.pem"), file("server.key"));
        if let Some((user, group)) = owner()? {
            chown(&key, Some(user), Some(group))?;
        }
        let settings = vec![
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        Self::serve(home, settings)
    }

    /// The certificate of who signed that of an [encrypted](Postgres::encrypted) server.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of the database that every cluster has.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of a database.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address())
    }

    /// Makes a database that nobody else has, and returns its name.
    ///
    /// # Errors
    /// When the server is away.
    pub fn database(&self) -> io::Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Runs SQL in a database by `psql` and returns what it prints: columns separated by `|`, rows
    /// by line ends.
    ///
    /// # Errors
    /// When the server is away or refuses it; the error is what psql says.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        let mut psql = command(program("psql")?, ["-X", "-A", "-t", "-q"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-d", &self.url_of(database), "-c", sql]);
        run(psql).map(|text| text.trim_end().to_owned())
    }

    /// Writes a database to a file, from which [`Postgres::restore`] makes it again.
    ///
    /// # Errors
    /// When the server is away, or the file cannot be written.
    pub fn dump(&self, database: &str, file: &Path) -> io::Result<()> {
        let mut dump = command(program("pg_dump")?, ["--format=custom", "--compress=1"]);
        dump.args(["--dbname", &self.url_of(database), "--file"]).arg(file);
        run(dump).map(drop)
    }

    /// Makes in a database what a file has that [`Postgres::dump`] wrote.
    ///
    /// # Errors
    /// When the server is away, or the file is none of these.
    pub fn restore(&self, database: &str, file: &Path) -> io::Result<()> {
        let mut restore = command(program("pg_restore")?, ["--exit-on-error", "--no-owner"]);
        restore.args(["--dbname", &self.url_of(database)]).arg(file);
        run(restore).map(drop)
    }

    /// Runs a replica of it that streams: a server of its own, which takes no changes. It follows
    /// to wherever this one is when it is started again.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn replica(&self) -> io::Result<Postgres> {
        let home = home()?;
        let mut copy = as_user(&program("pg_basebackup")?);
        copy.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream"]);
        copy.args(["--write-recovery-conf", "--dbname", &self.url(), "--pgdata"]);
        copy.arg(home.path().join("data"));
        run(copy)?;
        Self::serve(home, self.options.clone())
    }

    /// Waits until a replica has everything that this server has now.
    ///
    /// # Errors
    /// When either is away, or the replica does not get there in a minute.
    pub fn wait_for(&self, replica: &Postgres) -> io::Result<()> {
        let position = self.sql("postgres", "SELECT pg_current_wal_flush_lsn()")?;
        // The server itself waits, in steps, so that nobody has to ask again and again.
        replica
            .sql(
                "postgres",
                &format!(
                    "DO $$ BEGIN
                         FOR i IN 1..6000 LOOP
                             IF pg_last_wal_replay_lsn() >= '{position}' THEN RETURN; END IF;
                             PERFORM pg_sleep(0.01);
                         END LOOP;
                         RAISE 'the replica does not follow';
                     END $$"
                ),
            )
            .map(drop)
    }

    /// The process of the server.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as a crash does: nothing is written any more, and the next start recovers from the
    /// log. Its port refuses connections until [`Postgres::restart`].
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(&mut self) -> io::Result<()> {
        // SIGKILL would leave its children behind, which keep the next start from the data.
        self.end(Signal::QUIT)
    }

    /// Shuts it down in order; connections are closed.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn stop(&mut self) -> io::Result<()> {
        self.end(Signal::INT)
    }

    /// Stops it where it is, with all its children: connections stay open, and nobody answers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> io::Result<()> {
        // Itself first, so that it makes no more.
        self.process.signal(Signal::STOP)?;
        self.signal_children(Signal::STOP)
    }

    /// Lets it go on after [`Postgres::pause`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal_children(Signal::CONT)?;
        self.process.signal(Signal::CONT)
    }

    fn signal_children(&mut self, signal: Signal) -> io::Result<()> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            // Those that are gone have nothing to stop.
            Pid::from_raw(child).map(|child| kill_process(child, signal).ok());
        }
        Ok(())
    }

    /// Starts it again at its old address with what it had.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = serve(self.home.path(), &self.port, &self.options)?;
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)?;
        self.process.wait().map(drop)
    }

    fn serve(home: TempDir, options: Vec<String>) -> io::Result<Self> {
        let port = ReservedPort::new()?;
        let process = serve(home.path(), &port, &options)?;
        Ok(Self { process, port, options, home, databases: AtomicUsize::new(0) })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children end with it and let go of what they share, unless they stand still. It may
        // have ended before.
        drop(self.resume());
        drop(self.kill());
    }
}

fn serve(home: &Path, port: &ReservedPort, options: &[String]) -> io::Result<Process> {
    let mut server = as_user(&program("postgres")?);
    server.arg("-D").arg(home.join("data"));
    // It sets SO_REUSEADDR, as does the reservation, so that it is let in beside it.
    server.args(["-h", "127.0.0.1", "-p", &port.port().to_string(), "-k", ""]);
    // Small: several run beside each other in tests. What it says is waited for, in English.
    for setting in ["shared_buffers=16MB", "lc_messages=C", "logging_collector=off"] {
        server.args(["-c", setting]);
    }
    for setting in options {
        server.args(["-c", setting]);
    }
    let process = Process::spawn(server)?;
    process.wait_for_text("database system is ready to accept")?;
    Ok(process)
}

/// A new directory that the server may use.
fn home() -> io::Result<TempDir> {
    let home = tempfile::tempdir()?;
    if let Some((user, group)) = owner()? {
        chown(home.path(), Some(user), Some(group))?;
    }
    Ok(home)
}

/// Makes a cluster in `data` of a directory.
fn cluster(home: &TempDir) -> io::Result<()> {
    let mut initdb = as_user(&program("initdb")?);
    initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]);
    initdb.args(["--username", USER, "--pgdata"]).arg(home.path().join("data"));
    run(initdb).map(drop)
}

/// The numbers of the user that the server runs as, and of its group, if it is another than this.
fn owner() -> io::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = ids_of(&users, USER).ok_or_else(|| {
        let text = "PostgreSQL does not run as root, and there is no user `postgres`";
        io::Error::new(ErrorKind::NotFound, text)
    })?;
    Ok(Some(ids))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a directory whose name is no text"))
}

/// The numbers of a user and of its group.
fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A command that runs as whom the server runs as.
fn as_user(program: &Path) -> Command {
    let mut run = if geteuid().is_root() {
        let user = format!("--reuid={USER}");
        let group = format!("--regid={USER}");
        let mut run = command("setpriv", [user.as_str(), &group, "--init-groups", "--"]);
        run.arg(program);
        run
    } else {
        Command::new(program)
    };
    // The directory of whoever runs the tests may be closed to that user.
    run.current_dir("/");
    run
}

/// A program of PostgreSQL: on `PATH`, or the newest where Debian puts them.
fn program(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(name));
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(name)))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    on_path
        .chain(versions.into_iter().map(|(_, file)| file))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let text = format!("there is no `{name}`; Debian's package `postgresql` brings it");
            io::Error::new(ErrorKind::NotFound, text)
        })
}

/// Runs a command to its end and returns what it printed.
fn run(mut command: Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("failed: {}: {}", words.join(" "), said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_the_list_of_users() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npostgresql:x:1:2::/:\npostgres:x:106:113:a,b:/:";
        assert_eq!(ids_of(users, "postgres"), Some((106, 113)));
        assert_eq!(ids_of(users, "nobody"), None);
        assert_eq!(ids_of("postgres:x:?", "postgres"), None);
    }
}
