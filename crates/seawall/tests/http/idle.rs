//! Thousands of connections that have nothing to say.

use std::io;

use seawall_testkit::{LoadPlan, Origin, RawClient, raise_open_files};

use crate::setup::{Setup, eventually, memory, metric_becomes};

/// Most memory that an idle connection may cost.
const KIB_EACH: u64 = 6;

#[test]
fn heavy_thousands_of_idle_connections_cost_little_and_disturb_nobody() -> io::Result<()> {
    // Both ends are in this limit when it is inherited, but in two processes.
    let files = raise_open_files(20_000)?;
    let count = (files.saturating_sub(500)).min(16_000);
    assert!(count >= 8_000, "only {files} open files are allowed");
    let origin = Origin::always("here")?;
    let mut seawall = Setup::before(&origin).workers(2).start()?;
    let web = seawall.address("web");
    RawClient::connect(web)?.get("test", "/")?;
    let before = memory(&mut seawall, "VmRSS")?;

    let load = LoadPlan::get(web, "/", 4).resting(std::time::Duration::from_millis(1)).start()?;
    let mut idle = Vec::new();
    for nth in 0..count {
        let mut client = RawClient::connect(web)?;
        // Half of them have been of use, the others only came.
        if nth % 2 == 0 {
            assert_eq!(client.get("test", "/")?.text(), "here");
        }
        idle.push(client);
    }
    metric_becomes(&seawall, "seawall_connections_open", &[], (count + 4) as f64)?;
    // Memory is given back after a lull.
    let mut grown = 0;
    eventually("little memory", || {
        grown = memory(&mut seawall, "VmRSS")?.saturating_sub(before);
        Ok(grown <= count * KIB_EACH)
    })
    .map_err(|error| io::Error::new(error.kind(), format!("{error}: {grown} KiB for {count}")))?;

    load.wait_for_more(100)?;
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    // They still stand.
    for client in idle.iter_mut().step_by(97) {
        assert_eq!(client.get("test", "/")?.text(), "here");
    }
    drop(idle);
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)
}

/// Slow heads are held by a timeout each, and meanwhile cost nobody anything.
#[test]
fn heavy_a_thousand_slow_heads_disturb_nobody() -> io::Result<()> {
    raise_open_files(4_000)?;
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).listen("timeouts.head = \"2s\"").start()?;
    let web = seawall.address("web");
    let mut slow = Vec::new();
    for _ in 0..1000 {
        let mut client = RawClient::connect(web)?;
        client.send("GET / HTTP/1.1\r\nx: ")?;
        slow.push(client);
    }
    let load = LoadPlan::get(web, "/", 4).start()?;
    load.wait_for_more(1000)?;
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    for client in &mut slow {
        assert_eq!(client.read_response()?.status, 408);
    }
    crate::setup::refused(&seawall, "head-timeout", 1000.0)
}
