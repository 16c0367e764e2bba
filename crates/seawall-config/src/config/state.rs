//! `[state]`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::dns_name;
use crate::name;
use crate::plan::Secret;
use crate::read::{Node, Reader, Rule, Show};
use crate::rules::{Fault, Parsed};
use crate::section::section;
use crate::shape::Shape;

section! {
    /// What the nodes of a fleet share: purges, and who fetches what. The section can be left away;
    /// then each process keeps to itself.
    State {
        /// A Redis or Valkey server, `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, usually
        /// `"${REDIS_URL}"`. The port is 6379 and the database 0 unless they are given. Characters
        /// such as `@`, `:` and `/` in the password are percent-encoded. While it cannot be reached
        /// each node goes on by itself; see `without-state` of `[cache]`.
        optional "redis" redis: Secret, RedisUrl;
        /// What all keys there begin with. Fleets that share a server have different ones.
        default "prefix" prefix: String = "seawall".to_owned(), PREFIX;
    }
}

const PREFIX: Parsed<String> = Parsed {
    kind: "a name",
    example: "seawall",
    limits: "1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`",
    parse: |text| match name::fault(&text.value, "prefix") {
        Ok(()) => Ok(text.value.clone()),
        Err((message, help)) => Err(Fault::whole(text, message, help)),
    },
};

impl Show for Parsed<String> {
    fn show(&self, value: &String) -> String {
        format!("\"{value}\"")
    }
}

/// The URL of a Redis server. It may have a password in it: no message shows a part of it.
pub(crate) struct RedisUrl;

impl Rule for RedisUrl {
    type Value = Secret;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Secret> {
        let text = reader.text(node, "a URL such as \"redis://127.0.0.1:6379\"")?;
        match check(&text.value) {
            Ok(()) => Some(Secret::new(text.value)),
            Err((message, help)) => {
                reader.report.error(text.span, message, Some(help.to_owned()));
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Text { kind: "a URL", example: "redis://127.0.0.1:6379", limits: "" }
    }
}

type Wrong = (&'static str, &'static str);

/// What is wrong with a URL, and how to mend it.
fn check(url: &str) -> Result<(), Wrong> {
    const FORM: &str = "write redis://HOST:PORT, for example \"redis://127.0.0.1:6379\"";
    if url.len() > 1024 {
        return Err(("this URL is too long", "at most 1024 bytes are allowed"));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        let help = "percent-encode them, as in `%20` for a space";
        return Err(("this URL has characters other than visible ASCII", help));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(("this is not a URL", FORM));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "redis" => {}
        "rediss" | "valkeys" => {
            let help = "write `redis://` where the network between is your own, or put a TLS \
                        tunnel such as stunnel on this machine before it";
            return Err(("Redis is spoken to without TLS in this version", help));
        }
        "valkey" => return Err(("this URL begins with `valkey://`", "write `redis://`")),
        "unix" | "redis+unix" | "redis-socket" => {
            return Err(("Unix sockets are not supported", FORM));
        }
        _ => return Err(("this URL does not begin with `redis://`", FORM)),
    }
    if rest.contains(['?', '#']) {
        return Err(("this URL has parameters", "take them away, from `?` or `#` on"));
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !database.is_empty() && number(database).is_none_or(|number| number > 65_535) {
        let help = "the number of a database is behind the `/`; in a password it is written `%2F`";
        return Err(("this URL has a path that is no number", help));
    }
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((user, host)) => {
            check_user(user)?;
            host
        }
    };
    check_host(host)
}

fn check_user(user: &str) -> Result<(), Wrong> {
    let Some((name, password)) = user.split_once(':') else {
        let help = "write `redis://USER:PASSWORD@HOST`, or `redis://:PASSWORD@HOST`";
        return Err(("this URL has a user without a password", help));
    };
    let encoded = |text: &str| {
        text.split('%').skip(1).all(|rest| {
            rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
    };
    match encoded(name) && encoded(password) && !password.contains(['@', ':']) {
        true => Ok(()),
        false => {
            let help = "write `%25` for `%`, `%40` for `@`, `%3A` for `:` and `%2F` for `/`";
            Err(("the password in this URL is not percent-encoded", help))
        }
    }
}

fn check_host(host: &str) -> Result<(), Wrong> {
    let (good, rest) = match host.strip_prefix('[').map(|inside| inside.split_once(']')) {
        Some(Some((ip, rest))) => (ip.parse::<Ipv6Addr>().is_ok(), rest),
        Some(None) => (false, ""),
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, rest) = host.split_at(end);
            (name.parse::<Ipv4Addr>().is_ok() || dns_name(name).is_ok(), rest)
        }
    };
    let port = rest.strip_prefix(':').map(number);
    let good_port = rest.is_empty() || matches!(port, Some(Some(1..=65_535)));
    match (good, good_port) {
        (true, true) => Ok(()),
        (false, _) => Err(("this URL has no host", "write for example \"redis://127.0.0.1:6379\"")),
        (true, false) => {
            let help = "ports are numbers from 1 to 65535; in a password write `%3A` for `:`, \
                        `%2F` for `/` and `%40` for `@`";
            Err(("this URL has a port that is none", help))
        }
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379",
            "redis://cache.internal:6380/",
            "redis://[::1]:6379/3",
            "redis://[::1]",
            "redis://:secret@h",
            "redis://user:p%40ss%2F@h:1/0",
            "REDIS://h",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("", "this is not a URL"),
            ("127.0.0.1:6379", "this is not a URL"),
            ("http://h", "this URL does not begin with `redis://`"),
            ("rediss://h", "Redis is spoken to without TLS in this version"),
            ("valkey://h", "this URL begins with `valkey://`"),
            ("redis+unix:///run/redis.sock", "Unix sockets are not supported"),
            ("redis://", "this URL has no host"),
            ("redis:///0", "this URL has no host"),
            ("redis://:6379", "this URL has no host"),
            ("redis://[::1", "this URL has no host"),
            ("redis://[h]:1", "this URL has no host"),
            ("redis://[::1]6379", "this URL has a port that is none"),
            ("redis://h:", "this URL has a port that is none"),
            ("redis://h:0", "this URL has a port that is none"),
            ("redis://h:65536", "this URL has a port that is none"),
            ("redis://h:+1", "this URL has a port that is none"),
            ("redis://h/x", "this URL has a path that is no number"),
            ("redis://h/0/1", "this URL has a path that is no number"),
            ("redis://h/0?timeout=1", "this URL has parameters"),
            ("redis://user@h", "this URL has a user without a password"),
            ("redis://:a:b@h", "the password in this URL is not percent-encoded"),
            ("redis://:a@b@h", "the password in this URL is not percent-encoded"),
            ("redis://:a%4@h", "the password in this URL is not percent-encoded"),
            ("redis://:a%é@h", "this URL has characters other than visible ASCII"),
            ("redis://h h", "this URL has characters other than visible ASCII"),
            (&format!("redis://{}", "a".repeat(1020)), "this URL is too long"),
        ] {
            assert_eq!(check(bad).map_err(|(message, _)| message), Err(message), "{bad}");
        }
    }
}
