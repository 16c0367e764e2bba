//! `snip show`, `list`, `change` and `delete`, and passwords of `create`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::client::json as read;
use crate::instance::{Snip, to};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[test]
fn a_link_is_shown_whatever_it_is_named_by() {
    let snip = Snip::start();
    snip.client().create(&json!({
        "target": "http://10.0.0.1/", "alias": "spring", "title": "A\u{202e}page",
        "tags": ["x", "y z"], "status": 301, "expires": "2099-01-31T12:00:00Z", "clicks_left": 5,
        "password": "x",
    }));
    let text = snip.run(&["show", "spring"]).ok();
    for line in [
        "short link   https://sn.ip/spring",
        "code         spring",
        "target       http://10.0.0.1/",
        "status       301",
        "query        left out",
        "title        A\\u{202e}page",
        "tags         x, y z",
        "expires      2099-01-31T12:00:00.000Z",
        "clicks left  5",
        "password     yes",
        "disabled     no",
        "version      1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no `{line}` in\n{text}");
    }
    assert!(text.contains("note         ") && text.contains("private address"), "{text}");
    let here = format!("http://{}/spring", snip.address);
    for name in ["https://sn.ip/spring", "sn.ip/spring", "http://sn.ip/spring/?a=b#c", &here] {
        assert_eq!(snip.run(&["show", name]).ok(), text, "{name}");
    }
    let shown = snip.run(&["show", "spring", "--json"]).ok();
    assert!(!shown.contains('\u{202e}'), "{shown}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown, read(&snip.client().get("/links/spring")));
}

#[test]
fn what_cannot_be_shown_is_said_with_where_and_how_to_mend_it() {
    let snip = Snip::start();
    snip.create(json!({ "target": "https://a.example/", "alias": "spring" }));
    let unknown = format!("http://{} answers 404: there is no link `Spring`; case", snip.address);
    for (arguments, words) in [
        (&["show", "Spring"][..], unknown.as_str()),
        (&["show", "https://bit.ly/spring"], "they are like https://sn.ip/CODE"),
        (&["show", "https://sn.ip/"], "no link of this shortener"),
        (&["show", "a b"], "or give the whole short link"),
        (&["show"], "<CODE>"),
        (&["stats", "Spring"], "there is no link `Spring`; case counts"),
        (&["stats", "spring", "--range", "day", "--to", "2026-11-23"], "cannot be used with"),
        (&["stats", "--by", "minute", "--from", "2020-01-01"], "from: at most 1500"),
        (&["stats", "--from", "soon"], "a time is like"),
        (&["list", "--limit", "0"], "--limit"),
        (&["list", "--limit", "1", "--all"], "cannot be used with"),
        (&["change", "spring"], "--target <URL>"),
        (&["change", "spring", "--title", "x", "--no-title"], "cannot be used with"),
        (&["change", "spring", "--utm", "source=x"], "--target <URL>"),
        (&["change", "spring", "--status", "200", "--clicks", "-1"], "unexpected argument '-1'"),
        (&["change", "spring", "--status", "300", "--tag", "a,b"], "status: "),
        (&["change", "Spring", "--disable"], "there is no link `Spring`"),
        (&["change", "Spring", "--add-tag", "x"], "there is no link `Spring`"),
        (&["change", "spring", "--password-stdin"], "there is no password"),
        (&["delete"], "<CODE>"),
    ] {
        let run = snip.run(arguments);
        assert!(!run.succeeded && run.err.contains(words), "{arguments:?}: {run:?}");
        assert_eq!(run.out, "", "{arguments:?}");
    }
    let run = snip.run_with("snip_wrong", &["show", "spring"]);
    let words = "unknown or revoked; SNIP_KEY or --key says which key is used";
    assert!(!run.succeeded && run.err.contains(words), "{run:?}");

    let reader = snip.run(&["key", "create", "--name", "r", "--scope", "links:read"]).ok();
    let reader = reader.trim();
    assert!(snip.run_with(reader, &["show", "spring"]).succeeded);
    for (arguments, scope) in [
        (&["delete", "spring"][..], "links:write"),
        (&["change", "spring", "--add-tag", "x"], "links:write"),
        (&["list", "--clicks"], "stats:read"),
        (&["stats", "spring"], "stats:read"),
    ] {
        let run = snip.run_with(reader, arguments);
        let words = format!("needs a key with the scope `{scope}`; `snip key create`");
        assert!(!run.succeeded && run.err.contains(&words), "{arguments:?}: {run:?}");
    }
    assert_eq!(snip.follow("spring"), to("https://a.example/"), "nothing was changed");
}

