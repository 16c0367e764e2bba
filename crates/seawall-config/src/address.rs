//! Addresses: of listeners, of servers, of the resolver, of trusted peers; and names in the DNS.
//!
//! Never resolves anything. Called by the rules of [`crate::config`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::plan::ServerAddress;
use crate::rules::Fault;
use crate::source::quoted;
use crate::text::Text;

/// Where to listen: `0.0.0.0:80`, `[::]:80`, or `:80` for every address of both families.
pub(crate) fn listen(text: &Text) -> Result<SocketAddr, Fault> {
    let value = text.value.as_str();
    if let Ok(address) = value.parse() {
        return Ok(address);
    }
    if let Some(Ok(port)) = value.strip_prefix(':').map(port) {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    let fault = |message: &str, help: String| {
        Err(Fault::whole(text, format!("{} {message}", text.shown()), help))
    };
    let example =
        "write for example \"0.0.0.0:8080\", \"[::1]:8080\", or \":8080\" for every address";
    if let Ok(port) = port(value) {
        return fault(
            "is a port without an address",
            format!("write \":{port}\" for every address"),
        );
    }
    if let Some(Ok(port)) = value.strip_prefix("*:").map(port) {
        return fault("is not an address", format!("write \":{port}\" for every address"));
    }
    if let Some(ip) = bare_ip(value) {
        return fault("has no port", format!("write \"{}\"", SocketAddr::new(ip, 8080)));
    }
    if let Some(Ok(port)) = value.strip_prefix("localhost:").map(port) {
        let help = format!(
            "write \"127.0.0.1:{port}\" or \"[::1]:{port}\"; a listener has no name to look up"
        );
        return fault("is a name", help);
    }
    fault("is not an address with a port", example.to_owned())
}

/// Where a server is: an address or a DNS name, with a port; or a service.
pub(crate) fn server(text: &Text) -> Result<ServerAddress, Fault> {
    let value = text.value.as_str();
    let fault = |message: &str, help: String| {
        Err(Fault::whole(text, format!("{} {message}", text.shown()), help))
    };
    let named = |help: String, otherwise: &str| match text.is_from_environment() {
        true => otherwise.to_owned(),
        false => help,
    };
    if let Some(name) = value.strip_prefix("srv:") {
        return service(name, text);
    }
    let form = "write HOST:PORT, for example \"127.0.0.1:3000\" or \"app.internal:3000\"";

    if let Some((scheme, rest)) = value.split_once("://") {
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let mut help = named(format!("drop the scheme: write {}", with_port(rest)), form);
        if scheme.eq_ignore_ascii_case("https") {
            help.push_str("\nservers are spoken to without TLS in this version");
        }
        let range = 0..scheme.len() + 3;
        return Err(Fault::part(range, format!("{} has a scheme", text.shown()), help));
    }
    if value.starts_with("unix:") || value.starts_with('/') {
        return fault(
            "is not an address with a port",
            format!("{form}; Unix sockets are not supported"),
        );
    }
    if let Some(slash) = value.find('/') {
        let help = format!("{form}; a path goes into `add-prefix` of the route");
        return Err(Fault::part(slash..value.len(), format!("{} has a path", text.shown()), help));
    }
    if let Ok(address) = value.parse::<SocketAddr>() {
        if address.ip().is_unspecified() {
            let help = match address {
                SocketAddr::V4(_) => {
                    format!("write \"127.0.0.1:{}\" for this machine", address.port())
                }
                SocketAddr::V6(_) => format!("write \"[::1]:{}\" for this machine", address.port()),
            };
            return fault("is an address to listen on, not to connect to", named(help, form));
        }
        return match address.port() {
            0 => fault("has port 0", form.to_owned()),
            _ => Ok(ServerAddress::Socket(address)),
        };
    }
    if let Some(ip) = bare_ip(value) {
        let help = format!("write for example \"{}\"", SocketAddr::new(ip, 80));
        return fault("has no port", named(help, form));
    }
    let Some((host, digits)) = value.rsplit_once(':') else {
        return match port(value) {
            Ok(port) => fault(
                "is a port without a host",
                format!("write \"127.0.0.1:{port}\" for this machine"),
            ),
            Err(()) if dns_name(value).is_ok() => {
                fault("has no port", named(format!("write for example \"{value}:80\""), form))
            }
            Err(()) => fault("is not a host with a port", form.to_owned()),
        };
    };
    if host.is_empty() {
        let help = match port(digits) {
            Ok(port) => format!("write \"127.0.0.1:{port}\" for this machine"),
            Err(()) => form.to_owned(),
        };
        return fault("has no host", help);
    }
    let port = match port(digits) {
        Ok(port) if port > 0 => port,
        _ => {
            let range = host.len() + 1..value.len();
            let message = format!("{} is not a port", text.shown_part(digits));
            return Err(Fault::part(range, message, "ports are numbers from 1 to 65535"));
        }
    };
    match dns_name(host) {
        Ok(host) => Ok(ServerAddress::Name { host: Arc::from(host), port }),
        Err(reason) => {
            let message = format!("{} is not a host: {reason}", text.shown_part(host));
            Err(Fault::part(0..host.len(), message, form))
        }
    }
}

/// The DNS name of a service, behind `srv:`.
fn service(name: &str, text: &Text) -> Result<ServerAddress, Fault> {
    let range = text.value.len() - name.len()..text.value.len();
    let form = "write for example \"srv:_http._tcp.app.internal\"";
    let host = match name.rsplit_once(':') {
        Some((host, digits)) if port(digits).is_ok() && dns_name(host).is_ok() => host,
        _ => name,
    };
    if host.len() < name.len() {
        let message = format!("{} has a port", text.shown());
        let help = match text.is_from_environment() {
            true => "drop the port: the service tells it".to_owned(),
            false => format!("write \"srv:{host}\": the service tells its ports"),
        };
        return Err(Fault::part(range.start + host.len()..range.end, message, help));
    }
    match dns_name(name) {
        Ok(name) => Ok(ServerAddress::Service(Arc::from(name))),
        Err(reason) => {
            let message =
                format!("{} is not the name of a service: {reason}", text.shown_part(name));
            Err(Fault::part(range, message, form))
        }
    }
}

/// A DNS server: an address, with port 53 unless it says another.
pub(crate) fn resolver(text: &Text) -> Result<SocketAddr, Fault> {
    let value = text.value.as_str();
    let address = value.parse().ok();
    match address.or_else(|| bare_ip(value).map(|ip| SocketAddr::new(ip, 53))) {
        Some(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => {
            let message = format!("{} is not the address of a DNS server", text.shown());
            let help = "write for example \"10.0.0.2\" or \"10.0.0.2:5353\"; it cannot be a name";
            Err(Fault::whole(text, message, help))
        }
    }
}

/// A network as it is written: bits beyond the prefix are kept, for the caller to warn about.
pub(crate) fn network(text: &Text) -> Result<IpNet, Fault> {
    let value = text.value.as_str();
    let net = value.parse::<IpNet>().ok();
    let net = net.or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from));
    match net {
        Some(net) => Ok(plain_family(net)),
        None => {
            let message = format!("{} is not an address or network", text.shown());
            let help = "write for example \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"";
            Err(Fault::whole(text, message, help))
        }
    }
}

