//! `Cache-Control` and its targeted forms.
//!
//! [`demand`] reads what a request asks of a cache (RFC 9111 §5.2.1), [`Control::of`] what an answer
//! allows (§5.2.2). Answers may carry fields that are meant for some caches only (RFC 9213); they
//! have a stricter grammar, see [`targeted`]. What is malformed is read as the more cautious of what
//! it may mean, and nothing here decides anything: [`crate::freshness`] does.

mod syntax;
pub mod targeted;

use seawall_h1::{Headers, Known, fields};

use syntax::{Argument, Directives};

/// The largest number of seconds; more is as much as this (RFC 9111 §1.2.2).
pub const MAX_SECONDS: u32 = 1 << 31;

/// What a request asks of a cache (RFC 9111 §5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Neither the request nor its answer may be stored.
    pub no_store: bool,
    /// A stored answer is to be validated first.
    pub no_cache: bool,
    /// The greatest age in seconds. A value that cannot be read is 0.
    pub max_age: Option<u32>,
    /// Seconds for which the answer must stay fresh. A value that cannot be read is
    /// [`MAX_SECONDS`].
    pub min_fresh: Option<u32>,
    /// Seconds by which the answer may be stale; `u32::MAX` for any number.
    pub max_stale: Option<u32>,
    /// Seconds by which the answer may be stale when the origin fails (RFC 5861 §4). A value that
    /// cannot be read is as if there were none.
    pub stale_if_error: Option<u32>,
    /// Nothing is to be fetched.
    pub only_if_cached: bool,
}

/// What a request asks of a cache. `Pragma: no-cache` is listened to where there is no
/// `Cache-Control` (RFC 9111 §5.4). Of several values of one directive the most restrictive holds.
#[inline]
pub fn demand(request: &Headers) -> Demand {
    let mut demand = Demand::default();
    let mut values = request.all_known(Known::CacheControl).peekable();
    if values.peek().is_none() {
        demand.no_cache = request
            .all_known(Known::Pragma)
            .flat_map(fields::list)
            .any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        return demand;
    }
    for (name, argument) in values.flat_map(Directives::of) {
        let is = |directive: &[u8]| name.eq_ignore_ascii_case(directive);
        // The length first: most requests say `no-cache` or `max-age=0`.
        match name.len() {
            7 if is(b"max-age") => least(&mut demand.max_age, argument.seconds().unwrap_or(0)),
            8 if is(b"no-cache") => demand.no_cache = true,
            8 if is(b"no-store") => demand.no_store = true,
            9 if is(b"min-fresh") => {
                let seconds = argument.seconds().unwrap_or(MAX_SECONDS);
                demand.min_fresh = Some(demand.min_fresh.map_or(seconds, |one| one.max(seconds)));
            }
            9 if is(b"max-stale") => least(
                &mut demand.max_stale,
                match argument {
                    Argument::None => u32::MAX,
                    argument => argument.seconds().unwrap_or(0),
                },
            ),
            14 if is(b"only-if-cached") => demand.only_if_cached = true,
            14 if is(b"stale-if-error") => {
                if let Some(seconds) = argument.seconds() {
                    least(&mut demand.stale_if_error, seconds);
                }
            }
            _ => {}
        }
    }
    demand
}

/// What an answer allows (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control<'a> {
    /// The field that was read.
    pub source: Source,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`: it is validated before each use, or fields of it are not stored.
    pub no_cache: Scope<'a>,
    /// `private`: it is for one user, or fields of it are.
    pub private: Scope<'a>,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `immutable`.
    pub immutable: bool,
    /// `max-age`, in seconds. A value that cannot be read is 0, of several the least holds: answers
    /// with invalid or conflicting freshness are to be taken for stale (RFC 9111 §4.2.1).
    pub max_age: Option<u32>,
    /// `s-maxage`, in seconds, read like `max-age`.
    pub s_maxage: Option<u32>,
    /// `stale-while-revalidate`, in seconds. A value that cannot be read is as if there were none,
    /// of several the least holds.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error`, in seconds, read like `stale-while-revalidate`.
    pub stale_if_error: Option<u32>,
}

