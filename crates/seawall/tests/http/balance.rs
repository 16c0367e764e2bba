//! Who is asked: keys that stay on their server, cookies, weights, zones, priorities, slow start,
//! and servers taken out by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use seawall_testkit::{Gate, Origin, RawClient, Response, Seawall};

use crate::setup::{Setup, code, eventually, get, in_flight_ends, state_becomes};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Origins that answer with their names.
fn origins(count: usize) -> io::Result<Vec<Origin>> {
    NAMES.iter().take(count).map(|name| Origin::always(name)).collect()
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(Origin::address).collect()
}

/// An upstream `app` with servers that are given as tables, and a route to it.
fn tables(servers: &[String], keys: &str) -> String {
    format!(
        "[upstream.app]\nservers = [{}]\n{keys}\n[[route]]\nname = \"app\"\nto = \"app\"\n",
        servers.join(", ")
    )
}

/// A server as a table with further keys.
fn table(origin: &Origin, keys: &str) -> String {
    format!("{{ address = \"{}\", {keys} }}", origin.address())
}

/// How many of so many answers each origin gave.
fn shares(client: &mut RawClient, requests: usize) -> io::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let response = client.get("test", "/")?;
        assert_eq!(response.status, 200, "{}", response.text());
        *counts.entry(response.text()).or_default() += 1;
    }
    Ok(counts)
}

fn order(seawall: &Seawall, server: SocketAddr, state: &str) -> io::Result<()> {
    let target = format!("/api/upstreams/app/servers/{server}/state");
    let response = seawall.admin_send("PUT", &target, &format!("{{\"state\": \"{state}\"}}"))?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

/// Which server each of some keys is on.
type Places = BTreeMap<usize, String>;

const KEYS: usize = 60;

/// Writes the request with a key.
type Write<'a> = &'a dyn Fn(usize) -> String;

fn places(seawall: &Seawall, request: Write<'_>) -> io::Result<Places> {
    // With so few requests in flight, one that is just being cleared away is all the load that the
    // bound of `hash` allows a server.
    in_flight_ends(seawall)?;
    let mut client = seawall.connect()?;
    let mut places = Places::new();
    for key in 0..KEYS {
        let response = client.exchange(request(key))?;
        assert_eq!(response.status, 200, "{}", response.text());
        places.insert(key, response.text());
    }
    Ok(places)
}

#[test]
fn a_key_stays_on_its_server_and_comes_back_to_it() -> io::Result<()> {
    let token = |key: usize| {
        let payload = format!("{{\"sub\":\"user {key}\"}}");
        format!("authorization: Bearer e30.{}.x\r\n", base64url(payload.as_bytes()))
    };
    let path = |key| get(&format!("/{key}"), "");
    let query = |key| get(&format!("/?x={key}a&k={key}"), "");
    let header = |key| get("/", &format!("X-Key: {key}\r\n"));
    let cookie = |key| get("/", &format!("cookie: x=1; k={key}; y=2\r\n"));
    let ip = |key| get("/", &format!("x-forwarded-for: 192.0.2.{key}\r\n"));
    let jwt = |key| get("/", &token(key));
    let cases: [(&str, &str, Write<'_>); 8] = [
        ("hash", "hash = \"path\"", &path),
        ("hash", "hash = \"query:k\"", &query),
        ("hash", "hash = \"header:x-key\"", &header),
        ("hash", "hash = \"cookie:k\"", &cookie),
        ("hash", "hash = \"jwt:sub\"", &jwt),
        ("maglev", "hash = \"path\"", &path),
        ("maglev", "hash = \"ip\"", &ip),
        ("ip-hash", "", &ip),
    ];
    let mut origins = origins(3)?;
    let all = addresses(&origins);
    for (balance, keys, request) in cases {
        let setup = Setup::to_all(&all)
            .workers(2)
            .server("trust = [\"127.0.0.1\"]")
            .upstream(&format!("balance = {balance:?}\n{keys}"));
        let seawall = setup.start()?;
        let before = places(&seawall, request)?;
        let used: BTreeSet<&String> = before.values().collect();
        assert_eq!(used.len(), 3, "{balance} {keys}: all have some of them");
        for _ in 0..2 {
            assert_eq!(places(&seawall, request)?, before, "{balance} {keys}");
        }
        // Only those of the server that is gone move.
        drop(origins.remove(0));
        let without = places(&seawall, request)?;
        for (key, place) in &before {
            let now = &without[key];
            assert!(now == place || place == "a", "{balance} {keys}: {key} from {place} to {now}");
            assert_ne!(now, "a");
        }
        origins.insert(0, Origin::responding_at(all[0], |_| Response::new(200, "a"))?);
        state_becomes(&seawall, all[0], "ready")?;
        assert_eq!(places(&seawall, request)?, before, "{balance} {keys}: they come back");
        // Another process finds the same places.
        assert_eq!(places(&setup.start()?, request)?, before, "{balance} {keys}");
    }
    Ok(())
}

/// RFC 4648 §5 without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |group: &[u8]| -> String {
        let mut bits = 0;
        for at in 0..3 {
            bits = bits << 8 | usize::from(group.get(at).copied().unwrap_or(0));
        }
        (0..=group.len()).map(|at| char::from(LETTERS[bits >> (18 - 6 * at) & 63])).collect()
    };
    bytes.chunks(3).map(group).collect()
}

