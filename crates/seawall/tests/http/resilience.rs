//! Retries, hedges, deadlines and fallbacks: a failed answer costs the client as little as is
//! possible, and the upstream never more than the budget allows.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use seawall_testkit::{Gate, Origin, RawClient, ReservedPort, Response, Seawall};

use crate::setup::{
    MOMENT, Setup, code, eventually, get, in_flight_ends, metric_becomes, post, storm,
};

/// Enough for every retry that a test can ask for.
const RICH: &str = "floor = \"1000/s\", backoff = \"0s\"";

/// What an origin does instead of answering.
const RESET: u16 = 0;

/// An origin whose answer can be changed while it runs: a status, or [`RESET`].
struct Moody {
    origin: Origin,
    mood: Arc<AtomicU16>,
}

fn moody(mood: u16, takes: Duration) -> io::Result<Moody> {
    let mood = Arc::new(AtomicU16::new(mood));
    let now = mood.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            std::thread::sleep(takes);
            match now.load(Relaxed) {
                RESET => return conversation.reset(),
                status => conversation.respond(&request, Response::new(status, "mood"))?,
            }
        }
        Ok(())
    })?;
    Ok(Moody { origin, mood })
}

/// The origins fail all requests of a storm and then answer again.
fn a_storm_passes(route: &str, mood: u16, takes: Duration) -> io::Result<()> {
    let origins = [moody(mood, takes)?, moody(mood, takes)?];
    let [one, two] = &origins;
    let other = Origin::responding(|_| Response::new(503, "other"))?;
    let seawall = Setup::to_all([one.origin.address(), two.origin.address()])
        .workers(2)
        .with(&format!("[upstream.other]\nservers = [\"{}\"]", other.address()))
        .route(route)
        .start()?;
    let began = Instant::now();
    let statuses = storm(&seawall, 8, 75, |n| get(&format!("/{n}"), ""))?;
    let incoming: usize = statuses.values().sum();
    assert_eq!(incoming, 600, "{statuses:?}");
    assert!(!statuses.contains_key(&200), "{statuses:?}");
    let asked = one.origin.requests() + two.origin.requests() + other.requests();
    let most = 1.1 * incoming as f64 + 10.0 + began.elapsed().as_secs_f64() + 1.0;
    assert!(asked as f64 <= most, "{route}: {asked} instead of {most}");
    let extra = asked - incoming;
    assert!(extra >= 10, "{route}: only {extra} beyond the first");

    for moody in &origins {
        moody.mood.store(200, Relaxed);
    }
    let statuses = storm(&seawall, 8, 25, |n| get(&format!("/{n}"), ""))?;
    assert_eq!(statuses, BTreeMap::from([(200, 200)]), "{route}");
    in_flight_ends(&seawall)
}

#[test]
fn a_storm_of_errors_is_not_made_worse_by_retries() -> io::Result<()> {
    a_storm_passes("retry = { attempts = 3 }", 503, Duration::ZERO)
}

#[test]
fn a_storm_of_resets_is_not_made_worse_by_retries() -> io::Result<()> {
    a_storm_passes("retry = { attempts = 3 }", RESET, Duration::ZERO)
}

#[test]
fn a_storm_is_not_made_worse_by_hedges() -> io::Result<()> {
    let route = "retry = { attempts = 3 }\nhedge = { after = \"1ms\" }";
    a_storm_passes(route, 503, Duration::from_millis(5))
}

#[test]
fn a_storm_is_not_made_worse_by_failovers() -> io::Result<()> {
    a_storm_passes("retry = { attempts = 3 }\nfallback = { to = \"other\" }", 503, Duration::ZERO)
}

