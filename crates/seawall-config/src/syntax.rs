//! Says in the words of this crate what the TOML parser found wrong, and how to mend it.

use toml::de::Error;

use crate::source::{Span, quoted};

/// A syntax error as a finding: place, message, help.
pub(crate) fn explain(error: &Error, text: &str) -> (Span, String, Option<String>) {
    let span = error.span().map_or(Span::FILE, Span::from);
    let (start, end) = (span.start.min(text.len()), span.end.min(text.len()));
    let part = text.get(start..end).unwrap_or_default();
    let message = error.message();
    let is = |known: &str| message.starts_with(known);
    if is("duplicate key") {
        let help = match part {
            "route" => "for several routes write `[[route]]` each time",
            _ => "put everything for it in one place",
        };
        return (span, format!("{} is defined twice", quoted(part)), Some(help.to_owned()));
    }
    if is("string values must be quoted") || is("invalid float") || is("invalid integer") {
        return unquoted(span, text);
    }
    let help = if is("missing comma between array elements") {
        Some("write a comma here, or close the list before it with `]`")
    } else if is("missing comma between key-value pairs") {
        Some("write a comma here, or close the table before it with `}`")
    } else if is("invalid basic string") || is("invalid literal string") {
        Some("close the text with the quote it begins with")
    } else if is("key with no value") {
        Some("write `key = value`")
    } else if is("unclosed table") || is("unclosed array table") {
        Some("close the header: `[name]`, or `[[name]]` for lists")
    } else if is("unclosed array") {
        Some("close the list with `]`")
    } else if is("unclosed inline table") {
        Some("close the table with `}`")
    } else {
        None
    };
    (span, message.to_owned(), help.map(str::to_owned))
}

/// A value without its quotes, which the parser takes for several things at once.
fn unquoted(span: Span, text: &str) -> (Span, String, Option<String>) {
    let start = span.start.min(text.len());
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let rest = text[line..].lines().next().unwrap_or_default();
    let value = rest.split_once('=').map(|(key, value)| (key.len() + 1, value));
    let Some((offset, value)) = value.filter(|(offset, _)| line + offset <= start) else {
        return (span, "a value is not complete".to_owned(), Some(QUOTE.to_owned()));
    };
    let value = value.split('#').next().unwrap_or_default();
    let begin = line + offset + (value.len() - value.trim_start().len());
    let value = value.trim();
    let whole = Span::from(begin..begin + value.len());
    if value.is_empty() {
        let help = "write a value after `=`".to_owned();
        return (span, "there is no value".to_owned(), Some(help));
    }
    if value.contains(['"', '\'', '[', ']', '{', '}', ',']) {
        return (span, "text without quotes".to_owned(), Some(QUOTE.to_owned()));
    }
    let help = match value {
        "on" | "yes" | "True" | "TRUE" => "write `true`, or text in quotes".to_owned(),
        "no" | "False" | "FALSE" => "write `false`, or text in quotes".to_owned(),
        _ => format!("put it in quotes: \"{value}\""),
    };
    (whole, format!("{} needs quotes", quoted(value)), Some(help))
}

const QUOTE: &str = "put text in quotes: \"…\"";
