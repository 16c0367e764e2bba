//! `cargo xtask bench routes`: how long it takes to find a route among many. No peer takes part:
//! none of them can be asked for this alone.

use super::part::Part;

const ROUTES: Part = Part {
    package: "seawall-http",
    bench: "routes",
    title: "Finding a route",
    how: "the best of 5 rounds of 200,000 look-ups each, on one core.",
};

/// Runs the benchmark and keeps its table in `bench/results/routes.md`.
///
/// # Errors
/// When it does not build or run, or the file cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    let page = ROUTES.page(&[])?;
    print!("{page}");
    ROUTES.keep(&page)
}
