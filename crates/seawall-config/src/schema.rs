//! The JSON Schema for editors, made from the declarations of the sections.
//!
//! Kept as `docs/reference/seawall.schema.json`; a test compares the two. It says what TOML editors
//! can check while one types; only [`crate::load()`] knows all rules.

use crate::config::Config;
use crate::rules::digits;
use crate::section::Section;
use crate::shape::{FieldShape, Presence, SectionShape, Shape};
use crate::units::{show_duration, show_percent, show_rate, show_size};

/// The JSON Schema (draft 7, which TOML editors speak) of a configuration.
pub fn json_schema() -> String {
    let mut root = vec![
        ("$schema", text("http://json-schema.org/draft-07/schema#")),
        ("title", text("Seawall configuration")),
    ];
    root.extend(object(&Config::shape()));
    let mut out = String::new();
    Json::Object(root).write(0, &mut out);
    out.push('\n');
    out
}

enum Json {
    Text(String),
    Number(u64),
    Yes,
    No,
    Array(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    fn write(&self, depth: usize, out: &mut String) {
        match self {
            Json::Text(text) => write_text(text, out),
            Json::Number(number) => out.push_str(&number.to_string()),
            Json::Yes => out.push_str("true"),
            Json::No => out.push_str("false"),
            Json::Array(items) => {
                let items = items.iter().map(|item| (None, item));
                write_many(('[', ']'), items, depth, out);
            }
            Json::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (Some(*key), value));
                write_many(('{', '}'), entries, depth, out);
            }
        }
    }
}