/// The field that says how an answer may be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// There is none.
    #[default]
    None,
    /// `Seawall-Cache-Control`.
    Seawall,
    /// `CDN-Cache-Control`.
    Cdn,
    /// `Cache-Control`.
    CacheControl,
}

impl Source {
    /// Whether it is a targeted field, so that `Expires` is not to be looked at (RFC 9213 §2.2).
    pub fn is_targeted(self) -> bool {
        matches!(self, Source::Seawall | Source::Cdn)
    }
}

/// What `no-cache` and `private` are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope<'a> {
    /// The directive is not there.
    #[default]
    Nothing,
    /// These fields.
    Fields(Vec<&'a [u8]>),
    /// All of the answer.
    Whole,
}

impl<'a> Scope<'a> {
    /// Whether the directive is about all of the answer.
    pub fn is_whole(&self) -> bool {
        matches!(self, Scope::Whole)
    }

    /// The fields it is about, if it is about some only.
    pub fn fields(&self) -> &[&'a [u8]] {
        if let Scope::Fields(names) = self { names } else { &[] }
    }

    /// Notes another occurrence; `names` is the list of fields it is about, if it has one. A list
    /// without a name, or with what is no name, may have been meant for anything.
    fn widen(&mut self, names: Option<&'a [u8]>) {
        let list = || fields::list(names.unwrap_or_default());
        if list().next().is_none() || !list().all(fields::is_token) {
            *self = Scope::Whole;
            return;
        }
        match self {
            Scope::Nothing => *self = Scope::Fields(list().collect()),
            Scope::Fields(names) => names.extend(list()),
            Scope::Whole => {}
        }
    }
}

impl<'a> Control<'a> {
    /// What `answer` allows: its `Seawall-Cache-Control`, else its `CDN-Cache-Control`, else its
    /// `Cache-Control`. A targeted field that is empty or malformed is as if it were not there
    /// (RFC 9213 §2.1).
    pub fn of(answer: &'a Headers) -> Control<'a> {
        let targets =
            [(Known::SeawallCacheControl, Source::Seawall), (Known::CdnCacheControl, Source::Cdn)];
        for (field, source) in targets {
            if let Some(control) = targeted::parse(answer.all_known(field)) {
                return Control { source, ..control };
            }
        }
        let mut control = Control::default();
        for value in answer.all_known(Known::CacheControl) {
            control.source = Source::CacheControl;
            for (name, argument) in Directives::of(value) {
                control.note(name, argument);
            }
        }
        control
    }

    fn note(&mut self, name: &[u8], argument: Argument<'a>) {
        let is = |directive: &[u8]| name.eq_ignore_ascii_case(directive);
        if is(b"max-age") {
            least(&mut self.max_age, argument.seconds().unwrap_or(0));
        } else if is(b"s-maxage") {
            least(&mut self.s_maxage, argument.seconds().unwrap_or(0));
        } else if is(b"no-store") {
            self.no_store = true;
        } else if is(b"no-cache") {
            self.no_cache.widen(argument.text());
        } else if is(b"private") {
            self.private.widen(argument.text());
        } else if is(b"public") {
            self.public = true;
        } else if is(b"must-revalidate") {
            self.must_revalidate = true;
        } else if is(b"proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is(b"must-understand") {
            self.must_understand = true;
        } else if is(b"no-transform") {
            self.no_transform = true;
        } else if is(b"immutable") {
            self.immutable = true;
        } else if let Some(seconds) = argument.seconds() {
            if is(b"stale-while-revalidate") {
                least(&mut self.stale_while_revalidate, seconds);
            } else if is(b"stale-if-error") {
                least(&mut self.stale_if_error, seconds);
            }
        }
    }
}

fn least(kept: &mut Option<u32>, seconds: u32) {
    *kept = Some(kept.map_or(seconds, |one| one.min(seconds)));
}

/// Non-negative seconds (RFC 9111 §1.2.2): digits and nothing else, as many as there are.
pub fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut seconds: u32 = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        seconds =
            seconds.saturating_mul(10).saturating_add(u32::from(byte - b'0')).min(MAX_SECONDS);
    }
    Some(seconds)
}
