//! What must hold for any input, on input that is generated: messages put together from fragments
//! that matter to a parser, then mutated. The fuzz targets ask the same questions of other input.

#[path = "parts/checks.rs"]
mod checks;
#[path = "parts/generate.rs"]
#[allow(dead_code, reason = "shared with tests that use other parts of it")]
mod generate;
#[path = "parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;

use proptest::prelude::*;

proptest! {
    // A case that fails becomes a row of a table; a file of seeds would say nothing to a reader.
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn requests(input in generate::request()) {
        checks::request(&input);
    }

    #[test]
    fn responses(input in generate::response()) {
        checks::response(&input);
    }

    #[test]
    fn chunked_bodies(input in generate::chunked()) {
        checks::chunked(&input);
    }

    #[test]
    fn paths(input in generate::path()) {
        checks::path(&input);
    }
}
