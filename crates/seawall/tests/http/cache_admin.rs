//! What the admin API and the command line do with the cache of a running process.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Gate, Origin, Process, RawClient, Response, Seawall, Stream};
use serde_json::{Value, json};

use crate::setup::{BINARY, Setup, eventually, get, metric_becomes};

/// An origin whose answers say which of all requests they answer, and have tags.
fn counting() -> io::Result<Origin> {
    let count = AtomicUsize::new(0);
    Origin::responding(move |request| {
        let count = count.fetch_add(1, SeqCst) + 1;
        let path = request.target.split('?').next().unwrap_or_default();
        Response::new(200, format!("answer {count}"))
            .with("cache-control", "max-age=600")
            .with("surrogate-key", &format!("all tag{}", path.replace('/', "-")))
    })
}

fn text(seawall: &Seawall, target: &str) -> io::Result<String> {
    Ok(seawall.connect()?.get("test", target)?.text())
}

fn json_of(response: &Response) -> Value {
    let text = response.text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn purge(seawall: &Seawall, order: &Value) -> io::Result<Value> {
    let response = seawall.admin_send("POST", "/api/cache/purge", &order.to_string())?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(json_of(&response))
}

fn explain(seawall: &Seawall, query: &str) -> io::Result<Value> {
    let response = seawall.admin_get(&format!("/api/cache/explain?{query}"))?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(json_of(&response))
}

/// What a step of an explanation has found; empty if there was none.
fn found(explained: &Value, step: &str) -> String {
    let steps = explained["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let step = steps.iter().find(|one| one["step"] == step);
    step.and_then(|one| one["found"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn hard_purges_reach_what_they_name_and_nothing_else() -> io::Result<()> {
    let origin = counting()?;
    let seawall = Setup::before(&origin).route("cache = {}").start()?;
    let targets = ["/a/x", "/a/x?q", "/a/y", "/b/x"];
    for (order, gone) in [
        (json!({"urls": ["http://TEST:80/a/%78"]}), &["/a/x"][..]),
        (json!({"tags": ["tag-a-x"]}), &["/a/x", "/a/x?q"]),
        (json!({"tags": ["none", "tag-b-x"]}), &["/b/x"]),
        (json!({"prefixes": ["http://test/a/*"]}), &["/a/x", "/a/x?q", "/a/y"]),
        (json!({"hosts": ["test"]}), &targets),
        (json!({"hosts": ["other.test"]}), &[]),
        (json!({"everything": true}), &targets),
    ] {
        let before: Vec<String> =
            targets.iter().map(|target| text(&seawall, target)).collect::<io::Result<_>>()?;
        let mut hard = order.clone();
        hard["hard"] = json!(true);
        let purged = purge(&seawall, &hard)?;
        assert_eq!((&purged["mode"], &purged["fleet"]), (&json!("hard"), &json!("alone")));
        for (target, before) in targets.iter().zip(before) {
            let is_other = text(&seawall, target)? != before;
            assert_eq!(is_other, gone.contains(target), "{order}: {target}");
        }
    }
    let purges = |kind: &str| {
        let labels = [&*format!("kind=\"{kind}\""), "mode=\"hard\""];
        seawall.metric("seawall_cache_purges_total", &labels)
    };
    assert_eq!(purges("url")?, 1.0);
    assert_eq!(purges("tag")?, 3.0);
    assert_eq!(purges("prefix")?, 1.0);
    assert_eq!(purges("host")?, 2.0);
    assert_eq!(purges("everything")?, 1.0);
    assert_eq!(seawall.metric("seawall_cache_purge_duration_seconds_count", &[])?, 7.0);
    Ok(())
}

#[test]
fn a_url_is_purged_by_the_keys_of_all_routes() -> io::Result<()> {
    let origin = counting()?;
    let route = "[[route]]\nname = \"few\"\npath = \"/few/*\"\nto = \"app\"\n\
                 cache = { key = { query = [\"page\"] } }\n\
                 [[route]]\nname = \"any\"\npath = \"/any/*\"\nto = \"app\"\n\
                 cache = { key = { host = false } }";
    let seawall = Setup::before(&origin).with(route).route("cache = {}").start()?;
    let few = text(&seawall, "/few/x?page=1&utm=2")?;
    assert_eq!(text(&seawall, "/few/x?page=1")?, few);
    purge(&seawall, &json!({"urls": ["http://test/few/x?page=1&other"], "hard": true}))?;
    assert_ne!(text(&seawall, "/few/x?page=1")?, few);
    // One answer for all hosts goes by its URL on any of them.
    let any = seawall.connect()?.get("one.test", "/any/x")?.text();
    assert_eq!(seawall.connect()?.get("two.test", "/any/x")?.text(), any);
    purge(&seawall, &json!({"urls": ["http://two.test/any/x"], "hard": true}))?;
    assert_ne!(seawall.connect()?.get("one.test", "/any/x")?.text(), any);
    Ok(())
}

#[test]
fn what_is_purged_softly_is_served_while_it_is_fetched_anew() -> io::Result<()> {
    let (gate, count) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (asked, counted) = (gate.clone(), count.clone());
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let count = counted.fetch_add(1, SeqCst) + 1;
            if count > 1 {
                conversation.wait(&asked)?;
            }
            let answer = Response::new(200, format!("answer {count}"))
                .with("cache-control", "max-age=600")
                .with("cache-tag", "x,y");
            conversation.respond(&request, answer)?;
        }
        Ok(())
    })?;
    let cache = "cache = { stale-while-revalidate = \"1m\" }";
    let seawall = Setup::before(&origin).route(cache).start()?;
    assert_eq!(text(&seawall, "/")?, "answer 1");
    let purged = purge(&seawall, &json!({"tags": ["y"]}))?;
    assert_eq!((&purged["mode"], &purged["tags"]), (&json!("soft"), &json!(1)));
    let explained = explain(&seawall, "url=http://test/")?;
    assert_eq!(explained["outcome"], "stale");
    assert!(found(&explained, "purge").contains("purged softly"), "{explained}");
    // The origin does not answer, and nobody waits for it.
    for _ in 0..3 {
        assert_eq!(text(&seawall, "/")?, "answer 1");
    }
    origin.wait_for_requests(2)?;
    gate.open();
    eventually("what is new is to be served", || Ok(text(&seawall, "/")? == "answer 2"))?;
    assert_eq!(count.load(SeqCst), 2, "one fetch for all who were served meanwhile");
    assert_eq!(seawall.metric("seawall_cache_background_total", &["route=\"app\""])?, 1.0);
    Ok(())
}

#[test]
fn it_explains_what_it_does() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/cookie" => {
            Response::new(200, "mine").with("cache-control", "max-age=60").with("set-cookie", "a=b")
        }
        "/varies" => Response::new(200, "de")
            .with("cache-control", "max-age=60")
            .with("vary", "accept-language"),
        _ => Response::new(200, "x").with("cache-control", "max-age=60").with("etag", "\"1\""),
    })?;
    let route = "[[route]]\nname = \"plain\"\npath = \"/plain\"\nto = \"app\"";
    let cache = "cache = { version = \"7\", bypass = { cookies = [\"session*\"] } }";
    let seawall = Setup::before(&origin).with(route).route(cache).start()?;

    let explained = explain(&seawall, "url=http://test/x?q")?;
    assert_eq!(explained["outcome"], "miss");
    assert_eq!(explained["route"], "app");
    assert_eq!(explained["key"], "http://test/x?q version=7");
    assert_eq!(found(&explained, "store"), "nothing is stored for it");
    assert_eq!(origin.requests(), 0, "nothing is fetched");

    text(&seawall, "/x?q")?;
    let explained = explain(&seawall, "url=http://test/x?q&method=HEAD")?;
    assert_eq!(explained["outcome"], "hit");
    assert!(found(&explained, "lifetime").contains("60.0 s by `max-age`"), "{explained}");
    let explained = explain(&seawall, "url=http://test/x?q&header=cache-control:no-cache")?;
    assert_eq!(explained["outcome"], "expired");
    assert!(found(&explained, "freshness").contains("request-no-cache"), "{explained}");
    assert!(found(&explained, "validation").contains("can be validated"), "{explained}");

    let miss = "url=http://test/none&header=cache-control:only-if-cached";
    assert_eq!(explain(&seawall, miss)?["outcome"], "refused");
    let session = "url=http://test/x?q&header=cookie:session1=x";
    assert_eq!(explain(&seawall, session)?["outcome"], "bypass");
    assert_eq!(explain(&seawall, "url=http://test/plain")?["outcome"], "none");

    text(&seawall, "/cookie")?;
    let explained = explain(&seawall, "url=http://test/cookie")?;
    assert_eq!(explained["outcome"], "pass");
    assert!(found(&explained, "store").contains("(set-cookie: "), "{explained}");

    seawall.connect()?.exchange(get("/varies", "accept-language: de\r\n"))?;
    let explained = explain(&seawall, "url=http://test/varies&header=accept-language:de")?;
    assert_eq!(explained["outcome"], "hit");
    assert!(found(&explained, "vary").contains("accept-language"), "{explained}");
    assert_eq!(explained["key"], "http://test/varies version=7 accept-language=de");
    let explained = explain(&seawall, "url=http://test/varies&header=accept-language:fr")?;
    assert_eq!(explained["outcome"], "miss");

    purge(&seawall, &json!({"urls": ["http://test/x?q"], "hard": true}))?;
    let explained = explain(&seawall, "url=http://test/x?q")?;
    assert_eq!(explained["outcome"], "miss");
    assert!(found(&explained, "purge").contains("it is gone"), "{explained}");
    Ok(())
}

