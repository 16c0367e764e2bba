//! The REST API: links, keys, preconditions, idempotency, pages, and everything that it refuses.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use seawall_testkit::RawClient;
use serde_json::{Value, json};

use crate::client::{Client, json, problem};
use crate::instance::{Database, Snip, on_both};

on_both!(
    the_api_holds_on_postgres:
    a_link_from_beginning_to_end,
    changes_are_seen_by_the_next_who_follows_the_link,
    keys_do_what_their_scopes_say_and_nothing_when_revoked,
    what_was_acknowledged_is_there_after_a_kill,
    one_of_many_who_want_an_alias_gets_it,
    the_same_create_sent_again_makes_one_link,
    changes_are_made_to_the_version_that_was_seen,
    who_deletes_a_version_deletes_no_other,
    bulk_makes_what_is_good_and_says_what_is_not,
    pages_follow_each_other_and_hostile_cursors_are_refused,
);

fn a_link_from_beginning_to_end(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    let answer = client.post(
        "/links",
        &json!({
            "target": "HTTPS://Example.com?x=1",
            "title": "A page",
            "tags": ["b", "a", "b"],
            "status": 307,
            "forward_query": true,
            "expires": "2099-01-31T12:00:00+01:00",
            "clicks_left": 5,
            "utm": { "source": "mail", "campaign": "spring sale" },
        }),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let link = json(&answer);
    let code = link["code"].as_str().expect("a code").to_owned();
    assert_eq!(code.len(), 7);
    assert_eq!(answer.header("location"), Some(format!("/api/v1/links/{code}").as_str()));
    let target = "https://example.com/?x=1&utm_source=mail&utm_campaign=spring+sale";
    for (field, expect) in [
        ("short_url", json!(format!("https://sn.ip/{code}"))),
        ("target", json!(target)),
        ("title", json!("A page")),
        ("tags", json!(["a", "b"])),
        ("status", json!(307)),
        ("forward_query", json!(true)),
        ("expires", json!("2099-01-31T11:00:00.000Z")),
        ("clicks_left", json!(5)),
        ("protected", json!(false)),
        ("disabled", json!(false)),
        ("version", json!(1)),
        ("warnings", json!([])),
    ] {
        assert_eq!(link[field], expect, "{field}");
    }

    let path = format!("/links/{code}");
    assert_eq!(json(&client.get(&path)), link);
    let known = client.ask("GET", &path, &[("if-none-match", "W/\"1\"")], None);
    assert_eq!((known.status, known.header("etag")), (304, Some("\"1\"")));

    let change = json!({
        "target": "https://example.org/new", "title": null, "expires": null, "clicks_left": null,
        "status": null, "forward_query": null, "tags": [], "password": "secret", "disabled": true,
    });
    let answer = client.send("PATCH", &path, &[("if-match", "\"1\"")], &change);
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"2\"")), "{}", answer.text());
    let changed = json(&answer);
    for (field, expect) in [
        ("target", json!("https://example.org/new")),
        ("title", json!(null)),
        ("expires", json!(null)),
        ("clicks_left", json!(null)),
        ("status", json!(302)),
        ("forward_query", json!(false)),
        ("tags", json!([])),
        ("protected", json!(true)),
        ("disabled", json!(true)),
        ("version", json!(2)),
        ("created", link["created"].clone()),
    ] {
        assert_eq!(changed[field], expect, "{field}");
    }
    assert!(!answer.text().contains("argon2"), "the hash of a password is nobody's business");

    let enable = json!({ "disabled": false, "password": null });
    let answer =
        client.send("PATCH", &path, &[("content-type", "application/merge-patch+json")], &enable);
    assert_eq!(answer.status, 415, "two types are none");
    let fields = [("content-type", "application/merge-patch+json")];
    let answer = client.ask("PATCH", &path, &fields, Some(&enable.to_string()));
    assert_eq!(json(&answer)["protected"], json!(false));

    let gone = client.ask("DELETE", &path, &[], None);
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    for method in ["GET", "DELETE"] {
        let answer = client.ask(method, &path, &[], None);
        assert_eq!(problem(&answer), (404, "no-link".into(), vec![]), "{method}");
    }
    let answer = client.send("PATCH", &path, &[], &json!({ "title": "x" }));
    assert_eq!(problem(&answer).0, 404);
}

