//! Request targets: their forms, and the normal form of a path.
//!
//! A rule on a path must not be passed by writing the path another way, so what is matched and
//! what is forwarded is one string: the path in normal form. A character that may stand raw in a
//! path stands raw, every other byte is encoded with upper-case digits, and `.` and `..` segments
//! are resolved (RFC 3986 §6.2.2, and a little further: `%40` is `@`).
//!
//! What servers disagree about is left as it came: encoded separators (`%2F`, `%5C`), empty
//! segments (`//`), path parameters (`;x=1`, `%3B`), and an encoded plus (`%2B`), since a raw one
//! is a space to some. Where one of these occurs in the normal form, its *other readings* are
//! computed too: separators and plus decoded, empty segments and parameters dropped, parameters
//! either before or after the decoding. The door refuses a request whose readings lead to
//! different routes, so no kind of server can be reached past a rule.
//!
//! Many servers do some of these things and not others. What keeps so few readings enough is that
//! a `.` or `..` segment in one of them (`..%2F`, `..;`) is refused, and so are a backslash in a
//! parameter and all of `;`, `%3B` and `%2F` in one path: without these a prefix or a path that a
//! rule names and that holds for one reading holds for each that goes further.

use crate::error::BadMessage;

/// A path that was not in normal form, or that can be read in several ways.
#[derive(Debug, PartialEq, Eq)]
pub struct NormalPath {
    /// The normal form.
    pub path: Vec<u8>,
    /// The other reading of the normal form, if there is one: separators are decoded, then
    /// parameters dropped.
    pub other_reading: Option<Vec<u8>>,
    /// The other reading when parameters are dropped first, where that differs: `/a;x%2Fb` is
    /// `/a/b` to the former and `/a` to the latter.
    pub third_reading: Option<Vec<u8>>,
}

/// Brings the path of a request, which begins with `/`, into normal form; `None` when it is
/// already.
///
/// # Errors
///
/// [`BadMessage::PercentEncoding`], [`BadMessage::EncodedNul`], [`BadMessage::AboveRoot`] when `..`
/// leads above the root, and [`BadMessage::AmbiguousPath`] when other readings have dot
/// segments or are too many.
pub fn normalise(path: &[u8]) -> Result<Option<NormalPath>, BadMessage> {
    debug_assert_eq!(path.first(), Some(&b'/'));
    let suspicious = path.iter().enumerate().any(|(at, &byte)| match CLASS[byte as usize] {
        PLAIN => false,
        // A dot or slash matters only at the beginning of a segment.
        AFTER_SLASH => at > 0 && path[at - 1] == b'/',
        _ => true,
    });
    if !suspicious {
        return Ok(None);
    }
    let normal = resolve_dots(&decoded(path)?)?;
    // Of what is forwarded, not of what came: the two differ in what `..` leads to.
    let (mut other_reading, mut third_reading) = (None, None);
    if has_other_readings(&normal) {
        if has_too_many_readings(&normal) {
            return Err(BadMessage::AmbiguousPath);
        }
        let other = merged(&without_parameters(&separated(&normal)))?;
        let third = merged(&separated(&without_parameters(&with_semicolons(&normal))))?;
        third_reading = (third != other).then_some(third);
        other_reading = Some(other);
    }
    Ok((normal != path || other_reading.is_some()).then_some(NormalPath {
        path: normal,
        other_reading,
        third_reading,
    }))
}

const PLAIN: u8 = 0;
const AFTER_SLASH: u8 = 1;
const ALWAYS: u8 = 2;

static CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        if must_be_encoded(byte as u8) {
            class[byte] = ALWAYS;
        }
        byte += 1;
    }
    class[b'%' as usize] = ALWAYS;
    class[b';' as usize] = ALWAYS;
    class[b'/' as usize] = AFTER_SLASH;
    class[b'.' as usize] = AFTER_SLASH;
    class
};

/// Whether a byte may stand for itself in a segment: unreserved characters, sub-delimiters, `:` and
/// `@` (`pchar` of RFC 3986 §3.3).
const fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Bytes that are no URI characters and that some clients send raw all the same.
const fn must_be_encoded(byte: u8) -> bool {
    !stands_for_itself(byte) && !matches!(byte, b'/' | b'%')
}

