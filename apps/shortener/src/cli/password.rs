//! Passwords of links, from the standard input: on a command line others on this machine could see
//! them.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail, ensure};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Bytes that are read at most; the shortener takes far fewer.
const MOST: u64 = 4096;

/// The password, if it is wanted: the one line of the standard input. At a terminal it is asked for,
/// and not shown.
///
/// # Errors
/// When there is none, there is more than that, or it cannot be read.
pub(super) fn read_if(is_wanted: bool) -> anyhow::Result<Option<String>> {
    if !is_wanted {
        return Ok(None);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut bytes = Vec::new();
        stdin.lock().take(MOST + 1).read_to_end(&mut bytes).context("no password can be read")?;
        return of(bytes).map(Some);
    }
    eprint!("password: ");
    let quiet = Quiet::new()?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    drop(quiet);
    eprintln!();
    read.context("no password can be read")?;
    of(line.into_bytes()).map(Some)
}

fn of(bytes: Vec<u8>) -> anyhow::Result<String> {
    ensure!(bytes.len() as u64 <= MOST, "the password has more than {MOST} bytes");
    let text = String::from_utf8(bytes).ok().context("the password is not UTF-8")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        bail!("there is no password on the standard input; --password-stdin reads it from there");
    }
    ensure!(!line.contains('\n'), "the standard input has more than one line; a password is one");
    Ok(line.to_owned())
}

/// A terminal that does not show what is typed, as long as this is there.
struct Quiet(Termios);

impl Quiet {
    fn new() -> anyhow::Result<Quiet> {
        let words = "the terminal cannot be told to hide the password";
        let before = tcgetattr(io::stdin()).context(words)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).context(words)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It was taken a moment ago; if it is gone, so is the terminal.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let read = |text: &str| of(text.as_bytes().to_vec()).ok();
        for (text, expect) in [
            ("söcret", Some("söcret")),
            (" a b \n", Some(" a b ")),
            ("a\r\n", Some("a")),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
        ] {
            assert_eq!(read(text).as_deref(), expect, "{text:?}");
        }
        assert!(of(vec![0xff]).is_err() && of(vec![b'a'; 4097]).is_err());
        assert!(of(vec![b'a'; 4096]).is_ok());
    }
}
