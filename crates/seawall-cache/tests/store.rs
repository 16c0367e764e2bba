//! The store as the HTTP door sees it.

use std::sync::Arc;

use bytes::Bytes;
use seawall_cache::object::{Content, Flags, Meta, Object};
use seawall_cache::purge::{Kind, Purged};
use seawall_cache::store::{Found, Mark, Refused, Store, Variants};
use seawall_config::plan::CacheStore;

#[test]
fn what_is_stored_is_found_under_its_whole_key() {
    let store = store(1 << 20);
    assert!(store.get(store.hash(b"/a"), b"/a").is_none());
    store.insert(object(&store, b"/a", b"first", &[])).unwrap();
    assert_eq!(body(&store, b"/a").as_deref(), Some(&b"first"[..]));
    // The hash of one key with the text of another: as if the two collided.
    assert!(store.get(store.hash(b"/a"), b"/b").is_none());
    store.insert(object(&store, b"/a", b"second", &[])).unwrap();
    assert_eq!(body(&store, b"/a").as_deref(), Some(&b"second"[..]));
    assert_eq!(store.usage().objects, 1);
    assert!(store.remove(store.hash(b"/a"), b"/a"));
    assert!(!store.remove(store.hash(b"/a"), b"/a"));
    assert!(body(&store, b"/a").is_none());
    assert_eq!(store.usage().objects, 0);
}

#[test]
fn an_older_answer_does_not_replace_a_newer_one_that_is_good() {
    let store = store(1 << 20);
    let older = object_received(&store, b"/a", b"older", &[1], 1_000);
    store.insert(object_received(&store, b"/a", b"newer", &[1], 2_000)).unwrap();
    assert_eq!(store.insert(Arc::clone(&older)), Err(Refused::Older));
    assert_eq!(body(&store, b"/a").as_deref(), Some(&b"newer"[..]));
    store.purge(1, Kind::Soft, 3_000);
    let fetched_again = object_received(&store, b"/a", b"clock went back", &[1], 500);
    store.insert(fetched_again).unwrap();
    assert_eq!(body(&store, b"/a").as_deref(), Some(&b"clock went back"[..]));
}

#[test]
fn variants_are_found_by_the_names_that_they_were_stored_by() {
    let store = store(1 << 20);
    let (hash, key) = (store.hash(b"/a"), b"/a");
    let by_language = store.vary(hash, key, &names(&["accept-language"]));
    assert!(store.get(hash, key).is_none(), "nothing is stored by asking");
    store.insert_variant(&by_language, object(&store, b"/a|de", b"deutsch", &[])).unwrap();
    store.insert_variant(&by_language, object(&store, b"/a|en", b"english", &[])).unwrap();
    let varies = varies(&store, key);
    assert_eq!(varies.names(), names(&["accept-language"]));
    assert_eq!(variant(&store, &varies, b"/a|en").as_deref(), Some(&b"english"[..]));
    assert!(variant(&store, &varies, b"/a|fr").is_none());
    assert!(body(&store, b"/a|en").is_none(), "a variant is nobody's own answer");

    // An answer that names another field: what was told apart by fewer is of no use any more.
    let by_both = store.vary(hash, key, &names(&["accept-encoding"]));
    assert_eq!(by_both.names(), names(&["accept-encoding", "accept-language"]));
    store.insert_variant(&by_both, object(&store, b"/a|en", b"gzip", &[])).unwrap();
    assert!(variant(&store, &by_language, b"/a|en").is_none());
    assert_eq!(variant(&store, &by_both, b"/a|en").as_deref(), Some(&b"gzip"[..]));
    let usage = store.usage();
    assert_eq!((usage.objects, usage.variants, usage.families), (1, 1, 1));

    // An answer that names fewer fields is told apart by all the same.
    assert_eq!(store.vary(hash, key, &names(&["accept-language"])).names(), by_both.names());
}

#[test]
fn variants_go_with_their_url() {
    for way in ["remove", "replace"] {
        let store = store(1 << 20);
        let (hash, key) = (store.hash(b"/a"), b"/a");
        let variants = store.vary(hash, key, &names(&["x"]));
        for number in 0..10 {
            let key = format!("/a|{number}");
            store.insert_variant(&variants, object(&store, key.as_bytes(), b"", &[])).unwrap();
        }
        assert_eq!(store.usage().variants, 10);
        match way {
            "remove" => assert!(store.remove(hash, key)),
            _ => store.insert(object(&store, key, b"", &[])).unwrap(),
        }
        let usage = store.usage();
        assert_eq!((usage.variants, usage.families), (0, 0), "{way}");
        // The URL varies again: what was there before must not come back.
        store.insert_variant(&variants, object(&store, b"/a|new", b"", &[])).unwrap();
        assert!(variant(&store, &variants, b"/a|3").is_none(), "{way}");
    }
}