#[test]
fn what_is_known_of_users_is_not_explained_as_if_it_were_of_all() -> io::Result<()> {
    let origin =
        Origin::responding(|_| Response::new(200, "x").with("cache-control", "max-age=60"))?;
    let seawall = Setup::before(&origin).route("cache = {}").start()?;
    seawall.connect()?.exchange(get("/", "authorization: Basic x\r\n"))?;
    let explained = explain(&seawall, "url=http://test/&header=authorization:Basic%20x")?;
    assert_eq!(explained["outcome"], "pass");
    assert!(found(&explained, "store").contains("requests with Authorization go"), "{explained}");
    let explained = explain(&seawall, "url=http://test/")?;
    assert_eq!(explained["outcome"], "miss", "{explained}");
    assert!(found(&explained, "authorization").contains("has none"), "{explained}");
    Ok(())
}

#[test]
fn what_is_asked_for_most_is_told() -> io::Result<()> {
    let origin = counting()?;
    let seawall = Setup::before(&origin).route("cache = {}").start()?;
    let mut client = seawall.connect()?;
    for (target, times) in [("/a", 5), ("/b", 3), ("/c", 1)] {
        for _ in 0..times {
            client.get("test", target)?;
        }
    }
    let top = json_of(&seawall.admin_get("/api/cache/top?count=2")?);
    let keys: Vec<_> = top["keys"].as_array().expect("a list").iter().collect();
    assert_eq!(keys.len(), 2, "{top}");
    assert_eq!((&keys[0]["key"], &keys[0]["uses"]), (&json!("http://test/a"), &json!(4)));
    assert_eq!((&keys[1]["key"], &keys[1]["uses"]), (&json!("http://test/b"), &json!(2)));
    let expect = json!([{"tag": "all", "uses": 6}, {"tag": "tag-a", "uses": 4}]);
    assert_eq!(top["tags"], expect);
    Ok(())
}

