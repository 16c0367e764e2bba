//! What holds of every store: creations that are asked for again.

use snip::link::{LinkPatch, LinkQuery};
use snip::store::{Once, REMEMBERED, Taken, system_clock};

use super::{Case, Place, alias, all, code, make_one, new, read, tagged};

cases! {
    a_creation_is_made_once
    a_creation_is_made_once_however_many_ask_at_once
    a_creation_is_forgotten_after_a_day
}

async fn a_creation_is_made_once(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    make_one(&store, alias("taken")).await;
    let links = || vec![tagged("https://example.com/", &["t"]), alias("taken"), alias("mine")];
    let Ok(Once::Created(created)) = store.create_once(1, "key", [1; 32], links()).await else {
        panic!("it is made")
    };
    assert_eq!(created[1], Err(Taken(code("taken"))));
    let first = created[0].clone().expect("not taken");
    assert_eq!(read(&store, &first.code).await.as_ref(), Some(&first));
    // As it was made, whatever became of it.
    let patch = LinkPatch { title: Some(Some("new".into())), ..LinkPatch::default() };
    store.update(&first.code, &patch, None).await.expect("it answers");
    for store in [&store, &other] {
        let again = store.create_once(1, "key", [1; 32], links()).await;
        assert_eq!(again, Ok(Once::Replayed(created.clone())));
        let different = store.create_once(1, "key", [2; 32], links()).await;
        assert_eq!(different, Ok(Once::Mismatch));
    }
    // Another key, or the same of somebody else, is another creation.
    for (owner, key) in [(1, "Key"), (2, "key")] {
        let answer = store.create_once(owner, key, [1; 32], vec![new("https://x.y/")]).await;
        assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    }
    let page = store.links(&LinkQuery { limit: 10, ..LinkQuery::default() }).await;
    assert_eq!(page.expect("it answers").links.len(), 5);
    // What was made under an alias is a change, as ever.
    let changes = store.changes_after(0, 100).await.expect("it answers").changes;
    assert!(changes.iter().any(|change| change.code == code("mine")));
}

async fn a_creation_is_made_once_however_many_ask_at_once(place: Place) {
    let stores = [place.open().await, place.open().await];
    for round in 0..5 {
        let answers = all((0..20).map(|number: usize| {
            let store = stores[number % 2].clone();
            let key = format!("round-{round}");
            async move {
                let links = vec![new("https://example.com/"); 3];
                store.create_once(1, &key, [7; 32], links).await.expect("it answers")
            }
        }))
        .await;
        let created: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                Once::Created(created) => Some(created),
                _ => None,
            })
            .collect();
        assert_eq!(created.len(), 1);
        for answer in &answers {
            match answer {
                Once::Created(_) | Once::InProgress => {}
                Once::Replayed(replayed) => assert_eq!(replayed, created[0]),
                Once::Mismatch => panic!("all ask for the same"),
            }
        }
    }
    let page = stores[0].links(&LinkQuery { limit: 100, ..LinkQuery::default() }).await;
    assert_eq!(page.expect("it answers").links.len(), 15);
}

async fn a_creation_is_forgotten_after_a_day(place: Place) {
    let links = || vec![new("https://example.com/")];
    let long_ago = place.open_at(|| system_clock() - REMEMBERED - 1_000).await;
    let lately = place.open_at(|| system_clock() - REMEMBERED + 600_000).await;
    let now = place.open().await;
    for (key, store) in [("old", &long_ago), ("older", &long_ago), ("new", &lately)] {
        let answer = store.create_once(1, key, [1; 32], links()).await;
        assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    }
    let answer = now.create_once(1, "old", [2; 32], links()).await;
    assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    let answer = now.create_once(1, "new", [1; 32], links()).await;
    assert!(matches!(answer, Ok(Once::Replayed(_))), "{answer:?}");
    assert_eq!(now.forget_once().await, Ok(1));
    assert_eq!(now.forget_once().await, Ok(0));
    let answer = now.create_once(1, "old", [1; 32], links()).await;
    assert_eq!(answer, Ok(Once::Mismatch));
}
