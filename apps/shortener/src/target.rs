//! What a link may lead to and what it may be called: every text that people send is checked here,
//! and only here, before it is stored.
//!
//! A target is kept in the one form in which the `url` crate writes it, so that what was checked is
//! what is sent to browsers. Nothing here opens a connection or looks up a name: the server never
//! fetches a target, and so private addresses are allowed (a link into an intranet is a link), with
//! a warning. Called by the API for links that are made or changed, and by `snip` for its own texts.

mod alias;
mod block_list;
mod homograph;
mod utm;

use std::net::IpAddr;

use url::{Host, Url};

use crate::config::Config;

pub use self::alias::{AliasError, RESERVED, alias};
pub use self::block_list::{BlockList, BlockListError};
pub use self::utm::{LONGEST_UTM, UTM_NAMES, Utm};

/// Schemes that run or carry a document in themselves; refused whatever is configured.
pub const NEVER: [&str; 8] =
    ["javascript", "data", "vbscript", "blob", "file", "about", "view-source", "filesystem"];

/// Which targets are allowed.
#[derive(Debug)]
pub struct Rules {
    schemes: Vec<String>,
    longest: usize,
    own: Option<Own>,
    blocked: BlockList,
}

/// Where short links are.
#[derive(Debug)]
struct Own {
    name: String,
    port: Option<u16>,
    /// It is this machine, which has many names.
    is_local: bool,
}

impl Own {
    fn of(url: &Url) -> Option<Own> {
        let host = url.host()?;
        Some(Own {
            name: name_of(&host),
            port: url.port_or_known_default(),
            is_local: is_local(&host),
        })
    }

    /// Whether a target is here: on this host, whatever the port, since one may lead to the other.
    fn has(&self, url: &Url, host: &Host<&str>, name: &str) -> bool {
        self.name == name
            || (self.is_local && is_local(host) && self.port == url.port_or_known_default())
    }
}

/// A target that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL as it is stored and sent: ASCII, host in lower case and Punycode.
    pub url: Box<str>,
    /// What people should know about it.
    pub warnings: Vec<Warning>,
}

/// What is odd about a target without being forbidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A part of the host is written to look like ASCII letters; with what it looks like.
    LooksLike(String),
    /// A part of the host mixes scripts that do not belong together, or has characters that are
    /// not used in words.
    MixedScripts(String),
    /// Only machines of the same network can follow it; the server itself never does.
    PrivateAddress,
}

impl Warning {
    /// A word for programs. Stable.
    pub fn code(&self) -> &'static str {
        match self {
            Warning::LooksLike(_) => "confusable-host",
            Warning::MixedScripts(_) => "mixed-scripts",
            Warning::PrivateAddress => "private-address",
        }
    }

    /// A sentence for people.
    pub fn detail(&self) -> String {
        match self {
            Warning::LooksLike(host) => {
                format!("the host has characters of other scripts and looks like `{host}`")
            }
            Warning::MixedScripts(host) => {
                format!("the host `{host}` mixes scripts or has unusual characters")
            }
            Warning::PrivateAddress => {
                "the host is a private address: only its own network can follow the link".into()
            }
        }
    }
}

/// Why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is nothing.
    #[error("a target is an absolute URL such as https://example.com/page; this is empty")]
    Empty,
    /// More bytes than are allowed.
    #[error("the target is longer than {0} bytes")]
    TooLong(usize),
    /// CR, LF, other controls, invisible characters or spaces.
    #[error("the target has {0} in it; write it percent-encoded if it is meant")]
    Character(&'static str),
    /// Not an absolute URL.
    #[error("not an absolute URL such as https://example.com/page: {0}")]
    NotAUrl(String),
    /// A scheme that is not among the allowed ones.
    #[error("the scheme `{0}` is not allowed; allowed are {1}")]
    Scheme(String, String),
    /// A user name or a password in it.
    #[error("a target must not carry a user name or a password: everybody can read it")]
    Credentials,
    /// It leads back here.
    #[error("the target is on this shortener's own host; it would lead in a circle")]
    Loop,
    /// Its host, or a domain above it, is on the block list.
    #[error("the host `{0}` is on this shortener's block list")]
    Blocked(String),
}

impl TargetError {
    /// A word for programs. Stable.
    pub fn code(&self) -> &'static str {
        match self {
            TargetError::Empty => "empty",
            TargetError::TooLong(_) => "too-long",
            TargetError::Character(_) => "character",
            TargetError::NotAUrl(_) => "not-a-url",
            TargetError::Scheme(..) => "scheme",
            TargetError::Credentials => "credentials",
            TargetError::Loop => "loop",
            TargetError::Blocked(_) => "blocked",
        }
    }
}

impl Rules {
    /// The rules of a configuration. `own` is what short links begin with.
    ///
    /// # Errors
    /// When the block list cannot be read or is not one.
    pub fn load(config: &Config, own: &str) -> Result<Rules, BlockListError> {
        let blocked = match &config.links.block_list {
            Some(path) => BlockList::load(path)?,
            None => BlockList::default(),
        };
        Ok(Rules::new(&config.links.schemes, config.links.longest, own, blocked))
    }