#[test]
fn a_url_has_no_more_variants_than_it_may() {
    let store = Store::new(&CacheStore { variants: 4, ..CacheStore::default() }, 1);
    let (hash, key) = (store.hash(b"/a"), b"/a");
    let variants = store.vary(hash, key, &names(&["user-agent"]));
    for number in 0..10 {
        let key = format!("/a|{number}");
        store.insert_variant(&variants, object(&store, key.as_bytes(), b"", &[])).unwrap();
    }
    let kept: Vec<bool> = (0..10)
        .map(|number| variant(&store, &variants, format!("/a|{number}").as_bytes()).is_some())
        .collect();
    assert_eq!(kept, [[false; 6].as_slice(), &[true; 4]].concat());
    let usage = store.usage();
    assert_eq!((usage.variants, usage.crowded), (4, 6));
    // Storing one again makes it the last that was stored.
    store.insert_variant(&variants, object(&store, b"/a|6", b"", &[])).unwrap();
    store.insert_variant(&variants, object(&store, b"/a|new", b"", &[])).unwrap();
    assert!(variant(&store, &variants, b"/a|6").is_some());
    assert!(variant(&store, &variants, b"/a|7").is_none());
}

#[test]
fn marks_hold_for_their_key_until_they_are_cleared_swept_or_replaced() {
    let store = store(1 << 20);
    let (hash, key) = (store.hash(b"/a"), b"/a");
    let mark = Mark { until: 500, why: 7 };
    store.mark_pass(hash, key, mark);
    assert!(matches!(store.get(hash, key), Some(Found::Pass(found)) if found == mark));
    store.clear_pass(hash, key);
    assert!(store.get(hash, key).is_none());
    store.mark_pass(hash, key, mark);
    store.insert(object(&store, key, b"now it may be stored", &[])).unwrap();
    store.clear_pass(hash, key);
    assert!(body(&store, key).is_some(), "an answer is no mark");

    let variants = store.vary(hash, key, &names(&["cookie"]));
    let variant = store.hash(b"/a|1");
    store.mark_pass_variant(&variants, variant, b"/a|1", mark);
    store.mark_pass(hash, key, mark);
    let found = store.get_variant(&variants, variant, b"/a|1");
    assert!(matches!(found, Some(Found::Pass(found)) if found == mark));
    assert_eq!(store.usage().marks, 1);
    store.sweep(1_000, 499);
    assert_eq!(store.usage().marks, 1);
    store.sweep(1_000, 500);
    assert_eq!(store.usage().marks, 0);
}

#[test]
fn chunks_are_found_by_id_and_number() {
    let store = store(32 << 20);
    for number in 0..8 {
        store.insert_chunk(3, number, Bytes::from(vec![number as u8; 1 << 20])).unwrap();
    }
    assert_eq!(store.chunk(3, 5).unwrap()[0], 5);
    assert!(store.chunk(4, 5).is_none());
    assert!(store.chunk(3, 8).is_none());
    store.remove_chunk(3, 5);
    assert!(store.chunk(3, 5).is_none());
    assert_eq!(store.usage().chunks, 7);
}

#[test]
fn what_is_purged_is_never_found_again() {
    let store = store(1 << 20);
    let (page, tag) = (0xdead_beef, 77);
    store.insert(object(&store, b"/a", b"", &[page, tag])).unwrap();
    store.insert(object(&store, b"/b", b"", &[5])).unwrap();
    let fetched_meanwhile = object(&store, b"/c", b"", &[tag]);
    store.purge(tag, Kind::Soft, 10_000);
    assert_eq!(store.purged(&fetched_meanwhile), Some(Purged::Soft(10_000)));
    for _ in 0..2 {
        assert!(matches!(
            store.get(store.hash(b"/a"), b"/a"),
            Some(Found::Object { soft: Some(10_000), .. })
        ));
        assert!(matches!(
            store.get(store.hash(b"/b"), b"/b"),
            Some(Found::Object { soft: None, .. })
        ));
    }
    assert_eq!(store.newest_purge([page, tag].into_iter()), Some(10_000));
    assert_eq!(store.newest_purge([page].into_iter()), None);

    store.purge(page, Kind::Hard, 20_000);
    assert!(store.get(store.hash(b"/a"), b"/a").is_none());
    assert_eq!(store.usage().purged, 1);
    store.purge(tag, Kind::Hard, 20_000);
    assert_eq!(store.insert(fetched_meanwhile), Err(Refused::Purged));
    store.insert(object(&store, b"/c", b"", &[tag])).unwrap();
    assert!(body(&store, b"/c").is_some(), "fetched after the purge");
}

