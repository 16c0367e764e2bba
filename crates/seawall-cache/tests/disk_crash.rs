//! The disk tier under `kill -9`, flipped bits, and a disk that is full.
//!
//! The process that is killed is this test executable once more, with a variable set.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use seawall_cache::disk::{Blob, Condition, Disk};
use seawall_cache::purge::Stamp;
use seawall_config::plan::CacheDisk;

const SIZE: u64 = 18 << 20;
const LONG: Duration = Duration::from_secs(60);
const KEYS: u64 = 64;
/// The directory that a child works in.
const CHILD: &str = "SEAWALL_TEST_DISK";
/// The first version that a child writes.
const FIRST: &str = "SEAWALL_TEST_FIRST";

fn open(path: &Path) -> Disk {
    let disk = Disk::open(&CacheDisk { path: path.to_owned(), size: SIZE }, 1 << 10);
    disk.expect("a directory of its own")
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

/// What is stored under a key in a version: every byte follows from both.
fn sample(key: u64, version: u64) -> Blob {
    let mut random = fastrand::Rng::with_seed(key << 40 | version);
    let length = match key % 4 {
        0 => random.usize(..200),
        1 => random.usize(..5_000),
        2 => random.usize(..70_000),
        _ => random.usize(..1_100_000),
    };
    let seed = random.u64(..);
    let words = (0..=length / 8).flat_map(|at| (seed ^ at as u64).to_le_bytes());
    let content: Vec<u8> = words.take(length).collect();
    let head = [key.to_le_bytes(), version.to_le_bytes()].concat();
    Blob { head: head.into(), content: content.into() }
}

/// The version of a blob, if it is one that was written under this key, to the last byte.
fn version(key: u64, blob: &Blob) -> Option<u64> {
    let version = u64::from_le_bytes(blob.head.get(8..16)?.try_into().ok()?);
    (sample(key, version) == *blob).then_some(version)
}

fn child(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this executable"));
    command.args([name, "--exact", "--nocapture"]).env(CHILD, directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Writes, removes, reads and purges until it is killed.
fn go_on(directory: &str) {
    let first: u64 =
        std::env::var(FIRST).ok().and_then(|first| first.parse().ok()).expect("a number");
    let disk = open(Path::new(directory));
    let mut random = fastrand::Rng::with_seed(first);
    // Purges are acknowledged on the standard output; writes are not, for they may be lost.
    for version in first.. {
        let key = random.u64(..KEYS);
        match random.u32(..16) {
            0 => disk.remove(&key.to_le_bytes()),
            1 => {
                let slot = random.u32(..32);
                if wait(disk.stamp(Stamp { slot, hard: version, soft: 0 })) {
                    println!("stamp {slot} {version}");
                }
            }
            2..6 => {
                let found = wait(disk.read(&key.to_le_bytes()));
                if found.is_some_and(|found| self::version(key, &found).is_none()) {
                    println!("torn {key}");
                }
            }
            _ => {
                disk.write(&key.to_le_bytes(), sample(key, version));
            }
        }
        if version == first + 20 {
            println!("going");
        }
    }
}

#[test]
fn nothing_torn_is_served_after_two_hundred_kills() {
    if let Ok(directory) = std::env::var(CHILD) {
        return go_on(&directory);
    }
    const ROUNDS: u64 = 200;
    const VERSIONS: u64 = 1 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let mut random = fastrand::Rng::with_seed(4);
    let mut stamps = HashMap::<u32, u64>::new();
    let mut found = 0;
    let mut seen = HashMap::new();
    for round in 1..=ROUNDS {
        let mut command = child("nothing_torn_is_served_after_two_hundred_kills", directory.path());
        command.env(FIRST, (round * VERSIONS).to_string());
        let mut child = command.spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut going = false;
        let mut killed = false;
        let mut left = random.u32(..60);
        // What it says before it is killed at some moment, and what of that is on the way still.
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["going"] => going = true,
                ["stamp", slot, version] => {
                    let version = version.parse().expect("a number");
                    stamps.insert(slot.parse().expect("a number"), version);
                }
                ["torn", key] => panic!("round {round}: {key} is torn"),
                _ => continue,
            }
            left = left.saturating_sub(u32::from(going));
            if left == 0 && going && !killed {
                killed = true;
                child.kill().expect("killed");
            }
        }
        assert!(killed, "round {round}: it ended by itself");
        child.wait().expect("gone");

        // Every tenth time the parent looks itself; the children look all the time.
        if round % 10 > 0 && round < ROUNDS {
            continue;
        }
        let disk = open(directory.path());
        assert!(disk.recovered(LONG));
        let kept: HashMap<u32, u64> =
            disk.stamps().1.into_iter().map(|stamp| (stamp.slot, stamp.hard)).collect();
        for (slot, version) in &stamps {
            assert!(kept.get(slot) >= Some(version), "round {round}: stamp {slot} {version}");
        }
        for key in 0..KEYS {
            let Some(blob) = wait(disk.read(&key.to_le_bytes())) else {
                continue;
            };
            let version = version(key, &blob);
            assert!(
                version.is_some_and(|version| version / VERSIONS <= round),
                "round {round}: {key}"
            );
            seen.insert(key, version);
            found += 1;
        }
    }
    // Most are there each time, and they are of many rounds.
    assert!(found > ROUNDS / 10 * KEYS / 3, "{found}");
    assert!(seen.len() as u64 > KEYS / 2, "{seen:?}");
}

#[test]
fn flipped_bits_are_never_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut random = fastrand::Rng::with_seed(9);
    let (mut found, mut missed) = (0, 0);
    for round in 1..=60u64 {
        {
            let disk = open(directory.path());
            assert!(disk.recovered(LONG));
            for key in 0..KEYS {
                match wait(disk.read(&key.to_le_bytes())) {
                    Some(blob) => {
                        assert!(version(key, &blob).is_some(), "round {round}: {key}");
                        found += 1;
                    }
                    None => missed += 1,
                }
                if random.u32(..4) == 0 {
                    disk.write(&key.to_le_bytes(), sample(key, round));
                }
            }
            assert!(disk.flush(LONG));
        }
        let file = ["log", "log", "log", "log", "store", "stamps"][random.usize(..6)];
        let path = directory.path().join(file);
        let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("opened");
        let length = file.metadata().expect("its length").len();
        for _ in 0..random.u32(1..200) {
            let at = random.u64(..length);
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read");
            file.write_all_at(&[byte[0] ^ (1 << random.u32(..8))], at).expect("written");
        }
    }
    assert!(found > 500 && missed > 60, "{found} found, {missed} missed");
}

