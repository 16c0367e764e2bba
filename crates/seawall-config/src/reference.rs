//! The reference page, made from the declarations of the sections.
//!
//! Kept as `docs/reference/configuration.md`; a test compares the two. What is said once for many
//! keys (units, templates, path patterns) stands in `reference/values.md`, what several of them do
//! to one request in `reference/together.md`.

use crate::config::Config;
use crate::plan::Variable;
use crate::rules::digits;
use crate::section::Section;
use crate::shape::{FieldShape, Presence, SectionShape, Shape};
use crate::template::VARIABLES;
use crate::units::{show_duration, show_percent, show_rate, show_size};

/// The reference of all sections and keys as a page of Markdown.
pub fn reference() -> String {
    let root = Config::shape();
    let mut page = String::from(HEAD);
    page.push_str(&format!("{} The sections are:\n\n", root.doc));
    for field in &root.fields {
        let title = title(field);
        let anchor = anchor(&title);
        page.push_str(&format!("* [`{title}`](#{anchor}) — {}\n", first_sentence(&field.doc)));
    }
    for field in &root.fields {
        if let Shape::Section(section) = &field.shape {
            page.push_str(&format!("\n## `{}`\n", title(field)));
            page.push_str(&chapter(section, example(field.key)));
        }
    }
    page.push('\n');
    page.push_str(include_str!("reference/together.md"));
    page.push_str(include_str!("reference/values.md"));
    page.push_str("\n| Variable | Stands for |\n|---|---|\n");
    for (name, variable) in VARIABLES {
        page.push_str(&format!("| `{{{name}}}` | {} |\n", meaning(*variable)));
    }
    page
}

fn chapter(section: &SectionShape, example: &str) -> String {
    let mut out = format!("\n{}\n", section.doc);
    if !example.is_empty() {
        out.push_str(&format!("\n```toml fragment\n{}```\n", example));
    }
    out.push_str(&table(section));
    for field in &section.fields {
        out.push_str(&inner(field.key, 3, &field.shape));
    }
    out
}

/// The tables below a key that is a section itself, with a heading of this level.
fn inner(key: &str, level: usize, shape: &Shape) -> String {
    let heading = "#".repeat(level);
    match shape {
        Shape::Section(section) => {
            let mut out = format!("\n{heading} `{key}`\n\n{}\n{}", section.doc, table(section));
            let mut same: Option<&SectionShape> = None;
            for field in &section.fields {
                // `headers.request` and `headers.response` have the same keys.
                if let Shape::Section(below) = &field.shape
                    && same.replace(below).is_none()
                {
                    let siblings = section.fields.iter().map(|f| format!("`{key}.{}`", f.key));
                    let siblings: Vec<String> = siblings.collect();
                    let title = siblings.join(" and ");
                    out.push_str(&format!("\n#### {title}\n\n{}\n{}", below.doc, table(below)));
                }
                if let Shape::Either(_) = &field.shape {
                    out.push_str(&inner(&format!("{key}.{}", field.key), level + 1, &field.shape));
                }
            }
            out
        }
        Shape::Short(short, section) => {
            let title = format!("\n{heading} `{key}` as a table\n\n{}", section.doc);
            let field = section.fields.iter().find(|field| field.key == *short);
            let alone = match field.map(|field| &field.shape) {
                Some(Shape::Integer(..)) => "A number",
                _ => "Text",
            };
            let below = below(key, level, section);
            format!("{title} {alone} alone is taken as its `{short}`.\n{}{below}", table(section))
        }
        Shape::Switch(section, on) => {
            let title = format!("\n{heading} `{key}` as a table\n\n{}", section.doc);
            let alone = match on {
                false => "`true` is the same as a table without keys, `false` as no key at all.",
                true => "`true` is the same as a table without keys, and as no key at all.",
            };
            format!("{title} {alone}\n{}{}", table(section), below(key, level, section))
        }
        Shape::Either(shapes) => {
            let tables = shapes.iter().filter_map(|shape| match shape {
                Shape::Section(section) => Some(section),
                _ => None,
            });
            let shown = tables.map(|section| {
                let title = format!("\n{heading} `{key}` as a table\n\n{}\n", section.doc);
                title + &table(section)
            });
            shown.collect()
        }
        Shape::List { item, .. } | Shape::OneOrMany { item, .. } => inner(key, level, item),
        Shape::Map { value, .. } => inner(&format!("{key}.KEY"), level, value),
        _ => String::new(),
    }
}

