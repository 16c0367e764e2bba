//! Header fields on their way through: what belongs to one connection is taken out, what a server
//! must know about the client is put in, and the route's edits are made.

use std::net::IpAddr;
use std::time::Duration;

use seawall_config::plan::{Forward, HeaderEdits, Part, Route, ServerAddress, Template, Variable};
use seawall_h1::fields::{is_same_variable, list, trim};
use seawall_h1::head::TargetForm;
use seawall_h1::headers::Field;
use seawall_h1::{BodyLength, Headers, Known, RequestHead, ResponseHead, Version, encode};

use super::{deadline, trace};
use crate::message::Request;

/// How Seawall calls itself in `Via`.
pub(crate) const PSEUDONYM: &[u8] = b"seawall";

/// Writes the head of a request as a server is to see it, which has so much time `left`. Its path is
/// that of the request `as_asked`, or with the prefixes of the route stripped and added.
pub(crate) fn write_request(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
    as_asked: bool,
    left: Duration,
    out: &mut Vec<u8>,
) {
    let head = request.head;
    write_request_line(head, to, as_asked, out);
    let edits = &route.request_headers;
    let plain = edits.is_empty();
    let kept = |name: &[u8]| plain || !replaces(edits, name);
    if kept(b"host") {
        match head.authority() {
            b"" => write_default_host(request, to, out),
            authority => encode::field(b"Host", authority, out),
        }
    }
    head.headers.write(|field| is_forwarded(field, head, request.trusted) && kept(field.name), out);
    match head.body {
        BodyLength::Length(length) => encode::content_length(length, out),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::Empty | BodyLength::UntilClose => {}
    }
    if let Some(protocol) = head.upgrade() {
        encode::field(b"Connection", b"upgrade", out);
        encode::field(b"Upgrade", protocol, out);
    } else if wants_trailers(head) {
        out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n");
    }
    write_origin(request, &kept, out);
    if kept(b"x-request-deadline-ms") {
        deadline::write(head, left, out);
    }
    if kept(b"traceparent") {
        trace::write(request, out);
    }
    if !plain {
        write_edits(edits, request, route, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The host for a client of HTTP/1.0 that names none: an empty field would be right (RFC 9112
/// §3.2), but servers refuse it.
#[cold]
fn write_default_host(request: &Request<'_>, to: &Forward, out: &mut Vec<u8>) {
    let upstream = &request.running.compiled.plan.upstreams[to.upstream];
    let host = match upstream.servers.first().map(|server| &server.address) {
        Some(ServerAddress::Service(name)) => name.to_string(),
        Some(address) => address.to_string(),
        None => String::new(),
    };
    encode::field(b"Host", host.as_bytes(), out);
}

fn write_request_line(head: &RequestHead, to: &Forward, as_asked: bool, out: &mut Vec<u8>) {
    let path = head.path();
    let has_prefixes = to.strip_prefix.is_some() || to.add_prefix.is_some();
    if as_asked || !has_prefixes || head.form == TargetForm::Asterisk {
        return encode::request_line(head.method_text(), path, head.query(), out);
    }
    let prefix = to.strip_prefix.as_deref().unwrap_or_default();
    let rest = path.strip_prefix(prefix.as_bytes()).unwrap_or(path);
    // Exactly one slash between the parts: a path that began with two would be an authority.
    let rest = &rest[rest.iter().position(|&b| b != b'/').unwrap_or(rest.len())..];
    let mut new = Vec::with_capacity(path.len() + 32);
    new.extend_from_slice(to.add_prefix.as_deref().unwrap_or_default().as_bytes());
    if !rest.is_empty() || path.ends_with(b"/") || new.is_empty() {
        new.push(b'/');
    }
    new.extend_from_slice(rest);
    encode::request_line(head.method_text(), &new, head.query(), out);
}

/// Whether a field of a request goes to the server as it came.
#[inline]
fn is_forwarded(field: &Field<'_>, head: &RequestHead, trusted: bool) -> bool {
    use Known::*;
    match field.known {
        Host | ContentLength | Via | Forwarded | XForwardedFor | XForwardedHost
        | XForwardedProto | Traceparent => return false,
        Expect => return head.expects_continue,
        known if known.is_hop_by_hop() => return false,
        Other if deadline::is_told_by(field.name, head) => return false,
        Other if is_twin(field.name) || (!trusted && is_for_proxies(field.name)) => return false,
        _ => {}
    }
    !(head.connection.names_fields && is_named_by_connection(field.name, &head.headers))
}

/// Whether a name is one of the well-known with `_` for `-`: `Content_Length` is `Content-Length`
/// to servers that hand fields over as variables, and there is no honest use for it.
fn is_twin(name: &[u8]) -> bool {
    let mut dashed = [0u8; 20];
    let Some(dashed) = dashed.get_mut(..name.len()) else { return false };
    if !name.contains(&b'_') {
        return false;
    }
    for (to, from) in dashed.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    Known::of(dashed) != Known::Other
}

/// Whether `Connection` names the field (RFC 9110 §7.6.1). Fields that are not the client's to
/// take away are: they were handled before this is asked.
pub(crate) fn is_named_by_connection(name: &[u8], headers: &Headers) -> bool {
    headers
        .all_known(Known::Connection)
        .flat_map(list)
        .any(|option| option.eq_ignore_ascii_case(name))
}

/// Fields by which programs learn from proxies who the client is and what it asked for. Only
/// trusted peers may send them: taken from anyone, they are a way past every rule on addresses
/// (`X-Real-IP`) and paths (`X-Original-URL`).
fn is_for_proxies(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"x-original-url",
        b"x-original-uri",
        b"x-original-host",
        b"x-rewrite-url",
    ];
    const FAMILY: &[u8] = b"x-forwarded-";
    match name.first() {
        Some(b'x' | b'X' | b't' | b'T') if name.len() >= 9 => {
            name.get(..FAMILY.len()).is_some_and(|start| is_same_variable(start, FAMILY))
                || NAMES.iter().any(|one| is_same_variable(name, one))
        }
        _ => false,
    }
}

fn wants_trailers(head: &RequestHead) -> bool {
    head.headers
        .all_known(Known::Te)
        .flat_map(list)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// `Via`, `Forwarded` and `X-Forwarded-*`: the way that the request has come.
fn write_origin(request: &Request<'_>, kept: &impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    let head = request.head;
    let before = |known: Known, out: &mut Vec<u8>| {
        for value in head.headers.all_known(known).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    };
    if kept(b"via") {
        out.extend_from_slice(b"Via: ");
        before(Known::Via, out);
        out.extend_from_slice(encode::version_number(head.version).as_bytes());
        out.push(b' ');
        out.extend_from_slice(PSEUDONYM);
        out.extend_from_slice(b"\r\n");
    }
    if kept(b"x-forwarded-for") {
        out.extend_from_slice(b"X-Forwarded-For: ");
        if request.trusted {
            before(Known::XForwardedFor, out);
        }
        out.extend_from_slice(request.peer.plain.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let told = |known: Known| if request.trusted { head.headers.known(known) } else { None };
    if kept(b"x-forwarded-proto") {
        encode::field(b"X-Forwarded-Proto", told(Known::XForwardedProto).unwrap_or(b"http"), out);
    }
    let host = told(Known::XForwardedHost).unwrap_or(head.authority());
    if kept(b"x-forwarded-host") && !host.is_empty() {
        encode::field(b"X-Forwarded-Host", host, out);
    }
    if kept(b"forwarded") {
        out.extend_from_slice(b"Forwarded: ");
        if request.trusted {
            before(Known::Forwarded, out);
        }
        out.extend_from_slice(b"for=");
        out.extend_from_slice(request.peer.node.as_bytes());
        if !head.authority().is_empty() {
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(head.authority());
            out.push(b'"');
        }
        out.extend_from_slice(b";proto=http\r\n");
    }
}

/// Writes the head of an answer as the client is to see it, up to its framing, which the caller
/// adds with the empty line.
pub(crate) fn write_response(
    head: &ResponseHead,
    date: impl FnOnce() -> [u8; 29],
    out: &mut Vec<u8>,
) {
    encode::status_line(head.status, head.reason(), out);
    let mut dated = false;
    let goes = |field: &Field<'_>| match field.known {
        Known::ContentLength => false,
        // Without it, 426 does not say what to upgrade to (RFC 9110 §15.5.22).
        Known::Upgrade => head.status == 426,
        known if known.is_hop_by_hop() => false,
        known => {
            dated |= known == Known::Date;
            !(head.connection.names_fields && is_named_by_connection(field.name, &head.headers))
        }
    };
    head.headers.write(goes, out);
    if !dated {
        encode::field(b"Date", &date(), out);
    }
}

/// Makes the route's edits of an answer.
pub(crate) fn edit_response(request: &Request<'_>, route: &Route, head: &mut ResponseHead) {
    let edits = &route.response_headers;
    if edits.is_empty() {
        return;
    }
    for name in &edits.remove {
        head.headers.remove(name.as_bytes());
    }
    let mut value = Vec::new();
    for (name, template) in &edits.set {
        value.clear();
        fill(template, request, route, &mut value);
        head.headers.set(name.as_bytes(), &value);
    }
    for (name, template) in &edits.add {
        value.clear();
        fill(template, request, route, &mut value);
        head.headers.push(name.as_bytes(), &value);
    }
}

/// Whether the edits take `name` away or write it themselves. So that a client cannot send
/// `X_User` where `X-User` is set, names that differ in `_` and `-` only are one.
fn replaces(edits: &HeaderEdits, name: &[u8]) -> bool {
    let set = edits.set.iter().map(|(name, _)| name);
    edits.remove.iter().chain(set).any(|edited| is_same_variable(name, edited.as_bytes()))
}

fn write_edits(edits: &HeaderEdits, request: &Request<'_>, route: &Route, out: &mut Vec<u8>) {
    for (name, template) in edits.set.iter().chain(&edits.add) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        fill(template, request, route, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the text of a template.
pub(crate) fn fill(template: &Template, request: &Request<'_>, route: &Route, out: &mut Vec<u8>) {
    for part in &template.parts {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Variable(Variable::Scheme) => out.extend_from_slice(scheme(request)),
            Part::Variable(Variable::Host) => out.extend_from_slice(request.head.authority()),
            Part::Variable(Variable::Path) => {
                let path = request.head.path();
                // `//evil.example` would be another host.
                let slashes = path.iter().take_while(|&&b| b == b'/').count();
                out.extend_from_slice(&path[slashes.saturating_sub(1)..]);
            }
            Part::Variable(Variable::Query) => out.extend_from_slice(request.head.query()),
            Part::Variable(Variable::Method) => out.extend_from_slice(request.head.method_text()),
            Part::Variable(Variable::ClientIp) => write_client(request, out),
            Part::Variable(Variable::Route) => out.extend_from_slice(route.name.as_bytes()),
        }
    }
}

pub(crate) fn scheme(request: &Request<'_>) -> &'static [u8] {
    if is_secure(request) { b"https" } else { b"http" }
}

/// Whether the client came by TLS.
pub(crate) fn is_secure(request: &Request<'_>) -> bool {
    let told = request.head.headers.known(Known::XForwardedProto).filter(|_| request.trusted);
    told.is_some_and(|told| told.eq_ignore_ascii_case(b"https"))
}

/// The address of the client: the peer's, or what trusted peers tell. In `X-Forwarded-For`, each
/// proxy appends whom it saw, so the last address that is not a trusted proxy is the client.
pub(crate) fn write_client(request: &Request<'_>, out: &mut Vec<u8>) {
    if let Some(client) = told_client(request).filter(|_| request.trusted) {
        out.extend_from_slice(client.to_canonical().to_string().as_bytes());
        return;
    }
    out.extend_from_slice(request.peer.plain.as_bytes());
}

/// The address of the client, where something depends on it that not everybody may: `None` if the
/// request came by a proxy whose word is not taken, or that does not say for whom it asks.
pub(crate) fn client_of(request: &Request<'_>) -> Option<IpAddr> {
    let headers = &request.head.headers;
    let by_proxy = [Known::XForwardedFor, Known::Forwarded, Known::Via];
    if by_proxy.iter().all(|known| headers.known(*known).is_none()) {
        return Some(request.peer.address);
    }
    told_client(request).filter(|_| request.trusted).map(|client| client.to_canonical())
}

fn told_client(request: &Request<'_>) -> Option<IpAddr> {
    let server = &request.running.compiled.plan.server;
    let told = request.head.headers.all_known(Known::XForwardedFor).flat_map(list);
    let addresses: Vec<&[u8]> = told.collect();
    let mut client = None;
    for text in addresses.iter().rev() {
        let Some(address) = parse_address(text) else { break };
        client = Some(address);
        if !server.trusts(address) {
            break;
        }
    }
    client
}

/// An address, which some proxies write with a port or in brackets.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(trim(text)).ok()?;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
}

/// How a client of this version is told what becomes of the connection, if it must be told.
pub(crate) fn write_connection(version: Version, keep_alive: bool, out: &mut Vec<u8>) {
    match (version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}
