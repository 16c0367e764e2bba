//! Hosts: patterns of routes, and what is sent in `Host`.

use std::net::IpAddr;

use crate::address::{bare_ip, dns_name};
use crate::plan::HostPattern;
use crate::rules::Fault;
use crate::text::Text;

/// Reads `shop.example.com`, `*.example.com`, `192.0.2.7` or `[::1]`.
pub(crate) fn pattern(text: &Text) -> Result<HostPattern, Fault> {
    let value = text.value.as_str();
    let fault = |message: String, help: String| Err(Fault::whole(text, message, help));
    let form = "write for example \"shop.example.com\" or \"*.example.com\"";
    if value == "*" {
        return fault(
            "`*` is not a host".to_owned(),
            "leave `host` away to match any host".to_owned(),
        );
    }
    if value.contains("://") || value.contains('/') {
        let help = format!("{form}; a path goes into `path`");
        return fault(format!("{} is more than a host", text.shown()), help);
    }
    if let Some(ip) = bare_ip(value) {
        return Ok(HostPattern::Exact(match ip {
            IpAddr::V4(ip) => ip.to_string().into(),
            IpAddr::V6(ip) => format!("[{ip}]").into(),
        }));
    }
    if let Some((host, port)) = value.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        let message = format!("{} has a port", text.shown());
        let help = "drop the port: hosts are compared without it";
        return Err(Fault::part(host.len()..value.len(), message, help));
    }
    let (below, name) = match value.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, value),
    };
    if name.contains('*') {
        let message = format!("{} has a `*` inside", text.shown());
        return fault(
            message,
            "a `*` stands at the front, for everything below a name: \"*.example.com\"".to_owned(),
        );
    }
    match dns_name(name) {
        Ok(name) if below => Ok(HostPattern::Below(name.into())),
        Ok(name) => Ok(HostPattern::Exact(name.into())),
        Err(reason) => fault(format!("{} is not a host: {reason}", text.shown()), form.to_owned()),
    }
}

/// Reads a host as it is sent in `Host`: a name or an address, with a port or without.
pub(crate) fn authority(text: &Text) -> Result<Box<str>, Fault> {
    let value = text.value.as_str();
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if bare_ip(value).is_none() => (host, Some(port)),
        _ => (value, None),
    };
    let port_is_good = port
        .is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let plain = match bare_ip(host) {
        Some(IpAddr::V6(ip)) => Some(format!("[{ip}]")),
        Some(IpAddr::V4(ip)) => Some(ip.to_string()),
        None => dns_name(host).ok(),
    };
    match (plain, port) {
        (Some(host), None) => Ok(host.into()),
        (Some(host), Some(port)) if port_is_good => Ok(format!("{host}:{port}").into()),
        _ => {
            let message = format!("{} is not a host", text.shown());
            let help = "write for example \"app.example.com\" or \"app.example.com:8080\"";
            Err(Fault::whole(text, message, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.into()));
        for (text, expect) in [
            ("Shop.Example.com", exact("shop.example.com")),
            ("shop.example.com.", exact("shop.example.com")),
            ("localhost", exact("localhost")),
            ("192.0.2.7", exact("192.0.2.7")),
            ("::1", exact("[::1]")),
            ("[2001:DB8::0:1]", exact("[2001:db8::1]")),
            ("*.Example.com", Ok(HostPattern::Below("example.com".into()))),
            ("*", Err("`*` is not a host")),
            ("https://example.com", Err("`https://example.com` is more than a host")),
            ("example.com/x", Err("`example.com/x` is more than a host")),
            ("example.com:8080", Err("`example.com:8080` has a port")),
            ("a.*.com", Err("`a.*.com` has a `*` inside")),
            ("*example.com", Err("`*example.com` has a `*` inside")),
            ("", Err("`` is not a host: it is empty")),
            ("*.", Err("`*.` is not a host: it is empty")),
            (
                "ü.com",
                Err("`ü.com` is not a host: write names with other letters in their `xn--` form"),
            ),
        ] {
            let found = pattern(&Text::plain(text)).map_err(|fault| fault.message);
            assert_eq!(found, expect.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn authorities() {
        for (text, expect) in [
            ("App.example.com", "app.example.com"),
            ("app:8080", "app:8080"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("::1", "[::1]"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(authority(&Text::plain(text)), Ok(expect.into()), "{text}");
        }
        for text in ["", "a b", "a/b", "http://a", "a:", "a:x", "a:65536", ":80", "a\r\nb", "*.a"] {
            assert!(authority(&Text::plain(text)).is_err(), "{text}");
        }
    }
}
