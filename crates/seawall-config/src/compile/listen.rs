//! Listeners of the plan: there is one, and no two ask for the same address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names::Upstreams;
use super::{Seen, number};
use crate::config::{Listen, Server};
use crate::plan::{Listener, ListenerLimits, ListenerTimeouts, Protocol};
use crate::read::Given;
use crate::report::Report;
use crate::section::{Named, Tables};
use crate::source::Span;

pub(super) fn compile(
    listen: &Tables<Named<Listen>>,
    server: &Server,
    upstreams: &Upstreams<'_>,
    report: &mut Report,
) -> Vec<Option<Listener>> {
    if listen.is_empty() && listen.complete {
        let help = "add for example:\n[listen.web]\naddress = \"0.0.0.0:8080\"";
        report.missing(Span::FILE, "there is no listener", Some(help.to_owned()));
    }
    check_addresses(listen, server, report);
    listen.iter().map(|named| one(named, server, upstreams, report)).collect()
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

fn one(
    named: &Named<Listen>,
    server: &Server,
    upstreams: &Upstreams<'_>,
    report: &mut Report,
) -> Option<Listener> {
    let section = named.section.as_ref()?;
    if section.tcp.is_there() {
        check_http_only(section, report);
    }
    let protocol = match &section.tcp {
        Given::Absent => Some(Protocol::Http),
        Given::Unreadable => None,
        Given::Value(to) => upstreams.find("tcp", to, report).map(Protocol::Tcp),
    };
    let trusted = matches!(server.trust, Given::Unreadable) || !server.trust.items().is_empty();
    if section.proxy_protocol.value && !trusted {
        let message = "nobody is trusted to say where connections come from";
        let help = "name the proxies before this listener: [server] trust = [\"10.0.0.0/8\"]";
        report.missing(section.proxy_protocol.span, message, Some(help.to_owned()));
    }
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
        protocol: protocol?,
        proxy_protocol: section.proxy_protocol.value,
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

/// Reports what means nothing where no HTTP is spoken.
fn check_http_only(section: &Listen, report: &mut Report) {
    let (timeouts, limits) = (&section.timeouts, &section.limits);
    let given = [
        ("timeouts.head", timeouts.head.given, timeouts.head.span),
        ("timeouts.idle", timeouts.idle.given, timeouts.idle.span),
        ("timeouts.body", timeouts.body.given, timeouts.body.span),
        ("limits.head", limits.head.given, limits.head.span),
        ("limits.headers", limits.headers.given, limits.headers.span),
        ("limits.body", limits.body.given, limits.body.span),
        ("limits.progress", limits.progress.given, limits.progress.span),
    ];
    // A PROXY protocol header is a head too.
    let is_head = |key: &str| key == "timeouts.head" && section.proxy_protocol.value;
    let given = given.into_iter().filter(|(key, given, _)| *given && !is_head(key));
    for (key, _, span) in given {
        let message = format!("`{key}` is about HTTP, and `tcp` passes everything on unread");
        let help = match key {
            "timeouts.idle" | "timeouts.body" => {
                "a silent connection ends after `timeouts.tunnel`; take this away".to_owned()
            }
            _ => format!("take `{key}` away"),
        };
        report.error(span, message, Some(help));
    }
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
