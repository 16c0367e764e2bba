//! Who is at the other end: the peer of the connection, and behind a trusted one the client that it
//! names.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::config::Config;

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    address: IpAddr,
    config: &'a Config,
}

impl<'a> Peer<'a> {
    /// The peer with this address.
    pub fn new(address: IpAddr, config: &'a Config) -> Peer<'a> {
        // An IPv4 client of a socket for both is written as one of IPv6.
        Peer { address: address.to_canonical(), config }
    }

    /// Whether what it says of clients is believed.
    pub fn is_trusted(self) -> bool {
        self.config.trusts(self.address)
    }

    /// The client: the last in `X-Forwarded-For` that is not itself trusted, as far as those who
    /// say so are.
    pub fn client(self, headers: &HeaderMap) -> IpAddr {
        let mut client = self.address;
        if !self.is_trusted() {
            return client;
        }
        let fields = headers.get_all("x-forwarded-for").iter().rev();
        // What is no text is no address either, where it stands: a proxy may have written behind it.
        let names = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        for name in names {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let Some(address) = address(name.trim()) else { break };
            client = address;
            if !self.config.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether Seawall has counted this request or will, so that it is not counted here.
    pub fn has_reported(self, headers: &HeaderMap) -> bool {
        headers.contains_key("seawall-reported") && self.is_trusted()
    }
}

/// An address, perhaps with a port, as different proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next()?;
    let parsed = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_trusted_peers_name_clients() {
        let config = Config::parse("trust = [\"10.0.0.0/8\", \"::1\"]", "f").expect("it is fine");
        for (peer, fields, client) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("::1", &["6.6.6.6, 1.1.1.1, 10.2.3.4"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.2.3.4"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1:4711"], "1.1.1.1"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["6.6.6.6, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // A proxy that adds to the last field, and a client that wrote something else there.
            ("10.0.0.1", &["6.6.6.6", "ÿ, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "ÿ"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                let field = HeaderValue::from_bytes(field.as_bytes()).expect("a value");
                headers.append("x-forwarded-for", field);
            }
            let peer = Peer::new(peer.parse().expect("an address"), &config);
            assert_eq!(peer.client(&headers).to_string(), client, "{peer:?} {fields:?}");
        }
    }

    #[test]
    fn only_trusted_peers_have_reported() {
        let config = Config::parse("trust = [\"10.0.0.0/8\"]", "f").expect("it is fine");
        let mut headers = HeaderMap::new();
        headers.insert("seawall-reported", "1".parse().expect("a value"));
        let peer = |text: &str| Peer::new(text.parse().expect("an address"), &config);
        assert!(peer("10.0.0.1").has_reported(&headers));
        assert!(!peer("11.0.0.1").has_reported(&headers));
        assert!(!peer("10.0.0.1").has_reported(&HeaderMap::new()));
    }
}
