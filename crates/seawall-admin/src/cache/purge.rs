//! `POST /api/cache/purge`.

use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::asked::{object, problem};
use super::url::Url;
use super::{answer, cache};
use crate::servers::{not_from_a_page, whole};
use crate::{Admin, Refused, view};

/// What is to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Whether it is gone, rather than stale.
    pub hard: bool,
    /// What it is; never empty.
    pub targets: Vec<Target>,
}

/// One thing that is to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This URL, in all its variants.
    Url(Url),
    /// Whatever has this tag; never empty, without white space at its ends.
    Tag(String),
    /// Everything below this directory: its target ends in a `/` and has no query.
    Prefix(Url),
    /// This host, in lower case, with its port unless that is 80 or 443.
    Host(String),
    /// Everything.
    Everything,
}

/// Most targets of one purge.
const MOST: usize = 10_000;
/// Largest body, in bytes.
const LARGEST: usize = 4 << 20;
/// Longest tag, in bytes: longer ones of answers are not read.
const LONGEST_TAG: usize = 256;
/// Most slashes of a prefix: answers cannot be found by deeper directories.
const DEEPEST: usize = 16;

const EXAMPLE: &str = r#"send for example {"tags": ["prices"]} or {"urls": ["https://shop.example.com/"], "hard": true}; there are urls, tags, prefixes, hosts, everything and hard"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Body {
    urls: Vec<String>,
    tags: Vec<String>,
    prefixes: Vec<String>,
    hosts: Vec<String>,
    everything: bool,
    hard: bool,
}

pub(super) fn limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LARGEST)
}

pub(super) async fn purge(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = async {
        not_from_a_page(&headers)?;
        let cache = cache(&admin)?;
        let purge = read(&whole(body, LARGEST)?)?;
        let count = |is: fn(&Target) -> bool| purge.targets.iter().filter(|at| is(at)).count();
        let mut purged = view::Purged {
            mode: if purge.hard { "hard" } else { "soft" },
            urls: count(|at| matches!(at, Target::Url(_))),
            tags: count(|at| matches!(at, Target::Tag(_))),
            prefixes: count(|at| matches!(at, Target::Prefix(_))),
            hosts: count(|at| matches!(at, Target::Host(_))),
            everything: count(|at| *at == Target::Everything) > 0,
            took_ms: 0.0,
            fleet: super::Fleet::Alone,
        };
        let begun = Instant::now();
        purged.fleet = (cache.purge)(purge).await?;
        purged.took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        Ok::<_, Refused>(purged)
    };
    answer(result.await)
}

/// Reads an order, and says everything that is wrong with it.
fn read(body: &[u8]) -> Result<Purge, Refused> {
    let Body { urls, tags, prefixes, hosts, everything, hard } = object(body, "a purge", EXAMPLE)?;
    let count = urls.len() + tags.len() + prefixes.len() + hosts.len();
    if count > MOST {
        let problem = problem(format!("there are {count} of them"), "send at most 10000 at once");
        let detail = "these are too many at once".to_owned();
        return Err(Refused::Wrong { detail, problems: vec![problem] });
    }
    let (mut targets, mut problems) = (Vec::with_capacity(count), Vec::new());
    let mut take = |key: &str, items: Vec<String>, read: fn(String) -> Result<Target, String>| {
        for (at, item) in items.into_iter().enumerate() {
            match read(item) {
                Ok(target) => targets.push(target),
                Err(why) if problems.len() < MOST_PROBLEMS => {
                    problems.push(problem(format!("{key}[{at}] {why}"), help(key)));
                }
                Err(_) => {}
            }
        }
    };
    take("urls", urls, |text| Ok(Target::Url(Url::read(&text)?)));
    take("tags", tags, tag);
    take("prefixes", prefixes, prefix);
    take("hosts", hosts, host);
    if everything {
        targets.push(Target::Everything);
    }
    if targets.is_empty() && problems.is_empty() {
        problems.push(problem("nothing is to be purged".to_owned(), EXAMPLE));
    }
    match problems.is_empty() {
        true => Ok(Purge { hard, targets }),
        false => {
            let detail = match problems.as_slice() {
                [one] => one.message.clone(),
                many => format!("the purge has {} mistakes", many.len()),
            };
            Err(Refused::Wrong { detail, problems })
        }
    }
}

/// Most mistakes of one body that are told.
const MOST_PROBLEMS: usize = 100;

fn help(key: &str) -> &'static str {
    match key {
        "urls" => "write for example \"https://shop.example.com/prices?page=2\"",
        "prefixes" => "write for example \"https://shop.example.com/images/*\"",
        "hosts" => "write for example \"shop.example.com\"",
        _ => "write a tag as it is in `Surrogate-Key` or `Cache-Tag`",
    }
}

