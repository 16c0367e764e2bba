//! Servers put in place and taken out by hand, through the admin API, while requests go on.

use std::io;
use std::net::SocketAddr;

use seawall_testkit::{DnsServer, Gate, LoadPlan, Origin, ReservedPort, Response, Seawall};
use serde_json::{Value, json};

use crate::setup::{Setup, code, eventually, get, metric_becomes};

/// The one upstream as the API tells it.
pub(crate) fn upstream(seawall: &Seawall) -> io::Result<Value> {
    let answer: Value = serde_json::from_str(&seawall.admin_get("/api/upstreams")?.text())?;
    Ok(answer["upstreams"][0].clone())
}

/// What the API tells of one of its servers.
pub(crate) fn server(seawall: &Seawall, address: SocketAddr) -> io::Result<Value> {
    let upstream = upstream(seawall)?;
    let servers = upstream["servers"].as_array().cloned().unwrap_or_default();
    let found = servers.into_iter().find(|server| server["address"] == address.to_string());
    found.ok_or_else(|| io::Error::other(format!("no {address} in {upstream}")))
}

fn send(seawall: &Seawall, method: &str, target: &str, body: &str) -> io::Result<(u16, Value)> {
    let response = seawall.admin_send(method, target, body)?;
    let expect = match response.status {
        200 => "application/json",
        _ => "application/problem+json",
    };
    assert_eq!(response.header("content-type"), Some(expect), "{}", response.text());
    Ok((response.status, serde_json::from_str(&response.text())?))
}

fn put(seawall: &Seawall, servers: &str) -> io::Result<(u16, Value)> {
    send(seawall, "PUT", "/api/upstreams/app/servers", servers)
}

fn order(seawall: &Seawall, server: SocketAddr, state: &str) -> io::Result<Value> {
    let target = format!("/api/upstreams/app/servers/{server}/state");
    let (status, answer) = send(seawall, "PUT", &target, &json!({ "state": state }).to_string())?;
    assert_eq!(status, 200, "{answer}");
    Ok(answer)
}

fn load(seawall: &Seawall) -> LoadPlan {
    LoadPlan::get(seawall.address("web"), "/", 4)
        .judging(|response| match response.status {
            200 => Ok(response.text()),
            status => Err(format!("status {status}")),
        })
        .resting(std::time::Duration::from_millis(1))
}

#[test]
fn servers_replaced_under_load_fail_no_request() -> io::Result<()> {
    let (one, two) = (Origin::always("one")?, Origin::always("two")?);
    let seawall = Setup::before(&one).workers(2).start()?;
    let load = load(&seawall).start()?;
    load.wait_for_more(20)?;
    let mut kept_by_one = 0;
    for round in 0..10 {
        let list = json!([{ "address": two.address().to_string(), "weight": 2, "zone": "a" }]);
        let (status, answer) = put(&seawall, &list.to_string())?;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["added"], json!([two.address().to_string()]));
        assert_eq!(answer["removed"], json!([one.address().to_string()]));
        assert_eq!(
            (&answer["warnings"], &answer["upstream"]["source"]),
            (&json!([]), &json!("api"))
        );
        let before = two.requests();
        two.wait_for_requests(before + 20)?;
        // All that was on the way to the other has come to its end.
        eventually("one has no request", || {
            Ok(upstream(&seawall)?["departed"].as_array().is_some_and(Vec::is_empty))
        })?;
        kept_by_one = one.requests();
        if round % 5 == 0 {
            // A reload leaves it so.
            assert_eq!(seawall.reload()?.status, 200);
            let now = server(&seawall, two.address())?;
            assert_eq!((&now["weight"], &now["zone"]), (&json!(2), &json!("a")));
        }
        load.wait_for_more(20)?;
        assert_eq!(one.requests(), kept_by_one);
        let (status, answer) = send(&seawall, "DELETE", "/api/upstreams/app/servers", "")?;
        assert_eq!((status, &answer["upstream"]["source"]), (200, &json!("config")));
        one.wait_for_requests(kept_by_one + 20)?;
    }
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    assert!(one.requests() > kept_by_one);
    let log = seawall.log();
    let events = log.lines().filter(|line| line.contains("servers changed")).count();
    assert_eq!(events, 20, "each change is one event:\n{log}");
    Ok(())
}

