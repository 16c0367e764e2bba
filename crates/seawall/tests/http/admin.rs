//! The admin API, request by request.

use std::io;

use seawall_testkit::{Origin, RawClient, Response, Seawall};
use serde_json::{Value, json};

use crate::setup::Setup;

fn ask(seawall: &Seawall, method: &str, target: &str, fields: &str) -> io::Result<Response> {
    let admin = seawall.admin().ok_or_else(|| io::Error::other("no admin API"))?;
    let mut client = RawClient::connect(admin)?;
    client.send(format!("{method} {target} HTTP/1.1\r\nhost: {admin}\r\n{fields}\r\n"))?;
    client.read_response_to(method)
}

#[test]
fn every_request_has_its_answer() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).start()?;
    let json = "application/json";
    for (method, target, fields, status, kind, part) in [
        ("GET", "/healthz", "", 200, json, "\"ok\""),
        ("HEAD", "/healthz", "", 200, json, ""),
        ("POST", "/healthz", "content-length: 0\r\n", 405, "", ""),
        ("GET", "/readyz", "", 200, json, "\"ready\""),
        ("GET", "/metrics", "", 200, "text/plain", "seawall_build_info{version=\""),
        ("POST", "/api/reload", "content-length: 0\r\n", 200, json, "\"applied\":true"),
        (
            "POST",
            "/api/reload",
            "content-length: 0\r\norigin: http://evil.test\r\n",
            403,
            json,
            "other sites",
        ),
        ("GET", "/api/reload", "", 405, "", ""),
        ("GET", "/nothing", "", 404, "", ""),
    ] {
        let response = ask(&seawall, method, target, fields)?;
        assert_eq!(response.status, status, "{method} {target}: {}", response.text());
        let found = response.header("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "{method} {target}: {found}");
        assert!(response.text().contains(part), "{method} {target}: {}", response.text());
    }
    assert_eq!(seawall.metric("seawall_config_generation", &[])?, 2.0, "one reload was refused");
    assert_eq!(origin.connections(), 0, "nothing of it is a route's");
    Ok(())
}

#[test]
fn with_a_token_only_the_probes_are_open() -> io::Result<()> {
    let config = Setup::alone().with("[[route]]\nrespond = \"here\"").text().replace(
        "admin = \"127.0.0.1:0\"",
        "admin = \"127.0.0.1:0\"\nadmin-token = \"0123456789abcdef\"",
    );
    let seawall = Seawall::start(crate::setup::BINARY, &config)?;
    let right = "authorization: Bearer 0123456789abcdef\r\n";
    for (method, target, fields, status) in [
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
        ("GET", "/metrics", right, 200),
        ("GET", "/metrics", "authorization: bearer 0123456789abcdef\r\n", 200),
        ("GET", "/nothing", right, 404),
        ("GET", "/metrics", "", 401),
        ("GET", "/nothing", "", 401),
        ("GET", "/metrics", "authorization: Bearer 0123456789abcdeg\r\n", 401),
        ("GET", "/metrics", "authorization: Bearer 0123456789abcde\r\n", 401),
        ("GET", "/metrics", "authorization: Bearer 0123456789abcdefg\r\n", 401),
        ("GET", "/metrics", "authorization: Bearer\r\n", 401),
        ("GET", "/metrics", "authorization: Basic 0123456789abcdef\r\n", 401),
        ("GET", "/metrics?token=0123456789abcdef", "", 401),
        ("GET", "/healthz/../metrics", "", 401),
        ("POST", "/api/reload", "content-length: 0\r\n", 401),
    ] {
        let response = ask(&seawall, method, target, fields)?;
        assert_eq!(response.status, status, "{method} {target} {fields}: {}", response.text());
        if status == 401 {
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
    }
    let twice = format!("{right}{right}");
    assert_eq!(ask(&seawall, "GET", "/metrics", &twice)?.status, 401, "two tokens are none");
    let generation = ask(&seawall, "GET", "/metrics", right)?.text();
    assert!(generation.contains("\nseawall_config_generation 1\n"), "nothing was reloaded");
    Ok(())
}

fn told(response: &Response) -> io::Result<Value> {
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(&response.text()).map_err(io::Error::other)
}

#[test]
fn the_plan_in_place_is_told_without_secrets() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let routes = r#"
        [[route]]
        name = "away"
        host = "*.example.org"
        path = "/old/*"
        redirect = "https://{host}/new{query}"

        [[route]]
        path = "/hello"
        methods = ["GET"]
        match-headers = { "x-key" = "hush-1" }
        match-query = { "key" = "hush-2" }
        respond = "hello"
    "#;
    let setup = Setup::before(&origin)
        .server("admin-token = \"hush-0123456789abcdef\"")
        .listen("limits = { connections-per-client = 7 }")
        .with(routes)
        .route("headers = { request = { set = { \"x-secret\" = \"hush-3\" } } }");
    let seawall = setup.start()?;
    let right = "authorization: Bearer hush-0123456789abcdef\r\n";
    assert_eq!(ask(&seawall, "GET", "/api/plan", "")?.status, 401);
    let response = ask(&seawall, "GET", "/api/plan", right)?;
    assert!(!response.text().contains("hush"), "{}", response.text());
    let plan = told(&response)?;
    assert_eq!(plan["generation"], 1);
    let listener = &plan["listeners"][0];
    assert_eq!(listener["name"], "web");
    assert_eq!(listener["configured"], "127.0.0.1:0");
    assert_eq!(listener["actual"], seawall.address("web").to_string());
    assert_eq!(listener["limits"]["connections_per_client"], 7);
    assert_eq!(plan["upstreams"][0]["servers"][0]["address"], origin.address().to_string());
    let [away, hello, app] = plan["routes"].as_array().map_or(&[][..], |all| all) else {
        panic!("not three routes: {plan}");
    };
    assert_eq!((&away["name"], &away["host"]), (&json!("away"), &json!("*.example.org")));
    assert_eq!((&away["path"], &away["methods"]), (&json!("/old/*"), &json!([])));
    assert_eq!(away["action"]["kind"], "redirect");
    assert_eq!(away["action"]["to"], "https://{host}/new{query}");
    assert_eq!((&hello["host"], &hello["path"]), (&Value::Null, &json!("/hello")));
    assert_eq!((&hello["headers"], &hello["query"]), (&json!(["x-key"]), &json!(["key"])));
    assert_eq!(hello["methods"][0], "GET");
    assert_eq!(hello["action"]["body_bytes"], 5);
    assert_eq!((&app["name"], &app["action"]["upstream"]), (&json!("app"), &json!("app")));
    Ok(())
}

