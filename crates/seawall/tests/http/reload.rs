//! Reloads: all of a configuration or nothing of it, and nobody notices.

use std::io;
use std::time::Duration;

use seawall_testkit::{Gate, LoadPlan, Origin, RawClient, Response, Seawall};

use crate::setup::{BINARY, Setup, get, metric_becomes};
use crate::upgrade::{UPGRADE, echo};

/// The page that says which plan answered.
fn page(text: &str) -> String {
    format!("[[route]]\nname = \"page\"\npath = \"/page\"\nrespond = \"{text}\"")
}

fn generation(seawall: &Seawall) -> io::Result<f64> {
    seawall.metric("seawall_config_generation", &[])
}

/// Reloads and says that it worked.
fn reload(seawall: &Seawall, config: &str) -> io::Result<String> {
    seawall.rewrite(config)?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(response.text())
}

#[test]
fn heavy_a_thousand_reloads_fail_no_request() -> io::Result<()> {
    let origin = echo()?;
    let setup = Setup::before(&origin).workers(2);
    let texts = ["one", "two"].map(|name| {
        setup
            .clone()
            .with(&page(name))
            .with(&format!("[upstream.{name}]\nservers = [\"{}\"]", origin.address()))
            .with(&format!("[[route]]\nname = \"{name}\"\npath = \"/{name}/*\"\nto = \"{name}\""))
            .route(&format!("headers.response.set = {{ x-plan = \"{name}\" }}"))
            .text()
    });
    let mut seawall = Seawall::start(BINARY, &texts[0])?;
    let web = seawall.address("web");

    let mut tunnel = seawall.connect()?;
    tunnel.send(UPGRADE)?;
    assert_eq!(tunnel.read_head()?.status, 101);
    let loads = [
        LoadPlan::get(web, "/length", 2).judging(|response| match response.header("x-plan") {
            Some(plan) if response.status == 200 => Ok(plan.to_owned()),
            _ => Err(format!("status {}", response.status)),
        }),
        LoadPlan::get(web, "/page", 1),
        LoadPlan::get(web, "/", 1).sending(get("/", "connection: close\r\n")),
        LoadPlan::get(web, "/", 1)
            .sending("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ];
    let loads = loads
        .into_iter()
        .map(|load| load.resting(Duration::from_millis(1)).start())
        .collect::<io::Result<Vec<_>>>()?;
    for round in 0..1000 {
        seawall.rewrite(&texts[(round + 1) % 2])?;
        if round % 5 == 0 {
            let before = generation(&seawall)?;
            seawall.hang_up()?;
            metric_becomes(&seawall, "seawall_config_generation", &[], before + 1.0)?;
        } else {
            assert_eq!(seawall.reload()?.status, 200);
        }
        if round % 100 == 0 {
            tunnel.send("still here")?;
            assert_eq!(tunnel.read_exact(10)?, b"still here");
        }
    }
    assert_eq!(generation(&seawall)?, 1001.0);
    for load in loads {
        load.wait_for_more(1)?;
        let tally = load.stop();
        assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
        assert!(tally.by_name.len() == 1 || tally.by_name.keys().eq(["one", "two"]), "{tally:?}");
    }
    Ok(())
}

#[test]
fn a_bad_file_changes_nothing_and_says_everything() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let setup = Setup::before(&origin);
    let mut seawall = setup.clone().with(&page("old")).start()?;
    let bad = setup.with(&page("new")).with(
        "[[route]]\nname = \"a\"\nto = \"nowhere\"\n\
         [[route]]\nname = \"b\"\npaht = \"/x\"\nrespond = \"x\"",
    );
    seawall.rewrite(&bad.text())?;
    for way in ["api", "signal"] {
        if way == "api" {
            let response = seawall.reload()?;
            assert_eq!(response.status, 422);
            assert_eq!(response.header("content-type"), Some("application/json"));
            let text = response.text();
            for part in [
                "\"applied\":false",
                "\"severity\":\"error\"",
                "nowhere",
                "paht",
                "`path`",
                "\"line\":",
                "seawall.toml",
            ] {
                assert!(text.contains(part), "{part} is missing in {text}");
            }
        } else {
            seawall.hang_up()?;
            metric_becomes(&seawall, "seawall_config_failures_total", &[], 2.0)?;
        }
        assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "old");
        assert_eq!(seawall.metric("seawall_config_last_reload_success", &[])?, 0.0);
        assert_eq!(generation(&seawall)?, 1.0);
    }
    assert!(seawall.process().text().contains("paht"), "the log says it too");

    std::fs::remove_file(seawall.config())?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 422);
    assert!(response.text().contains("cannot be read"), "{}", response.text());

    reload(&seawall, &Setup::before(&origin).with(&page("new")).text())?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "new");
    assert_eq!(seawall.metric("seawall_config_last_reload_success", &[])?, 1.0);
    Ok(())
}

