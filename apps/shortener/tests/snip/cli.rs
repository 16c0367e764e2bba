//! The commands, against a running `snip` or its database.

mod answers;
mod links;
mod stats;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use seawall_testkit::RawClient;
use serde_json::{Value, json};

use crate::client::json;
use crate::instance::{BINARY, Instance, Snip};

#[test]
fn create_prints_a_link_that_works() {
    let snip = Snip::start();
    let out = snip.run(&[
        "create",
        "https://example.com",
        "--alias",
        "spring",
        "--title",
        "A page",
        "--tag",
        "x",
        "--tag",
        "y",
        "--expires",
        "2099-01-31",
        "--clicks",
        "5",
        "--utm",
        "source=mail",
    ]);
    assert_eq!(out.ok(), "https://sn.ip/spring\n");
    let link = json(&snip.client().get("/links/spring"));
    assert_eq!(link["target"], "https://example.com/?utm_source=mail");
    assert_eq!(link["tags"], json!(["x", "y"]));
    assert_eq!(link["expires"], "2099-02-01T00:00:00.000Z");
    assert_eq!(link["clicks_left"], 5);
    let mut visitor = RawClient::connect(snip.address).expect("snip accepts");
    let answer = visitor.get("sn.ip", "/spring").expect("snip answers");
    assert_eq!(answer.header("location"), Some("https://example.com/?utm_source=mail"));

    let out = snip.run(&["create", "http://10.0.0.1/", "--json"]);
    assert!(out.err.contains("private address"), "{out:?}");
    let made: Value = serde_json::from_str(&out.ok()).expect("JSON");
    assert_eq!(made["target"], "http://10.0.0.1/");
}

#[test]
fn create_says_why_not() {
    let snip = Snip::start();
    snip.run(&["create", "https://a.b", "--alias", "taken"]).ok();
    for (arguments, words) in [
        (&["create", "javascript:alert(1)", "--alias", "a b"][..], "target: the scheme"),
        (&["create", "javascript:alert(1)", "--alias", "a b"], "alias: an alias has"),
        (&["create", "https://a.b", "--alias", "taken"], "there is a link `taken` already"),
        (&["create", "https://a.b", "--expires", "soon"], "a time is like"),
        (&["create", "https://a.b", "--url", "nowhere"], "not the address of a server"),
    ] {
        let run = snip.run(arguments);
        assert!(!run.succeeded && run.err.contains(words), "{arguments:?}: {run:?}");
    }
    let run = snip.run_with("snip_wrong", &["create", "https://a.b"]);
    assert!(!run.succeeded && run.err.contains("unknown or revoked"), "{run:?}");
    let run = Command::new(BINARY)
        .args(["create", "https://a.b"])
        .env_remove("SNIP_KEY")
        .output()
        .expect("snip runs");
    assert!(String::from_utf8_lossy(&run.stderr).contains("an API key is needed"), "{run:?}");
}

#[test]
fn what_was_exported_is_imported_elsewhere() {
    let one = Snip::start();
    let mut client = one.client();
    client.create(&json!({
        "target": "https://a.example/?a=1,2", "alias": "first", "title": "one, \"two\"\\",
        "tags": ["x", "y z"], "status": 301, "expires": "2099-01-01T00:00:00.500Z",
        "clicks_left": 3, "forward_query": true,
    }));
    client.create(&json!({ "target": "https://b.example/", "alias": "off" }));
    client.send("PATCH", "/links/off", &[], &json!({ "disabled": true }));
    client.create(&json!({ "target": "https://c.example/", "alias": "locked", "password": "x" }));
    let links: Vec<_> =
        (0..1000).map(|n| json!({ "target": format!("https://d.example/{n}") })).collect();
    assert_eq!(json(&client.post("/links/bulk", &json!({ "links": links })))["created"], 1000);
    let csv = one.run(&["export"]).ok();
    assert_eq!(csv.lines().count(), 1 + 1003);
    let listed: Value =
        serde_json::from_str(&one.run(&["export", "--format", "json"]).ok()).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1003));
    let tagged = one.run(&["export", "--tag", "y z"]).ok();
    assert_eq!(tagged.lines().count(), 2, "{tagged}");

    let two = Snip::start();
    two.file("links.csv", &csv);
    let run = two.run(&["import", "links.csv"]);
    assert!(!run.succeeded, "the one with a password cannot come along");
    assert!(run.err.contains("it has a password"), "{run:?}");
    assert_eq!(run.out, "imported 1002, there already 0, failed 1\n");
    let exported = two.run(&["export"]).ok();
    let about = |csv: &str| {
        let mut lines: Vec<_> = csv
            .lines()
            .filter(|line| !line.starts_with("locked,"))
            .map(|line| line.rsplitn(4, ',').last().expect("columns").to_owned())
            .collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(about(&exported), about(&csv));

    // Again within the day: nothing is done twice. As if it were later: names are known again.
    let run = two.run(&["import", "links.csv"]);
    assert_eq!(run.out, "imported 0, there already 1002, failed 1\n");
    let run = two.run(&["import", "links.csv", "--again"]);
    assert_eq!(run.out, "imported 0, there already 1002, failed 1\n");
}

