//! The HTTP cache: `[cache]`, and `cache` of `[[route]]`.

mod key;

pub(crate) use key::{BypassEntry, KeyEntry, QueryEntry};

use std::time::Duration;

use ipnet::IpNet;

use super::{LONGEST, MIB, SHORTEST, TIB, UPSTREAM, server::NETWORK};
use crate::header;
use crate::plan::{IgnoreOrigin, Tier, WithoutState};
use crate::read::{At, Node, Reader, Rule, span_of};
use crate::rules::{
    Boolean, Fault, Integer, List, Parsed, Percent, Short, Size, Switch, Table, Time, Word,
};
use crate::section::section;
use crate::shape::Shape;
use crate::text::Text;
use toml::de::DeValue;

use key::SELECTING;

section! {
    /// The store of this node, which all routes with `cache` share. The section can be left away.
    CacheStoreEntry {
        /// Memory for stored answers, for what is kept beside them, and for answers that are being
        /// fetched.
        default "memory" memory: u64 = 256 * MIB, Size(MIB, 64 * TIB);
        /// Where answers are kept that are larger or asked for less often. They survive a restart.
        /// Without it there is memory alone.
        optional "disk" disk: DiskEntry, Table::<DiskEntry>::new("`disk`");
        /// Variants that one URL may have, by `vary` and by the `Vary` of its answers. Another one
        /// takes the place of the one that was stored first.
        default "variants" variants: u64 = 64, Integer(1, 10_000);
        /// With `redis` of `[state]`: what becomes of stored answers while that is away, so that
        /// purges of other nodes are not heard of. `"serve"`: they are served, and purges that were
        /// missed take effect when it is back. `"validate"`: the origin is asked before each use.
        default "without-state" without_state: WithoutState = WithoutState::Serve, WITHOUT_STATE;
    }
}

section! {
    /// The disk tier. When the disk is full or fails, the cache goes on without it.
    DiskEntry {
        /// A folder that no other process uses. It is made when it is not there. A relative path
        /// begins in the working directory.
        required "path" path: Text, FOLDER;
        /// The most that is kept there.
        required "size" size: u64, Size(16 * MIB, 1024 * TIB);
    }
}

