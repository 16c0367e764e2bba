//! Reports: the application is told of each answer to a client once, whoever gave it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use seawall_testkit::{Gate, Origin, Request, ReservedPort, Response, Seawall};
use serde_json::{Value, json};

use crate::setup::{Setup, eventually, get, metric_becomes, post};

/// An application that remembers the batches it has taken.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Batches>>);

#[derive(Default)]
struct Batches {
    /// Numbers of batches in the order of their arrival, with what was answered.
    posts: Vec<(String, u16)>,
    /// What was taken, by number.
    taken: BTreeMap<String, Vec<Value>>,
    authorization: Vec<String>,
}

impl Told {
    /// Takes a batch and answers with this status; only with 204 it is remembered.
    fn take(&self, request: &Request, status: u16) -> Response {
        let mut all = self.0.lock().expect("no test panics with it");
        let field = |name| request.header(name).unwrap_or_default().to_owned();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/clicks"));
        assert_eq!(field("content-type"), "application/x-ndjson");
        let number = field("seawall-batch");
        all.posts.push((number.clone(), status));
        all.authorization.push(field("authorization"));
        if status == 204 {
            let body = String::from_utf8(request.body.clone()).expect("it is UTF-8");
            assert!(body.ends_with('\n') && body.len() <= 4 << 20);
            let event = |line: &str| serde_json::from_str(line).expect("a line of JSON");
            let events: Vec<Value> = body.lines().map(event).collect();
            // As applications do that count a batch once.
            let before = all.taken.insert(number.clone(), events.clone());
            assert!(before.is_none_or(|before| before == events), "{number} has changed");
        }
        Response::new(status, "")
    }

    fn events(&self) -> Vec<Value> {
        let all = self.0.lock().expect("no test panics with it");
        all.taken.values().flatten().cloned().collect()
    }

    fn posts(&self) -> Vec<(String, u16)> {
        self.0.lock().expect("no test panics with it").posts.clone()
    }

    /// The events by what is told of them here: method, path, status, as often as they are there.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.events() {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let shown = format!("{} {} {}", text("method"), text("path"), event["status"]);
            *counts.entry(shown).or_default() += 1;
        }
        counts
    }

    /// Waits until there are exactly these events.
    fn become_counts(&self, expect: &[(&str, usize)]) -> io::Result<()> {
        let expect: BTreeMap<String, usize> =
            expect.iter().map(|(shown, count)| ((*shown).to_owned(), *count)).collect();
        let most: usize = expect.values().sum();
        eventually(&format!("{expect:?}"), || Ok(self.events().len() >= most))
            .map_err(|error| io::Error::other(format!("{error}; there is {:?}", self.counts())))?;
        assert_eq!(self.counts(), expect);
        Ok(())
    }
}

