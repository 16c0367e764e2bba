//! The store with a disk tier: what outlasts a restart, and what must not.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use seawall_cache::disk::Disk;
use seawall_cache::object::{Content, Flags, Meta, Object};
use seawall_cache::purge::Kind;
use seawall_cache::store::{Found, Mark, Piece, Store, Variants};
use seawall_config::plan::{CacheDisk, CacheStore};

const LONG: Duration = Duration::from_secs(60);
const NOW: u64 = 1_700_000_000_000;

/// A store above a directory, as a process has it. The seed is another each time.
fn start(directory: &Path, seed: u64) -> Store {
    start_with(directory, seed, 8 << 20)
}

fn start_with(directory: &Path, seed: u64, memory: u64) -> Store {
    let store = Store::new(&CacheStore { memory, ..CacheStore::default() }, seed);
    let plan = CacheDisk { path: directory.to_owned(), size: 64 << 20 };
    let disk = Disk::open(&plan, store.purges().slots()).expect("a directory of its own");
    assert!(disk.recovered(LONG));
    store.attach(disk).expect("the first");
    store
}

fn stop(store: Store) {
    assert!(store.disk().expect("attached").flush(LONG));
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn object_of(store: &Store, key: &[u8], label: u32, content: Content, body: &[u8]) -> Arc<Object> {
    let meta = Meta {
        received: NOW,
        lifetime: 60_000,
        sequence: store.sequence(),
        initial_age: 1,
        stale_while_revalidate: 2,
        stale_if_error: 3,
        cost: 4,
        status: 200,
        flags: Flags { strong: true, ..Flags::default() },
    };
    Arc::new(Object::new(meta, key, b"Content-Type: a\r\n", &[label, 7], content, &[body]))
}

fn object(store: &Store, key: &[u8], label: u32, body: &[u8]) -> Arc<Object> {
    object_of(store, key, label, Content::Whole, body)
}

fn insert(store: &Store, key: &[u8], label: u32, body: &[u8]) {
    store.insert(object(store, key, label, body)).expect("stored");
}

fn get(store: &Store, key: &[u8]) -> Option<Found> {
    store.get(store.hash(key), key)
}

/// In memory, or else on disk.
fn look_up(store: &Store, key: &[u8]) -> Option<Found> {
    get(store, key).or_else(|| wait(store.load(store.hash(key), key)))
}

fn body(found: Option<Found>) -> Option<Vec<u8>> {
    match found? {
        Found::Object { object, .. } => Some(object.body().to_vec()),
        _ => None,
    }
}

#[test]
fn what_was_asked_for_twice_outlasts_a_restart_and_what_was_not_does_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start(directory.path(), 1);
    insert(&store, b"used", 1, b"content");
    insert(&store, b"unused", 1, b"content");
    assert!(!store.is_on_disk(b"used"));
    assert!(get(&store, b"used").is_some());
    assert!(store.is_on_disk(b"used") && !store.is_on_disk(b"unused"));
    let Some(Found::Object { object: before, .. }) = get(&store, b"used") else {
        panic!("it is in memory");
    };
    stop(store);

    let store = start(directory.path(), 2);
    assert!(get(&store, b"used").is_none());
    assert_eq!(body(look_up(&store, b"unused")), None);
    let Some(Found::Object { object, soft: None }) = look_up(&store, b"used") else {
        panic!("it is on disk");
    };
    assert_eq!((&object.meta, &object.content), (&before.meta, &before.content));
    assert_eq!((object.key(), object.fields()), (before.key(), before.fields()));
    assert_eq!(object.body(), b"content");
    assert!(object.labels().eq(before.labels()));
    // It is in memory again, and not written again.
    assert_eq!(body(get(&store, b"used")), Some(b"content".to_vec()));
    assert_eq!(store.disk().map(|disk| disk.counted().writes), Some(0));
}

#[test]
fn what_memory_has_no_room_for_is_on_disk_once_it_was_asked_for_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start_with(directory.path(), 1, 2 << 20);
    let fetched = |round: u32| {
        let keys = (0..200u32).filter(|key| {
            let key = key.to_le_bytes();
            let found = body(look_up(&store, &key));
            assert!(found.as_ref().is_none_or(|body| *body == [key[0]; 20_000]));
            if found.is_none() {
                insert(&store, &key, 1, &[key[0]; 20_000]);
            }
            found.is_none()
        });
        (round, keys.count())
    };
    assert_eq!(fetched(1), (1, 200));
    assert!(store.disk().is_some_and(|disk| disk.usage().entries == 0));
    assert!(store.usage().evicted > 50, "{:?}", store.usage());
    let (_, again) = fetched(2);
    assert!(again >= 50, "{again}");
    assert_eq!(fetched(3), (3, 0));
}

#[test]
fn the_newest_answer_is_the_one_that_outlasts() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start(directory.path(), 1);
    for version in [b"one", b"two"] {
        insert(&store, b"found", 1, version);
        get(&store, b"found");
        insert(&store, b"once", 1, version);
    }
    stop(store);
    let store = start(directory.path(), 2);
    for key in [&b"found"[..], b"once"] {
        assert_eq!(body(look_up(&store, key)), Some(b"two".to_vec()));
    }
}