#[test]
fn a_sweep_gives_the_memory_of_purged_objects_back() {
    let store = store(64 << 20);
    for number in 0..20_000u32 {
        let key = format!("/{number}");
        store.insert(object(&store, key.as_bytes(), b"", &[number % 2, 2])).unwrap();
    }
    assert_eq!(store.sweep(usize::MAX, 0), 0, "there was no purge");
    store.purge(0, Kind::Hard, 1);
    let mut rounds = 0;
    while store.usage().objects > 10_000 {
        assert!(store.sweep(1_000, 0) <= 1_000);
        rounds += 1;
        assert!(rounds < 100);
    }
    assert!(rounds >= 10);
    while store.sweep(1_000, 0) > 0 {}
    assert_eq!((store.usage().objects, store.usage().purged), (10_000, 10_000));
}

#[test]
fn tables_shrink_when_few_large_objects_follow_many_small_ones() {
    let store = store(16 << 20);
    for number in 0..30_000 {
        let key = format!("/small/{number}");
        store.insert(object(&store, key.as_bytes(), b"", &[number])).unwrap();
    }
    let key = b"/varies";
    let variants = store.vary(store.hash(key), key, &names(&["x"]));
    for _ in 0..10 {
        store.insert_variant(&variants, object(&store, b"/varies|1", b"kept", &[])).unwrap();
        store.insert_variant(&variants, object(&store, b"/varies|2", b"too", &[])).unwrap();
        assert!(variant(&store, &variants, b"/varies|1").is_some());
        assert!(variant(&store, &variants, b"/varies|2").is_some());
    }
    let before = store.usage();
    for number in 1..30_000 {
        store.purge(number, Kind::Hard, 1);
    }
    while store.sweep(10_000, 0) > 0 {}
    let after = store.usage();
    // Those whose labels share a slot with one that was purged are gone as well.
    assert!(after.objects < before.objects / 10, "{before:?} {after:?}");
    assert!(after.bytes < before.bytes / 10, "{before:?} {after:?}");
    assert_eq!(after.variants, 2);
    assert_eq!(variant(&store, &variants, b"/varies|1").as_deref(), Some(&b"kept"[..]));
    assert_eq!(variant(&store, &variants, b"/varies|2").as_deref(), Some(&b"too"[..]));
    for number in 0..200 {
        let key = format!("/large/{number}");
        store.insert(object(&store, key.as_bytes(), &[0; 100_000], &[])).unwrap();
    }
    let usage = store.usage();
    assert!(usage.objects > 100 && usage.bytes > 12 << 20, "{usage:?}");
    store.remove(store.hash(key), key);
    assert_eq!(store.usage().variants, 0);
}

#[test]
fn names_of_ever_new_fields_are_not_collected_for_ever() {
    let store = store(1 << 20);
    let (hash, key) = (store.hash(b"/a"), b"/a");
    for number in 0..100 {
        let variants = store.vary(hash, key, &names(&[&format!("x-{number}")]));
        assert!(variants.names().len() <= 16);
        store.insert_variant(&variants, object(&store, b"/a|1", b"", &[])).unwrap();
    }
}

#[test]
fn a_smaller_plan_gives_up_what_is_too_much() {
    let store = store(32 << 20);
    for number in 0..20_000 {
        let key = format!("/{number}");
        store.insert(object(&store, key.as_bytes(), &[0; 1_000], &[])).unwrap();
    }
    assert!(store.usage().bytes > 20 << 20);
    store.reconfigure(&CacheStore { memory: 8 << 20, ..CacheStore::default() });
    let usage = store.usage();
    assert!(usage.bytes <= 8 << 20 && usage.objects > 1_000, "{usage:?}");
}

