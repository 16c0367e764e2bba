//! A header of the PROXY protocol, and what follows it.
//! The questions asked of it are those of `crates/seawall-core/tests/proxy_protocol.rs`.

#![no_main]

#[path = "../../crates/seawall-core/tests/parts/header.rs"]
mod header;

libfuzzer_sys::fuzz_target!(|input: &[u8]| header::check(input));
