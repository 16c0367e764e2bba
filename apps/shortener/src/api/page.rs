//! Pages of a list: how many, and from where on.
//!
//! A cursor is what the database needs to go on, with a hash over it and over what the list was
//! asked for, so that it is good for the list that it came from and cannot be made up.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::link::{Code, LONGEST_CODE, LinkQuery, Millis, Order};
use crate::problem::{Invalid, Problem};

use super::body::check_text;

/// Links of a page, if nobody says how many.
const USUAL: u32 = 50;

/// Links of a page at most.
pub(super) const MOST: u32 = 1000;

/// Links of a page at most when their clicks are asked for: each is thirty look-ups.
const MOST_WITH_CLICKS: u32 = 100;

/// Characters of a search, or of a tag, at most.
const LONGEST_TEXT: usize = 200;

/// Bytes of the hash that are sent: 2^-128 is the chance of a guess.
const TAG: usize = 16;

/// The parameters that are known.
const PARAMETERS: [&str; 6] = ["cursor", "limit", "q", "sort", "tag", "with"];

/// What is asked of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Which links.
    pub(super) links: LinkQuery,
    /// Whether it is also asked how often each was clicked.
    pub(super) with_clicks: bool,
}

/// Reads the query of a list of links.
///
/// # Errors
/// `BadRequest` with everything that is wrong.
pub(super) fn read(query: Option<&str>, key: &[u8; 32]) -> Result<Asked, Problem> {
    let mut invalid = Vec::new();
    let mut asked = LinkQuery { limit: USUAL, ..LinkQuery::default() };
    let (mut with_clicks, mut cursor) = (false, None);
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        // Others may add parameters to follow requests by; they change nothing here.
        let Some(known) = PARAMETERS.into_iter().find(|known| name == *known) else { continue };
        if seen.contains(&known) {
            invalid.push(Invalid::parameter(known, "twice", format!("`{known}` comes twice")));
            continue;
        }
        seen.push(known);
        let mut text = || match check_text(&value, LONGEST_TEXT) {
            None => Some(value.to_string()).filter(|text| !text.is_empty()),
            Some((code, detail)) => {
                invalid.push(Invalid::parameter(known, code, detail));
                None
            }
        };
        match known {
            "q" => asked.text = text(),
            "tag" => asked.tag = text(),
            "sort" => match &*value {
                "newest" => asked.order = Order::Newest,
                "oldest" => asked.order = Order::Oldest,
                _ => invalid.push(Invalid::parameter(known, "sort", "`newest` or `oldest`")),
            },
            "with" if value == "clicks" => with_clicks = true,
            "with" => invalid.push(Invalid::parameter(known, "with", "`clicks`, or nothing")),
            "limit" => match value.parse() {
                Ok(limit @ 1..=MOST) => asked.limit = limit,
                _ => {
                    let detail = format!("between 1 and {MOST}");
                    invalid.push(Invalid::parameter(known, "range", detail));
                }
            },
            _ => cursor = Some(value.into_owned()),
        }
    }
    if let Some(cursor) = cursor {
        match open(&cursor, &asked, key) {
            Some(after) => asked.after = Some(after),
            None => invalid.push(Invalid::parameter(
                "cursor",
                "cursor",
                "this is not a cursor of this list; begin again without one",
            )),
        }
    }
    if with_clicks && asked.limit > MOST_WITH_CLICKS {
        let detail = format!("between 1 and {MOST_WITH_CLICKS} with clicks");
        invalid.push(Invalid::parameter("limit", "range", detail));
    }
    if !invalid.is_empty() {
        return Err(Problem::BadRequest(invalid));
    }
    Ok(Asked { links: asked, with_clicks })
}

/// The cursor from which the list goes on behind this link.
pub(super) fn cursor(after: &(Millis, Code), asked: &LinkQuery, key: &[u8; 32]) -> String {
    let mut bytes = after.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(after.1.as_str().as_bytes());
    let tag = mac(&bytes, asked, key).finalize().into_bytes();
    bytes.extend_from_slice(&tag[..TAG]);
    BASE64URL_NOPAD.encode(&bytes)
}

