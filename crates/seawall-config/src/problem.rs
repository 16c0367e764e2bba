//! What is wrong with a configuration, as its author should hear it.
//!
//! Problems are complete in themselves: they keep the line they talk about, so that they can be
//! shown after the text is gone. They never hold a value taken from the environment.

use std::fmt;
use std::sync::Arc;

use crate::source::Excerpt;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but it hardly says what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) severity: Severity,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) excerpt: Option<Excerpt>,
}

impl Problem {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The line, from 1. What a file lacks as a whole is on line 1, column 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, in characters from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How to mend it; may have several lines.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The line it is about as it can be shown: long ones are cut, control characters replaced.
    /// `None` when it is about no line.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_ref().map(|excerpt| excerpt.line.as_str())
    }
}

/// All that is wrong with one configuration, by position.
///
/// [`fmt::Display`] shows them like a compiler does, without colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    pub(crate) file: Arc<str>,
    pub(crate) list: Vec<Problem>,
    pub(crate) dropped: usize,
}

impl Problems {
    /// The file they are in, as it was given to [`crate::load()`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems by line and column.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many are kept: at most [`Problems::LIMIT`].
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many were found beyond [`Problems::LIMIT`] and are not kept.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// How many of those kept are errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many of those kept are warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Them as text, with ANSI colours if asked. Ends with a line that counts them; empty when
    /// there are none.
    pub fn render(&self, colours: bool) -> String {
        let ink = Ink(colours);
        let mut out = String::new();
        for problem in &self.list {
            self.render_one(problem, ink, &mut out);
        }
        if !self.list.is_empty() {
            out.push_str(&self.summary());
            out.push('\n');
        }
        out
    }

    /// The line that counts them, such as `seawall.toml: 2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (count, one) in [(self.errors(), "error"), (self.warnings(), "warning")] {
            match count {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                n => parts.push(format!("{n} {one}s")),
            }
        }
        if self.dropped > 0 {
            parts.push(format!("{} more not shown", self.dropped));
        }
        if parts.is_empty() {
            parts.push("no problems".to_owned());
        }
        format!("{}: {}", self.file, parts.join(", "))
    }

    /// Most problems that are kept. A file with more of them is not a configuration.
    pub const LIMIT: usize = 1_000;

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|p| p.severity == severity).count()
    }

    fn render_one(&self, problem: &Problem, ink: Ink, out: &mut String) {
        let name = problem.severity.as_str();
        let colour = match problem.severity {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
        };
        let number = problem.line.to_string();
        let gutter = " ".repeat(number.len());
        let (line, column) = (problem.line, problem.column);

        out.push_str(&format!(
            "{}: {}\n",
            ink.paint(colour, name),
            ink.paint(BOLD, &problem.message)
        ));
        let arrow = ink.paint(BLUE, "-->");
        out.push_str(&format!("{gutter}{arrow} {}:{line}:{column}\n", self.file));
        let bar = ink.paint(BLUE, "|");
        if let Some(excerpt) = &problem.excerpt {
            let number = ink.paint(BLUE, &number);
            let carets = "^".repeat(excerpt.marked);
            let pad = " ".repeat(excerpt.before);
            out.push_str(&format!("{gutter} {bar}\n"));
            out.push_str(&format!("{number} {bar} {}\n", excerpt.line));
            out.push_str(&format!("{gutter} {bar} {pad}{}\n", ink.paint(colour, &carets)));
        }
        for (index, line) in problem.help.iter().flat_map(|help| help.lines()).enumerate() {
            let lead = match index {
                0 => format!("{} help:", ink.paint(BLUE, "=")),
                _ => "       ".to_owned(),
            };
            out.push_str(&format!("{gutter} {lead} {line}\n"));
        }
        out.push('\n');
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    fn paint(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const BOLD: &str = "1";