    /// Rules from their parts. `longest` is in bytes of the stored form.
    pub fn new(schemes: &[String], longest: usize, own: &str, blocked: BlockList) -> Rules {
        let schemes = schemes.iter().map(|scheme| scheme.to_ascii_lowercase()).collect();
        let own = Url::parse(own).ok().as_ref().and_then(Own::of);
        Rules { schemes, longest, own, blocked }
    }

    /// Checks a target and brings it into the form in which it is stored.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, text: &str) -> Result<Target, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if text.len() > self.longest {
            return Err(TargetError::TooLong(self.longest));
        }
        // The parser drops some of these and moves others; what it makes of them is not what the
        // author saw.
        if let Some(kind) = text.chars().find_map(unfit) {
            return Err(TargetError::Character(kind));
        }
        let url = Url::parse(text).map_err(|error| TargetError::NotAUrl(error.to_string()))?;
        let scheme = url.scheme();
        if NEVER.contains(&scheme) || !self.schemes.iter().any(|allowed| allowed == scheme) {
            let allowed = self.schemes.join(", ");
            return Err(TargetError::Scheme(scheme.to_owned(), allowed));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.as_str().len() > self.longest {
            return Err(TargetError::TooLong(self.longest));
        }
        if let Some(host) = url.host() {
            let name = name_of(&host);
            if name.is_empty() || name.split('.').any(str::is_empty) {
                return Err(TargetError::NotAUrl("the host has an empty part".into()));
            }
            if self.own.as_ref().is_some_and(|own| own.has(&url, &host, &name)) {
                return Err(TargetError::Loop);
            }
            if let Some(domain) = self.blocked.covers(&name) {
                return Err(TargetError::Blocked(domain.to_owned()));
            }
        }
        let warnings = warnings(&url);
        Ok(Target { url: String::from(url).into(), warnings })
    }
}

/// What people should know about a target that is stored already; nothing for what is no URL.
pub fn warnings_of(target: &str) -> Vec<Warning> {
    Url::parse(target).map(|url| warnings(&url)).unwrap_or_default()
}

fn warnings(url: &Url) -> Vec<Warning> {
    let address = match url.host() {
        None => return Vec::new(),
        Some(Host::Domain(domain)) => {
            let mut found = homograph::warnings(domain);
            if is_localhost(domain) {
                found.push(Warning::PrivateAddress);
            }
            return found;
        }
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => {
            address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
        }
    };
    if is_private(address) { vec![Warning::PrivateAddress] } else { Vec::new() }
}

/// A host as it is compared: in lower case, without the dot of the root; IPv4 in IPv6 as IPv4.
fn name_of<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => {
            let name = name.as_ref();
            name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
        }
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            // With brackets: `::` would be a name with empty parts.
            None => format!("[{address}]"),
        },
    }
}

/// Whether a host is the machine that asks for it.
fn is_local<S: AsRef<str>>(host: &Host<S>) -> bool {
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    match host {
        Host::Domain(name) => is_localhost(name.as_ref()),
        Host::Ipv4(address) => is_here(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_here(IpAddr::V6(*address).to_canonical()),
    }
}

/// `localhost` and what is below it (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The ranges of the special-purpose address registries (RFC 6890) that are not reached from
/// elsewhere.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || first == 0
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// What is wrong with a character in a URL, if anything.
fn unfit(character: char) -> Option<&'static str> {
    match character {
        '\r' | '\n' => Some("a line break"),
        _ if character.is_control() => Some("a control character"),
        _ if character.is_whitespace() => Some("a space"),
        _ if is_invisible(character) => Some("an invisible character"),
        _ => None,
    }
}

