//! Real servers behind Seawall and real clients before it.

use std::io;
use std::process::Command;

use seawall_testkit::{Nginx, NodeApp, Process, PythonHttpServer, Seawall};

use crate::setup::{BINARY, Setup, get, metric_becomes, post};
use crate::upgrade::UPGRADE;

const APP: &str = "
const http = require('http');
const server = http.createServer((request, answer) => {
    if (request.url === '/events') {
        answer.writeHead(200, {'content-type': 'text/event-stream'});
        let n = 0;
        const timer = setInterval(() => {
            answer.write(`data: ${n}\\n\\n`);
            if (++n === 5) { clearInterval(timer); answer.end(); }
        }, 10);
        return;
    }
    if (request.url === '/trailers') {
        answer.writeHead(200, {'trailer': 'x-sum'});
        answer.write('body');
        answer.addTrailers({'x-sum': '4'});
        return answer.end();
    }
    if (request.url === '/hints') answer.writeEarlyHints({link: '</a.css>; rel=preload'});
    if (request.url === '/large') return answer.end(Buffer.alloc(8 << 20, 'x'));
    let length = 0;
    request.on('data', data => length += data.length);
    request.on('end', () => answer.end(JSON.stringify({
        method: request.method, url: request.url, length, headers: request.headers})));
});
server.on('upgrade', (request, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');
    socket.write(head);
    socket.pipe(socket);
});
server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));";

/// Runs a command to its end and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let mut process = Process::spawn(command)?;
    let status = process.wait()?;
    let text = process.text();
    match status.success() {
        true => Ok(text),
        false => Err(io::Error::other(format!("{program} {arguments:?}: {status}\n{text}"))),
    }
}

#[test]
fn a_node_application() -> io::Result<()> {
    let app = NodeApp::start(APP)?;
    let seawall = Setup::to(app.address()).start()?;
    let mut client = seawall.connect()?;
    let text = client.exchange(post("/a?b", "x-test: 1\r\n", "body"))?.text();
    for part in [
        "\"method\":\"POST\"",
        "\"url\":\"/a?b\"",
        "\"length\":4",
        "\"x-test\":\"1\"",
        "\"x-forwarded-for\":\"127.0.0.1\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let events = client.get("test", "/events")?;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.text(), (0..5).map(|n| format!("data: {n}\n\n")).collect::<String>());
    let trailers = client.get("test", "/trailers")?;
    assert_eq!((trailers.text().as_str(), trailers.trailers.first("x-sum")), ("body", Some("4")));
    client.send(get("/hints", ""))?;
    let (interim, response) = client.read_final_response()?;
    assert_eq!(
        (interim[0].status, interim[0].header("link")),
        (103, Some("</a.css>; rel=preload"))
    );
    assert_eq!(response.status, 200);
    assert_eq!(client.get("test", "/large")?.body.len(), 8 << 20);
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n")?;
    assert_eq!(client.read_response()?.status, 100);
    client.send("3\r\nabc\r\n0\r\n\r\n")?;
    assert!(client.read_response()?.text().contains("\"length\":3"));
    assert_eq!(seawall.metric("seawall_upstream_connections_total", &[])?, 1.0);

    let mut tunnel = seawall.connect()?;
    tunnel.send([UPGRADE, "early "].concat())?;
    assert_eq!(tunnel.read_head()?.status, 101);
    tunnel.send("frames")?;
    assert_eq!(tunnel.read_exact(12)?, b"early frames");
    Ok(())
}

#[test]
fn nginx_behind_and_before() -> io::Result<()> {
    let inner = Nginx::serving(
        "location / { root html; }\nlocation = /gone { return 410; }\n\
         location = /moved { return 302 /file.txt; }",
    )?;
    std::fs::write(inner.home().join("html/file.txt"), "0123456789")?;
    std::fs::write(inner.home().join("html/large"), vec![b'x'; 4 << 20])?;
    let seawall = Setup::to(inner.address()).server("trust = [\"127.0.0.1\"]").start()?;
    let outer = Nginx::serving(&format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header X-Forwarded-For $remote_addr; }}",
        seawall.address("web")
    ))?;
    for address in [seawall.address("web"), outer.address()] {
        let mut client = seawall_testkit::RawClient::connect(address)?;
        let file = client.get("test", "/file.txt")?;
        assert_eq!(file.text(), "0123456789");
        let tag = file.header("etag").unwrap_or_default().to_owned();
        let unchanged = client.exchange(get("/file.txt", &format!("if-none-match: {tag}\r\n")))?;
        assert_eq!(unchanged.status, 304);
        let part = client.exchange(get("/file.txt", "range: bytes=2-4\r\n"))?;
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        assert_eq!(client.get("test", "/gone")?.status, 410);
        assert_eq!(client.get("test", "/moved")?.status, 302);
        assert_eq!(client.get("test", "/large")?.body.len(), 4 << 20);
        client.send("HEAD /large HTTP/1.1\r\nhost: test\r\n\r\n")?;
        let head = client.read_response_to("HEAD")?;
        assert_eq!(head.header("content-length"), Some("4194304"));
        assert_eq!(client.get("test", "/nothing")?.status, 404);
    }
    Ok(())
}

#[test]
fn pythons_http_server() -> io::Result<()> {
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("a.txt"), "python")?;
    let server = PythonHttpServer::start(files.path())?;
    let seawall = Setup::to(server.address()).start()?;
    let mut client = seawall.connect()?;
    for _ in 0..3 {
        assert_eq!(client.get("test", "/a.txt")?.text(), "python");
        assert_eq!(client.get("test", "/none")?.status, 404);
        assert!(client.get("test", "/")?.text().contains("a.txt"));
    }
    Ok(())
}

