//! A click: who followed which link, when, and from where, without anything that leads back to
//! them.
//!
//! An address is in memory only while it is made into a country and, with the random salt of the
//! day, into a hash of 64 bits. The salt is deleted two days later, and nobody can tell then whom a
//! hash was of. Whoever asks not to be followed (`DNT: 1`, `Sec-GPC: 1`) is counted, and nothing
//! else: no visitor, no referrer, no country.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::agent::{self, Agent, Device};
use crate::link::{Code, Millis};

/// A click on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// The link.
    pub code: Code,
    /// When.
    pub at: Millis,
    /// What is told apart.
    pub traits: Traits,
    /// The visitor of this day, unless they asked not to be followed, or it is a bot.
    pub visitor: Option<u64>,
}

/// What is told apart of clicks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Traits {
    /// The host of the page that the link was on. `None`: it is not known.
    pub referrer: Option<Box<str>>,
    /// Where the address is registered. `None`: it is not known.
    pub country: Option<Country>,
    /// The device and the browser.
    pub agent: Agent,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// `Referer`.
    pub referrer: &'a [u8],
    /// `User-Agent`.
    pub agent: &'a [u8],
    /// `DNT: 1` or `Sec-GPC: 1`.
    pub is_private: bool,
}

/// Two letters of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// A country by its letters.
    pub fn new(text: &str) -> Option<Country> {
        let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Country(letters))
    }

    /// Its letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a host at most (RFC 1035 §2.3.4).
pub const LONGEST_HOST: usize = 253;

/// The host of a referrer: lower case, without `www.` and port. `None` when it has none that could
/// be one. Browsers write hosts in ASCII (Punycode).
pub fn host_of(referrer: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(referrer).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    // An application is a referrer by its name.
    if !["http", "https", "android-app"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let place = authority.rsplit('@').next()?;
    let host = match place.strip_prefix('[') {
        // An address of IPv6 has colons of its own.
        Some(inner) => &place[..=1 + inner.find(']')?],
        None => place.split(':').next()?,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(&host);
    is_host(host).then(|| host.into())
}

fn is_host(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    (1..=LONGEST_HOST).contains(&text.len()) && text.bytes().all(is_fit)
}

/// The visitor of a day: the same for an address and a browser as long as the salt is.
///
/// Of IPv6 the network (64 bits) counts: devices change the rest of their addresses by themselves.
/// SipHash is a pseudorandom function under its key, so that hashes tell nothing without the salt.
pub fn visitor(salt: &[u8; 32], client: IpAddr, agent: &[u8]) -> u64 {
    let (key, _) = salt.split_first_chunk::<16>().expect("16 of 32 bytes");
    let mut hasher = SipHasher24::new_with_key(key);
    match client.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()[..8]),
    }
    hasher.write(&agent[..agent.len().min(agent::LONGEST_AGENT)]);
    hasher.finish()
}

/// How far behind now, and before it, the time of a click may be that others tell of. Eight days,
/// longer than they are kept on their way, and an hour for clocks that differ.
const BEHIND: Millis = 8 * 86_400_000;
const BEFORE: Millis = 3_600_000;

/// A time that others tell, if it is near `now`; else `now`, by which it has come. Without that, one
/// click could ask for a table of the year 9999, or for one that no database can make.
pub fn near_or(time: Millis, now: Millis) -> Millis {
    let near = now.saturating_sub(BEHIND)..=now.saturating_add(BEFORE);
    if near.contains(&time) { time } else { now }
}

/// A click as it is written: a line of JSON in the stream, in the export and in the live feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickLine {
    /// When, in milliseconds since 1970.
    pub time: Millis,
    /// The link.
    pub code: Code,
    /// The host of the page that the link was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Box<str>>,
    /// Two letters of ISO 3166-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Box<str>>,
    /// `desktop`, `mobile`, `tablet`, `bot` or `other`.
    pub device: Box<str>,
    /// The browser, or the bot.
    pub browser: Box<str>,
    /// The visitor: the same within a day, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<Box<str>>,
}

impl ClickLine {
    /// What is written of a click.
    pub fn of(click: &Click) -> ClickLine {
        let Click { code, at, traits, visitor } = click;
        ClickLine {
            time: *at,
            code: code.clone(),
            referrer: traits.referrer.clone(),
            country: traits.country.map(|country| country.as_str().into()),
            device: traits.agent.device.name().into(),
            browser: traits.agent.name.into(),
            visitor: visitor.map(|visitor| format!("{visitor:016x}").into()),
        }
    }

