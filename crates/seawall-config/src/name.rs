//! Names that users give to listeners, upstreams and routes.
//!
//! They become metric labels, log fields and parts of URLs of the admin API, hence the narrow
//! alphabet.

use crate::report::Report;
use crate::source::{Span, quoted};

/// Reports a name that breaks the rule: 1 to 64 of `a-z 0-9 - _ .`.
pub(crate) fn check(name: &str, span: Span, what: &str, report: &mut Report) {
    if let Err((message, help)) = fault(name, what) {
        report.error(span, message, Some(help));
    }
}

/// What is wrong with a name, and how to mend it.
pub(crate) fn fault(name: &str, what: &str) -> Result<(), (String, String)> {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Err((format!("this {what} is empty"), RULE.to_owned()));
    }
    if name.len() > LONGEST {
        let message = format!("this {what} has {} bytes", name.len());
        return Err((message, RULE.to_owned()));
    }
    let Some(bad) = name.chars().find(|&c| !allowed(c)) else {
        return Ok(());
    };
    let message = format!("{} cannot be in a {what}", quoted(&bad.to_string()));
    let lower = name.to_lowercase();
    let help = match lower.chars().all(allowed) {
        true => format!("write `{lower}`: names are in lower case"),
        false => RULE.to_owned(),
    };
    Err((message, help))
}

/// The rule in words.
pub(crate) const RULE: &str = "names have 1 to 64 of the characters a-z, 0-9, `-`, `_` and `.`";

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "a.b_c", "0", &"x".repeat(64)] {
            assert_eq!(fault(good, "name"), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("", "this name is empty"),
            (&*"x".repeat(65), "this name has 65 bytes"),
            ("Web", "`W` cannot be in a name"),
            ("a b", "` ` cannot be in a name"),
            ("é", "`é` cannot be in a name"),
        ] {
            assert_eq!(fault(bad, "name").map_err(|(m, _)| m), Err(message.to_owned()));
        }
        let help = fault("Web", "name").map_err(|(_, help)| help);
        assert_eq!(help, Err("write `web`: names are in lower case".to_owned()));
    }
}