#[test]
fn a_failed_answer_is_had_from_the_other_server() -> io::Result<()> {
    let (bad, good) = (Origin::responding(|_| Response::new(503, "bad"))?, Origin::always("good")?);
    let seawall = Setup::to_all([bad.address(), good.address()])
        .upstream("balance = \"round-robin\"")
        .route(&format!("retry = {{ attempts = 2, {RICH} }}"))
        .start()?;
    let mut client = seawall.connect()?;
    for _ in 0..20 {
        assert_eq!(client.get("test", "/")?.text(), "good");
    }
    assert!(bad.requests() >= 6, "it has its turns: {}", bad.requests());
    assert_eq!(good.requests(), 20);
    metric_becomes(&seawall, "seawall_retries_total", &["route=\"app\""], bad.requests() as f64)?;
    in_flight_ends(&seawall)
}

#[test]
fn no_server_is_asked_twice_while_another_is_left() -> io::Result<()> {
    let origins: Vec<Origin> = (0..3)
        .map(|n| Origin::responding(move |_| Response::new(503, format!("origin {n}"))))
        .collect::<io::Result<_>>()?;
    for balance in ["two-choices", "round-robin", "random", "least-latency", "ip-hash"] {
        let seawall = Setup::to_all(origins.iter().map(Origin::address))
            .upstream(&format!("balance = {balance:?}"))
            .route(&format!("retry = {{ attempts = 3, {RICH} }}"))
            .start()?;
        let before: Vec<usize> = origins.iter().map(Origin::requests).collect();
        let mut client = seawall.connect()?;
        for n in 1..=10 {
            let response = client.get("test", "/")?;
            assert!(response.text().starts_with("origin"), "the last answer, no words of ours");
            for (origin, before) in origins.iter().zip(&before) {
                assert_eq!(origin.requests() - before, n, "{balance}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_same_server_is_asked_again_when_there_is_no_other() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        for status in [503, 503, 200] {
            let Some(request) = conversation.next_request()? else { return Ok(()) };
            conversation.respond(&request, Response::new(status, "x"))?;
        }
        Ok(())
    })?;
    let seawall =
        Setup::before(&origin).route(&format!("retry = {{ attempts = 3, {RICH} }}")).start()?;
    assert_eq!(seawall.connect()?.get("test", "/")?.status, 200);
    assert_eq!((origin.requests(), origin.connections()), (3, 1), "the connection is kept");
    Ok(())
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated() -> io::Result<()> {
    let key = "idempotency-key: 1\r\n";
    let with = |method: &str, fields: &str| post("/", fields, "body").replacen("POST", method, 1);
    for (request, asked) in [
        (get("/", ""), 2),
        (with("PUT", ""), 2),
        (with("DELETE", ""), 2),
        (with("POST", ""), 1),
        (with("PATCH", ""), 1),
        (with("POST", key), 2),
        (with("PATCH", key), 2),
    ] {
        for mood in [503, RESET] {
            let moody = moody(mood, Duration::ZERO)?;
            let seawall = Setup::before(&moody.origin)
                .route(&format!("retry = {{ attempts = 2, {RICH} }}"))
                .start()?;
            let response = seawall.connect()?.exchange(&request)?;
            let expect = if mood == RESET { (502, "upstream-closed") } else { (503, "") };
            assert_eq!((response.status, code(&response).as_str()), expect, "{request}");
            assert_eq!(moody.origin.requests(), asked, "{request}");
        }
    }
    Ok(())
}

#[test]
fn what_never_left_goes_to_another_server_whatever_it_is() -> io::Result<()> {
    let (down, good) =
        (ReservedPort::new()?, Origin::responding(|r| Response::new(200, r.text()))?);
    for retry in ["retry = 1", "retry = 3"] {
        let seawall = Setup::to_all([down.address(), good.address()])
            .upstream("balance = \"round-robin\"")
            .route(retry)
            .start()?;
        let mut client = seawall.connect()?;
        for _ in 0..4 {
            assert_eq!(client.exchange(post("/", "", "body"))?.text(), "body", "{retry}");
        }
    }
    assert_eq!(good.requests(), 8);
    Ok(())
}

#[test]
fn a_server_that_asks_for_an_hour_is_not_waited_for() -> io::Result<()> {
    for (after, asked) in [("3600", 1), ("Fri, 31 Dec 2100 23:59:59 GMT", 1), ("0", 2)] {
        let origin =
            Origin::responding(move |_| Response::new(503, "later").with("retry-after", after))?;
        let seawall =
            Setup::before(&origin).route(&format!("retry = {{ attempts = 2, {RICH} }}")).start()?;
        let response = seawall.connect()?.get("test", "/")?;
        assert_eq!((response.status, response.text().as_str()), (503, "later"));
        assert_eq!(response.header("retry-after"), Some(after));
        assert_eq!(origin.requests(), asked, "{after}");
    }
    Ok(())
}

#[test]
fn a_body_is_sent_again_up_to_its_limit() -> io::Result<()> {
    for framing in ["content-length", "transfer-encoding"] {
        for (length, status) in [(64 << 10, 200), ((64 << 10) + 1, 503)] {
            let bad = Origin::responding(|_| Response::new(503, ""))?;
            let good = Origin::responding(|request| Response::new(200, request.body.clone()))?;
            // The one with priority 0 is asked first.
            let servers = format!(
                "[upstream.two]\nservers = [{{ address = \"{}\" }}, {{ address = \"{}\", priority = 1 }}]\n\
                 [[route]]\nto = \"two\"\nretry = {{ attempts = 2, {RICH} }}",
                bad.address(),
                good.address()
            );
            let seawall = Setup::alone().with(&servers).start()?;
            let body: String = (0..length).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
            let request = match framing {
                "content-length" => post("/", "", &body).replacen("POST", "PUT", 1),
                _ => {
                    let (first, rest) = body.split_at(1000);
                    format!(
                        "PUT / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
                         3e8\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                        rest.len()
                    )
                }
            };
            let mut client = seawall.connect()?;
            let response = client.exchange(request)?;
            assert_eq!(response.status, status, "{framing} {length}");
            assert_eq!(bad.requests(), 1);
            if status == 200 {
                assert!(response.text() == body, "{framing}: another body");
            } else {
                assert_eq!(good.requests(), 0);
            }
            let response = client.exchange(post("/", "idempotency-key: 2\r\n", "next"))?;
            assert_eq!(response.text(), "next", "the connection goes on");
        }
    }
    Ok(())
}

#[test]
fn the_deadline_bounds_all_attempts() -> io::Result<()> {
    let origins = [Origin::silent()?, Origin::silent()?];
    let seawall = Setup::to_all(origins.iter().map(Origin::address))
        .route("timeout = \"500ms\"")
        .route(&format!("retry = {{ attempts = 10, attempt-timeout = \"150ms\", {RICH} }}"))
        .start()?;
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (504, "upstream-timeout"));
    let attempts = origins.iter().map(Origin::connections).sum::<usize>();
    assert!((2..=4).contains(&attempts), "{attempts} attempts of 150 ms within 500 ms");
    for origin in &origins {
        origin.wait_until_idle()?;
    }
    in_flight_ends(&seawall)
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up_for_another_server() -> io::Result<()> {
    let (silent, good) = (Origin::silent()?, Origin::always("good")?);
    let seawall = Setup::to_all([silent.address(), good.address()])
        .upstream("balance = \"round-robin\"")
        .route(&format!("retry = {{ attempts = 2, attempt-timeout = \"50ms\", {RICH} }}"))
        .start()?;
    let mut client = seawall.connect()?;
    for _ in 0..4 {
        assert_eq!(client.get("test", "/")?.text(), "good");
    }
    assert_eq!(silent.connections(), 2);
    silent.wait_until_idle()?;
    in_flight_ends(&seawall)
}

/// The first of two servers hangs until the gate opens.
fn hanging(gate: &Gate) -> io::Result<Origin> {
    let gate = gate.clone();
    Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&gate)?;
            conversation.respond(&request, Response::new(200, "late"))?;
        }
        Ok(())
    })
}

