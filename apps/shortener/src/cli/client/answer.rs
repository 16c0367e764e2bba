//! What a shortener answers, when it is not what was wanted: which problem it is, in words that are
//! fit for a terminal, and how to mend it. Pure.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::terminal::shown;

/// A shortener that did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{base} answers {status}: {words}{}", mend(word))]
pub(in crate::cli) struct Refused {
    base: String,
    status: u16,
    word: String,
    words: String,
}

impl Refused {
    /// Whether this is a problem of that kind: the last word of its `type`.
    pub(in crate::cli) fn is(error: &anyhow::Error, word: &str) -> bool {
        error.downcast_ref::<Refused>().is_some_and(|refused| refused.word == word)
    }
}

/// What else to do about a problem than it says itself.
fn mend(word: &str) -> &'static str {
    match word {
        "" => "; is a shortener there? SNIP_URL or --url says where it is",
        "unauthenticated" => "; SNIP_KEY or --key says which key is used",
        "forbidden" => "; `snip key create` makes keys, SNIP_KEY or --key says which one is used",
        "no-link" => "; case counts, and `snip list --search TEXT` finds links",
        _ => "",
    }
}

/// What an answer of this server says.
///
/// # Errors
/// [`Refused`]; or when a good answer is not of the form that it should have.
pub(super) fn understand<T: DeserializeOwned>(
    base: &str,
    status: u16,
    body: &[u8],
) -> anyhow::Result<T> {
    if !(200..300).contains(&status) {
        let (word, words) = problem_of(body);
        return Err(Refused { base: base.to_owned(), status, word, words }.into());
    }
    // What has no content is nothing.
    let body = if body.is_empty() { b"null" } else { body };
    let place = || format!("the answer of {base} is not that of a shortener{}", mend(""));
    serde_json::from_slice(body).with_context(place)
}

/// The word of a problem, which is empty when it is none, and its sentences.
pub(super) fn problem_of(body: &[u8]) -> (String, String) {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:snip:problem:"));
    (word.unwrap_or_default().to_owned(), words_of(&problem))
}

/// What a problem says: each rule that is broken, or its detail.
pub(in crate::cli) fn words_of(problem: &Value) -> String {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let each: Vec<String> = errors
        .iter()
        .filter_map(|error| {
            let place =
                ["pointer", "parameter", "header"].iter().find_map(|key| error[*key].as_str());
            let field = place.unwrap_or_default().rsplit('/').next().unwrap_or_default();
            Some(format!("{field}: {}", error["detail"].as_str()?))
        })
        .collect();
    let words = match each.is_empty() {
        true => problem["detail"].as_str().unwrap_or("it does not say why").to_owned(),
        false => each.join("; "),
    };
    shown(&words).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> String {
        let error = understand::<Value>("http://a", status, body.as_bytes()).expect_err("refused");
        error.to_string()
    }

    #[test]
    fn problems_say_what_where_and_how_to_mend_it() {
        for (status, body, expect) in [
            (
                404,
                r#"{"type":"urn:snip:problem:no-link","detail":"there is no link `x`"}"#,
                "http://a answers 404: there is no link `x`; case counts, and `snip list --search \
                 TEXT` finds links",
            ),
            (
                422,
                r##"{"type":"urn:snip:problem:invalid","errors":[{"pointer":"#/tags/0","detail":"no"},
                    {"pointer":"#/title","detail":"\u001b[2J"}]}"##,
                "http://a answers 422: 0: no; title: \\u{1b}[2J",
            ),
            (
                302,
                "<html>",
                "http://a answers 302: it does not say why; is a shortener there? SNIP_URL or \
                 --url says where it is",
            ),
        ] {
            assert_eq!(said(status, body), expect);
        }
        assert!(said(200, "<html>").contains("is not that of a shortener; is a shortener there?"));
        let error = understand::<Value>("http://a", 412, br#"{"type":"urn:snip:problem:changed"}"#);
        let error = error.expect_err("refused").context("more");
        assert!(Refused::is(&error, "changed") && !Refused::is(&error, "no-link"));
    }
}
