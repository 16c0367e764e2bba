//! Putting a configuration in place while everything runs: all of it, or on any error nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use seawall_admin::cache::Entrance;
use seawall_admin::{Ask, Problem, Reloaded, view};
use seawall_config::plan::{AccessLog as AccessLogPlan, Plan, Protocol, Server};
use seawall_config::{Loaded, Problems};
use seawall_http::Door;
use seawall_telemetry::access_log::Destination;
use seawall_telemetry::{AccessLog, Metrics};

use crate::lists::{self, Lists};
use crate::shown;
use crate::source::{LoadError, Source};
use crate::watch::Watch;

/// What a reload works on.
pub(crate) struct Reloader {
    pub(crate) source: Source,
    pub(crate) door: Door,
    pub(crate) metrics: Arc<Metrics>,
    /// The settings in place.
    pub(crate) server: Server,
    /// The log in place.
    pub(crate) access_log: Option<AccessLog>,
    /// The files with servers.
    pub(crate) lists: Lists,
    pub(crate) watch: Watch,
    /// The text of the configuration that was last looked at, when it is watched.
    pub(crate) loaded: Option<Vec<u8>>,
}

impl Reloader {
    /// Reads the configuration again and puts it in place.
    pub(crate) async fn reload(&mut self) -> Reloaded {
        match self.try_reload().await {
            Ok(problems) => {
                let generation = self.metrics.generation();
                tracing::info!(generation, warnings = problems.len(), "configuration put in place");
                Reloaded { applied: true, generation, problems }
            }
            Err(problems) => {
                self.metrics.reload_failed();
                tracing::error!("configuration refused; the one before it stays in place");
                Reloaded { applied: false, generation: self.metrics.generation(), problems }
            }
        }
    }