/// The address that a stranger tells is not what is hashed.
#[test]
fn a_stranger_does_not_choose_its_server() -> io::Result<()> {
    let origins = origins(3)?;
    let seawall = Setup::to_all(addresses(&origins)).upstream("balance = \"ip-hash\"").start()?;
    let ip = |key| get("/", &format!("x-forwarded-for: 192.0.2.{key}\r\n"));
    let used: BTreeSet<String> = places(&seawall, &ip)?.into_values().collect();
    assert_eq!(used.len(), 1, "{used:?}");
    Ok(())
}

/// The cookie that an answer sets, with its attributes.
fn cookie(response: &Response) -> Option<(String, String)> {
    let field = response.header("set-cookie")?;
    let (pair, attributes) = field.split_once("; ")?;
    Some((pair.to_owned(), attributes.to_owned()))
}

#[test]
fn a_client_with_a_cookie_stays() -> io::Result<()> {
    let mut origins = origins(3)?;
    let all = addresses(&origins);
    let setup = Setup::to_all(&all)
        .workers(2)
        .server("trust = [\"127.0.0.1\"]")
        .upstream("balance = \"round-robin\"\nsticky = \"stay\"");
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    let response = client.get("test", "/")?;
    let (pair, attributes) = cookie(&response).expect("a cookie");
    let home = response.text();
    assert!(pair.starts_with("stay="), "{pair}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax", "{pair}");
    let at = NAMES.iter().position(|name| *name == home).expect("one of them");
    assert!(!pair.contains(&all[at].port().to_string()), "{pair} tells the port");

    let with = |pair: &str| get("/", &format!("cookie: other=1; {pair}\r\n"));
    let stays = |seawall: &Seawall| -> io::Result<()> {
        for _ in 0..6 {
            let response = seawall.connect()?.exchange(with(&pair))?;
            assert_eq!((response.text(), cookie(&response)), (home.clone(), None));
        }
        Ok(())
    };
    stays(&seawall)?;
    seawall.rewrite(&setup.clone().route("timeout = \"7s\"").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    stays(&seawall)?;
    order(&seawall, all[at], "drain")?;
    stays(&seawall)?;
    order(&seawall, all[at], "use")?;

    // A client that used https is told so that its browser keeps the cookie to it.
    let response = client.exchange(get("/", "x-forwarded-proto: https\r\n"))?;
    let (_, attributes) = cookie(&response).expect("a cookie");
    assert!(attributes.ends_with("; Secure"), "{attributes}");

    // A forged one is none.
    let (name, value) = pair.split_once('=').expect("a pair");
    let (id, signature) = value.split_once('.').expect("an id and a signature");
    let mut turned: Vec<char> = signature.chars().collect();
    turned[0] = if turned[0] == '0' { '1' } else { '0' };
    let turned: String = turned.into_iter().collect();
    for forged in [
        format!("{name}={id}.{turned}"),
        format!("{name}={id}.{}", &signature[2..]),
        format!("{name}={id}."),
        format!("{name}={id}"),
        format!("{name}="),
        format!("{name}={}.{signature}", "0".repeat(id.len())),
        format!("{name}=\u{e9}{value}"),
        format!("{name}={value}0"),
    ] {
        let used: BTreeSet<String> = (0..3)
            .map(|_| {
                let response = client.exchange(with(&forged))?;
                assert!(cookie(&response).is_some(), "{forged} gets another");
                Ok(response.text())
            })
            .collect::<io::Result<_>>()?;
        assert_eq!(used.len(), 3, "{forged} takes its turns");
    }

    // When the server is gone, there is another, and the cookie follows.
    drop(origins.remove(at));
    let response = client.exchange(with(&pair))?;
    assert_eq!(response.status, 200);
    let next = response.text();
    assert_ne!(next, home);
    let (other, _) = cookie(&response).expect("another cookie");
    for _ in 0..6 {
        let response = client.exchange(with(&other))?;
        assert_eq!((response.text(), cookie(&response)), (next.clone(), None));
    }
    in_flight_ends(&seawall)
}

#[test]
fn a_secret_is_shared_by_processes() -> io::Result<()> {
    let origins = origins(3)?;
    let all = addresses(&origins);
    let setup = |secret: &str| {
        let keys =
            format!("sticky = {{ cookie = \"stay\", secret = \"{secret}\", max-age = \"1h\" }}");
        Setup::to_all(&all).upstream("balance = \"round-robin\"").upstream(&keys).start()
    };
    let [one, two, stranger] =
        [setup("0123456789abcdef")?, setup("0123456789abcdef")?, setup("another secret!!")?];
    let response = one.connect()?.get("test", "/")?;
    let (pair, attributes) = cookie(&response).expect("a cookie");
    assert!(attributes.contains("Max-Age=3600"), "{attributes}");
    let request = get("/", &format!("cookie: {pair}\r\n"));
    for _ in 0..4 {
        let again = two.connect()?.exchange(&request)?;
        assert_eq!((again.text(), cookie(&again)), (response.text(), None));
    }
    assert!(cookie(&stranger.connect()?.exchange(&request)?).is_some());
    Ok(())
}

#[test]
fn weights_hold_for_every_balancer() -> io::Result<()> {
    let origins = origins(2)?;
    for balance in ["two-choices", "random", "round-robin", "least-connections"] {
        let servers = [table(&origins[0], "weight = 9"), table(&origins[1], "weight = 1")];
        let text = tables(&servers, &format!("balance = {balance:?}"));
        let seawall = Setup::alone().with(&text).start()?;
        let counts = shares(&mut seawall.connect()?, 400)?;
        let light = counts.get("b").copied().unwrap_or(0);
        // 40 are expected; at random, further off than this is one in ten thousand times.
        assert!((15..=75).contains(&light), "{balance}: {counts:?}");
    }
    Ok(())
}

#[test]
fn a_second_group_is_used_as_far_as_the_first_is_not_enough() -> io::Result<()> {
    let origins = origins(4)?;
    let first = |origin| table(origin, "priority = 0");
    let servers = [
        first(&origins[0]),
        first(&origins[1]),
        first(&origins[2]),
        table(&origins[3], "priority = 1"),
    ];
    let text = tables(&servers, "balance = \"random\"");
    let all = addresses(&origins);
    let mut origins = origins;
    let seawall = Setup::alone().with(&text).start()?;
    let mut client = seawall.connect()?;
    assert!(!shares(&mut client, 60)?.contains_key("d"));

    // Two of three can take 93 %: 2/3 × 1.4.
    drop(origins.remove(0));
    shares(&mut client, 20)?;
    state_becomes(&seawall, all[0], "unreachable")?;
    let spilled = shares(&mut client, 600)?.get("d").copied().unwrap_or(0);
    assert!((10..=90).contains(&spilled), "40 are expected, not {spilled}");

    // One of three can take 47 %.
    drop(origins.remove(0));
    shares(&mut client, 20)?;
    state_becomes(&seawall, all[1], "unreachable")?;
    let spilled = shares(&mut client, 600)?.get("d").copied().unwrap_or(0);
    assert!((250..=390).contains(&spilled), "320 are expected, not {spilled}");

    drop(origins.remove(0));
    assert_eq!(shares(&mut client, 60)?, BTreeMap::from([("d".to_owned(), 60)]));
    let _back = Origin::responding_at(all[0], |_| Response::new(200, "a"))?;
    let _all = Origin::responding_at(all[1], |_| Response::new(200, "b"))?;
    let _three = Origin::responding_at(all[2], |_| Response::new(200, "c"))?;
    for address in &all[..3] {
        state_becomes(&seawall, *address, "ready")?;
    }
    assert!(!shares(&mut client, 60)?.contains_key("d"), "the first group has it all again");
    Ok(())
}

#[test]
fn servers_taken_out_by_hand_do_not_make_the_second_group_help() -> io::Result<()> {
    let origins = origins(3)?;
    let servers = [
        table(&origins[0], "weight = 1"),
        table(&origins[1], "weight = 1"),
        table(&origins[2], "priority = 3"),
    ];
    let seawall = Setup::alone().with(&tables(&servers, "")).start()?;
    let mut client = seawall.connect()?;
    order(&seawall, origins[0].address(), "disable")?;
    assert_eq!(shares(&mut client, 40)?, BTreeMap::from([("b".to_owned(), 40)]));
    order(&seawall, origins[1].address(), "drain")?;
    assert_eq!(shares(&mut client, 40)?, BTreeMap::from([("c".to_owned(), 40)]));
    Ok(())
}

#[test]
fn the_servers_next_door_are_used_while_they_are_enough() -> io::Result<()> {
    let mut origins = origins(4)?;
    let all = addresses(&origins);
    let zones = ["near", "near", "far", "far"];
    let servers: Vec<String> = origins
        .iter()
        .zip(zones)
        .map(|(origin, zone)| table(origin, &format!("zone = {zone:?}")))
        .collect();
    let text = tables(&servers, "balance = \"random\"");
    let seawall = Setup::alone().server("zone = \"near\"").with(&text).start()?;
    let mut client = seawall.connect()?;
    let names = |counts: BTreeMap<String, usize>| counts.into_keys().collect::<Vec<_>>();
    assert_eq!(names(shares(&mut client, 60)?), ["a", "b"]);

    // One of two can take 70 %.
    drop(origins.remove(0));
    shares(&mut client, 20)?;
    state_becomes(&seawall, all[0], "unreachable")?;
    let counts = shares(&mut client, 600)?;
    let near = counts.get("b").copied().unwrap_or(0);
    assert!((350..=490).contains(&near), "420 are expected: {counts:?}");
    assert_eq!(names(counts), ["b", "c", "d"]);

    drop(origins.remove(0));
    shares(&mut client, 10)?;
    assert_eq!(names(shares(&mut client, 60)?), ["c", "d"]);

    // Without a zone of one's own they mean nothing.
    let seawall = Setup::alone().with(&text).start()?;
    let mut client = seawall.connect()?;
    shares(&mut client, 20)?;
    assert_eq!(names(shares(&mut client, 60)?), ["c", "d"]);
    Ok(())
}

#[test]
fn a_new_server_begins_with_little() -> io::Result<()> {
    let origins = origins(3)?;
    let all = addresses(&origins);
    let setup = |servers: &[SocketAddr]| {
        Setup::to_all(servers).upstream("balance = \"round-robin\"\nslow-start = \"1h\"")
    };
    let seawall = setup(&all[..2]).start()?;
    let mut client = seawall.connect()?;
    let counts = shares(&mut client, 100)?;
    assert!(counts["a"] >= 49 && counts["b"] >= 49, "who was there is not new: {counts:?}");
    seawall.rewrite(&setup(&all).text())?;
    assert_eq!(seawall.reload()?.status, 200);
    let counts = shares(&mut client, 210)?;
    // It has a tenth of the weight of the others: one in 21.
    assert!((8..=12).contains(&counts["c"]), "{counts:?}");

    // The same when it returns, and when it is put there by hand.
    let seawall = setup(&all[..2]).start()?;
    let list: Vec<String> = all.iter().map(|server| format!("\"{server}\"")).collect();
    let body = format!("{{\"servers\": [{}]}}", list.join(", "));
    assert_eq!(seawall.admin_send("PUT", "/api/upstreams/app/servers", &body)?.status, 200);
    let counts = shares(&mut seawall.connect()?, 210)?;
    assert!((8..=12).contains(&counts["c"]), "{counts:?}");
    Ok(())
}

#[test]
fn a_server_is_drained_and_disabled_and_used_again() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let slow = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "slow"))?;
        }
        Ok(())
    })?;
    let other = Origin::always("other")?;
    let setup = Setup::to_all([slow.address(), other.address()])
        .workers(2)
        .upstream("balance = \"round-robin\"");
    let seawall = setup.start()?;
    let mut clients =
        [seawall.connect()?, seawall.connect()?, seawall.connect()?, seawall.connect()?];
    for client in &mut clients {
        client.send(get("/", ""))?;
    }
    eventually("all arrive", || Ok(slow.requests() + other.requests() == 4))?;
    order(&seawall, slow.address(), "drain")?;
    let told = state_becomes(&seawall, slow.address(), "draining")?;
    assert_eq!(told["drained"], false);
    let asked = slow.requests();
    assert!(asked > 0, "it has its turns");
    let mut client = seawall.connect()?;
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.text(), "other");
    }
    assert_eq!(slow.requests(), asked);
    // A reload does not forget it.
    seawall.rewrite(&setup.clone().route("timeout = \"7s\"").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.text(), "other");
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response()?.status, 200, "what was there ends by itself");
    }
    in_flight_ends(&seawall)?;
    assert_eq!(state_becomes(&seawall, slow.address(), "draining")?["drained"], true);

    // All of them: nobody is asked.
    order(&seawall, other.address(), "disable")?;
    let response = client.get("test", "/")?;
    assert_eq!(code(&response), "no-healthy-upstream");
    order(&seawall, slow.address(), "use")?;
    order(&seawall, other.address(), "use")?;
    assert_eq!(shares(&mut client, 10)?.len(), 2);
    Ok(())
}
