//! Lists of servers outside of the configuration: a file that is watched, or what the admin API is
//! sent.
//!
//! As strict as the configuration itself: the same rules read a server, and everything that is
//! wrong is told with its place. Variables of the environment are not replaced here. Never reads a
//! file. The binary calls it.

use std::collections::HashMap;
use std::net::SocketAddr;

use toml::de::{DeTable, DeValue};

use crate::compile::{LOOP_HELP, loops, spec};
use crate::config::{SERVERS, ServerEntry};
use crate::json;
use crate::plan::ServerSpec;
use crate::problem::Problems;
use crate::read::{At, Entries, Node, Reader, Rule, span_of};
use crate::report::Report;
use crate::section::{Section, section};
use crate::source::Span;

/// How a list of servers is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `servers = [ … ]`, as in `[upstream.NAME]`.
    Toml,
    /// `[ … ]`, or `{"servers": [ … ]}`.
    Json,
}

impl Format {
    /// The format of a file: what the end of its name says, `.json` or `.toml`, and otherwise
    /// what it begins with.
    pub fn of(file: &str, text: &str) -> Format {
        let ends = |end: &str| file.to_ascii_lowercase().ends_with(end);
        match text.trim_start().as_bytes().first() {
            _ if ends(".json") => Format::Json,
            _ if ends(".toml") => Format::Toml,
            Some(b'[' | b'{') => Format::Json,
            _ => Format::Toml,
        }
    }
}

/// Largest list of servers that is read, in bytes: 1 MiB.
pub const LARGEST_LIST: usize = 1 << 20;

/// Reads a list of 1 to 1,000 servers. `listeners` are the addresses that this process listens on:
/// a server that is one of them is refused, for each request would come back. A byte order mark is
/// skipped.
///
/// # Errors
///
/// All that is wrong, by position, in a file called `file`.
pub fn servers_from(
    text: &[u8],
    format: Format,
    file: &str,
    listeners: &[SocketAddr],
) -> Result<Vec<ServerSpec>, Problems> {
    let refuse = |text: &str, span: Span, message: String, help: Option<String>| {
        let mut report = Report::new(text);
        report.error(span, message, help);
        Err(report.into_problems(file))
    };
    if text.len() > LARGEST_LIST {
        let message = format!("the list has {} bytes; at most {LARGEST_LIST} are read", text.len());
        return refuse("", Span::FILE, message, None);
    }
    let bytes = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let help = Some("save it as UTF-8".to_owned());
            return refuse(&shown, (at..at + 1).into(), "this is not UTF-8".to_owned(), help);
        }
    };
    let mut reader = Reader { env: &|_| None, report: Report::new(text) };
    let entries = match format {
        Format::Toml => from_toml(text, &mut reader),
        Format::Json => match json::parse(text) {
            Ok(root) => from_json(&root, &mut reader),
            Err((span, message, help)) => return refuse(text, span, message, help),
        },
    };
    let servers = entries.map(|entries| specs(&entries, listeners, &mut reader.report));
    let failed = reader.report.has_errors();
    match servers {
        Some(servers) if !failed => Ok(servers),
        _ => Err(as_written_in(format, reader.report.into_problems(file))),
    }
}

section! {
    /// A list of servers.
    ServerList {
        /// The servers.
        required "servers" servers: Vec<At<ServerEntry>>, SERVERS;
    }
}

/// The list as its author knows it.
const TITLE: &str = "the list of servers";

fn from_toml(text: &str, reader: &mut Reader<'_>) -> Option<Vec<At<ServerEntry>>> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let list = from_table(table.get_ref(), Span::FILE, reader);
    let syntax: Vec<_> = syntax.iter().map(|error| crate::syntax::explain(error, text)).collect();
    reader.report.add_syntax(syntax);
    list
}

fn from_json(root: &Node<'_>, reader: &mut Reader<'_>) -> Option<Vec<At<ServerEntry>>> {
    match root.get_ref() {
        DeValue::Table(table) => from_table(table, span_of(root), reader),
        DeValue::Array(array) => match has_variable(array.iter(), reader) {
            true => None,
            false => SERVERS.read(root, reader),
        },
        other => {
            reader.wrong_type(span_of(root), other, "a list of servers");
            None
        }
    }
}

fn from_table(
    table: &DeTable<'_>,
    span: Span,
    reader: &mut Reader<'_>,
) -> Option<Vec<At<ServerEntry>>> {
    if has_variable(table.values(), reader) {
        return None;
    }
    let list = ServerList::read(Entries::of(TITLE.to_owned(), span, table), reader)?;
    Some(list.servers.value)
}