/// An application that takes batches, and answers everything else with what `answer` gives.
fn application(
    told: &Told,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> io::Result<Origin> {
    let told = told.clone();
    Origin::responding(move |request| match request.target.as_str() {
        "/clicks" => told.take(request, 204),
        _ => answer(request),
    })
}

/// What an application is asked that is not told anything: by path, how often, and how often with the
/// mark.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<BTreeMap<String, (usize, usize)>>>);

impl Asked {
    fn note(&self, request: &Request) {
        let mut all = self.0.lock().expect("no test panics with it");
        let (asked, marked) = all.entry(request.target.clone()).or_default();
        *asked += 1;
        let marks: Vec<&str> = request.headers.all("seawall-reported").collect();
        assert!(marks.is_empty() || marks == ["1"], "{marks:?}");
        *marked += marks.len();
    }

    fn of(&self, target: &str) -> (usize, usize) {
        let all = self.0.lock().expect("no test panics with it");
        all.get(target).copied().unwrap_or_default()
    }
}

const FRESH: &str = "public, max-age=600";
const QUICK: &str = "report = { path = \"/clicks\", every = \"100ms\" }";

fn fresh(request: &Request, asked: &Asked) -> Response {
    asked.note(request);
    Response::new(200, "0123456789").with("cache-control", FRESH).with("etag", "\"1\"")
}

fn reporting(origin: &Origin) -> Setup {
    Setup::before(origin).route("cache = {}").route(QUICK)
}

fn statuses(node: &Seawall, requests: &[String]) -> io::Result<Vec<u16>> {
    let mut client = node.connect()?;
    let mut all = Vec::new();
    for request in requests {
        client.send(request)?;
        let method = request.split(' ').next().unwrap_or_default();
        all.push(client.read_response_to(method)?.status);
    }
    Ok(all)
}

#[test]
fn each_answer_is_told_once_whoever_gave_it() -> io::Result<()> {
    let (told, asked) = (Told::default(), Asked::default());
    let origin = application(&told, {
        let asked = asked.clone();
        move |request| match request.target.as_str() {
            "/private" => {
                asked.note(request);
                Response::new(403, "no").with("cache-control", "no-store")
            }
            _ => fresh(request, &asked),
        }
    })?;
    let seawall = reporting(&origin).listen("limits = { body = \"1KiB\" }").start()?;
    let head = "HEAD /a HTTP/1.1\r\nhost: test\r\n\r\n".to_owned();
    let requests = [
        get("/a", ""),
        get("/a", ""),
        head,
        get("/a", "if-none-match: \"1\"\r\n"),
        get("/a", "range: bytes=0-3\r\n"),
        get("/a?x=1", "referer: http://from/\r\nuser-agent: me\r\ndnt: 1\r\n"),
        get("/private", ""),
        get("/only", "cache-control: only-if-cached\r\n"),
        post("/a", "", "x"),
    ];
    assert_eq!(statuses(&seawall, &requests)?, [200, 200, 200, 304, 206, 200, 403, 504, 200]);
    told.become_counts(&[
        ("GET /a 200", 2),
        ("HEAD /a 200", 1),
        ("GET /a 304", 1),
        ("GET /a 206", 1),
        ("GET /a?x=1 200", 1),
        ("GET /private 403", 1),
        ("GET /only 504", 1),
        ("POST /a 200", 1),
    ])?;
    assert_eq!(asked.of("/a"), (2, 2), "one GET and the POST, both marked");
    assert_eq!((asked.of("/a?x=1"), asked.of("/private")), ((1, 1), (1, 1)));
    let events = told.events();
    let full = events.iter().find(|event| event["path"] == "/a?x=1").expect("it is there");
    let time = full["time"].as_u64().expect("a number");
    assert!(time > 1_700_000_000_000, "{full}");
    let mut expect = json!({
        "time": time, "client": "127.0.0.1", "method": "GET", "host": "test", "path": "/a?x=1",
        "status": 200, "referrer": "http://from/", "agent": "me", "dnt": true, "cache": "miss",
    });
    assert_eq!(*full, expect);
    expect["cache"] = "hit".into();
    let hits = events.iter().filter(|event| event["cache"] == "hit");
    assert_eq!(hits.count(), 4, "{events:?}");
    metric_becomes(&seawall, "seawall_report_events_total", &["route=\"app\""], 9.0)?;
    metric_becomes(&seawall, "seawall_report_waiting_bytes", &[], 0.0)?;
    let batches = told.posts().len() as f64;
    metric_becomes(&seawall, "seawall_report_batches_total", &[], batches)?;
    assert_eq!(seawall.metric("seawall_report_dropped_total", &[])?, 0.0);
    Ok(())
}

#[test]
fn those_who_wait_together_are_told_each() -> io::Result<()> {
    const CLIENTS: usize = 200;
    let (told, asked, gate) = (Told::default(), Asked::default(), Gate::new());
    let origin = Origin::scripted({
        let (told, asked, gate) = (told.clone(), asked.clone(), gate.clone());
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                let answer = match request.target.as_str() {
                    "/clicks" => told.take(&request, 204),
                    _ => {
                        conversation.wait(&gate)?;
                        fresh(&request, &asked)
                    }
                };
                conversation.respond(&request, answer)?;
                if !request.keeps_alive() {
                    break;
                }
            }
            Ok(())
        }
    })?;
    let seawall = reporting(&origin).workers(2).start()?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = seawall.connect()?;
        client.send(get("/hot", ""))?;
        clients.push(client);
    }
    // One leaves before there is an answer: it is told of nobody.
    drop(clients.pop());
    let open = ["listener=\"web\""];
    metric_becomes(&seawall, "seawall_connections_open", &open, CLIENTS as f64 - 1.0)?;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response()?.status, 200);
    }
    told.become_counts(&[("GET /hot 200", CLIENTS - 1)])?;
    assert_eq!(asked.of("/hot"), (1, 1));
    Ok(())
}

