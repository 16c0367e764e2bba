//! `seawall purge` and `seawall warm`: what they ask of an admin API, and what they say of its
//! answers.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seawall_testkit::{Origin, Process, Request, Response, Stream};
use serde_json::{Value, json};

use crate::setup::BINARY;

#[test]
fn a_purge_is_asked_for_and_told() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let api = Origin::responding(|_| {
        json_of(
            200,
            &json!({"mode": "soft", "urls": 1, "tags": 2, "took_ms": 0.5, "fleet": "away"}),
        )
    })?;
    let address = api.address().to_string();
    let arguments = [
        "purge",
        "--admin",
        &address,
        "http://a/x",
        "--tag",
        "p",
        "-t",
        "q",
        "--prefix",
        "http://a/*",
    ];
    let ended = run(home.path(), &arguments, Some("0123456789abcdef"))?;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let said = "1 URL, 2 tags: stale after 0.5 ms; the other nodes will be told when the shared state is back\n";
    assert_eq!(ended.out, said);
    let received = api.received(0);
    assert!(received.starts_with("POST /api/cache/purge HTTP/1.1\r\n"), "{received}");
    assert!(received.contains("authorization: Bearer 0123456789abcdef\r\n"), "{received}");
    let expect = json!({
        "urls": ["http://a/x"], "tags": ["p", "q"], "prefixes": ["http://a/*"], "hosts": [],
        "everything": false, "hard": false,
    });
    assert_eq!(body(&received), expect);
    Ok(())
}

#[test]
fn the_configuration_says_where_the_api_is() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let api = Origin::responding(|_| json_of(200, &json!({"mode": "hard", "everything": true})))?;
    let config = format!(
        "[server]\nadmin = \"{}\"\nadmin-token = \"fedcba9876543210\"\n\
         [listen.web]\naddress = \"127.0.0.1:1\"\n[[route]]\nrespond = \"x\"\n",
        api.address()
    );
    std::fs::write(home.path().join("seawall.toml"), &config)?;
    std::fs::write(home.path().join("other.toml"), &config)?;
    for (at, arguments) in
        [&["purge", "--everything", "--hard"][..], &["purge", "--everything", "-c", "other.toml"]]
            .into_iter()
            .enumerate()
    {
        let ended = run(home.path(), arguments, None)?;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(ended.out.starts_with("everything: gone"), "{}", ended.out);
        let received = api.received(at);
        assert!(received.contains("authorization: Bearer fedcba9876543210\r\n"), "{received}");
        assert_eq!(body(&received)["hard"], at == 0);
    }
    Ok(())
}

#[test]
fn what_the_api_refuses_is_said() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("empty.txt"), "# nothing\n")?;
    std::fs::write(
        home.path().join("index.xml"),
        "<sitemapindex><loc>http://a/</loc></sitemapindex>",
    )?;
    let quiet = "[listen.web]\naddress = \"127.0.0.1:1\"\n[[route]]\nrespond = \"x\"\n";
    std::fs::write(home.path().join("quiet.toml"), quiet)?;
    let api = Origin::responding(|request| match request.header("authorization") {
        None => json_of(401, &json!({"status": "the token is missing or wrong"})),
        Some(_) if request.target == "/api/cache/purge" => json_of(
            422,
            &json!({"detail": "tags[0] is empty", "problems": [{"message": "tags[0] is empty", "help": "name one"}]}),
        ),
        Some(_) => Response::new(404, ""),
    })?;
    let address = api.address().to_string();
    let token = Some("0123456789abcdef");
    for (arguments, token, code, part) in [
        (
            &["purge", "--admin", &address, "-t", ""][..],
            token,
            1,
            "tags[0] is empty\n  = help: name one",
        ),
        (&["purge", "--admin", &address, "-t", "a"], None, 1, "set SEAWALL_ADMIN_TOKEN"),
        (&["purge", "--admin", &address, "-t", "a"], Some("ü"), 1, "visible ASCII"),
        (&["purge", "--admin", "127.0.0.1:1", "-t", "a"], None, 1, "127.0.0.1:1 does not answer"),
        (&["purge", "--tag", "a"], None, 1, "--admin 127.0.0.1:9900"),
        (&["purge", "--tag", "a", "-c", "quiet.toml"], None, 1, "quiet.toml has no admin API"),
        (&["purge", "--tag", "a", "-c", "none.toml"], None, 1, "none.toml"),
        (&["purge"], None, 2, "<URL|--tag <TAG>|--prefix <URL>|--host <HOST>|--everything>"),
        (&["warm"], None, 2, "SITEMAP-URL"),
        (&["warm", "--stop", "x"], None, 2, "--stop"),
        (&["warm", "x", "--rate", "0"], None, 2, "--rate"),
        (&["warm", "x", "--concurrency", "65"], None, 2, "--concurrency"),
        (&["warm", "--admin", &address, "none.txt"], token, 1, "none.txt cannot be read"),
        (&["warm", "--admin", &address, "empty.txt"], token, 1, "empty.txt lists nothing"),
        (&["warm", "--admin", &address, "index.xml"], token, 1, "give its URL instead"),
        (&["warm", "--admin", &address, "http://a/", "--header", "x"], token, 1, "NAME:VALUE"),
        (
            &["warm", "--admin", &address, "http://a/"],
            token,
            1,
            "no admin API that knows /api/cache/warm",
        ),
    ] {
        let ended = run(home.path(), arguments, token)?;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{arguments:?}: {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
    }
    Ok(())
}