#[test]
fn lines_that_fail_are_named_and_the_others_come() {
    let snip = Snip::start();
    snip.run(&["create", "https://other.example", "--alias", "taken"]).ok();
    snip.file(
        "links.csv",
        "url,slug,title\n\
         https://a.example/,one,\"two\nlines\"\n\
         javascript:alert(1),bad name,\n\
         https://b.example/,taken,\n\
         ,empty,\n\
         https://c.example/,four,\n",
    );
    let run = snip.run(&["import", "links.csv"]);
    assert!(!run.succeeded);
    assert_eq!(run.out, "imported 2, there already 0, failed 3\n");
    let lines: Vec<_> = run.err.lines().collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    assert!(run.err.contains("links.csv:6: there is no target"), "{run:?}");
    assert!(run.err.contains("links.csv:5: taken: there is a link `taken` already"), "{run:?}");
    let bad = lines.iter().find(|line| line.starts_with("links.csv:4: ")).expect("line 4");
    assert!(bad.contains("target: the scheme") && bad.contains("alias: an alias"), "{bad}");
    let title = json(&snip.client().get("/links/one"));
    assert_eq!(title["title"], "two lines");

    let run = snip.run(&["import", "links.csv", "--from-line", "7", "--again"]);
    assert_eq!(run.ok(), "imported 0, there already 1, failed 0\n");
    let run = snip.run(&["import", "missing.csv"]);
    assert!(!run.succeeded && run.err.contains("cannot open missing.csv"), "{run:?}");
}

#[test]
fn a_configuration_is_checked_without_being_used() {
    let snip = Snip::start();
    assert_eq!(snip.run(&["check"]).ok(), "nothing is wrong\n");
    snip.file("bad.toml", "listen = \"127.0.0.1:1\"\n\n[cache]\nmemory_ttl = \"1s\"\n");
    let run = snip.run(&["check", "--config", "bad.toml"]);
    assert!(!run.succeeded && run.err.starts_with("snip: bad.toml:4: unknown field"), "{run:?}");
    snip.file("list.toml", "[links]\nblock-list = \"nowhere\"\n");
    let run = snip.run(&["check", "--config", "list.toml"]);
    let words =
        "snip: cannot read the block list nowhere: No such file or directory (os error 2)\n";
    assert!(!run.succeeded && run.err == words, "{run:?}");
}

#[test]
fn other_shorteners_files_are_imported() {
    let snip = Snip::start();
    snip.file(
        "yourls.sql",
        "-- MySQL dump 10.13\nINSERT INTO `yourls_url` VALUES \
         ('oz','https://a.example/?x=1&y=2','It\\'s','2012-01-01 00:00:00','1.2.3.4',5),\
         ('p','ftp://a.example/',NULL,'2012-01-01 00:00:00','1.2.3.4',0);\n",
    );
    let run = snip.run(&["import", "--from", "yourls", "yourls.sql"]);
    assert_eq!(run.out, "imported 1, there already 0, failed 1\n");
    assert!(run.err.contains("yourls.sql:2: p: target: the scheme `ftp`"), "{run:?}");
    let link = json(&snip.client().get("/links/oz"));
    assert_eq!(
        (&link["target"], &link["title"]),
        (&json!("https://a.example/?x=1&y=2"), &json!("It's"))
    );

    snip.file(
        "bitly.csv",
        "link,custom_link,long_url,title,tags,created\n\
         https://bit.ly/3AbC,https://acme.co/spring,https://b.example/,Spring,\"x, y\",2024\n",
    );
    snip.run(&["import", "--from", "bitly", "bitly.csv"]).ok();
    let link = json(&snip.client().get("/links/spring"));
    assert_eq!(link["tags"], json!(["x", "y"]));
}