#[test]
fn what_nobody_asked_for_is_not_told() -> io::Result<()> {
    let (told, asked) = (Told::default(), Asked::default());
    let origin = application(&told, {
        let asked = asked.clone();
        move |request| {
            asked.note(request);
            Response::new(200, "x").with("cache-control", "max-age=0, stale-while-revalidate=600")
        }
    })?;
    let seawall = reporting(&origin).start()?;
    for asks in 1..10 {
        assert_eq!(statuses(&seawall, &[get("/a", "")])?, [200]);
        eventually("it is fetched anew in the background", || Ok(asked.of("/a").0 >= asks))?;
    }
    told.become_counts(&[("GET /a 200", 9)])?;
    let (all, marked) = asked.of("/a");
    assert_eq!(all, marked, "refreshes have the mark, too");
    let warmed = seawall.admin_send(
        "POST",
        "/api/cache/warm",
        r#"{"urls": ["http://test/warm", "http://test/a"], "rate": 1000}"#,
    )?;
    assert_eq!(warmed.status, 202, "{}", warmed.text());
    eventually("it is warmed", || Ok(asked.of("/warm").0 == 1))?;
    assert_eq!(asked.of("/warm"), (1, 1));
    assert_eq!(statuses(&seawall, &[get("/last", "")])?, [200]);
    told.become_counts(&[("GET /a 200", 9), ("GET /last 200", 1)])?;
    Ok(())
}

#[test]
fn what_clients_say_of_it_is_taken_out_everywhere() -> io::Result<()> {
    let (told, asked) = (Told::default(), Asked::default());
    let origin = application(&told, {
        let asked = asked.clone();
        move |request| {
            asked.note(request);
            assert_eq!(request.header("seawall_reported"), None);
            Response::new(200, "x")
        }
    })?;
    let setup =
        Setup::before(&origin).with("[[route]]\npath = \"/other/*\"\nto = \"app\"").route(QUICK);
    let fields = ["seawall-reported: 1\r\n", "Seawall_Reported: 1\r\n", "seawall-reported: 0\r\n"];
    let requests = |path: &str| fields.map(|field| get(path, field));
    let seawall = setup.start()?;
    statuses(&seawall, &requests("/other/a"))?;
    statuses(&seawall, &requests("/a"))?;
    told.become_counts(&[("GET /a 200", 3)])?;
    assert_eq!((asked.of("/other/a"), asked.of("/a")), ((3, 0), (3, 3)));
    // Those who are trusted have reported it themselves.
    let seawall = setup.server("trust = [\"127.0.0.1\"]").start()?;
    let reported = get("/b", "seawall-reported: 1\r\n");
    statuses(&seawall, &[reported.clone(), reported.replace("/b", "/other/b"), get("/c", "")])?;
    told.become_counts(&[("GET /a 200", 3), ("GET /c 200", 1)])?;
    assert_eq!((asked.of("/b"), asked.of("/other/b")), ((1, 1), (1, 1)));
    Ok(())
}

#[test]
fn the_tier_that_answers_the_client_tells() -> io::Result<()> {
    let (at_edge, at_shield, asked) = (Told::default(), Told::default(), Asked::default());
    let origin = application(&at_shield, {
        let asked = asked.clone();
        move |request| fresh(request, &asked)
    })?;
    let counter = application(&at_edge, |_| Response::new(404, "not asked"))?;
    let shield = Setup::before(&origin)
        .server("trust = [\"127.0.0.1\"]")
        .route("cache = { tier = \"shield\" }")
        .route(QUICK)
        .start()?;
    let edge = |report: &str| {
        let other = [("shield", shield.address("web")), ("counter", counter.address())];
        let upstream =
            |(name, at): (&str, SocketAddr)| format!("[upstream.{name}]\nservers = [\"{at}\"]\n");
        let other: String = other.map(upstream).concat();
        Setup::before(&origin)
            .server("trust = [\"127.0.0.1\"]")
            .with(&other)
            .route("cache = { tier = \"edge\", parent = \"shield\" }")
            .route(report)
            .start()
    };
    let first = edge("report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }")?;
    statuses(&first, &[get("/a", ""), get("/a", ""), get("/a", "")])?;
    at_edge.become_counts(&[("GET /a 200", 3)])?;
    assert_eq!(asked.of("/a"), (1, 1));
    // Who comes to the shield itself is answered there.
    statuses(&shield, &[get("/a", ""), get("/b", "")])?;
    at_shield.become_counts(&[("GET /a 200", 1), ("GET /b 200", 1)])?;
    assert_eq!(asked.of("/b"), (1, 1));
    // Behind an edge that tells nobody, requests are counted where they arrive, as ever.
    let second = edge("")?;
    statuses(&second, &[get("/c", ""), get("/c", "")])?;
    statuses(&shield, &[get("/d", "")])?;
    at_shield.become_counts(&[("GET /a 200", 1), ("GET /b 200", 1), ("GET /d 200", 1)])?;
    assert_eq!(asked.of("/c"), (1, 0));
    Ok(())
}