#[test]
fn a_server_that_goes_ends_its_requests() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let one = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "one"))?;
        }
        Ok(())
    })?;
    let two = Origin::always("two")?;
    let seawall = Setup::before(&one).start()?;
    let mut waiting = seawall.connect()?;
    waiting.send(get("/", ""))?;
    one.wait_for_connections(1)?;
    let (status, answer) = put(&seawall, &json!([two.address().to_string()]).to_string())?;
    assert_eq!(status, 200, "{answer}");
    let departed = &answer["upstream"]["departed"];
    assert_eq!(departed[0]["address"], one.address().to_string());
    assert_eq!((&departed[0]["in_flight"], &departed[1]), (&json!(1), &Value::Null));
    assert_eq!(answer["upstream"]["in_flight"], 1);
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "two");
    gate.open();
    assert_eq!(waiting.read_response()?.text(), "one");
    eventually("nothing is left of it", || Ok(upstream(&seawall)?["departed"] == json!([])))?;
    one.wait_until_idle()
}

#[test]
fn a_server_is_drained() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let one = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "one"))?;
        }
        Ok(())
    })?;
    let two = Origin::always("two")?;
    let setup = Setup::to_all([one.address(), two.address()]).upstream("balance = \"round-robin\"");
    let seawall = setup.start()?;
    let mut waiting = seawall.connect()?;
    waiting.send(get("/", ""))?;
    one.wait_for_connections(1)?;

    let answer = order(&seawall, one.address(), "drain")?;
    let drained = &answer["server"];
    assert_eq!((&drained["state"], &drained["drained"]), (&json!("draining"), &json!(false)));
    assert_eq!((&drained["in_flight"], &answer["warning"]), (&json!(1), &Value::Null));
    // Neither now nor after a reload does anything new go there.
    for _ in 0..2 {
        let mut client = seawall.connect()?;
        for _ in 0..6 {
            assert_eq!(client.get("test", "/")?.text(), "two");
        }
        assert_eq!(seawall.reload()?.status, 200);
    }
    let counted =
        |state: &str| seawall.metric("seawall_upstream_servers", &[&format!("state=\"{state}\"")]);
    assert_eq!((counted("draining")?, counted("ready")?, counted("disabled")?), (1.0, 1.0, 0.0));
    gate.open();
    assert_eq!(waiting.read_response()?.text(), "one");
    eventually("it can be stopped", || Ok(server(&seawall, one.address())?["drained"] == true))?;
    let now = server(&seawall, one.address())?;
    assert_eq!(
        (&now["in_flight"], &now["why"]),
        (&json!(0), &json!("by order of an operator; no request is in flight"))
    );

    let answer = order(&seawall, one.address(), "use")?;
    assert_eq!(
        (&answer["server"]["state"], &answer["server"]["why"]),
        (&json!("ready"), &Value::Null)
    );
    assert!(answer["server"].get("drained").is_none());
    let mut client = seawall.connect()?;
    let answers = [client.get("test", "/")?.text(), client.get("test", "/")?.text()];
    assert!(answers.contains(&"one".to_owned()), "{answers:?}");
    let log = seawall.log();
    for order in ["drain", "use"] {
        let events = log.lines().filter(|line| line.contains(&format!("order=\"{order}\"")));
        assert_eq!(events.count(), 1, "{order}: {log}");
    }
    Ok(())
}

