//! A short link, and what may be asked of the store about links.
//!
//! Pure types: validation of what people send is in `target.rs`, storage in `store.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 (UTC).
pub type Millis = i64;

/// What a short link is called: seven characters of Base62 when it was made here, or an alias that
/// somebody chose. Case counts. Also what links would be sharded by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Box<str>);

/// Characters that a code may have at most.
pub const LONGEST_CODE: usize = 64;

/// A text that cannot be a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has 1 to {LONGEST_CODE} letters, digits, `-` and `_`")]
pub struct NotACode;

impl Code {
    /// A code from text.
    ///
    /// # Errors
    /// When it is empty, longer than [`LONGEST_CODE`], or has other characters than ASCII letters,
    /// digits, `-` and `_`.
    pub fn new(text: &str) -> Result<Code, NotACode> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match text.len() {
            1..=LONGEST_CODE if text.bytes().all(is_fit) => Ok(Code(text.into())),
            _ => Err(NotACode),
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Code {
    type Error = NotACode;

    fn try_from(text: String) -> Result<Code, NotACode> {
        Code::new(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.0.into()
    }
}

/// With what status a link redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirect {
    /// 301: for ever; browsers remember it, so that later clicks are not seen.
    Permanent,
    /// 302: every click is seen.
    #[default]
    Found,
    /// 307: as 302, and the method is kept.
    Temporary,
    /// 308: as 301, and the method is kept.
    PermanentKeeping,
}

impl Redirect {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Redirect::Permanent => 301,
            Redirect::Found => 302,
            Redirect::Temporary => 307,
            Redirect::PermanentKeeping => 308,
        }
    }

    /// The redirect with this status code, if there is one.
    pub fn of(status: u16) -> Option<Redirect> {
        [Redirect::Permanent, Redirect::Found, Redirect::Temporary, Redirect::PermanentKeeping]
            .into_iter()
            .find(|redirect| redirect.status() == status)
    }
}

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is called.
    pub code: Code,
    /// Where it leads: an absolute URL.
    pub target: Box<str>,
    /// With what status.
    pub redirect: Redirect,
    /// Whether the query of whoever follows it is sent on.
    pub forward_query: bool,
    /// From when on it leads nowhere (410).
    pub expires: Option<Millis>,
    /// Clicks that are left, if they are limited; at 0 it leads nowhere (410).
    pub clicks_left: Option<i64>,
    /// The hash of its password (argon2id, PHC string), if it has one.
    pub password: Option<Box<str>>,
    /// It leads nowhere (404) until it is enabled again.
    pub disabled: bool,
    /// What people call it.
    pub title: Option<Box<str>>,
    /// By what people find it. Sorted, each once.
    pub tags: Vec<Box<str>>,
    /// When it was made.
    pub created: Millis,
    /// When it was changed last.
    pub updated: Millis,
    /// Grows by one with each change.
    pub version: i64,
    /// The API key that made it.
    pub owner: i64,
}

/// A link to be made. Without a code, one is made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// A chosen alias, or `None` for a code of the sequence.
    pub alias: Option<Code>,
    /// Where it leads.
    pub target: Box<str>,
    /// With what status.
    pub redirect: Redirect,
    /// Whether the query of whoever follows it is sent on.
    pub forward_query: bool,
    /// From when on it leads nowhere.
    pub expires: Option<Millis>,
    /// Clicks that it has, if they are limited.
    pub clicks_left: Option<i64>,
    /// The hash of its password (argon2id, PHC string).
    pub password: Option<Box<str>>,
    /// What people call it.
    pub title: Option<Box<str>>,
    /// By what people find it.
    pub tags: Vec<Box<str>>,
    /// The API key that makes it.
    pub owner: i64,
}

/// What is to be changed of a link. `None` leaves a thing as it is; `Some(None)` takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkPatch {
    /// Where it leads.
    pub target: Option<Box<str>>,
    /// With what status.
    pub redirect: Option<Redirect>,
    /// Whether the query of whoever follows it is sent on.
    pub forward_query: Option<bool>,
    /// From when on it leads nowhere.
    pub expires: Option<Option<Millis>>,
    /// Clicks that it has, if they are limited.
    pub clicks_left: Option<Option<i64>>,
    /// The hash of its password (argon2id, PHC string).
    pub password: Option<Option<Box<str>>>,
    /// Whether it leads nowhere until it is enabled again.
    pub disabled: Option<bool>,
    /// What people call it.
    pub title: Option<Option<Box<str>>>,
    /// By what people find it.
    pub tags: Option<Vec<Box<str>>>,
}

/// In which order links are listed: by when they were made, and by code where that is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The last one first.
    #[default]
    Newest,
    /// The first one first.
    Oldest,
}

/// Which links are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkQuery {
    /// Only those whose code, target or title has this text in it, case aside.
    pub text: Option<String>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// In which order.
    pub order: Order,
    /// Only those that come behind this one: `(created, code)` of the last one seen.
    pub after: Option<(Millis, Code)>,
    /// At most so many.
    pub limit: u32,
}