#[test]
fn what_was_purged_is_not_found_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start(directory.path(), 1);
    for (key, label) in [(b"gone", 10), (b"soft", 20), (b"kept", 30)] {
        insert(&store, key, label, b"content");
        assert!(get(&store, key).is_some());
    }
    assert!(store.disk().is_some_and(|disk| disk.flush(LONG)));
    store.purge(10, Kind::Hard, NOW);
    store.purge(20, Kind::Soft, NOW + 5);
    assert!(wait(store.purges_kept()));
    let sequence = store.sequence();
    stop(store);

    let store = start(directory.path(), 2);
    assert_eq!(store.sequence(), sequence);
    assert!(look_up(&store, b"gone").is_none());
    assert!(!store.is_on_disk(b"gone"));
    let soft = |key| match look_up(&store, key) {
        Some(Found::Object { soft, .. }) => soft,
        other => panic!("{other:?}"),
    };
    assert_eq!(soft(b"soft"), Some(NOW + 5));
    assert_eq!(soft(b"kept"), None);
}

#[test]
fn what_was_taken_out_is_not_found_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start(directory.path(), 1);
    for key in [&b"removed"[..], b"marked"] {
        insert(&store, key, 1, b"content");
        assert!(get(&store, key).is_some());
    }
    assert!(store.disk().is_some_and(|disk| disk.flush(LONG)));
    assert!(store.remove(store.hash(b"removed"), b"removed"));
    store.mark_pass(store.hash(b"marked"), b"marked", Mark { until: NOW, why: 0 });
    stop(store);
    let store = start(directory.path(), 2);
    for key in [&b"removed"[..], b"marked"] {
        assert!(look_up(&store, key).is_none());
    }
}

#[test]
fn variants_outlast_a_restart_with_what_they_go_by() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = |names: &[&str]| -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    };
    let put = |store: &Store, by: &[&str], key: &[u8], find: bool| -> Arc<Variants> {
        let variants = store.vary(store.hash(b"url"), b"url", &names(by));
        store.insert_variant(&variants, object(store, key, 1, key)).expect("stored");
        if find {
            assert!(store.get_variant(&variants, store.hash(key), key).is_some());
        }
        variants
    };
    let find = |store: &Store, variants: &Arc<Variants>, key: &[u8]| {
        body(wait(store.load_variant(variants, store.hash(key), key)))
    };
    let store = start(directory.path(), 1);
    // One that does not vary is there before.
    insert(&store, b"url", 1, b"plain");
    get(&store, b"url");
    put(&store, &["accept-language"], b"url de", true);
    put(&store, &["accept-language"], b"url fr", true);
    put(&store, &["accept-language"], b"url it", false);
    stop(store);

    let store = start(directory.path(), 2);
    let Some(Found::Varies(variants)) = look_up(&store, b"url") else {
        panic!("it varies");
    };
    assert_eq!(variants.names(), names(&["accept-language"]));
    assert_eq!(find(&store, &variants, b"url de"), Some(b"url de".to_vec()));
    assert_eq!(find(&store, &variants, b"url fr"), Some(b"url fr".to_vec()));
    assert_eq!(find(&store, &variants, b"url it"), None);
    // Now by one field more: keys that look the same are others.
    let variants = put(&store, &["accept"], b"url de", true);
    assert_eq!(variants.names(), names(&["accept", "accept-language"]));
    assert_eq!(find(&store, &variants, b"url fr"), None);
    stop(store);
    let store = start(directory.path(), 3);
    let Some(Found::Varies(variants)) = look_up(&store, b"url") else {
        panic!("it varies");
    };
    assert_eq!(variants.names(), names(&["accept", "accept-language"]));
    assert_eq!(find(&store, &variants, b"url de"), Some(b"url de".to_vec()));
    assert_eq!(find(&store, &variants, b"url fr"), None);
    // And one that does not vary any more.
    insert(&store, b"url", 1, b"plain");
    stop(store);
    let store = start(directory.path(), 4);
    assert_eq!(body(look_up(&store, b"url")), Some(b"plain".to_vec()));
}

#[test]
fn large_answers_are_on_disk_chunk_by_chunk_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = start(directory.path(), 1);
    let chunk = |number: u32| Bytes::from(vec![number as u8; 1 << 20]);
    for number in 0..12 {
        store.insert_chunk(99, number, chunk(number)).expect("stored");
    }
    let content = Content::Chunks { id: 99, length: 12 << 20 };
    store.insert(object_of(&store, b"large", 1, content.clone(), b"")).expect("stored");
    store.remove_chunk(99, 5);
    stop(store);

    let store = start(directory.path(), 2);
    let Some(Found::Object { object, .. }) = look_up(&store, b"large") else {
        panic!("it is on disk");
    };
    assert_eq!(object.content, content);
    for number in 0..12 {
        let expect = (number != 5).then(|| chunk(number));
        let piece = wait(store.load_chunk(99, number)).map(|piece| match piece {
            Piece::Memory(bytes) => bytes,
            Piece::Disk(lent) => lent.copy().expect("it is still there").into(),
        });
        assert_eq!(piece, expect, "{number}");
    }
    assert!(wait(store.load_chunk(98, 0)).is_none());
    // More than fits in memory was read, and memory keeps to its size.
    assert!(store.usage().bytes <= 8 << 20);
}

#[test]
fn without_a_disk_tier_nothing_is_below() {
    let store = Store::new(&CacheStore::default(), 1);
    insert(&store, b"key", 1, b"content");
    assert!(get(&store, b"key").is_some());
    assert!(!store.is_on_disk(b"key"));
    assert!(wait(store.load(store.hash(b"other"), b"other")).is_none());
    assert!(wait(store.load_chunk(1, 1)).is_none());
    store.purge(1, Kind::Hard, NOW);
    assert!(wait(store.purges_kept()));
}