#[test]
fn answers_of_seawall_itself_are_told() -> io::Result<()> {
    let told = Told::default();
    let counter = application(&told, |_| Response::new(404, "not asked"))?;
    let sections = format!(
        "[upstream.counter]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"moved\"\npath = \"/moved\"\nredirect = \"/x\"\n{report}\n\
         [[route]]\nname = \"page\"\npath = \"/page\"\nrespond = \"Hi\"\n{report}\n",
        counter.address(),
        report = "report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }",
    );
    let nobody = ReservedPort::new()?;
    let seawall = Setup::to(nobody.address())
        .with(&sections)
        .route("report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }")
        .start()?;
    let requests = [get("/moved", ""), get("/page", ""), get("/down", "")];
    assert_eq!(statuses(&seawall, &requests)?, [308, 200, 502]);
    told.become_counts(&[("GET /moved 308", 1), ("GET /page 200", 1), ("GET /down 502", 1)])?;
    for route in ["moved", "page", "app"] {
        let label = format!("route=\"{route}\"");
        metric_becomes(&seawall, "seawall_report_events_total", &[&label], 1.0)?;
    }
    Ok(())
}

/// An application that is asked twice for each batch: it takes the first time, and says nothing.
#[test]
fn a_batch_keeps_its_number_however_often_it_is_posted() -> io::Result<()> {
    let (told, posts) = (Told::default(), AtomicUsize::new(0));
    let origin = Origin::scripted({
        let told = told.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                let answer = match request.target.as_str() {
                    "/clicks" => told.take(&request, 204),
                    _ => Response::new(200, "x"),
                };
                if request.target == "/clicks" && posts.fetch_add(1, SeqCst).is_multiple_of(2) {
                    break;
                }
                conversation.respond(&request, answer)?;
            }
            Ok(())
        }
    })?;
    let seawall = reporting(&origin).start()?;
    for round in 0..3 {
        statuses(&seawall, &vec![get("/a", ""); 10])?;
        told.become_counts(&[("GET /a 200", 10 * (round + 1))])?;
        let batches = seawall.metric("seawall_report_batches_total", &[])?;
        eventually("a batch is taken", || {
            Ok(seawall.metric("seawall_report_waiting_bytes", &[])? == 0.0)
        })?;
        assert!(seawall.metric("seawall_report_batches_total", &[])? >= batches);
    }
    let posts = told.posts();
    let mut numbers: Vec<&String> = posts.iter().map(|(number, _)| number).collect();
    for pair in numbers.chunks(2) {
        assert!(pair.len() == 2 && pair[0] == pair[1], "{numbers:?}");
    }
    numbers.dedup();
    assert_eq!(numbers.len(), posts.len() / 2, "each number is that of one batch: {numbers:?}");
    let retries = seawall.metric("seawall_report_retries_total", &[])?;
    assert_eq!(retries, numbers.len() as f64);
    assert!(seawall.log().contains("events of a report cannot be delivered"), "{}", seawall.log());
    Ok(())
}