    /// Answers the admin API. Who asked may be gone by then.
    pub(crate) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Reload(answer) => {
                let _ = answer.send(self.reload().await);
            }
            Ask::Plan(answer) => {
                let generation = self.metrics.generation();
                let plan = view::Plan::of(self.door.plan(), generation, self.door.addresses());
                let _ = answer.send(plan);
            }
            Ask::Upstreams(answer) => {
                let upstreams = self.door.upstreams().into_iter();
                let upstreams = upstreams.map(|status| {
                    let file = self.lists.of(&status.name);
                    shown::upstream(status, file)
                });
                let _ = answer.send(upstreams.collect());
            }
            Ask::Entrance(answer) => {
                let _ = answer.send(self.entrance());
            }
            Ask::Servers { upstream, list, answer } => {
                let _ = answer.send(self.set_servers(&upstream, list.as_deref()).await);
            }
            Ask::Order { upstream, server, order, answer } => {
                let _ = answer.send(self.order(&upstream, &server, order));
            }
        }
    }

    /// The first listener for HTTP, as this process reaches it itself.
    fn entrance(&self) -> Option<Entrance> {
        let plan = self.door.plan();
        let mut http = plan.listeners.iter().filter(|one| one.protocol == Protocol::Http);
        http.find_map(|listener| {
            let mut addresses = self.door.addresses();
            let (_, mut address) = addresses.find(|(name, _)| **name == *listener.name)?;
            if address.ip().is_unspecified() {
                address.set_ip(match address.is_ipv4() {
                    true => Ipv4Addr::LOCALHOST.into(),
                    false => Ipv6Addr::LOCALHOST.into(),
                });
            }
            // A connection of this machine to one of its addresses comes from there.
            let believed = plan.server.trusts(address.ip());
            Some(Entrance { address, believed, proxy_header: listener.proxy_protocol && believed })
        })
    }

    async fn try_reload(&mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        // Looked at first, so that no change after it is missed.
        let watched = self.source.watched();
        let Loaded { plan, warnings } = self.source.load().map_err(|error| {
            eprintln!("{}", error.render(false).trim_end());
            match error {
                LoadError::Wrong(problems) => described(&problems),
                LoadError::Unreadable(..) => vec![bare("error", error.to_string())],
            }
        })?;
        if !warnings.is_empty() {
            eprintln!("{}", warnings.render(false).trim_end());
        }
        let mut problems = described(&warnings);
        for message in self.fixed_settings(&plan) {
            tracing::warn!("{message}");
            problems.push(bare("warning", message));
        }
        let read = lists::read(&plan);
        for (read, trouble) in read.iter().filter_map(|r| Some((r, r.servers.as_ref().err()?))) {
            crate::change::warn(&read.upstream, &read.path.display().to_string(), trouble);
            problems.push(unusable(read, trouble));
        }
        let server = plan.server.clone();
        let access_log = self.access_log(&server.access_log).map_err(|error| {
            let place = destination(&server.access_log).map(|place| format!(" at {place}"));
            let place = place.unwrap_or_default();
            vec![bare("error", format!("the access log cannot be opened{place}: {error}"))]
        })?;
        let before = listeners(&self.door);
        if let Err(error) = self.door.apply(plan, &lists::good(&read), access_log.as_ref()).await {
            tracing::error!("{error}");
            self.undo_reopen(&server.access_log);
            return Err(vec![bare("error", error.to_string())]);
        }
        for (name, address) in
            listeners(&self.door).iter().filter(|listener| !before.contains(listener))
        {
            tracing::info!(%name, %address, "listening");
        }
        self.metrics.log_to(access_log.clone());
        self.access_log = access_log;
        self.server = server;
        self.loaded = watched.as_ref().and_then(|file| file.content.clone().ok());
        let lists = self.lists.replace(read, &self.metrics);
        self.watch.follow(watched.into_iter().chain(lists).collect());
        Ok(problems)
    }

    /// Settings that differ and stay as they were at the start.
    fn fixed_settings(&self, plan: &Plan) -> Vec<String> {
        let new = &plan.server;
        let mut messages = Vec::new();
        if self.door.has_cache() && plan.cache.disk != self.door.plan().cache.disk {
            messages.push("`cache.disk` is taken over at the next start".to_owned());
        }
        if new.workers != self.server.workers {
            messages.push("`server.workers` is taken over at the next start".to_owned());
        }
        if new.admin != self.server.admin {
            messages.push("`server.admin` is taken over at the next start".to_owned());
        }
        if new.admin_token != self.server.admin_token {
            messages.push("`server.admin-token` is taken over at the next start".to_owned());
        }
        messages
    }

    /// The log that the new settings ask for; the same one, opened anew, where that is possible.
    fn access_log(&self, new: &AccessLogPlan) -> std::io::Result<Option<AccessLog>> {
        let Some(destination) = destination(new) else { return Ok(None) };
        let Some(log) = &self.access_log else { return AccessLog::start(&destination).map(Some) };
        // There is nothing to open anew then.
        if destination == Destination::Stdout && self.server.access_log == *new {
            return Ok(Some(log.clone()));
        }
        match log.reopen(&destination) {
            Ok(()) => Ok(Some(log.clone())),
            // The old one ends when what it is stuck with gives way.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tracing::warn!("the access log is stuck; another one is begun");
                AccessLog::start(&destination).map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

impl Reloader {
    /// Sends the log in place back where it went, after `refused` was not put in place.
    fn undo_reopen(&self, refused: &AccessLogPlan) {
        let before =
            destination(&self.server.access_log).filter(|_| self.server.access_log != *refused);
        if let (Some(log), Some(destination)) = (&self.access_log, before)
            && let Err(error) = log.reopen(&destination)
        {
            tracing::error!(%error, "the access log cannot go back to where it was");
        }
    }
}

/// Where the log goes, if anywhere.
pub(crate) fn destination(plan: &AccessLogPlan) -> Option<Destination> {
    match plan {
        AccessLogPlan::Off => None,
        AccessLogPlan::Stdout => Some(Destination::Stdout),
        AccessLogPlan::File(path) => Some(Destination::File(path.clone())),
    }
}

fn listeners(door: &Door) -> Vec<(String, std::net::SocketAddr)> {
    door.addresses().map(|(name, address)| (name.to_owned(), address)).collect()
}

fn bare(severity: &'static str, message: String) -> Problem {
    Problem { severity, file: String::new(), line: 0, column: 0, message, help: None }
}

/// A file with servers that stays out, as a warning.
fn unusable(read: &lists::Read, trouble: &lists::Trouble) -> Problem {
    let file = read.path.display();
    let upstream = &read.upstream;
    let message = format!("the servers of `{upstream}` in {file} cannot be used: {trouble}");
    bare("warning", message)
}

/// Problems as the API tells them.
pub(crate) fn described(problems: &Problems) -> Vec<Problem> {
    let describe = |problem: &seawall_config::Problem| Problem {
        severity: problem.severity().as_str(),
        file: problems.file().to_owned(),
        line: problem.line(),
        column: problem.column(),
        message: problem.message().to_owned(),
        help: problem.help().map(str::to_owned),
    };
    problems.iter().map(describe).collect()
}