#[test]
fn a_request_in_flight_ends_on_the_plan_it_began_with() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            if request.target == "/slow" {
                conversation.wait(&at_gate)?;
            }
            conversation.respond(&request, Response::new(200, "here"))?;
        }
        Ok(())
    })?;
    let setup = Setup::before(&origin);
    let plan = |name: &str| format!("headers.response.set = {{ x-plan = \"{name}\" }}");
    let seawall = setup.clone().route(&plan("old")).start()?;
    let mut client = seawall.connect()?;
    client.send(get("/slow", ""))?;
    gate.wait_for_waiting(1)?;
    reload(&seawall, &setup.clone().route(&plan("new")).text())?;
    let mut other = seawall.connect()?;
    assert_eq!(other.get("test", "/")?.header("x-plan"), Some("new"));
    gate.open();
    assert_eq!(client.read_response()?.header("x-plan"), Some("old"));
    assert_eq!(client.get("test", "/")?.header("x-plan"), Some("new"), "and the next on the new");

    // Even when its route and its upstream are gone.
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let request = conversation.read_request()?;
        conversation.wait(&at_gate)?;
        conversation.respond(&request, Response::new(200, "gone"))
    })?;
    reload(&seawall, &Setup::before(&origin).text())?;
    client.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    reload(&seawall, &Setup::alone().with(&page("only")).text())?;
    gate.open();
    assert_eq!(client.read_response()?.text(), "gone");
    assert_eq!(client.get("test", "/")?.status, 404);
    assert_eq!(client.get("test", "/page")?.text(), "only");
    Ok(())
}

#[test]
fn counters_and_connections_outlive_a_reload() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let setup = Setup::before(&origin);
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    for round in 1..=5 {
        assert_eq!(client.get("test", "/")?.text(), "here");
        metric_becomes(&seawall, "seawall_requests_total", &["route=\"app\""], f64::from(round))?;
        reload(&seawall, &setup.clone().with(&page("x")).text())?;
    }
    assert_eq!(origin.connections(), 1, "the connection to the server is kept");
    assert_eq!(seawall.metric("seawall_connections_total", &[])?, 1.0);
    let label = format!("server=\"{}\"", origin.address());
    assert_eq!(seawall.metric("seawall_upstream_requests_total", &[&label])?, 5.0);
    Ok(())
}

#[test]
fn listeners_come_and_go() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let setup = Setup::before(&origin);
    let mut seawall = setup.start()?;
    let web = seawall.address("web");
    let more = "[listen.more]\naddress = \"127.0.0.1:0\"";
    reload(&seawall, &setup.clone().with(more).text())?;
    let address = seawall.process().wait_for_line(|line| {
        let (_, rest) = line.text.split_once("listening name=more address=")?;
        rest.trim().parse().ok()
    })?;
    let mut client = RawClient::connect(address)?;
    assert_eq!(client.get("test", "/")?.text(), "here");
    assert_eq!(seawall.metric("seawall_connections_open", &["listener=\"more\""])?, 1.0);

    // The one that stays is not touched, the one that goes closes what is idle.
    let mut staying = RawClient::connect(web)?;
    assert_eq!(staying.get("test", "/")?.text(), "here");
    reload(&seawall, &setup.text())?;
    client.expect_close()?;
    let error = RawClient::connect(address).err().expect("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(staying.get("test", "/")?.text(), "here");
    assert_eq!(RawClient::connect(web)?.get("test", "/")?.text(), "here");
    Ok(())
}

