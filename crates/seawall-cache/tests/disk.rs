//! The disk tier between restarts, failures and other processes.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use seawall_cache::disk::{Blob, Condition, Disk, DiskFault, LARGEST};
use seawall_cache::purge::Stamp;
use seawall_config::plan::CacheDisk;

const SMALL: u64 = 18 << 20;
const LONG: Duration = Duration::from_secs(60);

fn plan(path: &Path, size: u64) -> CacheDisk {
    CacheDisk { path: path.to_owned(), size }
}

fn open(path: &Path, size: u64) -> Disk {
    let disk = Disk::open(&plan(path, size), 1 << 12).expect("a directory of its own");
    assert!(disk.recovered(LONG));
    assert_eq!(disk.condition(), Condition::Working);
    disk
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

fn blob(head: &[u8], content: &[u8]) -> Blob {
    Blob { head: Bytes::copy_from_slice(head), content: Bytes::copy_from_slice(content) }
}

/// A blob of so many bytes that no two (`key`, `version`) share.
fn sample(key: u32, version: u32, length: usize) -> Blob {
    let mut random = fastrand::Rng::with_seed(u64::from(key) << 32 | u64::from(version));
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    blob(&[key.to_le_bytes(), version.to_le_bytes()].concat(), &content)
}

fn get(disk: &Disk, key: &[u8]) -> Option<Blob> {
    wait(disk.read(key))
}

/// Segments of stores of this size.
const SEGMENT: u64 = 4 << 20;

/// Overwrites the trailers of all segments.
fn wipe_tables(directory: &Path) {
    let log = fs::OpenOptions::new().write(true).open(directory.join("log")).expect("the log");
    let length = log.metadata().expect("its length").len();
    assert!(length >= 4 * SEGMENT && length.is_multiple_of(SEGMENT));
    for segment in 1..=length / SEGMENT {
        log.write_all_at(&[0; 64], segment * SEGMENT - 64).expect("written");
    }
}

#[test]
fn what_is_written_is_read_before_and_after_it_is_on_disk_and_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let large = sample(1, 1, 1 << 20);
    let disk = open(directory.path(), SMALL);
    for length in [0, 1, 63, 64, 65, 4096, 300_000] {
        let key = format!("key {length}");
        assert!(disk.write(key.as_bytes(), sample(1, length, length as usize)));
        assert_eq!(get(&disk, key.as_bytes()), Some(sample(1, length, length as usize)));
    }
    assert!(disk.write(b"large", large.clone()));
    assert!(disk.write(b"", blob(b"", b"")));
    assert!(disk.write(b"gone", blob(b"", b"gone")));
    disk.remove(b"gone");
    assert!(!disk.contains(b"gone"));
    assert!(disk.flush(LONG));
    check(&disk, &large);
    drop(disk);
    // From the table that the flush left.
    let disk = open(directory.path(), SMALL);
    check(&disk, &large);
    drop(disk);
    // From the records alone.
    wipe_tables(directory.path());
    check(&open(directory.path(), SMALL), &large);

    fn check(disk: &Disk, large: &Blob) {
        for length in [0, 1, 63, 64, 65, 4096, 300_000] {
            let key = format!("key {length}");
            assert!(disk.contains(key.as_bytes()), "{length}");
            assert_eq!(get(disk, key.as_bytes()), Some(sample(1, length, length as usize)));
        }
        assert_eq!(get(disk, b"large").as_ref(), Some(large));
        assert_eq!(get(disk, b""), Some(blob(b"", b"")));
        assert_eq!(get(disk, b"gone"), None);
        assert_eq!(get(disk, b"never"), None);
        assert_eq!((disk.counted().corrupt, disk.counted().errors), (0, 0));
    }
}

#[test]
fn the_newest_version_is_found_and_what_was_removed_is_not() {
    for tables in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = open(directory.path(), SMALL);
        for version in 0..50 {
            for key in 0..20 {
                disk.write(&[key], sample(u32::from(key), version, 500));
            }
            // Some of the versions reach the disk, others are replaced before.
            assert!(version % 7 > 0 || disk.flush(LONG));
        }
        (10..20).for_each(|key| disk.remove(&[key]));
        disk.write(&[19], sample(19, 100, 10));
        assert!(disk.flush(LONG));
        drop(disk);
        if !tables {
            wipe_tables(directory.path());
        }
        let disk = open(directory.path(), SMALL);
        for key in 0..20u8 {
            let expect = match key {
                0..10 => Some(sample(u32::from(key), 49, 500)),
                19 => Some(sample(19, 100, 10)),
                _ => None,
            };
            assert_eq!(get(&disk, &[key]), expect, "{key}");
        }
    }
}

