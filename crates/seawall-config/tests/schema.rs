//! The JSON Schema takes what the loader takes, and refuses what an editor can know to be wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex_lite::Regex;
use seawall_config::{Surroundings, json_schema, load_bytes_with};
use serde_json::{Value, json};

#[test]
fn the_examples_keep_to_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("they can be listed").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("they can be read");
        assert_eq!(faults(&text), Vec::<String>::new(), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn every_key_is_accepted() {
    let text = include_str!("every_key.toml");
    assert_eq!(faults(text), Vec::<String>::new());
    let around = Surroundings {
        read: Some(&|_, _| Ok(b"<p>Sorry".to_vec())),
        ..Surroundings::variables(&|_| None)
    };
    let loaded = load_bytes_with(text.as_bytes(), "every_key.toml", &around);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);

    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let table: toml::Table = text.parse().expect("the text is TOML");
    let mut keys = BTreeMap::new();
    visit(&schema, &[&to_json(&toml::Value::Table(table))], "", &mut keys);
    let missing: Vec<&String> = keys.iter().filter(|(_, there)| !**there).map(|(k, _)| k).collect();
    assert!(missing.is_empty(), "write these into every_key.toml: {missing:?}");
    assert!(keys.len() >= 120, "only {} keys", keys.len());
}

/// Notes of every key of a schema whether one of the values has it.
fn visit(schema: &Value, values: &[&Value], path: &str, keys: &mut BTreeMap<String, bool>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let found: Vec<&Value> = values.iter().filter_map(|value| value.get(key)).collect();
        let path = format!("{path}/{key}");
        *keys.entry(path.clone()).or_default() |= !found.is_empty();
        visit(inner, &found, &path, keys);
    }
    for either in schema["anyOf"].as_array().into_iter().flatten() {
        visit(either, values, path, keys);
    }
    if schema["items"].is_object() {
        let items = values.iter().filter_map(|value| value.as_array());
        visit(&schema["items"], &items.flatten().collect::<Vec<_>>(), path, keys);
    }
    if schema["additionalProperties"].is_object() {
        let members = values.iter().filter_map(|value| value.as_object());
        let members: Vec<&Value> = members.flat_map(|all| all.values()).collect();
        visit(&schema["additionalProperties"], &members, path, keys);
    }
}

#[test]
fn variables_may_stand_for_any_value() {
    let text = r#"
        server = { workers = "${A}", drain = "${B}s", admin = "${C}" }
        listen.web = { proxy-protocol = "${K}", address = "${D}", limits = { head = "${E}", headers = "${F}" } }
        upstream.app = { servers = ["${G}"], balance = "${H:-round-robin}", panic = "${L}", eject = "${M}", max-in-flight = "${N}", health = "${O}" }
        route = [{ to = "${I}", methods = ["${J}"], retry = { floor = "${P}/s", on = ["${Q}"] }, hedge = "${R}", fallback = { on = "${S}", file = "${T}" }, cache = { ttl = "${U}", jitter = "${V}", key = { query = "${W}" }, ignore-origin = "${X}", version = "${Y}", coalesce = "${Z}", tier = "${A}" } }]
        cache = { memory = "${B}", variants = "${C}", without-state = "${D}" }
        state = { redis = "${E}" }
    "#;
    assert_eq!(faults(text), Vec::<String>::new());
}