/// Whether an encoded byte means the same as the byte itself to every server. `;` begins a
/// parameter where it stands raw, and `+` is a space to some.
const fn means_itself(byte: u8) -> bool {
    stands_for_itself(byte) && !matches!(byte, b';' | b'+')
}

fn decoded(path: &[u8]) -> Result<Vec<u8>, BadMessage> {
    let mut out = Vec::with_capacity(path.len() + 8);
    let mut at = 0;
    while at < path.len() {
        let byte = path[at];
        at += 1;
        if byte == b'%' {
            let code = path
                .get(at..at + 2)
                .and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?))
                .ok_or(BadMessage::PercentEncoding)?;
            at += 2;
            match code {
                0 => return Err(BadMessage::EncodedNul),
                code if means_itself(code) => out.push(code),
                code => encode(code, &mut out),
            }
        } else if byte == 0 {
            return Err(BadMessage::EncodedNul);
        } else if must_be_encoded(byte) {
            encode(byte, &mut out);
        } else {
            out.push(byte);
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
}

/// A query with its bytes above ASCII encoded, if there are any: some clients send them raw, and
/// some servers refuse them.
pub fn ascii(query: &[u8]) -> Option<Vec<u8>> {
    if query.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(query.len() + 16);
    for &byte in query {
        if byte.is_ascii() { out.push(byte) } else { encode(byte, &mut out) }
    }
    Some(out)
}

/// RFC 3986 §5.2.4, but for a path above the root, which is refused.
fn resolve_dots(path: &[u8]) -> Result<Vec<u8>, BadMessage> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                let parent = out.iter().rposition(|&b| b == b'/').ok_or(BadMessage::AboveRoot)?;
                out.truncate(parent);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        // `/a/.` and `/a/b/..` name the directory `/a/`.
        if last {
            out.push(b'/');
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

/// Whether a path in normal form can be read in several ways.
fn has_other_readings(path: &[u8]) -> bool {
    path.windows(2).any(|two| two == b"//")
        || path.contains(&b';')
        || path.windows(3).any(|three| matches!(three, b"%2F" | b"%5C" | b"%3B" | b"%2B"))
}

/// Whether there are as many readings as orders of decoding. A server that takes `\` for `/` ends a
/// parameter there and others do not; and where `;` and `%3B` stand with a `%2F`, parameters may be
/// dropped before and after the decoding. Nobody means that, unlike a `%2F` in a parameter.
fn has_too_many_readings(path: &[u8]) -> bool {
    let has = |text: &[u8], code: &[u8]| text.windows(code.len()).any(|part| part == code);
    let all_semicolons = with_semicolons(path);
    all_semicolons.split(|&b| b == b'/').any(|segment| {
        let parameter = segment.iter().position(|&b| b == b';').map(|at| &segment[at..]);
        parameter.is_some_and(|text| has(text, b"%5C"))
    }) || has(path, b";") && has(path, b"%3B") && has(path, b"%2F")
}

/// The path with the separators of segments and parameters decoded, and `+`.
fn separated(path: &[u8]) -> Vec<u8> {
    decode_where(path, |code| match code {
        [b'%', b'2', b'F', ..] | [b'%', b'5', b'C', ..] => Some((b'/', 3)),
        [b'%', b'3', b'B', ..] => Some((b';', 3)),
        [b'%', b'2', b'B', ..] => Some((b'+', 3)),
        _ => None,
    })
}

/// The path with the separators of parameters decoded.
fn with_semicolons(path: &[u8]) -> Vec<u8> {
    decode_where(path, |code| code.starts_with(b"%3B").then_some((b';', 3)))
}

fn decode_where(path: &[u8], decode: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let (byte, width) = decode(&path[at..]).unwrap_or((path[at], 1));
        out.push(byte);
        at += width;
    }
    out
}

/// The path without parameters.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut in_parameter = false;
    let keep = |&byte: &u8| {
        in_parameter = byte != b'/' && (in_parameter || byte == b';');
        !in_parameter
    };
    path.iter().copied().filter(keep).collect()
}

/// The path without empty segments, but for a last one, which makes it a directory. There must be
/// no dot segments.
fn merged(path: &[u8]) -> Result<Vec<u8>, BadMessage> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => return Err(BadMessage::AmbiguousPath),
            b"" if segments.peek().is_some() => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    Ok(out)
}

/// The parts of a request target that is not a plain path.
pub(crate) struct AbsoluteTarget {
    /// Offset and length of the authority.
    pub(crate) authority: (usize, usize),
    /// Where the path begins; the length of the target when it has none.
    pub(crate) path: usize,
}

