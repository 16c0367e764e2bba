//! Paths and path patterns in normal form.
//!
//! The normal form of a path, as [`crate::plan::PathPattern`] promises it: it begins with `/`; no
//! segment is empty, `.` or `..`, except that the last may be empty (`/a/` is not `/a`); a
//! character stands for itself when RFC 3986 §3.3 allows it in a segment ([`stands_for_itself`]),
//! and every other byte is percent-encoded with upper-case digits, `/` inside a segment as `%2F`.
//! `%3B` and `%2B` are not `;` and `+`. Requests are brought into the same form.

use crate::plan::PathPattern;
use crate::rules::Fault;
use crate::text::Text;

/// Reads the `path` of a route: `/exact` or `/prefix/*`.
pub(crate) fn pattern(text: &Text) -> Result<PathPattern, Fault> {
    let value = text.value.as_str();
    let star = |range: std::ops::Range<usize>, help: String| {
        let message = format!("{} has a `*` in a place where it means nothing", text.shown());
        Err(Fault::part(range, message, help))
    };
    if value == "*" {
        return star(0..1, "write \"/*\" for every path, or leave `path` away".to_owned());
    }
    let (path, prefix) = match value.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (value, false),
    };
    if let Some(at) = path.find('*') {
        let help = match path.strip_suffix('*') {
            Some(front) if !prefix && !front.contains('*') && !text.is_from_environment() => {
                format!(
                    "write \"{}/*\" for that path and all below it",
                    front.trim_end_matches('/')
                )
            }
            _ => "a `*` stands at the end after a slash, as in \"/api/*\"".to_owned(),
        };
        return star(at..at + 1, format!("{help}; for the character itself write `%2A`"));
    }
    if prefix && path.ends_with('/') {
        let message = format!("{} has an empty segment", text.shown());
        return Err(Fault::part(path.len() - 1..path.len() + 1, message, ONE_SLASH));
    }
    match (path, prefix) {
        ("", true) => Ok(PathPattern::Prefix("".into())),
        (_, true) => Ok(PathPattern::Prefix(normal(path, text)?.into())),
        (_, false) => Ok(PathPattern::Exact(normal(path, text)?.into())),
    }
}

/// Reads `strip-prefix` and `add-prefix`.
pub(crate) fn prefix(text: &Text) -> Result<Box<str>, Fault> {
    let value = text.value.as_str();
    if value == "/" {
        let message = "`/` is no prefix: every path begins with it".to_owned();
        return Err(Fault::whole(text, message, "leave the key away"));
    }
    let trimmed = value.trim_end_matches('*').trim_end_matches('/');
    if trimmed.len() < value.len() && trimmed.starts_with('/') {
        let message = format!("{} does not end in a name", text.shown());
        let help = match text.is_from_environment() {
            true => "write it without a slash at the end".to_owned(),
            false => format!("write \"{trimmed}\""),
        };
        return Err(Fault::part(trimmed.len()..value.len(), message, help));
    }
    normal(value, text).map(String::into_boxed_str)
}