/// Stores an answer by the API.
fn push(seawall: &Seawall, query: &str, fields: &str, body: &[u8]) -> io::Result<Response> {
    let admin = seawall.admin().ok_or_else(|| io::Error::other("no admin API"))?;
    let mut client = RawClient::connect(admin)?;
    client.send(format!(
        "PUT /api/cache/objects?{query} HTTP/1.1\r\nhost: {admin}\r\ncontent-length: {}\r\n{fields}\r\n",
        body.len()
    ))?;
    client.send(body)?;
    client.read_response()
}

#[test]
fn what_is_pushed_needs_no_origin() -> io::Result<()> {
    let origin = Origin::hanging_up()?;
    let route = "[[route]]\nname = \"plain\"\npath = \"/plain\"\nto = \"app\"";
    let seawall =
        Setup::before(&origin).with(route).route("cache = { jitter = \"0%\" }").start()?;
    let fields = "content-type: text/css\r\ncache-control: max-age=60\r\ncache-tag: css\r\n";
    let pushed = json_of(&push(&seawall, "url=http://test/x.css", fields, b"body {}")?);
    assert_eq!(pushed["stored"], true, "{pushed}");
    assert_eq!(pushed["key"], "http://test/x.css");
    assert_eq!(pushed["fresh_seconds"], 60.0);
    let response = seawall.connect()?.get("test", "/x.css")?;
    assert_eq!((response.status, response.text().as_str()), (200, "body {}"));
    assert_eq!(response.header("content-type"), Some("text/css"));
    assert!(response.header("cache-status").is_some_and(|status| status.contains("; hit")));

    // A variant, a status, and content in chunks.
    let german = "vary: accept-language\r\ncache-control: max-age=60\r\n";
    let query = "url=http://test/v&header=accept-language:de&status=404";
    assert_eq!(json_of(&push(&seawall, query, german, b"nichts")?)["stored"], true);
    let response = seawall.connect()?.exchange(get("/v", "accept-language: de\r\n"))?;
    assert_eq!((response.status, response.text().as_str()), (404, "nichts"));
    let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    assert_eq!(json_of(&push(&seawall, "url=http://test/l", german, &large)?)["stored"], true);
    assert_eq!(seawall.connect()?.get("test", "/l")?.body, large);

    // What the origin could not have stored is not.
    let refused =
        json_of(&push(&seawall, "url=http://test/n", "cache-control: no-store\r\n", b"")?);
    assert_eq!((&refused["stored"], &refused["reason"]), (&json!(false), &json!("no-store")));
    let refused = push(&seawall, "url=http://test/plain", fields, b"x")?;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("`plain`"), "{}", refused.text());
    assert_eq!(origin.connections(), 0);

    purge(&seawall, &json!({"tags": ["css"], "hard": true}))?;
    assert_eq!(seawall.connect()?.get("test", "/x.css")?.status, 502);
    Ok(())
}