#[test]
fn what_happens_while_the_application_is_away_is_told_later() -> io::Result<()> {
    let (told, place) = (Told::default(), ReservedPort::new()?);
    let sections = format!("[upstream.counter]\nservers = [\"{}\"]", place.address());
    let origin = Origin::always("x")?;
    let seawall = Setup::before(&origin)
        .with(&sections)
        .route("report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }")
        .start()?;
    statuses(&seawall, &vec![get("/a", ""); 100])?;
    metric_becomes(&seawall, "seawall_report_events_total", &[], 100.0)?;
    eventually("it is tried again", || {
        Ok(seawall.metric("seawall_report_retries_total", &[])? >= 1.0)
    })?;
    statuses(&seawall, &vec![get("/b", ""); 100])?;
    metric_becomes(&seawall, "seawall_report_events_total", &[], 200.0)?;
    assert!(seawall.metric("seawall_report_waiting_bytes", &[])? > 10_000.0);
    assert!(seawall.metric("seawall_report_oldest_seconds", &[])? > 0.0);
    let counter = Origin::responding_at(place.address(), {
        let told = told.clone();
        move |request| told.take(request, 204)
    })?;
    told.become_counts(&[("GET /a 200", 100), ("GET /b 200", 100)])?;
    metric_becomes(&seawall, "seawall_report_waiting_bytes", &[], 0.0)?;
    assert_eq!(seawall.metric("seawall_report_oldest_seconds", &[])?, 0.0);
    assert_eq!(seawall.metric("seawall_report_dropped_total", &[])?, 0.0);
    drop(counter);
    Ok(())
}

#[test]
fn an_application_that_refuses_is_not_asked_again() -> io::Result<()> {
    let told = Told::default();
    let origin = Origin::responding({
        let told = told.clone();
        move |request| match request.target.as_str() {
            "/clicks" => {
                let good = request.header("authorization") == Some("Bearer s3cret token");
                told.take(request, if good { 204 } else { 401 })
            }
            _ => Response::new(200, "x"),
        }
    })?;
    let setup = |authorization: &str| {
        Setup::before(&origin).route(&format!(
            "report = {{ path = \"/clicks\", every = \"100ms\", authorization = \"{authorization}\" }}"
        ))
    };
    let seawall = setup("Bearer wr0ng").start()?;
    statuses(&seawall, &vec![get("/a", ""); 10])?;
    metric_becomes(&seawall, "seawall_report_dropped_total", &["reason=\"refused\""], 10.0)?;
    metric_becomes(&seawall, "seawall_report_waiting_bytes", &[], 0.0)?;
    let posts = told.posts();
    let mut numbers: Vec<&String> = posts.iter().map(|(number, _)| number).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), posts.len(), "none was posted twice: {posts:?}");
    assert!(posts.iter().all(|(_, status)| *status == 401), "{posts:?}");
    let told_of = || seawall.log().matches("refused and dropped").count();
    eventually("the log to tell of it", || Ok(told_of() > 0))?;
    assert_eq!(told_of(), 1, "{}", seawall.log());
    seawall.rewrite(&setup("Bearer s3cret token").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    statuses(&seawall, &vec![get("/b", ""); 10])?;
    told.become_counts(&[("GET /b 200", 10)])?;
    let plan = seawall.admin_get("/api/plan")?.text();
    assert!(plan.contains("\"authorization\":true") && !plan.contains("s3cret"), "{plan}");
    assert!(!seawall.log().contains("s3cret") && !seawall.log().contains("wr0ng"));
    Ok(())
}

#[test]
fn what_there_is_no_room_for_is_dropped_from_the_front() -> io::Result<()> {
    const LONG: usize = 4000;
    let (told, place) = (Told::default(), ReservedPort::new()?);
    let sections = format!("[upstream.counter]\nservers = [\"{}\"]", place.address());
    let origin = Origin::always("x")?;
    let seawall = Setup::before(&origin)
        .with(&sections)
        .route("report = { to = \"counter\", path = \"/clicks\", every = \"100ms\", buffer = \"256KiB\" }")
        .start()?;
    let request = |number: usize| get(&format!("/{number:0LONG$}"), "");
    let requests: Vec<String> = (0..300).map(request).collect();
    statuses(&seawall, &requests)?;
    metric_becomes(&seawall, "seawall_report_events_total", &[], 300.0)?;
    let waiting = seawall.metric("seawall_report_waiting_bytes", &[])?;
    assert!(waiting <= 256.0 * 1024.0 && waiting > 128.0 * 1024.0, "{waiting}");
    let dropped = seawall.metric("seawall_report_dropped_total", &["reason=\"overflow\""])?;
    assert!(dropped > 200.0, "{dropped}");
    let log = seawall.log();
    assert_eq!(log.matches("the oldest first").count(), 1, "{log}");
    let _counter = Origin::responding_at(place.address(), {
        let told = told.clone();
        move |request| told.take(request, 204)
    })?;
    eventually("the rest is told", || Ok(told.events().len() as f64 + dropped == 300.0))?;
    let last = format!("/{:0LONG$}", 299);
    assert!(told.events().iter().any(|event| event["path"] == *last), "the newest is there");
    Ok(())
}

