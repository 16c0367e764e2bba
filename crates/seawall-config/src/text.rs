//! String values of the file: `${NAME}` replaced from the environment, and where each part stands.
//!
//! Only what is inside a string value is ever replaced, after TOML has been parsed, so that a
//! variable can neither add keys nor move positions. The environment is an argument. What came
//! from it is never shown in a message: it may be a secret, and messages go to logs and the API.

use std::ops::Range;

use crate::report::Report;
use crate::source::{Span, quoted};

/// Looks up one environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A string value after replacement.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// The value.
    pub(crate) value: String,
    /// Where it stands, quotes included.
    pub(crate) span: Span,
    /// The first byte of its content, when the content stands in the file letter for letter.
    verbatim: Option<usize>,
    /// The parts of `value` that came from the environment.
    inserted: Vec<Range<usize>>,
    /// How it is written in the file, when something was replaced.
    written: Option<String>,
}

impl Text {
    /// Reads a string that stands at `span` of the file and means `raw`. Reports and returns
    /// `None` when a variable is not set or `${` is not closed.
    pub(crate) fn read(
        raw: &str,
        span: Span,
        env: Environment<'_>,
        report: &mut Report,
    ) -> Option<Text> {
        let mut text = Text {
            value: raw.to_owned(),
            span,
            verbatim: verbatim(raw, span, report.text()),
            inserted: Vec::new(),
            written: None,
        };
        if !raw.contains("${") {
            return Some(text);
        }
        let (mut value, mut rest, mut good) = (String::new(), 0, true);
        while let Some(found) = raw[rest..].find("${").map(|at| rest + at) {
            let between = &raw[rest..found];
            value.push_str(between);
            if between.ends_with('$') {
                // `$${` stands for `${`.
                value.push('{');
                rest = found + 2;
                continue;
            }
            let Some(end) = raw[found..].find('}').map(|at| found + at) else {
                let span = text.part(found..raw.len());
                let help =
                    "close it as in \"${NAME}\", or write `$${` for the characters themselves";
                report.error(span, "`${` has no closing `}`", Some(help.to_owned()));
                return None;
            };
            rest = end + 1;
            match look_up(&raw[found + 2..end], env) {
                Ok(replacement) => {
                    let start = value.len();
                    value.push_str(&replacement);
                    text.inserted.push(start..value.len());
                }
                Err((message, help)) => {
                    report.error(text.part(found..rest), message, Some(help));
                    good = false;
                }
            }
        }
        value.push_str(&raw[rest..]);
        text.value = value;
        text.verbatim = None;
        text.written = Some(raw.to_owned());
        good.then_some(text)
    }

    /// Text that stands nowhere, for tests of what reads it.
    #[cfg(test)]
    pub(crate) fn plain(value: &str) -> Text {
        Text::unquoted(value, Span::FILE)
    }

    /// What stands at `span` as if it were text.
    pub(crate) fn unquoted(value: &str, span: Span) -> Text {
        Text { value: value.to_owned(), span, verbatim: None, inserted: Vec::new(), written: None }
    }

    /// The place of a range of bytes of the value: exact where the value stands in the file letter
    /// for letter, otherwise the whole string.
    pub(crate) fn part(&self, range: Range<usize>) -> Span {
        match self.verbatim {
            Some(start) => {
                Span { start: start + range.start, end: start + range.end.max(range.start) }
            }
            None => self.span,
        }
    }

    /// The value for the middle of a sentence; as it is written when part of it came from the
    /// environment.
    pub(crate) fn shown(&self) -> String {
        match &self.written {
            Some(written) if self.is_from_environment() => {
                format!("the value of {}", quoted(written))
            }
            _ => quoted(&self.value),
        }
    }

    /// A part of the value for the middle of a sentence, or the whole as [`Text::shown`] gives it.
    pub(crate) fn shown_part(&self, part: &str) -> String {
        match self.is_from_environment() {
            true => self.shown(),
            false => quoted(part),
        }
    }

    /// Whether a part came from the environment.
    pub(crate) fn is_from_environment(&self) -> bool {
        !self.inserted.is_empty()
    }

    /// Whether the byte at `at` came from the environment.
    pub(crate) fn is_inserted(&self, at: usize) -> bool {
        let next = self.inserted.partition_point(|range| range.end <= at);
        self.inserted.get(next).is_some_and(|range| range.contains(&at))
    }
}

/// What `NAME` or `NAME:-default` stands for, or why it stands for nothing.
fn look_up(inside: &str, env: Environment<'_>) -> Result<String, (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        let message = format!("{} is not the name of an environment variable", quoted(name));
        let help = "names have letters, digits and `_`; write `$${` for the characters `${`";
        return Err((message, help.to_owned()));
    }
    match (env(name), default) {
        // As in a shell: the default also stands in for an empty value.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let message = format!("the environment variable `{name}` is not set");
            let help = format!("set {name}, or give a default: \"${{{name}:-default}}\"");
            Err((message, help))
        }
    }
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    let all = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    all && name.len() <= 256 && first.is_some_and(|b| !b.is_ascii_digit())
}

fn verbatim(raw: &str, span: Span, source: &str) -> Option<usize> {
    let written = source.get(span.start..span.end)?;
    let inner = written.get(1..written.len().checked_sub(1)?)?;
    (inner == raw).then_some(span.start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<(String, Vec<(usize, usize)>), String> {
        let env = |name: &str| match name {
            "PORT" => Some("80".to_owned()),
            "COST" => Some("5$".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${PORT} \"\n".to_owned()),
            _ => None,
        };
        let source = format!("'{raw}'");
        let span = Span::from(0..source.len());
        let mut report = Report::new(&source);
        let text = Text::read(raw, span, &env, &mut report);
        let problems = report.into_problems("f");
        match text {
            Some(text) => {
                let inserted = text.inserted.iter().map(|range| (range.start, range.end));
                Ok((text.value.clone(), inserted.collect()))
            }
            None => Err(problems.iter().map(|p| format!("{}: {}", p.column, p.message)).collect()),
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (raw, value, inserted) in [
            ("plain $ $5 {x}", "plain $ $5 {x}", vec![]),
            ("${PORT}", "80", vec![(0, 2)]),
            ("a${PORT}b${PORT}", "a80b80", vec![(1, 3), (4, 6)]),
            ("${NONE:-x y}", "x y", vec![(0, 3)]),
            ("${EMPTY}", "", vec![(0, 0)]),
            ("${EMPTY:-e}", "e", vec![(0, 1)]),
            ("${PORT:-e}", "80", vec![(0, 2)]),
            ("$${PORT}", "${PORT}", vec![]),
            ("$$${PORT}", "$${PORT}", vec![]),
            ("${TRICK}", "${PORT} \"\n", vec![(0, 10)]),
            ("${COST}${PORT}", "5$80", vec![(0, 2), (2, 4)]),
        ] {
            assert_eq!(read(raw), Ok((value.to_owned(), inserted)), "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_a_problem_at_its_place() {
        for (raw, problem) in [
            ("a${NONE}", "3: the environment variable `NONE` is not set"),
            ("ab${PORT", "4: `${` has no closing `}`"),
            ("${}", "2: `` is not the name of an environment variable"),
            ("${1A}", "2: `1A` is not the name of an environment variable"),
            ("${a-b}", "2: `a-b` is not the name of an environment variable"),
        ] {
            assert_eq!(read(raw), Err(problem.to_owned()), "{raw}");
        }
    }
}