#[test]
fn a_hedge_answers_for_a_server_that_hangs() -> io::Result<()> {
    let (silent, good) = (Origin::silent()?, Origin::always("good")?);
    let seawall = Setup::to_all([silent.address(), good.address()])
        .upstream("balance = \"round-robin\"")
        .route(&format!("retry = {{ {RICH} }}\nhedge = {{ after = \"20ms\" }}"))
        .start()?;
    let mut client = seawall.connect()?;
    for _ in 0..8 {
        assert_eq!(client.get("test", "/")?.text(), "good");
    }
    assert_eq!(silent.connections(), 4, "it has its turns");
    silent.wait_until_idle()?;
    metric_becomes(&seawall, "seawall_hedges_won_total", &["route=\"app\""], 4.0)?;
    metric_becomes(&seawall, "seawall_hedges_total", &["route=\"app\""], 4.0)?;
    assert_eq!(seawall.metric("seawall_retries_total", &[])?, 0.0);
    in_flight_ends(&seawall)
}

#[test]
fn what_changes_something_is_never_hedged() -> io::Result<()> {
    let gate = Gate::new();
    let (slow, quick) = (hanging(&gate)?, Origin::always("quick")?);
    let seawall = Setup::to_all([slow.address(), quick.address()])
        .upstream("balance = \"round-robin\"")
        .route(&format!("retry = {{ {RICH} }}\nhedge = {{ after = \"1ms\" }}"))
        .start()?;
    for request in [
        post("/", "idempotency-key: 1\r\n", "body"),
        post("/", "", "body").replacen("POST", "PUT", 1),
        post("/", "", "").replacen("POST", "DELETE", 1),
    ] {
        let mut clients = [seawall.connect()?, seawall.connect()?];
        let before = slow.requests() + quick.requests();
        for client in &mut clients {
            client.send(&request)?;
        }
        eventually("both arrive", || Ok(slow.requests() + quick.requests() == before + 2))?;
        gate.wait_for_waiting(1)?;
    }
    std::thread::sleep(MOMENT);
    assert_eq!(seawall.metric("seawall_hedges_total", &[])?, 0.0);
    assert_eq!((slow.requests(), quick.requests()), (3, 3));
    gate.open();
    Ok(())
}