fn tag(text: String) -> Result<Target, String> {
    // Nothing is ever under an empty tag: an order with one is an empty variable somewhere.
    match text.len() {
        0 => Err("is empty".to_owned()),
        length if length > LONGEST_TAG => {
            Err(format!("has {length} bytes; no tag has more than {LONGEST_TAG}"))
        }
        _ if text.trim() != text || text.chars().any(char::is_control) => {
            Err("has white space at its ends, or a control character".to_owned())
        }
        _ => Ok(Target::Tag(text)),
    }
}

/// `/shop/` and `/shop/*` are everything below `/shop/`.
fn prefix(text: String) -> Result<Target, String> {
    let url = Url::read(text.strip_suffix('*').unwrap_or(&text))?;
    if url.target.contains(['?', '*']) {
        return Err("has a query or a `*` before its end".to_owned());
    }
    if !url.target.ends_with('/') {
        return Err("does not end at a `/`; prefixes are whole segments of a path".to_owned());
    }
    match url.target.matches('/').count() > DEEPEST {
        true => Err(format!("has more than {DEEPEST} segments")),
        false => Ok(Target::Prefix(url)),
    }
}

fn host(text: String) -> Result<Target, String> {
    // Which scheme it is for is not known: the usual ports of both are the same as none.
    let url = Url::read(&format!("http://{text}")).ok().filter(|url| url.target == "/");
    let url = url.filter(|_| !text.contains('/')).ok_or("is not a host")?;
    let host = url.authority.strip_suffix(":443").unwrap_or(&url.authority);
    Ok(Target::Host(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_purged() {
        let body = br#"{"urls": ["http://A/x?y"], "tags": ["t u,v"], "hosts": ["A.example", "a:443", "a:81"],
            "prefixes": ["https://a/", "https://a/b/*", "https://a/b/"], "everything": true}"#;
        let url = |text: &str| Url::read(text).expect("written here");
        let below =
            |target: &str| Target::Prefix(Url { target: target.into(), ..url("https://a/") });
        let expect = vec![
            Target::Url(url("http://a/x?y")),
            Target::Tag("t u,v".into()),
            below("/"),
            below("/b/"),
            below("/b/"),
            Target::Host("a.example".into()),
            Target::Host("a".into()),
            Target::Host("a:81".into()),
            Target::Everything,
        ];
        assert_eq!(read(body).expect("it is right"), Purge { hard: false, targets: expect });
        let hard = read(br#"{"everything": true, "hard": true}"#).expect("it is right");
        assert_eq!(hard, Purge { hard: true, targets: vec![Target::Everything] });
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let many = format!(r#"{{"tags": [{}"t"]}}"#, r#""t","#.repeat(MOST));
        let long = format!(r#"{{"tags": ["{}"]}}"#, "x".repeat(LONGEST_TAG + 1));
        let deep = format!(r#"{{"prefixes": ["http://a{}/"]}}"#, "/x".repeat(DEEPEST));
        for (body, message) in [
            ("", "EOF while parsing"),
            ("[]", "is not an object"),
            ("{}", "nothing is to be purged"),
            (r#"{"tag": ["a"]}"#, "unknown field `tag`"),
            (r#"{"tags": "a"}"#, "invalid type"),
            (r#"{"tags": [""]}"#, "tags[0] is empty"),
            (r#"{"tags": ["a", " b"]}"#, "tags[1] has white space at its ends"),
            (r#"{"tags": ["a\nb"]}"#, "tags[0] has white space at its ends, or a control"),
            (&long, "tags[0] has 257 bytes"),
            (r#"{"urls": ["/x"]}"#, "urls[0] does not begin with http"),
            (r#"{"prefixes": ["http://a/b*"]}"#, "prefixes[0] does not end at a `/`"),
            (r#"{"prefixes": ["http://a/b"]}"#, "prefixes[0] does not end at a `/`"),
            (r#"{"prefixes": ["http://a/b/?c"]}"#, "prefixes[0] has a query"),
            (&deep, "prefixes[0] has more than 16 segments"),
            (r#"{"hosts": ["a/"]}"#, "hosts[0] is not a host"),
            (r#"{"hosts": ["a?"]}"#, "hosts[0] is not a host"),
            (r#"{"hosts": ["http://a"]}"#, "hosts[0] is not a host"),
            (r#"{"hosts": [""]}"#, "hosts[0] is not a host"),
            (&many, "there are 10001 of them"),
        ] {
            match read(body.as_bytes()) {
                Err(Refused::Wrong { problems, .. }) => {
                    let found = &problems[0].message;
                    assert!(found.contains(message), "{body}: {found}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        let three = br#"{"tags": ["", ""], "urls": ["x"]}"#;
        match read(three) {
            Err(Refused::Wrong { detail, problems }) => {
                assert_eq!((detail.as_str(), problems.len()), ("the purge has 3 mistakes", 3));
            }
            other => panic!("{other:?}"),
        }
    }
}