fn changes_are_seen_by_the_next_who_follows_the_link(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    let follow = || {
        let mut visitor = RawClient::connect(snip.address).expect("snip accepts");
        let answer = visitor.get("sn.ip", "/spring").expect("snip answers");
        (answer.status, answer.header("location").map(str::to_owned))
    };
    assert_eq!(follow(), (404, None), "and that is remembered");
    client.create(&json!({ "target": "https://a.example/", "alias": "spring" }));
    assert_eq!(follow(), (302, Some("https://a.example/".to_owned())));
    client.send("PATCH", "/links/spring", &[], &json!({ "target": "https://b.example/" }));
    assert_eq!(follow(), (302, Some("https://b.example/".to_owned())));
    client.send("PATCH", "/links/spring", &[], &json!({ "disabled": true }));
    assert_eq!(follow().0, 404);
    client.send("PATCH", "/links/spring", &[], &json!({ "disabled": false, "status": 301 }));
    assert_eq!(follow().0, 301);
    assert_eq!(client.ask("DELETE", "/links/spring", &[], None).status, 204);
    assert_eq!(follow().0, 404);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let snip = Snip::start();
    let mut client = snip.client();
    let wrong = json!({
        "target": "javascript:alert(1)",
        "alias": "not an alias",
        "title": 7,
        "tags": ["fine", "", "a,b", 1],
        "status": 303,
        "forward_query": "yes",
        "expires": "tomorrow",
        "clicks_left": -1,
        "password": "",
        "utm": { "source": "x".repeat(257), "sauce": "y" },
        "a/b~c": 1,
    });
    let (status, word, errors) = problem(&client.post("/links", &wrong));
    assert_eq!((status, word.as_str()), (422, "invalid"));
    let errors: BTreeSet<_> =
        errors.iter().map(|(place, code)| (place.as_str(), code.as_str())).collect();
    let expect = BTreeSet::from([
        ("#/target", "scheme"),
        ("#/alias", "character"),
        ("#/title", "type"),
        ("#/forward_query", "type"),
        ("#/tags/1", "empty"),
        ("#/tags/2", "character"),
        ("#/tags/3", "type"),
        ("#/status", "range"),
        ("#/expires", "not-a-time"),
        ("#/clicks_left", "range"),
        ("#/password", "empty"),
        ("#/utm/source", "too-long"),
        ("#/utm/sauce", "unknown"),
        ("#/a~1b~0c", "unknown"),
    ]);
    assert_eq!(errors, expect);

    let one = |place: &str, code: &str| (422, "invalid".into(), vec![(place.into(), code.into())]);
    for (body, expect) in [
        (json!({}), one("#/target", "missing")),
        (json!({ "target": null }), one("#/target", "missing")),
        (json!([]), one("#", "type")),
        (json!({ "target": "https://a.b", "alias": "API" }), one("#/alias", "reserved")),
        (json!({ "target": "https://sn.ip/x" }), one("#/target", "loop")),
        (json!({ "target": "https://a.b", "tags": vec!["t"; 21] }), one("#/tags", "too-many")),
        (json!({ "target": "https://a.b", "title": "a\u{0}" }), one("#/title", "character")),
    ] {
        assert_eq!(problem(&client.post("/links", &body)), expect, "{body}");
    }
    client.create(&json!({ "target": "https://a.b", "alias": "here" }));
    for (body, expect) in [
        (json!({ "target": null }), one("#/target", "missing")),
        (json!({ "disabled": null }), one("#/disabled", "type")),
        (json!({ "alias": "other" }), one("#/alias", "unknown")),
        (json!({ "utm": { "source": "x" } }), one("#/utm", "alone")),
        (json!("x"), one("#", "type")),
    ] {
        let answer = client.send("PATCH", "/links/here", &[], &body);
        assert_eq!(problem(&answer), expect, "{body}");
    }
}