/// The tables below the keys of a section.
fn below(key: &str, level: usize, section: &SectionShape) -> String {
    let fields = section.fields.iter();
    fields.map(|field| inner(&format!("{key}.{}", field.key), level + 1, &field.shape)).collect()
}

fn table(section: &SectionShape) -> String {
    let mut out = String::from("\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for field in &section.fields {
        let key = format!("`{}`", field.key);
        let (kind, default) = (kind(&field.shape), default(field));
        let doc = field.doc.replace('|', "\\|");
        out.push_str(&format!("| {key} | {kind} | {default} | {doc} |\n"));
    }
    out
}

fn default(field: &FieldShape) -> String {
    match &field.presence {
        Presence::Required => "**required**".to_owned(),
        Presence::Default(text) => format!("`{text}`"),
        Presence::Optional | Presence::Named | Presence::Each => "—".to_owned(),
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text { kind, example, limits } => {
            let example = match *example {
                "" => String::new(),
                example => format!(", for example `\"{example}\"`"),
            };
            let limits = match *limits {
                "" => String::new(),
                limits => format!("; {limits}"),
            };
            format!("{kind}{example}{limits}")
        }
        Shape::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(" or ")
        }
        Shape::Choice(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(|n| format!("`{n}`")).collect();
            numbers.join(", ")
        }
        Shape::Integer(min, max) => format!("integer, {} to {}", digits(*min), digits(*max)),
        Shape::Duration(min, max) => {
            format!("[duration](#durations), {} to {}", show_duration(*min), show_duration(*max))
        }
        Shape::Size(min, max) => {
            format!("[size](#sizes), {} to {}", show_size(*min), show_size(*max))
        }
        Shape::Percent(min, max) => {
            format!("[share](#shares), {} to {}", show_percent(*min), show_percent(*max))
        }
        Shape::Rate(min, max) => {
            format!("[rate](#rates), {} to {}", show_rate(*min), show_rate(*max))
        }
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::OneOrMany { item, max } => {
            format!("{}; or a list of at most {} of these", kind(item), digits(*max as u64))
        }
        Shape::List { item, max, .. } => {
            format!("list of at most {} items: {}", digits(*max as u64), kind(item))
        }
        Shape::Map { keys, value, max } => {
            format!("table of at most {max} {keys}: {}", kind(value))
        }
        Shape::Section(_) => "table, see below".to_owned(),
        Shape::Short(key, section) => {
            let field = section.fields.iter().find(|field| field.key == *key);
            let text = field.map_or_else(String::new, |field| kind(&field.shape));
            format!("{text}; or a table, see below")
        }
        Shape::Either(shapes) => shapes.iter().map(kind).collect::<Vec<_>>().join("; or a "),
        Shape::Switch(_, false) => "`true`, or a table, see below".to_owned(),
        Shape::Switch(_, true) => "`false`, or a table, see below".to_owned(),
    }
}

fn title(field: &FieldShape) -> String {
    match field.presence {
        Presence::Named => format!("[{}.NAME]", field.key),
        Presence::Each => format!("[[{}]]", field.key),
        _ => format!("[{}]", field.key),
    }
}

/// As GitHub makes anchors of headings.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn first_sentence(doc: &str) -> &str {
    doc.split_once(". ").map_or(doc, |(first, _)| first)
}

fn meaning(variable: Variable) -> &'static str {
    match variable {
        Variable::Scheme => "`http` or `https`, as the client used it",
        Variable::Host => "the host the client asked for, with its port if it named one",
        Variable::Path => "the path in normal form, before prefixes are taken off or added",
        Variable::Query => "the query with its `?`, or nothing",
        Variable::Method => "the method of the request",
        Variable::ClientIp => "the address of the client, as far as trusted peers tell it",
        Variable::Route => "the name of the route",
    }
}