/// Characters that show nothing or turn the direction of what follows: what is read is not what is
/// there.
pub fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let blocked = BlockList::parse("evil.example\n", "blocked").expect("one domain");
        let schemes = ["http".to_owned(), "HTTPS".to_owned(), "javascript".to_owned()];
        Rules::new(&schemes, 200, "https://Sn.Ip:8443", blocked)
    }

    #[test]
    fn targets_are_kept_in_one_form() {
        for (text, expect) in [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://EXAMPLE.com:443/A?b#c", "https://example.com/A?b#c"),
            ("https:example.com", "https://example.com/"),
            ("https:\\\\example.com\\x", "https://example.com/x"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://[::1]:80/", "http://[::1]/"),
            ("http://[::]/", "http://[::]/"),
            ("https://example.com/a%0d%0aSet-Cookie:x", "https://example.com/a%0d%0aSet-Cookie:x"),
            ("https://example.com/\"<>`{}", "https://example.com/%22%3C%3E%60%7B%7D"),
            ("https://example.com/javascript:alert(1)", "https://example.com/javascript:alert(1)"),
            ("https://notevil.example/", "https://notevil.example/"),
            ("https://sn.ip.example/", "https://sn.ip.example/"),
        ] {
            let target = rules().check(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(&*target.url, expect, "{text}");
            assert!(target.url.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(rules().check(&target.url).as_ref(), Ok(&target), "stays as it is: {text}");
        }
    }

    #[test]
    fn hostile_targets_are_refused() {
        let long = format!("https://example.com/{}", "a".repeat(8192));
        let grows = format!("https://example.com/{}", "ü".repeat(60));
        for (text, code) in [
            ("", "empty"),
            ("example.com", "not-a-url"),
            ("//example.com", "not-a-url"),
            ("/path", "not-a-url"),
            ("https://", "not-a-url"),
            ("https://a..b/", "not-a-url"),
            ("https://./", "not-a-url"),
            ("http://[::1", "not-a-url"),
            ("http://xn--a/", "not-a-url"),
            ("http://exa%00mple.com/", "not-a-url"),
            ("https://example.com:99999/", "not-a-url"),
            ("javascript:alert(1)", "scheme"),
            ("JaVaScRiPt:alert(1)", "scheme"),
            ("java\tscript:alert(1)", "character"),
            ("\u{1}javascript:alert(1)", "character"),
            (" https://example.com", "character"),
            ("https://example.com/\r\nSet-Cookie: a=b", "character"),
            ("https://example.com/\n", "character"),
            ("https://example.com/a b", "character"),
            ("https://example.com/\u{85}", "character"),
            ("https://example.com/\u{2028}", "character"),
            ("https://example.com/\u{202e}gpj.exe", "character"),
            ("https://exam\u{200b}ple.com/", "character"),
            ("https://example.com/\0", "character"),
            ("data:text/html,<script>alert(1)</script>", "scheme"),
            ("vbscript:x", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("ftp://example.com/", "scheme"),
            ("view-source:https://example.com/", "scheme"),
            ("blob:https://example.com/1", "scheme"),
            ("https://user:secret@example.com/", "credentials"),
            ("https://example.com@evil.test/", "credentials"),
            ("https://:x@example.com/", "credentials"),
            ("https://sn.ip/abc", "loop"),
            ("http://SN.IP/", "loop"),
            ("http://sn.ip.:3000/abc", "loop"),
            ("https://ｓn.ip/", "loop"),
            ("https://evil.example/", "blocked"),
            ("https://www.EVIL.example./", "blocked"),
            (long.as_str(), "too-long"),
            (grows.as_str(), "too-long"),
        ] {
            match rules().check(text) {
                Ok(target) => panic!("accepted {text:?} as {}", target.url),
                Err(error) => assert_eq!(error.code(), code, "{text:?}: {error}"),
            }
        }
    }

    #[test]
    fn addresses_are_their_own_host_in_every_spelling() {
        let rules =
            Rules::new(&["http".to_owned()], 200, "http://127.0.0.1:3000", BlockList::default());
        for text in ["http://127.0.0.1/", "http://2130706433:80/x", "http://[::ffff:127.0.0.1]/"] {
            assert_eq!(rules.check(text), Err(TargetError::Loop), "{text}");
        }
        for text in [
            "http://localhost:3000/x",
            "http://LOCALHOST.:3000/",
            "http://a.localhost:3000/",
            "http://127.0.0.2:3000/",
            "http://[::1]:3000/",
            "http://0:3000/",
            "http://[::]:3000/",
            "http://[::ffff:127.9.9.9]:3000/",
        ] {
            assert_eq!(rules.check(text), Err(TargetError::Loop), "{text}");
        }
        for text in ["http://127.0.0.2/", "http://localhost:8080/", "http://localhost.test:3000/"] {
            assert!(rules.check(text).is_ok(), "{text}");
        }
        let elsewhere = Rules::new(&["http".to_owned()], 200, "http://sn.ip", BlockList::default());
        assert!(elsewhere.check("http://localhost/").is_ok());
    }

    #[test]
    fn odd_hosts_are_flagged() {
        for (text, expect) in [
            ("https://example.com/", &[][..]),
            ("https://bücher.example/", &[]),
            ("https://яндекс.рф/", &[]),
            ("https://日本語.jp/", &[]),
            ("https://раураl.com/", &["confusable-host", "mixed-scripts"]),
            ("https://xn--80aa0cbo65f.com/", &["confusable-host"]),
            ("https://аррӏе.com/", &["confusable-host"]),
            ("https://faсebook.com/", &["confusable-host", "mixed-scripts"]),
            ("https://☃.example/", &["mixed-scripts"]),
            ("http://10.1.2.3/", &["private-address"]),
            ("http://localhost:3000/", &["private-address"]),
            ("http://app.localhost./", &["private-address"]),
            ("http://169.254.169.254/latest", &["private-address"]),
            ("http://100.64.0.1/", &["private-address"]),
            ("http://[::1]/", &["private-address"]),
            ("http://[fd00::1]/", &["private-address"]),
            ("http://[::ffff:192.168.0.1]/", &["private-address"]),
            ("http://8.8.8.8/", &[]),
        ] {
            let target = rules().check(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let codes: Vec<_> = target.warnings.iter().map(Warning::code).collect();
            assert_eq!(codes, expect, "{text}: {:?}", target.warnings);
            assert_eq!(warnings_of(&target.url), target.warnings, "{text}");
        }
    }
}