#[test]
fn hostile_targets_are_refused_and_odd_ones_flagged() {
    let snip = Snip::with("[links]\nlongest = 8192\nblock-list = \"blocked\"\n");
    let mut client = snip.client();
    let long = format!("https://example.com/{}", "a".repeat(8192));
    for (target, code) in [
        ("javascript:alert(1)", "scheme"),
        ("JAVASCRIPT:alert(1)", "scheme"),
        ("java\nscript:alert(1)", "character"),
        ("data:text/html;base64,PHNjcmlwdD4=", "scheme"),
        ("vbscript:msgbox(1)", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("https://example.com/\r\nSet-Cookie: a=b", "character"),
        ("https://example.com/\u{202e}gpj", "character"),
        ("https://user:pass@example.com/", "credentials"),
        ("https://SN.IP.:8443/abc", "loop"),
        ("https://deep.evil.example/", "blocked"),
        ("//example.com/", "not-a-url"),
        (long.as_str(), "too-long"),
    ] {
        let answer = client.post("/links", &json!({ "target": target }));
        let expect = vec![("#/target".to_owned(), code.to_owned())];
        assert_eq!(problem(&answer), (422, "invalid".into(), expect), "{target:?}");
    }
    for (target, stored, codes) in [
        (
            "https://раураl.com/",
            "https://xn--l-7sba6dbr.com/",
            &["confusable-host", "mixed-scripts"][..],
        ),
        ("https://bücher.example/", "https://xn--bcher-kva.example/", &[]),
        ("http://192.168.1.1/", "http://192.168.1.1/", &["private-address"]),
    ] {
        let link = client.create(&json!({ "target": target }));
        assert_eq!(link["target"], stored);
        let warnings = link["warnings"].as_array().expect("a list");
        let found: Vec<_> = warnings.iter().map(|warning| warning["code"].as_str()).collect();
        assert_eq!(found, codes.iter().map(|code| Some(*code)).collect::<Vec<_>>(), "{target}");
    }
    let link =
        client.create(&json!({ "target": "https://a.b", "expires": "2001-01-01T00:00:00Z" }));
    assert_eq!(link["warnings"][0]["code"], "expired");
}

#[test]
fn requests_that_are_none_of_the_api_are_told_so() {
    let snip = Snip::start();
    let mut client = snip.client();
    let json_type = ("content-type", "application/json");
    let large = format!("{{\"target\": \"{}\"}}", "x".repeat(64 * 1024));
    for (method, path, fields, body, expect) in [
        ("GET", "/nothing", &[][..], None, (404, "not-found")),
        ("GET", "", &[], None, (404, "not-found")),
        ("GET", "/", &[], None, (404, "not-found")),
        ("GET", "/links/a.b", &[], None, (404, "not-found")),
        ("GET", "/links/%ff", &[], None, (404, "not-found")),
        ("DELETE", "/keys/x", &[], None, (404, "not-found")),
        ("DELETE", "/keys/99999999999999999999", &[], None, (404, "not-found")),
        ("PUT", "/links", &[], None, (405, "method")),
        ("POST", "/links", &[], Some("{}"), (415, "media-type")),
        ("POST", "/links", &[("content-type", "text/plain")], Some("{}"), (415, "media-type")),
        (
            "POST",
            "/links",
            &[json_type, ("content-encoding", "gzip")],
            Some("{}"),
            (415, "media-type"),
        ),
        ("POST", "/links", &[json_type], Some(""), (400, "not-json")),
        ("POST", "/links", &[json_type], Some("{\"target\": "), (400, "not-json")),
        ("POST", "/links", &[json_type], Some("{\"target\": \"\\ud800\"}"), (400, "not-json")),
        ("POST", "/links", &[json_type], Some(&large), (413, "too-large")),
        (
            "POST",
            "/links",
            &[json_type, ("idempotency-key", "\"")],
            Some("{}"),
            (400, "bad-request"),
        ),
        ("GET", "/links?limit=0&cursor=x", &[], None, (400, "bad-request")),
    ] {
        // A body that is too large ends the connection.
        let answer = snip.client().ask(method, path, fields, body);
        let (status, word, _) = problem(&answer);
        assert_eq!((status, word.as_str()), expect, "{method} {path} {body:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        problem(&snip.client().ask("POST", "/links/bulk", &[json_type], Some(&deep))).0,
        400
    );
    for (path, expect) in [
        ("/links", "GET,HEAD,POST"),
        ("/links/bulk", "POST"),
        ("/links/x", "DELETE,GET,HEAD,PATCH"),
        ("/keys/1", "DELETE"),
        ("/me", "GET,HEAD"),
    ] {
        let answer = client.ask("PUT", path, &[], None);
        let mut allow: Vec<_> = answer.header("allow").expect("Allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!((answer.status, allow.join(",").as_str()), (405, expect), "{path}");
    }
}

fn keys_do_what_their_scopes_say_and_nothing_when_revoked(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut admin = snip.client();
    admin.create(&json!({ "target": "https://a.b", "alias": "here" }));
    for wrong in ["", "nonsense", "snip_", &format!("{}x", snip.key())] {
        let answer = snip.client_with(wrong).get("/me");
        assert_eq!(problem(&answer).1, "unauthenticated", "{wrong}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"snip\""));
    }
    let basic = snip.client_with("").ask("GET", "/me", &[("authorization", "Basic eDp5")], None);
    assert_eq!(basic.status, 401);

    let wanted: [(&str, &str, &str, Option<Value>); 9] = [
        ("GET", "/links", "links:read", None),
        ("GET", "/links/here", "links:read", None),
        ("GET", "/tags", "links:read", None),
        ("POST", "/links", "links:write", Some(json!({ "target": "https://a.b" }))),
        ("POST", "/links/bulk", "links:write", Some(json!({ "links": [] }))),
        ("PATCH", "/links/here", "links:write", Some(json!({ "title": "x" }))),
        ("DELETE", "/links/none", "links:write", None),
        ("GET", "/keys", "keys:admin", None),
        ("DELETE", "/keys/999", "keys:admin", None),
    ];
    for scope in ["links:read", "links:write", "stats:read", "keys:admin"] {
        let made = admin.post("/keys", &json!({ "name": scope, "scopes": [scope] }));
        assert_eq!(made.status, 201, "{}", made.text());
        let made = json(&made);
        assert_eq!(made["scopes"], json!([scope]));
        let mut client = snip.client_with(made["key"].as_str().expect("a key"));
        let me = json(&client.get("/me"));
        let expect = json!({
            "key": made["id"], "name": scope, "scopes": [scope], "url": "https://sn.ip",
        });
        assert_eq!(me, expect);
        for (method, path, needed, body) in &wanted {
            let answer = match body {
                Some(body) => client.send(method, path, &[], body),
                None => client.ask(method, path, &[], None),
            };
            let is_forbidden = answer.status == 403;
            assert_eq!(
                is_forbidden,
                *needed != scope,
                "{scope}: {method} {path}: {}",
                answer.text()
            );
        }
        if scope == "keys:admin" {
            let more = json!({ "name": "more", "scopes": ["keys:admin", "links:read"] });
            assert_eq!(problem(&client.post("/keys", &more)).1, "forbidden");
        }
        let path = format!("/keys/{}", made["id"]);
        assert_eq!(admin.ask("DELETE", &path, &[], None).status, 204);
        assert_eq!(client.get("/me").status, 401, "{scope} ended at once");
        assert_eq!(admin.ask("DELETE", &path, &[], None).status, 204, "once more is the same");
    }
    let keys = json(&admin.get("/keys"));
    let keys = keys["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), 5);
    assert_eq!(keys.iter().filter(|key| key["revoked"].is_null()).count(), 1);
    assert!(!admin.get("/keys").text().contains("snip_"), "keys are shown once");
    assert_eq!(problem(&admin.ask("DELETE", "/keys/999", &[], None)).1, "no-key");

    let wrong = json!({ "name": " ", "scopes": ["links:read", "root"], "x": 1 });
    let (_, _, errors) = problem(&admin.post("/keys", &wrong));
    let places: Vec<_> = errors.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["#/name", "#/scopes/1", "#/x"]);
}

fn what_was_acknowledged_is_there_after_a_kill(database: &Database<'_>) {
    let mut snip = Snip::on(database);
    let field = [("idempotency-key", "\"k\"")];
    let body = json!({ "target": "https://a.example/" });
    let made = json(&snip.client().send("POST", "/links", &field, &body));
    snip.kill_and_restart();
    let again = json(&snip.client().send("POST", "/links", &field, &body));
    assert_eq!(again, made, "the key, the link and the idempotency key are there");
}

fn one_of_many_who_want_an_alias_gets_it(database: &Database<'_>) {
    const MANY: usize = 100;
    let snip = Snip::on(database);
    for round in 0..2 {
        let start = Barrier::new(MANY);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let racers: Vec<_> = (0..MANY)
                .map(|number| {
                    let (mut client, start) = (snip.client(), &start);
                    scope.spawn(move || {
                        let body = json!({
                            "target": format!("https://{number}.example/"),
                            "alias": format!("clash-{round}"),
                        });
                        start.wait();
                        let answer = client.post("/links", &body);
                        if answer.status == 409 {
                            assert_eq!(problem(&answer).1, "alias-taken");
                        }
                        answer.status
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("it ends")).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    }
}

fn the_same_create_sent_again_makes_one_link(database: &Database<'_>) {
    const MANY: usize = 12;
    let snip = Snip::on(database);
    let body = json!({ "target": "https://a.example/", "tags": ["once"] });
    let field = [("idempotency-key", "\"8e03978e-40d5\"")];
    let start = Barrier::new(MANY);
    let codes: BTreeSet<String> = thread::scope(|scope| {
        let racers: Vec<_> = (0..MANY)
            .map(|_| {
                let (mut client, start, body) = (snip.client(), &start, &body);
                scope.spawn(move || {
                    start.wait();
                    loop {
                        let answer = client.send("POST", "/links", &field, body);
                        match answer.status {
                            201 => return json(&answer)["code"].as_str().expect("a code").into(),
                            409 => assert_eq!(problem(&answer).1, "in-progress"),
                            _ => panic!("{}", answer.text()),
                        }
                    }
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("it ends")).collect()
    });
    assert_eq!(codes.len(), 1, "{codes:?}");
    let mut client = snip.client();
    assert_eq!(json(&client.get("/links?tag=once"))["links"].as_array().map(Vec::len), Some(1));

    let again = client.send("POST", "/links", &[("idempotency-key", "8e03978e-40d5")], &body);
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    let other = json!({ "target": "https://b.example/" });
    let answer = client.send("POST", "/links", &field, &other);
    assert_eq!(problem(&answer).1, "idempotency-key-reused");
    let answer = client.send("POST", "/links/bulk", &field, &json!({ "links": [] }));
    assert_eq!(problem(&answer).1, "idempotency-key-reused");

    // The key of another owner is another key.
    let made = client.post("/keys", &json!({ "name": "x", "scopes": ["links:write"] }));
    let mut stranger = snip.client_with(json(&made)["key"].as_str().expect("a key"));
    assert_eq!(stranger.send("POST", "/links", &field, &other).status, 201);

    // What failed is told again, too.
    let taken = json!({ "target": "https://a.example/", "alias": "taken" });
    client.create(&taken);
    for _ in 0..2 {
        let answer = client.send("POST", "/links", &[("idempotency-key", "\"t\"")], &taken);
        assert_eq!(problem(&answer).1, "alias-taken");
        client.ask("DELETE", "/links/taken", &[], None);
    }
}

fn changes_are_made_to_the_version_that_was_seen(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    client.create(&json!({ "target": "https://a.example/", "alias": "here" }));
    let mut change = |tags: &str, title: &str| {
        let answer =
            client.send("PATCH", "/links/here", &[("if-match", tags)], &json!({ "title": title }));
        (answer.status, answer.header("etag").map(str::to_owned))
    };
    assert_eq!(change("\"1\"", "a"), (200, Some("\"2\"".to_owned())));
    assert_eq!(change("\"1\"", "b").0, 412);
    assert_eq!(change("\"7\", \"2\"", "c"), (200, Some("\"3\"".to_owned())));
    assert_eq!(change("\"7\", \"2\"", "d").0, 412);
    assert_eq!(change("*", "e"), (200, Some("\"4\"".to_owned())));
    assert_eq!(change("W/\"4\"", "f").0, 412);
    assert_eq!(change("4", "g").0, 400);
    let delete = |client: &mut Client, tag| {
        client.ask("DELETE", "/links/here", &[("if-match", tag)], None).status
    };
    assert_eq!(delete(&mut client, "\"3\""), 412);
    assert_eq!(delete(&mut client, "\"3\", \"7\""), 412);
    assert_eq!(delete(&mut client, "\"4\""), 204);
    assert_eq!(delete(&mut client, "*"), 404);

    // Of many who saw the same version, one changes it.
    const MANY: usize = 12;
    client.create(&json!({ "target": "https://a.example/", "alias": "race" }));
    let start = Barrier::new(MANY);
    let done = thread::scope(|scope| {
        let racers: Vec<_> = (0..MANY)
            .map(|number| {
                let (mut client, start) = (snip.client(), &start);
                scope.spawn(move || {
                    let body = json!({ "title": number.to_string() });
                    start.wait();
                    client.send("PATCH", "/links/race", &[("if-match", "\"1\"")], &body).status
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("it ends")).collect::<Vec<_>>()
    });
    assert_eq!(done.iter().filter(|status| **status == 200).count(), 1, "{done:?}");
    assert_eq!(done.iter().filter(|status| **status == 412).count(), MANY - 1, "{done:?}");
}

fn who_deletes_a_version_deletes_no_other(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    for round in 0..20 {
        client.create(&json!({ "target": "https://a.example/", "alias": "race" }));
        let start = Barrier::new(2);
        let (changed, deleted) = thread::scope(|scope| {
            let tag = [("if-match", "\"1\"")];
            let (mut changer, mut deleter, start) = (snip.client(), snip.client(), &start);
            let changer = scope.spawn(move || {
                start.wait();
                changer.send("PATCH", "/links/race", &tag, &json!({ "title": "kept" }))
            });
            start.wait();
            let deleted = deleter.ask("DELETE", "/links/race", &tag, None);
            (changer.join().expect("it ends"), deleted)
        });
        let left = client.get("/links/race");
        match (changed.status, deleted.status) {
            // Never both: what was changed was another version.
            (200, 412) => assert_eq!(left.header("etag"), Some("\"2\""), "{round}"),
            (404, 204) => assert_eq!(left.status, 404, "{round}"),
            both => panic!("{both:?} in round {round}"),
        }
        client.ask("DELETE", "/links/race", &[], None);
    }
}

fn bulk_makes_what_is_good_and_says_what_is_not(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    client.create(&json!({ "target": "https://a.example/", "alias": "taken" }));
    let body = json!({ "links": [
        { "target": "https://a.example/1" },
        { "target": "data:,x", "title": 1 },
        { "target": "https://a.example/2", "alias": "two", "tags": ["t"] },
        { "target": "https://a.example/3", "alias": "taken" },
        { "target": "https://a.example/4", "alias": "two" },
        7,
    ] });
    let field = [("idempotency-key", "bulk-1")];
    let first = client.send("POST", "/links/bulk", &field, &body);
    assert_eq!(first.status, 200, "{}", first.text());
    let answer = json(&first);
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(2), &json!(4)), "{answer}");
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results[0]["link"]["target"], "https://a.example/1");
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "#/links/1/target");
    assert_eq!(results[1]["problem"]["errors"][1]["pointer"], "#/links/1/title");
    assert_eq!(results[2]["link"]["code"], "two");
    assert_eq!(results[3]["problem"]["type"], "urn:snip:problem:alias-taken");
    assert_eq!(results[4]["problem"]["type"], "urn:snip:problem:alias-taken");
    assert_eq!(results[5]["problem"]["errors"][0]["pointer"], "#/links/5");
    let again = client.send("POST", "/links/bulk", &field, &body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(json(&again), answer);

    let many = |count: usize| json!({ "links": vec![json!({ "target": "https://a.b/" }); count] });
    let answer = client.post("/links/bulk", &many(1000));
    assert_eq!(json(&answer)["created"], 1000);
    let (_, _, errors) = problem(&client.post("/links/bulk", &many(1001)));
    assert_eq!(errors, [("#/links".to_owned(), "too-many".to_owned())]);
    for wrong in [json!([]), json!({}), json!({ "links": null }), json!({ "links": {} })] {
        assert_eq!(problem(&client.post("/links/bulk", &wrong)).0, 422, "{wrong}");
    }
    let secret = json!({ "links": vec![json!({ "target": "https://a.b/", "password": "x" }); 21] });
    let answer = json(&client.post("/links/bulk", &secret));
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(20), &json!(1)));
}

fn pages_follow_each_other_and_hostile_cursors_are_refused(database: &Database<'_>) {
    let snip = Snip::on(database);
    let mut client = snip.client();
    let links: Vec<_> = (0..25)
        .map(|number| {
            let tags = if number % 2 == 0 { vec!["even"] } else { vec![] };
            json!({
                "target": format!("https://example.com/{number}"),
                "alias": format!("link-{number:02}"),
                "title": format!("Number {number}"),
                "tags": tags,
            })
        })
        .collect();
    assert_eq!(json(&client.post("/links/bulk", &json!({ "links": links })))["created"], 25);
    let mut walk = |filter: &str| {
        let (mut codes, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = client.get(&format!("/links?limit=4{filter}{cursor}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = json(&answer);
            let links = page["links"].as_array().expect("a list");
            assert!(links.len() <= 4);
            codes
                .extend(links.iter().map(|link| link["code"].as_str().expect("a code").to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return codes,
            }
        }
    };
    let all = walk("");
    assert_eq!(all.len(), 25);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 25);
    assert_eq!(walk("&tag=even").len(), 13);
    assert_eq!(walk("&q=NUMBER%201").len(), 11);
    assert_eq!(walk("&q=number%201&tag=even").len(), 5);
    assert_eq!(walk("&q=100%25").len(), 0);

    let page = json(&client.get("/links?limit=4&tag=even"));
    let next = page["next"].as_str().expect("there is more");
    let backwards: String = next.chars().rev().collect();
    for hostile in [
        "x".to_owned(),
        "%00".to_owned(),
        "..%2F..".to_owned(),
        "'%20OR%201=1--".to_owned(),
        "A".repeat(50_000),
        format!("{next}A"),
        next[1..].to_owned(),
        backwards,
        // Of another list.
        next.to_owned(),
    ] {
        let answer = client.get(&format!("/links?limit=4&cursor={hostile}"));
        let expect = vec![("cursor".to_owned(), "cursor".to_owned())];
        assert_eq!(problem(&answer), (400, "bad-request".into(), expect), "{hostile}");
    }
    let tags = json(&client.get("/tags"));
    assert_eq!(tags, json!({ "tags": [{ "tag": "even", "links": 13 }] }));
}