section! {
    /// What is kept of the answers to `GET`, and for how long. An empty table does what the answers
    /// say themselves (RFC 9111): the targeted fields `Seawall-Cache-Control` and
    /// `CDN-Cache-Control` (RFC 9213) come before `Cache-Control`, and that before `Expires`. Answers to requests with `Authorization`, answers
    /// with `Set-Cookie`, and `private` and `no-store` ones are not stored unless they, or keys
    /// below, say otherwise.
    CacheEntry {
        /// How long an answer is fresh that does not say so itself. This and all times but that of
        /// `coalesce` are whole seconds.
        optional "ttl" ttl: Duration, Time(Duration::ZERO, LONGEST_TTL);
        /// How long all answers are fresh that may be stored, whatever they say themselves. Not
        /// together with `ttl`.
        optional "force" force: Duration, Time(Duration::from_secs(1), LONGEST_TTL);
        /// How long an answer with status 404, 405, 410, 414, 501 or 5xx is fresh that does not say
        /// so itself. `"0s"`: the origin is asked each time. Without it, as long as other answers.
        optional "negative-ttl" negative_ttl: Duration, Time(Duration::ZERO, LONGEST_TTL);
        /// What clients are told as `max-age` in place of what the origin says; `"0s"` has them ask
        /// each time. What they keep cannot be purged.
        optional "browser-ttl" browser_ttl: Duration, Time(Duration::ZERO, LONGEST_TTL);
        /// How long an answer is served after its lifetime while it is fetched anew in the
        /// background (RFC 5861 §3). What an answer says itself goes before.
        default "stale-while-revalidate" stale_while_revalidate: Duration = Duration::ZERO, Time(Duration::ZERO, LONGEST_TTL);
        /// How long an answer is served after its lifetime when the origin fails
        /// (RFC 5861 §4). What an answer says itself goes before.
        default "stale-if-error" stale_if_error: Duration = Duration::ZERO, Time(Duration::ZERO, LONGEST_TTL);
        /// The most by which each lifetime is cut at random, so that answers that were stored
        /// together do not end together. Without it 10 %, or what `tier` says.
        optional "jitter" jitter: u32, Percent(0, 999);
        /// Answers that are asked for often are fetched anew shortly before their lifetime ends, the
        /// earlier the longer that takes, so that nobody waits for them (XFetch).
        default "early" early: bool = true, Boolean;
        /// What makes answers different ones.
        nested "key" key: KeyEntry;
        /// Request fields by which answers differ, besides those that they name in `Vary`
        /// themselves. `accept-encoding` and `accept-language` are reduced to what matters.
        optional "vary" vary: Vec<At<Box<str>>>, List(SELECTING, 0, 16);
        /// Requests that go past the cache.
        nested "bypass" bypass: BypassEntry;
        /// Methods that are answered from the cache: `GET`, and `HEAD` unless it is left out.
        optional "methods" methods: Vec<At<bool>>, List(METHOD, 1, 2);
        /// Statuses of answers that `ttl` and `negative-ttl` are for, and `force` besides others that
        /// are stored anyway. Without it, those that are cacheable by default: 200, 203, 204, 300,
        /// 301, 308, 404, 405, 410, 414, 501 (RFC 9110 §15.1).
        optional "statuses" statuses: Vec<At<u64>>, List(Integer(200, 599), 1, 64);
        /// The most content that an answer may have to be stored. Without it, an eighth of the
        /// larger tier: of the disk, if there is one.
        optional "max-object" max_object: u64, Size(1, 16 * TIB);
        /// What the origin says that is not listened to: a list of `"cache-control"` (with its
        /// targeted forms and `Pragma`), `"expires"`, `"vary"` and `"set-cookie"` (which is then
        /// taken out of what is stored); `true` is the first two. Answers that are meant for one
        /// client are then given to all: only for what is the same for everybody.
        optional "ignore-origin" ignore_origin: IgnoreOrigin, IgnoreRule;
        /// `Cache-Control` and `Pragma` of requests are listened to, such as `no-cache` of a browser
        /// that reloads, or `only-if-cached`.
        default "client-control" client_control: bool = true, Boolean;
        /// Who may send `PURGE` for a URL of this route: addresses and networks. Nobody may without
        /// it. If the route has `methods`, this adds `PURGE` to them.
        optional "purge" purge: Vec<At<IpNet>>, List(NETWORK, 0, 1_000);
        /// A field of answers with tags by which they can be purged, besides `Surrogate-Key` and
        /// `Cache-Tag`, which are always read.
        optional "tags" tags: Box<str>, TAGS;
        /// A version that is part of every key: another one, and nothing that was stored is found
        /// any more. Text, or a table.
        optional "version" version: VersionEntry, Short::<VersionEntry>::new("text", "`version`");
        /// Requests for what is being fetched wait for it instead of asking the origin, too. With
        /// `false` each asks.
        optional "coalesce" coalesce: Option<CoalesceEntry>, Switch::<CoalesceEntry>::on("`coalesce`");
        /// The upstream of the next tier: Seawall nodes that are asked in place of the route's own
        /// upstream. When none of them answers, that is asked.
        optional "parent" parent: Text, UPSTREAM;
        /// The tier that this node is. It says what `ttl` and `jitter` are without the keys:
        /// `"edge"`, next to the clients, 60 s cut by up to half; `"regional"`, between, 15 min cut
        /// by up to two thirds; `"shield"`, next to the origin, 4 h cut by up to a tenth.
        optional "tier" tier: Tier, TIER;
    }
}

section! {
    /// A version that is part of every key. Exactly one of these.
    VersionEntry {
        /// This text.
        optional "text" text: Box<str>, VERSION;
        /// What this field of the request says. Only that of `server.trust` is believed.
        optional "header" header: Box<str>, SELECTING;
        /// What the shared state holds under this key, behind its `prefix` and `:`; followed as it
        /// changes. Needs `redis` of `[state]`.
        optional "state" state: Box<str>, STATE_KEY;
    }
}

section! {
    /// How requests wait for what is being fetched. They are given it as it arrives, and a slow or
    /// leaving client holds up none of the others.
    CoalesceEntry {
        /// The longest that one waits for the head of the answer; then it asks the origin itself.
        /// With a `timeout` of the route that is not longer, they wait until that ends: whoever has
        /// waited for most of it has no time left to ask.
        default "wait" wait: Duration = Duration::from_secs(10), Time(SHORTEST, LONGEST);
        /// The most that wait for one answer; those beyond ask the origin themselves.
        default "waiters" waiters: u64 = 20_000, Integer(1, 10_000_000);
    }
}