#[test]
fn the_last_server_can_be_disabled() -> io::Result<()> {
    let (one, two) = (Origin::always("one")?, Origin::always("two")?);
    let seawall = Setup::to_all([one.address(), two.address()]).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(order(&seawall, one.address(), "disable")?["warning"], Value::Null);
    assert_eq!(client.get("test", "/")?.text(), "two");
    let answer = order(&seawall, two.address(), "disable")?;
    assert_eq!(
        (&answer["server"]["state"], &answer["server"]["drained"]),
        (&json!("disabled"), &json!(true))
    );
    let warning = answer["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("no server of this upstream is left in use"), "{answer}");
    assert_eq!(client.get("test", "/")?.status, 503);
    metric_becomes(&seawall, "seawall_upstream_servers", &["state=\"disabled\""], 2.0)?;
    order(&seawall, two.address(), "use")?;
    assert_eq!(client.get("test", "/")?.text(), "two");
    Ok(())
}

#[test]
fn an_order_that_leaves_only_ill_servers_is_warned_of() -> io::Result<()> {
    let (one, gone) = (Origin::always("one")?, ReservedPort::new()?);
    let seawall = Setup::to_all([one.address(), gone.address()]).start()?;
    let mut client = seawall.connect()?;
    eventually("one is passed over", || {
        assert_eq!(client.get("test", "/")?.text(), "one");
        Ok(server(&seawall, gone.address())?["state"] == "unreachable")
    })?;
    let answer = order(&seawall, one.address(), "drain")?;
    let warning = answer["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("none of the servers that are left in use is well"), "{answer}");
    Ok(())
}

#[test]
fn what_is_wrong_is_told_and_nothing_changes() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).start()?;
    let address = origin.address();
    let own = seawall.address("web");
    let list = "/api/upstreams/app/servers".to_owned();
    let state = format!("{list}/{address}/state");
    let elsewhere = format!("{list}/127.0.0.1:1/state");
    let many = format!("[{}\"127.0.0.1:1\"]", "\"127.0.0.1:2\",".repeat(1_000));
    // Small enough to be sent whole before it is refused.
    let large = format!("{{{}}}", " ".repeat(1100));
    let shown = address.to_string();
    for (method, target, body, status, parts) in [
        ("PUT", &list, "", 422, &["expected a value, found the end", "\"line\":1"][..]),
        (
            "PUT",
            &list,
            "[\"127.0.0.1:1\",\n {\"addres\": \"127.0.0.1:2\"}]",
            422,
            &["unknown key `addres`", "did you mean `address`?", "\"line\":2"],
        ),
        ("PUT", &list, "[]", 422, &["this list is empty", "\"help\":"]),
        ("PUT", &list, "[\"127.0.0.1:1\", \"127.0.0.1:1\"]", 422, &["already there"]),
        (
            "PUT",
            &list,
            "[{\"address\": \"127.0.0.1:1\", \"weight\": 5000, \"priority\": 99}]",
            422,
            &["has 2 mistakes", "from 1 to 1000", "from 0 to 15"],
        ),
        ("PUT", &list, &many, 422, &["1001 items"]),
        (
            "PUT",
            &"/api/upstreams/ap/servers".to_owned(),
            "[]",
            404,
            &["no upstream `ap`", "\"known\":[\"app\"]"],
        ),
        ("DELETE", &"/api/upstreams/ap/servers".to_owned(), "", 404, &["\"known\":[\"app\"]"]),
        ("PUT", &elsewhere, "{\"state\":\"drain\"}", 404, &["no server `127.0.0.1:1`", &shown]),
        (
            "PUT",
            &format!("{list}/here/state"),
            "{\"state\":\"drain\"}",
            404,
            &["no server `here`", &shown],
        ),
        (
            "PUT",
            &state,
            "{\"state\":\"drian\"}",
            422,
            &["unknown variant `drian`", "`drain`", "\\\"disable\\\"", "\"column\":16"],
        ),
        ("PUT", &state, "{\"state\":\"drain\",\"for\":1}", 422, &["unknown field `for`"]),
        ("PUT", &state, "drain", 422, &["expected value"]),
        ("PUT", &state, &large, 413, &["1024 bytes"]),
    ] {
        let response = seawall.admin_send(method, target, body)?;
        let text = response.text();
        assert_eq!(response.status, status, "{method} {target} {text}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{text}");
        for part in
            ["\"type\":\"urn:seawall:problem:", "\"title\":", "\"detail\":"].iter().chain(parts)
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let status: Value = serde_json::from_str(&text)?;
        assert_eq!(status["status"], response.status);
    }
    // Seawall itself, as the listener has it in the file: on a free port that is not known there.
    assert_ne!(own.port(), 0);
    let now = upstream(&seawall)?;
    assert_eq!((&now["source"], &now["servers"][0]["address"]), (&json!("config"), &json!(shown)));
    assert_eq!(now["servers"].as_array().map(Vec::len), Some(1));
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    // Pages of other sites cannot do it either.
    for (method, target) in [("PUT", &list), ("DELETE", &list), ("PUT", &state)] {
        let admin = seawall.admin().ok_or_else(|| io::Error::other("no admin API"))?;
        let response = seawall_testkit::RawClient::connect(admin)?.exchange(format!(
            "{method} {target} HTTP/1.1\r\nhost: {admin}\r\norigin: http://evil.test\r\ncontent-length: 2\r\n\r\n[]"
        ))?;
        assert_eq!(response.status, 403, "{method} {target}");
    }
    Ok(())
}

