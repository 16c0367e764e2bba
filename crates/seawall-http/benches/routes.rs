//! How long it takes to find a route among many. `cargo xtask bench routes` runs it and keeps what
//! it prints.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use seawall_config::plan::Route;
use seawall_h1::{HeadLimits, HeadProgress, RequestHead, parse};
use seawall_http::{Found, RouteTable};

const LOOK_UPS: usize = 200_000;
const ROUNDS: usize = 5;

fn main() {
    println!("| routes | request | ns a look-up |\n|--:|---|--:|");
    for count in [10, 1_000, 10_000] {
        let routes = routes(count);
        let table = RouteTable::new(&routes);
        let last = count - 1;
        for (name, host, path) in [
            ("the last prefix", format!("s{}.example.com", last % 50), format!("/p{last}/a/b/c")),
            ("below a wildcard", format!("x.y.w{}.example.org", last % 50), "/a/b/c/d".to_owned()),
            ("none of them", "other.example".to_owned(), "/a/b/c/d/e/f/g/h".to_owned()),
        ] {
            let request = request(&host, &path);
            let found = table.find(&routes, &request);
            assert_eq!(found == Found::Nothing, name == "none of them", "{host}{path}: {found:?}");
            println!("| {count} | {name} | {:.0} |", measure(&table, &routes, &request));
        }
    }
}

/// The best of some rounds: what disturbs a round only makes it slower.
fn measure(table: &RouteTable, routes: &[Route], request: &RequestHead) -> f64 {
    let round = || {
        let start = Instant::now();
        for _ in 0..LOOK_UPS {
            black_box(table.find(black_box(routes), black_box(request)));
        }
        start.elapsed().as_nanos() as f64 / LOOK_UPS as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Fifty hosts with prefixes of their own, fifty wildcards, and some conditions among them.
fn routes(count: usize) -> Vec<Route> {
    let mut text = String::from("[listen.web]\naddress = \"127.0.0.1:8080\"\n");
    for at in 0..count {
        let (host, path) = match at % 2 {
            0 => (format!("*.w{}.example.org", (at + 1) % 50), format!("/q{at}/*")),
            _ => (format!("s{}.example.com", at % 50), format!("/p{at}/*")),
        };
        let path =
            if at + 1 >= count - count.min(50) && at % 2 == 0 { "/*".to_owned() } else { path };
        let methods = if at % 7 == 0 { "methods = [\"GET\", \"POST\"]\n" } else { "" };
        let _ = write!(
            text,
            "[[route]]\nhost = \"{host}\"\npath = \"{path}\"\n{methods}respond = \"{at}\"\n"
        );
    }
    match seawall_config::load(&text, "routes.toml", &|_| None) {
        Ok(loaded) => loaded.plan.routes,
        Err(problems) => panic!("{problems}"),
    }
}

fn request(host: &str, path: &str) -> RequestHead {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
    let limits = HeadLimits { bytes: 8192, headers: 100 };
    let mut head = RequestHead::default();
    let parsed = parse::request(text.as_bytes(), limits, &mut HeadProgress::default(), &mut head);
    assert_eq!(parsed, Ok(Some(text.len())));
    head
}
