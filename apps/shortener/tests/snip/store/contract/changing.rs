//! What holds of every store: changing and deleting links, and their clicks.

use std::collections::BTreeSet;

use snip::link::{Link, LinkPatch, LinkQuery, NewLink, Redirect};
use snip::store::{Deletion, Update, system_clock};

use super::{Case, Place, alias, all, code, make, make_one, new, read, tagged};

cases! {
    a_change_names_what_it_changes
    a_change_expects_a_version
    changes_at_once_are_all_made
    a_clock_that_goes_back_takes_nothing_back
    what_is_deleted_is_gone
    a_limit_of_clicks_is_never_exceeded
}

async fn a_change_names_what_it_changes(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let made = NewLink { clicks_left: Some(5), ..tagged("https://example.com/", &["a", "b"]) };
    let made = make_one(&store, made).await;
    let change = async |patch: LinkPatch| match store.update(&made.code, &patch, None).await {
        Ok(Update::Done(link)) => {
            assert_eq!(read(&other, &made.code).await.as_ref(), Some(&link));
            link
        }
        answer => panic!("{answer:?}"),
    };
    let target = Some("https://example.org/".into());
    let link = change(LinkPatch { target, ..LinkPatch::default() }).await;
    assert_eq!(
        (&*link.target, link.version, link.clicks_left),
        ("https://example.org/", 2, Some(5))
    );
    assert_eq!((&link.tags, link.created), (&made.tags, made.created));
    let link = change(LinkPatch {
        redirect: Some(Redirect::Permanent),
        forward_query: Some(true),
        expires: Some(Some(9)),
        clicks_left: Some(None),
        password: Some(Some("hash".into())),
        disabled: Some(true),
        title: Some(Some("title".into())),
        tags: Some(vec!["c".into(), "b".into()]),
        ..LinkPatch::default()
    })
    .await;
    let expect = Link {
        target: "https://example.org/".into(),
        redirect: Redirect::Permanent,
        forward_query: true,
        expires: Some(9),
        clicks_left: None,
        password: Some("hash".into()),
        disabled: true,
        title: Some("title".into()),
        tags: vec!["b".into(), "c".into()],
        updated: link.updated,
        version: 3,
        ..made.clone()
    };
    assert_eq!(link, expect);
    let tags = store.tags(10).await.expect("it answers");
    assert_eq!(tags, [("b".into(), 1), ("c".into(), 1)]);
    let link = change(LinkPatch {
        expires: Some(None),
        password: Some(None),
        title: Some(None),
        disabled: Some(false),
        tags: Some(Vec::new()),
        ..LinkPatch::default()
    })
    .await;
    let rest = (link.expires, link.password, link.title, link.disabled, link.tags);
    assert_eq!(rest, (None, None, None, false, Vec::new()));
    assert_eq!(store.tags(10).await, Ok(Vec::new()));
    let answer = store.update(&code("unknown"), &LinkPatch::default(), None).await;
    assert_eq!(answer, Ok(Update::Missing));
}

async fn a_change_expects_a_version(place: Place) {
    let store = place.open().await;
    let link = make_one(&store, alias("a")).await;
    let to = |target: &str| LinkPatch { target: Some(target.into()), ..LinkPatch::default() };
    for wrong in [0, 2, -1] {
        let answer = store.update(&link.code, &to("https://x.y/"), Some(wrong)).await;
        assert_eq!(answer, Ok(Update::Conflict(1)));
    }
    assert_eq!(read(&store, &link.code).await, Some(link.clone()));
    let answer = store.update(&link.code, &to("https://x.y/"), Some(1)).await;
    assert!(matches!(answer, Ok(Update::Done(Link { version: 2, .. }))), "{answer:?}");
    let answer = store.update(&link.code, &to("https://x.z/"), Some(1)).await;
    assert_eq!(answer, Ok(Update::Conflict(2)));
    assert_eq!(&*read(&store, &link.code).await.expect("it is there").target, "https://x.y/");
}

