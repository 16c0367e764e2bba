//! What must hold of any input, on the seeds of the fuzz target, which asks the same, and on what
//! becomes of them by small changes.

#[path = "parts/header.rs"]
mod header;

use std::path::Path;

use seawall_core::random::Random;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/proxy_protocol");
    let files = std::fs::read_dir(folder).expect("the target has seeds");
    let path = |file: std::io::Result<std::fs::DirEntry>| file.expect("a file").path();
    files.map(|file| std::fs::read(path(file)).expect("a seed")).collect()
}

#[test]
fn seeds_of_the_fuzz_target() {
    let seeds = seeds();
    assert!(seeds.len() > 8, "{} seeds", seeds.len());
    seeds.iter().for_each(|seed| header::check(seed));
}

#[test]
fn changed_seeds() {
    let seeds = seeds();
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let mut any = |below: usize| random.below(below as u64) as usize;
        for _ in 0..16 {
            let mut bytes = seeds[any(seeds.len())].clone();
            for _ in 0..=any(4) {
                let at = any(bytes.len());
                match any(4) {
                    0 => bytes[at] = any(256) as u8,
                    1 => bytes[at] ^= 1 << any(8),
                    2 => bytes.insert(at, b" 0\r\n:.\0\xff"[any(8)]),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            println!("seed {seed}: {}", bytes.escape_ascii());
            header::check(&bytes);
        }
    }
}