/// `true`, `false`, or a list of what is not listened to.
pub(crate) struct IgnoreRule;

impl Rule for IgnoreRule {
    type Value = IgnoreOrigin;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<IgnoreOrigin> {
        let both = IgnoreOrigin { cache_control: true, expires: true, ..IgnoreOrigin::default() };
        match node.get_ref() {
            DeValue::Boolean(true) => return Some(both),
            DeValue::Boolean(false) => return Some(IgnoreOrigin::default()),
            DeValue::Array(_) => {}
            DeValue::String(raw) if raw.contains("${") => {
                let all = Boolean.read(node, reader)?;
                return Some(if all { both } else { IgnoreOrigin::default() });
            }
            other => {
                reader.wrong_type(span_of(node), other, "`true` or a list");
                return None;
            }
        }
        let mut ignore = IgnoreOrigin::default();
        for at in IGNORED.read(node, reader)? {
            let part = match at.value {
                Ignored::CacheControl => &mut ignore.cache_control,
                Ignored::Expires => &mut ignore.expires,
                Ignored::Vary => &mut ignore.vary,
                Ignored::SetCookie => &mut ignore.set_cookie,
            };
            if std::mem::replace(part, true) {
                let help = "take one of them away".to_owned();
                reader.report.warning(at.span, "this is there twice", Some(help));
            }
        }
        Some(ignore)
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![Shape::Boolean, IGNORED.shape()])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignored {
    CacheControl,
    Expires,
    Vary,
    SetCookie,
}

const IGNORED: List<Word<Ignored>> = List(
    Word {
        words: &["cache-control", "expires", "vary", "set-cookie"],
        values: &[Ignored::CacheControl, Ignored::Expires, Ignored::Vary, Ignored::SetCookie],
    },
    0,
    4,
);

const WITHOUT_STATE: Word<WithoutState> =
    Word { words: &["serve", "validate"], values: &[WithoutState::Serve, WithoutState::Validate] };

const TIER: Word<Tier> = Word {
    words: &["edge", "regional", "shield"],
    values: &[Tier::Edge, Tier::Regional, Tier::Shield],
};

const FOLDER: Parsed<Text> = Parsed {
    kind: "the path of a folder",
    example: "/var/cache/seawall",
    limits: "",
    parse: |text| match text.value.is_empty() || text.value.contains('\0') {
        false => Ok(text.clone()),
        true => {
            let message = format!("{} is not the path of a folder", text.shown());
            Err(Fault::whole(text, message, "write for example \"/var/cache/seawall\""))
        }
    },
};

/// Whether it is `HEAD`, rather than `GET`.
const METHOD: Parsed<bool> = Parsed {
    kind: "\"GET\" or \"HEAD\"",
    example: "GET",
    limits: "",
    parse: |text| match text.value.as_str() {
        "GET" => Ok(false),
        "HEAD" => Ok(true),
        _ => {
            let message = format!("answers to {} are not kept", text.shown());
            let help = "only \"GET\" and \"HEAD\" ask for the same thing each time and can be \
                        answered with an earlier answer (RFC 9111 §4)";
            Err(Fault::whole(text, message, help))
        }
    },
};

const TAGS: Parsed<Box<str>> = Parsed {
    kind: "the name of a header field",
    example: "x-tags",
    limits: "",
    parse: header::chosen_name,
};

const VERSION: Parsed<Box<str>> = Parsed {
    kind: "text",
    example: "7",
    limits: "1 to 128 bytes",
    parse: |text| short_text(text, "version"),
};

const STATE_KEY: Parsed<Box<str>> = Parsed {
    kind: "a key of the shared state",
    example: "app-version",
    limits: "1 to 128 bytes",
    parse: |text| short_text(text, "key"),
};

fn short_text(text: &Text, what: &str) -> Result<Box<str>, Fault> {
    let (message, help) = match text.value.len() {
        0 => (format!("this {what} is empty"), "write something, or take the key away"),
        1..=128 if !text.value.chars().any(char::is_control) => {
            return Ok(text.value.as_str().into());
        }
        1..=128 => (format!("{} has a control character", text.shown()), "take it out"),
        length => (format!("this {what} has {length} bytes"), "at most 128 bytes are allowed"),
    };
    Err(Fault::whole(text, message, help))
}

/// The longest lifetime: a year, as far as answers should look ahead (RFC 2616 §14.21).
const LONGEST_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