#[test]
fn a_list_is_warmed_to_its_end() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("urls.txt"), "http://a/1\n# not this\nhttp://a/2\n")?;
    let asked = AtomicUsize::new(0);
    let api = Origin::responding(move |request: &Request| {
        let state = |running: bool, failed: usize| {
            let failures: Vec<Value> = (0..failed)
                .map(|_| json!({"url": "http://a/2", "why": "was answered 500"}))
                .collect();
            json!({
                "running": running, "outcome": if running { Value::Null } else { json!("done") },
                "total": 2, "done": if running { 1 } else { 2 }, "failed": failed, "hits": 0,
                "stored": 2 - failed, "seconds": 0.5, "failures": failures,
            })
        };
        match (request.method.as_str(), asked.fetch_add(1, Relaxed)) {
            ("POST", 0) => json_of(202, &state(true, 0)),
            ("POST", _) => json_of(202, &state(false, 0)),
            ("GET", 1) => json_of(200, &state(true, 0)),
            ("GET", _) => json_of(200, &state(false, 1)),
            _ => json_of(200, &Value::Null),
        }
    })?;
    let address = api.address().to_string();
    let arguments = ["warm", "urls.txt", "--admin", &address, "--rate", "9", "--header", "X-A: b"];
    let ended = run(home.path(), &arguments, None)?;
    assert_eq!(ended.code, Some(1), "one has failed");
    assert_eq!(ended.out, "2 URLs in 0.5 s: 1 stored, 0 were there, 1 failed\n");
    assert_eq!(ended.err, "http://a/2 was answered 500\n");
    assert_eq!(api.requests(), 3);
    let expect = json!({
        "urls": ["http://a/1", "http://a/2"], "rate": 9, "concurrency": 4,
        "headers": {"accept-encoding": "gzip, deflate, br, zstd", "x-a": "b"},
    });
    assert_eq!(body(&api.received(0)), expect);

    let ended = run(home.path(), &["warm", "http://a/sitemap.xml", "--admin", &address], None)?;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(body(&api.received(3))["sitemap"], "http://a/sitemap.xml");

    let ended = run(home.path(), &["warm", "--stop", "--admin", &address], None)?;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "nothing is being warmed\n"));
    assert!(api.received(4).starts_with("DELETE /api/cache/warm "), "{}", api.received(4));
    Ok(())
}

/// What a command printed and how it ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(home: &Path, arguments: &[&str], token: Option<&str>) -> io::Result<Ended> {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(home).env("NO_COLOR", "1");
    match token {
        Some(token) => command.env("SEAWALL_ADMIN_TOKEN", token),
        None => command.env_remove("SEAWALL_ADMIN_TOKEN"),
    };
    let mut process = Process::spawn(command)?;
    let code = process.wait()?.code();
    let of = |stream: Stream| {
        let lines = process.lines().into_iter().filter(|line| line.stream == stream);
        lines.map(|line| line.text + "\n").collect::<String>()
    };
    Ok(Ended { code, out: of(Stream::Out), err: of(Stream::Err) })
}

fn json_of(status: u16, body: &Value) -> Response {
    Response::new(status, body.to_string()).with("content-type", "application/json")
}

/// The body of a request in JSON.
fn body(received: &str) -> Value {
    let body = received.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {received}"))
}