#[test]
fn what_was_read_outlasts_what_was_not_and_the_size_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path(), SMALL);
    let mut written = 0;
    // Four times what there is room for; the first ten are read all the time.
    for key in 0..720u32 {
        while !disk.write(&key.to_le_bytes(), sample(key, 0, 100_000)) {
            assert!(disk.flush(LONG));
        }
        written += 1;
        if key % 20 == 19 {
            assert!(disk.flush(LONG));
            for hot in 0..10u32 {
                assert_eq!(get(&disk, &hot.to_le_bytes()), Some(sample(hot, 0, 100_000)), "{key}");
            }
        }
    }
    assert!(disk.flush(LONG));
    let (usage, counted) = (disk.usage(), disk.counted());
    assert!(usage.bytes <= SMALL && usage.entries > 80, "{usage:?}");
    assert!(counted.reclaimed > 400 && counted.carried >= 10, "{counted:?}");
    assert_eq!((counted.writes, counted.corrupt, counted.errors), (written, 0, 0));
    let found = |disk: &Disk| {
        let keys = (0..720u32).filter(|key| {
            let blob = get(disk, &key.to_le_bytes());
            assert!(blob.as_ref().is_none_or(|blob| *blob == sample(*key, 0, 100_000)));
            blob.is_some()
        });
        keys.collect::<Vec<_>>()
    };
    let before = found(&disk);
    assert!(before.contains(&719) && before.contains(&0) && !before.contains(&30));
    let files = fs::read_dir(directory.path()).expect("a directory");
    let bytes: u64 =
        files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum();
    assert!(bytes <= SMALL, "{bytes}");
    drop(disk);
    // What was forgotten but not overwritten may be back; nothing is lost.
    let after = found(&open(directory.path(), SMALL));
    assert!(before.iter().all(|key| after.contains(key)));
}

#[test]
fn many_readers_share_a_read_and_may_leave() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path(), SMALL);
    let expect = sample(1, 1, 1 << 20);
    disk.write(b"key", expect.clone());
    assert!(disk.flush(LONG));
    thread::scope(|scope| {
        for seed in 0..8 {
            let (disk, expect) = (&disk, &expect);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..100 {
                    let reading = disk.read(b"key");
                    if random.bool() {
                        assert_eq!(wait(reading).as_ref(), Some(expect));
                    }
                }
            });
        }
    });
    assert_eq!(disk.counted().refused, 0);
}

