//! Caches in front: what Seawall keeps, and that it lets go of it when a link changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use seawall_testkit::{Origin, PATIENCE, RawClient, Response, Seawall};
use serde_json::{Value, json};

use crate::instance::{Home, Instance, led, to};

const OLD: &str = "https://old.example/";
const NEW: &str = "https://new.example/";

/// The program `seawall` beside the one under test, built if it is not there.
pub(crate) fn seawall() -> PathBuf {
    let snip = Path::new(env!("CARGO_BIN_EXE_snip"));
    let seawall = snip.with_file_name("seawall");
    if !seawall.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "seawall"]);
        // `target/debug` or `target/release`, as this test.
        if snip.parent().is_some_and(|directory| directory.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success());
    }
    seawall
}

/// Seawall with a cache in front of an instance that tells it of changes.
struct Edge {
    seawall: Seawall,
    snip: Instance,
    _home: Home,
}

impl Edge {
    fn start() -> Edge {
        // Each needs the address of the other, so that Seawall begins with another server.
        let home = Home::new();
        let config = "[server]\nadmin = \"127.0.0.1:0\"\n\
                      [listen.web]\naddress = \"127.0.0.1:0\"\n\
                      [upstream.snip]\nservers = [\"127.0.0.1:1\"]\n\
                      [[route]]\nto = \"snip\"\ncache = {}\n";
        let seawall = Seawall::start(seawall(), config).expect("seawall starts");
        let admin = seawall.admin().expect("it has one");
        let snip = home.start(&format!(
            "url = \"http://sn.ip\"\ntrust = [\"127.0.0.1\"]\n\
             [edge]\npurge = [\"http://{admin}\"]"
        ));
        let text = config.replace("127.0.0.1:1\"", &format!("{}\"", snip.address));
        seawall.rewrite(&text).expect("it can be written");
        assert_eq!(seawall.reload().expect("an answer").status, 200);
        Edge { seawall, snip, _home: home }
    }

    /// What somebody is told who follows a link through Seawall, and whether it was a hit.
    fn follow(&self, code: &str) -> ((u16, Option<String>), bool) {
        let mut client = RawClient::connect(self.seawall.address("web")).expect("it accepts");
        let answer = client.get("sn.ip", &format!("/{code}")).expect("it answers");
        let status = answer.header("cache-status").expect("it says").to_owned();
        (led(&answer), status.contains("; hit"))
    }
}

#[test]
fn a_changed_target_is_seen_through_the_cache_at_once() {
    let edge = Edge::start();
    let code = edge.snip.create(json!({ "target": OLD }));
    assert_eq!(edge.follow(&code), (to(OLD), false));
    for target in [NEW, OLD, NEW] {
        let (_, is_hit) = edge.follow(&code);
        assert!(is_hit, "Seawall keeps it");
        edge.snip.change(edge.snip.key(), &code, json!({ "target": target }));
        assert_eq!(edge.follow(&code), (to(target), false));
        // The purge that follows later, for what others may have given it meanwhile, may come
        // between; it changes nothing that is told.
        edge.snip.until(
            |_| edge.follow(&code),
            |(led, is_hit)| {
                assert_eq!(*led, to(target));
                *is_hit
            },
        );
    }
    edge.snip.change(edge.snip.key(), &code, json!({ "disabled": true }));
    assert_eq!(edge.follow(&code).0.0, 404);
}

#[test]
fn an_alias_is_there_although_the_cache_knew_that_there_was_none() {
    let edge = Edge::start();
    assert_eq!(edge.follow("alias"), ((404, None), false));
    assert_eq!(edge.follow("alias"), ((404, None), true));
    edge.snip.create(json!({ "target": NEW, "alias": "alias" }));
    assert_eq!(edge.follow("alias").0, to(NEW));
}

