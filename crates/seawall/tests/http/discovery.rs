//! Servers that are found: in files that change, and as services in the DNS.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use seawall_testkit::{DnsServer, Load, LoadPlan, Origin, Response, Seawall, ServiceTarget};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::upstream;
use crate::setup::{Setup, code, eventually};

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// A file with servers in a folder of its own.
struct ServersFile {
    path: PathBuf,
    folder: TempDir,
}

impl ServersFile {
    fn new(name: &str) -> io::Result<ServersFile> {
        let folder = tempfile::tempdir()?;
        Ok(ServersFile { path: folder.path().join(name), folder })
    }

    /// Replaces it whole and at once.
    fn replace(&self, text: &str) -> io::Result<()> {
        let beside = self.folder.path().join("beside");
        fs::write(&beside, text)?;
        fs::rename(&beside, &self.path)
    }

    /// A configuration with an upstream that has its servers from this file alone.
    fn setup(&self) -> Setup {
        Setup::alone().with(&format!(
            "[upstream.app]\nservers-file = {:?}\n[[route]]\nto = \"app\"",
            self.path.display().to_string()
        ))
    }
}

fn toml(servers: &[SocketAddr]) -> String {
    let list: Vec<String> = servers.iter().map(|server| format!("  \"{server}\",\n")).collect();
    format!("# made by a test\nservers = [\n{}]\n", list.concat())
}

fn json_list(servers: &[SocketAddr]) -> String {
    let list: Vec<Value> =
        servers.iter().map(|server| json!({ "address": server.to_string() })).collect();
    json!({ "servers": list }).to_string()
}

fn load(seawall: &Seawall) -> io::Result<Load> {
    LoadPlan::get(seawall.address("web"), "/", 4)
        .judging(|response| match response.status {
            200 => Ok(response.text()),
            status => Err(format!("status {status}")),
        })
        .resting(std::time::Duration::from_millis(1))
        .start()
}

#[test]
fn a_file_that_changes_under_load_fails_no_request() -> io::Result<()> {
    let (one, two) = (Origin::always("one")?, Origin::always("two")?);
    for (name, text) in [
        ("servers.toml", toml as fn(&[SocketAddr]) -> String),
        ("servers.json", json_list),
        ("servers", json_list),
    ] {
        let file = ServersFile::new(name)?;
        fs::write(&file.path, text(&[one.address()]))?;
        let seawall = file.setup().workers(2).start()?;
        assert_eq!(seawall.connect()?.get("test", "/")?.text(), "one", "from the first request on");
        assert_eq!(upstream(&seawall)?["source"], "file");
        let load = load(&seawall)?;
        load.wait_for_more(10)?;
        for (servers, origin, in_place) in [
            (&[two.address()][..], &two, false),
            (&[one.address()], &one, true),
            (&[two.address()], &two, true),
            (&[one.address(), two.address()], &one, false),
        ] {
            let before = origin.requests();
            match in_place {
                true => fs::write(&file.path, text(servers))?,
                false => file.replace(&text(servers))?,
            }
            origin.wait_for_requests(before + 10)?;
        }
        let tally = load.stop();
        assert_eq!((tally.failed, tally.retried), (0, 0), "{name}: {:?}", tally.failures);
    }
    Ok(())
}

#[test]
fn a_bad_file_never_replaces_a_good_one() -> io::Result<()> {
    let (one, two) = (Origin::always("one")?, Origin::always("two")?);
    let file = ServersFile::new("servers.toml")?;
    fs::write(&file.path, toml(&[one.address()]))?;
    let seawall = file.setup().start()?;
    let mut client = seawall.connect()?;
    let told = |text: &str| seawall.log().lines().filter(|line| line.contains(text)).count();
    let mut failures = 0;
    for (text, problem) in [
        (Some("servers = [\n  \"127.0.0.1:1\",\n  { addres = \"127.0.0.1:2\" },\n]\n"), "line 3: "),
        (Some("servers = [\"127.0.0.1:1\""), "line 1: "),
        (Some("servers = []\n"), "this list is empty"),
        (Some(""), "has no `servers`"),
        (None, "there is no such file"),
    ] {
        match text {
            Some(text) => file.replace(text)?,
            None => fs::remove_file(&file.path)?,
        }
        eventually(problem, || {
            let told = upstream(&seawall)?["file"]["problem"].to_string();
            Ok(told.contains(problem))
        })?;
        failures += 1;
        assert_eq!(upstream(&seawall)?["file"]["failures"], failures);
        assert_eq!(seawall.metric("seawall_upstream_file_good", &[])?, 0.0);
        assert_eq!(client.get("test", "/")?.text(), "one");
        // A reload does not change that, and says so.
        let answer: Value = serde_json::from_str(&seawall.reload()?.text())?;
        assert_eq!(answer["applied"], true);
        let warning = answer["problems"][0]["message"].as_str().unwrap_or_default();
        assert!(warning.contains("cannot be used") && warning.contains(problem), "{answer}");
        failures += 1;
        assert_eq!(client.get("test", "/")?.text(), "one");
    }
    assert_eq!(told("the file with its servers cannot be used"), failures, "{}", seawall.log());
    file.replace(&toml(&[two.address()]))?;
    eventually("the good file", || Ok(client.get("test", "/")?.text() == "two"))?;
    let now = upstream(&seawall)?;
    assert_eq!(
        (&now["file"]["problem"], &now["file"]["failures"]),
        (&Value::Null, &json!(failures))
    );
    assert_eq!(told("is right again"), 1);
    Ok(())
}

