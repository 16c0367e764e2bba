//! Cells of CSV that spreadsheets do not take for formulas: whoever makes a link chooses its title,
//! and somebody else opens the export.
//!
//! A quote in front makes a text of whatever follows; `snip import` and the web page take it away
//! again.

use std::borrow::Cow;

/// A text as it is written in a cell.
pub(crate) fn written(text: &str) -> Cow<'_, str> {
    match is_formula(text) {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

/// The text of a cell.
pub(crate) fn read(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(cell)
}

/// Whether a text is a formula for some program, or would be without the quotes in front of it.
fn is_formula(text: &str) -> bool {
    let text = text.trim_start_matches('\'');
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_texts_and_come_back() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+49 30", "'+49 30"),
            ("-2-3", "'-2-3"),
            ("'=1", "''=1"),
            ("''@", "'''@"),
            ("plain", "plain"),
            ("'tis", "'tis"),
            ("'", "'"),
            ("", ""),
            ("a=b", "a=b"),
        ] {
            assert_eq!(written(text), cell);
            assert_eq!(read(cell), text);
        }
    }
}
