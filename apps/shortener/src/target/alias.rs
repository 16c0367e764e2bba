//! What a link may be called.

use crate::link::{Code, LONGEST_CODE};

/// Words that no link may be called, whatever their case: paths of this server, now or likely, and
/// names that would lend a link an authority that it does not have. Sorted.
pub const RESERVED: [&str; 41] = [
    "about",
    "account",
    "admin",
    "api",
    "app",
    "assets",
    "auth",
    "config",
    "dashboard",
    "docs",
    "favicon",
    "health",
    "healthz",
    "help",
    "home",
    "index",
    "key",
    "keys",
    "link",
    "links",
    "live",
    "login",
    "logout",
    "me",
    "metrics",
    "new",
    "openapi",
    "password",
    "qr",
    "readyz",
    "report",
    "robots",
    "session",
    "settings",
    "signin",
    "signout",
    "signup",
    "static",
    "stats",
    "status",
    "well-known",
];

/// Why an alias is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// Other characters, or too many.
    #[error("an alias has 1 to {LONGEST_CODE} letters, digits, `-` and `_`")]
    Character,
    /// One of [`RESERVED`].
    #[error("this alias is reserved for the shortener itself")]
    Reserved,
}

impl AliasError {
    /// A word for programs. Stable.
    pub fn code(self) -> &'static str {
        match self {
            AliasError::Character => "character",
            AliasError::Reserved => "reserved",
        }
    }
}

/// An alias as a code.
///
/// # Errors
/// When it is not of the characters of codes, or reserved.
pub fn alias(text: &str) -> Result<Code, AliasError> {
    let code = Code::new(text).map_err(|_| AliasError::Character)?;
    if RESERVED.binary_search(&text.to_ascii_lowercase().as_str()).is_ok() {
        return Err(AliasError::Reserved);
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_words_that_are_free() {
        assert!(RESERVED.is_sorted(), "the search is binary");
        let longest = "a".repeat(LONGEST_CODE);
        for fit in ["a", "Spring_Sale-26", "apis", "-", &longest] {
            assert_eq!(alias(fit).map(String::from).as_deref(), Ok(fit));
        }
        let too_long = "a".repeat(LONGEST_CODE + 1);
        for unfit in ["", "a b", "a/b", "a.b", "ä", "a\n", "%61", &too_long] {
            assert_eq!(alias(unfit), Err(AliasError::Character), "{unfit}");
        }
        for reserved in ["api", "API", "healthz", "Login", "links"] {
            assert_eq!(alias(reserved), Err(AliasError::Reserved), "{reserved}");
        }
    }
}