fn open(cursor: &str, asked: &LinkQuery, key: &[u8; 32]) -> Option<(Millis, Code)> {
    let longest = BASE64URL_NOPAD.encode_len(8 + LONGEST_CODE + TAG);
    if cursor.len() > longest {
        return None;
    }
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let (bytes, tag) = bytes.split_last_chunk::<TAG>()?;
    mac(bytes, asked, key).verify_truncated_left(tag).ok()?;
    let (created, code) = bytes.split_first_chunk::<8>()?;
    let code = Code::new(std::str::from_utf8(code).ok()?).ok()?;
    Some((Millis::from_be_bytes(*created), code))
}

/// Over the position, the order and the filters, not over the limit: pages may change their size.
fn mac(position: &[u8], asked: &LinkQuery, key: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [
        Some(position),
        (asked.order == Order::Oldest).then_some(b"oldest"),
        asked.text.as_deref().map(str::as_bytes),
        asked.tag.as_deref().map(str::as_bytes),
    ] {
        // Lengths before the parts, so that no two lists of parts are one text.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        mac.update(&length.to_be_bytes());
        mac.update(part.unwrap_or_default());
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn after() -> (Millis, Code) {
        (1_795_439_951_123, Code::new("spring-sale").expect("a code"))
    }

    fn failed(query: &str) -> Vec<&'static str> {
        match read(Some(query), &KEY) {
            Err(Problem::BadRequest(invalid)) => {
                invalid.iter().map(|one| one.parameter.expect("a parameter")).collect()
            }
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn queries_are_read_or_told_all_that_is_wrong() {
        let usual = LinkQuery { limit: USUAL, ..LinkQuery::default() };
        assert_eq!(read(None, &KEY), Ok(Asked { links: usual, with_clicks: false }));
        let query = "q=a+b&tag=%C3%BC&limit=7&utm_source=x&sort=oldest&with=clicks";
        let links = LinkQuery {
            text: Some("a b".into()),
            tag: Some("ü".into()),
            order: Order::Oldest,
            after: None,
            limit: 7,
        };
        assert_eq!(read(Some(query), &KEY), Ok(Asked { links, with_clicks: true }));
        assert_eq!(failed("sort=clicks&with=all"), ["sort", "with"]);
        assert_eq!(failed("with=clicks&limit=101"), ["limit"]);
        assert_eq!(failed("limit=0"), ["limit"]);
        assert_eq!(failed("limit=1001&q=%00&cursor=x"), ["limit", "q", "cursor"]);
        assert_eq!(failed("limit=1&limit=2"), ["limit"]);
        assert_eq!(failed("limit=-1&limit="), ["limit", "limit"]);
    }

    #[test]
    fn cursors_are_of_their_list_only() {
        let asked = LinkQuery { text: Some("a".into()), limit: 2, ..LinkQuery::default() };
        let cursor = cursor(&after(), &asked, &KEY);
        let read = |query: &str| read(Some(query), &KEY).map(|asked| asked.links.after);
        assert_eq!(read(&format!("q=a&cursor={cursor}")), Ok(Some(after())));
        assert_eq!(read(&format!("limit=9&cursor={cursor}&q=a")), Ok(Some(after())));
        for other in ["q=b", "q=", "q=a&tag=a", "tag=a", "q=a&sort=oldest"] {
            assert_eq!(failed(&format!("{other}&cursor={cursor}")), ["cursor"], "{other}");
        }
        assert!(open(&cursor, &asked, &[8; 32]).is_none(), "of another shortener");
    }

    #[test]
    fn made_up_cursors_are_refused() {
        let asked = LinkQuery { limit: 2, ..LinkQuery::default() };
        let good = cursor(&after(), &asked, &KEY);
        let bytes = BASE64URL_NOPAD.decode(good.as_bytes()).expect("it was encoded so");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let cursor = BASE64URL_NOPAD.encode(&bytes);
                assert!(open(&cursor, &asked, &KEY).is_none(), "bit {bit} of byte {at}");
            }
            assert!(open(&BASE64URL_NOPAD.encode(&bytes[..at]), &asked, &KEY).is_none());
        }
        for hostile in ["", "A", "=", "../..", "' OR 1=1 --", "ü", &"A".repeat(100_000)] {
            assert!(open(hostile, &asked, &KEY).is_none(), "{hostile}");
        }
    }
}