#[test]
fn without_a_cache_there_is_nothing_to_do() -> io::Result<()> {
    let origin = counting()?;
    let seawall = Setup::before(&origin).start()?;
    let refused = seawall.admin_send("POST", "/api/cache/purge", "{\"everything\": true}")?;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("no route has a cache"), "{}", refused.text());
    assert_eq!(json_of(&seawall.admin_get("/api/cache")?)["store"], Value::Null);
    // It comes with a reload.
    seawall.rewrite(&Setup::before(&origin).route("cache = {}").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(purge(&seawall, &json!({"everything": true}))?["everything"], true);
    Ok(())
}

/// What a command printed on its two streams, and its code.
fn run(seawall: &Seawall, arguments: &[&str]) -> io::Result<(Option<i32>, String, String)> {
    let admin = seawall.admin().ok_or_else(|| io::Error::other("no admin API"))?.to_string();
    let mut command = Command::new(BINARY);
    command.args(arguments).args(["--admin", &admin]).env("NO_COLOR", "1");
    let mut process = Process::spawn(command)?;
    let code = process.wait()?.code();
    let of = |stream: Stream| {
        let lines = process.lines().into_iter().filter(|line| line.stream == stream);
        lines.map(|line| line.text + "\n").collect::<String>()
    };
    Ok((code, of(Stream::Out), of(Stream::Err)))
}