    /// The click, at `now` unless its time is [near](near_or) that. Names that are not known here (of
    /// a newer version) are `other`.
    pub fn click(self, now: Millis) -> Click {
        let hash = |text: Box<str>| u64::from_str_radix(&text, 16).ok();
        Click {
            code: self.code,
            at: near_or(self.time, now),
            traits: Traits {
                referrer: self.referrer.filter(|host| is_host(host)),
                country: self.country.and_then(|text| Country::new(&text)),
                agent: Agent {
                    device: Device::of(&self.device).unwrap_or(Device::Other),
                    name: agent::known(&self.browser),
                },
            },
            visitor: self.visitor.and_then(hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn referrers_are_hosts() {
        for (referrer, host) in [
            ("https://news.example/a?b#c", Some("news.example")),
            ("HTTP://WWW.News.Example:8080/", Some("news.example")),
            ("https://user:secret@news.example", Some("news.example")),
            ("https://news.example.", Some("news.example")),
            ("https://[2001:db8::1]:443/", Some("[2001:db8::1]")),
            ("https://xn--bcher-kva.example/", Some("xn--bcher-kva.example")),
            ("android-app://com.google.android.gm/", Some("com.google.android.gm")),
            ("https://www.com", Some("www.com")),
            ("https://localhost/", Some("localhost")),
            ("", None),
            ("news.example", None),
            ("https://", None),
            ("https:///a", None),
            ("https://bücher.example/", None),
            ("https://a b/", None),
            ("https://<script>/", None),
            ("https://[2001:db8::1", None),
            ("javascript://news.example/%0aalert(1)", None),
            ("data://x", None),
        ] {
            assert_eq!(host_of(referrer.as_bytes()).as_deref(), host, "{referrer}");
        }
        assert_eq!(host_of(b"https://\xff/"), None);
        let long = format!("https://{}/", "a".repeat(LONGEST_HOST + 1));
        assert_eq!(host_of(long.as_bytes()), None);
    }

    #[test]
    fn a_visitor_is_the_same_for_a_day_and_then_another() {
        let (today, tomorrow) = ([1; 32], [2; 32]);
        let of = |salt, client: &str, agent: &str| {
            visitor(salt, client.parse().expect("an address"), agent.as_bytes())
        };
        let one = of(&today, "192.0.2.1", "a");
        assert_eq!(of(&today, "192.0.2.1", "a"), one);
        assert_eq!(of(&today, "::ffff:192.0.2.1", "a"), one);
        for other in [
            of(&tomorrow, "192.0.2.1", "a"),
            of(&today, "192.0.2.2", "a"),
            of(&today, "192.0.2.1", "b"),
        ] {
            assert_ne!(other, one);
        }
        let network = of(&today, "2001:db8::1", "a");
        assert_eq!(of(&today, "2001:db8::ffff:1", "a"), network);
        assert_ne!(of(&today, "2001:db8:0:1::1", "a"), network);
    }

    #[test]
    fn what_is_written_is_read() {
        let click = Click {
            code: Code::new("abc").expect("a code"),
            at: 1_795_439_951_123,
            traits: Traits {
                referrer: Some("news.example".into()),
                country: Country::new("DE"),
                agent: Agent { device: Device::Mobile, name: "Firefox" },
            },
            visitor: Some(0x0123_4567_89ab_cdef),
        };
        let text = serde_json::to_string(&ClickLine::of(&click)).expect("JSON");
        assert_eq!(
            text,
            r#"{"time":1795439951123,"code":"abc","referrer":"news.example","country":"DE","device":"mobile","browser":"Firefox","visitor":"0123456789abcdef"}"#
        );
        let read: ClickLine = serde_json::from_str(&text).expect("it was written so");
        assert_eq!(read.click(click.at), click);
        let newer = r#"{"time":1,"code":"a","device":"watch","browser":"Next","new":1}"#;
        let read: ClickLine = serde_json::from_str(newer).expect("it is understood");
        assert_eq!(read.click(0).traits.agent, Agent { device: Device::Other, name: agent::OTHER });
    }

    #[test]
    fn what_others_say_of_clicks_is_not_believed_beyond_reason() {
        const NOW: Millis = 1_795_439_951_123;
        let read = |time: i64, referrer: &str| {
            let line = serde_json::json!({
                "time": time, "code": "a", "device": "mobile", "browser": "x", "referrer": referrer,
            });
            serde_json::from_value::<ClickLine>(line).expect("a line").click(NOW)
        };
        for (time, expect) in [
            (NOW, NOW),
            (NOW - BEHIND, NOW - BEHIND),
            (NOW + BEFORE, NOW + BEFORE),
            (NOW - BEHIND - 1, NOW),
            (NOW + BEFORE + 1, NOW),
            (253_402_300_800_000, NOW),
            (i64::MIN, NOW),
            (i64::MAX, NOW),
        ] {
            assert_eq!(read(time, "a.b").at, expect, "{time}");
        }
        for referrer in ["<b>", "*", "", "a b", "a\0"] {
            assert_eq!(read(NOW, referrer).traits.referrer, None, "{referrer:?}");
        }
        assert_eq!(near_or(i64::MAX, i64::MAX), i64::MAX);
    }

    #[test]
    fn countries_have_two_capital_letters() {
        assert_eq!(Country::new("DE").map(|it| it.as_str().to_owned()).as_deref(), Some("DE"));
        for text in ["", "D", "de", "DEU", "D1", "Ü"] {
            assert_eq!(Country::new(text), None, "{text}");
        }
    }
}
