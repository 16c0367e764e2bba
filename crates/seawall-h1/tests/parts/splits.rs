//! One input, delivered whole, one byte at a time, and in every way to cut it in two.

use std::fmt::Debug;

use seawall_h1::BadMessage;

/// How an answer to the client would speak of it: what must never depend on the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bad,
    TooLarge,
    Version,
    Coding,
    Truncated,
}

/// Reads `input` in every split and asserts that the outcome is always that of the whole. With
/// `code_may_differ` only the class of a refusal is compared; whoever passes it says why.
pub(crate) fn same_in_every_split<T: Debug + PartialEq>(
    input: &[u8],
    code_may_differ: bool,
    read: impl Fn(&[u8], &[usize]) -> Result<T, BadMessage>,
) -> Result<T, BadMessage> {
    let whole = read(input, &[]);
    let bytes: Vec<usize> = (1..input.len()).collect();
    let same = |cuts: &[usize]| {
        let found = read(input, cuts);
        let equal = match (&whole, &found) {
            (Err(whole), Err(found)) if code_may_differ => class(*whole) == class(*found),
            _ => whole == found,
        };
        let cut = if cuts.len() == 1 { format!("cut at {}", cuts[0]) } else { "by bytes".into() };
        assert!(equal, "{}\n {cut}: {found:?}\n whole: {whole:?}", input.escape_ascii());
    };
    same(&bytes);
    for cut in 1..input.len() {
        same(&[cut]);
    }
    whole
}

fn class(bad: BadMessage) -> Class {
    match bad {
        BadMessage::HeadTooLarge
        | BadMessage::TargetTooLong
        | BadMessage::TooManyHeaders
        | BadMessage::TrailerTooLarge => Class::TooLarge,
        BadMessage::Version => Class::Version,
        BadMessage::CodingUnknown => Class::Coding,
        BadMessage::Truncated => Class::Truncated,
        _ => Class::Bad,
    }
}
