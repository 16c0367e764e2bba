//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again
//! is answered as it was, for 24 hours.
//!
//! The store remembers, in the transaction of the change itself; here the field is read, and a
//! request is made into the fingerprint by which one is told from another.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::problem::{Invalid, Problem};

/// The name of the field.
const NAME: &str = "Idempotency-Key";

/// Characters of a key at most.
const LONGEST: usize = 255;

/// The key of a request, if it has one: a string of Structured Fields (RFC 9651), or bare.
///
/// # Errors
/// `BadRequest` when there are several, or it is not one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut fields = headers.get_all(NAME).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    let key = field.to_str().ok().and_then(|text| parse(text.trim()));
    match key {
        Some(key) if fields.next().is_none() => Ok(Some(key)),
        _ => Err(Problem::BadRequest(vec![Invalid::header(
            NAME,
            "not-a-key",
            format!("a key is 1 to {LONGEST} printable ASCII characters, in quotes, once"),
        )])),
    }
}

fn parse(text: &str) -> Option<String> {
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(quoted) => {
            let mut key = String::new();
            let mut characters = quoted.strip_suffix('"')?.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
                    '"' => return None,
                    other => key.push(other),
                }
            }
            // The quote at the end may have been an escaped one.
            key
        }
    };
    let is_bare = !text.starts_with('"');
    let fits = key.bytes().all(|byte| {
        (b' '..=b'~').contains(&byte) && !(is_bare && matches!(byte, b' ' | b'"' | b',' | b';'))
    });
    (fits && (1..=LONGEST).contains(&key.len())).then_some(key)
}

/// What a request asks for: which resource, what it says, and which of its parts are good, since
/// rules may change between two tries. The order of fields and the spaces between do not count.
pub(super) fn fingerprint(resource: &str, body: &Value, good: &[bool]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(resource.as_bytes());
    hash.update([0]);
    hash.update((good.len() as u64).to_be_bytes());
    for good in good {
        hash.update([u8::from(*good)]);
    }
    // Objects are sorted by name.
    hash.update(body.to_string().as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde_json::json;

    #[test]
    fn keys_are_quoted_or_bare() {
        let longest = "k".repeat(LONGEST);
        for (text, expect) in [
            ("\"8e03978e-40d5\"", Some("8e03978e-40d5")),
            ("8e03978e-40d5", Some("8e03978e-40d5")),
            ("\"a b\"", Some("a b")),
            (r#""a\"b\\""#, Some(r#"a"b\"#)),
            (longest.as_str(), Some(longest.as_str())),
            ("", None),
            ("\"\"", None),
            ("\"", None),
            ("\"a", None),
            (r#""a\""#, None),
            (r#""a\b""#, None),
            ("\"a\"b\"", None),
            ("a b", None),
            ("a, b", None),
            ("a;b=c", None),
            ("\"a\";b", None),
            ("\"\u{e4}\"", None),
        ] {
            assert_eq!(parse(text).as_deref(), expect, "{text}");
        }
        assert_eq!(parse(&"k".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn one_key_a_request() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), Ok(None));
        headers.append("idempotency-key", HeaderValue::from_static("\"a\""));
        assert_eq!(key(&headers), Ok(Some("a".to_owned())));
        headers.append("idempotency-key", HeaderValue::from_static("\"a\""));
        assert!(key(&headers).is_err());
    }

    #[test]
    fn fingerprints_are_of_what_is_meant() {
        let text = r#"{"b": [1,  2], "a": "x"}"#;
        let other = r#"{"a":"x","b":[1,2]}"#;
        let parsed = |text| serde_json::from_str::<Value>(text).expect("JSON");
        let one = fingerprint("links", &parsed(text), &[true]);
        assert_eq!(one, fingerprint("links", &parsed(other), &[true]));
        assert_ne!(one, fingerprint("links/bulk", &parsed(text), &[true]));
        assert_ne!(one, fingerprint("links", &parsed(text), &[false]));
        assert_ne!(one, fingerprint("links", &json!({"a": "x", "b": [2, 1]}), &[true]));
    }
}