/// Both the server and the one beside it fail: the retry goes to one that was not tried.
#[test]
fn a_retry_after_a_hedge_goes_to_a_third_server() -> io::Result<()> {
    let gate = Gate::new();
    let bad = |gate: Gate| {
        Origin::scripted(move |conversation| {
            while let Some(request) = conversation.next_request()? {
                conversation.wait(&gate)?;
                conversation.respond(&request, Response::new(503, "bad"))?;
            }
            Ok(())
        })
    };
    let origins = [bad(gate.clone())?, bad(gate.clone())?];
    let good = Origin::always("good")?;
    let text = format!(
        "[upstream.three]\nservers = [\"{}\", \"{}\", {{ address = \"{}\", priority = 1 }}]\n\
         [[route]]\nto = \"three\"\nhedge = {{ after = \"20ms\" }}\nretry = {{ attempts = 2, {RICH} }}",
        origins[0].address(),
        origins[1].address(),
        good.address()
    );
    for _ in 0..8 {
        let seawall = Setup::alone().with(&text).start()?;
        let before: Vec<usize> = origins.iter().map(Origin::requests).collect();
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        for (origin, before) in origins.iter().zip(before) {
            origin.wait_for_requests(before + 1)?;
        }
        gate.open();
        assert_eq!(client.read_response()?.text(), "good");
    }
    Ok(())
}

const DEADLINE: &str = "x-request-deadline-ms";

/// What a server was told of the time that is left, in each request.
fn told(origin: &Origin) -> Vec<u64> {
    let seen = origin.seen();
    let text: String =
        seen.iter().map(|seen| String::from_utf8_lossy(&seen.received).to_lowercase()).collect();
    let fields = text.lines().filter_map(|line| line.strip_prefix(DEADLINE)?.strip_prefix(": "));
    fields.filter_map(|value| value.trim().parse().ok()).collect()
}

