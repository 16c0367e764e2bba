//! `[listen.NAME]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::{GIB, KIB, LONGEST, MIB, SHORTEST, TIB};
use crate::address;
use crate::rules::{Integer, Parsed, Size, Time};
use crate::section::section;

section! {
    /// A listener. There must be at least one, and each has an address of its own. The name
    /// appears in logs and metrics.
    Listen {
        /// The address and port to listen on. `":8080"` listens on every address of the machine,
        /// IPv6 and IPv4, and is the same as `"[::]:8080"`. Port 0 takes a free port.
        required "address" address: SocketAddr, ADDRESS;
        /// How long to wait for clients.
        nested "timeouts" timeouts: ListenTimeouts;
        /// How much clients may ask for.
        nested "limits" limits: ListenLimits;
    }
}

section! {
    /// How long to wait for clients.
    ListenTimeouts {
        /// From the first byte of a request to the end of its head.
        default "head" head: Duration = Duration::from_secs(10), Time(SHORTEST, LONGEST);
        /// How long a kept-alive connection may stay without a request.
        default "idle" idle: Duration = Duration::from_secs(75), Time(SHORTEST, LONGEST);
        /// The window in which `limits.progress` bytes of a body must move, in either direction.
        default "body" body: Duration = Duration::from_secs(30), Time(SHORTEST, LONGEST);
        /// How long an upgraded connection (a WebSocket) may be silent in both directions.
        default "tunnel" tunnel: Duration = Duration::from_secs(60 * 60), Time(SHORTEST, LONGEST);
    }
}

section! {
    /// How much clients may ask for. What is beyond a limit is refused.
    ListenLimits {
        /// Bytes of a request line and its header fields.
        default "head" head: u64 = 32 * KIB, Size(KIB, MIB);
        /// Header fields of a request, and as many trailers.
        default "headers" headers: u64 = 100, Integer(1, 1_000);
        /// Bytes of a request body.
        default "body" body: u64 = GIB, Size(0, 16 * TIB);
        /// Open connections on this listener, all workers together.
        default "connections" connections: u64 = 100_000, Integer(1, 10_000_000);
        /// Open connections from one client: one IPv4 address, or one IPv6 network of 64 bits.
        /// Trusted peers (`server.trust`) are exempt. No limit when the key is absent.
        optional "connections-per-client" connections_per_client: u64, Integer(1, 10_000_000);
        /// Fewest bytes of a body that must move within `timeouts.body`.
        default "progress" progress: u64 = KIB, Size(1, GIB);
    }
}

const ADDRESS: Parsed<SocketAddr> = Parsed {
    kind: "an address with a port",
    example: "0.0.0.0:8080",
    limits: "",
    parse: address::listen,
};
