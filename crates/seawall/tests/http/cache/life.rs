//! The cache through reloads, and at the end of the process.

use std::io;

use seawall_testkit::{Gate, Origin, Response, Seawall};

use super::{ask, content, fresh, is_hit, status_of};
use crate::setup::{BINARY, Setup, eventually, get};

fn reload(seawall: &Seawall, config: &str) -> io::Result<()> {
    seawall.rewrite(config)?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

#[test]
fn what_is_stored_survives_a_reload() -> io::Result<()> {
    let origin = Origin::responding(|request| fresh(request.target.clone()))?;
    let with = |route: &str| Setup::before(&origin).workers(2).route(route).text();
    let seawall = Seawall::start(BINARY, &with("cache = { jitter = \"0%\" }"))?;
    ask(&seawall, "/", "")?;
    reload(&seawall, &with("cache = { jitter = \"0%\" }\ntimeout = \"5s\""))?;
    assert!(is_hit(&ask(&seawall, "/", "")?));
    // Without the cache nothing is said of it, and what is stored is not used.
    reload(&seawall, &with(""))?;
    let response = ask(&seawall, "/", "")?;
    assert_eq!((response.header("cache-status"), response.header("age")), (None, None));
    assert_eq!(origin.requests(), 2);
    reload(&seawall, &with("cache = {}"))?;
    assert_eq!(ask(&seawall, "/", "")?.status, 200);
    Ok(())
}

/// Less memory than is used: the rest goes, and what is served is right.
#[test]
fn memory_that_shrinks() -> io::Result<()> {
    const EACH: usize = 200_000;

    let origin = Origin::responding(move |request| fresh(content_of(&request.target)))?;
    let with = |memory: &str| {
        Setup::before(&origin)
            .with(&format!("[cache]\nmemory = \"{memory}\""))
            .route("cache = { jitter = \"0%\", early = false, max-object = \"1MiB\" }")
            .text()
    };
    let seawall = Seawall::start(BINARY, &with("64MiB"))?;
    let targets: Vec<_> = (0..100).map(|number| format!("/{}", "x".repeat(number))).collect();
    for target in &targets {
        assert!(ask(&seawall, target, "")?.body == content_of(target));
    }
    let hits = || -> io::Result<usize> {
        let mut hits = 0;
        for target in &targets {
            let response = ask(&seawall, target, "cache-control: only-if-cached\r\n")?;
            if response.status == 200 {
                assert!(is_hit(&response) && response.body == content_of(target), "{target}");
                hits += 1;
            }
        }
        Ok(hits)
    };
    assert_eq!(hits()?, targets.len());
    reload(&seawall, &with("4MiB"))?;
    eventually("less is kept", || Ok(hits()? * EACH <= 4 << 20))?;
    for target in &targets {
        assert!(ask(&seawall, target, "")?.body == content_of(target));
    }
    assert!(hits()? > 5);
    Ok(())
}

fn content_of(target: &str) -> Vec<u8> {
    content(200_000, target.len() as u32 * 31 + u32::from(*target.as_bytes().get(1).unwrap_or(&0)))
}

/// A process that is told to end lets fetches and those who read them come to their ends.
#[test]
fn a_drain_waits_for_fetches() -> io::Result<()> {
    const LENGTH: usize = 3 << 20;
    let (begin, go_on) = (Gate::new(), Gate::new());
    let body = content(LENGTH, 11);
    let origin = Origin::scripted({
        let (begin, go_on, body) = (begin.clone(), go_on.clone(), body.clone());
        move |conversation| {
            let request = conversation.read_request()?;
            conversation.wait(&begin)?;
            let head = fresh("").with("content-length", &LENGTH.to_string());
            conversation.respond(&request, head)?;
            conversation.send(&body[..LENGTH / 2])?;
            conversation.wait(&go_on)?;
            conversation.send(&body[LENGTH / 2..])?;
            conversation.hang()
        }
    })?;
    let mut seawall = Setup::before(&origin).workers(2).route("cache = {}").start()?;
    let mut early = Vec::new();
    for _ in 0..4 {
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        early.push(client);
    }
    begin.wait_for_waiting(1)?;
    begin.open();
    let heads =
        early.iter_mut().map(|client| client.read_head()).collect::<io::Result<Vec<_>>>()?;
    seawall.terminate()?;
    eventually("not ready", || Ok(seawall.admin_get("/readyz")?.status == 503))?;
    assert!(seawall.process().is_running()?);
    go_on.open();
    for (mut client, head) in early.into_iter().zip(heads) {
        assert_eq!(head.header("content-length"), Some(&*LENGTH.to_string()));
        assert!(client.read_exact(LENGTH)? == body);
    }
    assert_eq!(seawall.wait()?.code(), Some(0));
    assert_eq!(origin.requests(), 1);
    Ok(())
}

/// A fetch in the background does not hold up the end for longer than its route lets it.
#[test]
fn a_drain_ends_though_an_origin_hangs() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        while let Some(request) = conversation.next_request()? {
            if request.header("if-none-match").is_some() {
                return conversation.hang();
            }
            let stale = Response::new(200, "old")
                .with("cache-control", "max-age=1, stale-while-revalidate=60")
                .with("age", "2")
                .with("etag", "\"one\"");
            conversation.respond(&request, stale)?;
        }
        Ok(())
    })?;
    let mut seawall =
        Setup::before(&origin).server("drain = \"300ms\"").route("cache = {}").start()?;
    ask(&seawall, "/", "")?;
    let response = ask(&seawall, "/", "")?;
    assert!(status_of(&response).contains("revalidating"), "{}", status_of(&response));
    origin.wait_for_requests(2)?;
    seawall.terminate()?;
    seawall.wait()?;
    Ok(())
}
