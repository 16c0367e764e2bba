//! Names and values of header fields (RFC 9110 §5) and methods (§9), checked before a door ever
//! sends or compares them.

use crate::rules::Fault;
use crate::source::quoted;
use crate::text::Text;

/// Reads the name of a field that is edited: lower-cased, no hop-by-hop or framing field.
pub(crate) fn edited_name(name: &str) -> Result<Box<str>, (String, String)> {
    let name = field_name(name)?;
    match FRAMING.contains(&&*name) {
        false => Ok(name),
        true => {
            let message = format!("`{name}` cannot be edited");
            let help = "it belongs to the connection or the framing of a message; Seawall writes it itself";
            Err((message, help.to_owned()))
        }
    }
}

/// Reads the name of a field that is compared: lower-cased, not `host`.
pub(crate) fn matched_name(name: &str) -> Result<Box<str>, (String, String)> {
    let name = field_name(name)?;
    match &*name {
        "host" => Err((
            "the host is not matched here".to_owned(),
            "use `host` of the route, which also knows hosts without their port".to_owned(),
        )),
        _ => Ok(name),
    }
}

/// Reads the name of a field that says something of a request or of an answer, rather than of a
/// connection: lower-cased, no hop-by-hop or framing field.
pub(crate) fn chosen_name(text: &Text) -> Result<Box<str>, Fault> {
    let fault = |(message, help): (String, String)| Fault::whole(text, message, help);
    let name = field_name(&text.value).map_err(fault)?;
    match FRAMING.contains(&&*name) {
        false => Ok(name),
        true => {
            let message = format!("`{name}` is about one connection, not about what is asked for");
            Err(Fault::whole(text, message, "take it out"))
        }
    }
}

/// Reads the name of a query parameter, as it is after percent-decoding.
pub(crate) fn parameter_name(name: &str) -> Result<Box<str>, (String, String)> {
    match (name.is_empty(), name.len() > LONGEST_NAME) {
        (true, _) => Err(("this name is empty".to_owned(), "name a query parameter".to_owned())),
        (_, true) => Err(("this name is too long".to_owned(), LONGEST_HELP.to_owned())),
        _ => Ok(name.into()),
    }
}

/// Reads the name of a cookie, a token (RFC 6265 §4.1.1).
pub(crate) fn cookie_name(name: &str) -> Result<Box<str>, (String, String)> {
    match (is_token(name), name.len() > LONGEST_NAME) {
        (_, true) => Err(("this name is too long".to_owned(), LONGEST_HELP.to_owned())),
        (true, _) => Ok(name.into()),
        _ => {
            let message = format!("{} is not the name of a cookie", quoted(name));
            Err((message, "names have letters, digits, `-` and `_`".to_owned()))
        }
    }
}

/// Reads the name of a claim of a JSON Web Token.
pub(crate) fn claim(name: &str) -> Result<Box<str>, (String, String)> {
    match (name.is_empty(), name.len() > LONGEST_NAME) {
        (true, _) => {
            let help = "name a claim of the token, such as `sub`";
            Err(("this name is empty".to_owned(), help.to_owned()))
        }
        (_, true) => Err(("this name is too long".to_owned(), LONGEST_HELP.to_owned())),
        _ => Ok(name.into()),
    }
}

/// Reads an item of `remove`.
pub(crate) fn edited_name_text(text: &Text) -> Result<Box<str>, Fault> {
    edited_name(&text.value).map_err(|(message, help)| Fault::whole(text, message, help))
}

/// Reads a value to compare a field with.
pub(crate) fn matched_value(text: &Text) -> Result<Box<str>, Fault> {
    check_value(text)?;
    Ok(text.value.as_str().into())
}

/// Reads a value to compare a query parameter with: anything, since it is compared after decoding.
pub(crate) fn parameter_value(text: &Text) -> Result<Box<str>, Fault> {
    match text.value.len() > LONGEST_VALUE {
        false => Ok(text.value.as_str().into()),
        true => {
            let message = format!("this value has {} bytes", text.value.len());
            Err(Fault::whole(text, message, "at most 8KiB are allowed"))
        }
    }
}

/// Reads a media type such as `text/html; charset=utf-8`.
pub(crate) fn media_type(text: &Text) -> Result<Box<str>, Fault> {
    check_value(text)?;
    let essence = text.value.split(';').next().unwrap_or_default().trim_end();
    let good = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if !good || !text.value.is_ascii() {
        let message = format!("{} is not a media type", text.shown());
        return Err(Fault::whole(text, message, "write for example \"text/html; charset=utf-8\""));
    }
    Ok(text.value.as_str().into())
}