#[test]
fn a_server_that_is_seawall_itself_is_refused() -> io::Result<()> {
    let (origin, port) = (Origin::always("here")?, ReservedPort::new()?);
    let own = port.address();
    drop(port);
    let config = Setup::before(&origin).text().replacen(
        "address = \"127.0.0.1:0\"",
        &format!("address = \"{own}\""),
        1,
    );
    let seawall = Seawall::start(crate::setup::BINARY, &config)?;
    let (status, answer) = put(&seawall, &json!([own.to_string()]).to_string())?;
    assert_eq!(status, 422);
    assert!(answer["detail"].as_str().unwrap_or_default().contains("Seawall itself"), "{answer}");
    Ok(())
}

#[test]
fn names_are_looked_up_before_they_are_put_in_place() -> io::Result<()> {
    let (dns, one, two) = (DnsServer::start()?, Origin::always("one")?, Origin::always("two")?);
    dns.set("app.test", &[[127, 0, 0, 1].into()], 60);
    let setup = Setup::before(&one).server(&format!("resolver = \"{}\"", dns.address()));
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.text(), "one");
    let name = format!("app.test:{}", two.address().port());
    let (status, answer) = put(&seawall, &json!([name]).to_string())?;
    assert_eq!((status, &answer["warnings"]), (200, &json!([])));
    assert_eq!(answer["added"], json!([two.address().to_string()]));
    let expect = json!([{ "name": "app.test", "addresses": 1, "problem": null }]);
    assert_eq!(answer["upstream"]["names"], expect);
    assert_eq!(client.get("test", "/")?.text(), "two");

    // One that does not exist leaves the upstream as it was, until it does.
    let name = format!("later.test:{}", one.address().port());
    let (status, answer) = put(&seawall, &json!([name]).to_string())?;
    assert_eq!((status, &answer["upstream"]["stranded"]), (200, &json!(true)));
    let warnings = answer["warnings"].to_string();
    for part in [
        "none of these servers has an address",
        "`later.test` does not resolve: there is no such name",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
    assert_eq!(client.get("test", "/")?.text(), "two");
    dns.set("later.test", &[[127, 0, 0, 1].into()], 60);
    eventually("it resolves", || Ok(client.get("test", "/")?.text() == "one"))?;
    assert_eq!(upstream(&seawall)?["stranded"], false);
    // What nobody needs any more is not asked for.
    let (status, _) = send(&seawall, "DELETE", "/api/upstreams/app/servers", "")?;
    assert_eq!((status, &upstream(&seawall)?["names"]), (200, &json!([])));
    Ok(())
}

#[test]
fn without_the_token_nothing_is_changed() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let config = Setup::before(&origin).server("admin-token = \"0123456789abcdef\"").text();
    let seawall = Seawall::start(crate::setup::BINARY, &config)?;
    let target = "/api/upstreams/app/servers";
    for (method, target) in [
        ("PUT", target.to_owned()),
        ("DELETE", target.to_owned()),
        ("PUT", format!("{target}/{}/state", origin.address())),
    ] {
        let response = seawall.admin_send(method, &target, "{\"state\":\"disable\"}")?;
        assert_eq!(response.status, 401, "{method} {target}");
    }
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response)), (200, String::new()));
    Ok(())
}
