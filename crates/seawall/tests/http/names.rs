//! Names of servers: resolved in the background, never on the way of a request.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use seawall_testkit::{DnsServer, LoadPlan, Origin, Response};

use crate::setup::{Setup, code, eventually};

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Two origins at one port of different addresses.
fn pair() -> io::Result<(Origin, Origin)> {
    let one = Origin::always("one")?;
    let two = (TWO, one.address().port()).into();
    let two = Origin::responding_at(two, |_| Response::new(200, "two"))?;
    Ok((one, two))
}

fn before(dns: &DnsServer, port: u16) -> Setup {
    Setup::to_all([format!("app.test:{port}")]).server(&format!("resolver = \"{}\"", dns.address()))
}

#[test]
fn a_name_that_does_not_resolve_is_a_warning_and_503() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    for how in ["unknown", "failing", "empty"] {
        match how {
            "unknown" => dns.remove("app.test"),
            "failing" => dns.fail("app.test"),
            _ => dns.set("app.test", &[], 60),
        }
        let mut seawall = before(&dns, origin.address().port()).start()?;
        seawall.process().wait_for_text("does not resolve")?;
        let mut client = seawall.connect()?;
        let response = client.get("test", "/")?;
        assert_eq!((response.status, code(&response).as_str()), (503, "unresolved"), "{how}");
        assert!(response.header("retry-after").is_some());

        dns.set("app.test", &[ONE], 60);
        eventually("it resolves", || Ok(client.get("test", "/")?.text() == "here"))?;
        assert!(seawall.log().contains("resolves again"));
    }
    Ok(())
}

#[test]
fn a_name_server_that_says_nothing_does_not_hold_up_the_start() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    dns.mute("app.test");
    let setup = before(&dns, origin.address().port())
        .with("[[route]]\npath = \"/page\"\nrespond = \"page\"");
    let seawall = setup.start()?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "page");
    assert_eq!(seawall.connect()?.get("test", "/")?.status, 503);
    Ok(())
}

#[test]
fn the_first_request_finds_the_server() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    dns.set("app.test", &[ONE], 60);
    let seawall = before(&dns, origin.address().port()).start()?;
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    Ok(())
}

#[test]
fn an_address_is_asked_for_again_when_its_time_is_over() -> io::Result<()> {
    let (dns, (one, _two)) = (DnsServer::start()?, pair()?);
    dns.set("app.test", &[ONE], 1);
    let seawall = before(&dns, one.address().port()).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.text(), "one");
    dns.set("app.test", &[TWO], 3600);
    eventually("the new address", || Ok(client.get("test", "/")?.text() == "two"))?;
    let asked = dns.queries("app.test");

    // Now it holds for an hour.
    dns.set("app.test", &[ONE], 1);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.get("test", "/")?.text(), "two");
    assert_eq!(dns.queries("app.test"), asked);
    Ok(())
}

#[test]
fn the_last_good_addresses_stay_in_use() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    dns.set("app.test", &[ONE], 1);
    let mut seawall = before(&dns, origin.address().port()).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.text(), "here");
    dns.fail("app.test");
    seawall.process().wait_for_text("does not resolve")?;
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.text(), "here");
    }
    Ok(())
}

#[test]
fn every_address_of_a_name_is_a_server() -> io::Result<()> {
    let (dns, (one, two)) = (DnsServer::start()?, pair()?);
    dns.set("app.test", &[ONE, TWO], 60);
    let seawall =
        before(&dns, one.address().port()).upstream("balance = \"round-robin\"").start()?;
    let mut client = seawall.connect()?;
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (5, 5));
    Ok(())
}

#[test]
fn addresses_that_change_under_load_fail_no_request() -> io::Result<()> {
    let (dns, (one, two)) = (DnsServer::start()?, pair()?);
    dns.set("app.test", &[ONE], 1);
    let seawall = before(&dns, one.address().port()).workers(2).start()?;
    let load = LoadPlan::get(seawall.address("web"), "/", 4)
        .judging(|response| match response.status {
            200 => Ok(response.text()),
            status => Err(format!("status {status}")),
        })
        .resting(Duration::from_millis(1))
        .start()?;
    load.wait_for_more(10)?;
    for (addresses, origin) in [(&[TWO][..], &two), (&[ONE], &one), (&[ONE, TWO], &two)] {
        let before = origin.requests();
        dns.set("app.test", addresses, 1);
        origin.wait_for_requests(before + 10)?;
    }
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    Ok(())
}

#[test]
fn a_reload_keeps_what_is_known_of_a_name() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    dns.set("app.test", &[ONE], 60);
    let setup = before(&dns, origin.address().port());
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.text(), "here");
    // The name server is ill while the reload asks it.
    dns.fail("app.test");
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(client.get("test", "/")?.text(), "here");
    assert_eq!(origin.connections(), 1);
    Ok(())
}
