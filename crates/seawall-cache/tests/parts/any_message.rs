//! What must hold of any request, any answer and anything that is read back, whatever comes in.

use std::time::Duration;

use seawall_cache::conditional::{self, Validators};
use seawall_cache::directives::{Control, Demand, demand};
use seawall_cache::freshness::{self, Arrival, Standing, judge};
use seawall_cache::key::{self, Scheme, TypedUrl};
use seawall_cache::object::{Content, Object};
use seawall_cache::range::{ContentRange, MOST_PARTS, Ranges, Resolved};
use seawall_cache::shared::Shared;
use seawall_cache::tags::{LONGEST, Labels, MOST, Tags};
use seawall_cache::vary::{self, Encodings, Varies};
use seawall_cache::{invalidation, merge, stored};
use seawall_config::plan;
use seawall_h1::{HeadLimits, HeadProgress, Headers, RequestHead, ResponseHead, parse};

#[path = "rules.rs"]
mod rules;

const NOW: u64 = 1_788_652_800_000;

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 16, headers: 100 };

/// Two heads, of a request and of its answer, one behind the other. What is no message is left to
/// those who ask the same of the codec.
pub(crate) fn check_messages(input: &[u8]) {
    let mut request = RequestHead::default();
    let read = parse::request(input, LIMITS, &mut HeadProgress::default(), &mut request);
    let Ok(Some(length)) = read else { return };
    check_request(&request);
    let mut answer = ResponseHead::default();
    let mut progress = HeadProgress::default();
    let rest = &input[length..];
    if let Ok(Some(_)) = parse::response(rest, request.method, LIMITS, &mut progress, &mut answer) {
        check_answer(&request, &answer);
    }
}

fn check_request(request: &RequestHead) {
    let asked = demand(&request.headers);
    assert!(asked.max_age.is_none_or(|seconds| seconds <= seawall_cache::directives::MAX_SECONDS));
    // What is sent in place of `Accept-Encoding` accepts what was accepted, and nothing else.
    let encodings = Encodings::of(request);
    let mut again = request.clone();
    let mut value = Vec::new();
    encodings.write(&mut value);
    again.headers.set(b"accept-encoding", &value);
    assert_eq!(Encodings::of(&again), encodings, "{}", String::from_utf8_lossy(&value));
    // Writing a key twice, or beside something, changes nothing of it.
    for rules in both() {
        let (mut one, mut other) = (Vec::new(), b"before".to_vec());
        let length = key::write(request, &rules.key, Scheme::Http, b"1", &mut one);
        key::write(request, &rules.key, Scheme::Http, b"1", &mut other);
        assert_eq!(other[6..], one);
        assert!(length <= one.len() && !one[..length].contains(&0));
        assert!(!key::shown(&one, one.len(), &[]).ends_with('…'), "it is made by these rules");
        key::is_bypassed(request, &rules.bypass);
    }
    if let Some(ranges) = Ranges::of(request) {
        check_ranges(&ranges);
    }
}

/// Parts lie within the content, and no two overlap or touch.
fn check_ranges(ranges: &Ranges) {
    for length in [0, 1, 2, 10, 1 << 20, (1 << 20) + 1, u64::MAX - 1, u64::MAX] {
        let Resolved::Parts(parts) = ranges.resolve(length) else { continue };
        let parts = parts.as_slice();
        assert!((1..=MOST_PARTS).contains(&parts.len()));
        for (at, part) in parts.iter().enumerate() {
            assert!(part.first <= part.last && part.last < length, "{parts:?} of {length}");
            for other in &parts[..at] {
                let is_apart = part.last.saturating_add(1) < other.first
                    || other.last.saturating_add(1) < part.first;
                assert!(is_apart, "{parts:?} of {length}");
            }
        }
    }
}

fn check_answer(request: &RequestHead, answer: &ResponseHead) {
    let headers = &answer.headers;
    let control = Control::of(headers);
    if let Some(range) = ContentRange::of(headers) {
        assert!(range.part.first <= range.part.last);
        assert!(range.complete.is_none_or(|complete| range.part.last < complete));
    }
    let tags = Tags::of(headers, Some("x-tags"));
    assert!(tags.tags.len() <= MOST);
    assert!(tags.tags.iter().all(|tag| !tag.is_empty() && tag.len() <= LONGEST));
    invalidation::urls(request, Scheme::Http, headers, |url| {
        let mut host = Vec::new();
        url.write_host(&mut host);
        let mut own = Vec::new();
        let path = request.path();
        let target =
            key::Url { scheme: Scheme::Http, authority: request.authority(), path, query: b"" };
        target.write_host(&mut own);
        assert_eq!(host, own, "the neighbour's is left alone");
    });
    for rules in both() {
        let arrival = Arrival {
            request,
            status: answer.status,
            answer: headers,
            length: answer.content_length,
            requested: NOW - 1_000,
            received: NOW,
            rules: &rules,
            parts: false,
            random: u64::MAX / 2,
        };
        let Ok(terms) = judge(&arrival) else { continue };
        let is_trusted = rules.ignore_origin.cache_control;
        assert!(is_trusted || !control.private.is_whole(), "it is for one user");
        assert!(is_trusted || !control.no_store || control.must_understand);
        let mut fields = Vec::new();
        terms.fields.write(headers, &mut fields);
        check_stored(request, headers, &rules, &terms.meta, &fields);
    }
}

