//! Collects what is wrong while the text is read and compiled, and gives every finding its place.
//!
//! Never stops anything: whoever finds a problem reports it and goes on. Used by every part of the
//! crate between the text and the plan.

use std::sync::Arc;

use crate::problem::{Problem, Problems, Severity};
use crate::source::{Source, Span, visible};

/// The findings so far.
pub(crate) struct Report<'t> {
    source: Source<'t>,
    findings: Vec<Finding>,
    errors: usize,
    dropped: usize,
}

#[derive(Debug)]
struct Finding {
    severity: Severity,
    span: Span,
    message: String,
    help: Option<String>,
    /// Whether a syntax error elsewhere may be the cause, for it may have swallowed whole tables.
    uncertain: bool,
}

impl<'t> Report<'t> {
    /// Nothing is wrong with `text` so far.
    pub(crate) fn new(text: &'t str) -> Self {
        Report { source: Source::new(text), findings: Vec::new(), errors: 0, dropped: 0 }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'t str {
        self.source.text()
    }

    /// The line of a span, from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.source.line_of(span.start) + 1
    }

    /// Whether further findings are only counted, and need no good words.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.len() >= Problems::LIMIT
    }

    /// The configuration cannot be used because of what is at `span`.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Error, span, message.into(), help, false);
    }

    /// Something is not there, or not where it belongs; not to be said when there are syntax errors.
    pub(crate) fn missing(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Error, span, message.into(), help, true);
    }

    /// What is at `span` is allowed but hardly meant.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Warning, span, message.into(), help, false);
    }

    /// Whether an error was reported.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Adds the syntax errors of the text, one a line, and takes back what they made the reader
    /// believe: whatever it found on their lines, and whatever it missed anywhere.
    pub(crate) fn add_syntax(&mut self, mut syntax: Vec<(Span, String, Option<String>)>) {
        if syntax.is_empty() {
            return;
        }
        let source = &self.source;
        let line = |span: &Span| source.line_of(span.start);
        syntax.sort_by_key(|(span, ..)| *span);
        syntax.dedup_by_key(|(span, ..)| line(span));
        let broken: Vec<usize> = syntax.iter().map(|(span, ..)| line(span)).collect();
        // An unclosed list makes an error of every line below it.
        syntax.dedup_by(|(_, next, _), (_, before, _)| next == before);
        self.findings.retain(|finding| {
            let lines = line(&finding.span)..=source.line_of(finding.span.end);
            let next = broken.partition_point(|line| line < lines.start());
            let touched = broken.get(next).is_some_and(|line| lines.contains(line));
            !finding.uncertain && !touched
        });
        self.errors = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        for (span, message, help) in syntax {
            self.error(span, message, help);
        }
    }

    /// The findings as problems of `file`, by position.
    pub(crate) fn into_problems(mut self, file: &str) -> Problems {
        let source = &self.source;
        // Stable, so that findings in one place keep the order in which they were found.
        self.findings.sort_by_key(|finding| finding.span.start);
        let mut list = Vec::with_capacity(self.findings.len());
        // Columns are counted on from the finding before, so that many findings on one very long
        // line do not count it again and again.
        let (mut line, mut at, mut column) = (usize::MAX, 0, 0);
        for finding in self.findings {
            let span = finding.span;
            if source.line_of(span.start) != line {
                line = source.line_of(span.start);
                (at, column) = (source.line_start(line), 1);
            }
            column += source.characters(at, span.start);
            at = at.max(span.start);
            list.push(Problem {
                severity: finding.severity,
                line: line + 1,
                column,
                message: finding.message,
                help: finding.help,
                excerpt: (span != Span::FILE).then(|| source.excerpt(span)),
            });
        }
        Problems { file: Arc::from(file), list, dropped: self.dropped }
    }

    fn add(
        &mut self,
        severity: Severity,
        span: Span,
        message: String,
        help: Option<String>,
        uncertain: bool,
    ) {
        if severity == Severity::Error {
            self.errors += 1;
        }
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.findings.push(Finding {
            severity,
            span,
            message: one_line(&message),
            help: help.map(|help| help.lines().map(one_line).collect::<Vec<_>>().join("\n")),
            uncertain,
        });
    }
}

/// What a message takes from the file may be long and may hold anything.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(LONGEST).flat_map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// Characters of a message, or of a line of help.
const LONGEST: usize = 400;