async fn changes_at_once_are_all_made(place: Place) {
    let stores = [place.open().await, place.open().await];
    let link = make_one(&stores[0], alias("a")).await;
    let answers = all((0..20).map(|number: usize| {
        let (store, code) = (stores[number % 2].clone(), link.code.clone());
        let tags = Some(vec![format!("tag-{number}").into()]);
        let patch = LinkPatch { tags, ..LinkPatch::default() };
        async move { store.update(&code, &patch, None).await.expect("it answers") }
    }))
    .await;
    let mut versions = BTreeSet::new();
    for answer in answers {
        let Update::Done(link) = answer else { panic!("{answer:?}") };
        versions.insert(link.version);
    }
    assert!(versions.into_iter().eq(2..=21));
    let tags = read(&stores[1], &link.code).await.expect("it is there").tags;
    let listed = stores[0].tags(10).await.expect("it answers");
    assert_eq!(listed, [(tags[0].clone(), 1)]);

    // Of those who expect the same version, one gets through.
    let answers =
        all(
            (0..20).map(|number: usize| {
                let (store, code) = (stores[number % 2].clone(), link.code.clone());
                async move {
                    store.update(&code, &LinkPatch::default(), Some(21)).await.expect("answers")
                }
            }),
        )
        .await;
    let done = answers.iter().filter(|answer| matches!(answer, Update::Done(_))).count();
    let conflicts = answers.iter().filter(|answer| **answer == Update::Conflict(22)).count();
    assert_eq!((done, conflicts), (1, 19));
}

async fn a_clock_that_goes_back_takes_nothing_back(place: Place) {
    let store = place.open().await;
    let early = place.open_at(|| system_clock() - 60 * 60 * 1000).await;
    let link = make_one(&store, new("https://example.com/")).await;
    let answer = early.update(&link.code, &LinkPatch::default(), Some(1)).await;
    let Ok(Update::Done(changed)) = answer else { panic!("{answer:?}") };
    assert_eq!((changed.created, changed.updated), (link.created, link.updated));
    assert_eq!(changed.version, 2);
    // What is made by then is older, and is listed as such; codes go on.
    let older = make_one(&early, new("https://example.com/")).await;
    assert!(older.created < link.created);
    let page = store.links(&LinkQuery { limit: 10, ..LinkQuery::default() }).await;
    let codes: Vec<_> = page.expect("it answers").links.into_iter().map(|link| link.code).collect();
    assert_eq!(codes, [link.code.clone(), older.code]);
    // Changes go by their numbers.
    let changes = store.changes_after(0, 10).await.expect("it answers").changes;
    early.delete(&link.code, None).await.expect("it answers");
    let last = changes.last().map_or(0, |change| change.seq);
    let after = store.changes_after(last, 10).await.expect("it answers").changes;
    assert_eq!(after.iter().map(|change| &change.code).collect::<Vec<_>>(), [&link.code]);
}

async fn what_is_deleted_is_gone(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let link = NewLink { alias: Some(code("a")), ..tagged("https://example.com/", &["t", "u"]) };
    make(&store, vec![link.clone(), tagged("https://example.com/", &["t"])]).await;
    assert_eq!(store.delete(&code("a"), Some(2)).await, Ok(Deletion::Conflict(1)));
    assert!(read(&store, &code("a")).await.is_some(), "it is another version");
    assert_eq!(other.delete(&code("a"), Some(1)).await, Ok(Deletion::Done));
    assert_eq!(store.delete(&code("a"), None).await, Ok(Deletion::Missing));
    assert_eq!(store.delete(&code("a"), Some(1)).await, Ok(Deletion::Missing));
    assert_eq!(read(&store, &code("a")).await, None);
    assert_eq!(store.tags(10).await, Ok(vec![("t".into(), 1)]));
    let again = make_one(&store, link).await;
    assert_eq!(again.version, 1);
    assert_eq!(read(&other, &code("a")).await, Some(again));
}

async fn a_limit_of_clicks_is_never_exceeded(place: Place) {
    let stores = [place.open().await, place.open().await];
    let limited = NewLink { clicks_left: Some(37), ..alias("limited") };
    let limited = make_one(&stores[0], limited).await;
    let taken = all((0..100).map(|number: usize| {
        let (store, code) = (stores[number % 2].clone(), limited.code.clone());
        async move { store.take_click(&code).await.expect("it answers") }
    }))
    .await;
    let left: BTreeSet<_> = taken.iter().flatten().copied().collect();
    assert_eq!(taken.iter().flatten().count(), 37);
    assert!(left.into_iter().eq(0..37));
    let link = read(&stores[0], &limited.code).await.expect("it is there");
    assert_eq!((link.clicks_left, link.version), (Some(0), 1));
    make_one(&stores[0], alias("unlimited")).await;
    for name in ["limited", "unlimited", "unknown"] {
        assert_eq!(stores[1].take_click(&code(name)).await, Ok(None), "{name}");
    }
    let more = LinkPatch { clicks_left: Some(Some(1)), ..LinkPatch::default() };
    stores[0].update(&limited.code, &more, Some(1)).await.expect("it answers");
    assert_eq!(stores[1].take_click(&limited.code).await, Ok(Some(0)));
}
