//! Surrogate keys and labels.

use std::collections::BTreeSet;

use proptest::prelude::*;
use seawall_cache::key::{Scheme, TypedUrl, Url};
use seawall_cache::tags::{DEEPEST, LONGEST, Labels, MOST, Tags, typed};
use seawall_config::plan::{CacheKey, CacheQuery};

use crate::parts::{answer, check_all, key_rules};

#[test]
fn tags() {
    let long = format!("Surrogate-Key: a {} b", "x".repeat(LONGEST + 1));
    let longest = "x".repeat(LONGEST);
    let just_short = format!("Cache-Tag: {longest}");
    #[rustfmt::skip]
    let cases = &[
        ("tags none", "X-A: 1", ""),
        ("tags Surrogate-Key", "Surrogate-Key: a b  c", "a b c"),
        ("tags Surrogate-Key with commas", "Surrogate-Key: a,b c", "a,b c"),
        ("tags Cache-Tag", "Cache-Tag: a, b,c d", "a b c d"),
        ("tags several lines", "Surrogate-Key: a | Surrogate-Key: b", "a b"),
        ("tags both fields", "Cache-Tag: b | Surrogate-Key: a", "a b"),
        ("tags the configured field", "X-Tags: a,b c", "a b c"),
        ("tags twice", "Surrogate-Key: a b a | Cache-Tag: a", "a b"),
        ("tags empty", "Surrogate-Key: | Cache-Tag: | X-Tags:", ""),
        ("tags nothing but separators", "Cache-Tag: ,, , | X-Tags: , ,", ""),
        ("tags case", "Surrogate-Key: A a", "A a"),
        ("tags one too long", &long, "a b (1)"),
        ("tags as long as can be", &just_short, &longest),
    ];
    check_all(cases, |lines| {
        let head = answer(&format!("200 | {lines}"));
        let tags = Tags::of(&head.headers, Some("x-tags"));
        let shown: Vec<_> = tags.tags.iter().map(|tag| String::from_utf8_lossy(tag)).collect();
        let dropped = if tags.dropped > 0 { format!(" ({})", tags.dropped) } else { String::new() };
        shown.join(" ") + &dropped
    });
    let many: Vec<String> = (0..MOST + 3).map(|n| format!("t{n}")).collect();
    let head = answer(&format!("200 | Surrogate-Key: {}", many.join(" ")));
    let tags = Tags::of(&head.headers, None);
    assert_eq!((tags.tags.len(), tags.dropped), (MOST, 3));
}

