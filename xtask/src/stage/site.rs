//! A stage that runs: all of its processes on loopback addresses, each with its file of
//! `examples/stages`. Dropping it ends all of them at once; what they had was for this run alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use seawall_testkit::{Postgres, Process, Redis, ReservedPort, Seawall, sum_of_samples};
use tempfile::TempDir;

use super::api::{self, Api};
use super::plan::{Front, Plan};
use super::seed::Seed;

/// What carries the reports of Seawall.
const REPORT_TOKEN: &str = "of-this-run";

/// Settings of PostgreSQL beside its own: with the 16 MB of the testkit a million links are read
/// from the disk.
const POSTGRES: &[&str] = &["shared_buffers=256MB", "max_wal_size=4GB"];

/// The programs of this repository.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) seawall: PathBuf,
    pub(crate) snip: PathBuf,
}

/// Everything of a stage. Those in front come first, so that they end first.
pub(crate) struct Site {
    pub(crate) plan: Plan,
    /// Where clients ask.
    pub(crate) front: SocketAddr,
    /// Of all scopes.
    pub(crate) key: String,
    /// The file of SQLite, or the name in PostgreSQL.
    pub(crate) database: String,
    /// By what they are: `seawall`, or `edge` and `shield`.
    pub(crate) seawalls: Vec<(&'static str, Seawall)>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) redis: Option<Redis>,
    pub(crate) replicas: Vec<Postgres>,
    pub(crate) postgres: Option<Postgres>,
    _ports: Vec<ReservedPort>,
    _home: TempDir,
}

/// A process of `snip`.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// For the `${NAME}` of a file.
type Variables = Vec<(String, String)>;

impl Site {
    /// Starts a stage on free ports, with clients at `listen`, and with what is seeded.
    pub(crate) fn start(
        plan: Plan,
        programs: &Programs,
        listen: SocketAddr,
        seed: Option<&Seed>,
    ) -> anyhow::Result<Site> {
        let home = tempfile::tempdir()?;
        let mut ports = Vec::new();
        // Kept for those who listen there later: some must know of others before they are there.
        let mut port = || -> anyhow::Result<SocketAddr> {
            ports.push(ReservedPort::new().context("there is no free port")?);
            Ok(ports[ports.len() - 1].address())
        };
        let front = if listen.port() == 0 { port()? } else { listen };
        let addresses: Vec<SocketAddr> = match plan.front {
            Front::Snip => vec![front],
            _ => (0..plan.instances).map(|_| port()).collect::<anyhow::Result<_>>()?,
        };
        let (edge_admin, shield_admin, shield) = (port()?, port()?, port()?);
        let postgres = plan.is_postgres.then(|| database(seed)).transpose()?;
        let replicas: Vec<Postgres> = match &postgres {
            Some((postgres, _)) => (0..plan.replicas)
                .map(|_| postgres.replica().context("a replica does not start"))
                .collect::<anyhow::Result<_>>()?,
            None => Vec::new(),
        };
        let redis = plan.has_redis.then(Redis::start).transpose().context("no Redis")?;

        let mut variables: Variables = Vec::new();
        let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
        set("URL", format!("http://{front}"));
        let file = home.path().join("snip.db");
        let database = match (&postgres, seed) {
            (Some((postgres, name)), _) => postgres.url_of(name),
            (None, seed) => {
                seed.map(|seed| seed.copy_to(&file)).transpose()?;
                format!("sqlite:{}", file.display())
            }
        };
        set("DATABASE", database.clone());
        for (number, replica) in replicas.iter().enumerate() {
            let name = postgres.as_ref().map_or("", |(_, name)| name);
            set(&format!("REPLICA_{}", number + 1), replica.url_of(name));
        }
        if let Some(redis) = &redis {
            set("REDIS", redis.url());
        }
        set("EDGE_ADMIN", edge_admin.to_string());
        set("SHIELD_ADMIN", shield_admin.to_string());
        set("REPORT_TOKEN", REPORT_TOKEN.to_owned());
        let mut instances = Vec::new();
        for address in &addresses {
            let mut variables = variables.clone();
            variables.push(("LISTEN".to_owned(), address.to_string()));
            let process = serve(&programs.snip, &plan.file("snip.toml"), home.path(), &variables)?;
            instances.push(Instance { address: *address, process });
        }
        let key = match instances[0].first_key() {
            Some(key) => key,
            None => make_key(&programs.snip, &database)?,
        };

        let mut seawalls = Vec::new();
        let mut seawall = |name: &'static str, listen: SocketAddr, admin: SocketAddr| {
            let mut variables = vec![
                ("LISTEN", listen.to_string()),
                ("ADMIN", admin.to_string()),
                ("SHIELD", shield.to_string()),
                ("REPORT_TOKEN", REPORT_TOKEN.to_owned()),
            ];
            let names = ["SNIP_1", "SNIP_2", "SNIP_3"];
            variables.extend(names.into_iter().zip(addresses.iter().map(SocketAddr::to_string)));
            let file = plan.file(&format!("{name}.toml"));
            Seawall::start_file_apart(&programs.seawall, &file, &variables)
                .with_context(|| format!("{} does not start", file.display()))
                .map(|seawall| seawalls.push((name, seawall)))
        };
        match plan.front {
            Front::Snip => {}
            Front::Seawall => seawall("seawall", front, edge_admin)?,
            Front::Edge => {
                seawall("shield", shield, shield_admin)?;
                seawall("edge", front, edge_admin)?;
                seawalls.reverse();
            }
        }
        let (postgres, database) = match postgres {
            Some((postgres, name)) => (Some(postgres), name),
            None => (None, file.display().to_string()),
        };
        Ok(Site {
            plan,
            front,
            key,
            database,
            seawalls,
            instances,
            redis,
            replicas,
            postgres,
            _ports: ports,
            _home: home,
        })
    }