/// The first column of each line.
fn codes(out: &str) -> Vec<&str> {
    out.lines().filter_map(|line| line.split('\t').next()).collect()
}

#[test]
fn lists_are_columns_for_other_programs() {
    let snip = Snip::start();
    assert_eq!(snip.run(&["list"]).ok(), "");
    let long = format!("https://a.example/{}", "x".repeat(300));
    // Should the clock not move on, their order is that of their names, which is the same.
    for link in [
        json!({ "target": long, "alias": "one", "tags": ["x", "y z"], "title": "The f\u{f6}rst" }),
        json!({ "target": "https://b.example/", "alias": "three", "tags": ["x"], "password": "p" }),
        json!({ "target": "https://c.example/", "alias": "two", "clicks_left": 0 }),
    ] {
        snip.create(link);
    }
    let out = snip.run(&["list", "--sort", "oldest"]).ok();
    let made = read(&snip.client().get("/links/one"))["created"].as_str().map(str::to_owned);
    let made = made.expect("a time");
    assert_eq!(codes(&out), ["one", "three", "two"]);
    let first = format!("one\t{made}\tactive\t\t{long}\tx,y z\tThe f\u{f6}rst\n");
    assert!(out.starts_with(&first), "{out}");
    let states: Vec<_> = out.lines().filter_map(|line| line.split('\t').nth(2)).collect();
    assert_eq!(states, ["active", "active,password", "used-up"]);

    let list = |arguments: &[&str]| snip.run(&[&["list"], arguments].concat()).ok();
    assert_eq!(codes(&list(&[])), ["two", "three", "one"]);
    assert_eq!(codes(&list(&["--tag", "x"])), ["three", "one"]);
    assert_eq!(codes(&list(&["--search", "F\u{f6}RST"])), ["one"]);
    assert_eq!(codes(&list(&["--search", "c.ex", "--tag", "x"])), [""; 0]);
    assert_eq!(codes(&list(&["--limit", "2"])), ["two", "three"]);
    assert!(list(&["--clicks"]).lines().all(|line| line.split('\t').nth(3) == Some("0")));
    let lines = list(&["--json", "--limit", "2"]);
    let links: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(Value::from(links), read(&snip.client().get("/links?limit=2"))["links"]);
}

#[test]
fn lists_go_on_until_there_are_enough() {
    let snip = Snip::start();
    let links: Vec<_> =
        (0..1005).map(|n| json!({ "target": format!("https://d.example/{n}") })).collect();
    for links in links.chunks(1000) {
        snip.client().post("/links/bulk", &json!({ "links": links }));
    }
    let count = |arguments: &[&str], err: &str| {
        let run = snip.run(&[&["list"], arguments].concat());
        assert!(run.err.starts_with(err) && run.err.is_empty() == err.is_empty(), "{run:?}");
        let out = run.ok();
        let mut codes = codes(&out);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), out.lines().count(), "none comes twice");
        codes.len()
    };
    assert_eq!(count(&[], "snip: these are the first 50; --limit and --all show more"), 50);
    assert_eq!(count(&["--limit", "7"], ""), 7);
    assert_eq!(count(&["--limit", "1003"], ""), 1003);
    assert_eq!(count(&["--limit", "205", "--clicks"], ""), 205);
    assert_eq!(count(&["--all", "--sort", "oldest"], ""), 1005);
}

