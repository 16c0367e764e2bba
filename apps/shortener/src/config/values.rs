//! Values of the file that are more than TOML knows: each is right or refused with the words that
//! the operator needs. Strings have their `${NAME}` and `${NAME:-DEFAULT}` from the environment.

use std::net::IpAddr;
use std::time::Duration;
use std::{env, fmt};

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::link::Redirect;
use crate::store::Postgres;

/// A string with its `${NAME}` replaced.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

/// What others must know, such as in `Authorization: Bearer TOKEN`. Never empty, which everybody
/// would know.
#[derive(Debug)]
pub(super) struct Token(pub(super) String);

/// A duration, such as `500ms`, `1s`, `10m`, `1h`, `2d`, `5y`.
#[derive(Debug)]
pub(super) struct Span(pub(super) Duration);

/// An address, or a range of them.
#[derive(Debug)]
pub(super) struct Net(pub(super) IpNet);

/// A scheme and a host, perhaps with a path, without a slash at its end.
#[derive(Debug)]
pub(super) struct Origin(pub(super) String);

/// `sqlite:FILE` or `postgres://…`.
#[derive(Debug)]
pub(super) struct DatabaseUrl(pub(super) String);

/// `redis://…`.
#[derive(Debug)]
pub(super) struct RedisUrl(pub(super) String);

/// `nats://…`, or several with commas between.
#[derive(Debug)]
pub(super) struct NatsUrl(pub(super) String);

/// The status of a redirect.
#[derive(Debug)]
pub(super) struct Status(pub(super) Redirect);

impl DatabaseUrl {
    pub(super) fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres://") || self.0.starts_with("postgresql://")
    }

    /// Says what is wrong with it as far as that is known without asking it. Never its password.
    fn check(&self) -> Result<(), String> {
        if !self.is_postgres() {
            return Ok(());
        }
        let expected = "not `postgres://USER:PASSWORD@HOST/DATABASE`";
        Postgres::check_url(&self.0).map_err(|error| format!("{expected}: {error}"))
    }
}

/// A string, and in words what it is, for whoever wrote something else.
struct Words(&'static str);

impl Visitor<'_> for Words {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A value that is made of a string, what it is called if that is more, and its reader.
macro_rules! from_text {
    ($($kind:ident $(is $words:literal)?: $read:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let words = concat!("a string" $(, " with ", $words)?);
                let text = expand(&from.deserialize_str(Words(words))?).map_err(D::Error::custom)?;
                let read: fn(String) -> Result<$kind, String> = $read;
                read(text).map_err(D::Error::custom)
            }
        }
    )*};
}

from_text! {
    Text: |text| Ok(Text(text));
    Token: |text| {
        let is_fit = |byte: u8| (b' '..=b'~').contains(&byte);
        match !text.is_empty() && text.trim() == text && text.bytes().all(is_fit) {
            true => Ok(Token(text)),
            false => Err("a token is of ASCII characters, without spaces around it, and not empty".to_owned()),
        }
    };
    Span is "a duration, such as \"500ms\" or \"10m\"": |text| duration(&text).map(Span).ok_or_else(|| {
        r#"a duration is like "500ms", "1s", "10m", "1h", "2d" or "5y""#.to_owned()
    });
    Net: |text| text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(Net)
        .map_err(|_| format!(r#"an address is like "127.0.0.1" or "10.0.0.0/8", not {text:?}"#));
    Origin: |text| {
        let url = url::Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        match url {
            Some(url) => Ok(Origin(url.as_str().trim_end_matches('/').to_owned())),
            None => Err(format!(r#"a URL here is like "http://127.0.0.1:3000", not {text:?}"#)),
        }
    };
    DatabaseUrl: |text| {
        let url = DatabaseUrl(text);
        let is_file = url.0.strip_prefix("sqlite:").is_some_and(|file| !file.is_empty());
        if is_file || url.is_postgres() {
            url.check().map(|()| url)
        } else {
            Err("a database is `sqlite:FILE` or `postgres://…`".to_owned())
        }
    };
    RedisUrl: |text| match redis::Client::open(text.as_str()) {
        Ok(_) => Ok(RedisUrl(text)),
        Err(_) => Err(r#"Redis is like "redis://127.0.0.1:6379""#.to_owned()),
    };
    NatsUrl: |text| {
        let is_server = |server: &str| {
            server.parse::<async_nats::ServerAddr>().is_ok_and(|server| !server.host().is_empty())
        };
        match text.split(',').all(is_server) {
            true => Ok(NatsUrl(text)),
            false => Err(r#"NATS is like "nats://127.0.0.1:4222""#.to_owned()),
        }
    };
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(from)?;
        let redirect = Redirect::of(status);
        redirect.map(Status).ok_or_else(|| D::Error::custom("a redirect is 301, 302, 307 or 308"))
    }
}

/// Puts the values of the environment in place of each `${NAME}`, and of `${NAME:-DEFAULT}` as the
/// shell does: the default where the environment has nothing of that name, or nothing in it.
fn expand(text: &str) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        let (name, after) = from.split_once('}').ok_or("`${` without `}`")?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let value = match (env::var(name), default) {
            (Ok(value), None) => value,
            (Ok(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default.to_owned(),
            (Err(_), None) => return Err(format!("the environment has no {name}")),
        };
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).filter(|all| *all <= LONGEST).map(Duration::from_millis)
}

/// A hundred years in milliseconds: nothing that adds it to a time can overflow.
const LONGEST: u64 = 100 * 365 * 86_400_000;