    /// The API, as clients see it.
    pub(crate) fn api(&self) -> Api {
        Api { address: self.front, key: self.key.clone() }
    }

    /// The sum of a metric of all instances, of samples whose labels contain each of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<u64> {
        let mut sum = 0.0;
        for instance in &self.instances {
            let answer = api::read(instance.address, "/metrics")?;
            ensure!(answer.status == 200, "/metrics answers {}", answer.status);
            sum += sum_of_samples(&answer.text(), name, labels);
        }
        Ok(sum as u64)
    }

    /// What all of them have said, the last lines of each.
    pub(crate) fn logs(&mut self) -> String {
        let mut logs = String::new();
        let mut add = |name: &str, text: String| {
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n  ");
            logs.push_str(&format!("\n{name}:\n  {last}"));
        };
        for (name, seawall) in &self.seawalls {
            add(name, seawall.log());
        }
        for instance in &self.instances {
            add(&format!("snip at {}", instance.address), instance.process.text());
        }
        if let Some(postgres) = &mut self.postgres {
            add("postgres", postgres.process().text());
        }
        if let Some(redis) = &mut self.redis {
            add("redis", redis.process().text());
        }
        logs
    }
}

impl Instance {
    /// The key that the first start of all with a database prints.
    fn first_key(&self) -> Option<String> {
        let lines = self.process.lines();
        lines.iter().find_map(|line| line.text.strip_prefix("admin key: ").map(str::to_owned))
    }
}

/// `snip serve`, once it listens.
fn serve(
    program: &Path,
    file: &Path,
    directory: &Path,
    variables: &Variables,
) -> anyhow::Result<Process> {
    let mut snip = Command::new(program);
    snip.args(["serve", "--config"]).arg(file).current_dir(directory);
    snip.envs(variables.iter().map(|(name, value)| (name, value)));
    let process = Process::spawn_apart(snip)?;
    process.wait_for_text("listening on ").context("snip does not start")?;
    Ok(process)
}

/// A key for a database that had one before.
fn make_key(snip: &Path, database: &str) -> anyhow::Result<String> {
    let output = Command::new(snip)
        .args(["key", "create", "--name", "stage", "--database", database])
        .output()
        .context("snip does not run")?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "snip makes no key: {err}");
    Ok(out.trim().to_owned())
}

/// PostgreSQL and the name of a database in it, with what is seeded.
fn database(seed: Option<&Seed>) -> anyhow::Result<(Postgres, String)> {
    let postgres = Postgres::with(POSTGRES).context("PostgreSQL does not start")?;
    let name = postgres.database()?;
    if let Some(seed) = seed {
        seed.restore_to(&postgres, &name)?;
    }
    Ok((postgres, name))
}
