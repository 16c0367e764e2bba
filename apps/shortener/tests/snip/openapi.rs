//! The description of the API: as it is kept in the documentation, as it is served, and whether the
//! binary does what it says.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

use crate::client::json;
use crate::instance::Snip;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_reference_is_that_of_the_code() {
    let file = root().join("docs/reference/snip-openapi.json");
    let text = snip::api::document().to_pretty_json().expect("JSON") + "\n";
    if env::var_os("SEAWALL_BLESS").is_some() {
        fs::write(&file, &text).expect("the reference can be written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "{} is old; SEAWALL_BLESS=1 writes it", file.display());
}

#[test]
fn the_description_is_served_to_everybody() {
    let snip = Snip::start();
    let answer = snip.client_with("").get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let served = json(&answer);
    let kept: Value = serde_json::to_value(snip::api::document()).expect("JSON");
    assert_eq!(served, kept);
    assert_eq!(served["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

#[test]
fn the_binary_does_what_its_description_says() {
    let tool = root().join("target/tools/schemathesis/bin/schemathesis");
    assert!(tool.exists(), "schemathesis is missing; `cargo xtask test` installs it");
    let snip = Snip::start();
    // It revokes keys by small numbers, and should not meet the one that it asks with.
    let mut client = snip.client();
    let scopes = ["links:read", "links:write", "stats:read", "keys:admin"];
    let keys = (0..40).map(|number| {
        let made = client.post("/keys", &json!({ "name": format!("{number}"), "scopes": scopes }));
        json(&made)["key"].as_str().expect("a key").to_owned()
    });
    let key = keys.last().expect("40 keys");
    let base = format!("http://{}/api/v1", snip.address);
    let output = Command::new(tool)
        .arg("--config-file")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml"))
        .args(["run", &format!("{base}/openapi.json"), "--url", &base])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .current_dir(snip.home())
        .env("NO_COLOR", "1")
        .output()
        .expect("schemathesis runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(snip.client_with(&key).get("/me").status, 200, "it was heard to the end");
    let words: Vec<_> = text.split_whitespace().collect();
    let generated = words.iter().position(|word| *word == "generated,");
    let count = generated.and_then(|at| words[at - 1].parse::<u32>().ok());
    assert!(count.is_some_and(|count| count > 100), "it asked hardly anything:\n{text}");
}
