//! Every refusal there is, provoked from outside.

use std::any::Any;
use std::io;

use seawall_http::Refusal;
use seawall_testkit::{
    DnsServer, Gate, Origin, RawClient, ReservedPort, Response, Seawall, Stalled,
};

use crate::setup::{Setup, eventually, metric_becomes, refused};

/// A Seawall and a request that it refuses, with `ACCEPT` where a field belongs.
struct Scene {
    seawall: Seawall,
    request: String,
    /// The head of the request is read before it is refused, so that `Accept` is known.
    read: bool,
    /// What must live on.
    _props: Vec<Box<dyn Any>>,
}

impl Scene {
    fn new(setup: Setup, request: &str) -> io::Result<Scene> {
        Ok(Scene {
            seawall: setup.start()?,
            request: request.to_owned(),
            read: true,
            _props: vec![],
        })
    }

    fn unread(self) -> Scene {
        Scene { read: false, ..self }
    }

    fn with(mut self, prop: impl Any) -> Scene {
        self._props.push(Box::new(prop));
        self
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\nACCEPT\r\n";

/// A way to provoke `refusal`. A new one does not compile without one.
fn provoke(refusal: Refusal) -> io::Result<Scene> {
    let page = || Setup::alone().with("[[route]]\nname = \"page\"\nrespond = \"page\"");
    match refusal {
        Refusal::BadRequest(_) => Ok(Scene::new(page(), "GET / HTTP/1.1\r\nACCEPT\r\n")?.unread()),
        Refusal::HeadTooLarge(_) => {
            let cookie = "x".repeat(40_000);
            let request = format!("GET / HTTP/1.1\r\nhost: test\r\ncookie: {cookie}\r\nACCEPT\r\n");
            Ok(Scene::new(page(), &request)?.unread())
        }
        Refusal::TargetTooLong => {
            let request =
                format!("GET /{} HTTP/1.1\r\nhost: test\r\nACCEPT\r\n", "x".repeat(40_000));
            Ok(Scene::new(page(), &request)?.unread())
        }
        Refusal::VersionUnsupported => {
            Ok(Scene::new(page(), "GET / HTTP/2.0\r\nhost: test\r\nACCEPT\r\n")?.unread())
        }
        Refusal::CodingUnsupported => {
            let request =
                "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: gzip, chunked\r\nACCEPT\r\n";
            Ok(Scene::new(page(), request)?.unread())
        }
        Refusal::MethodRefused => {
            Scene::new(page(), "TRACE / HTTP/1.1\r\nhost: test\r\nACCEPT\r\n")
        }
        Refusal::ExpectationUnknown => {
            Scene::new(page(), "GET / HTTP/1.1\r\nhost: test\r\nexpect: cake\r\nACCEPT\r\n")
        }
        Refusal::AmbiguousPath => {
            let inner = "[[route]]\nname = \"inner\"\npath = \"/a/b\"\nrespond = \"inner\"";
            let rest = "[[route]]\nname = \"rest\"\nrespond = \"rest\"";
            let setup = Setup::alone().with(inner).with(rest);
            Scene::new(setup, "GET /a%2Fb HTTP/1.1\r\nhost: test\r\nACCEPT\r\n")
        }
        Refusal::Loop => {
            let hops = ["1.1 seawall"; 10].join(", ");
            Scene::new(
                page(),
                &format!("GET / HTTP/1.1\r\nhost: test\r\nvia: {hops}\r\nACCEPT\r\n"),
            )
        }
        Refusal::NoRoute => {
            Scene::new(Setup::alone().with("[[route]]\npath = \"/x\"\nrespond = \"x\""), GET)
        }
        Refusal::BodyTooLarge => Scene::new(
            page().listen("limits.body = \"1KiB\""),
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2000\r\nACCEPT\r\n",
        ),
        Refusal::HeadTimeout => Ok(Scene::new(
            page().listen("timeouts.head = \"50ms\""),
            "GET / HTTP/1.1\r\nhost: test\r\nACCEPT",
        )?
        .unread()),
        Refusal::BodyTooSlow => {
            let origin = Origin::silent()?;
            let setup = Setup::before(&origin).listen("timeouts.body = \"50ms\"");
            let request = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\nACCEPT\r\n";
            Ok(Scene::new(setup, request)?.with(origin))
        }
        Refusal::TooManyConnections => {
            let scene = Scene::new(page().listen("limits.connections = 1"), GET)?.unread();
            let mut held = scene.seawall.connect()?;
            held.get("test", "/")?;
            Ok(scene.with(held))
        }
        Refusal::TooManyFromClient => {
            let scene =
                Scene::new(page().listen("limits.connections-per-client = 1"), GET)?.unread();
            let mut held = scene.seawall.connect()?;
            held.get("test", "/")?;
            Ok(scene.with(held))
        }
        Refusal::Unresolved => {
            let dns = DnsServer::start()?;
            let setup =
                Setup::to_all(["app.test:80"]).server(&format!("resolver = \"{}\"", dns.address()));
            Ok(Scene::new(setup, GET)?.with(dns))
        }
        Refusal::UpstreamFull => {
            let origin = Origin::silent()?;
            let scene = Scene::new(Setup::before(&origin).upstream("limits.connections = 1"), GET)?;
            let mut held = scene.seawall.connect()?;
            held.send(GET.replace("ACCEPT", ""))?;
            origin.wait_until(|seen| seen.iter().any(|seen| seen.length > 0))?;
            Ok(scene.with(held).with(origin))
        }
        Refusal::NoHealthyUpstream => {
            let down = ReservedPort::new()?;
            let scene = Scene::new(Setup::to(down.address()), GET)?;
            // Who finds that out is told so.
            let found = scene.seawall.connect()?.get("test", "/")?;
            assert!(found.text().contains("connect-failed"), "{}", found.text());
            Ok(scene.with(down))
        }
        Refusal::BreakerOpen(_) => {
            let origin = Origin::responding(|_| Response::new(500, ""))?;
            let breaker = "breaker = { minimum = 1, open = \"10m\" }";
            let scene = Scene::new(Setup::before(&origin).upstream(breaker), GET)?;
            eventually("an open breaker", || {
                Ok(scene.seawall.connect()?.get("test", "/")?.status == 503)
            })?;
            Ok(scene.with(origin))
        }
        Refusal::QueueFull | Refusal::QueueTimeout => {
            let origin = Origin::silent()?;
            let wait = if refusal == Refusal::QueueFull { "10m" } else { "50ms" };
            let keys = format!("max-in-flight = 1\nqueue = {{ size = 1, wait = \"{wait}\" }}");
            let scene = Scene::new(Setup::before(&origin).upstream(&keys), GET)?;
            let mut held = scene.seawall.connect()?;
            held.send(GET.replace("ACCEPT", ""))?;
            origin.wait_until(|seen| seen.iter().any(|seen| seen.length > 0))?;
            let mut waits = scene.seawall.connect()?;
            if refusal == Refusal::QueueFull {
                waits.send(GET.replace("ACCEPT", ""))?;
                metric_becomes(&scene.seawall, "seawall_upstream_waiting", &[], 1.0)?;
            }
            Ok(scene.with(held).with(waits).with(origin))
        }
        Refusal::DeadlinePassed => {
            let origin = Origin::silent()?;
            let setup = Setup::before(&origin).server("trust = [\"127.0.0.1\"]");
            let request = "GET / HTTP/1.1\r\nhost: test\r\nx-request-deadline-ms: 0\r\nACCEPT\r\n";
            Ok(Scene::new(setup, request)?.with(origin))
        }
        Refusal::ConnectFailed => {
            let down = ReservedPort::new()?;
            Ok(Scene::new(Setup::to(down.address()), GET)?.with(down))
        }
        Refusal::ConnectTimeout => {
            let stalled = Stalled::new()?;
            let setup = Setup::to(stalled.address()).upstream("connect-timeout = \"50ms\"");
            Ok(Scene::new(setup, GET)?.with(stalled))
        }
        Refusal::UpstreamClosed => {
            let origin = Origin::hanging_up()?;
            Ok(Scene::new(Setup::before(&origin), GET)?.with(origin))
        }
        Refusal::BadAnswer(_) => {
            let origin = Origin::scripted(|conversation| {
                conversation.read_request()?;
                conversation.send("SSH-2.0-OpenSSH\r\n\r\n")
            })?;
            Ok(Scene::new(Setup::before(&origin), GET)?.with(origin))
        }
        Refusal::BadUpgrade => {
            let origin = Origin::scripted(|conversation| {
                conversation.read_request()?;
                conversation.send("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
            })?;
            Ok(Scene::new(Setup::before(&origin), GET)?.with(origin))
        }
        Refusal::UpstreamTimeout => {
            let origin = Origin::silent()?;
            Ok(Scene::new(Setup::before(&origin).route("timeout = \"50ms\""), GET)?.with(origin))
        }
        Refusal::NotCached => {
            let origin = Origin::silent()?;
            let request =
                "GET / HTTP/1.1\r\nhost: test\r\ncache-control: only-if-cached\r\nACCEPT\r\n";
            Ok(Scene::new(Setup::before(&origin).route("cache = {}"), request)?.with(origin))
        }
        Refusal::ClientGone => {
            let origin = Origin::silent()?;
            Ok(Scene::new(Setup::before(&origin), GET)?.with(origin))
        }
    }
}

/// Sends the request of a scene and reads the answer.
fn refusal_of(scene: &Scene, accept: &str) -> io::Result<Response> {
    let mut client = scene.seawall.connect()?;
    client.send(scene.request.replace("ACCEPT", &format!("accept: {accept}\r\n")))?;
    client.read_response()
}

fn check(refusal: Refusal, response: &Response, html: bool) {
    let says = refusal.description();
    let code = says.code;
    assert_eq!(response.status, says.status, "{code}: {}", response.text());
    let status = response.header("proxy-status").unwrap_or_default();
    let expect = format!("seawall; error={}; details=\"{code}", says.proxy_error);
    assert!(status.starts_with(&expect), "{code}: {status}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{code}");
    match (says.retry_after, response.header("retry-after").map(str::parse::<u32>)) {
        (0, None) => {}
        // Until the breaker, which was told to stay open for ten minutes, asks again.
        (_, Some(Ok(seconds))) if code == "breaker-open" => {
            assert!((500..=1500).contains(&seconds))
        }
        (least, Some(Ok(seconds))) => {
            assert!((least..=2 * least).contains(&seconds), "{code}: {seconds}");
        }
        other => panic!("{code}: {other:?}"),
    }
    let text = response.text();
    if html {
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{code}");
        assert!(text.starts_with("<!doctype html>") && text.contains(code), "{code}: {text}");
    } else {
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{code}");
        for part in [
            format!("\"type\":\"urn:seawall:refusal:{code}\""),
            format!("\"status\":{}", says.status),
            format!("\"code\":\"{code}\""),
        ] {
            assert!(text.contains(&part), "{part} is missing in {text}");
        }
    }
    // Nothing of the configuration or the servers is told to strangers.
    assert!(!text.contains("127.0.0.1") && !text.contains("app.test"), "{text}");
}

#[test]
fn every_refusal_explains_itself_and_is_counted() -> io::Result<()> {
    for refusal in Refusal::ALL {
        let scene = provoke(refusal)?;
        let code = refusal.description().code;
        if refusal == Refusal::ClientGone {
            let mut client = scene.seawall.connect()?;
            client.send(scene.request.replace("ACCEPT", ""))?;
            metric_becomes(&scene.seawall, "seawall_upstream_requests_total", &[], 1.0)?;
            drop(client);
            refused(&scene.seawall, code, 1.0)?;
            continue;
        }
        let before =
            scene.seawall.metric("seawall_refusals_total", &[&format!("code=\"{code}\"")])?;
        let all_before = scene.seawall.metric("seawall_refusals_total", &[])?;
        let problem = refusal_of(&scene, "application/json")?;
        check(refusal, &problem, false);
        // Counted under its code and under no other.
        refused(&scene.seawall, code, before + 1.0)?;
        assert_eq!(
            scene.seawall.metric("seawall_refusals_total", &[])?,
            all_before + 1.0,
            "{code}"
        );
        // What one request does may change what the next one is refused with.
        let scene = provoke(refusal)?;
        let page = refusal_of(&scene, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")?;
        let asks_for_pages = scene.read && !scene.request.starts_with("TRACE");
        check(refusal, &page, asks_for_pages);
    }
    Ok(())
}

#[test]
fn the_access_log_names_the_refusal() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let seawall = Setup::alone()
        .server(&format!("access-log = {:?}", log.display().to_string()))
        .with("[[route]]\npath = \"/x\"\nrespond = \"x\"")
        .start()?;
    seawall.connect()?.get("test", "/other?\"q")?;
    seawall.connect()?.exchange("GET / HTTP/1.1\r\n\r\n")?;
    crate::setup::eventually("two lines", || {
        Ok(std::fs::read_to_string(&log)?.lines().count() == 2)
    })?;
    let text = std::fs::read_to_string(&log)?;
    let lines: Vec<&str> = text.lines().collect();
    for (line, parts) in lines.iter().zip([
        ["\"no-route\"", ":404", "\"GET\"", "/other"],
        ["\"bad-request\"", ":400", "127.0.0.1", "web"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }
    Ok(())
}

#[test]
fn places_of_a_listener_come_back_and_are_its_own() -> io::Result<()> {
    let seawall = Setup::alone()
        .workers(2)
        .listen("limits.connections = 3")
        .with("[listen.more]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = \"here\"")
        .start()?;
    let mut held: Vec<RawClient> = Vec::new();
    for _ in 0..3 {
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.text(), "here");
        held.push(client);
    }
    assert_eq!(seawall.connect()?.get("test", "/")?.status, 503);
    assert_eq!(seawall.metric("seawall_connections_turned_away_total", &[])?, 1.0);
    let mut other = RawClient::connect(seawall.address("more"))?;
    assert_eq!(other.get("test", "/")?.text(), "here");
    held.truncate(2);
    crate::setup::eventually("a place", || Ok(seawall.connect()?.get("test", "/")?.status == 200))?;
    for client in &mut held {
        assert_eq!(client.get("test", "/")?.text(), "here");
    }
    Ok(())
}

#[test]
fn one_client_cannot_take_the_places_of_others() -> io::Result<()> {
    let setup = Setup::alone()
        .listen("limits.connections-per-client = 2")
        .with("[[route]]\nrespond = \"here\"");
    let seawall = setup.clone().workers(2).start()?;
    let web = seawall.address("web");
    let from = |address: &str| RawClient::connect_from(address.parse().expect("an address"), web);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = from("127.0.0.1")?;
        assert_eq!(client.get("test", "/")?.status, 200);
        held.push(client);
    }
    assert_eq!(from("127.0.0.1")?.get("test", "/")?.status, 429);
    assert_eq!(from("127.0.0.2")?.get("test", "/")?.status, 200);
    held.clear();
    crate::setup::eventually("a place", || Ok(from("127.0.0.1")?.get("test", "/")?.status == 200))?;

    // Trusted peers are proxies with many clients behind them.
    let seawall = setup.server("trust = [\"127.0.0.1\"]").start()?;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.status, 200);
        held.push(client);
    }
    Ok(())
}

/// A client that is turned away without having sent anything still learns why.
#[test]
fn whoever_is_turned_away_gets_the_answer_before_asking() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.read_request()?;
        conversation.wait(&at_gate)
    })?;
    let seawall = Setup::before(&origin).listen("limits.connections = 1").start()?;
    let mut held = seawall.connect()?;
    held.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
    gate.wait_for_waiting(1)?;
    let mut client = seawall.connect()?;
    let response = client.read_response()?;
    assert_eq!(response.status, 503);
    assert!(response.headers.lists("connection", "close"));
    client.expect_close()?;
    gate.open();
    Ok(())
}

