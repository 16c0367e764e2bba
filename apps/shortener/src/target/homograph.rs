//! Hosts that are written to look like others, by the tables of Unicode's UTS #39.
//!
//! It flags and never refuses: whole languages are written in letters that look like ASCII ones.
//! Called by `target.rs` with hosts that the `url` crate has accepted.

use unicode_security::{RestrictionLevel, RestrictionLevelDetection, skeleton};

use super::Warning;

/// What is odd about a domain, in ASCII or not.
pub(super) fn warnings(domain: &str) -> Vec<Warning> {
    if !domain.split('.').any(|label| label.starts_with("xn--")) {
        return Vec::new();
    }
    let (shown, _) = idna::domain_to_unicode(domain);
    let foreign = || shown.split('.').filter(|label| !label.is_ascii());
    let mut found = Vec::new();
    if foreign().any(|label| looks_like(label).is_ascii()) {
        found.push(Warning::LooksLike(looks_like(&shown)));
    }
    // Latin with the scripts of Japanese, Korean and Chinese is how these are written.
    let is_odd = |label: &str| !label.check_restriction_level(RestrictionLevel::HighlyRestrictive);
    if foreign().any(is_odd) {
        found.push(Warning::MixedScripts(shown));
    }
    found
}

/// The text with each character that is not ASCII replaced by what it looks like (the skeleton of
/// UTS #39, section 4). ASCII stays: the skeleton of `m` is `rn`, which nobody would recognise.
fn looks_like(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            shown.push(character);
        } else {
            shown.extend(skeleton(character.encode_utf8(&mut [0; 4])));
        }
    }
    shown
}