#[test]
fn mistakes_are_seen() {
    for (text, fault) in [
        ("cashe = {}", "/cashe: unknown"),
        ("cache.memory = \"1\"", "/cache/memory: pattern"),
        ("cache.disk = { path = \"/tmp\" }", "/cache/disk: size is missing"),
        ("state.redis = 6379", "/state/redis: type string"),
        ("route = [{ cache = true }]", "/route/0/cache: none of 2"),
        ("route = [{ cache = { key = { query = 1 } } }]", "/route/0/cache: none of 2"),
        ("route = [{ cache = { ignore-origin = [\"age\"] } }]", "/route/0/cache: none of 2"),
        ("server.worker = 1", "/server/worker: unknown"),
        ("server.workers = 0", "/server/workers: none of 2"),
        ("server.workers = 1025", "/server/workers: none of 2"),
        ("server.workers = \"2\"", "/server/workers: none of 2"),
        ("server.drain = \"10\"", "/server/drain: pattern"),
        ("server.drain = \"10 s\"", "/server/drain: pattern"),
        ("server.drain = 10", "/server/drain: type string"),
        ("server.trust = \"10.0.0.0/8\"", "/server/trust: type array"),
        ("listen.web = {}", "/listen/web: address is missing"),
        ("listen.Web.address = \":1\"", "/listen/Web: pattern"),
        (
            "listen.web = { address = \":1\", limits.head = \"1Kib\" }",
            "/listen/web/limits/head: pattern",
        ),
        ("upstream.app = { servers = \"a:1\" }", "/upstream/app/servers: type array"),
        ("upstream.app = { eject = 1 }", "/upstream/app/eject: none of 2"),
        ("upstream.app = { panic = \"50\" }", "/upstream/app/panic: pattern"),
        ("upstream.app = { health = { tcp = 1 } }", "/upstream/app/health: none of 2"),
        (
            "listen.web = { address = \":1\", proxy-protocol = 1 }",
            "/listen/web/proxy-protocol: none of 2",
        ),
        ("route = [{ retry = \"2\" }]", "/route/0/retry: none of 2"),
        ("route = [{ retry = { floor = \"1\" } }]", "/route/0/retry: none of 2"),
        ("route = [{ methods = [] }]", "/route/0/methods: fewer than 1"),
        ("upstream.app = { servers = [5] }", "/upstream/app/servers/0: none of 2"),
        ("upstream.app = { servers = [{ weight = 2 }] }", "/upstream/app/servers/0: none of 2"),
        (
            "upstream.app = { servers = [\"a:1\"], balance = \"x\" }",
            "/upstream/app/balance: none of 2",
        ),
        ("route = { to = \"app\" }", "/route: type array"),
        ("route = [{ redirect = { to = \"/\", status = 300 } }]", "/route/0/redirect: none of 2"),
        (
            "route = [{ headers.request.set = { a = 1 } }]",
            "/route/0/headers/request/set/a: type string",
        ),
    ] {
        assert_eq!(faults(text), [fault], "{text}");
    }
}

#[test]
fn patterns_of_units_are_those_of_the_loader() {
    let load = |unit: &str, kind: &str| {
        let listener = "[listen.web]\naddress = \":0\"\n";
        let rest = "[upstream.app]\nservers = [\"a:1\"]\n[[route]]\nto = \"app\"\n";
        let text = match kind {
            "time" => format!("{listener}timeouts.head = \"{unit}\"\n{rest}"),
            "size" => format!("{listener}limits.body = \"{unit}\"\n{rest}"),
            "share" => format!(
                "{listener}[upstream.app]\nservers = [\"a:1\"]\npanic = \"{unit}\"\n[[route]]\nto = \"app\"\n"
            ),
            _ => format!("{listener}{rest}retry.floor = \"{unit}\"\n"),
        };
        seawall_config::load(&text, "f", &|_| None).is_ok()
    };
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let named = "additionalProperties/properties";
    for (kind, pointer, values) in [
        (
            "time",
            format!("/properties/listen/{named}/timeouts/properties/head"),
            &[
                "1ms", "10s", "1m30s", "2h", "29d", "", "10", "s", "10 s", "1.5s", "10S", "10sec",
                "+1s",
            ][..],
        ),
        (
            "size",
            format!("/properties/listen/{named}/limits/properties/body"),
            &[
                "0B", "1kB", "1KB", "1MB", "1KiB", "1TiB", "1", "1K", "1kb", "1kiB", "1 MB", "1mB",
                "1GiB1B",
            ][..],
        ),
        (
            "share",
            format!("/properties/upstream/{named}/panic"),
            &[
                "0%", "50%", "12.5%", "007%", "", "50", "%", "5 %", "1.%", ".5%", "1.25%", "+1%",
                "1,5%",
            ][..],
        ),
        (
            "rate",
            "/properties/route/items/properties/retry/anyOf/1/properties/floor".to_owned(),
            &["0/s", "10/s", "30/m", "", "10", "/s", "10/h", "1.5/s", "10 /s", "10/sec", "+1/s"][..],
        ),
    ] {
        let pattern = schema.pointer(&pointer).and_then(|field| field["pattern"].as_str());
        let pattern = Regex::new(pattern.expect("units have a pattern")).expect("it is a pattern");
        for value in values {
            assert_eq!(pattern.is_match(value), load(value, kind), "{pointer} = {value:?}");
        }
    }
}

