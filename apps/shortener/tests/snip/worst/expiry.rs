//! A viral link that ends while ten thousand want it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use seawall_testkit::{Seawall, raise_open_files};
use serde_json::json;
use snip::instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::edge::seawall;
use crate::instance::{Home, to};

const CLIENTS: usize = 10_000;
const TARGET: &str = "https://example.com/";

/// Asks until it has ended. Returns how often it led there.
async fn want(
    address: SocketAddr,
    connected: tokio::sync::mpsc::Sender<()>,
    mut begin: watch::Receiver<Option<(String, SystemTime)>>,
) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    drop(connected);
    let begun = begin.wait_for(Option::is_some).await.expect("it begins").clone();
    let (code, end) = begun.expect("it is some");
    let request = format!("GET /{code} HTTP/1.1\r\nhost: sn.ip\r\n\r\n");
    let (mut led, mut ended) = (0, 0);
    while ended < 2 {
        // What is asked after the end is refused; what was asked before may be either.
        let is_over = SystemTime::now() >= end;
        stream.write_all(request.as_bytes()).await.expect("it takes a request");
        let (status, head) = answer(&mut stream).await;
        match status {
            302 => {
                assert!(!is_over, "led there after its end");
                led += 1;
            }
            410 => {
                assert!(SystemTime::now() >= end, "refused before its end");
                ended += 1;
            }
            _ => panic!("{head}"),
        }
        // People do not click without a pause either.
        let pause = Duration::from_millis(fastrand::u64(100..700));
        tokio::time::sleep(pause).await;
    }
    led
}

/// The status of an answer, which is read to its end.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let (mut have, mut length) = (Vec::new(), None);
    loop {
        let mut buffer = [0; 4096];
        let more = stream.read(&mut buffer).await.expect("it answers");
        assert!(more > 0, "closed in the middle");
        have.extend_from_slice(&buffer[..more]);
        let Some(head) = have.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&have[..head]).to_ascii_lowercase();
        let length = *length.get_or_insert_with(|| {
            let field = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            field.and_then(|value| value.trim().parse::<usize>().ok()).expect("a length")
        });
        if have.len() >= head + 4 + length {
            let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
            return (status.expect("a status"), text);
        }
    }
}

#[test]
fn heavy_a_viral_link_ends_for_ten_thousand_at_its_time() {
    raise_open_files(CLIENTS as u64 * 3).expect("files may be opened");
    let home = Home::new();
    let snip = home.start("url = \"http://sn.ip\"\ntrust = [\"127.0.0.1\"]");
    let edge = Seawall::start(
        seawall(),
        &format!(
            "[listen.web]\naddress = \"127.0.0.1:0\"\n[upstream.snip]\nservers = [\"{}\"]\n\
             [[route]]\nto = \"snip\"\ncache = {{}}\n",
            snip.address
        ),
    )
    .expect("seawall starts");
    let address = edge.address("web");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let before = snip.metric("snip_lookups_total", "store");
    let led: usize = runtime.block_on(async {
        let (begin, begun) = watch::channel(None);
        let (connected, mut all_connected) = tokio::sync::mpsc::channel::<()>(1);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(want(address, connected.clone(), begun.clone())))
            .collect();
        drop(connected);
        assert_eq!(all_connected.recv().await, None, "all are there");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let end = now.as_millis() as i64 + 3_300;
        let code = snip.create(json!({ "target": TARGET, "expires": instant::shown(end) }));
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(end as u64);
        assert_eq!(snip.follow(&code), to(TARGET));
        begin.send_replace(Some((code, end)));
        let mut led = 0;
        for client in clients {
            led += client.await.expect("no panic");
        }
        led
    });
    assert!(led >= CLIENTS, "each followed it before it ended: {led}");
    // Neither its fame nor its end cost the database anything.
    let asked = snip.metric("snip_lookups_total", "store") - before;
    assert!(asked <= 3, "the database was asked {asked} times");
    assert_eq!(snip.metric("snip_refusals_total", "unavailable"), 0);
}
