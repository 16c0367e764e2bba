//! What makes answers different ones, and which requests go past the cache: `key` and `bypass` of
//! `cache`.

use toml::de::DeValue;

use crate::header;
use crate::read::{At, Entries, Node, Reader, Rule, span_of};
use crate::rules::{Boolean, Fault, List, Parsed};
use crate::section::{Section, section};
use crate::shape::Shape;
use crate::source::quoted;
use crate::text::Text;

section! {
    /// What makes answers different ones: requests that are alike in all of this are given the same
    /// answer. The path always is part of it.
    KeyEntry {
        /// The scheme and the host that the client asks for are part of it.
        default "host" host: bool = true, Boolean;
        /// What of the query is part of it: all with `true`, nothing with `false`, only the
        /// parameters in a list, or all but some with a table. Names are compared after
        /// percent-decoding; one that ends in `*` stands for all that begin so.
        optional "query" query: QueryEntry, QueryRule;
        /// Parameters of the query are put in the order of their names first.
        default "sort-query" sort: bool = false, Boolean;
        /// Request fields that are part of it.
        optional "headers" headers: Vec<At<Box<str>>>, List(SELECTING, 0, 16);
        /// Cookies that are part of it.
        optional "cookies" cookies: Vec<At<Box<str>>>, List(COOKIE, 0, 16);
        /// The class of the device is part of it, as `User-Agent` and client hints tell it: phone,
        /// tablet, desktop or bot.
        default "device" device: bool = false, Boolean;
    }
}

section! {
    /// All parameters of the query but some.
    ExceptEntry {
        /// The names of these.
        required "except" except: Vec<At<Box<str>>>, List(EXCEPT, 1, 256);
    }
}

section! {
    /// Requests that go past the cache: they are not answered from it, and what answers them is not
    /// stored. Any of these is enough.
    BypassEntry {
        /// They have one of these fields.
        optional "headers" headers: Vec<At<Box<str>>>, List(BYPASS_HEADER, 0, 64);
        /// They have one of these cookies; a name that ends in `*` stands for all that begin so.
        optional "cookies" cookies: Vec<At<Box<str>>>, List(BYPASS_COOKIE, 0, 64);
        /// They have one of these query parameters; a name that ends in `*` stands for all that begin
        /// so.
        optional "query" query: Vec<At<Box<str>>>, List(PARAMETER, 0, 64);
    }
}

/// The value of `query` in `key`.
#[derive(Debug, Clone)]
pub(crate) enum QueryEntry {
    /// `true` or `false`: all of it or nothing.
    Whole(bool),
    /// A list: only these.
    Only(Vec<At<Box<str>>>),
    /// A table: all but these.
    Except(Vec<At<Box<str>>>),
}

/// Reads a [`QueryEntry`].
pub(crate) struct QueryRule;

impl Rule for QueryRule {
    type Value = QueryEntry;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<QueryEntry> {
        match node.get_ref() {
            DeValue::Boolean(whole) => Some(QueryEntry::Whole(*whole)),
            DeValue::String(raw) if raw.contains("${") => {
                Boolean.read(node, reader).map(QueryEntry::Whole)
            }
            DeValue::Array(_) => ONLY.read(node, reader).map(QueryEntry::Only),
            DeValue::Table(table) => {
                let entries = Entries::of("`query`".to_owned(), span_of(node), table);
                let except = ExceptEntry::read(entries, reader)?.except.value;
                Some(QueryEntry::Except(except))
            }
            other => {
                let expect = "true, false, a list of parameters, or a table with `except`";
                reader.wrong_type(span_of(node), other, expect);
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        let except = Shape::Section(ExceptEntry::shape());
        Shape::Either(vec![Shape::Boolean, ONLY.shape(), except])
    }
}

const ONLY: List<Parsed<Box<str>>> = List(
    Parsed {
        kind: "a query parameter",
        example: "page",
        limits: "",
        parse: |text| match text.value.as_str() {
            "*" => {
                let message = "this is the whole query".to_owned();
                Err(Fault::whole(text, message, "write `query = true`"))
            }
            _ => parameter(text),
        },
    },
    0,
    256,
);

const EXCEPT: Parsed<Box<str>> = Parsed {
    kind: "a query parameter",
    example: "utm_*",
    limits: "",
    parse: |text| match text.value.as_str() {
        "*" => {
            let message = "nothing of the query is left".to_owned();
            Err(Fault::whole(text, message, "write `query = false`"))
        }
        _ => parameter(text),
    },
};

const PARAMETER: Parsed<Box<str>> =
    Parsed { kind: "a query parameter", example: "preview", limits: "", parse: parameter };

const COOKIE: Parsed<Box<str>> = Parsed {
    kind: "the name of a cookie",
    example: "currency",
    limits: "at most 256 bytes",
    parse: |text| match text.value.contains('*') {
        false => cookie(text),
        true => {
            let message = format!("{} is not the name of one cookie", text.shown());
            Err(Fault::whole(text, message, "name each cookie; only `bypass` knows `*`"))
        }
    },
};

const BYPASS_COOKIE: Parsed<Box<str>> = Parsed {
    kind: "the name of a cookie",
    example: "session*",
    limits: "at most 256 bytes",
    parse: |text| one_star(text).and_then(|()| cookie(text)),
};

const BYPASS_HEADER: Parsed<Box<str>> = Parsed {
    kind: "the name of a header field",
    example: "authorization",
    limits: "",
    parse: header::chosen_name,
};

/// A request field by which answers differ.
pub(super) const SELECTING: Parsed<Box<str>> = Parsed {
    kind: "the name of a header field",
    example: "accept-language",
    limits: "",
    parse: selecting,
};

/// Refuses a `*` that is not at the end.
fn one_star(text: &Text) -> Result<(), Fault> {
    match text.value.strip_suffix('*').unwrap_or(&text.value).contains('*') {
        false => Ok(()),
        true => {
            let message = format!("{} has a `*` before its end", text.shown());
            let help =
                "a name that ends in `*` stands for all that begin so; nothing else is known";
            Err(Fault::whole(text, message, help))
        }
    }
}

fn parameter(text: &Text) -> Result<Box<str>, Fault> {
    one_star(text)?;
    header::parameter_name(&text.value).map_err(|(message, help)| Fault::whole(text, message, help))
}

fn cookie(text: &Text) -> Result<Box<str>, Fault> {
    header::cookie_name(&text.value).map_err(|(message, help)| Fault::whole(text, message, help))
}

fn selecting(text: &Text) -> Result<Box<str>, Fault> {
    let name = header::chosen_name(text)?;
    let (message, help) = match &*name {
        "*" => (
            "`*` would make every request another one".to_owned(),
            "name the fields by which answers differ",
        ),
        "host" => {
            ("the host is part of every key by itself".to_owned(), "take it out; see `key.host`")
        }
        "range"
        | "if-range"
        | "if-match"
        | "if-none-match"
        | "if-modified-since"
        | "if-unmodified-since"
        | "cache-control"
        | "pragma" => (
            format!("{} does not make answers different ones", quoted(&name)),
            "take it out: the cache itself does what it asks for",
        ),
        _ => return Ok(name),
    };
    Err(Fault::whole(text, message, help))
}