#[test]
fn typed_tags() {
    assert_eq!(typed("a, b\nc  d,,").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(typed(" ,\n").count(), 0);
}

fn labels_of(url: &Url<'_>, rules: &CacheKey, tags: &[&str]) -> BTreeSet<u32> {
    let mut out = vec![7];
    Labels::new(1).write(url, rules, tags.iter().map(|tag| tag.as_bytes()), &mut out);
    assert_eq!(out.remove(0), 7, "what was there stays");
    let set: BTreeSet<u32> = out.iter().copied().collect();
    assert_eq!(set.len(), out.len(), "each once");
    set
}

#[test]
fn what_an_answer_can_be_purged_by() {
    let rules = CacheKey { query: CacheQuery::Except(vec!["utm_*".into()]), ..key_rules() };
    let parsed = TypedUrl::parse("https://A.example/a/b/c?x=1&utm_source=2").expect("it is a URL");
    let has = labels_of(&parsed.as_url(), &rules, &["red", ""]);
    let labels = Labels::new(1);
    let of = |text: &str, label: &dyn Fn(&Url<'_>) -> Option<u32>| {
        let parsed = TypedUrl::parse(text).expect("it is a URL");
        label(&parsed.as_url()).is_some_and(|label| has.contains(&label))
    };
    let by_url = |url: &Url<'_>| Some(labels.url(url, &rules));
    let by_host = |url: &Url<'_>| Some(labels.host(url));
    let by_prefix = |url: &Url<'_>| labels.prefix(url);
    for (name, text, label, expect) in [
        (
            "its URL",
            "https://a.example/a/b/c?x=1",
            &by_url as &dyn Fn(&Url<'_>) -> Option<u32>,
            true,
        ),
        ("its URL, with what does not count", "https://a.example/a/b/c?x=1&utm_x", &by_url, true),
        ("its URL, by the other scheme", "http://a.example:80/a/b/c?x=1", &by_url, true),
        ("another query", "https://a.example/a/b/c?x=2", &by_url, false),
        ("no query", "https://a.example/a/b/c", &by_url, false),
        ("another host", "https://b.example/a/b/c?x=1", &by_url, false),
        ("its host", "http://a.example/", &by_host, true),
        ("another port", "http://a.example:8080/", &by_host, false),
        ("the root", "https://a.example/", &by_prefix, true),
        ("its directory", "https://a.example/a/b/", &by_prefix, true),
        ("the directory above", "https://a.example/a/", &by_prefix, true),
        ("itself as a directory", "https://a.example/a/b/c/", &by_prefix, false),
        ("part of a segment", "https://a.example/a/b", &by_prefix, false),
        ("another directory", "https://a.example/b/", &by_prefix, false),
        ("a directory of another host", "https://b.example/a/", &by_prefix, false),
    ] {
        assert_eq!(of(text, label), expect, "{name}");
    }
    assert!(has.contains(&labels.everything()));
    assert!(labels.tag(b"red").is_some_and(|label| has.contains(&label)));
    assert!(labels.tag(b"blue").is_some_and(|label| !has.contains(&label)));
    assert_eq!(labels.tag(b""), None, "nothing is under an empty tag");
    assert_eq!(has.len(), 7, "everything, host, URL, three directories, a tag");
}

#[test]
fn deep_paths_have_labels_as_deep_as_can_be_purged() {
    let labels = Labels::new(1);
    let path = "/a".repeat(DEEPEST + 4);
    let text = format!("http://a.example{path}");
    let parsed = TypedUrl::parse(&text).expect("it is a URL");
    let has = labels_of(&parsed.as_url(), &key_rules(), &[]);
    assert_eq!(has.len(), 3 + DEEPEST);
    for depth in 0..DEEPEST + 4 {
        let text = format!("http://a.example{}/", "/a".repeat(depth));
        let parsed = TypedUrl::parse(&text).expect("it is a URL");
        let label = labels.prefix(&parsed.as_url());
        assert_eq!(label.is_some(), depth < DEEPEST);
        assert!(label.is_none_or(|label| has.contains(&label)));
    }
}

/// They are stored: a change would leave what is on disk without a purge.
#[test]
fn labels_never_change() {
    let labels = Labels::new(0x05ea_0a11);
    assert_eq!(labels.everything(), 2_005_407_334);
    assert_eq!(labels.tag(b"red"), Some(2_702_548_116));
    assert_eq!(labels.tag(b"a tag of more than eight bytes"), Some(1_514_635_334));
    assert_ne!(Labels::new(1).tag(b"red"), Labels::new(2).tag(b"red"));
}

/// Clients purge URLs, by requests that change something; nothing else may be hit by that, however
/// they choose them.
#[test]
fn urls_share_no_slot_with_anything_else() {
    for seed in 0..4 {
        let labels = Labels::new(seed);
        for n in 0..1_000 {
            let text = format!("http://host{n}/{n}/?{n}");
            let parsed = TypedUrl::parse(&text).expect("a URL");
            let url = parsed.as_url();
            let directory = Url { query: b"", ..url };
            let tag = labels.tag(text.as_bytes()).expect("it is not empty");
            let prefix = labels.prefix(&directory).expect("it is not deep");
            let slot = labels.url(&url, &key_rules());
            for other in [labels.everything(), labels.host(&url), prefix, tag] {
                assert_ne!(slot % 8, other % 8, "{text}: any two slots could be one");
            }
        }
    }
}

#[test]
fn labels_spread_evenly() {
    let labels = Labels::new(3);
    let mut slots = vec![0u32; 1024];
    for n in 0..89_600u32 {
        let label = labels.tag(format!("product-{n}").as_bytes()).expect("it is not empty");
        slots[label as usize % 1024] += 1;
    }
    // A hundred each on average, but for those of URLs; by chance alone, six standard deviations
    // are never passed.
    let are_even = slots.iter().enumerate().all(|(slot, count)| match slot % 8 {
        0 => *count == 0,
        _ => (40..160).contains(count),
    });
    assert!(are_even, "{slots:?}");
    let distinct: BTreeSet<u32> =
        (0..100_000u32).map(|n| labels.tag(&n.to_le_bytes()).expect("it is not empty")).collect();
    // Two of 100,000 random numbers of 32 bits are one 1.2 times on average.
    assert!(distinct.len() > 99_980, "{}", distinct.len());
}

proptest! {
    #[test]
    fn kinds_do_not_collide_by_construction(text in "[a-z]{1,20}") {
        let labels = Labels::new(9);
        let authority = text.as_bytes();
        let url = Url { scheme: Scheme::Http, authority, path: b"/", query: b"" };
        let tag = labels.tag(authority);
        prop_assert_ne!(tag, Some(labels.host(&url)));
        prop_assert_ne!(Some(labels.url(&url, &key_rules())), labels.prefix(&url));
    }
}
