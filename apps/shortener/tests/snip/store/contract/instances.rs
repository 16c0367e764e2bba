//! What holds of every store: keys, secrets, and several instances on one database.

use std::collections::HashSet;

use snip::store::{NewKey, StoreError};

use super::{Case, Place, all, make, make_one, new, read};

cases! {
    keys_are_found_by_their_hash_and_revoked
    of_instances_that_start_at_once_one_makes_the_first_key
    a_secret_is_the_same_for_all_and_for_ever
    many_instances_may_start_at_once
    it_says_how_it_is_and_how_much_it_has
}

async fn keys_are_found_by_their_hash_and_revoked(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    assert_eq!(store.has_keys().await, Ok(false));
    let new = |number: u8| NewKey {
        name: format!("key {number}").into(),
        hash: [number; 32],
        scopes: "links:read".into(),
    };
    let first = store.create_key(new(1)).await.expect("it is made");
    let second = other.create_key(new(2)).await.expect("it is made");
    assert!(first.id >= 1 && second.id > first.id);
    assert_eq!((&*first.name, &*first.scopes, first.revoked), ("key 1", "links:read", None));
    assert!(matches!(store.create_key(new(1)).await, Err(StoreError::Refused(_))));
    assert_eq!(other.has_keys().await, Ok(true));
    assert_eq!(other.key_by_hash(&[1; 32]).await, Ok(Some(first.clone())));
    assert_eq!(other.key_by_hash(&[3; 32]).await, Ok(None));
    assert_eq!(store.revoke_key(first.id).await, Ok(true));
    assert_eq!(other.revoke_key(first.id).await, Ok(false));
    assert_eq!(store.revoke_key(second.id + 1).await, Ok(false));
    let revoked = other.key_by_hash(&[1; 32]).await.expect("it answers").expect("it is kept");
    assert!(revoked.revoked.is_some_and(|at| at >= first.created));
    assert_eq!(store.keys().await, Ok(vec![revoked, second]));
    assert_eq!(store.has_keys().await, Ok(true));
}

async fn of_instances_that_start_at_once_one_makes_the_first_key(place: Place) {
    let mut tasks = Vec::new();
    for number in 0..8 {
        let store = place.open().await;
        tasks.push(async move {
            let key = NewKey { name: "first".into(), hash: [number; 32], scopes: "all".into() };
            store.create_first_key(key).await.expect("it answers")
        });
    }
    let made: Vec<_> = all(tasks).await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    let store = place.open().await;
    assert_eq!(store.keys().await, Ok(made.clone()));
    // A key that was revoked was there all the same.
    store.revoke_key(made[0].id).await.expect("it answers");
    let key = NewKey { name: "second".into(), hash: [99; 32], scopes: "all".into() };
    assert_eq!(store.create_first_key(key).await, Ok(None));
}

async fn a_secret_is_the_same_for_all_and_for_ever(place: Place) {
    let stores = [place.open().await, place.open().await];
    let secrets = all((0..10).map(|number: usize| {
        let store = stores[number % 2].clone();
        async move { store.secret("sessions").await.expect("it answers") }
    }))
    .await;
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_ne!(secrets[0], [0; 32]);
    assert_ne!(stores[0].secret("other").await, Ok(secrets[0]));
    drop(stores);
    assert_eq!(place.open().await.secret("sessions").await, Ok(secrets[0]));
}

async fn many_instances_may_start_at_once(place: Place) {
    let stores = all((0..8).map(|_| {
        let place = place.clone();
        async move { place.open().await }
    }))
    .await;
    let mut codes = HashSet::new();
    for store in &stores {
        codes.insert(make_one(store, new("https://example.com/")).await.code);
    }
    assert_eq!(codes.len(), 8);
    // And what they made is there after all have gone.
    drop(stores);
    let store = place.open().await;
    for code in codes {
        assert!(read(&store, &code).await.is_some());
    }
}

async fn it_says_how_it_is_and_how_much_it_has(place: Place) {
    let store = place.open().await;
    let before = store.size().await.expect("it answers");
    assert_eq!(before.links, 0);
    make(&store, vec![new("https://example.com/"); 2_000]).await;
    let after = store.size().await.expect("it answers");
    assert!(after.bytes >= before.bytes + 2_000 * 50, "{before:?} {after:?}");
    let health = store.health().await;
    assert_eq!(health.primary.error, None);
    assert!(!health.primary.name.is_empty());
    assert_eq!(health.replicas.len(), 0);
}
