//! The real servers of the testkit come up, answer and go away.

use std::io::{self, ErrorKind};

use seawall_testkit::{Nginx, NodeApp, Postgres, PythonHttpServer, RawClient, Redis, Seawall};

#[test]
fn nginx_serves_and_dies_with_its_owner() -> io::Result<()> {
    let nginx = Nginx::serving("location = /hello { return 200 hi; }")?;
    std::fs::write(nginx.home().join("html/file.txt"), "from a file")?;
    let address = nginx.address();
    let mut client = RawClient::connect(address)?;
    assert_eq!(client.get("x", "/hello")?.text(), "hi");
    assert_eq!(client.get("x", "/file.txt")?.text(), "from a file");
    drop(nginx);
    client.expect_close()
}

#[test]
fn nginx_says_what_is_wrong() {
    let error = Nginx::serving("no such directive;").expect_err("it is refused");
    assert!(error.to_string().contains("unknown directive"), "{error}");
}

#[test]
fn node_serves() -> io::Result<()> {
    let mut app = NodeApp::start(
        "const server = require('http').createServer((_, answer) => answer.end('node'));
         server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));",
    )?;
    assert_eq!(RawClient::connect(app.address())?.get("x", "/")?.text(), "node");
    app.process().terminate()?;
    app.process().wait()?;
    let error = RawClient::connect(app.address()).err().expect("it is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

#[test]
fn python_serves() -> io::Result<()> {
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("a.txt"), "python")?;
    let server = PythonHttpServer::start(files.path())?;
    assert_eq!(RawClient::connect(server.address())?.get("x", "/a.txt")?.text(), "python");
    Ok(())
}

#[test]
fn redis_answers_and_comes_back_empty_at_its_address() -> io::Result<()> {
    let mut redis = Redis::start()?;
    assert_eq!(redis.command(&["SET", "key", "value"])?, "OK");
    assert_eq!(redis.command(&["MGET", "key", "other"])?, "value\n");
    let error = redis.command(&["INCR", "key"]).expect_err("it is no number");
    assert!(error.to_string().contains("not an integer"), "{error}");
    redis.kill()?;
    let error = redis.command(&["PING"]).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    redis.restart()?;
    assert_eq!(redis.command(&["GET", "key"])?, "");
    Ok(())
}

#[test]
fn redis_says_what_is_wrong() {
    let error = Redis::with(&["--no-such-option", "1"]).expect_err("it is refused");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn postgres_keeps_what_was_committed_and_has_replicas() -> io::Result<()> {
    let mut primary = Postgres::start()?;
    let (one, other) = (primary.database()?, primary.database()?);
    primary.sql(&one, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")?;
    let error = primary.sql(&other, "SELECT * FROM t").expect_err("each has its own");
    assert!(error.to_string().contains("does not exist"), "{error}");

    let mut replica = primary.replica()?;
    assert_eq!(replica.sql(&one, "SELECT n FROM t ORDER BY n")?, "1\n2");
    primary.sql(&one, "INSERT INTO t VALUES (3)")?;
    primary.wait_for(&replica)?;
    assert_eq!(replica.sql(&one, "SELECT SUM(n), COUNT(*) FROM t")?, "6|3");
    let error = replica.sql(&one, "DELETE FROM t").expect_err("it takes no changes");
    assert!(error.to_string().contains("read-only"), "{error}");

    let address = primary.address();
    primary.kill()?;
    assert!(primary.sql(&one, "SELECT 1").is_err());
    assert_eq!(replica.sql(&one, "SELECT COUNT(*) FROM t")?, "3");
    primary.restart()?;
    assert_eq!(primary.address(), address);
    primary.sql(&one, "INSERT INTO t VALUES (4)")?;
    primary.wait_for(&replica)?;
    assert_eq!(replica.sql(&one, "SELECT COUNT(*) FROM t")?, "4");
    replica.stop()?;
    primary.stop()?;
    primary.restart()?;
    assert_eq!(primary.sql(&one, "SELECT COUNT(*) FROM t")?, "4");
    Ok(())
}

#[test]
fn postgres_says_what_is_wrong() {
    let error = Postgres::with(&["no_such_setting=1"]).expect_err("it is refused");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_seawall_that_does_not_come_up_is_reported_with_its_log() {
    // Any program that prints and ends will do: the log must reach the error.
    let error = Seawall::start("echo", "").expect_err("echo is no proxy");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(error.to_string().contains("run --config"), "{error}");
}
