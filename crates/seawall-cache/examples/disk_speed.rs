//! How fast the disk tier is on this machine: `cargo run --release -p seawall-cache --example
//! disk_speed DIRECTORY`. Needs 5 GiB there, which it gives back.
//!
//! What it prints is of this machine, and mostly of its page cache; it asserts nothing.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seawall_cache::disk::{Blob, Disk};
use seawall_config::plan::CacheDisk;

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(600);

fn main() {
    let directory = std::env::args().nth(1).expect("a directory to work in");
    let directory = Path::new(&directory).join("seawall-disk-speed");
    large(&directory);
    let _ = std::fs::remove_dir_all(&directory);
    small(&directory);
    let _ = std::fs::remove_dir_all(&directory);
}

fn open(directory: &Path, size: u64) -> Disk {
    Disk::open(&CacheDisk { path: directory.to_owned(), size }, 1 << 16).expect("a directory")
}

/// 1 GiB in chunks.
fn large(directory: &Path) {
    const CHUNKS: u64 = 1024;
    let disk = open(directory, 2 << 30);
    let chunk = Bytes::from((0..MIB).map(|at| (at * 31 / 8) as u8).collect::<Vec<_>>());
    let clock = Clock::start();
    for number in 0..CHUNKS {
        while disk.is_pressed() {
            disk.flush(LONG);
        }
        disk.write(&number.to_le_bytes(), Blob { head: Bytes::new(), content: chunk.clone() });
    }
    disk.flush(LONG);
    clock.tell("write 1 GiB in chunks of 1 MiB", "MiB", CHUNKS);
    for round in 1..=3 {
        let clock = Clock::start();
        for number in 0..CHUNKS {
            let found = wait(disk.read(&number.to_le_bytes())).expect("it is there");
            assert_eq!(found.content.len(), MIB);
        }
        clock.tell(&format!("read it, one after the other, round {round}"), "MiB", CHUNKS);
    }
}

/// A million records of 1 KiB.
fn small(directory: &Path) {
    const RECORDS: u64 = 1_000_000;
    const SIZE: u64 = 3 << 30;
    let disk = open(directory, SIZE);
    let content = Bytes::from(vec![7; 1024]);
    let clock = Clock::start();
    for number in 0..RECORDS {
        while disk.is_pressed() {
            disk.flush(LONG);
        }
        disk.write(&key(number), Blob { head: Bytes::new(), content: content.clone() });
    }
    disk.flush(LONG);
    clock.tell("write 1,000,000 records of 1 KiB", "records", RECORDS);
    let usage = disk.usage();
    let each = usage.memory as f64 / usage.entries as f64;
    println!("{} entries take {} bytes of memory, {each:.1} each", usage.entries, usage.memory);
    let clock = Clock::start();
    for number in 0..100_000 {
        wait(disk.read(&key(number * 7919 % RECORDS))).expect("it is there");
    }
    clock.tell("read 100,000 of them at random", "records", 100_000);
    let clock = Clock::start();
    let there = (0..RECORDS).filter(|number| disk.contains(&key(*number))).count();
    clock.tell(&format!("look up all ({there} are there)"), "records", RECORDS);
    drop(disk);

    let clock = Clock::start();
    let disk = open(directory, SIZE);
    clock.tell("open", "directory", 1);
    disk.recovered(LONG);
    clock.tell(&format!("find {} entries by tables", disk.usage().entries), "entries", RECORDS);
    let segment = 64 * MIB as u64;
    drop(disk);
    let log = std::fs::OpenOptions::new().write(true).open(directory.join("log")).expect("a log");
    let length = log.metadata().expect("its length").len();
    // Tables end with the segments; segments of this size are 32 MiB or its multiples.
    for end in (segment / 2..=length).step_by(segment as usize / 2) {
        std::os::unix::fs::FileExt::write_all_at(&log, &[0; 64], end - 64).expect("written");
    }
    let clock = Clock::start();
    let disk = open(directory, SIZE);
    disk.recovered(LONG);
    clock.tell(&format!("find {} entries by records", disk.usage().entries), "entries", RECORDS);
}

fn key(number: u64) -> [u8; 60] {
    let mut key = [b'k'; 60];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Clock {
        Clock { wall: Instant::now(), cpu: cpu() }
    }

    fn tell(&self, what: &str, unit: &str, count: u64) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu() - self.cpu);
        let rate = count as f64 / wall;
        println!("{what}: {wall:.3} s, {cpu:.2} s of CPU, {rate:.0} {unit}/s");
    }
}

/// Seconds of CPU that this process took, all threads together.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[12..14].iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    ticks as f64 / 100.0
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
