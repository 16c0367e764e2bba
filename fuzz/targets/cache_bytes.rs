//! What comes from the shared state, or is typed by people.
//! The questions asked of it are those of `crates/seawall-cache/tests/any_message.rs`.

#![no_main]

#[path = "../../crates/seawall-cache/tests/parts/any_message.rs"]
#[allow(dead_code, reason = "shared with the other target")]
mod any_message;

libfuzzer_sys::fuzz_target!(|input: &[u8]| any_message::check_bytes(input));
