//! An answer, head and body, as an upstream may send it.
//! The questions asked of it are those of `crates/seawall-h1/tests/oracles.rs`.

#![no_main]

#[path = "../../crates/seawall-h1/tests/parts/checks.rs"]
#[allow(dead_code, reason = "shared with the other targets")]
mod checks;
#[path = "../../crates/seawall-h1/tests/parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::response(input));
