//! What holds of every store: the changes that caches follow.

use snip::link::LinkPatch;
use snip::store::{Update, system_clock};

use super::{Case, Place, alias, all, code, make, make_one, new};

cases! {
    changes_are_listed
    who_follows_changes_misses_none
    changes_are_forgotten_though_never_the_last
}

async fn changes_are_listed(place: Place) {
    let store = place.open().await;
    assert_eq!(store.last_change().await, Ok(0));
    let generated = make_one(&store, new("https://example.com/")).await;
    assert_eq!(store.last_change().await, Ok(0));
    make(&store, vec![alias("a"), alias("b")]).await;
    store.update(&generated.code, &LinkPatch::default(), None).await.expect("it answers");
    store.update(&generated.code, &LinkPatch::default(), Some(1)).await.expect("it answers");
    store.update(&code("unknown"), &LinkPatch::default(), None).await.expect("it answers");
    store.create(vec![alias("a")]).await.expect("it answers");
    store.delete(&code("a"), None).await.expect("it answers");
    store.delete(&code("a"), None).await.expect("it answers");
    let all = store.changes_after(0, 100).await.expect("it answers");
    assert!(!all.incomplete);
    let mut codes: Vec<_> = all.changes.iter().map(|change| change.code.as_str()).collect();
    // The two that were made at once come in any order.
    codes[..2].sort_unstable();
    assert_eq!(codes, ["a", "b", generated.code.as_str(), "a"]);
    assert!(all.changes.is_sorted_by(|a, b| a.seq < b.seq));
    assert_eq!(store.last_change().await, Ok(all.changes[3].seq));
    let some = store.changes_after(all.changes[0].seq, 2).await.expect("it answers");
    assert_eq!(some.changes, all.changes[1..3]);
    let none = store.changes_after(all.changes[3].seq, 2).await.expect("it answers");
    assert_eq!((none.changes, none.incomplete), (Vec::new(), false));
}

async fn who_follows_changes_misses_none(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let names: Vec<_> = (0..40).map(|number| format!("link-{number}")).collect();
    make(&store, names.iter().map(|name| alias(name)).collect()).await;
    let from = store.last_change().await.expect("it answers");
    let stores = [store, other];
    let work = names.clone().into_iter().enumerate().map(|(number, name)| {
        let store = stores[number % 2].clone();
        async move {
            for _ in 0..5 {
                let answer = store.update(&code(&name), &LinkPatch::default(), None).await;
                assert!(matches!(answer, Ok(Update::Done(_))), "{answer:?}");
            }
        }
    });
    let writers = tokio::spawn(all(work.collect::<Vec<_>>()));
    let follower = place.open().await;
    let (mut last, mut seen, mut done) = (from, Vec::new(), false);
    loop {
        let batch = follower.changes_after(last, 7).await.expect("it answers");
        assert!(!batch.incomplete);
        if let Some(change) = batch.changes.last() {
            last = change.seq;
            seen.extend(batch.changes);
        } else if done {
            break;
        }
        done = writers.is_finished();
    }
    writers.await.expect("they do not panic");
    for name in names {
        let count = seen.iter().filter(|change| change.code.as_str() == name).count();
        assert_eq!(count, 5, "changes of {name}");
    }
}

async fn changes_are_forgotten_though_never_the_last(place: Place) {
    let early = place.open_at(|| system_clock() - 3_600_000).await;
    let store = place.open().await;
    let later = system_clock() - 60_000;
    for name in ["a", "b", "c"] {
        make_one(&early, alias(name)).await;
    }
    assert_eq!(store.forget_changes(later).await, Ok(2));
    let all = store.changes_after(0, 10).await.expect("it answers");
    assert_eq!(all.changes.len(), 1);
    assert!(all.incomplete, "two are not there");
    let known = store.changes_after(all.changes[0].seq - 1, 10).await.expect("it answers");
    assert!(!known.incomplete);
    assert_eq!(store.last_change().await, Ok(all.changes[0].seq));
    make_one(&store, alias("d")).await;
    assert_eq!(store.forget_changes(later).await, Ok(1));
    assert_eq!(store.forget_changes(later).await, Ok(0));
    let left = store.changes_after(all.changes[0].seq, 10).await.expect("it answers");
    assert_eq!((left.changes.len(), left.incomplete), (1, false));
}
