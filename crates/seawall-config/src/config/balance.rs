//! How a server of an upstream is chosen: `balance`, `hash` and `sticky` of `[upstream.NAME]`.

use std::time::Duration;

use crate::header;
use crate::nearest::nearest;
use crate::plan::{HashKey, Secret};
use crate::rules::{Fault, Parsed, Password, Percent, Time, Word};
use crate::section::section;
use crate::text::Text;

/// The words of `balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BalanceWord {
    RoundRobin,
    Random,
    LeastConnections,
    TwoChoices,
    LeastLatency,
    IpHash,
    Hash,
    Maglev,
}

section! {
    /// What requests are hashed by, with `balance = "hash"` or `"maglev"`.
    HashEntry {
        /// Where the key of a request is found: `"path"`, `"query:NAME"`, `"header:NAME"`,
        /// `"cookie:NAME"`, `"ip"` for the client's address, or `"jwt:CLAIM"` for a claim of the
        /// JSON Web Token in `Authorization: Bearer`, which is not verified here. Requests without
        /// it go where `"two-choices"` sends them.
        required "by" by: HashKey, BY;
        /// With `"hash"`: the most load a server may have relative to the mean of all. What is
        /// beyond goes to other servers, so that one popular key does not drown its server.
        default "load" load: u32 = 1250, Percent(1010, 10_000);
    }
}

section! {
    /// A signed cookie that keeps a client on its server for as long as that is there and healthy.
    /// A client whose server is gone gets another, and another cookie.
    StickyEntry {
        /// The name of the cookie.
        required "cookie" cookie: Box<str>, COOKIE;
        /// What the cookie is signed with, usually `"${STICKY_SECRET}"`. Give all processes the
        /// same. Without it each makes a key of its own when it starts, and cookies of others, or
        /// from before, mean nothing.
        optional "secret" secret: Secret, SECRET;
        /// How long the cookie lives. Without it, until the browser closes.
        optional "max-age" max_age: Duration, Time(Duration::from_secs(1), Duration::from_secs(400 * 86_400));
    }
}

pub(super) const BALANCE: Word<BalanceWord> = Word {
    words: &[
        "two-choices",
        "round-robin",
        "random",
        "least-connections",
        "least-latency",
        "ip-hash",
        "hash",
        "maglev",
    ],
    values: &[
        BalanceWord::TwoChoices,
        BalanceWord::RoundRobin,
        BalanceWord::Random,
        BalanceWord::LeastConnections,
        BalanceWord::LeastLatency,
        BalanceWord::IpHash,
        BalanceWord::Hash,
        BalanceWord::Maglev,
    ],
};

const BY: Parsed<HashKey> =
    Parsed { kind: "where a key is found", example: "header:x-tenant", limits: "", parse: by };

const COOKIE: Parsed<Box<str>> = Parsed {
    kind: "the name of a cookie",
    example: "seawall",
    limits: "at most 256 bytes",
    parse: |text| {
        header::cookie_name(&text.value)
            .map_err(|(message, help)| Fault::whole(text, message, help))
    },
};

const SECRET: Password = Password {
    what: "the secret",
    least: 16,
    printable: false,
    spaced: false,
    example: "${STICKY_SECRET}",
    limits: "at least 16 bytes",
};

fn by(text: &Text) -> Result<HashKey, Fault> {
    let value = text.value.as_str();
    let fault = |(message, help): (String, String)| Fault::whole(text, message, help);
    match value.split_once(':') {
        None if value == "path" => return Ok(HashKey::Path),
        None if value == "ip" => return Ok(HashKey::ClientIp),
        Some(("query", name)) => {
            return header::parameter_name(name).map(HashKey::Query).map_err(fault);
        }
        Some(("header", name)) => {
            return header::field_name(name).map(HashKey::Header).map_err(fault);
        }
        Some(("cookie", name)) => {
            return header::cookie_name(name).map(HashKey::Cookie).map_err(fault);
        }
        Some(("jwt", claim)) => return header::claim(claim).map(HashKey::JwtClaim).map_err(fault),
        _ => {}
    }
    let message = format!("{} is nowhere to find a key", text.shown());
    let (word, rest) = value.split_once(':').unwrap_or((value, "NAME"));
    let near = nearest(word, KINDS.iter().map(|kind| kind.split(':').next().unwrap_or(kind)));
    let meant = KINDS.iter().find(|kind| kind.split(':').next() == near);
    let help = match meant.filter(|_| !text.is_from_environment()) {
        Some(kind) if kind.contains(':') => {
            format!("write \"{}:{rest}\"", near.unwrap_or_default())
        }
        Some(kind) => format!("write \"{kind}\""),
        None => {
            let all: Vec<String> = KINDS.iter().map(|kind| format!("\"{kind}\"")).collect();
            format!("write one of {}", all.join(", "))
        }
    };
    Err(Fault::whole(text, message, help))
}

const KINDS: &[&str] = &["path", "query:NAME", "header:NAME", "cookie:NAME", "ip", "jwt:CLAIM"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_keys() {
        for (text, expect) in [
            ("path", HashKey::Path),
            ("ip", HashKey::ClientIp),
            ("query:q", HashKey::Query("q".into())),
            ("query:a b:c", HashKey::Query("a b:c".into())),
            ("header:X-Tenant", HashKey::Header("x-tenant".into())),
            ("cookie:Session", HashKey::Cookie("Session".into())),
            ("jwt:sub", HashKey::JwtClaim("sub".into())),
        ] {
            assert_eq!(by(&Text::plain(text)), Ok(expect), "{text}");
        }
        for (text, help) in [
            ("header", "write \"header:NAME\""),
            ("heder:x-a", "write \"header:x-a\""),
            ("Path", "write \"path\""),
            ("path:x", "write \"path\""),
            (
                "body",
                "write one of \"path\", \"query:NAME\", \"header:NAME\", \"cookie:NAME\", \"ip\", \"jwt:CLAIM\"",
            ),
            ("query:", "name a query parameter"),
            ("header:a b", "names have letters, digits and `-`, no spaces and no `:`"),
            ("cookie:a=b", "names have letters, digits, `-` and `_`"),
            ("jwt:", "name a claim of the token, such as `sub`"),
        ] {
            let fault = by(&Text::plain(text)).expect_err(text);
            assert_eq!(fault.help.as_deref(), Some(help), "{text}");
        }
    }
}