#[test]
fn what_is_used_most_is_on_top() {
    let store = store(1 << 20);
    for number in 0..50 {
        let key = format!("/{number}");
        store.insert(object(&store, key.as_bytes(), b"", &[])).unwrap();
        for _ in 0..number {
            assert!(body(&store, key.as_bytes()).is_some());
        }
    }
    let top = store.top(3);
    let keys: Vec<(&[u8], u32)> = top.iter().map(|top| (top.object.key(), top.uses)).collect();
    assert_eq!(keys, [(&b"/49"[..], 49), (b"/48", 48), (b"/47", 47)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let store = store(1 << 20);
    let large = object(&store, b"/large", &vec![0; 2 << 20], &[]);
    assert_eq!(store.insert(large), Err(Refused::TooLarge));
    let chunk = Bytes::from(vec![0; 2 << 20]);
    assert_eq!(store.insert_chunk(1, 0, chunk), Err(Refused::TooLarge));
    assert_eq!(store.usage().objects, 0);
}

#[test]
fn the_books_are_right_whatever_happens() {
    for seed in 0..256 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut plan =
            CacheStore { memory: 300_000, variants: random.u32(1..6), ..CacheStore::default() };
        let store = Store::new(&plan, seed);
        for step in 0..1_000 {
            let number = random.u32(0..60);
            let key = format!("/{number}").into_bytes();
            let hash = store.hash(&key);
            let labels = [number % 5, 100 + number];
            let content = vec![number as u8; random.usize(0..10_000)];
            match random.u32(0..100) {
                0..30 => {
                    let found = store.get(hash, &key);
                    if let Some(Found::Object { object, soft }) = found {
                        assert_eq!(object.key(), key, "seed {seed}");
                        assert!(object.body().iter().all(|byte| *byte == number as u8));
                        let purged = soft.map(Purged::Soft);
                        assert_eq!(store.purged(&object), purged, "seed {seed}");
                    }
                }
                30..50 => {
                    let _ = store.insert(object(&store, &key, &content, &labels));
                }
                50..75 => {
                    let name = random.u32(0..20) / 19;
                    let variants = store.vary(hash, &key, &names(&[&format!("x-{name}")]));
                    let own = format!("/{number}|{}", random.u32(0..8)).into_bytes();
                    if random.bool() {
                        let stored = object(&store, &own, &content, &labels);
                        let _ = store.insert_variant(&variants, stored);
                    } else if let Some(body) = variant(&store, &variants, &own) {
                        assert!(body.iter().all(|byte| *byte == number as u8), "seed {seed}");
                    }
                }
                75..80 => store.mark_pass(hash, &key, Mark { until: step, why: 0 }),
                80..84 => {
                    let _ = store.insert_chunk(u64::from(number), 0, Bytes::from(content));
                }
                84..88 => {
                    store.remove(hash, &key);
                    assert!(store.get(hash, &key).is_none(), "seed {seed}");
                }
                88..92 => {
                    let kind = if random.bool() { Kind::Hard } else { Kind::Soft };
                    store.purge(number % 5, kind, step);
                }
                92..96 => {
                    store.sweep(random.usize(0..100), step);
                }
                _ => {
                    plan.memory = random.u64(150_000..300_000);
                    store.reconfigure(&plan);
                }
            }
            let usage = store.usage();
            assert!(usage.bytes <= plan.memory, "seed {seed}: {usage:?} of {}", plan.memory);
            let most = usage.families * u64::from(plan.variants);
            assert!(usage.variants <= most, "seed {seed}: {usage:?}");
        }
        // Everything goes, and nothing is left of it but what the tables take.
        for number in 0..60 {
            let key = format!("/{number}").into_bytes();
            store.remove(store.hash(&key), &key);
            store.remove_chunk(number, 0);
        }
        let usage = store.usage();
        let held = [usage.objects, usage.families, usage.variants, usage.marks, usage.chunks];
        assert_eq!(held, [0; 5], "seed {seed}");
        assert!(usage.bytes < 100_000, "seed {seed}: {usage:?}");
    }
}

fn store(memory: u64) -> Store {
    Store::new(&CacheStore { memory, ..CacheStore::default() }, 1)
}

fn object(store: &Store, key: &[u8], body: &[u8], labels: &[u32]) -> Arc<Object> {
    object_received(store, key, body, labels, 1_000)
}

fn object_received(
    store: &Store,
    key: &[u8],
    body: &[u8],
    labels: &[u32],
    received: u64,
) -> Arc<Object> {
    let meta = Meta {
        received,
        lifetime: 60_000,
        sequence: store.sequence(),
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost: 1,
        status: 200,
        flags: Flags::default(),
    };
    Arc::new(Object::new(meta, key, b"A: b\r\n", labels, Content::Whole, &[body]))
}

fn body(store: &Store, key: &[u8]) -> Option<Vec<u8>> {
    match store.get(store.hash(key), key) {
        Some(Found::Object { object, .. }) => Some(object.body().to_vec()),
        _ => None,
    }
}

fn variant(store: &Store, variants: &Arc<Variants>, key: &[u8]) -> Option<Vec<u8>> {
    match store.get_variant(variants, store.hash(key), key) {
        Some(Found::Object { object, .. }) => Some(object.body().to_vec()),
        _ => None,
    }
}

fn varies(store: &Store, key: &[u8]) -> Arc<Variants> {
    match store.get(store.hash(key), key) {
        Some(Found::Varies(variants)) => variants,
        other => panic!("{other:?}"),
    }
}

fn names(names: &[&str]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}
