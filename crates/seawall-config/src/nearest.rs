//! The known word nearest to one that is not known.
//!
//! Never guesses wildly: a word of which less than about two thirds are right has no nearest.

/// The candidate with the fewest slips (wrong, missing, additional or swapped letters) from `word`,
/// the first of several; `None` when all are too far away.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = simple(word);
    if word.len() > LONGEST {
        return None;
    }
    let near = |candidate: &'a str| {
        let known = simple(candidate);
        let allowed = (known.len().max(word.len()) / 3).max(1);
        let slips = slips(&word, &known);
        // One wrong letter of two is another word.
        (slips <= allowed && slips < known.len().min(word.len())).then_some((slips, candidate))
    };
    let near = candidates.into_iter().filter(|c| c.len() <= LONGEST).filter_map(near);
    near.min_by_key(|&(slips, _)| slips).map(|(_, candidate)| candidate)
}

/// `; did you mean …` as the help for an unknown word, with all known ones when there are few.
pub(crate) fn hint(word: &str, known: &[&str], all: &str) -> Option<String> {
    match nearest(word, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None if known.len() <= FEW => {
            let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            Some(format!("{all} {}", list.join(", ")))
        }
        None => None,
    }
}

/// Spelling that people mix up without slipping: letter case, `_` and `-`.
fn simple(word: &str) -> Vec<char> {
    let lower = word.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == '_' { '-' } else { c }).collect()
}

/// The optimal string alignment distance (Damerau–Levenshtein without edits inside a swap).
fn slips(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(last[j] + 1).min(row[j - 1] + 1);
            if swap {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Longest word that is compared at all.
const LONGEST: usize = 64;
/// Up to how many known words are listed when none is near.
const FEW: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        let count = |a: &str, b: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
            slips(&a, &b)
        };
        for (a, b, expect) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("address", "address", 0),
            ("adress", "address", 1),
            ("adderss", "address", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ] {
            assert_eq!(count(a, b), expect, "{a} {b}");
            assert_eq!(count(b, a), expect, "{b} {a}");
        }
    }

    #[test]
    fn only_near_words_are_offered() {
        let known = ["address", "timeouts", "limits", "to", "host", "path"];
        for (word, expect) in [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("timeout", Some("timeouts")),
            ("limit", Some("limits")),
            ("hots", Some("host")),
            ("tls", None),
            ("x", None),
            ("ab", None),
            ("", None),
            ("cache", None),
        ] {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
        assert_eq!(nearest("connect_timeout", ["connect-timeout"]), Some("connect-timeout"));
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