#[test]
fn the_command_line_warms_and_purges() -> io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let origin = Origin::responding(move |request| match request.target.as_str() {
        "/sitemap.xml" => Response::new(
            200,
            "<?xml version=\"1.0\"?><urlset><url><loc>http://test/3</loc></url>\
             <url><loc>http://test/4</loc></url></urlset>",
        ),
        "/bad" => Response::new(500, ""),
        _ => {
            counted.fetch_add(1, SeqCst);
            Response::new(200, "x").with("cache-control", "max-age=600")
        }
    })?;
    let seawall = Setup::before(&origin).route("cache = {}").start()?;
    let home = tempfile::tempdir()?;
    let list = home.path().join("urls.txt");
    std::fs::write(&list, "http://test/1\nhttp://test/2\nhttp://test/bad\n")?;
    let list = list.display().to_string();
    let (code, out, err) = run(&seawall, &["warm", &list, "--rate", "1000"])?;
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("3 URLs") && out.contains("2 stored, 0 were there, 1 failed"), "{out}");
    let (code, out, err) = run(&seawall, &["warm", "http://test/sitemap.xml"])?;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("2 stored"), "{out}");
    assert_eq!(count.load(SeqCst), 4);
    // What browsers ask for is what was warmed.
    for number in 1..=4 {
        let fields = "accept-encoding: gzip, deflate, br, zstd\r\n";
        let response = seawall.connect()?.exchange(get(&format!("/{number}"), fields))?;
        assert!(response.header("cache-status").is_some_and(|status| status.contains("; hit")));
    }
    let (code, out, err) = run(&seawall, &["purge", "http://test/1", "--hard"])?;
    assert_eq!(code, Some(0), "{out}{err}");
    text(&seawall, "/1")?;
    text(&seawall, "/2")?;
    assert_eq!(count.load(SeqCst), 5, "one was purged");
    Ok(())
}

#[test]
fn what_becomes_of_requests_is_counted() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let validates = request.header("if-none-match").is_some();
        match request.target.as_str() {
            "/private" => Response::new(200, "mine").with("cache-control", "private"),
            "/agent" => Response::new(200, "x")
                .with("cache-control", "max-age=60")
                .with("vary", "User-Agent"),
            "/etag" if validates => Response::new(304, ""),
            _ => Response::new(200, "12345")
                .with("cache-control", "max-age=60")
                .with("etag", "\"1\""),
        }
    })?;
    let seawall = Setup::before(&origin).route("cache = {}").start()?;
    let mut client = seawall.connect()?;
    let mut ask = |target: &str, fields: &str| client.exchange(get(target, fields)).map(drop);
    ask("/", "")?; // miss
    ask("/", "")?; // hit
    ask("/", "")?; // hit
    ask("/", "range: bytes=1-2\r\n")?; // hit, of two bytes
    ask("/", "if-none-match: \"1\"\r\n")?; // hit, of none
    ask("/etag", "")?; // miss
    ask("/etag", "cache-control: no-cache\r\n")?; // revalidated
    ask("/", "cache-control: no-cache\r\n")?; // expired
    ask("/private", "")?; // uncacheable
    ask("/private", "")?; // pass
    ask("/", "cache-control: no-store\r\n")?; // bypass
    ask("/none", "cache-control: only-if-cached\r\n")?; // refused
    ask("/agent", "")?; // miss
    ask("/agent", "user-agent: other\r\n")?; // miss
    let requests = |outcome: &str, expect: f64| {
        let labels = ["route=\"app\"", &*format!("outcome=\"{outcome}\"")];
        metric_becomes(&seawall, "seawall_cache_requests_total", &labels, expect)
    };
    for (outcome, expect) in [
        ("hit", 4.0),
        ("miss", 4.0),
        ("revalidated", 1.0),
        ("expired", 1.0),
        ("uncacheable", 1.0),
        ("pass", 1.0),
        ("bypass", 1.0),
        ("refused", 1.0),
    ] {
        requests(outcome, expect)?;
    }
    let app = ["route=\"app\""];
    // Twice five bytes and two of a part, and five that a validation left as they were.
    metric_becomes(&seawall, "seawall_cache_sent_bytes_total", &app, 17.0)?;
    metric_becomes(&seawall, "seawall_cache_fills_total", &app, 7.0)?;
    metric_becomes(&seawall, "seawall_cache_fills_failed_total", &app, 0.0)?;
    metric_becomes(&seawall, "seawall_cache_vary_user_agent_total", &app, 2.0)?;
    let private = ["route=\"app\"", "reason=\"private\""];
    metric_becomes(&seawall, "seawall_cache_unstorable_total", &private, 1.0)?;
    metric_becomes(&seawall, "seawall_cache_objects", &["tier=\"memory\""], 4.0)?;
    let told = seawall.log().matches("cache.key.device").count();
    assert_eq!(told, 1, "the advice is given once: {}", seawall.log());
    let state = json_of(&seawall.admin_get("/api/cache")?);
    assert_eq!(state["routes"][0]["outcomes"]["hit"], 4, "{state}");
    Ok(())
}

