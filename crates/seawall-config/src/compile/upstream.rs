//! Upstreams of the plan: no server twice, and none that is Seawall itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Seen, balance, breaker, eject, health, listen, number, queue, small};
use crate::config::{Config, Listen, ServerEntry, Upstream};
use crate::plan::{self, Keepalive, ServerAddress, ServerSpec, UpstreamLimits};
use crate::read::{At, Given};
use crate::report::Report;
use crate::section::Named;
use crate::surroundings::Surroundings;

pub(super) fn compile(
    config: &Config,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Option<plan::Upstream>> {
    check_zones(config, report);
    let all = config.upstream.iter();
    all.map(|named| one(named, &config.listen, around, report)).collect()
}

fn one(
    named: &Named<Upstream>,
    listeners: &[Named<Listen>],
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<plan::Upstream> {
    let section = named.section.as_ref()?;
    let servers = servers(named, section, listeners, report);
    let servers_file = section.servers_file.value();
    let (keepalive, limits) = (&section.keepalive, &section.limits);
    Some(plan::Upstream {
        name: Arc::from(named.name.value.as_str()),
        servers,
        servers_file: servers_file.map(|at| around.folder.join(&at.value.value)),
        balance: balance::balance(section, report),
        sticky: balance::sticky(section, report),
        panic: section.panic.value,
        slow_start: section.slow_start.value().map(|at| at.value),
        health: health::compile(section, report),
        eject: eject::compile(section, report),
        breaker: breaker::compile(section, report),
        max_in_flight: queue::max_in_flight(section, report),
        queue: queue::queue(section, report),
        proxy_protocol: section.proxy_protocol.value().map(|at| at.value),
        keepalive: Keepalive {
            idle: number(keepalive.idle.value),
            timeout: keepalive.timeout.value,
        },
        connect_timeout: section.connect_timeout.value,
        idle_timeout: section.idle_timeout.value,
        limits: UpstreamLimits {
            connections: number(limits.connections.value),
            head: number(limits.head.value),
            headers: number(limits.headers.value),
        },
    })
}

fn servers(
    named: &Named<Upstream>,
    section: &Upstream,
    listeners: &[Named<Listen>],
    report: &mut Report,
) -> Vec<ServerSpec> {
    let help = "or `servers-file = \"servers.toml\"`";
    match &section.servers {
        _ if section.servers_file.is_there() => {}
        Given::Absent => {
            let message = format!("[upstream.{}] has no `servers`", named.name.value);
            let help = format!("add `servers = [\"127.0.0.1:3000\"]`, {help}");
            report.missing(named.span, message, Some(help));
        }
        Given::Value(at) if at.value.is_empty() => {
            let help = format!("put at least one item into it, {help}");
            report.error(at.span, "this list is empty", Some(help));
        }
        Given::Value(_) | Given::Unreadable => {}
    }
    let (mut seen, mut servers) = (Seen::new(), Vec::new());
    for server in section.servers.items() {
        let address = &server.value.address.value;
        if let Some(other) = seen.before(address.clone(), server.span) {
            let line = report.line(other);
            let message = format!(
                "this server is already in the upstream `{}`, on line {line}",
                named.name.value
            );
            let help = "name it once; give it a larger share with { address = \"…\", weight = 2 }";
            report.error(server.span, message, Some(help.to_owned()));
        }
        check_for_loop(server, listeners, report);
        servers.push(spec(&server.value));
    }
    servers
}

/// Whether an upstream can never have more than one server.
pub(super) fn is_alone(section: &Upstream) -> bool {
    let alone = match section.servers.items() {
        [server] => matches!(server.value.address.value, ServerAddress::Socket(_)),
        _ => false,
    };
    alone && !section.servers_file.is_there()
}

/// A server of the plan.
pub(crate) fn spec(entry: &ServerEntry) -> ServerSpec {
    ServerSpec {
        address: entry.address.value.clone(),
        weight: small(entry.weight.value),
        zone: entry.zone.value().map(|at| Arc::from(at.value.as_str())),
        priority: u8::try_from(entry.priority.value).unwrap_or(u8::MAX),
    }
}

/// Warns of servers with a zone when nobody knows which one is near.
fn check_zones(config: &Config, report: &mut Report) {
    if config.server.zone.is_there() {
        return;
    }
    let sections = config.upstream.iter().filter_map(|named| named.section.as_ref());
    let mut servers = sections.flat_map(|section| section.servers.items());
    if let Some(zone) = servers.find_map(|server| server.value.zone.value()) {
        let message = "zones mean nothing here: `server.zone` does not say where Seawall runs";
        let help = "add [server] zone = \"${ZONE}\", or take the zones of servers away";
        report.warning(zone.span, message, Some(help.to_owned()));
    }
}

/// Refuses a server that is one of our listeners.
fn check_for_loop(server: &At<ServerEntry>, listeners: &[Named<Listen>], report: &mut Report) {
    for named in listeners {
        let Some(section) = &named.section else {
            continue;
        };
        if loops(&server.value.address.value, section.address.value) {
            let message = format!(
                "this server is Seawall itself: the listener `{}` has that address",
                named.name.value
            );
            report.error(server.span, message, Some(LOOP_HELP.to_owned()));
            return;
        }
    }
}

/// How to mend a server that is a listener of ours.
pub(crate) const LOOP_HELP: &str =
    "write the address of your application; it and the listener need different ports";

/// Whether a server is what listens on `listener`: each request would be forwarded to ourselves
/// until a limit ends it. An address of another machine on the port of an unspecified listener is
/// no loop as far as can be known here.
pub(crate) fn loops(server: &ServerAddress, listener: SocketAddr) -> bool {
    let same = |address: SocketAddr| {
        let exact = listener.ip().to_canonical() == address.ip().to_canonical();
        listen::takes(listener, address) && (exact || is_loopback(address.ip()))
    };
    match server {
        ServerAddress::Socket(address) => same(*address),
        ServerAddress::Name { host, port } if &**host == "localhost" => {
            same(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
                || same(SocketAddr::from((Ipv6Addr::LOCALHOST, *port)))
        }
        ServerAddress::Name { .. } | ServerAddress::Service(_) => false,
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
