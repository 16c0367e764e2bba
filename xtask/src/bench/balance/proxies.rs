//! The proxies that are compared, and the balancer each is told to use. What is not about
//! balancing is set as for `cargo xtask bench http`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;

use crate::bench::peers::{Server, haproxy_proxy, nginx_proxy, seawall_config};

/// Who is measured, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Proxy {
    /// Seawall, in turn.
    SeawallRoundRobin,
    /// Seawall, the less busy of two.
    SeawallTwoChoices,
    /// The same, with `hedge` and `retry`.
    SeawallTwoChoicesHedge,
    /// Seawall, the one of two that promises the sooner answer.
    SeawallLeastLatency,
    /// The same, with `hedge` and `retry`.
    SeawallLeastLatencyHedge,
    /// NGINX, in turn.
    NginxRoundRobin,
    /// NGINX, the least busy.
    NginxLeastConn,
    /// HAProxy, the least busy.
    HaproxyLeastconn,
    /// HAProxy, the less busy of two.
    HaproxyRandom,
}

/// A second attempt beside the first, and one after it.
const ATTEMPTS: &str = "hedge = true\nretry = 2\n";

impl Proxy {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SeawallRoundRobin => "Seawall `round-robin`",
            Self::SeawallTwoChoices => "Seawall `two-choices`",
            Self::SeawallTwoChoicesHedge => "Seawall `two-choices`, `hedge`, `retry`",
            Self::SeawallLeastLatency => "Seawall `least-latency`",
            Self::SeawallLeastLatencyHedge => "Seawall `least-latency`, `hedge`, `retry`",
            Self::NginxRoundRobin => "NGINX (in turn)",
            Self::NginxLeastConn => "NGINX `least_conn`",
            Self::HaproxyLeastconn => "HAProxy `leastconn`",
            Self::HaproxyRandom => "HAProxy `random(2)`",
        }
    }

    /// Whether it is one of ours.
    pub(super) fn is_seawall(self) -> bool {
        self.balance().is_some()
    }

    /// Whether it should be ahead of NGINX and HAProxy. In turn nobody can be.
    pub(super) fn is_judged(self) -> bool {
        self.is_seawall() && self != Self::SeawallRoundRobin
    }

    /// What has to be installed for it.
    pub(super) fn installed_as(self) -> Option<&'static str> {
        match self {
            Self::NginxRoundRobin | Self::NginxLeastConn => Some("nginx"),
            Self::HaproxyLeastconn | Self::HaproxyRandom => Some("haproxy"),
            _ => None,
        }
    }

    /// For Seawall: the balancer, and what the route has besides.
    fn balance(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SeawallRoundRobin => Some(("round-robin", "")),
            Self::SeawallTwoChoices => Some(("two-choices", "")),
            Self::SeawallTwoChoicesHedge => Some(("two-choices", ATTEMPTS)),
            Self::SeawallLeastLatency => Some(("least-latency", "")),
            Self::SeawallLeastLatencyHedge => Some(("least-latency", ATTEMPTS)),
            _ => None,
        }
    }

    /// Starts it on these cores in front of these servers.
    pub(super) fn start(
        self,
        cores: &str,
        seawall: Option<&Path>,
        servers: &[SocketAddr],
    ) -> anyhow::Result<Server> {
        let nginx = |balance: &str| {
            let block = nginx_servers(balance, servers);
            Server::nginx(cores, |address| nginx_proxy(address, &block))
        };
        let haproxy = |balance: &str| {
            let lines = haproxy_servers(balance, servers);
            Server::haproxy(cores, |address| haproxy_proxy(address, &lines))
        };
        match self {
            Self::NginxRoundRobin => nginx(""),
            Self::NginxLeastConn => nginx("least_conn; "),
            Self::HaproxyLeastconn => haproxy("leastconn"),
            Self::HaproxyRandom => haproxy("random(2)"),
            _ => {
                let binary = seawall.context("no seawall to measure")?;
                let (balance, route) = self.balance().context("no balancer")?;
                let config = seawall_config(1, &seawall_servers(balance, servers), route);
                Server::seawall(cores, binary, &config)
            }
        }
        .with_context(|| format!("cannot start {}", self.name()))
    }
}

fn seawall_servers(balance: &str, servers: &[SocketAddr]) -> String {
    let list: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    format!(
        "servers = [{}]\nbalance = \"{balance}\"\nkeepalive = {{ idle = 1024 }}\n",
        list.join(", ")
    )
}

fn nginx_servers(balance: &str, servers: &[SocketAddr]) -> String {
    let mut block = balance.to_owned();
    for server in servers {
        // Writing to a String cannot fail.
        write!(block, "server {server}; ").ok();
    }
    block
}

fn haproxy_servers(balance: &str, servers: &[SocketAddr]) -> String {
    let mut lines = format!("  balance {balance}\n");
    for (at, server) in servers.iter().enumerate() {
        // Writing to a String cannot fail.
        writeln!(lines, "  server s{at} {server}").ok();
    }
    lines
}
