//! What the store takes besides what is stored, as the operating system sees it.

use std::fs;
use std::sync::Arc;

use seawall_cache::object::{Content, Flags, Meta, Object};
use seawall_cache::store::Store;
use seawall_config::plan::CacheStore;

/// Objects of 100 bytes of content.
const OBJECTS: u64 = 1_000_000;

/// The most that an object may take besides its key, fields and content, in bytes.
const MOST: u64 = 250;

/// All of it: index, slots, the policy with its ghosts, the purge table's share, the allocator's
/// rounding. It needs a process of its own, as cargo-nextest has it, and runs alone.
#[test]
fn heavy_an_object_takes_little_besides_itself() {
    let plan = CacheStore { memory: 480 << 20, ..CacheStore::default() };
    let fields = b"Content-Type: text/plain\r\nETag: \"0123456789abcdef\"\r\n";
    let before = resident();
    let store = Store::new(&plan, 1);
    let mut own = 0;
    for number in 0..OBJECTS {
        let key = format!("https://shop.example.com/products/{number}");
        let meta = Meta {
            received: 0,
            lifetime: 60_000,
            sequence: 0,
            initial_age: 0,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            cost: 1,
            status: 200,
            flags: Flags::default(),
        };
        own += (key.len() + fields.len() + 100) as u64;
        let content: [&[u8]; 1] = [&[b'x'; 100]];
        let object = Object::new(meta, key.as_bytes(), fields, &[1, 2], Content::Whole, &content);
        store.insert(Arc::new(object)).unwrap();
    }
    let usage = store.usage();
    assert_eq!((usage.objects, usage.evicted), (OBJECTS, 0));
    let taken = resident() - before;
    let overhead = (taken - own) / OBJECTS;
    println!(
        "{overhead} bytes an object besides {} of its own; the store says {}",
        own / OBJECTS,
        (usage.bytes - own) / OBJECTS
    );
    assert!(overhead <= MOST, "{overhead}");
    // What the store says is what is true, or the budget would be none.
    assert!(taken.abs_diff(usage.bytes) < taken / 20, "{taken} {}", usage.bytes);
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes << 10
}