#[test]
fn a_server_is_told_how_much_time_is_left() -> io::Result<()> {
    let (silent, good) = (Origin::silent()?, Origin::always("good")?);
    let servers = format!(
        "[upstream.two]\nservers = [\"{}\", {{ address = \"{}\", priority = 1 }}]\n\
         [[route]]\nto = \"two\"\ntimeout = \"20s\"\n\
         retry = {{ attempts = 2, attempt-timeout = \"200ms\", {RICH} }}",
        silent.address(),
        good.address()
    );
    let seawall = Setup::alone().with(&servers).start()?;
    // What a stranger says of it is not believed, nor passed on.
    let field = format!("{DEADLINE}: 7\r\nX-Request-Deadline-Ms: 99999999\r\n");
    assert_eq!(seawall.connect()?.exchange(get("/", &field))?.text(), "good");
    let (first, second) = (told(&silent), told(&good));
    let ([first], [second]) = (first.as_slice(), second.as_slice()) else {
        panic!("not once each: {first:?}, {second:?}");
    };
    assert!(*first <= 20_000 && *first > 10_000, "{first}");
    assert!(*second + 200 <= *first, "{first}, then {second}");
    Ok(())
}

#[test]
fn a_trusted_caller_may_have_less_time_than_the_route_allows() -> io::Result<()> {
    let (silent, good) = (Origin::silent()?, Origin::always("good")?);
    let route = format!(
        "[[route]]\npath = \"/silent\"\nto = \"silent\"\n[upstream.silent]\nservers = [\"{}\"]",
        silent.address()
    );
    let seawall = Setup::before(&good)
        .server("trust = [\"127.0.0.1\"]")
        .with(&route)
        .route("timeout = \"20s\"")
        .start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.exchange(get("/", &format!("{DEADLINE}: 9000\r\n")))?.text(), "good");
    assert_eq!(client.exchange(get("/", &format!("{DEADLINE}: 900000\r\n")))?.text(), "good");
    let told = told(&good);
    let [less, not_more] = told.as_slice() else { panic!("not once each: {told:?}") };
    assert!((1..=9_000).contains(less) && (9_001..=20_000).contains(not_more), "{told:?}");

    let response = client.exchange(get("/silent", &format!("{DEADLINE}: 100\r\n")))?;
    assert_eq!((response.status, code(&response).as_str()), (504, "upstream-timeout"));
    silent.wait_until_idle()?;
    let response = seawall.connect()?.exchange(get("/", &format!("{DEADLINE}: 0\r\n")))?;
    assert_eq!(code(&response), "deadline-passed");
    assert_eq!(good.requests(), 2, "nobody works for who has gone");
    Ok(())
}

/// A Seawall whose upstream `app` has this server, with another upstream `other`.
fn with_fallback(server: impl ToString, other: &Origin, fallback: &str) -> io::Result<Seawall> {
    Setup::to_all([server])
        .with(&format!("[upstream.other]\nservers = [\"{}\"]", other.address()))
        .route(&format!("retry = {{ attempts = 1, floor = \"1000/s\" }}\nfallback = {fallback}"))
        .start()
}

/// Status, body and `Proxy-Status` of an answer.
fn read(client: &mut RawClient, request: &str) -> io::Result<(u16, String, String)> {
    let response = client.exchange(request)?;
    let said = response.headers.all("proxy-status").collect::<Vec<_>>().join(", ");
    Ok((response.status, response.text(), said))
}

