//! What becomes of links when the process that made them is killed, or its disk is full. The
//! process is this test program again, told by its environment which part it plays.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use seawall_testkit::{PATIENCE, Process};
use snip::link::{Code, LinkQuery};
use snip::store::{DatabaseConfig, Read, Store, StoreError};

use super::block_on;
use super::contract::{alias, new};

/// The database of a process that was started by a test here.
const DATABASE: &str = "SNIP_TEST_DATABASE";

/// How often it is killed.
const ROUNDS: usize = 25;

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    if let Ok(url) = env::var(DATABASE) {
        return block_on(make_for_ever(url));
    }
    let home = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", home.path().join("snip.db").display());
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let test = "store::crash::a_kill_loses_nothing_that_was_acknowledged";
        let mut process = Process::spawn(this_program(&[], test, &url)).expect("it starts");
        // At once, and later.
        let wanted = [1, 3, 20, 100][round % 4];
        process
            .wait_for_lines(|lines| {
                (lines.iter().filter(|line| made(&line.text).is_some()).count() >= wanted)
                    .then_some(())
            })
            .expect("it makes links");
        process.kill().expect("it is killed");
        // What it printed until then may still be on its way.
        process.wait().expect("it has ended");
        acknowledged.extend(process.lines().iter().filter_map(|line| made(&line.text)).flatten());
        block_on(async {
            let store = Store::open(&DatabaseConfig::new(&url)).await.expect("it opens");
            for code in &acknowledged {
                let link = store.link(code, Read::Latest).await.expect("it answers");
                assert!(link.is_some(), "{code} was lost in round {round}");
            }
        });
    }
    assert!(acknowledged.len() > 500, "{} links were made", acknowledged.len());
    let connection = rusqlite::Connection::open(home.path().join("snip.db")).expect("it opens");
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(check, "ok");
}

#[test]
fn a_full_disk_is_said_and_when_there_is_room_it_goes_on() {
    if let Ok(url) = env::var(DATABASE) {
        return block_on(fill(url));
    }
    let home = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", home.path().join("snip.db").display());
    let test = "store::crash::a_full_disk_is_said_and_when_there_is_room_it_goes_on";
    // No file may grow past 1.5 MB; who tries is told so instead of being killed.
    let limited = ["sh", "-c", "trap '' XFSZ; exec prlimit --fsize=1500000:unlimited \"$@\"", "sh"];
    let mut process = Process::spawn(this_program(&limited, test, &url)).expect("it starts");
    process.wait_for_text("it is full").expect("it says that it is full");
    assert!(process.is_running().expect("a state"));
    let id = process.id().to_string();
    let raised = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &id]).status();
    assert!(raised.expect("prlimit").success());
    process.wait_for_text("it goes on").expect("it goes on");
    assert!(process.wait().expect("it ends").success(), "{}", process.text());
}

/// Makes links in several ways at once, and prints their codes once they are acknowledged.
async fn make_for_ever(url: String) {
    let store = Store::open(&DatabaseConfig::new(url)).await.expect("it opens");
    let mut tasks = Vec::new();
    for task in 0..4 {
        let store = store.clone();
        let start = std::process::id();
        tasks.push(tokio::spawn(async move {
            for number in 0.. {
                let links = match task {
                    0 | 1 => vec![new("https://example.com/")],
                    2 => vec![alias(&format!("alias-{start}-{number}"))],
                    _ => vec![new("https://example.com/"); 20],
                };
                let created = store.create(links).await.expect("they are made");
                let codes = created.into_iter().flatten();
                let codes: Vec<_> = codes.map(|link| link.code.to_string()).collect();
                // The end of the line tells that it is whole.
                println!("\nmade {} .", codes.join(" "));
            }
        }));
    }
    for task in tasks {
        task.await.expect("it goes on until it is killed");
    }
}

/// The codes of a line that [`make_for_ever`] printed.
fn made(line: &str) -> Option<Vec<Code>> {
    let codes = line.strip_prefix("made ")?.strip_suffix(" .")?;
    Some(codes.split(' ').map(|code| Code::new(code).expect("a code")).collect())
}

/// Makes links until there is no room, and then until there is room again.
async fn fill(url: String) {
    let store = Store::open(&DatabaseConfig::new(url)).await.expect("it opens");
    let title = |number: usize| format!("{number} {}", "x".repeat(500));
    let mut made = Vec::new();
    let (mut full, mut deadline) = (0, Instant::now() + PATIENCE);
    for number in 0.. {
        let mut links = vec![new("https://example.com/"); 10];
        links[0].title = Some(title(number).into());
        match store.create(links).await {
            Ok(created) => {
                made.extend(created.into_iter().map(|link| link.expect("not taken")));
                if full > 0 {
                    break;
                }
            }
            Err(StoreError::Full(_)) => {
                full += 1;
                if full == 1 {
                    assert!(!made.is_empty());
                    println!("\nit is full");
                    deadline = Instant::now() + PATIENCE;
                }
                for link in &made {
                    let found = store.link(&link.code, Read::Any).await;
                    assert_eq!(found, Ok(Some(link.clone())));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
        assert!(Instant::now() < deadline, "{} links, {full} failures", made.len());
    }
    for link in &made {
        assert_eq!(store.link(&link.code, Read::Any).await, Ok(Some(link.clone())));
    }
    let (mut after, mut stored) = (None, 0);
    loop {
        let query = LinkQuery { after, limit: 1000, ..LinkQuery::default() };
        let page = store.links(&query).await.expect("it answers");
        stored += page.links.len();
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(stored, made.len(), "what failed was not made");
    println!("\nit goes on");
}

/// One test of this program, run by `prefix`, with a database.
fn this_program(prefix: &[&str], test: &str, url: &str) -> Command {
    let program = env::current_exe().expect("it runs");
    let mut words = prefix.iter().map(Path::new).chain([program.as_path()]);
    let mut command = Command::new(words.next().expect("at least this program"));
    command.args(words).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DATABASE, url);
    command
}