/// Splits `http://authority/path?query`.
pub(crate) fn absolute(target: &[u8]) -> Result<AbsoluteTarget, BadMessage> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
    });
    let start = scheme.ok_or(BadMessage::Target)?.len();
    let rest = &target[start..];
    let end = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
    if !is_authority(&rest[..end]) {
        return Err(BadMessage::Target);
    }
    Ok(AbsoluteTarget { authority: (start, end), path: start + end })
}

/// Whether `text` is a host with an optional port: a name, an IPv4 address, or an IPv6 address in
/// brackets. User information, which phishing lives on, is refused.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host, rest) = if text.first() == Some(&b'[') {
        let Some(end) = text.iter().position(|&b| b == b']') else { return false };
        let inside = &text[1..end];
        let valid = std::str::from_utf8(inside)
            .is_ok_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok());
        (if valid { inside } else { &[] }, &text[end + 1..])
    } else {
        let (mut end, mut before) = (0, b'.');
        while let Some(&byte) = text.get(end).filter(|&&byte| HOST_BYTE[byte as usize]) {
            // No empty label: `.` and `..` are hosts to no one, but directories to some.
            if byte == b'.' && before == b'.' {
                return false;
            }
            before = byte;
            end += 1;
        }
        (&text[..end], &text[end..])
    };
    let port_is_valid = match rest {
        [] => true,
        [b':', port @ ..] => {
            port.iter().all(u8::is_ascii_digit)
                && (port.len() < 5 || port.len() == 5 && port <= &b"65535"[..])
        }
        _ => false,
    };
    !host.is_empty() && host.len() <= 255 && port_is_valid
}

