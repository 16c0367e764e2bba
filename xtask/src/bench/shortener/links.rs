//! The million links that redirects are measured over: made once by `snip` itself, kept with the
//! build's files, and copied for each run, so that none finds what another has left.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use seawall_testkit::Postgres;

use super::create;
use super::sites::{self, Room};
use crate::bench::Setting;
use crate::bench::balance::keep_on;
use crate::{build, tools};

/// Links.
pub(super) const LINKS: usize = 1_000_000;

/// Bytes of a code.
pub(super) const CODE: usize = 7;

/// Settings of PostgreSQL beside its own: memory for all links, and checkpoints far apart.
const POSTGRES: [&str; 5] = [
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=30min",
    "autovacuum_naptime=10s",
    "max_connections=64",
];

/// The tables of the peers. Columns of the log are those of YOURLS.
const PEERS_SQLITE: &str = "CREATE TABLE links (code TEXT PRIMARY KEY, target TEXT NOT NULL,
        clicks INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE TABLE log (click_id INTEGER PRIMARY KEY, click_time TEXT NOT NULL,
        shorturl TEXT NOT NULL, referrer TEXT NOT NULL, user_agent TEXT NOT NULL,
        ip_address TEXT NOT NULL, country_code TEXT NOT NULL);
    CREATE INDEX log_by_link ON log (shorturl);";
const PEERS_POSTGRES: &str = "CREATE TABLE links (code text COLLATE \"C\" PRIMARY KEY,
        target text NOT NULL, clicks bigint NOT NULL DEFAULT 0);
    CREATE TABLE log (click_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        click_time timestamp NOT NULL, shorturl text COLLATE \"C\" NOT NULL,
        referrer text NOT NULL, user_agent text NOT NULL, ip_address text NOT NULL,
        country_code text NOT NULL);
    CREATE INDEX log_by_link ON log (shorturl)";

/// The links.
pub(super) struct Links {
    directory: PathBuf,
    /// All codes, one behind the other, in an order that says nothing of when they were made.
    codes: Vec<u8>,
}

impl Links {
    /// Those of an earlier run, or new ones.
    pub(super) fn ready(setting: &Setting, snip: &Path) -> anyhow::Result<Links> {
        let directory = build::root().join("target/bench/shortener");
        fs::create_dir_all(&directory)?;
        if !directory.join("peers.db").exists() {
            make(setting, snip, &directory).context("cannot make the links")?;
        }
        let list = fs::read_to_string(directory.join("links.csv"))?;
        let mut codes: Vec<[u8; CODE]> = Vec::with_capacity(LINKS);
        for line in list.lines() {
            let code = line.split(',').next().and_then(|code| code.as_bytes().try_into().ok());
            codes.push(code.with_context(|| format!("{line} has no code"))?);
        }
        ensure!(codes.len() == LINKS, "{} links instead of {LINKS}", codes.len());
        fastrand::Rng::with_seed(1).shuffle(&mut codes);
        Ok(Links { directory, codes: codes.concat() })
    }

    /// The code at a rank.
    pub(super) fn code(&self, rank: usize) -> &[u8] {
        &self.codes[rank * CODE..(rank + 1) * CODE]
    }

    /// Puts a copy of `snip`'s database, or of the peers', into a directory.
    pub(super) fn copy_to(&self, home: &Path, is_of_snip: bool) -> anyhow::Result<PathBuf> {
        let copy = home.join("links.db");
        fs::copy(self.directory.join(if is_of_snip { "snip.db" } else { "peers.db" }), &copy)?;
        Ok(copy)
    }

    /// A PostgreSQL server on the core of the load that has them twice: as `snip` has them in
    /// [`SNIP`], as the peers have them in [`PEERS`].
    pub(super) fn postgres(&self, setting: &Setting, snip: &Path) -> anyhow::Result<Postgres> {
        let server = empty_postgres(setting, snip)?;
        let rows = self.directory.join("postgres.csv");
        let copy = |database: &str, columns: &str, file: &Path| {
            let sql = format!("\\copy links ({columns}) FROM '{}' CSV", file.display());
            server.sql(database, &sql)
        };
        let columns = "created, updated, version, owner, status, disabled, code, target";
        copy(SNIP, columns, &rows)?;
        server.sql("postgres", &format!("CREATE DATABASE {PEERS}"))?;
        server.sql(PEERS, PEERS_POSTGRES)?;
        copy(PEERS, "code, target", &self.directory.join("links.csv"))?;
        for database in [SNIP, PEERS] {
            server.sql(database, "VACUUM (ANALYZE) links")?;
        }
        // Else a checkpoint would fall into some round.
        server.sql("postgres", "CHECKPOINT")?;
        Ok(server)
    }
}

/// Databases of the server.
pub(super) const SNIP: &str = "snip";
pub(super) const PEERS: &str = "peers";

/// A PostgreSQL server on the core of the load with `snip`'s tables in [`SNIP`].
pub(super) fn empty_postgres(setting: &Setting, snip: &Path) -> anyhow::Result<Postgres> {
    let mut server = Postgres::with(&POSTGRES)?;
    let pid = i32::try_from(server.process().id())?;
    keep_on(setting.load_cores.parse()?, rustix::process::Pid::from_raw(pid))?;
    server.sql("postgres", &format!("CREATE DATABASE {SNIP}"))?;
    sites::prepare(setting, snip, &server.url_of(SNIP))?;
    Ok(server)
}

fn make(setting: &Setting, snip: &Path, directory: &Path) -> anyhow::Result<()> {
    eprintln!("making {LINKS} links");
    let home = tempfile::tempdir_in(directory)?;
    let database = home.path().join("snip.db");
    let url = format!("sqlite:{}", database.display());
    let site = sites::snip_on(setting, snip, &url, Room::default(), "")?;
    let key = sites::key(snip, &url)?;
    create::fill(setting, site.address, &key, 0, LINKS)?;
    drop(site);
    let sql = "SELECT code, target FROM links ORDER BY id";
    let list = output(Command::new("sqlite3").arg("-csv").arg(&database).arg(sql))?;
    let list = list.replace('\r', "");
    let csv = home.path().join("links.csv");
    fs::write(&csv, &list)?;

    // As `snip` makes them.
    let mut rows = BufWriter::new(fs::File::create(home.path().join("postgres.csv"))?);
    for (number, line) in list.lines().enumerate() {
        let made = 1_700_000_000_000 + number;
        writeln!(rows, "{made},{made},1,1,302,f,{line}")?;
    }
    rows.flush()?;

    let mut script = format!("{PEERS_SQLITE}\nCREATE TABLE new (code TEXT, target TEXT);\n");
    // Writing to a String cannot fail.
    let _ = write!(
        script,
        ".import --csv {} new\nINSERT INTO links (code, target) SELECT code, target FROM new;\n\
         DROP TABLE new;\nVACUUM;\n",
        csv.display()
    );
    let file = home.path().join("peers.sql");
    fs::write(&file, script)?;
    let peers = home.path().join("peers.db");
    let read = format!(".read {}", file.display());
    output(Command::new("sqlite3").arg(&peers).arg("PRAGMA journal_mode = WAL").arg(read))?;
    // The last one says that all are there.
    for name in ["snip.db", "links.csv", "postgres.csv", "peers.db"] {
        fs::rename(home.path().join(name), directory.join(name))?;
    }
    Ok(())
}

/// What a command prints, once it has succeeded.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.env("PATH", tools::search_path()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("failed: {command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