/// A DNS name in lower case without a trailing dot, or why it is none. Names whose last label is a
/// number are refused: they would be mistyped IPv4 addresses.
pub(crate) fn dns_name(name: &str) -> Result<String, &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err("it is empty");
    }
    if !name.is_ascii() {
        return Err("write names with other letters in their `xn--` form");
    }
    if name.len() > 253 {
        return Err("it has more than 253 characters");
    }
    for label in name.split('.') {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if label.is_empty() {
            return Err("it has an empty part between dots");
        }
        if label.len() > 63 {
            return Err("a part between dots has more than 63 characters");
        }
        if !label.bytes().all(allowed) {
            return Err("names have letters, digits, `-` and `_` between dots");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part between dots begins or ends with `-`");
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("it ends in a number like an IPv4 address, but it is none");
    }
    Ok(name.to_ascii_lowercase())
}

/// An address without a port, in brackets or not.
pub(crate) fn bare_ip(value: &str) -> Option<IpAddr> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => value.parse().ok(),
    }
}

/// `trust` compares IPv4-mapped addresses as IPv4, so networks of them must be IPv4 as well.
fn plain_family(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net {
        let prefix = v6.prefix_len().checked_sub(96);
        if let (Some(v4), Some(prefix)) = (v6.addr().to_ipv4_mapped(), prefix) {
            return Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4);
        }
    }
    net
}

fn port(digits: &str) -> Result<u16, ()> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or(())
}

