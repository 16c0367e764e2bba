//! Listeners of the plan: there is one, and no two ask for the same address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Seen, number};
use crate::config::{Listen, Server};
use crate::plan::{Listener, ListenerLimits, ListenerTimeouts, Protocol};
use crate::report::Report;
use crate::section::{Named, Tables};
use crate::source::Span;

pub(super) fn compile(
    listen: &Tables<Named<Listen>>,
    server: &Server,
    report: &mut Report,
) -> Vec<Option<Listener>> {
    if listen.is_empty() && listen.complete {
        let help = "add for example:\n[listen.web]\naddress = \"0.0.0.0:8080\"";
        report.missing(Span::FILE, "there is no listener", Some(help.to_owned()));
    }
    check_addresses(listen, server, report);
    listen.iter().map(|named| one(named, report)).collect()
}

/// Whether a connection to `address` reaches something that listens on `listener`. An unspecified
/// address listens on all; `[::]` takes IPv4 as well.
pub(super) fn takes(listener: SocketAddr, address: SocketAddr) -> bool {
    let (on, to) = (listener.ip().to_canonical(), address.ip().to_canonical());
    let all = match on {
        IpAddr::V4(ip) => ip.is_unspecified() && to.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    listener.port() == address.port() && listener.port() != 0 && (all || on == to)
}

fn one(named: &Named<Listen>, report: &mut Report) -> Option<Listener> {
    let section = named.section.as_ref()?;
    let (timeouts, limits) = (&section.timeouts, &section.limits);
    if let Some(per_client) = limits.connections_per_client.value()
        && per_client.value > limits.connections.value
    {
        let message = "a client can never have more connections than the listener";
        let help = format!("lower it below `connections`, which is {}", limits.connections.value);
        report.warning(per_client.span, message, Some(help));
    }
    Some(Listener {
        name: Arc::from(named.name.value.as_str()),
        address: section.address.value,
        protocol: Protocol::Http,
        proxy_protocol: false,
        timeouts: ListenerTimeouts {
            head: timeouts.head.value,
            idle: timeouts.idle.value,
            body: timeouts.body.value,
            tunnel: timeouts.tunnel.value,
        },
        limits: ListenerLimits {
            head: number(limits.head.value),
            headers: number(limits.headers.value),
            body: limits.body.value,
            connections: number(limits.connections.value),
            connections_per_client: limits
                .connections_per_client
                .value()
                .map(|at| number(at.value)),
            progress: limits.progress.value,
        },
    })
}

fn check_addresses(listen: &[Named<Listen>], server: &Server, report: &mut Report) {
    let mut seen = Seen::new();
    for named in listen {
        let Some(section) = &named.section else {
            continue;
        };
        let at = &section.address;
        let key = (at.value.ip().to_canonical(), at.value.port());
        // An address beside the unspecified one of the same port is fine: the kernel hands a
        // connection to the listener that names its address.
        if at.value.port() != 0
            && let Some(other) = seen.before(key, at.span)
        {
            let message =
                format!("the listener on line {} already has `{}`", report.line(other), at.value);
            let help =
                "give each listener an address or port of its own; routes serve all listeners";
            report.error(at.span, message, Some(help.to_owned()));
        }
        if let Some(admin) = server.admin.value.0
            && (takes(at.value, admin) || takes(admin, at.value))
        {
            let message = format!(
                "the admin API cannot share `{admin}` with the listener `{}`",
                named.name.value
            );
            let help = "give the admin API a port of its own, for example \"127.0.0.1:9900\"";
            report.error(server.admin.span, message, Some(help.to_owned()));
        }
    }
}
