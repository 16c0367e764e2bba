//! The admin API, request by request.

use std::io;

use seawall_testkit::{Origin, RawClient, Response, Seawall};

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