#[test]
fn an_import_that_lost_its_server_goes_on() {
    let snip = Snip::start();
    let rows: String = (0..3000).map(|n| format!("https://a.example/{n}\n")).collect();
    let file = snip.file("links.csv", format!("target\n{rows}"));
    // Nobody is there at first: it asks until somebody is.
    let port = seawall_testkit::ReservedPort::new().expect("a free port");
    let address = port.address();
    let mut import = Command::new(BINARY)
        .arg("import")
        .arg(&file)
        .env("SNIP_URL", format!("http://{address}"))
        .env("SNIP_KEY", snip.key())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snip runs");
    let config = format!(
        "listen = \"{address}\"\nurl = \"https://sn.ip\"\ndatabase = \"sqlite:{}\"\n",
        snip.home().join("snip.db").display()
    );
    fs::write(snip.home().join("other.toml"), config).expect("it can be written");
    assert!(import.try_wait().expect("it can be asked").is_none(), "it waits");
    drop(port);
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--config"]).arg(snip.home().join("other.toml"));
    let other = seawall_testkit::Process::spawn(serve).expect("snip starts");
    other.wait_for_text("listening on").expect("it listens");
    let output = import.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "imported 3000, there already 0, failed 0\n", "{output:?}");
    let csv = snip.run(&["export"]).ok();
    assert_eq!(csv.lines().count(), 1 + 3000);
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    const ROWS: usize = 20_000;
    let snip = Snip::start();
    // Without names of their own, so that only the server can know that they came before.
    let rows: String = (0..ROWS).map(|n| format!("https://a.example/{n}\n")).collect();
    let file = snip.file("links.csv", format!("target\n{rows}"));
    let mut import = Command::new(BINARY);
    import.arg("import").arg(&file).env("SNIP_KEY", snip.key());
    import.env("SNIP_URL", format!("http://{}", snip.address));
    let mut import = seawall_testkit::Process::spawn(import).expect("snip runs");
    let made = |snip: &Instance| json(&snip.client().get("/links?limit=1"))["links"][0].is_object();
    snip.until(made, |is_made| *is_made);
    import.kill().expect("it is killed");
    let run = snip.run(&["import", "links.csv"]).ok();
    let count = |word: &str| -> usize {
        let number =
            run.split_once(word).and_then(|(_, rest)| rest.trim().split([',', '\n']).next());
        number.and_then(|number| number.parse().ok()).expect("a number")
    };
    assert_eq!((count("imported") + count("there already"), count("failed")), (ROWS, 0), "{run}");
    assert!(count("there already") > 0, "it was killed in the middle: {run}");
    let csv = snip.run(&["export"]).ok();
    let targets: BTreeSet<&str> =
        csv.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!((csv.lines().count(), targets.len()), (1 + ROWS, ROWS), "each once");
}

#[test]
fn keys_are_made_and_revoked_beside_a_running_server() {
    let snip = Snip::start();
    let key = snip.run(&["key", "create", "--name", "lost", "--scope", "links:read"]).ok();
    let key = key.trim();
    let mut client = snip.client_with(key);
    let me = json(&client.get("/me"));
    assert_eq!((&me["name"], &me["scopes"]), (&json!("lost"), &json!(["links:read"])));
    let list = snip.run(&["key", "list"]).ok();
    assert!(list.contains("lost (links:read)") && list.contains("first ("), "{list}");
    assert!(!list.contains("snip_"), "{list}");
    let id = me["key"].to_string();
    snip.run(&["key", "revoke", &id]).ok();
    // It is believed for a second more at most.
    while client.get("/me").status != 401 {}
    let again = snip.run(&["key", "revoke", &id]);
    assert!(!again.succeeded && again.err.contains("was revoked before"), "{again:?}");
    let none = snip.run(&["key", "revoke", "999"]);
    assert!(!none.succeeded && none.err.contains("there is no key 999"), "{none:?}");
    let elsewhere = snip.run(&["key", "list", "--database", "sqlite:none.db"]);
    assert!(!elsewhere.succeeded && elsewhere.err.contains("there is no database none.db"));
    assert!(!snip.home().join("none.db").exists());
}