#[test]
fn a_reload_keeps_what_waits() -> io::Result<()> {
    let (told, origin) = (Told::default(), Origin::always("x")?);
    let counter = application(&told, |_| Response::new(404, "not asked"))?;
    let nobody = ReservedPort::new()?;
    let setup = |server: SocketAddr, report: &str| {
        Setup::before(&origin)
            .with(&format!("[upstream.counter]\nservers = [\"{server}\"]\n[[route]]\npath = \"/c\"\nto = \"counter\""))
            .route(report)
    };
    let report = "report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }";
    let seawall = setup(nobody.address(), report).start()?;
    statuses(&seawall, &vec![get("/a", ""); 10])?;
    // The same upstream at another place.
    seawall.rewrite(&setup(counter.address(), report).text())?;
    assert_eq!(seawall.reload()?.status, 200);
    statuses(&seawall, &vec![get("/b", ""); 10])?;
    told.become_counts(&[("GET /a 200", 10), ("GET /b 200", 10)])?;
    // No report any more: what is there is delivered all the same.
    let slow = report.replace("100ms", "1h");
    seawall.rewrite(&setup(counter.address(), &slow).text())?;
    assert_eq!(seawall.reload()?.status, 200);
    statuses(&seawall, &vec![get("/c/d", ""); 10])?;
    seawall.rewrite(&setup(counter.address(), "").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    let expect = [("GET /a 200", 10), ("GET /b 200", 10), ("GET /c/d 200", 10)];
    told.become_counts(&expect)?;
    statuses(&seawall, &[get("/e", "")])?;
    // And again, with one.
    seawall.rewrite(&setup(counter.address(), report).text())?;
    assert_eq!(seawall.reload()?.status, 200);
    statuses(&seawall, &[get("/f", "")])?;
    told.become_counts(&[&expect[..], &[("GET /f 200", 1)]].concat())?;
    assert_eq!(seawall.metric("seawall_report_dropped_total", &[])?, 0.0);
    Ok(())
}

#[test]
fn the_end_of_the_process_waits_for_what_is_left() -> io::Result<()> {
    let told = Told::default();
    let origin = application(&told, |_| Response::new(200, "x"))?;
    let mut seawall = Setup::before(&origin)
        .workers(2)
        .route("report = { path = \"/clicks\", every = \"1h\" }")
        .start()?;
    statuses(&seawall, &vec![get("/a", ""); 50])?;
    seawall.terminate()?;
    assert!(seawall.wait()?.success());
    told.become_counts(&[("GET /a 200", 50)])?;
    Ok(())
}

#[test]
fn the_end_of_the_process_does_not_wait_for_ever() -> io::Result<()> {
    let (origin, silent) = (Origin::always("x")?, Origin::silent()?);
    let mut seawall = Setup::before(&origin)
        .server("drain = \"1s\"")
        .with(&format!("[upstream.counter]\nservers = [\"{}\"]", silent.address()))
        .route("report = { to = \"counter\", path = \"/clicks\", every = \"100ms\" }")
        .start()?;
    statuses(&seawall, &vec![get("/a", ""); 7])?;
    silent.wait_for_connections(1)?;
    seawall.terminate()?;
    assert!(seawall.wait()?.success());
    let log = seawall.log();
    let lost = log.lines().filter(|line| line.contains("events of a report were not delivered"));
    let number = |line: &str| {
        let (_, rest) = line.split_once("events=")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    assert_eq!(lost.filter_map(number).sum::<usize>(), 7, "{log}");
    Ok(())
}

#[test]
fn batches_are_bounded_and_posted_when_there_is_enough() -> io::Result<()> {
    let told = Told::default();
    let origin = application(&told, |_| Response::new(200, "x"))?;
    let report = "report = { path = \"/clicks\", every = \"1h\", buffer = \"16MiB\" }";
    let seawall = Setup::before(&origin).route(report).start()?;
    let request = |number: usize| get(&format!("/{number:04000}"), "");
    let requests: Vec<String> = (0..2400).map(request).collect();
    statuses(&seawall, &requests)?;
    // More than two batches of 4 MiB, each posted an hour early.
    eventually("most are told", || Ok(told.events().len() >= 1800))?;
    assert!(told.posts().len() >= 2);
    Ok(())
}