#[test]
fn the_plan_tells_of_the_cache() -> io::Result<()> {
    let origin = counting()?;
    let home = tempfile::tempdir()?;
    let disk = |name: &str| {
        let path = home.path().join(name);
        format!("[cache]\nmemory = \"64MiB\"\ndisk = {{ path = {path:?}, size = \"256MiB\" }}")
    };
    let cache = "cache = { ttl = \"30s\", jitter = \"5%\", version = \"hunter2\", key = { query = [\"page\"] }, tier = \"edge\", parent = \"next\", bypass = { cookies = [\"session\"] }, ignore-origin = [\"vary\"], purge = [\"10.0.0.0/8\"] }";
    let next = format!("[upstream.next]\nservers = [\"{}\"]", origin.address());
    let setup = Setup::before(&origin).with(&next).route(cache);
    let config = |name: &str| setup.clone().with(&disk(name)).text();
    let seawall = Seawall::start(BINARY, &config("one"))?;
    let response = seawall.admin_get("/api/plan")?;
    let plan = json_of(&response);
    assert_eq!(plan["cache"]["memory_bytes"], 64 << 20, "{plan}");
    assert_eq!(plan["cache"]["disk_bytes"], 256 << 20);
    let rules = &plan["routes"][0]["action"]["cache"];
    assert_eq!((&rules["ttl_seconds"], &rules["jitter"]), (&json!(30.0), &json!(0.05)));
    assert_eq!((&rules["tier"], &rules["parent"]), (&json!("edge"), &json!("next")));
    assert_eq!(
        (&rules["key"]["query"], &rules["key"]["parameters"]),
        (&json!("only"), &json!(["page"]))
    );
    assert_eq!(rules["key"]["version"], "text");
    assert_eq!(
        rules["bypass"],
        json!({"headers": [], "cookies": ["session"], "query": []}),
        "{rules}"
    );
    assert_eq!(
        (&rules["ignore_origin"], &rules["purge"], &rules["tags"]),
        (&json!(["vary"]), &json!(["10.0.0.0/8"]), &Value::Null)
    );
    assert!(!response.text().contains("hunter2"), "a version may be a secret");
    metric_becomes(&seawall, "seawall_cache_disk_up", &[], 1.0)?;
    assert_eq!(
        seawall.metric("seawall_cache_limit_bytes", &["tier=\"disk\""])?,
        f64::from(256 << 20)
    );
    assert_eq!(
        seawall.metric("seawall_cache_limit_bytes", &["tier=\"memory\""])?,
        f64::from(64 << 20)
    );

    seawall.rewrite(&config("two"))?;
    let reloaded = seawall.reload()?;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert!(reloaded.text().contains("`cache.disk` is taken over at the next start"));
    assert!(!home.path().join("two").exists());
    Ok(())
}
