//! Lists of links: in which order, with how often each was clicked, which were clicked most, and
//! all of them as a file.

use seawall_testkit::Response;
use serde_json::{Value, json};

use crate::clicks::{DESK, GOOD, REPORTS, follow, line, report, stats, until};
use crate::client::{json as body_of, problem};
use crate::instance::{Home, Instance};

fn read(snip: &Instance, key: &str, path: &str) -> Response {
    snip.api(key, "GET", path, &Value::Null)
}

/// A field of each of the links of an answer, in their order.
fn each(answer: &Value, field: &str) -> Vec<Value> {
    let links = answer["links"].as_array().expect("a list").iter();
    links.map(|link| link[field].clone()).collect()
}

#[test]
fn lists_say_how_links_are_clicked_and_reports_which_most() {
    let home = Home::new();
    let snip = home.start(REPORTS);
    let make = |alias: &str, more: Value| {
        let mut body = json!({ "target": "https://a.example/", "alias": alias });
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        snip.create(body)
    };
    make("never", json!({}));
    make("often", json!({ "title": "The spring sale" }));
    make("once", json!({}));
    make("gone", json!({}));
    for (code, clicks) in [("often", 3), ("once", 1), ("gone", 2)] {
        (0..clicks).for_each(|_| follow(&snip, code, &format!("user-agent: {DESK}\r\n")));
    }
    follow(&snip, "once", "user-agent: curl/8.5.0\r\n");
    // Yesterday the code was of another link.
    let yesterday = snip::store::system_clock() - 86_400_000;
    let old = line("never", "").replacen("\"time\":", &format!("\"time\":{yesterday},\"was\":"), 1);
    assert_eq!(report(&snip, &format!("{GOOD}seawall-batch: n:b:1\r\n"), &old), 204);
    until(&snip, snip.key(), "", 8);
    assert_eq!(snip.api(snip.key(), "DELETE", "/links/gone", &Value::Null).status, 204);

    let list = body_of(&read(&snip, snip.key(), "/links?with=clicks&sort=oldest"));
    assert_eq!(each(&list, "code"), ["never", "often", "once"].map(Value::from));
    assert_eq!(each(&list, "recent_clicks"), [0, 3, 1].map(Value::from), "of people, and its own");
    let list = body_of(&read(&snip, snip.key(), "/links"));
    assert_eq!(each(&list, "code"), ["once", "often", "never"].map(Value::from));
    assert_eq!(list["links"][0].get("recent_clicks"), None, "nobody asked");

    let all = stats(&snip, snip.key(), "?by=day");
    assert_eq!(each(&all, "code"), ["often", "gone", "once"].map(Value::from));
    assert_eq!(each(&all, "clicks"), [3, 2, 1].map(Value::from));
    assert_eq!(each(&all, "title")[0], "The spring sale");
    assert_eq!(
        each(&all, "target"),
        [json!("https://a.example/"), Value::Null, json!("https://a.example/")]
    );
    assert_eq!(stats(&snip, snip.key(), "often").get("links"), None);

    // What a key may not read it is not told by the way.
    let key = |scope: &str| {
        let made =
            snip.api(snip.key(), "POST", "/keys", &json!({ "name": scope, "scopes": [scope] }));
        body_of(&made)["key"].as_str().expect("a key").to_owned()
    };
    assert_eq!(read(&snip, &key("links:read"), "/links?with=clicks").status, 403);
    let all = stats(&snip, &key("stats:read"), "?by=day");
    assert_eq!((each(&all, "code").len(), &each(&all, "target")[0]), (3, &Value::Null));
    for wrong in ["sort=clicks", "with=all", "with=clicks&limit=101"] {
        assert_eq!(problem(&read(&snip, snip.key(), &format!("/links?{wrong}"))).0, 400, "{wrong}");
    }
}

#[test]
fn all_links_are_written_down_as_they_can_be_read_again() {
    let home = Home::new();
    let snip = home.start("url = \"https://sn.ip\"");
    let links: Vec<_> = (0..1001)
        .map(|number| json!({ "target": format!("https://a.example/{number}") }))
        .collect();
    for some in links.chunks(1000) {
        assert_eq!(
            snip.api(snip.key(), "POST", "/links/bulk", &json!({ "links": some })).status,
            200
        );
    }
    snip.create(json!({
        "target": "https://a.example/?a=1,2", "alias": "odd", "title": "Says \"hello\", twice",
        "tags": ["a", "b"], "clicks_left": 7, "expires": "2099-01-31T12:00:00Z",
    }));
    let answer = read(&snip, snip.key(), "/links.csv?sort=oldest");
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"links.csv\""));
    let text = answer.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1003, "two pages and the names");
    assert!(lines[0].starts_with("code,target,title,tags,status,"), "{}", lines[0]);
    assert!(text.contains(",https://a.example/0,") && text.contains(",https://a.example/1000,"));
    let odd = "odd,\"https://a.example/?a=1,2\",\"Says \"\"hello\"\", twice\",\"a,b\",302,false,2099-01-31T12:00:00.000Z,7,false,false,";
    assert!(
        lines[1002].starts_with(odd) && lines[1002].ends_with(",https://sn.ip/odd"),
        "{}",
        lines[1002]
    );
    let some = read(&snip, snip.key(), "/links.csv?tag=b").text();
    assert_eq!(some.lines().count(), 2);
    assert_eq!(read(&snip, "", "/links.csv").status, 401);
    assert_eq!(problem(&read(&snip, snip.key(), "/links.csv?sort=x")).0, 400);
}