/// Reports texts that ask for a variable, which would otherwise be said not to be set.
fn has_variable<'n, 't: 'n>(
    nodes: impl Iterator<Item = &'n Node<'t>>,
    reader: &mut Reader<'_>,
) -> bool {
    let mut found = false;
    for node in nodes {
        found |= match node.get_ref() {
            DeValue::String(text) if text.contains("${") => {
                let help = "variables are replaced in the configuration alone: write the value";
                let message = "`${` means nothing in a list of servers";
                reader.report.error(span_of(node), message, Some(help.to_owned()));
                true
            }
            DeValue::Array(array) => has_variable(array.iter(), reader),
            DeValue::Table(table) => has_variable(table.values(), reader),
            _ => false,
        };
    }
    found
}

fn specs(
    entries: &[At<ServerEntry>],
    listeners: &[SocketAddr],
    report: &mut Report<'_>,
) -> Vec<ServerSpec> {
    let mut seen = HashMap::new();
    let mut servers = Vec::with_capacity(entries.len());
    for entry in entries {
        let spec = spec(&entry.value);
        if let Some(other) = seen.insert(spec.address.clone(), entry.span) {
            let message = format!("this server is already there, on line {}", report.line(other));
            let help = "name it once; `weight` gives it a larger share";
            report.error(entry.span, message, Some(help.to_owned()));
        }
        if let Some(listener) = listeners.iter().find(|at| loops(&spec.address, **at)) {
            let message = format!("this server is Seawall itself, which listens on {listener}");
            report.error(entry.span, message, Some(LOOP_HELP.to_owned()));
        }
        servers.push(spec);
    }
    servers
}