#[test]
fn workers_find_what_they_wrote_last_or_nothing_while_everything_moves() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path(), SMALL);
    let version = |key: u32, found: &Blob| {
        let version = found.head[4..8].try_into().map(u32::from_le_bytes).expect("four bytes");
        assert!(*found == sample(key, version, found.content.len()), "{key} is torn");
        version
    };
    thread::scope(|scope| {
        for worker in 0..4u32 {
            let (disk, version) = (&disk, &version);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(worker.into());
                // Keys of its own, of which it knows what it wrote.
                let mut last = [0u32; 16];
                for step in 1..1500u32 {
                    assert!(!disk.is_pressed() || disk.flush(LONG));
                    let own = random.u32(..16);
                    let key = worker * 16 + own;
                    match random.u32(..8) {
                        0 => {
                            disk.remove(&key.to_le_bytes());
                            last[own as usize] = u32::MAX;
                        }
                        1..4 => {
                            let length = random.usize(..60_000);
                            disk.write(&key.to_le_bytes(), sample(key, step, length));
                            last[own as usize] = step;
                        }
                        4..6 => {
                            if let Some(found) = get(disk, &key.to_le_bytes()) {
                                assert_eq!(version(key, &found), last[own as usize], "{key}");
                            }
                        }
                        _ => {
                            let any = random.u32(..64);
                            if let Some(found) = get(disk, &any.to_le_bytes()) {
                                version(any, &found);
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(disk.flush(LONG));
    let counted = disk.counted();
    // Room had to be made again and again.
    assert!(counted.hits > 500 && counted.written_bytes > 3 * SMALL, "{counted:?}");
    assert_eq!((counted.corrupt, counted.errors), (0, 0));
}

#[test]
fn stamps_outlast_the_process_that_set_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let stamp = |slot, hard, soft| Stamp { slot, hard, soft };
    let disk = open(directory.path(), SMALL);
    assert_eq!(disk.stamps().1, []);
    let (slots, _) = disk.stamps();
    assert!(slots >= 1 << 10);
    for set in [stamp(1, 10, 0), stamp(2, 20, 21), stamp(1, 30, 0), stamp(slots as u32 + 2, 5, 40)]
    {
        assert!(wait(disk.stamp(set)));
    }
    let expect = [stamp(1, 30, 0), stamp(2, 20, 40)];
    assert_eq!(disk.stamps().1, expect);
    disk.write(b"key", blob(b"", b"content"));
    assert!(disk.flush(LONG));
    drop(disk);
    let disk = open(directory.path(), SMALL);
    assert_eq!(disk.stamps(), (slots, expect.to_vec()));
    drop(disk);

    // A table of half the size has each stamp once, one of its double size twice.
    let disk = Disk::open(&plan(directory.path(), SMALL), slots / 2).expect("opened");
    assert_eq!(disk.stamps(), (slots / 2, expect.to_vec()));
    drop(disk);
    let disk = open(directory.path(), SMALL);
    let half = slots as u32 / 2;
    let twice =
        [stamp(1, 30, 0), stamp(2, 20, 40), stamp(half + 1, 30, 0), stamp(half + 2, 20, 40)];
    assert_eq!(disk.stamps(), (slots, twice.to_vec()));
    assert_eq!(get(&disk, b"key"), Some(blob(b"", b"content")));
}

#[test]
fn without_all_stamps_nothing_that_was_stored_is_served() {
    for damage in ["missing", "torn", "flipped"] {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = open(directory.path(), SMALL);
        assert!(wait(disk.stamp(Stamp { slot: 3, hard: 7, soft: 0 })));
        disk.write(b"key", blob(b"", b"content"));
        assert!(disk.flush(LONG));
        drop(disk);
        let stamps = directory.path().join("stamps");
        let file = fs::OpenOptions::new().write(true).open(&stamps).expect("the stamps");
        match damage {
            "missing" => fs::remove_file(&stamps).expect("removed"),
            "torn" => file.set_len(100).expect("cut"),
            _ => file.write_all_at(&[8], 64 + 3 * 32).expect("written"),
        }
        let disk = open(directory.path(), SMALL);
        assert_eq!(get(&disk, b"key"), None, "{damage}");
        assert_eq!(disk.usage().entries, 0, "{damage}");
    }
}

#[test]
fn a_store_of_another_size_keeps_what_fits() {
    let directory = tempfile::tempdir().expect("a directory");
    let sizes = [SMALL, 2 * SMALL, SMALL];
    let mut written = 0;
    for size in sizes {
        let disk = open(directory.path(), size);
        for key in 0..written {
            assert_eq!(get(&disk, &[key]), Some(sample(u32::from(key), 0, 10_000)), "{size}");
        }
        for key in written..written + 50 {
            disk.write(&[key], sample(u32::from(key), 0, 10_000));
        }
        written += 50;
        assert!(disk.flush(LONG));
        drop(disk);
        let length = fs::metadata(directory.path().join("log")).expect("the log").len();
        assert!(length <= size && length >= size - 5 * (1 << 20), "{length} of {size}");
    }
}

#[test]
fn what_cannot_be_opened_says_why_and_is_tried_again_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    let first = open(directory.path(), SMALL);
    let cases = [
        (plan(directory.path(), 1000), "cache.disk.size is 1000 bytes"),
        (plan(directory.path(), SMALL), "in use as the disk cache of another process"),
        (plan(&file, SMALL), "name a directory in cache.disk.path"),
        (plan(&file.join("below"), SMALL), "name a directory in cache.disk.path"),
    ];
    for (plan, expect) in cases {
        let (disk, fault) = Disk::start(&plan, 1 << 12);
        let fault = fault.expect("a fault").to_string();
        assert!(fault.contains(expect), "{fault}");
        let Condition::Degraded(reason) = disk.condition() else {
            panic!("{plan:?} works");
        };
        assert_eq!(*reason, fault);
        assert!(!disk.write(b"key", blob(b"", b"content")));
        assert!(!disk.contains(b"key"));
        assert_eq!(get(&disk, b"key"), None);
        disk.remove(b"key");
        assert!(!wait(disk.stamp(Stamp { slot: 1, hard: 1, soft: 0 })));
        assert_eq!((disk.counted().dropped, disk.counted().refused), (2, 1));
    }
    assert!(first.write(b"key", blob(b"", b"content")));
}

#[test]
fn a_directory_that_is_removed_is_made_anew_and_purges_are_kept_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache");
    let disk = open(&path, SMALL);
    let stamp = Stamp { slot: 3, hard: 7, soft: 0 };
    assert!(wait(disk.stamp(stamp)));
    disk.write(b"old", blob(b"", b"content"));
    assert!(disk.flush(LONG));
    fs::remove_dir_all(&path).expect("removed");
    let becomes = |condition: fn(Condition) -> bool| {
        while !condition(disk.condition()) {
            thread::park_timeout(Duration::from_millis(20));
        }
    };
    becomes(
        |condition| matches!(condition, Condition::Degraded(reason) if reason.contains("removed or replaced")),
    );
    assert_eq!(get(&disk, b"old"), None);
    assert!(!disk.write(b"new", blob(b"", b"content")));
    becomes(|condition| condition == Condition::Working);
    assert!(!disk.contains(b"old"));
    assert!(disk.write(b"new", blob(b"", b"content")));
    assert!(disk.flush(LONG));
    drop(disk);
    let disk = open(&path, SMALL);
    assert_eq!(get(&disk, b"new"), Some(blob(b"", b"content")));
    assert_eq!(disk.stamps().1, [stamp]);
}

#[test]
fn a_directory_without_permission_is_a_fault_that_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).expect("made");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("closed");
    match Disk::open(&plan(&closed, SMALL), 1 << 12) {
        Err(fault) => {
            let text = fault.to_string();
            assert!(matches!(fault, DiskFault::Io { .. }), "{text}");
            assert!(text.contains("let the user that Seawall runs as write there"), "{text}");
        }
        // Root may everything; then only that is to be seen.
        Ok(disk) => assert!(disk.write(b"key", blob(b"", b"content"))),
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("opened");
}

#[test]
fn what_is_too_large_is_refused_and_what_was_there_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path(), SMALL);
    let most = vec![7; LARGEST - 3];
    assert!(disk.write(b"key", blob(b"", &most)));
    assert!(disk.flush(LONG));
    assert_eq!(get(&disk, b"key"), Some(blob(b"", &most)));
    assert!(!disk.write(b"key", blob(b"1", &most)));
    assert_eq!(get(&disk, b"key"), None);
}