/// Whether a byte may stand for itself in a segment of a path in normal form: unreserved
/// characters, sub-delimiters, `:` and `@`.
pub(crate) fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Whether `path` is `prefix` or below it. Both in normal form, `prefix` without a trailing slash.
pub(crate) fn is_within(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `path`, a part of `text` from its start, in normal form.
fn normal(path: &str, text: &Text) -> Result<String, Fault> {
    let fault = |range, what: &str, help: &str| {
        Err(Fault::part(range, format!("{} {what}", text.shown()), help))
    };
    if path.len() > LONGEST {
        return fault(0..path.len(), "is too long", "a path here has at most 2048 bytes");
    }
    let Some(inside) = path.strip_prefix('/') else {
        let help = match text.is_from_environment() || path.contains("://") {
            true => "a path begins with `/`".to_owned(),
            false => format!("a path begins with `/`: write \"/{}\"", text.value),
        };
        return fault(0..text.value.len(), "does not begin with `/`", &help);
    };
    let mut out = String::with_capacity(path.len());
    let mut at = 1;
    let mut segments = inside.split('/').peekable();
    while let Some(segment) = segments.next() {
        let range = at..at + segment.len();
        at = range.end + 1;
        out.push('/');
        if segment.is_empty() && segments.peek().is_some() {
            let range = range.start - 1..range.start + 1;
            return fault(range, "has an empty segment", ONE_SLASH);
        }
        let start = out.len();
        encode(segment, range.start, text, &mut out)?;
        if matches!(&out[start..], "." | "..") {
            let help = "requests are matched after such segments are resolved; write the path they lead to";
            return fault(range, "has a `.` or `..` segment", help);
        }
    }
    Ok(out)
}

fn encode(segment: &str, start: usize, text: &Text, out: &mut String) -> Result<(), Fault> {
    let bytes = segment.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let place = start + at..start + at + 1;
        let raw = byte != b'%';
        let byte = match byte {
            b'%' => {
                let Some(decoded) = bytes.get(at + 1..at + 3).and_then(hex) else {
                    let message =
                        format!("{} has a `%` without two hexadecimal digits", text.shown());
                    return Err(Fault::part(
                        place,
                        message,
                        "write `%25` for the character itself",
                    ));
                };
                at += 2;
                decoded
            }
            b'?' | b'#' => {
                let message = format!("{} has a query or fragment", text.shown());
                let help = "a query goes into `match-query`; for the characters themselves write `%3F` or `%23`";
                return Err(Fault::part(place, message, help));
            }
            byte => byte,
        };
        if byte < 0x20 || byte == 0x7f {
            let message = format!("{} has a control character", text.shown());
            return Err(Fault::part(place, message, "no request with one is ever matched"));
        }
        // Encoded, these mean something else to some servers, so they stay as they are written.
        let means_itself = raw || !matches!(byte, b';' | b'+');
        match stands_for_itself(byte) && means_itself {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        at += 1;
    }
    Ok(())
}

fn hex(digits: &[u8]) -> Option<u8> {
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    u8::from_str_radix(text, 16).ok()
}

const ONE_SLASH: &str = "write one slash instead of several";
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_in_normal_form() {
        let exact = |path: &str| Ok(PathPattern::Exact(path.into()));
        let below = |path: &str| Ok(PathPattern::Prefix(path.into()));
        for (text, expect) in [
            ("/", exact("/")),
            ("/*", below("")),
            ("/api", exact("/api")),
            ("/api/", exact("/api/")),
            ("/api/*", below("/api")),
            ("/a b", exact("/a%20b")),
            ("/é", exact("/%C3%A9")),
            ("/%c3%a9", exact("/%C3%A9")),
            ("/%61%7E%3b", exact("/a~%3B")),
            ("/a%2fb", exact("/a%2Fb")),
            ("/a\\b", exact("/a%5Cb")),
            ("/a:b@c;d=e,f+g!$&'()", exact("/a:b@c;d=e,f+g!$&'()")),
            ("/%2A", exact("/*")),
            ("/...", exact("/...")),
            ("/%25", exact("/%25")),
            ("/{id}", exact("/%7Bid%7D")),
        ] {
            assert_eq!(pattern(&Text::plain(text)), expect, "{text}");
        }
    }

    #[test]
    fn wrong_patterns_are_explained_at_their_place() {
        for (text, range, help) in [
            ("", 0..0, "a path begins with `/`: write \"/\""),
            ("api/*", 0..5, "a path begins with `/`: write \"/api/*\""),
            ("http://x/", 0..9, "a path begins with `/`"),
            ("*", 0..1, "write \"/*\" for every path, or leave `path` away"),
            (
                "/api*",
                4..5,
                "write \"/api/*\" for that path and all below it; for the character itself write `%2A`",
            ),
            (
                "/*.png",
                1..2,
                "a `*` stands at the end after a slash, as in \"/api/*\"; for the character itself write `%2A`",
            ),
            ("/a//b", 2..4, "write one slash instead of several"),
            ("//", 0..2, "write one slash instead of several"),
            ("//*", 0..2, "write one slash instead of several"),
            ("/a//*", 2..4, "write one slash instead of several"),
            (
                "/a/../b",
                3..5,
                "requests are matched after such segments are resolved; write the path they lead to",
            ),
            (
                "/%2e%2E/b",
                1..7,
                "requests are matched after such segments are resolved; write the path they lead to",
            ),
            (
                "/a?b=c",
                2..3,
                "a query goes into `match-query`; for the characters themselves write `%3F` or `%23`",
            ),
            ("/a%2", 2..3, "write `%25` for the character itself"),
            ("/a%+1", 2..3, "write `%25` for the character itself"),
            ("/a\n", 2..3, "no request with one is ever matched"),
            ("/%00", 1..2, "no request with one is ever matched"),
        ] {
            let fault = pattern(&Text::plain(text)).expect_err(text);
            assert_eq!((fault.range, fault.help.as_deref()), (range, Some(help)), "{text}");
        }
        let long = format!("/{}", "x".repeat(LONGEST));
        assert!(pattern(&Text::plain(&long)).is_err());
    }

    #[test]
    fn prefixes() {
        for (text, expect) in [
            ("/api", Ok("/api")),
            ("/a/b c", Ok("/a/b%20c")),
            ("/", Err("leave the key away")),
            ("/api/", Err("write \"/api\"")),
            ("/api/*", Err("write \"/api\"")),
            ("api", Err("a path begins with `/`: write \"/api\"")),
        ] {
            let found = prefix(&Text::plain(text));
            let found = found.as_deref().map_err(|fault| fault.help.as_deref().unwrap_or_default());
            assert_eq!(found, expect, "{text}");
        }
    }

    #[test]
    fn a_path_is_within_itself_and_what_is_above() {
        for (path, prefix, expect) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/x", "/api", true),
            ("/apix", "/api", false),
            ("/", "/api", false),
            ("/x", "", true),
        ] {
            assert_eq!(is_within(path, prefix), expect, "{path} {prefix}");
        }
    }
}