#[test]
fn an_exchange_ends_though_its_listener_goes() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let request = conversation.read_request()?;
        conversation.wait(&at_gate)?;
        conversation.respond(&request, Response::new(200, "late"))
    })?;
    let setup = Setup::before(&origin);
    let seawall = setup.clone().with("[listen.more]\naddress = \"127.0.0.1:0\"").start()?;
    let mut client = RawClient::connect(seawall.address("more"))?;
    client.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    reload(&seawall, &setup.text())?;
    gate.open();
    assert_eq!(client.read_response()?.text(), "late");
    client.expect_close()
}

#[test]
fn an_address_that_is_taken_undoes_the_whole_reload() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let setup = Setup::before(&origin);
    let seawall = setup.clone().with(&page("old")).start()?;
    let other = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = format!("[listen.taken]\naddress = \"{}\"", other.local_addr()?);
    seawall.rewrite(&setup.with(&page("new")).with(&taken).text())?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 422);
    let text = response.text();
    assert!(text.contains("another program listens there"), "{text}");
    assert!(text.contains("taken"), "{text}");
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "old");
    assert_eq!(generation(&seawall)?, 1.0);
    Ok(())
}

#[test]
fn settings_of_the_process_wait_for_the_next_start_and_say_so() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).start()?;
    let text = reload(&seawall, &Setup::before(&origin).workers(2).text())?;
    assert!(text.contains("\"severity\":\"warning\""), "{text}");
    assert!(text.contains("server.workers"), "{text}");
    assert_eq!(seawall.metric("seawall_workers", &[])?, 1.0);
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    Ok(())
}

#[test]
fn a_watched_file_is_put_in_place_when_it_changes() -> io::Result<()> {
    let setup = Setup::alone();
    let config = setup.clone().with(&page("old")).text();
    let seawall = Seawall::start_with(BINARY, &config, &["--watch"])?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "old");
    seawall.rewrite(&setup.clone().with(&page("new")).text())?;
    metric_becomes(&seawall, "seawall_config_generation", &[], 2.0)?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "new");
    seawall.rewrite("[server\n")?;
    metric_becomes(&seawall, "seawall_config_failures_total", &[], 1.0)?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "new");
    // An editor that takes the file away and writes it anew.
    std::fs::remove_file(seawall.config())?;
    seawall.rewrite(&setup.with(&page("newer")).text())?;
    metric_becomes(&seawall, "seawall_config_generation", &[], 3.0)?;
    assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "newer");
    Ok(())
}

#[test]
fn limits_and_timeouts_hold_from_the_next_request() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let setup = Setup::before(&origin);
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    let large = get("/", &format!("x: {}\r\n", "y".repeat(4000)));
    assert_eq!(client.exchange(&large)?.status, 200);
    reload(&seawall, &setup.clone().listen("limits.head = \"1KiB\"").text())?;
    assert_eq!(client.exchange(&large)?.status, 431);
    Ok(())
}

#[test]
fn an_access_log_is_rotated_by_a_reload() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let (log, old) = (home.path().join("access.log"), home.path().join("access.log.1"));
    let setup = Setup::alone().with(&page("here"));
    let logging = setup.clone().server(&format!("access-log = {:?}", log.display().to_string()));
    let seawall = logging.start()?;
    let mut client = seawall.connect()?;
    let lines = |file: &std::path::Path| -> io::Result<Vec<String>> {
        Ok(std::fs::read_to_string(file)?.lines().map(str::to_owned).collect())
    };
    client.get("test", "/page?one")?;
    crate::setup::eventually("a first line", || Ok(lines(&log)?.len() == 1))?;
    std::fs::rename(&log, &old)?;
    reload(&seawall, &logging.text())?;
    client.get("test", "/page?two")?;
    crate::setup::eventually("a line in the new file", || Ok(lines(&log)?.len() == 1))?;
    assert!(lines(&old)?[0].contains("?one") && lines(&log)?[0].contains("?two"));
    assert_eq!(lines(&old)?.len(), 1);

    // Off, and on again.
    reload(&seawall, &setup.text())?;
    client.get("test", "/page?three")?;
    reload(&seawall, &logging.text())?;
    client.get("test", "/page?four")?;
    crate::setup::eventually("a second line", || Ok(lines(&log)?.len() == 2))?;
    assert!(lines(&log)?[1].contains("?four"));
    assert_eq!(seawall.metric("seawall_access_log_dropped_total", &[])?, 0.0);
    Ok(())
}