#[derive(Debug, Clone)]
enum Step {
    Write { key: u8, length: usize },
    Remove(u8),
    Read(u8),
    Flush,
    Reopen { tables: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![2 => 0..2000usize, 1 => 100_000..1_500_000usize];
    let step = prop_oneof![
        8 => (0..24u8, length).prop_map(|(key, length)| Step::Write { key, length }),
        2 => (0..24u8).prop_map(Step::Remove),
        6 => (0..24u8).prop_map(Step::Read),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|tables| Step::Reopen { tables }),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Against a map: what is found is what was written last. As long as nothing had to make room,
    /// all of it is found.
    #[test]
    fn it_does_what_a_map_does(steps in steps()) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut disk = open(directory.path(), SMALL);
        let mut model = HashMap::<u8, (u32, usize)>::new();
        let mut version = 0;
        let mut room = true;
        for step in steps {
            match step {
                Step::Write { key, length } => {
                    version += 1;
                    while !disk.write(&[key], sample(key.into(), version, length)) {
                        prop_assert!(disk.flush(LONG));
                    }
                    model.insert(key, (version, length));
                }
                Step::Remove(key) => {
                    disk.remove(&[key]);
                    model.remove(&key);
                }
                Step::Read(key) => {
                    let found = get(&disk, &[key]);
                    let expect = model.get(&key);
                    let expect = expect.map(|(version, length)| sample(key.into(), *version, *length));
                    prop_assert!(found == expect || found.is_none() && !room);
                }
                Step::Flush => prop_assert!(disk.flush(LONG)),
                Step::Reopen { tables } => {
                    prop_assert!(disk.flush(LONG));
                    drop(disk);
                    if !tables {
                        wipe_tables(directory.path());
                    }
                    disk = open(directory.path(), SMALL);
                    // With no segment free, a start gives up the oldest.
                    room = false;
                }
            }
            room &= disk.counted().reclaimed == 0;
        }
        prop_assert_eq!((disk.counted().corrupt, disk.counted().errors), (0, 0));
    }
}
