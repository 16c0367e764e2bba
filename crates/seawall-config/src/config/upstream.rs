//! `[upstream.NAME]`.

use std::time::Duration;

use super::{KIB, LONGEST, MIB, SHORTEST};
use crate::address;
use crate::plan::{Balance, ServerAddress};
use crate::read::At;
use crate::rules::{Integer, List, Parsed, Short, Size, Time, Word};
use crate::section::section;

section! {
    /// An upstream: servers that can all answer the same requests. Routes name it in `to`.
    Upstream {
        /// Its servers: each `"HOST:PORT"`, or a table when it has more to say. A name is looked
        /// up in the background, and every address it yields is a server of its own.
        required "servers" servers: Vec<At<ServerEntry>>, SERVERS;
        /// How a server is chosen: `"two-choices"` takes of two random servers the one with fewer
        /// requests in flight, `"round-robin"` takes them in turn. Both respect weights.
        default "balance" balance: Balance = Balance::TwoChoices, BALANCE;
        /// What becomes of connections between requests.
        nested "keepalive" keepalive: Keepalive;
        /// Time to establish one connection.
        default "connect-timeout" connect_timeout: Duration = Duration::from_secs(1), Time(SHORTEST, LONGEST_CONNECT);
        /// How long a server may be silent in the middle of an answer's body.
        default "idle-timeout" idle_timeout: Duration = Duration::from_secs(5 * 60), Time(SHORTEST, LONGEST);
        /// Limits on each server.
        nested "limits" limits: UpstreamLimits;
    }
}

section! {
    /// A server that has more to say than its address.
    ServerEntry {
        /// An address or DNS name, with a port and without a scheme.
        required "address" address: ServerAddress, ADDRESS;
        /// Its share of the requests relative to the other servers.
        default "weight" weight: u64 = 1, Integer(1, 1_000);
    }
}

section! {
    /// What becomes of connections between requests.
    Keepalive {
        /// Idle connections kept per server and worker; 0 closes each after its answer.
        default "idle" idle: u64 = 64, Integer(0, 100_000);
        /// How long a connection may stay idle. Should be shorter than what the server allows.
        default "timeout" timeout: Duration = Duration::from_secs(60), Time(SHORTEST, LONGEST);
    }
}

section! {
    /// Limits on each server. An answer beyond one is replaced by a refusal.
    UpstreamLimits {
        /// Open connections to one server, all workers together.
        default "connections" connections: u64 = 10_000, Integer(1, 1_000_000);
        /// Bytes of an answer's status line and header fields.
        default "head" head: u64 = 64 * KIB, Size(KIB, MIB);
        /// Header fields of an answer, and as many trailers.
        default "headers" headers: u64 = 200, Integer(1, 1_000);
    }
}

pub(crate) const SERVERS: List<Short<ServerEntry>> =
    List(Short::new("address", "a server"), 1, 1_000);

const BALANCE: Word<Balance> = Word {
    words: &["two-choices", "round-robin"],
    values: &[Balance::TwoChoices, Balance::RoundRobin],
};

const LONGEST_CONNECT: Duration = Duration::from_secs(10 * 60);

const ADDRESS: Parsed<ServerAddress> = Parsed {
    kind: "a host with a port",
    example: "127.0.0.1:3000",
    limits: "",
    parse: address::server,
};