#[test]
fn another_upstream_answers_for_a_failed_one() -> io::Result<()> {
    let other =
        Origin::responding(|request| Response::new(200, format!("other {}", request.text())))?;
    let (failing, closing, down) = (
        Origin::responding(|_| Response::new(500, "oh"))?,
        Origin::hanging_up()?,
        ReservedPort::new()?,
    );
    let put = post("/", "", "body").replacen("POST", "PUT", 1);
    for (server, why) in [
        (failing.address(), "received-status=500"),
        (closing.address(), "details=\"upstream-closed; fallback=other\""),
        (down.address(), "details=\"connect-failed; fallback=other\""),
    ] {
        let seawall = with_fallback(server, &other, "{ to = \"other\" }")?;
        let (status, text, said) = read(&mut seawall.connect()?, &put)?;
        assert_eq!((status, text.as_str()), (200, "other body"), "{why}");
        assert!(said.contains(why) && said.contains("fallback=other"), "{said}");
        metric_becomes(&seawall, "seawall_fallbacks_total", &["route=\"app\""], 1.0)?;
        in_flight_ends(&seawall)?;
    }
    // What may have had effect is not done again elsewhere.
    let seawall = with_fallback(failing.address(), &other, "{ to = \"other\" }")?;
    let before = other.requests();
    let (status, text, said) = read(&mut seawall.connect()?, &post("/", "", "body"))?;
    assert_eq!((status, text.as_str(), said.as_str()), (500, "oh", ""));
    assert_eq!(other.requests(), before);
    Ok(())
}

#[test]
fn fallbacks_are_tried_in_order_and_by_status() -> io::Result<()> {
    let status = Arc::new(AtomicU16::new(200));
    let now = status.clone();
    let origin = Origin::responding(move |_| Response::new(now.load(Relaxed), "own"))?;
    let dead = ReservedPort::new()?;
    let other = Origin::responding(|_| Response::new(502, "other"))?;
    let home = tempfile::tempdir()?;
    let page = home.path().join("sorry.html");
    std::fs::write(&page, "<p>sorry</p>")?;
    let fallback = format!(
        "[{{ on = \"404\", respond = {{ status = 410, body = \"gone\" }} }}, \
          {{ on = [\"503\"], respond = \"full\" }}, \
          {{ to = \"other\" }}, \
          {{ on = \"5xx\", file = \"{}\", status = 500 }}, \
          {{ on = \"5xx\", respond = \"never\" }}]",
        page.display()
    );
    let seawall = with_fallback(origin.address(), &other, &fallback)?;
    let mut client = seawall.connect()?;
    let mut asked = 0;
    for (own, expect, asks) in [
        (200, (200, "own"), 0),
        (301, (301, "own"), 0),
        (403, (403, "own"), 0),
        (404, (410, "gone"), 0),
        (503, (503, "full"), 0),
        (500, (500, "<p>sorry</p>"), 1),
        (502, (500, "<p>sorry</p>"), 1),
    ] {
        status.store(own, Relaxed);
        let (found, text, said) = read(&mut client, &get("/", ""))?;
        assert_eq!((found, text.as_str()), expect, "{own}");
        asked += asks;
        assert_eq!(other.requests(), asked, "{own}");
        let marked = said.contains(&format!("received-status={own}; details=\"fallback=page\""));
        assert_eq!(marked, text != "own", "{own}: {said}");
    }
    in_flight_ends(&seawall)?;

    let seawall = with_fallback(dead.address(), &other, &fallback)?;
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, response.text().as_str()), (500, "<p>sorry</p>"));
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let said = response.header("proxy-status").unwrap_or_default();
    assert!(said.contains("connect-failed; fallback=page"), "{said}");
    Ok(())
}

/// When the time is over there is none for another upstream, but for a page.
#[test]
fn a_page_is_given_when_the_time_is_over() -> io::Result<()> {
    let (silent, other) = (Origin::silent()?, Origin::always("other")?);
    let fallback = "[{ to = \"other\" }, { respond = \"sorry\" }]\ntimeout = \"100ms\"";
    let seawall = with_fallback(silent.address(), &other, fallback)?;
    let (status, text, said) = read(&mut seawall.connect()?, &get("/", ""))?;
    assert_eq!((status, text.as_str()), (503, "sorry"));
    assert!(said.contains("upstream-timeout; fallback=page"), "{said}");
    silent.wait_until_idle()?;
    in_flight_ends(&seawall)
}
