//! Templates: text with variables in braces, for header values and redirects.
//!
//! What came from the environment is text, whatever it looks like: a brace in a secret is a brace.

use std::ops::Range;

use crate::header::check_value;
use crate::nearest::nearest;
use crate::plan::{Part, Template, Variable};
use crate::rules::Fault;
use crate::text::Text;

/// Reads the value of a header field.
pub(crate) fn field(text: &Text) -> Result<Template, Fault> {
    check_value(text)?;
    parse(text)
}

/// Reads the target of a redirect: `https://…`, `http://…`, `{scheme}://…`, `/…` or `{path}…`.
pub(crate) fn location(text: &Text) -> Result<Template, Fault> {
    let template = field(text)?;
    let value = text.value.as_str();
    if let Some((at, bad)) =
        value.char_indices().find(|&(_, c)| c == ' ' || c == '\t' || !c.is_ascii())
    {
        let range = at..at + bad.len_utf8();
        let message = format!("{} cannot stand in a URL", text.shown_part(&bad.to_string()));
        return Err(Fault::part(range, message, "percent-encode it, as in `%20` for a space"));
    }
    let lower = value.to_ascii_lowercase();
    let rest =
        ["https://", "http://", "{scheme}://"].iter().find_map(|start| lower.strip_prefix(start));
    let good = match rest {
        Some(rest) => !rest.is_empty() && !rest.starts_with(['/', '?', '#']),
        None => (value.starts_with('/') && !value.starts_with("//")) || value.starts_with("{path}"),
    };
    match good {
        true => Ok(template),
        false => {
            let message = format!("{} is not a place to redirect to", text.shown());
            let help = "write for example \"https://{host}{path}{query}\" or \"/new{query}\"";
            Err(Fault::whole(text, message, help))
        }
    }
}

/// The variables by name.
pub(crate) const VARIABLES: &[(&str, Variable)] = &[
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("method", Variable::Method),
    ("client-ip", Variable::ClientIp),
    ("route", Variable::Route),
];

fn parse(text: &Text) -> Result<Template, Fault> {
    let value = text.value.as_str();
    let brace = |from: usize| {
        let mut braces = value[from..].match_indices(['{', '}']).map(|(at, _)| from + at);
        braces.find(|&at| !text.is_inserted(at))
    };
    let (mut parts, mut plain, mut at) = (Vec::new(), String::new(), 0);
    while let Some(found) = brace(at) {
        plain.push_str(&value[at..found]);
        let twice = value.as_bytes().get(found + 1) == value.as_bytes().get(found)
            && !text.is_inserted(found + 1);
        if twice {
            plain.push_str(&value[found..found + 1]);
            at = found + 2;
            continue;
        }
        if value[found..].starts_with('}') {
            let message = "`}` without a `{` before it".to_owned();
            return Err(Fault::part(
                found..found + 1,
                message,
                "write `}}` for the character itself",
            ));
        }
        let Some(end) = brace(found + 1).filter(|&end| value[end..].starts_with('}')) else {
            let message = "`{` without a `}` after it".to_owned();
            return Err(Fault::part(
                found..found + 1,
                message,
                "write `{{` for the character itself",
            ));
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain).into()));
        }
        parts.push(Part::Variable(variable(found + 1..end, text)?));
        at = end + 1;
    }
    plain.push_str(&value[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain.into()));
    }
    Ok(Template { parts })
}

fn variable(range: Range<usize>, text: &Text) -> Result<Variable, Fault> {
    let name = &text.value[range.clone()];
    if let Some(&(_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(variable);
    }
    let all: Vec<String> = VARIABLES.iter().map(|(known, _)| format!("{{{known}}}")).collect();
    let near = nearest(name, VARIABLES.iter().map(|&(known, _)| known));
    let help = match near.filter(|_| !text.is_from_environment()) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!("there are {}; write `{{{{` for a brace", all.join(", ")),
    };
    let message = format!("{} is no variable", text.shown_part(&format!("{{{name}}}")));
    Err(Fault::part(range.start - 1..range.end + 1, message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn templates() {
        use Part::Variable as Var;
        for (value, parts) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("{host}", vec![Var(Variable::Host)]),
            (
                "{scheme}://{host}/x{query}",
                vec![
                    Var(Variable::Scheme),
                    text("://"),
                    Var(Variable::Host),
                    text("/x"),
                    Var(Variable::Query),
                ],
            ),
            ("{{host}}", vec![text("{host}")]),
            ("{{{route}}}", vec![text("{"), Var(Variable::Route), text("}")]),
            ("a{{b", vec![text("a{b")]),
            (
                "{client-ip}{method}{path}",
                vec![Var(Variable::ClientIp), Var(Variable::Method), Var(Variable::Path)],
            ),
        ] {
            let found = field(&Text::plain(value)).map(|template| template.parts);
            assert_eq!(found, Ok(parts), "{value}");
        }
    }

    #[test]
    fn wrong_templates() {
        for (value, range, message) in [
            ("a{hots}", 1..7, "`{hots}` is no variable"),
            ("{}", 0..2, "`{}` is no variable"),
            ("a{host", 1..2, "`{` without a `}` after it"),
            ("{ho{st}", 0..1, "`{` without a `}` after it"),
            ("a}b", 1..2, "`}` without a `{` before it"),
            ("{\"a\":1}", 0..7, "`{\"a\":1}` is no variable"),
            ("a\nb", 1..2, "`a\u{fffd}b` has a control character"),
        ] {
            let found = field(&Text::plain(value)).map_err(|fault| (fault.range, fault.message));
            assert_eq!(found, Err((range, message.to_owned())), "{value}");
        }
    }

    #[test]
    fn redirects_lead_somewhere() {
        for good in [
            "https://example.com",
            "HTTP://example.com/",
            "{scheme}://{host}:8443{path}{query}",
            "https://{host}{path}{query}",
            "/new",
            "/",
            "{path}/",
        ] {
            assert!(location(&Text::plain(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "//evil.example",
            "https://",
            "https:///x",
            "{host}/x",
            "/a b",
            "/ü",
            "javascript:x",
        ] {
            assert!(location(&Text::plain(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_adds_text_and_no_variables() {
        let env = |_: &str| Some("{host}}{".to_owned());
        let mut report = crate::report::Report::new("");
        let span = crate::source::Span::FILE;
        let value = Text::read("{route}${X}{path}", span, &env, &mut report).expect("X is set");
        let parts =
            vec![Part::Variable(Variable::Route), text("{host}}{"), Part::Variable(Variable::Path)];
        assert_eq!(field(&value), Ok(Template { parts }));
    }
}