#[test]
fn the_upstreams_are_told_as_they_are_now() -> io::Result<()> {
    let origin = Origin::silent()?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let setup = Setup::to_all([origin.address(), gone]).upstream("balance = \"round-robin\"");
    let seawall = setup.start()?;
    let mut waiting = Vec::new();
    crate::setup::eventually("a server is passed over", || {
        let mut client = seawall.connect()?;
        client.send(crate::setup::get("/", ""))?;
        waiting.push(client);
        origin.wait_for_connections(waiting.len())?;
        crate::setup::eventually("it is sent", || {
            let now = told(&ask(&seawall, "GET", "/api/upstreams", "")?)?;
            Ok(now["upstreams"][0]["servers"][0]["in_flight"] == waiting.len())
        })?;
        let now = told(&ask(&seawall, "GET", "/api/upstreams", "")?)?;
        let app = &now["upstreams"][0];
        assert_eq!((&app["name"], &app["balance"]), (&json!("app"), &json!("round-robin")));
        let (up, down) = (&app["servers"][0], &app["servers"][1]);
        assert_eq!(up["address"], origin.address().to_string());
        assert_eq!((&up["state"], &up["weight"]), (&json!("ready"), &json!(1)));
        assert_eq!(up["connections"], waiting.len());
        assert!(up.get("seconds_left").is_none());
        assert_eq!((&down["address"], &down["in_flight"]), (&json!(gone.to_string()), &json!(0)));
        let left = down["seconds_left"].as_f64().unwrap_or_default();
        assert_eq!(left > 0.0, down["state"] == "unreachable", "{down}");
        Ok(down["state"] == "unreachable")
    })
}

#[test]
fn metrics_are_in_the_format_of_prometheus() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).workers(2).start()?;
    for _ in 0..5 {
        seawall.connect()?.get("test", "/")?;
    }
    crate::setup::metric_becomes(&seawall, "seawall_requests_total", &["class=\"2xx\""], 5.0)?;
    let text = seawall.admin_get("/metrics")?.text();
    let mut described: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default().to_owned();
            assert!(!described.contains(&name), "{name} is described twice");
            described.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let known = |known: &String| {
                let rest = name.strip_prefix(known.as_str());
                rest.is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
            };
            assert!(described.last().is_some_and(known), "{line} comes without its TYPE");
            let value = line.rsplit(' ').next().unwrap_or_default();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for (name, labels, expect) in [
        ("seawall_connections_total", &["listener=\"web\""][..], 5.0),
        ("seawall_request_duration_seconds_count", &["route=\"app\""], 5.0),
        ("seawall_request_duration_seconds_bucket", &["route=\"app\"", "le=\"+Inf\""], 5.0),
        ("seawall_sent_bytes_total", &["route=\"app\""], 20.0),
        ("seawall_upstream_requests_total", &["upstream=\"app\""], 5.0),
        ("seawall_workers", &[], 2.0),
        ("seawall_config_generation", &[], 1.0),
        ("seawall_config_last_reload_success", &[], 1.0),
    ] {
        assert_eq!(seawall.metric(name, labels)?, expect, "{name}{labels:?}");
    }
    Ok(())
}

#[test]
fn without_an_address_there_is_no_admin_api() -> io::Result<()> {
    let config = Setup::alone()
        .with("[[route]]\nrespond = \"here\"")
        .text()
        .replace("admin = \"127.0.0.1:0\"", "");
    let seawall = Seawall::start(crate::setup::BINARY, &config)?;
    assert_eq!(seawall.admin(), None);
    assert_eq!(seawall.connect()?.get("test", "/metrics")?.text(), "here");
    Ok(())
}
