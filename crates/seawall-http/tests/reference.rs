//! The page of refusals says what the code does. With `SEAWALL_BLESS=1` set it is written again
//! instead of compared.

use std::fs;
use std::path::Path;

#[test]
fn the_page_of_refusals_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/refusals.md");
    let made = seawall_http::refuse::reference();
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        fs::write(&page, made).expect("the repository can be written");
        return;
    }
    let kept = fs::read_to_string(&page).unwrap_or_default();
    assert!(kept == made, "{} is out of date: run this test with SEAWALL_BLESS=1", page.display());
}
