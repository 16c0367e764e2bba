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

use std::path::Path;

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

#[test]
fn seeds_of_the_fuzz_targets() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let targets = [
        ("request_head", checks::request as fn(&[u8])),
        ("response_head", checks::response),
        ("chunked", checks::chunked),
        ("target", checks::path),
    ];
    for (target, check) in targets {
        let files = std::fs::read_dir(seeds.join(target)).expect("each target has seeds");
        let mut number = 0;
        for file in files {
            let file = file.expect("the directory can be read").path();
            check(&std::fs::read(file).expect("a seed can be read"));
            number += 1;
        }
        assert!(number > 4, "{target} has {number} seeds");
    }
}
