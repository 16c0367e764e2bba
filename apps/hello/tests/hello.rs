//! The real `hello`: what it answers, and that it lets go of requests properly.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use seawall_testkit::{Process, RawClient};

fn start(name: &str) -> io::Result<(Process, SocketAddr)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hello"));
    command.args(["--listen", "127.0.0.1:0", "--name", name]);
    let process = Process::spawn(command)?;
    let address =
        process.wait_for_line(|line| line.text.strip_prefix("listening on ")?.parse().ok())?;
    Ok((process, address))
}

#[test]
fn every_answer_names_the_instance() -> io::Result<()> {
    let (_process, address) = start("blue")?;
    let mut client = RawClient::connect(address)?;
    let page = client.get("x", "/")?;
    assert_eq!((page.status, page.header("x-instance")), (200, Some("blue")));
    assert!(page.text().contains("Hello from blue"));
    assert!(page.text().contains("answered 1 requests"));
    let time = client.get("x", "/api/time")?.text();
    assert!(time.starts_with(r#"{"instance":"blue","answered":2,"unix_ms":1"#), "{time}");
    assert_eq!(client.get("x", "/healthz")?.text(), "ok\n");
    assert_eq!(client.get("x", "/slow?ms=1")?.text(), "blue took 1 ms\n");
    assert_eq!(client.get("x", "/slow?ms=99999")?.status, 400);
    assert_eq!(client.get("x", "/nothing")?.status, 404);
    Ok(())
}

#[test]
fn pages_stay_what_they_are_and_do_not_say_for_how_long() -> io::Result<()> {
    let (_process, address) = start("pages")?;
    let mut client = RawClient::connect(address)?;
    let first = client.get("x", "/pages/7")?;
    assert_eq!((first.status, first.header("etag")), (200, Some("\"page-7\"")));
    assert_eq!(first.header("surrogate-key"), Some("pages page-7"));
    assert_eq!(first.header("cache-control"), None);
    assert!(first.text().starts_with("page 7 of pages\n"), "{}", first.text());
    assert_eq!(client.get("x", "/pages/7")?.text(), first.text());
    assert_eq!(client.get("x", "/pages/x")?.status, 400);
    Ok(())
}

#[test]
fn echo_streams() -> io::Result<()> {
    let (_process, address) = start("echo")?;
    let mut client = RawClient::connect(address)?;
    client.send(
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: a/b\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    client.send("4\r\nping\r\n")?;
    let head = client.read_head()?;
    assert_eq!(head.header("content-type"), Some("a/b"));
    // The first chunk is back before the second is sent.
    assert_eq!(client.read_until(b"ping\r\n")?, b"4\r\nping\r\n");
    client.send("4\r\npong\r\n0\r\n\r\n")?;
    assert_eq!(client.read_until(b"0\r\n\r\n")?, b"4\r\npong\r\n0\r\n\r\n");
    Ok(())
}

#[test]
fn sigterm_lets_requests_in_flight_finish() -> io::Result<()> {
    let (mut process, address) = start("drain")?;
    let mut client = RawClient::connect(address)?;
    // The head is there and the body is not: the request is in flight for as long as we like.
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\npi")?;
    client.read_head()?;
    process.terminate()?;
    while RawClient::connect(address).is_ok() {}
    client.send("ng")?;
    assert_eq!(client.read_exact(4)?, b"ping");
    client.expect_close()?;
    assert!(process.wait()?.success());
    Ok(())
}