fn write_many<'j>(
    (open, close): (char, char),
    items: impl ExactSizeIterator<Item = (Option<&'static str>, &'j Json)>,
    depth: usize,
    out: &mut String,
) {
    let count = items.len();
    out.push(open);
    for (index, (key, value)) in items.enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            write_text(key, out);
            out.push_str(": ");
        }
        value.write(depth + 1, out);
    }
    if count > 0 {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn object(section: &SectionShape) -> Vec<(&'static str, Json)> {
    let properties = section.fields.iter().map(|field| (field.key, property(field)));
    let is_required = |field: &&FieldShape| matches!(field.presence, Presence::Required);
    let required = section.fields.iter().filter(is_required);
    let required: Vec<Json> = required.map(|field| text(field.key)).collect();
    let mut out = vec![
        ("description", text(&section.doc)),
        ("type", text("object")),
        ("properties", Json::Object(properties.collect())),
        ("additionalProperties", Json::No),
    ];
    if !required.is_empty() {
        out.push(("required", Json::Array(required)));
    }
    out
}

fn property(field: &FieldShape) -> Json {
    let inner = schema(&field.shape);
    let doc = ("description", text(&field.doc));
    let schema = match field.presence {
        Presence::Named => vec![
            ("type", text("object")),
            ("propertyNames", Json::Object(vec![("pattern", text("^[a-z0-9._-]{1,64}$"))])),
            ("additionalProperties", Json::Object(inner)),
        ],
        Presence::Each => vec![("type", text("array")), ("items", Json::Object(inner))],
        Presence::Required | Presence::Optional | Presence::Default(_) => {
            inner.into_iter().filter(|(key, _)| *key != "description").collect()
        }
    };
    let default = match &field.presence {
        Presence::Default(value) => Some(("default", default(value))),
        _ => None,
    };
    Json::Object([doc].into_iter().chain(schema).chain(default).collect())
}

fn default(value: &str) -> Json {
    match (value, value.replace('_', "").parse()) {
        ("true", _) => Json::Yes,
        ("false", _) => Json::No,
        (_, Ok(number)) => Json::Number(number),
        (_, Err(_)) => text(value.trim_matches('"')),
    }
}

fn schema(shape: &Shape) -> Vec<(&'static str, Json)> {
    match shape {
        Shape::Text { kind, example, .. } => {
            let mut out = vec![("description", text(kind)), ("type", text("string"))];
            if !example.is_empty() {
                out.push(("examples", Json::Array(vec![text(example)])));
            }
            out
        }
        Shape::Word(words) => {
            let words = words.iter().map(|word| text(word)).collect();
            // A variable may stand in for the word.
            let word = vec![("enum", Json::Array(words))];
            vec![("anyOf", Json::Array(vec![Json::Object(word), variable()]))]
        }
        Shape::Choice(numbers) => {
            let numbers = numbers.iter().map(|number| Json::Number(*number)).collect();
            vec![("enum", Json::Array(numbers))]
        }
        Shape::Integer(min, max) => {
            let integer = vec![
                ("type", text("integer")),
                ("minimum", Json::Number(*min)),
                ("maximum", Json::Number(*max)),
            ];
            vec![("anyOf", Json::Array(vec![Json::Object(integer), variable()]))]
        }
        Shape::Duration(min, max) => {
            let limits =
                format!("a duration from {} to {}", show_duration(*min), show_duration(*max));
            unit_text(&limits, "^(([0-9]+(ms|s|m|h|d))+|.*\\$\\{.*)$")
        }
        Shape::Size(min, max) => {
            let limits = format!("a size from {} to {}", show_size(*min), show_size(*max));
            unit_text(&limits, "^([0-9]+(B|[kK]B|[MGT]B|[KMGT]iB)|.*\\$\\{.*)$")
        }
        Shape::Percent(min, max) => {
            let limits = format!("a share from {} to {}", show_percent(*min), show_percent(*max));
            unit_text(&limits, "^([0-9]+(\\.[0-9])?%|.*\\$\\{.*)$")
        }
        Shape::Rate(min, max) => {
            let limits = format!("a rate from {} to {}", show_rate(*min), show_rate(*max));
            unit_text(&limits, "^([0-9]+/[sm]|.*\\$\\{.*)$")
        }
        Shape::Boolean => {
            let boolean = vec![("type", text("boolean"))];
            vec![("anyOf", Json::Array(vec![Json::Object(boolean), variable()]))]
        }
        Shape::OneOrMany { item, max } => {
            let list = Shape::List { item: item.clone(), min: 1, max: *max };
            let either = vec![Json::Object(schema(item)), Json::Object(schema(&list))];
            vec![("anyOf", Json::Array(either))]
        }
        Shape::List { item, min, max } => vec![
            ("type", text("array")),
            ("items", Json::Object(schema(item))),
            ("minItems", Json::Number(*min as u64)),
            ("maxItems", Json::Number(*max as u64)),
        ],
        Shape::Map { keys, value, max } => vec![
            ("description", text(&format!("{keys}, at most {}", digits(*max as u64)))),
            ("type", text("object")),
            ("additionalProperties", Json::Object(schema(value))),
            ("maxProperties", Json::Number(*max as u64)),
        ],
        Shape::Section(section) => object(section),
        Shape::Short(key, section) => {
            let field = section.fields.iter().find(|field| field.key == *key);
            let short = field.map_or_else(Vec::new, |field| schema(&field.shape));
            let either = vec![Json::Object(short), Json::Object(object(section))];
            vec![("anyOf", Json::Array(either))]
        }
        Shape::Either(shapes) => {
            let either = shapes.iter().map(|shape| Json::Object(schema(shape))).collect();
            vec![("anyOf", Json::Array(either))]
        }
        Shape::Switch(section, _) => {
            let either = vec![Json::Object(schema(&Shape::Boolean)), Json::Object(object(section))];
            vec![("anyOf", Json::Array(either))]
        }
    }
}

fn unit_text(limits: &str, pattern: &str) -> Vec<(&'static str, Json)> {
    vec![("description", text(limits)), ("type", text("string")), ("pattern", text(pattern))]
}

fn variable() -> Json {
    Json::Object(vec![("type", text("string")), ("pattern", text("\\$\\{"))])
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}
