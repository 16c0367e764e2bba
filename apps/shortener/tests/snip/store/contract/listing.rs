//! What holds of every store: lists of links.

use std::collections::{BTreeSet, HashSet};

use snip::link::{Code, Link, LinkQuery, Millis, NewLink, Order};
use snip::store::{LinkPage, MOST_AT_ONCE, SEARCHED, system_clock};

use super::{Case, Place, code, make, make_one, new, tagged};

cases! {
    pages_have_every_link_once_while_links_are_made_and_deleted
    links_are_found_by_tag
    links_are_found_by_text
    a_search_is_bounded_and_goes_on
}

async fn pages_have_every_link_once_while_links_are_made_and_deleted(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    // Many of one millisecond: the code decides among them.
    let mut expected = HashSet::new();
    for _ in 0..5 {
        let made = make(&store, vec![tagged("https://example.com/", &["t"]); 50]).await;
        expected.extend(made.into_iter().map(|link| link.code));
    }
    for (tag, order) in [
        (None, Order::Newest),
        (Some("t".to_owned()), Order::Newest),
        (None, Order::Oldest),
        (Some("t".to_owned()), Order::Oldest),
    ] {
        let (mut seen, mut after, mut last) = (HashSet::new(), None, None);
        loop {
            let query = LinkQuery { tag: tag.clone(), order, after, limit: 40, text: None };
            let LinkPage { links, next } = store.links(&query).await.expect("it answers");
            assert!(links.len() <= 40);
            for link in links {
                let place = (link.created, link.code.clone());
                let is_behind = |last: (Millis, Code)| {
                    if order == Order::Newest { place < last } else { place > last }
                };
                assert!(last.is_none_or(is_behind), "out of order");
                last = Some(place);
                assert!(seen.insert(link.code), "seen twice");
            }
            let Some(next) = next else { break };
            // The last one seen, by which pages are turned, goes away; others come.
            if expected.remove(&next.1) {
                other.delete(&next.1, None).await.expect("it answers");
            }
            make_one(&other, tagged("https://example.com/new", &["t"])).await;
            after = Some(next);
        }
        let missed: Vec<_> = expected.difference(&seen).collect();
        assert!(missed.is_empty(), "{missed:?}");
    }
}

async fn links_are_found_by_tag(place: Place) {
    let store = place.open().await;
    let made = make(
        &store,
        vec![
            tagged("https://example.com/1", &["red", "blue"]),
            tagged("https://example.com/2", &["red"]),
            tagged("https://example.com/3", &["Red", "it's"]),
            tagged("https://example.com/4", &[]),
        ],
    )
    .await;
    let found = async |tag: &str| {
        let query = LinkQuery { tag: Some(tag.to_owned()), limit: 10, ..LinkQuery::default() };
        let page = store.links(&query).await.expect("it answers");
        assert_eq!(page.next, None);
        page.links.into_iter().map(|link| link.target.into()).collect::<BTreeSet<String>>()
    };
    let targets = |numbers: &[u32]| -> BTreeSet<String> {
        numbers.iter().map(|number| format!("https://example.com/{number}")).collect()
    };
    for (tag, expect) in [
        ("red", &[1, 2][..]),
        ("blue", &[1]),
        ("Red", &[3]),
        ("it's", &[3]),
        ("re", &[]),
        ("", &[]),
        ("%", &[]),
    ] {
        assert_eq!(found(tag).await, targets(expect), "{tag}");
    }
    let tags = store.tags(2).await.expect("it answers");
    assert_eq!(tags, [("red".into(), 2), ("Red".into(), 1)]);
    store.delete(&made[1].code, None).await.expect("it answers");
    assert_eq!(found("red").await, targets(&[1]));
}

async fn links_are_found_by_text(place: Place) {
    let store = place.open().await;
    let titled = |title: &str| NewLink { title: Some(title.into()), ..new("https://x.y/") };
    let made = make(
        &store,
        vec![
            NewLink { alias: Some(code("Summer-Sale")), ..tagged("https://example.com/", &["a"]) },
            tagged("https://shop.example.com/100%_off", &["a", "b"]),
            titled("The Great Summer"),
            titled("100 percent"),
        ],
    )
    .await;
    let found = async |text: &str, tag: Option<&str>| {
        let query = LinkQuery {
            text: Some(text.to_owned()),
            tag: tag.map(ToOwned::to_owned),
            limit: 10,
            ..LinkQuery::default()
        };
        let page = store.links(&query).await.expect("it answers");
        let index = |link: &Link| made.iter().position(|it| it.code == link.code).expect("known");
        page.links.iter().map(index).collect::<BTreeSet<_>>()
    };
    for (text, tag, expect) in [
        ("summer", None, &[0, 2][..]),
        ("SUMMER-s", None, &[0]),
        ("EXAMPLE.com", None, &[0, 1]),
        ("example.com", Some("b"), &[1]),
        ("100", None, &[1, 3]),
        ("100%_", None, &[1]),
        ("%", None, &[1]),
        ("0_0", None, &[]),
        ("\\", None, &[]),
        ("'", None, &[]),
        ("", Some("a"), &[0, 1]),
    ] {
        assert_eq!(found(text, tag).await, expect.iter().copied().collect(), "{text} {tag:?}");
    }
    // Pages of what is found.
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let text = Some("e".to_owned());
        let query = LinkQuery { text, after, limit: 1, ..LinkQuery::default() };
        let page = store.links(&query).await;
        let LinkPage { links, next } = page.expect("it answers");
        seen.extend(links.into_iter().map(|link| link.code));
        let Some(next) = next else { break };
        after = Some(next);
    }
    let different: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (4, 4));
}

async fn a_search_is_bounded_and_goes_on(place: Place) {
    let early = place.open_at(|| system_clock() - 60_000).await;
    let store = place.open().await;
    let needle = make_one(&early, new("https://example.com/needle")).await;
    for _ in 0..SEARCHED.div_ceil(MOST_AT_ONCE as u32) {
        make(&store, vec![new("https://example.com/hay"); MOST_AT_ONCE]).await;
    }
    let query = LinkQuery { text: Some("needle".to_owned()), limit: 5, ..LinkQuery::default() };
    let first = store.links(&query).await.expect("it answers");
    assert_eq!(first.links, []);
    assert!(first.next.is_some());
    let second = store.links(&LinkQuery { after: first.next, ..query }).await.expect("it answers");
    assert_eq!(second, LinkPage { links: vec![needle], next: None });
}
