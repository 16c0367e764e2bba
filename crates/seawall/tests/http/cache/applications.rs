//! Real servers behind the cache, a real client before it.

use std::fs::File;
use std::io;
use std::process::Command;
use std::time::{Duration, SystemTime};

use seawall_testkit::{Nginx, NodeApp, Process, Seawall};

use super::{ask, is_hit, status_of};
use crate::setup::{Setup, get, post};
use crate::upgrade::UPGRADE;

fn curl(arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30"]).args(arguments);
    let mut process = Process::spawn(command)?;
    let status = process.wait()?;
    let text = process.text();
    match status.success() {
        true => Ok(text),
        false => Err(io::Error::other(format!("curl {arguments:?}: {status}\n{text}"))),
    }
}

#[test]
fn files_of_nginx() -> io::Result<()> {
    let nginx = Nginx::serving(
        "location / { root html; expires 60s; gzip on; gzip_proxied any; gzip_vary on; gzip_min_length 1; \
         gzip_types text/plain; }\nlocation /short/ { alias html/; add_header Cache-Control max-age=0; }",
    )?;
    let html = nginx.home().join("html");
    let css = "a { color: red }\n".repeat(100);
    std::fs::write(html.join("a.css"), &css)?;
    let large = super::content(3 << 20, 12);
    std::fs::write(html.join("large"), &large)?;
    // A date is a strong validator once it is old enough (RFC 9110 §8.8.2.2).
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::options().write(true).open(html.join("large"))?.set_modified(long_ago)?;
    let seawall =
        Setup::to(nginx.address()).workers(2).route("cache = { jitter = \"0%\" }").start()?;
    let url = |path: &str| format!("http://{}{path}", seawall.address("web"));

    // One of each coding, each once.
    let folder = tempfile::tempdir()?;
    for round in 0..2 {
        for coding in ["gzip", "identity"] {
            let file = folder.path().join(coding);
            let file = file.to_string_lossy();
            let field = format!("accept-encoding: {coding}");
            let text =
                curl(&["-D", "-", "-o", &file, "-H", &field, &url("/a.css")])?.to_ascii_lowercase();
            assert_eq!(text.contains("content-encoding: gzip"), coding == "gzip", "{text}");
            assert_eq!(text.contains("cache-status: seawall; hit"), round == 1, "{coding}: {text}");
            let body = curl(&["--compressed", "-H", &field, &url("/a.css")])?;
            assert_eq!(body.trim_end(), css.trim_end());
        }
    }
    // A validator of nginx, from the cache.
    let first = ask(&seawall, "/large", "")?;
    assert!(first.body == large);
    let (tag, date) = (first.header("etag"), first.header("last-modified"));
    let (tag, date) = (tag.unwrap_or_default(), date.unwrap_or_default());
    for field in [format!("if-none-match: {tag}\r\n"), format!("if-modified-since: {date}\r\n")] {
        let response = ask(&seawall, "/large", &field)?;
        assert!(response.status == 304 && is_hit(&response), "{response:?}");
    }
    for field in ["", &format!("if-range: {tag}\r\n"), &format!("if-range: {date}\r\n")] {
        let response =
            ask(&seawall, "/large", &format!("range: bytes=1000000-2999999\r\n{field}"))?;
        assert!(response.status == 206 && is_hit(&response), "{field}: {:?}", response.headers);
        assert!(response.body == large[1_000_000..3_000_000]);
    }
    // Each use of what is stale at once is a 304 of nginx.
    for why in ["uri-miss", "stale", "stale"] {
        let response = ask(&seawall, "/short/large", "")?;
        assert!(response.body == large);
        assert!(status_of(&response).contains(why), "{}", status_of(&response));
    }
    // The file changes: what is stale is not served again.
    std::fs::write(html.join("large"), "new")?;
    assert_eq!(ask(&seawall, "/short/large", "")?.text(), "new");
    Ok(())
}

const APP: &str = "
const http = require('http');
let count = 0;
const server = http.createServer((request, answer) => {
    const fresh = {'cache-control': 'max-age=60'};
    if (request.url === '/events') {
        answer.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-cache'});
        answer.write(`data: ${++count}\\n\\n`);
        request.socket.on('close', () => answer.end());
        return;
    }
    if (request.url === '/chunked') {
        answer.writeHead(200, fresh);
        let n = 0;
        const more = () => { answer.write(`${n} `); if (++n === 50) answer.end(); else setImmediate(more); };
        return more();
    }
    if (request.url === '/large') {
        answer.writeHead(200, fresh);
        for (let n = 0; n < 40; n++) answer.write(Buffer.alloc(100000, 'x'));
        return answer.end();
    }
    let length = 0;
    request.on('data', data => length += data.length);
    request.on('end', () => { answer.writeHead(200, fresh); answer.end(`${request.method} ${length} ${++count}`); });
});
server.on('upgrade', (request, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');
    socket.write(head);
    socket.pipe(socket);
});
server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));";

#[test]
fn a_node_application() -> io::Result<()> {
    let app = NodeApp::start(APP)?;
    let seawall = Setup::to(app.address()).workers(2).route("cache = {}").start()?;
    let url = |path: &str| format!("http://{}{path}", seawall.address("web"));
    let numbers: String = (0..50).map(|number| format!("{number} ")).collect();
    for _ in 0..2 {
        assert_eq!(curl(&[&url("/chunked")])?.trim(), numbers.trim());
        assert!(ask(&seawall, "/large", "")?.body == vec![b'x'; 4_000_000]);
    }
    let headers = curl(&["-D", "-", &url("/chunked")])?;
    assert!(headers.contains("Cache-Status: seawall; hit"), "{headers}");
    assert!(is_hit(&ask(&seawall, "/large", "")?));

    // Uploads go to the application each time.
    let mut client = seawall.connect()?;
    let upload = "x".repeat(1 << 20);
    for _ in 0..2 {
        assert!(client.exchange(post("/upload", "", &upload))?.text().starts_with("POST 1048576 "));
    }
    client.send("POST /upload HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n")?;
    assert_eq!(client.read_response()?.status, 100);
    client.send("3\r\nabc\r\n0\r\n\r\n")?;
    assert!(client.read_response()?.text().starts_with("POST 3 "));
    // A GET with content is none that is answered from the cache.
    let first = client.get("test", "/upload")?.text();
    let with_content = "GET /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc";
    assert!(client.exchange(with_content)?.text().starts_with("GET 3 "));
    assert_eq!(client.get("test", "/upload")?.text(), first);

    let mut tunnel = seawall.connect()?;
    tunnel.send(UPGRADE)?;
    assert_eq!(tunnel.read_head()?.status, 101);
    tunnel.send("frames")?;
    assert_eq!(tunnel.read_exact(6)?, b"frames");
    events(&seawall)
}

/// Events come when they are sent, to each client his own.
fn events(seawall: &Seawall) -> io::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut client = seawall.connect()?;
        client.send(get("/events", ""))?;
        let head = client.read_head()?;
        assert!(!is_hit(&head), "{}", status_of(&head));
        let event = client.read_until(b"\n\n\r\n")?;
        streams.push((client, String::from_utf8_lossy(&event).into_owned()));
    }
    let mut events: Vec<_> = streams.iter().map(|(_, event)| event.clone()).collect();
    events.dedup();
    assert_eq!(events.len(), 4, "{events:?}");
    Ok(())
}