/// A route has pages of its own for what Seawall says, and they change nothing but the words.
#[test]
fn pages_of_a_route_take_the_place_of_refusals() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send("HTTP/1.1 502 Mine\r\ncontent-length: 4\r\n\r\nmine")
    })?;
    let down = ReservedPort::new()?;
    let pages = "errors = { 5xx = \"any\", 502 = \"<h1>Back soon</h1>\" }";
    let exact = "errors = { 502 = \"less\", \
                 connect-failed = { body = \"{}\", type = \"application/json\" } }";
    // An upstream each, since only the first request finds out that the server is down.
    let dead = |name: &str| format!("[upstream.{name}]\nservers = [\"{}\"]", down.address());
    let route = |path: &str, to: &str, pages: &str| {
        format!("[[route]]\npath = \"{path}\"\nto = \"{to}\"\n{pages}")
    };
    let seawall = Setup::before(&origin)
        .with(&[dead("one"), dead("two"), dead("three"), dead("four")].join("\n"))
        .with(&route("/dead", "one", pages))
        .with(&route("/exact", "two", exact))
        .with(&route("/plain", "three", ""))
        .with(&route("/text", "four", ""))
        .with(&route("/alive", "app", pages))
        .start()?;
    let html = Some("text/html; charset=utf-8");
    let failed = "seawall; error=connection_refused; details=\"connect-failed\"";

    let page = seawall.connect()?.get("test", "/dead")?;
    assert_eq!((page.status, page.text().as_ref()), (502, "<h1>Back soon</h1>"));
    assert_eq!(page.header("content-type"), html);
    assert_eq!(page.header("proxy-status"), Some(failed));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("retry-after").is_some());

    let page = seawall.connect()?.get("test", "/exact")?;
    assert_eq!((page.status, page.text().as_ref()), (502, "{}"));
    assert_eq!(page.header("content-type"), Some("application/json"));

    // Answers of servers are theirs, and so are the refusals of other routes Seawall's.
    let answer = seawall.connect()?.get("test", "/alive")?;
    assert_eq!((answer.status, answer.text().as_ref()), (502, "mine"));
    let other = seawall.connect()?.get("test", "/plain")?;
    check(Refusal::ConnectFailed, &other, false);

    let request = "GET /text HTTP/1.1\r\nhost: test\r\naccept: text/plain\r\n\r\n";
    let text = seawall.connect()?.exchange(request)?;
    let expect =
        "502 Bad Gateway\nThe server behind this address cannot be reached.\nconnect-failed\n";
    assert_eq!((text.status, text.text().as_ref()), (502, expect));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("proxy-status"), Some(failed));
    refused(&seawall, "connect-failed", 4.0)
}
