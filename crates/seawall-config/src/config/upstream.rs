//! `[upstream.NAME]`.

use std::time::Duration;

use super::balance::BALANCE;
use super::{
    BalanceWord, BreakerEntry, EjectEntry, HashEntry, HealthEntry, InFlightEntry, KIB, LONGEST,
    MIB, QueueEntry, SHORTEST, StickyEntry, ZONE, file,
};
use crate::address;
use crate::plan::{ProxyProtocol, ServerAddress};
use crate::read::At;
use crate::rules::{Integer, List, Parsed, Percent, Short, Size, Switch, Time, Word};
use crate::section::section;
use crate::text::Text;

section! {
    /// An upstream: servers that can all answer the same requests. Routes name it in `to`, listeners
    /// in `tcp`.
    Upstream {
        /// Its servers: each `"HOST:PORT"`, or a table when it has more to say. A name is looked
        /// up in the background, and every address it yields is a server of its own.
        /// `"srv:_http._tcp.app.internal"` is looked up as a service (RFC 2782), which tells names,
        /// ports, weights and priorities. Required unless there is `servers-file`.
        optional "servers" servers: Vec<At<ServerEntry>>, SERVERS_OR_NONE;
        /// A file with more servers, which is watched: what changes in it holds at once, without a
        /// reload. Its path is relative to the folder of the configuration file. It is TOML with
        /// the key `servers` as above, or JSON with a list of the same, and has 1 to 1,000 servers
        /// in at most 1 MiB. Variables are not replaced in it.
        optional "servers-file" servers_file: Text, FILE;
        /// How a server is chosen. All respect weights, zones, priorities and health.
        /// `"two-choices"` takes of two random servers the one with fewer requests in flight,
        /// `"round-robin"` takes them in turn, `"random"` at random, `"least-connections"` the one
        /// with the fewest requests in flight, `"least-latency"` of two random servers the one that
        /// promises the sooner answer. `"ip-hash"` keeps a client's address on a server, `"hash"`
        /// and `"maglev"` keep whatever `hash` says on a server: `"hash"` on a ring, with a bound
        /// on the load, `"maglev"` quicker and more evenly, without it.
        default "balance" balance: BalanceWord = BalanceWord::TwoChoices, BALANCE;
        /// With `balance = "hash"` or `"maglev"`, and required there: what requests are hashed by.
        optional "hash" hash: HashEntry, Short::<HashEntry>::new("by", "`hash`");
        /// A cookie that keeps a client on its server, before `balance` is asked: its name, or a
        /// table.
        optional "sticky" sticky: StickyEntry, Short::<StickyEntry>::new("cookie", "`sticky`");
        /// When less than this share of the servers of one `priority`, by weight, is healthy, those
        /// that are not are used too: they can hardly all be ill, and the few that are left would
        /// drown. `"0%"` for never.
        default "panic" panic: u32 = 500, Percent(0, 1_000);
        /// How long a new or returned server takes to get its whole share of the requests. Without
        /// it, it gets that at once.
        optional "slow-start" slow_start: Duration, Time(Duration::from_millis(10), Duration::from_secs(60 * 60));
        /// Active checks: the path that is asked for, or a table. Without it nobody asks.
        optional "health" health: HealthEntry, Short::<HealthEntry>::new("path", "`health`");
        /// Taking servers out because of what they answer.
        optional "eject" eject: Option<EjectEntry>, Switch::<EjectEntry>::new("`eject`");
        /// Giving the upstream time to recover.
        optional "breaker" breaker: Option<BreakerEntry>, Switch::<BreakerEntry>::new("`breaker`");
        /// Requests in flight at once: the most to one server, or a table.
        optional "max-in-flight" max_in_flight: InFlightEntry, Short::<InFlightEntry>::number("server", "`max-in-flight`");
        /// With `max-in-flight`: how many requests wait beyond it, or a table. Without it, 100.
        optional "queue" queue: QueueEntry, Short::<QueueEntry>::number("size", "`queue`");
        /// With `tcp` of a listener: the version of the PROXY protocol header that begins each
        /// connection to a server and tells the client's address. Without it there is none. No
        /// route may use the upstream then.
        optional "proxy-protocol" proxy_protocol: ProxyProtocol, PROXY_PROTOCOL;
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
        /// An address or DNS name, with a port and without a scheme; or `srv:` and the DNS name of a
        /// service.
        required "address" address: ServerAddress, ADDRESS;
        /// Its share of the requests relative to the other servers; for a service, what its weights
        /// are multiplied by.
        default "weight" weight: u64 = 1, Integer(1, 1_000);
        /// The zone it is in; see `server.zone`.
        optional "zone" zone: String, ZONE;
        /// Servers with 0 are used first, those with a higher number only as far as those before
        /// them are not healthy: when these can bear less than all, each taken to bear 1.4 times
        /// its share.
        default "priority" priority: u64 = 0, Integer(0, 15);
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

/// A list of servers.
pub(crate) const SERVERS: List<Short<ServerEntry>> =
    List(Short::new("address", "a server"), 1, 1_000);

/// The same where others may come from a file.
const SERVERS_OR_NONE: List<Short<ServerEntry>> = List(Short::new("address", "a server"), 0, 1_000);

const FILE: Parsed<Text> =
    Parsed { kind: "the path of a file", example: "servers.toml", limits: "", parse: file };

const PROXY_PROTOCOL: Word<ProxyProtocol> =
    Word { words: &["v1", "v2"], values: &[ProxyProtocol::V1, ProxyProtocol::V2] };

const LONGEST_CONNECT: Duration = Duration::from_secs(10 * 60);

const ADDRESS: Parsed<ServerAddress> = Parsed {
    kind: "a host with a port",
    example: "127.0.0.1:3000",
    limits: "",
    parse: address::server,
};