/// Reads a method: an upper-case token that can reach a route.
pub(crate) fn method(text: &Text) -> Result<Box<str>, Fault> {
    let value = text.value.as_str();
    let fault = |message: String, help: String| Err(Fault::whole(text, message, help));
    if !is_token(value) || value.len() > 32 {
        let help = "write for example \"GET\"; leave `methods` away for any".to_owned();
        return fault(format!("{} is not a method", text.shown()), help);
    }
    if value.bytes().any(|b| b.is_ascii_lowercase()) {
        let message = format!("{} is not in upper case", text.shown());
        let help = match text.is_from_environment() {
            true => "methods are told apart by case".to_owned(),
            false => {
                format!("write \"{}\": methods are told apart by case", value.to_ascii_uppercase())
            }
        };
        return fault(message, help);
    }
    if matches!(value, "CONNECT" | "TRACE") {
        let help = "Seawall refuses it before any route; take it out".to_owned();
        return fault(format!("{} never reaches a route", text.shown()), help);
    }
    Ok(value.into())
}

/// Reports what cannot stand in the value of a field: control characters but for tabs inside, and
/// white space at either end, which is not part of a value.
pub(crate) fn check_value(text: &Text) -> Result<(), Fault> {
    let value = text.value.as_str();
    let bad = |c: char| c.is_control() && c != '\t';
    if let Some((at, found)) = value.char_indices().find(|&(_, c)| bad(c)) {
        let range = at..at + found.len_utf8();
        let message = format!("{} has a control character", text.shown());
        let help = "the value of a header field is one line";
        return Err(Fault::part(range, message, help));
    }
    if value.trim_matches([' ', '\t']).len() < value.len() {
        let message = format!("{} begins or ends with white space", text.shown());
        return Err(Fault::whole(text, message, "take it away: it would not be part of the value"));
    }
    if value.len() > LONGEST_VALUE {
        let message = format!("this value has {} bytes", value.len());
        return Err(Fault::whole(text, message, "at most 8KiB are allowed"));
    }
    Ok(())
}

/// Fields of a connection or of a message's framing, which only the codec writes.
pub(crate) const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// Reads the name of a field, lower-cased.
pub(crate) fn field_name(name: &str) -> Result<Box<str>, (String, String)> {
    if name.len() > LONGEST_NAME {
        return Err(("this name is too long".to_owned(), LONGEST_HELP.to_owned()));
    }
    if !is_token(name) {
        let message = format!("{} is not the name of a header field", quoted(name));
        let help = "names have letters, digits and `-`, no spaces and no `:`".to_owned();
        return Err((message, help));
    }
    Ok(name.to_ascii_lowercase().into())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

const LONGEST_NAME: usize = 256;
const LONGEST_HELP: &str = "at most 256 bytes are allowed";
const LONGEST_VALUE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = |name: &str| edited_name(name).map_err(|(message, _)| message);
        assert_eq!(name("X-Frame-Options"), Ok("x-frame-options".into()));
        assert_eq!(name("host"), Ok("host".into()));
        for framing in FRAMING {
            let message = format!("`{framing}` cannot be edited");
            let upper = framing.to_ascii_uppercase();
            assert_eq!(name(&upper), Err(message));
        }
        for bad in ["", "a b", "a:", "é", "a\r\nb"] {
            let message = format!("{} is not the name of a header field", quoted(bad));
            assert_eq!(name(bad), Err(message));
        }
        assert_eq!(name(&"x".repeat(257)), Err("this name is too long".to_owned()));
        assert!(matched_name("Host").is_err());
        assert_eq!(matched_name("Upgrade"), Ok("upgrade".into()));
        assert!(parameter_name("").is_err());
        assert_eq!(parameter_name("a b"), Ok("a b".into()));
    }

    #[test]
    fn values() {
        let value = |value: &str| {
            matched_value(&Text::plain(value)).map_err(|fault| (fault.range, fault.message))
        };
        for good in ["", "a b\tc", "ü", "*"] {
            assert_eq!(value(good), Ok(good.into()));
        }
        for (bad, range) in
            [("a\r\nb", 1..2), ("a\u{0}", 1..2), ("\u{7f}", 0..1), (" a", 0..2), ("a\t", 0..2)]
        {
            assert_eq!(value(bad).map_err(|(range, _)| range), Err(range), "{bad:?}");
        }
        assert!(value(&"x".repeat(LONGEST_VALUE)).is_ok());
        assert!(value(&"x".repeat(LONGEST_VALUE + 1)).is_err());
    }

    #[test]
    fn methods_and_media_types() {
        for (text, expect) in [
            ("GET", Ok("GET")),
            ("M-SEARCH", Ok("M-SEARCH")),
            ("get", Err("`get` is not in upper case")),
            ("GET,POST", Err("`GET,POST` is not a method")),
            ("", Err("`` is not a method")),
            ("TRACE", Err("`TRACE` never reaches a route")),
        ] {
            let found = method(&Text::plain(text)).map_err(|fault| fault.message);
            assert_eq!(found, expect.map(Box::from).map_err(str::to_owned), "{text}");
        }
        for good in ["text/plain", "text/html; charset=utf-8", "application/problem+json"] {
            assert!(media_type(&Text::plain(good)).is_ok(), "{good}");
        }
        for bad in ["", "html", "text/", "text/ü", "text/plain\n", "a b/c"] {
            assert!(media_type(&Text::plain(bad)).is_err(), "{bad}");
        }
    }
}