/// Whoever is let in at that moment belongs to a listener that the next plan does not know.
#[test]
fn clients_that_come_while_their_listener_goes_hurt_nobody() -> io::Result<()> {
    let setup = Setup::alone().workers(2).with(&page("here"));
    let mut seawall = setup.start()?;
    for round in 0..20 {
        // `web` is the one after it, and the last.
        let more = format!("[listen.more-{round}]\naddress = \"127.0.0.1:0\"");
        reload(&seawall, &setup.clone().with(&more).text())?;
        let announced = format!("listening name=more-{round} address=");
        let address: std::net::SocketAddr = seawall.process().wait_for_line(|line| {
            let (_, rest) = line.text.split_once(&announced)?;
            rest.trim().parse().ok()
        })?;
        let (answered, answers) = std::sync::mpsc::channel();
        let coming: Vec<_> = (0..4)
            .map(|_| {
                let answered = answered.clone();
                std::thread::spawn(move || {
                    while let Ok(mut client) = RawClient::connect(address) {
                        let Ok(response) = client.get("test", "/page") else { continue };
                        assert_eq!(response.text(), "here");
                        let _ = answered.send(());
                    }
                })
            })
            .collect();
        drop(answered);
        assert!(answers.iter().take(50).count() == 50);
        reload(&seawall, &setup.text())?;
        for thread in coming {
            thread.join().expect("no answer was wrong");
        }
    }
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_a_reload() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let pipe = home.path().join("access.pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    // Both ways, so that neither opening waits for the other.
    let unread = std::fs::File::options().read(true).write(true).open(&pipe)?;
    let setup = Setup::alone().server(&format!("access-log = {:?}", pipe.display().to_string()));
    let mut seawall = setup.clone().with(&page("old")).start()?;
    let mut client = seawall.connect()?;
    let long = format!("/page?{}", "x".repeat(30_000));
    for _ in 0..600 {
        assert_eq!(client.get("test", &long)?.text(), "old");
    }
    crate::setup::eventually("lines are dropped", || {
        Ok(seawall.metric("seawall_access_log_dropped_total", &[])? > 0.0)
    })?;
    reload(&seawall, &setup.with(&page("new")).text())?;
    assert_eq!(client.get("test", "/page")?.text(), "new");
    seawall.terminate()?;
    assert!(seawall.wait()?.success());
    drop(unread);
    Ok(())
}

#[test]
fn lines_that_a_full_disk_takes_away_are_counted() -> io::Result<()> {
    let setup = Setup::alone().with(&page("here")).server("access-log = \"/dev/full\"");
    let seawall = setup.start()?;
    for _ in 0..3 {
        assert_eq!(seawall.connect()?.get("test", "/page")?.text(), "here");
    }
    metric_becomes(&seawall, "seawall_access_log_dropped_total", &[], 3.0)
}

#[test]
fn a_refused_reload_leaves_the_access_log_where_it_was() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let (log, other) = (home.path().join("access.log"), home.path().join("other.log"));
    let setup = |log: &std::path::Path| {
        let key = format!("access-log = {:?}", log.display().to_string());
        Setup::alone().with(&page("here")).server(&key)
    };
    let seawall = setup(&log).start()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = format!("[listen.taken]\naddress = \"{}\"", listener.local_addr()?);
    seawall.rewrite(&setup(&other).with(&taken).text())?;
    assert_eq!(seawall.reload()?.status, 422);
    seawall.connect()?.get("test", "/page?after")?;
    crate::setup::eventually("a line somewhere", || {
        Ok([&log, &other]
            .iter()
            .any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("?after"))))
    })?;
    assert!(std::fs::read_to_string(&log)?.contains("?after"));
    Ok(())
}