/// Advice that names a key, as it is written in this format.
fn as_written_in(format: Format, mut problems: Problems) -> Problems {
    if format == Format::Toml {
        return problems;
    }
    for problem in &mut problems.list {
        let Some(help) = &problem.help else { continue };
        let written = help.strip_prefix("add `").and_then(|rest| rest.split_once(" = "));
        if let Some((key, value)) = written {
            problem.help = Some(format!("add `\"{key}\": {value}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    fn read(format: Format, text: &str) -> Result<Vec<String>, Vec<String>> {
        let listeners = ["0.0.0.0:8080".parse().expect("an address")];
        match servers_from(text.as_bytes(), format, "f", &listeners) {
            Ok(servers) => {
                let shown = |server: &ServerSpec| format!("{} {}", server.address, server.weight);
                Ok(servers.iter().map(shown).collect())
            }
            Err(problems) => {
                let shown = |problem: &crate::Problem| {
                    let help = problem.help().map(|help| format!(" ({help})")).unwrap_or_default();
                    let message = problem.message();
                    format!("{}:{}: {message}{help}", problem.line(), problem.column())
                };
                Err(problems.iter().map(shown).collect())
            }
        }
    }

    #[test]
    fn both_formats_say_the_same() {
        let expect = Ok(vec!["127.0.0.1:3000 1".to_owned(), "app.internal:80 5".to_owned()]);
        for (format, text) in [
            (
                Format::Toml,
                "# servers\nservers = [\n  \"127.0.0.1:3000\",\n  { address = \"app.internal:80\", weight = 5 },\n]\n",
            ),
            (
                Format::Toml,
                "\u{feff}[[servers]]\naddress = \"127.0.0.1:3000\"\n[[servers]]\naddress = \"App.internal:80\"\nweight = 5\n",
            ),
            (Format::Json, r#"["127.0.0.1:3000", {"address": "app.internal:80", "weight": 5}]"#),
            (
                Format::Json,
                "\u{feff}{\"servers\": [\"127.0.0.1:3000\",\n{\"weight\": 5, \"address\": \"app.internal.:80\"}]}",
            ),
        ] {
            assert_eq!(read(format, text), expect, "{text}");
        }
    }

    #[test]
    fn servers_have_what_they_have_in_the_configuration() {
        let text = r#"[{"address": "srv:_http._tcp.app", "zone": "a", "priority": 2}]"#;
        let servers = servers_from(text.as_bytes(), Format::Json, "f", &[]).expect("one server");
        let expect = ServerSpec {
            zone: Some("a".into()),
            priority: 2,
            ..ServerSpec::new(crate::plan::ServerAddress::Service("_http._tcp.app".into()))
        };
        assert_eq!(servers, [expect]);
    }

    #[test]
    fn the_format_is_that_of_the_name_or_of_the_text() {
        for (file, text, format) in [
            ("a.json", "servers = []", Format::Json),
            ("a.JSON", "", Format::Json),
            ("a.toml", "[]", Format::Toml),
            ("a", " \n[]", Format::Json),
            ("a.txt", "{}", Format::Json),
            ("a.conf", "servers = []", Format::Toml),
            ("a", "", Format::Toml),
        ] {
            assert_eq!(Format::of(file, text), format, "{file} {text}");
        }
    }

    #[test]
    fn mistakes_are_told_at_their_place() {
        let (toml, json) = (Format::Toml, Format::Json);
        for (format, text, expect) in [
            (
                toml,
                "",
                "1:1: the list of servers has no `servers` (add `servers = [\"127.0.0.1:3000\"]`)",
            ),
            (
                json,
                "{}",
                "1:1: the list of servers has no `servers` (add `\"servers\": [\"127.0.0.1:3000\"]`)",
            ),
            (
                json,
                "[{}]",
                "1:2: a server has no `address` (add `\"address\": \"127.0.0.1:3000\"`)",
            ),
            (toml, "servers = []", "1:11: this list is empty (put at least one item into it)"),
            (json, "[]", "1:1: this list is empty (put at least one item into it)"),
            (json, "7", "1:1: expected a list of servers, found an integer"),
            (json, "[1.5]", "1:2: expected text or a table for a server, found a float"),
            (json, "[\"a:1\",\n \"a\"]", "2:2: `a` has no port (write for example \"a:80\")"),
            (
                json,
                "[\"a:1\",\n \"A.:1\"]",
                "2:2: this server is already there, on line 1 (name it once; `weight` gives it a larger share)",
            ),
            (
                json,
                "{\"server\": []}",
                "1:1: the list of servers has no `servers` (add `\"servers\": [\"127.0.0.1:3000\"]`)|1:2: unknown key `server` in the list of servers (did you mean `servers`?)",
            ),
            (
                json,
                "[{\"address\": \"a:1\", \"wieght\": 2}]",
                "1:21: unknown key `wieght` in a server (did you mean `weight`?)",
            ),
            (
                json,
                "[{\"address\": \"a:1\", \"weight\": 0}]",
                "1:31: `0` is not an integer from 1 to 1000",
            ),
            (json, "[\"a:1\",]", "1:8: expected a value, found `]`"),
            (
                toml,
                "servers = [\"a:1\" \"b:1\"]",
                "1:18: missing comma between array elements, expected `,` (write a comma here, or close the list before it with `]`)",
            ),
            (
                json,
                "[\"${HOST}:1\"]",
                "1:2: `${` means nothing in a list of servers (variables are replaced in the configuration alone: write the value)",
            ),
            (
                toml,
                "servers = [{ address = \"${HOST:-a}:1\" }]",
                "1:24: `${` means nothing in a list of servers (variables are replaced in the configuration alone: write the value)",
            ),
            (
                json,
                "[\"127.0.0.1:8080\"]",
                "1:2: this server is Seawall itself, which listens on 0.0.0.0:8080 (write the address of your application; it and the listener need different ports)",
            ),
            (
                json,
                "[\"localhost:8080\"]",
                "1:2: this server is Seawall itself, which listens on 0.0.0.0:8080 (write the address of your application; it and the listener need different ports)",
            ),
        ] {
            let found = read(format, text).expect_err(text).join("|");
            assert_eq!(found, expect, "{text}");
        }
        let found = servers_from(b"[\"a:1\", \"\xff\"]", json, "f", &[]).expect_err("no UTF-8");
        assert_eq!(found.iter().next().map(|p| (p.line(), p.column())), Some((1, 10)), "{found}");
        let large = vec![b' '; LARGEST_LIST + 1];
        assert!(servers_from(&large, json, "f", &[]).is_err());
    }

    proptest! {
        /// Whatever the text: an answer, and problems that can be shown.
        #[test]
        fn any_text_has_an_answer(
            pieces in vec(select(PIECES), 0..24), json: bool, cut: Index, noise: Vec<u8>,
        ) {
            let mut text = pieces.concat().into_bytes();
            let at = cut.index(text.len() + 1);
            text.splice(at..at, noise.into_iter().take(2));
            let format = if json { Format::Json } else { Format::Toml };
            match servers_from(&text, format, "f", &[]) {
                Ok(servers) => prop_assert!((1..=1000).contains(&servers.len())),
                Err(problems) => {
                    prop_assert!(problems.errors() > 0);
                    prop_assert!(!problems.render(false).is_empty());
                }
            }
        }
    }

    const PIECES: &[&str] = &[
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "=",
        "\n",
        " ",
        "\"",
        "servers",
        "\"servers\"",
        "servers = [",
        "\"a:1\"",
        "\"b.internal:80\"",
        "\"srv:_a._b.c\"",
        "\"10.0.0.1\"",
        "address = \"c:1\"",
        "\"address\": \"c:1\"",
        "weight",
        "\"weight\": 2",
        "zone = \"a\"",
        "7",
        "-0",
        "1e9",
        "null",
        "true",
        "${A}",
        "\\u12",
        "\u{feff}",
        "#",
        "'",
    ];

    #[test]
    fn there_is_a_limit_to_their_number() {
        let list = |count: u32| {
            let server = |n| format!("\"10.0.{}.{}:1\"", n / 256, n % 256);
            format!("[{}]", (0..count).map(server).collect::<Vec<_>>().join(","))
        };
        assert_eq!(read(Format::Json, &list(1000)).map(|all| all.len()), Ok(1000));
        let expect = "1:1: this list has 1001 items; at most 1000 are allowed".to_owned();
        assert_eq!(read(Format::Json, &list(1001)), Err(vec![expect]));
    }
}
