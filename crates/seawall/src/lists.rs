//! The files with servers that upstreams name (`servers-file`): read, judged, and what is wrong
//! with them remembered for the admin API. The doors get servers from here, never files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_config::Problems;
use seawall_config::plan::{Plan, ServerSpec};
use seawall_config::servers::{Format, LARGEST_LIST, servers_from};
use seawall_http::door::FileServers;
use seawall_telemetry::Metrics;

use crate::watch::{self, Content, Watched};

/// Why a file yields no servers.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// It cannot be read.
    Unreadable(String),
    /// What is in it is wrong.
    Wrong(Problems),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Unreadable(error) => out.write_str(error),
            Trouble::Wrong(problems) => {
                let Some(first) = problems.iter().next() else { return out.write_str("wrong") };
                write!(out, "line {}: {}", first.line(), first.message())?;
                if let Some(help) = first.help() {
                    write!(out, " ({})", help.replace('\n', "; "))?;
                }
                match problems.len() + problems.dropped() {
                    0 | 1 => Ok(()),
                    count => write!(out, "; and {} more", count - 1),
                }
            }
        }
    }
}

/// A file with servers that was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Who uses it.
    pub(crate) upstream: Arc<str>,
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    pub(crate) servers: Result<Vec<ServerSpec>, Trouble>,
}

/// Reads the files of all upstreams of a plan.
pub(crate) fn read(plan: &Plan) -> Vec<Read> {
    let mut contents: HashMap<&Path, Content> = HashMap::new();
    let mut all = Vec::new();
    for upstream in &plan.upstreams {
        let Some(path) = &upstream.servers_file else { continue };
        let content =
            contents.entry(path).or_insert_with(|| watch::content(path, LARGEST_LIST)).clone();
        let servers = servers(path, &content, plan);
        all.push(Read { upstream: upstream.name.clone(), path: path.clone(), content, servers });
    }
    all
}

/// The servers that are in a file.
pub(crate) fn servers(
    path: &Path,
    content: &Content,
    plan: &Plan,
) -> Result<Vec<ServerSpec>, Trouble> {
    let bytes = content.as_ref().map_err(|error| Trouble::Unreadable(error.clone()))?;
    let name = path.display().to_string();
    // What is not UTF-8 is told about by who reads it.
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]);
    let format = Format::of(&name, start.trim_start_matches('\u{feff}'));
    servers_from(bytes, format, &name, &listeners(plan)).map_err(Trouble::Wrong)
}

/// The addresses that the process listens on, which cannot be those of servers.
pub(crate) fn listeners(plan: &Plan) -> Vec<std::net::SocketAddr> {
    plan.listeners.iter().map(|listener| listener.address).collect()
}

/// What is in place of the files of a plan.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    all: HashMap<Arc<str>, List>,
}

/// The file of an upstream.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) path: PathBuf,
    /// Why it cannot be used as it is now.
    pub(crate) trouble: Option<String>,
    /// How often that has been so.
    pub(crate) failures: u64,
}

impl Lists {
    /// The files of a new plan, which are to be watched from now on. Failures are counted on.
    pub(crate) fn replace(&mut self, read: Vec<Read>, metrics: &Metrics) -> Vec<Watched> {
        let before = std::mem::take(&mut self.all);
        let mut watched: Vec<Watched> = Vec::new();
        for read in read {
            let failures = before.get(&read.upstream).map_or(0, |list| list.failures);
            let trouble = read.servers.err().map(|trouble| trouble.to_string());
            let failures = failures + u64::from(trouble.is_some());
            metrics.file_looked_at(&read.upstream, trouble.is_none());
            if !watched.iter().any(|file| file.path == read.path) {
                let (path, content) = (read.path.clone(), read.content);
                watched.push(Watched { path, most: LARGEST_LIST, content });
            }
            self.all.insert(read.upstream, List { path: read.path, trouble, failures });
        }
        metrics.forget_files(|upstream| self.all.contains_key(upstream));
        watched
    }

    /// The file of an upstream.
    pub(crate) fn of(&self, upstream: &str) -> Option<&List> {
        self.all.get(upstream)
    }

    /// The upstreams that use a file.
    pub(crate) fn users(&self, path: &Path) -> Vec<Arc<str>> {
        let uses = |list: &List| list.path == path;
        let users = self.all.iter().filter(|(_, list)| uses(list));
        let mut users: Vec<_> = users.map(|(upstream, _)| upstream.clone()).collect();
        users.sort();
        users
    }

    /// Notes what is wrong with the file of an upstream now, if anything.
    pub(crate) fn note(&mut self, upstream: &Arc<str>, trouble: Option<String>, metrics: &Metrics) {
        if let Some(list) = self.all.get_mut(upstream) {
            metrics.file_looked_at(upstream, trouble.is_none());
            list.failures += u64::from(trouble.is_some());
            list.trouble = trouble;
        }
    }
}

/// The servers of the files that could be read, for the door.
pub(crate) fn good(read: &[Read]) -> FileServers {
    let good = |read: &Read| Some((read.upstream.clone(), read.servers.as_ref().ok()?.clone()));
    read.iter().filter_map(good).collect()
}
