//! `[listen.NAME]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::{GIB, KIB, LONGEST, MIB, SHORTEST, TIB, UPSTREAM};
use crate::address;
use crate::rules::{Boolean, Integer, Parsed, Size, Time};
use crate::section::section;
use crate::text::Text;

section! {
    /// A listener. There must be at least one, and each has an address of its own. The name
    /// appears in logs and metrics. Requests go through the [routes](#route), unless the listener
    /// has `tcp`; then its keys that are about HTTP are errors.
    Listen {
        /// The address and port to listen on. `":8080"` listens on every address of the machine,
        /// IPv6 and IPv4, and is the same as `"[::]:8080"`. Port 0 takes a free port.
        required "address" address: SocketAddr, ADDRESS;
        /// The upstream that everything sent here goes to as it is, without a look at it: TCP
        /// instead of HTTP. A server is chosen once for each connection, and no route is asked.
        optional "tcp" tcp: Text, UPSTREAM;
        /// Whether trusted peers (`server.trust`, which must name some) begin each connection with
        /// a PROXY protocol header, version 1 or 2, that tells the client's address. Connections of
        /// other peers are taken as they are, and a header in them is not believed.
        default "proxy-protocol" proxy_protocol: bool = false, Boolean;
        /// How long to wait for clients.
        nested "timeouts" timeouts: ListenTimeouts;
        /// How much clients may ask for.
        nested "limits" limits: ListenLimits;
    }
}

section! {
    /// How long to wait for clients.
    ListenTimeouts {
        /// HTTP: from the first byte of a request to the end of its head. With `proxy-protocol`: from
        /// the beginning of a trusted peer's connection to the end of the header, too.
        default "head" head: Duration = Duration::from_secs(10), Time(SHORTEST, LONGEST);
        /// HTTP: how long a kept-alive connection may stay without a request.
        default "idle" idle: Duration = Duration::from_secs(75), Time(SHORTEST, LONGEST);
        /// HTTP: the window in which `limits.progress` bytes of a body must move, in either direction.
        default "body" body: Duration = Duration::from_secs(30), Time(SHORTEST, LONGEST);
        /// How long an upgraded connection (a WebSocket), or one that is proxied as TCP, may be
        /// silent in both directions.
        default "tunnel" tunnel: Duration = Duration::from_secs(60 * 60), Time(SHORTEST, LONGEST);
    }
}

section! {
    /// How much clients may ask for. What is beyond a limit is refused.
    ListenLimits {
        /// HTTP: bytes of a request line and its header fields.
        default "head" head: u64 = 32 * KIB, Size(KIB, MIB);
        /// HTTP: header fields of a request, and as many trailers.
        default "headers" headers: u64 = 100, Integer(1, 1_000);
        /// HTTP: bytes of a request body.
        default "body" body: u64 = GIB, Size(0, 16 * TIB);
        /// Open connections on this listener, all workers together.
        default "connections" connections: u64 = 100_000, Integer(1, 10_000_000);
        /// Open connections from one client: one IPv4 address, or one IPv6 network of 64 bits.
        /// Trusted peers (`server.trust`) are exempt. No limit when the key is absent.
        optional "connections-per-client" connections_per_client: u64, Integer(1, 10_000_000);
        /// HTTP: fewest bytes of a body that must move within `timeouts.body`.
        default "progress" progress: u64 = KIB, Size(1, GIB);
    }
}

const ADDRESS: Parsed<SocketAddr> = Parsed {
    kind: "an address with a port",
    example: "0.0.0.0:8080",
    limits: "",
    parse: address::listen,
};