/// Runs where files can only have so many bytes.
fn fill(directory: &str) {
    let disk = open(Path::new(directory));
    assert!(disk.recovered(LONG));
    let blob = |key: u64| {
        let bytes = Bytes::from(vec![key as u8; 200_000]);
        Blob { head: Bytes::new(), content: bytes }
    };
    // To the limit, which is in the third segment.
    let mut key = 0u64;
    while disk.condition() == Condition::Working {
        assert!(disk.write(&key.to_le_bytes(), blob(key)));
        assert!(disk.flush(LONG));
        key += 1;
    }
    let Condition::Degraded(reason) = disk.condition() else {
        panic!("it works");
    };
    assert!(reason.contains("make room on the disk"), "{reason}");
    assert!((30..60).contains(&key), "{key}");
    assert!(!disk.write(b"refused", blob(0)));
    // What was written before is there, but for the segment that makes room.
    let found = |from: u64, to: u64| {
        let found = (from..to).filter_map(|key| Some((key, wait(disk.read(&key.to_le_bytes()))?)));
        found.map(|(key, found)| assert_eq!(found, blob(key))).count()
    };
    assert_eq!(found(key - 1, key), 0);
    assert!(found(0, key) > 10);
    assert!(disk.counted().errors > 0 && disk.counted().dropped > 0);
    // Purges are kept all the same: their place is taken from the beginning.
    assert!(wait(disk.stamp(Stamp { slot: 5, hard: 9, soft: 0 })));

    // After a while it is used again, as far as it goes.
    while !disk.write(&key.to_le_bytes(), blob(key)) {
        thread::park_timeout(Duration::from_millis(20));
    }
    for key in key..key + 10 {
        assert!(disk.write(&key.to_le_bytes(), blob(key)));
        assert!(disk.flush(LONG));
    }
    assert_eq!(disk.condition(), Condition::Working);
    assert_eq!(found(key, key + 10), 10);
    println!("stepped back");
}

#[test]
fn a_full_disk_is_given_up_for_a_while_and_used_as_far_as_it_goes() {
    if let Ok(directory) = std::env::var(CHILD) {
        return fill(&directory);
    }
    let directory = tempfile::tempdir().expect("a directory");
    // The files have their full length before the limit comes.
    drop(open(directory.path()));
    let child =
        child("a_full_disk_is_given_up_for_a_while_and_used_as_far_as_it_goes", directory.path());
    // In blocks of 512 bytes: a mebibyte into the third segment.
    let script = "trap '' XFSZ; ulimit -f 18000 && exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(child.get_program()).args(child.get_args());
    shell.env(CHILD, directory.path()).stdin(Stdio::null());
    let output = shell.output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("stepped back"), "{output:?}");
}