/// What the schema finds wrong with a TOML text.
fn faults(text: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let table: toml::Table = text.parse().expect("the text is TOML");
    let mut faults = Vec::new();
    check(&schema, &to_json(&toml::Value::Table(table)), "", &mut faults);
    faults
}

/// As much of JSON Schema as ours uses. A keyword that is not known here fails the test.
fn check(schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    let empty = serde_json::Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let known = schema["properties"].as_object().unwrap_or(&empty);
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let mut fault = |what: String| faults.push(format!("{path}: {what}"));
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" => {}
            "type" => {
                let found = match value {
                    Value::Object(_) => "object",
                    Value::Array(_) => "array",
                    Value::String(_) => "string",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
                    _ => "another",
                };
                if rule != found {
                    fault(format!("type {}", rule.as_str().expect("a type is a word")));
                }
            }
            "enum" => {
                if !rule.as_array().expect("an enum is a list").contains(value) {
                    fault("enum".to_owned());
                }
            }
            "pattern" => {
                let pattern =
                    Regex::new(rule.as_str().expect("a pattern is text")).expect("it is a pattern");
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    fault("pattern".to_owned());
                }
            }
            "minimum" => {
                if value.as_i64() < rule.as_i64() {
                    fault("minimum".to_owned());
                }
            }
            "maximum" => {
                if value.as_i64() > rule.as_i64() {
                    fault("maximum".to_owned());
                }
            }
            "minItems" => {
                let count = value.as_array().map_or(0, Vec::len) as u64;
                if count < rule.as_u64().expect("a count is a number") {
                    fault(format!("fewer than {rule}"));
                }
            }
            "maxItems" | "maxProperties" => {
                let count = value.as_array().map_or(object.len(), Vec::len) as u64;
                assert!(count <= rule.as_u64().expect("a count is a number"));
            }
            "required" => {
                for key in rule.as_array().expect("required is a list") {
                    let key = key.as_str().expect("keys are text");
                    if !object.contains_key(key) {
                        fault(format!("{key} is missing"));
                    }
                }
            }
            "anyOf" => {
                let schemas = rule.as_array().expect("anyOf is a list");
                let good = |schema: &&Value| {
                    let mut inner = Vec::new();
                    check(schema, value, path, &mut inner);
                    inner.is_empty()
                };
                if !schemas.iter().any(|schema| good(&schema)) {
                    fault(format!("none of {}", schemas.len()));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, item, &format!("{path}/{index}"), faults);
                }
            }
            "properties" => {
                for (key, item) in object {
                    if let Some(schema) = rule.get(key) {
                        check(schema, item, &format!("{path}/{key}"), faults);
                    }
                }
            }
            "propertyNames" => {
                for key in object.keys() {
                    check(rule, &json!(key), &format!("{path}/{key}"), faults);
                }
            }
            "additionalProperties" => {
                for (key, item) in object.iter().filter(|(key, _)| !known.contains_key(*key)) {
                    let path = format!("{path}/{key}");
                    match rule {
                        Value::Bool(false) => faults.push(format!("{path}: unknown")),
                        schema => check(schema, item, &path, faults),
                    }
                }
            }
            other => panic!("the keyword {other} is not known to this test"),
        }
    }
}

fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}
