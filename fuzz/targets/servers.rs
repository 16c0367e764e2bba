//! A list of servers, as it comes from a file or through the admin API, in both formats.

#![no_main]

use seawall_config::servers::{Format, servers_from};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for format in [Format::Toml, Format::Json] {
        match servers_from(input, format, "f", &[]) {
            Ok(servers) => assert!((1..=1000).contains(&servers.len())),
            // Whatever is wrong can be shown.
            Err(problems) => assert!(problems.errors() > 0 && !problems.render(false).is_empty()),
        }
    }
});