/// A short example for the section with this key.
fn example(key: &str) -> &'static str {
    match key {
        "server" => {
            "[server]\nadmin = \"127.0.0.1:9900\"\naccess-log = \"stdout\"\ntrust = [\"10.0.0.0/8\"]\n"
        }
        "state" => "[state]\nredis = \"redis://127.0.0.1:6379\"\n",
        "cache" => {
            "[cache]\nmemory = \"512MiB\"\ndisk = { path = \"/var/cache/seawall\", size = \"20GiB\" }\n"
        }
        "listen" => {
            "[listen.web]\naddress = \":8080\"\ntimeouts = { head = \"5s\" }\nlimits = { body = \"10MiB\", connections = 50_000 }\n"
        }
        "upstream" => {
            "[upstream.app]\nservers = [\"127.0.0.1:3000\", { address = \"127.0.0.1:3001\", weight = 2 }]\nhealth = \"/healthz\"\neject = true\nbreaker = { slow-after = \"2s\" }\nmax-in-flight = 100\nkeepalive = { idle = 128 }\n\n[upstream.pictures]\nservers = [\"10.0.0.1:3000\", \"10.0.0.2:3000\"]\nbalance = \"hash\"\nhash = \"path\"\n"
        }
        "route" => {
            "[[route]]\nname = \"api\"\nhost = \"shop.example.com\"\npath = \"/api/*\"\nmethods = [\"GET\", \"POST\"]\nto = \"app\"\nstrip-prefix = \"/api\"\ntimeout = \"5s\"\nretry = 2\nhedge = true\nfallback = { on = \"5xx\", respond = \"Back soon\" }\nheaders = { response = { set = { \"cache-control\" = \"no-store\" } } }\n\n[[route]]\nname = \"pictures\"\npath = \"/pictures/*\"\nto = \"pictures\"\ncache = { ttl = \"1h\", stale-while-revalidate = \"1m\", stale-if-error = \"1d\" }\n\n[[route]]\nname = \"to-https\"\nhost = \"*.example.org\"\nredirect = \"https://{host}{path}{query}\"\n"
        }
        _ => "",
    }
}

const HEAD: &str = "\
<!-- Made by `seawall-config` from its sources. Run its tests with SEAWALL_BLESS=1 to write it again. -->

# Configuration

Seawall reads one [TOML](https://toml.io) file. `seawall check FILE` names everything that is wrong \
with it at once. The [JSON Schema](seawall.schema.json) gives completion in editors. The smallest \
file that does something:

```toml
[listen.web]
address = \"0.0.0.0:8080\"

[upstream.app]
servers = [\"127.0.0.1:3000\"]

[[route]]
to = \"app\"
```

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_make_one_good_file() {
        let file: String =
            ["server", "state", "cache", "listen", "upstream", "route"].map(example).concat();
        let loaded = crate::load(&file, "examples", &|_| None);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }

    #[test]
    fn every_default_is_what_its_key_accepts() {
        fn check(section: &SectionShape, seen: &mut usize) {
            for field in &section.fields {
                if let Presence::Default(value) = &field.presence {
                    *seen += 1;
                    let good = match &field.shape {
                        Shape::Duration(min, max) => {
                            crate::units::duration(value.trim_matches('"'))
                                .is_ok_and(|value| (min..=max).contains(&&value))
                        }
                        Shape::Size(min, max) => crate::units::size(value.trim_matches('"'))
                            .is_ok_and(|value| (min..=max).contains(&&value)),
                        Shape::Integer(min, max) => value
                            .replace('_', "")
                            .parse()
                            .is_ok_and(|value| (min..=max).contains(&&value)),
                        Shape::Percent(min, max) => crate::units::percent(value.trim_matches('"'))
                            .is_ok_and(|value| (min..=max).contains(&&value)),
                        Shape::Rate(min, max) => crate::units::rate(value.trim_matches('"'))
                            .is_ok_and(|value| (min..=max).contains(&&value)),
                        Shape::Boolean => matches!(value.as_str(), "true" | "false"),
                        Shape::Choice(all) => value.parse().is_ok_and(|value| all.contains(&value)),
                        Shape::Word(all) => all.contains(&value.trim_matches('"')),
                        _ => matches!(value.as_str(), "\"off\"" | "\"p95\"" | "\"seawall\""),
                    };
                    assert!(good, "{} = {value}", field.key);
                }
                match &field.shape {
                    Shape::Section(inner) | Shape::Short(_, inner) | Shape::Switch(inner, _) => {
                        check(inner, seen);
                    }
                    _ => {}
                }
            }
        }
        let mut seen = 0;
        check(&Config::shape(), &mut seen);
        assert!(seen >= 50, "only {seen} defaults");
    }

    #[test]
    fn links_lead_to_headings() {
        let page = reference();
        let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
        let anchors: Vec<String> =
            headings.map(|title| anchor(title.trim_start_matches('#').trim())).collect();
        let links = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        let links: std::collections::BTreeSet<&str> = links.collect();
        assert!(links.len() >= 8, "{links:?}");
        for link in links {
            assert!(anchors.iter().any(|anchor| anchor == link), "nothing is at #{link}");
        }
    }
}