#[test]
fn what_must_be_counted_or_asked_for_is_never_kept() {
    let edge = Edge::start();
    let limited = edge.snip.create(json!({ "target": OLD, "clicks_left": 2 }));
    assert_eq!(edge.follow(&limited), (to(OLD), false));
    assert_eq!(edge.follow(&limited), (to(OLD), false));
    assert_eq!(edge.follow(&limited), ((410, None), false));
    let forwards = edge.snip.create(json!({ "target": OLD, "forward_query": true }));
    assert_eq!(edge.follow(&forwards), (to(OLD), false));
    assert_eq!(edge.follow(&format!("{forwards}?a=1")), (to("https://old.example/?a=1"), false));
    assert_eq!(edge.follow(&forwards), (to(OLD), false));
    let locked = edge.snip.create(json!({ "target": OLD, "password": "x" }));
    assert_eq!(edge.follow(&locked), ((200, None), false));
    assert_eq!(edge.follow(&locked), ((200, None), false));
}

/// The admin API of a node that says whether it takes purges, and what it took.
struct Node {
    origin: Origin,
    takes: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Node {
    fn start() -> Node {
        let (takes, taken) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<_>>>::default());
        let origin = Origin::scripted({
            let (takes, taken) = (takes.clone(), taken.clone());
            move |conversation| {
                let request = conversation.read_request()?;
                assert_eq!((&*request.method, &*request.target), ("POST", "/api/cache/purge"));
                let status = if takes.load(Relaxed) {
                    let token = request.header("authorization").unwrap_or_default().to_owned();
                    let body = serde_json::from_slice(&request.body).expect("JSON");
                    taken.lock().expect("no panic").push((token, body));
                    200
                } else {
                    503
                };
                conversation.respond(&request, Response::new(status, "{}"))
            }
        });
        Node { origin: origin.expect("an address"), takes, taken }
    }

    fn config(&self) -> String {
        let address = self.origin.address();
        format!(
            "[cache]\nmemory-ttl = \"50ms\"\n\
             [edge]\npurge = [\"http://{address}\"]\ntoken = \"secret\""
        )
    }

    fn purges_of(&self, code: &str) -> usize {
        let tag = format!("link:{code}");
        let taken = self.taken.lock().expect("no panic");
        let names =
            |body: &Value| body["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
        for (token, body) in taken.iter() {
            assert_eq!((&**token, &body["hard"]), ("Bearer secret", &json!(true)));
        }
        taken.iter().filter(|(_, body)| names(body)).count()
    }
}

#[test]
fn a_node_is_told_at_once_and_once_more_later() {
    let (node, home) = (Node::start(), Home::new());
    let mut snip = home.start(&node.config());
    let code = snip.create(json!({ "target": OLD }));
    assert_eq!(node.purges_of(&code), 0, "nobody can have asked for a code that was made now");
    snip.change(snip.key(), &code, json!({ "target": NEW }));
    assert!(node.purges_of(&code) >= 1, "before the change was answered");
    // By who follows the changes, and when no instance can have what was any more.
    snip.until(|_| node.purges_of(&code), |purges| *purges >= 3);
    // And no more: what was to be told later would be told at the end.
    snip.process.terminate().expect("it is asked to end");
    snip.process.wait_for(PATIENCE).expect("it ends");
    assert_eq!(node.purges_of(&code), 3);
}

#[test]
fn a_node_that_was_away_is_told_when_it_is_back() {
    let (node, home) = (Node::start(), Home::new());
    let snip = home.start(&node.config());
    let code = snip.create(json!({ "target": OLD }));
    node.takes.store(false, Relaxed);
    snip.change(snip.key(), &code, json!({ "target": NEW }));
    let failures = |snip: &Instance| snip.metric("snip_purge_failures_total", "");
    snip.until(failures, |failures| *failures >= 2);
    assert_eq!(snip.get("/readyz").status, 200, "it is only a warning");
    assert!(snip.get("/readyz").text().contains("cannot be told what has changed"));
    assert_eq!(node.purges_of(&code), 0);
    node.takes.store(true, Relaxed);
    snip.until(|_| node.purges_of(&code), |purges| *purges >= 1);
}

#[test]
fn what_changed_before_a_crash_is_purged_at_the_start() {
    let (node, home) = (Node::start(), Home::new());
    node.takes.store(false, Relaxed);
    let mut snip = home.start(&node.config());
    let code = snip.create(json!({ "target": OLD }));
    snip.change(snip.key(), &code, json!({ "target": NEW }));
    snip.process.kill().expect("it is killed");
    node.takes.store(true, Relaxed);
    let snip = home.start(&node.config());
    snip.until(|_| node.purges_of(&code), |purges| *purges >= 1);
}