#[test]
fn what_is_named_is_changed_and_nothing_else() {
    let snip = Snip::start();
    let before = snip.client().create(&json!({
        "target": "https://a.example/", "alias": "spring", "title": "A page", "tags": ["x"],
        "status": 301, "expires": "2099-01-31T12:00:00Z", "clicks_left": 5,
    }));
    let mut expect = before.clone();
    let mut change = |arguments: &[&str], changes: Value| {
        let line = [&["change", "https://sn.ip/spring", "--json"], arguments].concat();
        let mut link: Value = serde_json::from_str(&snip.run(&line).ok()).expect("JSON");
        for (name, value) in changes.as_object().expect("an object") {
            expect[name] = value.clone();
        }
        expect["version"] = json!(expect["version"].as_i64().map(|version| version + 1));
        link["updated"] = expect["updated"].clone();
        assert_eq!(link, expect, "{arguments:?}");
    };
    change(&["--target", "https://b.example/"], json!({ "target": "https://b.example/" }));
    change(
        &["--target", "https://c.example", "--utm", "source=mail"],
        json!({ "target": "https://c.example/?utm_source=mail" }),
    );
    change(&["--no-title"], json!({ "title": null }));
    change(
        &["--title", "Other", "--tag", "b", "--tag", "a"],
        json!({ "title": "Other", "tags": ["a", "b"] }),
    );
    change(
        &["--add-tag", "c", "--add-tag", "a", "--remove-tag", "b", "--remove-tag", "z"],
        json!({ "tags": ["a", "c"] }),
    );
    change(&["--no-tags", "--status", "307"], json!({ "tags": [], "status": 307 }));
    change(&["--usual-status"], json!({ "status": 302 }));
    change(&["--forward-query", "true"], json!({ "forward_query": true }));
    change(&["--usual-query"], json!({ "forward_query": false }));
    change(
        &["--expires", "2099-12-31", "--clicks", "9"],
        json!({ "expires": "2100-01-01T00:00:00.000Z", "clicks_left": 9 }),
    );
    change(&["--no-expires", "--no-clicks"], json!({ "expires": null, "clicks_left": null }));
    change(&["--disable"], json!({ "disabled": true }));
    assert_eq!(snip.follow("spring").0, 404);
    change(&["--enable"], json!({ "disabled": false }));
    change(&["--if-version", "14", "--no-password"], json!({}));
    let run = snip.run(&["change", "spring", "--if-version", "14", "--disable"]);
    assert!(!run.succeeded && run.err.contains("has version 15 by now; read it again"), "{run:?}");
    let run = snip.run(&["change", "spring", "--if-version", "14", "--add-tag", "x"]);
    assert!(!run.succeeded && run.err.contains("has version 15 by now"), "{run:?}");

    let run = snip.run(&["change", "spring", "--target", "http://10.0.0.1/"]);
    assert!(run.err.starts_with("note: ") && run.err.contains("private address"), "{run:?}");
    assert_eq!(run.ok(), "https://sn.ip/spring\n");
}

#[test]
fn passwords_come_from_the_standard_input() {
    let snip = Snip::start();
    let create = ["create", "https://a.example/", "--alias", "locked", "--password-stdin"];
    let run = snip.run_fed("", &create);
    assert!(!run.succeeded && run.err.contains("there is no password"), "{run:?}");
    let run = snip.run_fed("one\ntwo\n", &create);
    assert!(!run.succeeded && run.err.contains("more than one line"), "{run:?}");
    assert_eq!(snip.run_fed("open sesame\n", &create).ok(), "https://sn.ip/locked\n");
    let opens = |password: &str| {
        snip.ask("POST", "/locked", FORM, &format!("password={password}")).status == 303
    };
    assert!(opens("open+sesame") && !opens("x"));
    snip.run_fed("s\u{f6}cret", &["change", "locked", "--password-stdin"]).ok();
    assert!(opens("s%C3%B6cret") && !opens("open+sesame"));
    snip.run(&["change", "locked", "--no-password"]).ok();
    assert_eq!(snip.follow("locked"), to("https://a.example/"));
}

#[test]
fn tags_that_are_added_at_the_same_time_are_all_there() {
    let snip = Snip::start();
    snip.create(json!({ "target": "https://a.example/", "alias": "spring", "tags": ["0"] }));
    let tags: Vec<String> = (1..7).map(|tag| tag.to_string()).collect();
    let children: Vec<_> = tags
        .iter()
        .map(|tag| {
            let line = ["change", "spring", "--add-tag", tag];
            let mut command = snip.command(snip.key(), &line);
            command.stdout(Stdio::null()).spawn().expect("snip runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let link = read(&snip.client().get("/links/spring"));
    assert_eq!(link["tags"], json!(["0", "1", "2", "3", "4", "5", "6"]));
}

#[test]
fn those_that_were_deleted_are_named_and_those_that_were_not() {
    let snip = Snip::start();
    for alias in ["one", "two", "three", "-f"] {
        snip.create(json!({ "target": "https://a.example/", "alias": alias }));
    }
    let run = snip.run(&["delete", "one", "https://other.example/two"]);
    assert!(!run.succeeded && run.err.contains("no link of this shortener"), "{run:?}");
    assert_eq!(snip.follow("one"), to("https://a.example/"), "it is all looked at before");
    let run = snip.run(&["delete", "one", "missing", "https://sn.ip/two", "one"]);
    assert!(!run.succeeded);
    assert_eq!(run.out, "deleted one\ndeleted two\n");
    assert_eq!(run.err, "snip: there is no link `missing`; case counts\n");
    assert_eq!((snip.follow("one").0, snip.follow("two").0), (404, 404));
    let run = snip.run(&["delete", "--", "three", "-f"]);
    assert_eq!(run.ok(), "deleted three\ndeleted -f\n");
}
