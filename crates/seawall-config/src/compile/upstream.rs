//! Upstreams of the plan: no server twice, and none that is Seawall itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Seen, listen, number};
use crate::config::{Listen, ServerEntry, Upstream};
use crate::plan::{self, Keepalive, ServerAddress, ServerSpec, UpstreamLimits};
use crate::read::At;
use crate::report::Report;
use crate::section::Named;

pub(super) fn compile(
    upstreams: &[Named<Upstream>],
    listeners: &[Named<Listen>],
    report: &mut Report,
) -> Vec<Option<plan::Upstream>> {
    upstreams.iter().map(|named| one(named, listeners, report)).collect()
}

fn one(
    named: &Named<Upstream>,
    listeners: &[Named<Listen>],
    report: &mut Report,
) -> Option<plan::Upstream> {
    let section = named.section.as_ref()?;
    let mut seen = Seen::new();
    let mut servers = Vec::with_capacity(section.servers.value.len());
    for server in &section.servers.value {
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
        servers.push(ServerSpec {
            weight: u32::try_from(server.value.weight.value).unwrap_or(u32::MAX),
            ..ServerSpec::new(address.clone())
        });
    }
    let (keepalive, limits) = (&section.keepalive, &section.limits);
    Some(plan::Upstream {
        name: Arc::from(named.name.value.as_str()),
        servers,
        servers_file: None,
        balance: section.balance.value.clone(),
        sticky: None,
        panic: 500,
        slow_start: None,
        health: None,
        eject: None,
        breaker: None,
        max_in_flight: plan::MaxInFlight::default(),
        queue: plan::Queue::default(),
        proxy_protocol: None,
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