/// Letters, digits and what else real host names have. Percent-encoding and sub-delims, which the
/// grammar would allow, occur in attacks only.
static HOST_BYTE: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        allowed[byte] = b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        byte += 1;
    }
    allowed
};

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str) -> Result<String, BadMessage> {
        Ok(match normalise(path.as_bytes())? {
            None => path.to_owned(),
            Some(normal) => String::from_utf8_lossy(&normal.path).into_owned(),
        })
    }

    fn other(path: &str) -> Option<String> {
        let normal = normalise(path.as_bytes()).expect("a good path")?;
        normal.other_reading.map(|other| String::from_utf8_lossy(&other).into_owned())
    }

    #[test]
    fn paths_come_into_normal_form() {
        for (path, expect) in [
            ("/", Ok("/")),
            ("/a/b.c", Ok("/a/b.c")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/...", Ok("/...")),
            ("/a/./b", Ok("/a/b")),
            ("/a/../b", Ok("/b")),
            ("/a/b/..", Ok("/a/")),
            ("/a/.", Ok("/a/")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/%61dmin", Ok("/admin")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/caf%c3%a9", Ok("/caf%C3%A9")),
            ("/café", Ok("/caf%C3%A9")),
            ("/a<b>", Ok("/a%3Cb%3E")),
            ("//a", Ok("//a")),
            ("/a//../b", Ok("/a/b")),
            ("/a//b", Ok("/a//b")),
            ("/..", Err(BadMessage::AboveRoot)),
            ("/a/../../b", Err(BadMessage::AboveRoot)),
            ("/%2e%2e/etc", Err(BadMessage::AboveRoot)),
            ("/x%2F..%2F..%2F..%2Fetc", Err(BadMessage::AmbiguousPath)),
            ("/x%2f..%2Fadmin", Err(BadMessage::AmbiguousPath)),
            ("/x/..%2Fadmin", Err(BadMessage::AmbiguousPath)),
            ("/x\\..\\admin", Err(BadMessage::AmbiguousPath)),
            ("/x/%2e%2e%5cadmin", Err(BadMessage::AmbiguousPath)),
            ("/x/..;/admin", Err(BadMessage::AmbiguousPath)),
            ("/x/..;a=b", Err(BadMessage::AmbiguousPath)),
            ("/x/.;/admin", Err(BadMessage::AmbiguousPath)),
            ("/x%2F..%3Ba=1%2Fadmin", Err(BadMessage::AmbiguousPath)),
            // `..` takes `x%2Fy` away as one segment, and would only `y` once that is decoded.
            ("/public/x%2Fy/../..%2Fadmin", Err(BadMessage::AmbiguousPath)),
            ("/public/x%2Fy/..;/..;/admin", Err(BadMessage::AmbiguousPath)),
            ("/a;\\b", Err(BadMessage::AmbiguousPath)),
            ("/a;%2Fb%5Cc", Err(BadMessage::AmbiguousPath)),
            ("/a%3B%5Cc", Err(BadMessage::AmbiguousPath)),
            ("/a;b%2Fc/d%3Be", Err(BadMessage::AmbiguousPath)),
            ("/a;b=c%3Bd", Ok("/a;b=c%3Bd")),
            ("/a\\b;c", Ok("/a%5Cb;c")),
            ("/a;b/c\\d", Ok("/a;b/c%5Cd")),
            ("/x%2Fy/../admin", Ok("/admin")),
            ("/x;a/../admin", Ok("/admin")),
            ("/a%2F.well-known%2F...", Ok("/a%2F.well-known%2F...")),
            ("/%", Err(BadMessage::PercentEncoding)),
            ("/%4", Err(BadMessage::PercentEncoding)),
            ("/%zz", Err(BadMessage::PercentEncoding)),
            ("/%+1", Err(BadMessage::PercentEncoding)),
            ("/a%00b", Err(BadMessage::EncodedNul)),
            ("/a\0b", Err(BadMessage::EncodedNul)),
        ] {
            assert_eq!(normal(path), expect.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn what_servers_disagree_about_has_another_reading() {
        for (path, expect) in [
            ("/a/b", None),
            ("/a/../b", None),
            ("/admin%2Fx", Some("/admin/x")),
            ("/x%2Fy/../admin", None),
            ("/a//../b", None),
            ("/x%5cadmin", Some("/x/admin")),
            ("/x\\admin", Some("/x/admin")),
            ("//admin", Some("/admin")),
            ("//", Some("/")),
            ("/;x", Some("/")),
            ("/a/;x", Some("/a/")),
            ("/a/;x/", Some("/a/")),
            ("/;x/a", Some("/a")),
            ("/a//b/", Some("/a/b/")),
            ("/admin;jsessionid=1", Some("/admin")),
            ("/x%2Fy%3Ba=1%2Fadmin", Some("/x/y/admin")),
            ("/a%252Fb", None),
        ] {
            assert_eq!(other(path).as_deref(), expect, "{path}");
        }
    }

    #[test]
    fn parameters_are_dropped_before_or_after_separators_are_decoded() {
        for (path, expect) in [
            ("/a;x/b", None),
            ("/a%2Fb", None),
            ("/a%2Fb;x", None),
            ("/admin;%2Fx", Some("/admin")),
            ("/login;to=%2Fhome/b", Some("/login/b")),
            ("/;%2Fadmin", Some("/")),
            ("/a%3Bx%2Fb", Some("/a")),
        ] {
            let third = normalise(path.as_bytes()).expect("a good path").and_then(|normal| {
                normal.third_reading.map(|third| String::from_utf8_lossy(&third).into_owned())
            });
            assert_eq!(third.as_deref(), expect, "{path}");
        }
    }

    #[test]
    fn normal_form_is_a_fixed_point() {
        for path in ["/a/./b/%7e", "/a%2Fb//c;d", "/é/../ü", "/a/b/../..", "/a//..//x"] {
            let once = normal(path).expect("a good path");
            assert_eq!(normal(&once).as_deref(), Ok(once.as_str()), "{path}");
            assert_eq!(other(&once), other(path), "{path}");
        }
    }

    #[test]
    fn authorities_are_hosts_with_optional_ports() {
        for (text, expect) in [
            ("example.com", true),
            ("example.com:80", true),
            ("example.com:", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("127.0.0.1", true),
            ("a_b-c.d", true),
            ("", false),
            (":80", false),
            ("a:b", false),
            ("a:65535", true),
            ("a:65536", false),
            ("a:123456", false),
            ("a.example.", true),
            ("a.example.:80", true),
            (".", false),
            ("..", false),
            (".a", false),
            ("a..b", false),
            ("a..", false),
            ("user@host", false),
            ("a b", false),
            ("a,b", false),
            ("a/b", false),
            ("[::1", false),
            ("[zz]", false),
            ("[::1]x", false),
            ("a%00b", false),
        ] {
            assert_eq!(is_authority(text.as_bytes()), expect, "{text}");
        }
    }
}