#[test]
fn a_file_that_is_missing_at_the_start_is_a_warning_and_503() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let file = ServersFile::new("servers.json")?;
    let seawall = file.setup().start()?;
    assert!(seawall.log().contains("there is no such file"), "{}", seawall.log());
    let mut client = seawall.connect()?;
    let response = client.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "unresolved"));
    let now = upstream(&seawall)?;
    assert_eq!((&now["source"], &now["servers"]), (&json!("config"), &json!([])));
    file.replace(&json!([origin.address().to_string()]).to_string())?;
    eventually("the file is there", || Ok(client.get("test", "/")?.text() == "here"))
}

#[test]
fn a_file_comes_on_top_of_the_configuration() -> io::Result<()> {
    let (one, two) = (Origin::always("one")?, Origin::always("two")?);
    let file = ServersFile::new("servers.toml")?;
    fs::write(&file.path, toml(&[one.address(), two.address()]))?;
    let path = file.path.display().to_string();
    let setup = Setup::before(&one)
        .upstream(&format!("balance = \"round-robin\"\nservers-file = {path:?}"));
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (5, 5), "each is there once");
    assert_eq!(upstream(&seawall)?["source"], "config+file");
    // What the admin API has put in place is not disturbed by the file.
    let list = json!([one.address().to_string()]).to_string();
    assert_eq!(seawall.admin_send("PUT", "/api/upstreams/app/servers", &list)?.status, 200);
    fs::write(&file.path, "servers = 7")?;
    eventually("the file is looked at", || Ok(upstream(&seawall)?["file"]["failures"] == 1))?;
    fs::write(&file.path, toml(&[two.address()]))?;
    eventually("it is right again", || Ok(upstream(&seawall)?["file"]["problem"].is_null()))?;
    let now = upstream(&seawall)?;
    assert_eq!((&now["source"], now["servers"].as_array().map(Vec::len)), (&json!("api"), Some(1)));
    assert_eq!(seawall.admin_send("DELETE", "/api/upstreams/app/servers", "")?.status, 200);
    assert_eq!(upstream(&seawall)?["servers"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn servers_of_the_api_alone_cannot_be_taken_back() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let file = ServersFile::new("servers.toml")?;
    let seawall = file.setup().start()?;
    let list = json!([origin.address().to_string()]).to_string();
    assert_eq!(seawall.admin_send("PUT", "/api/upstreams/app/servers", &list)?.status, 200);
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    let response = seawall.admin_send("DELETE", "/api/upstreams/app/servers", "")?;
    assert_eq!(response.status, 409, "{}", response.text());
    assert!(
        response.text().contains("neither the configuration nor a file"),
        "{}",
        response.text()
    );
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    Ok(())
}

#[test]
fn check_reads_the_files_too() -> io::Result<()> {
    let file = ServersFile::new("servers.toml")?;
    let config = file.folder.path().join("seawall.toml");
    fs::write(
        &config,
        file.setup().text().replace(&file.path.display().to_string(), "servers.toml"),
    )?;
    let check = || {
        let mut command = std::process::Command::new(crate::setup::BINARY);
        let output = command.arg("check").arg(&config).env("NO_COLOR", "1").output()?;
        io::Result::Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    let (good, said) = check()?;
    assert!(good && said.contains("there is no such file"), "{said}");
    fs::write(&file.path, "servers = [\"127.0.0.1\"]\n")?;
    let (good, said) = check()?;
    assert!(!good && said.contains("has no port") && said.contains("servers.toml:1:12"), "{said}");
    fs::write(&file.path, "servers = [\"127.0.0.1:1\"]\n")?;
    assert_eq!(check()?, (true, String::new()));
    Ok(())
}

fn service(dns: &DnsServer) -> Setup {
    Setup::to_all(["srv:_http._tcp.app.test"]).server(&format!("resolver = \"{}\"", dns.address()))
}

fn target(host: &str, port: u16, priority: u16, weight: u16) -> ServiceTarget<'_> {
    ServiceTarget { priority, weight, port, host }
}

#[test]
fn a_service_tells_ports_weights_and_priorities() -> io::Result<()> {
    let (dns, one, two) = (DnsServer::start()?, Origin::always("one")?, Origin::always("two")?);
    let (first, second) = (one.address().port(), two.address().port());
    dns.set("a.test", &[ONE], 60);
    dns.set("b.test", &[ONE], 60);
    dns.set("c.test", &[TWO], 60);
    let targets = [
        target("a.test", first, 10, 100),
        target("B.test.", second, 10, 300),
        target("c.test", second, 20, 0),
    ];
    dns.set_service("_http._tcp.app.test", &targets, 60);
    for with_addresses in [false, true] {
        dns.add_addresses(with_addresses);
        let before = dns.queries("a.test");
        let seawall = service(&dns).upstream("balance = \"round-robin\"").start()?;
        let now = upstream(&seawall)?;
        let shown: Vec<(String, Value, Value)> = now["servers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| (s["address"].to_string(), s["weight"].clone(), s["priority"].clone()))
            .collect();
        let expect = |address: IpAddr, port: u16, weight: u32, priority: u8| {
            let address = json!(SocketAddr::new(address, port).to_string()).to_string();
            (address, json!(weight), json!(priority))
        };
        let mut active = vec![expect(ONE, first, 1, 0), expect(ONE, second, 3, 0)];
        active.sort_by(|a, b| a.0.cmp(&b.0));
        let mut found = shown[..2].to_vec();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!((&found, &shown[2..]), (&active, &[expect(TWO, second, 1, 1)][..]));
        assert_eq!(now["names"][0]["name"], "srv:_http._tcp.app.test");
        assert_eq!(seawall.connect()?.get("test", "/")?.status, 200);
        assert_eq!(
            dns.queries("a.test") == before,
            with_addresses,
            "what was told is not asked for"
        );
    }
    Ok(())
}

#[test]
fn a_service_that_changes_under_load_fails_no_request() -> io::Result<()> {
    let (dns, one, two) = (DnsServer::start()?, Origin::always("one")?, Origin::always("two")?);
    let (first, second) = (one.address().port(), two.address().port());
    dns.set("a.test", &[ONE], 1);
    dns.set_service("_http._tcp.app.test", &[target("a.test", first, 0, 0)], 1);
    let seawall = service(&dns).workers(2).start()?;
    let load = load(&seawall)?;
    load.wait_for_more(10)?;
    let before = two.requests();
    dns.set_service("_http._tcp.app.test", &[target("a.test", second, 0, 0)], 1);
    two.wait_for_requests(before + 10)?;
    // Whatever goes wrong from now on, nothing changes.
    for (wrong, problem) in [
        ("not there", "there is no service record with a target"),
        ("empty", "there is no such record"),
        ("unknown", "there is no such name"),
        ("failing", "the name server says"),
        ("without an address", "a.test: the name server says"),
    ] {
        match wrong {
            "not there" => {
                dns.set_service("_http._tcp.app.test", &[target(".", 1, 0, 0)], 1);
            }
            "empty" => dns.set_service("_http._tcp.app.test", &[], 1),
            "unknown" => dns.remove("_http._tcp.app.test"),
            "failing" => dns.fail("_http._tcp.app.test"),
            _ => {
                dns.fail("a.test");
                dns.set_service("_http._tcp.app.test", &[target("a.test", second, 0, 0)], 1);
            }
        }
        // It would be asked for again by itself, but more and more rarely.
        assert_eq!(seawall.reload()?.status, 200);
        eventually(problem, || {
            Ok(upstream(&seawall)?["names"][0]["problem"].to_string().contains(problem))
        })?;
        load.wait_for_more(10)?;
    }
    assert_eq!(seawall.log().matches("does not resolve").count(), 1, "{}", seawall.log());
    dns.set("a.test", &[ONE], 1);
    dns.set_service("_http._tcp.app.test", &[target("a.test", first, 0, 0)], 1);
    assert_eq!(seawall.reload()?.status, 200);
    let before = one.requests();
    one.wait_for_requests(before + 10)?;
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    assert!(seawall.log().contains("resolves again"));
    Ok(())
}

#[test]
fn no_answer_takes_servers_away() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    for wrong in ["unknown", "failing", "empty"] {
        dns.set("app.test", &[ONE], 1);
        let setup = Setup::to_all([format!("app.test:{}", origin.address().port())]);
        let seawall = setup.server(&format!("resolver = \"{}\"", dns.address())).start()?;
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.text(), "here");
        let problem = match wrong {
            "unknown" => {
                dns.remove("app.test");
                "there is no such name"
            }
            "failing" => {
                dns.fail("app.test");
                "the name server says"
            }
            _ => {
                dns.set("app.test", &[], 1);
                "there is no address record"
            }
        };
        eventually(problem, || {
            Ok(upstream(&seawall)?["names"][0]["problem"].to_string().contains(problem))
        })?;
        // Asked again, and told only once.
        let asked = dns.queries("app.test");
        dns.wait_for_queries("app.test", asked + 2)?;
        let now = upstream(&seawall)?;
        assert_eq!(now["names"][0]["addresses"], 1, "{now}");
        assert_eq!(client.get("test", "/")?.text(), "here");
        let log = seawall.log();
        assert_eq!(log.matches("does not resolve").count(), 1, "{wrong}: {log}");
    }
    Ok(())
}