#[test]
fn curl_before_a_node_application() -> io::Result<()> {
    let app = NodeApp::start(APP)?;
    let seawall = Seawall::start_bare(
        BINARY,
        &["--to", &app.address().to_string(), "--listen", "127.0.0.1:0"],
    )?;
    let url = format!("http://{}", seawall.address("web"));
    let quiet = |arguments: &[&str]| {
        run("curl", &[&["-sS", "--fail", "--max-time", "20"], arguments].concat())
    };
    assert!(quiet(&[&format!("{url}/a?b=c")])?.contains("\"url\":\"/a?b=c\""));
    assert!(quiet(&["-d", "body", &url])?.contains("\"length\":4"));
    assert!(quiet(&["--http1.0", &url])?.contains("\"method\":\"GET\""));
    assert!(quiet(&["-I", &url])?.contains("HTTP/1.1 200"));
    assert!(quiet(&["-H", "expect: 100-continue", "-d", "body", &url])?.contains("\"length\":4"));
    assert!(
        quiet(&[&format!("{url}/large"), "-o", "/dev/null", "-w", "%{size_download}"])?
            .contains("8388608")
    );
    assert!(quiet(&[&format!("{url}/events")])?.contains("data: 4"));
    let upload = tempfile::NamedTempFile::new()?;
    std::fs::write(upload.path(), vec![b'x'; 5 << 20])?;
    let file = format!("@{}", upload.path().display());
    assert!(quiet(&["--data-binary", &file, &url])?.contains("\"length\":5242880"));
    let chunked = quiet(&["-H", "transfer-encoding: chunked", "--data-binary", &file, &url])?;
    assert!(chunked.contains("\"length\":5242880"));
    // curl offers h2c, and goes on without.
    assert!(quiet(&["--http2", &url])?.contains("\"method\":\"GET\""));
    Ok(())
}

#[test]
fn nodes_fetch() -> io::Result<()> {
    let app = NodeApp::start(APP)?;
    let seawall = Setup::to(app.address()).start()?;
    let script = format!(
        "(async () => {{
            const url = 'http://{}';
            const all = await Promise.all([...Array(200).keys()].map(async n => {{
                const answer = await fetch(url + '/' + n, {{method: 'POST', body: 'x'.repeat(n * 100)}});
                const seen = await answer.json();
                return seen.url === '/' + n && seen.length === n * 100;
            }}));
            if (!all.every(x => x)) throw new Error('an answer was another\\'s');
            const events = await (await fetch(url + '/events')).text();
            if (!events.endsWith('data: 4\\n\\n')) throw new Error(events);
            const large = await (await fetch(url + '/large')).arrayBuffer();
            if (large.byteLength !== 8 << 20) throw new Error('' + large.byteLength);
            const cut = new AbortController();
            const slow = await fetch(url + '/events', {{signal: cut.signal}});
            cut.abort();
            await slow.text().then(() => {{ throw new Error('not cut') }}, () => {{}});
            console.log('all well');
        }})().catch(error => {{ console.error(error); process.exit(1); }});",
        seawall.address("web")
    );
    assert!(run("node", &["-e", &script])?.contains("all well"));
    Ok(())
}

/// A server that shakes hands and echoes short frames (RFC 6455).
const SOCKETS: &str = "
const http = require('http'), crypto = require('crypto');
const server = http.createServer();
server.on('upgrade', (request, socket) => {
    const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const accept = crypto.createHash('sha1').update(key).digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'
        + `Sec-WebSocket-Accept: ${accept}\\r\\n\\r\\n`);
    let data = Buffer.alloc(0);
    socket.on('data', more => {
        data = Buffer.concat([data, more]);
        while (data.length >= 6 && data.length >= 6 + (data[1] & 127)) {
            const length = data[1] & 127, mask = data.subarray(2, 6);
            const text = data.subarray(6, 6 + length).map((byte, n) => byte ^ mask[n % 4]);
            socket.write(Buffer.concat([Buffer.from([data[0], length]), text]));
            if ((data[0] & 15) === 8) socket.end();
            data = data.subarray(6 + length);
        }
    });
});
server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));";

#[test]
fn nodes_websocket() -> io::Result<()> {
    let app = NodeApp::start(SOCKETS)?;
    let seawall = Setup::to(app.address()).start()?;
    let script = format!(
        "const socket = new WebSocket('ws://{}/chat');
         let n = 0;
         socket.onopen = () => socket.send('message 0');
         socket.onerror = event => {{ console.error(event.message); process.exit(1); }};
         socket.onmessage = event => {{
             if (event.data !== 'message ' + n) process.exit(2);
             if (++n === 100) socket.close(1000); else socket.send('message ' + n);
         }};
         socket.onclose = event => {{
             if (event.code !== 1000 || !event.wasClean) process.exit(3);
             console.log('all well');
         }};",
        seawall.address("web")
    );
    assert!(run("node", &["--experimental-websocket", "-e", &script])?.contains("all well"));
    metric_becomes(&seawall, "seawall_tunnels_total", &[], 1.0)?;
    metric_becomes(&seawall, "seawall_tunnels_open", &[], 0.0)
}

#[test]
fn heavy_wrk_for_a_second() -> io::Result<()> {
    let nginx = Nginx::serving("location / { return 200 hi; }")?;
    let seawall = Setup::to(nginx.address()).workers(2).start()?;
    let url = format!("http://{}/", seawall.address("web"));
    let text = run("wrk", &["-t", "2", "-c", "64", "-d", "1s", &url])?;
    for bad in ["Socket errors", "Non-2xx"] {
        assert!(!text.contains(bad), "{text}");
    }
    assert!(text.contains(" requests in "), "{text}");
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    assert_eq!(seawall.metric("seawall_requests_total", &["class=\"5xx\""])?, 0.0);
    Ok(())
}