fn check_stored(
    request: &RequestHead,
    answer: &Headers,
    rules: &plan::Cache,
    meta: &seawall_cache::object::Meta,
    fields: &[u8],
) {
    for field in stored::lines(fields) {
        let never: [&[u8]; 5] =
            [b"set-cookie", b"connection", b"age", b"content-length", b"transfer-encoding"];
        assert!(!never.iter().any(|name| field.name.eq_ignore_ascii_case(name)), "{field:?}");
    }
    // It is not fresh for longer than it may be, nor before it was there.
    let asks = Demand::default();
    if let Standing::Fresh { left } = freshness::standing(meta, &asks, None, NOW) {
        assert!(left <= (1 << 31) * 1_000);
    }
    let much_later = NOW + (1 << 33) * 1_000;
    let then = freshness::standing(meta, &asks, None, much_later);
    assert!(!matches!(then, Standing::Fresh { .. }), "{meta:?}");
    let Varies::By(names) = vary::fields(answer, rules) else {
        panic!("what varies by anything is not stored");
    };
    let (mut key, mut again) = (Vec::new(), Vec::new());
    vary::secondary(&names, request, &mut key);
    vary::secondary(&names, request, &mut again);
    assert_eq!(key, again);
    // A 304 that says nothing changes nothing but the date and warnings.
    let merged = merge::updated(fields, &Headers::new());
    let had = stored::lines(fields).filter(|field| {
        !field.name.eq_ignore_ascii_case(b"date") && !field.name.eq_ignore_ascii_case(b"warning")
    });
    for field in had {
        assert!(merged.all(field.name).any(|value| value == field.value), "{field:?}");
    }
    let validators = Validators::stored(fields, NOW);
    conditional::evaluate(request, meta.status, &validators);
    conditional::if_range(request, &validators);
    // What travels to another node is there as it was here.
    let labels = [1, 2, 3];
    let object = Object::new(meta.clone(), &key, fields, &labels, Content::Whole, &[b"content"]);
    let bytes = Shared::write_answer(&object, 0, &names, 5, 6).expect("it is whole");
    let Some(Shared::Answer(travelled)) = Shared::read(&bytes) else { panic!("it is an answer") };
    assert_eq!((travelled.key, travelled.fields), (&key[..], fields));
    assert_eq!((&travelled.labels[..], travelled.content), (&labels[..], &b"content"[..]));
}

/// Anything, as it may come from the shared state or be typed by people.
pub(crate) fn check_bytes(input: &[u8]) {
    if let Some(Shared::Answer(travelled)) = Shared::read(input) {
        assert!(travelled.primary <= travelled.key.len());
        assert!(travelled.content.len() <= input.len());
        stored::lines(travelled.fields).for_each(drop);
    }
    stored::lines(input).for_each(drop);
    seawall_cache::freshness::date::parse(input, NOW);
    if let Some(ranges) = Ranges::parse(input) {
        check_ranges(&ranges);
    }
    ContentRange::parse(input);
    ContentRange::parse_unsatisfied(input);
    key::shown(input, input.len() / 2, &[b"accept-encoding"[..].into(), b"x"[..].into()]);
    if let Ok(text) = str::from_utf8(input)
        && let Ok(typed) = TypedUrl::parse(text)
    {
        let url = typed.as_url();
        let labels = Labels::new(1);
        let mut all = Vec::new();
        labels.write(&url, &rules::key_rules(), std::iter::empty(), &mut all);
        assert!(all.contains(&labels.url(&url, &rules::key_rules())));
        assert!(all.contains(&labels.everything()) && all.contains(&labels.host(&url)));
    }
}

/// As `cache = {}`, and with as much as can be said.
fn both() -> [plan::Cache; 2] {
    let plain = rules::rules();
    let mut all = rules::rules();
    all.ttl = Some(Duration::from_secs(60));
    all.stale_while_revalidate = Duration::from_secs(60);
    all.jitter = 100;
    all.key.sort = true;
    all.key.query = plan::CacheQuery::Except(["utm_*".into(), "a".into()].into());
    all.key.headers = ["accept-language".into(), "x-site".into()].into();
    all.key.cookies = ["a".into()].into();
    all.key.device = true;
    all.vary = ["accept-encoding".into()].into();
    all.bypass.cookies = ["session*".into()].into();
    all.bypass.query = ["preview".into()].into();
    [plain, all]
}