#[test]
fn a_family_that_cannot_be_asked_for_keeps_its_addresses() -> io::Result<()> {
    let six = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    let dns = DnsServer::start()?;
    dns.set("app.test", &[ONE, six], 1);
    let setup = Setup::to_all(["app.test:1"]).server(&format!("resolver = \"{}\"", dns.address()));
    let seawall = setup.start()?;
    let addresses = || {
        let now = upstream(&seawall)?;
        let servers = now["servers"].as_array().cloned().unwrap_or_default();
        io::Result::Ok(servers.iter().map(|server| server["address"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(addresses()?, [json!("127.0.0.1:1"), json!("[::1]:1")]);
    dns.set("app.test", &[TWO, six], 1);
    eventually("the other address", || Ok(addresses()?[0] == json!("127.0.0.2:1")))?;
    dns.fail_ipv4("app.test");
    for _ in 0..2 {
        let asked = dns.queries("app.test");
        dns.wait_for_queries("app.test", asked + 4)?;
        assert_eq!(addresses()?, [json!("127.0.0.2:1"), json!("[::1]:1")]);
    }
    // A family that is certain to be empty is.
    dns.set("app.test", &[six], 1);
    eventually("it is gone", || Ok(addresses()? == [json!("[::1]:1")]))
}

#[test]
fn a_family_that_never_answers_holds_up_nobody() -> io::Result<()> {
    let (dns, origin) = (DnsServer::start()?, Origin::always("here")?);
    dns.set("app.test", &[ONE], 60);
    dns.mute_ipv6("app.test");
    let setup = Setup::to_all([format!("app.test:{}", origin.address().port())]);
    let seawall = setup.server(&format!("resolver = \"{}\"", dns.address())).start()?;
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here", "the first request finds it");
    Ok(())
}

#[test]
fn a_server_that_vanishes_ends_its_requests_and_returns_as_it_was() -> io::Result<()> {
    let dns = DnsServer::start()?;
    let one = Origin::always("one")?;
    let port = one.address().port();
    let two = Origin::responding_at((TWO, port).into(), |_| Response::new(200, "two"))?;
    dns.set("app.test", &[ONE, TWO], 1);
    let setup = Setup::to_all([format!("app.test:{port}")]);
    let seawall = setup
        .server(&format!("resolver = \"{}\"", dns.address()))
        .upstream("balance = \"round-robin\"")
        .start()?;
    let target = format!("/api/upstreams/app/servers/{}/state", two.address());
    assert_eq!(seawall.admin_send("PUT", &target, "{\"state\":\"drain\"}")?.status, 200);
    let count = || io::Result::Ok(upstream(&seawall)?["servers"].as_array().map_or(0, Vec::len));
    dns.set("app.test", &[ONE], 1);
    eventually("it is gone", || Ok(count()? == 1))?;
    dns.set("app.test", &[ONE, TWO], 1);
    eventually("it is there", || Ok(count()? == 2))?;
    assert_eq!(crate::servers::server(&seawall, two.address())?["state"], "draining");
    let mut client = seawall.connect()?;
    for _ in 0..4 {
        assert_eq!(client.get("test", "/")?.text(), "one");
    }
    Ok(())
}
