//! What is written for people: no text of others, such as a title or the host of a referrer, says
//! anything to the terminal that it is shown on. Pure, but for the width.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

use serde::Serialize;

/// A text in which characters that would move the cursor, hide, or turn the direction of what
/// follows are written out: `\n`, `\u{1b}`.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\t' | '\n' | '\r' => safe.extend(character.escape_default()),
            _ if is_active(character) => safe.extend(character.escape_unicode()),
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// As indented JSON, in which such characters are escaped as well; programs read the same from it.
///
/// # Errors
/// As `serde_json`.
pub(super) fn json(what: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(what).map(escaped)
}

/// The same as one line.
///
/// # Errors
/// As `serde_json`.
pub(super) fn json_line(what: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(what).map(escaped)
}

fn escaped(json: String) -> String {
    // Line feeds are between values; within them they are escaped already.
    let is_open = |character: char| character != '\n' && is_active(character);
    if !json.contains(is_open) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if is_open(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(safe, "\\u{unit:04x}").expect("strings can be written to");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters (C0, DEL, C1), separators of lines, and what is unseen or turns the direction
/// of a text (Unicode's Bidi_Control and most of Cf). Not the joiners, which scripts and emoji need.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Columns of the terminal that the standard output is; `None` when it is none.
pub(super) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // Some that are not on a screen have none.
    Some(usize::from(size.ws_col)).map(|width| if width == 0 { 80 } else { width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        for (text, expect) in [
            ("Grüße, 世界 👩‍💻", "Grüße, 世界 👩‍💻"),
            ("\x1b]0;gone\x07", "\\u{1b}]0;gone\\u{7}"),
            ("a\tb\r\nc", "a\\tb\\r\\nc"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{200b}\u{2028}\u{e0041}b", "a\\u{200b}\\u{2028}\\u{e0041}b"),
        ] {
            assert_eq!(shown(text), expect);
            let json = json(&[text]).expect("JSON");
            assert!(!json.replace('\n', "").contains(is_active), "{json}");
            assert!(!json_line(&[text]).expect("JSON").contains(is_active));
            let read: Vec<String> = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(read, [text]);
        }
    }
}