fn with_port(rest: &str) -> String {
    let ported = rest.rsplit_once(':').is_some_and(|(_, digits)| port(digits).is_ok());
    quoted(&match ported || rest.is_empty() {
        true => rest.to_owned(),
        false => format!("{rest}:80"),
    })
    .replace('`', "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug>(
        parse: fn(&Text) -> Result<T, Fault>,
        value: &str,
    ) -> Result<T, String> {
        parse(&Text::plain(value)).map_err(|fault| fault.message)
    }

    #[test]
    fn listen_addresses() {
        for (text, address) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:80", "[::]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":8080", "[::]:8080"),
        ] {
            let address: SocketAddr = address.parse().expect("written here");
            assert_eq!(check(listen, text), Ok(address), "{text}");
        }
        for (text, message) in [
            ("8080", "`8080` is a port without an address"),
            ("*:80", "`*:80` is not an address"),
            ("127.0.0.1", "`127.0.0.1` has no port"),
            ("::1", "`::1` has no port"),
            ("[::1]", "`[::1]` has no port"),
            ("localhost:80", "`localhost:80` is a name"),
            ("example.com:80", "`example.com:80` is not an address with a port"),
            ("0.0.0.0:65536", "`0.0.0.0:65536` is not an address with a port"),
            (":99999", "`:99999` is not an address with a port"),
            ("", "`` is not an address with a port"),
            ("unix:/run/x", "`unix:/run/x` is not an address with a port"),
        ] {
            assert_eq!(check(listen, text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn server_addresses() {
        let name = |host: &str, port| ServerAddress::Name { host: Arc::from(host), port };
        let socket = |text: &str| ServerAddress::Socket(text.parse().expect("written here"));
        for (text, address) in [
            ("127.0.0.1:3000", socket("127.0.0.1:3000")),
            ("[::1]:3000", socket("[::1]:3000")),
            ("app:80", name("app", 80)),
            ("App.Internal.:8080", name("app.internal", 8080)),
            ("my_svc.ns:1", name("my_svc.ns", 1)),
            (
                "srv:_HTTP._tcp.App.internal.",
                ServerAddress::Service("_http._tcp.app.internal".into()),
            ),
            ("srv:app.service.consul", ServerAddress::Service("app.service.consul".into())),
        ] {
            assert_eq!(check(server, text), Ok(address), "{text}");
        }
        for (text, message) in [
            ("http://127.0.0.1:3000", "`http://127.0.0.1:3000` has a scheme"),
            ("127.0.0.1:3000/api", "`127.0.0.1:3000/api` has a path"),
            ("unix:/run/x.sock", "`unix:/run/x.sock` is not an address with a port"),
            ("0.0.0.0:80", "`0.0.0.0:80` is an address to listen on, not to connect to"),
            ("127.0.0.1:0", "`127.0.0.1:0` has port 0"),
            ("127.0.0.1", "`127.0.0.1` has no port"),
            ("::1", "`::1` has no port"),
            ("app", "`app` has no port"),
            ("3000", "`3000` is a port without a host"),
            (":3000", "`:3000` has no host"),
            ("app:", "`` is not a port"),
            ("app:http", "`http` is not a port"),
            ("app:0", "`0` is not a port"),
            ("app:65536", "`65536` is not a port"),
            ("app:+80", "`+80` is not a port"),
            (
                "256.0.0.1:80",
                "`256.0.0.1` is not a host: it ends in a number like an IPv4 address, but it is none",
            ),
            ("a..b:80", "`a..b` is not a host: it has an empty part between dots"),
            ("a b:80", "`a b` is not a host: names have letters, digits, `-` and `_` between dots"),
            ("-a:80", "`-a` is not a host: a part between dots begins or ends with `-`"),
            ("", "`` is not a host with a port"),
            ("srv:", "`` is not the name of a service: it is empty"),
            ("srv:_http._tcp.app:80", "`srv:_http._tcp.app:80` has a port"),
            (
                "srv:a b",
                "`a b` is not the name of a service: names have letters, digits, `-` and `_` between dots",
            ),
            (
                "srv:192.0.2.1",
                "`192.0.2.1` is not the name of a service: it ends in a number like an IPv4 address, but it is none",
            ),
        ] {
            assert_eq!(check(server, text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn schemes_are_dropped_in_the_help() {
        for (text, help) in [
            ("http://127.0.0.1:3000", "drop the scheme: write \"127.0.0.1:3000\""),
            ("http://app/x?y", "drop the scheme: write \"app:80\""),
            (
                "https://app:443/",
                "drop the scheme: write \"app:443\"\nservers are spoken to without TLS in this version",
            ),
        ] {
            let fault = server(&Text::plain(text)).expect_err(text);
            assert_eq!(fault.help.as_deref(), Some(help), "{text}");
        }
    }

    #[test]
    fn resolvers_and_networks() {
        for (text, address) in [
            ("1.1.1.1", "1.1.1.1:53"),
            ("1.1.1.1:5353", "1.1.1.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:54", "[::1]:54"),
        ] {
            let address: SocketAddr = address.parse().expect("written here");
            assert_eq!(check(resolver, text), Ok(address), "{text}");
        }
        for text in ["dns.example", "0.0.0.0", "1.1.1.1:0", ""] {
            assert!(check(resolver, text).is_err(), "{text}");
        }
        for (text, net) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.1.2.3/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            let net: IpNet = net.parse().expect("written here");
            assert_eq!(check(network, text), Ok(net), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "private", ""] {
            assert!(check(network, text).is_err(), "{text}");
        }
    }
}
