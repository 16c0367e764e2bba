//! `seawall warm`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use seawall_admin::cache::sitemap::{self, Sitemap};
use seawall_admin::cache::warm::MOST;
use serde_json::{Value, json};

use crate::api::{Api, NodeArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  seawall warm https://shop.example.com/sitemap.xml
  seawall warm urls.txt --rate 200 --concurrency 16
  seawall warm - --header accept-language:de < urls.txt

The running process asks itself for each URL, as a client would; sitemaps are fetched in
the same way. It goes on when this command is interrupted, until it is stopped with --stop.
Ends with 0 when all were fetched, else with 1.";

/// What is to be warmed, where, and how fast.
#[derive(Debug, Args)]
pub(super) struct WarmArgs {
    /// A file with a URL a line, a sitemap in a file, - for standard input, or the URL of a sitemap
    #[arg(value_name = "FILE|SITEMAP-URL", required_unless_present = "stop")]
    list: Option<String>,
    /// The most requests a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// The most requests at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: u32,
    /// A field of every request, besides the Accept-Encoding of browsers; can be given several times
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
    /// Stop what is being warmed
    #[arg(long, conflicts_with_all = ["list", "header"])]
    stop: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// How often it is asked how far it has come.
const PAUSE: Duration = Duration::from_millis(200);

/// What it came to, and whether that is what was wanted.
pub(super) struct Warmed {
    pub(super) said: String,
    pub(super) good: bool,
}

/// Warms, shows how far it has come, and says what it came to.
pub(super) fn warm(args: &WarmArgs) -> anyhow::Result<Warmed> {
    let api = Api::of(&args.node)?;
    let Some(list) = args.list.as_deref().filter(|_| !args.stop) else {
        let stopped = api.ask("DELETE", "/api/cache/warm", &Value::Null)?.body;
        return Ok(Warmed { said: ended(&stopped), good: true });
    };
    let mut body = json!({"rate": args.rate, "concurrency": args.concurrency});
    match list.starts_with("http://") || list.starts_with("https://") {
        true => body["sitemap"] = json!(list),
        false => body["urls"] = json!(urls(list)?),
    }
    if !args.header.is_empty() {
        body["headers"] = json!(headers(&args.header)?);
    }
    let mut state = api.ask("POST", "/api/cache/warm", &body)?.body;
    let mut bar = Bar::new();
    while state["running"] == true {
        bar.show(&state);
        std::thread::sleep(PAUSE);
        state = api.ask("GET", "/api/cache/warm", &Value::Null)?.body;
    }
    bar.show(&state);
    drop(bar);
    for failure in state["failures"].as_array().into_iter().flatten() {
        eprintln!("{}", failed(failure));
    }
    let good = state["outcome"] == "done" && state["failed"] == 0;
    Ok(Warmed { said: ended(&state), good })
}

/// The URLs of a file.
fn urls(list: &str) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    match list {
        "-" => std::io::stdin().read_to_string(&mut text).context("standard input")?,
        file => std::fs::File::open(Path::new(file))
            .and_then(|mut file| file.read_to_string(&mut text))
            .with_context(|| format!("{file} cannot be read"))?,
    };
    match sitemap::read(&text, MOST + 1) {
        Sitemap::Index(_) => bail!("{list} lists other sitemaps; give its URL instead"),
        Sitemap::Urls(urls) if urls.is_empty() => bail!("{list} lists nothing"),
        Sitemap::Urls(urls) if urls.len() > MOST => {
            bail!("{list} lists more than {MOST} URLs; warm them in parts")
        }
        Sitemap::Urls(urls) => Ok(urls),
    }
}

/// The fields of every request; those given take the place of the one that is sent by itself.
fn headers(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let encodings = "gzip, deflate, br, zstd".to_owned();
    let mut all = BTreeMap::from([("accept-encoding".to_owned(), encodings)]);
    for text in given {
        let (name, value) =
            text.split_once(':').with_context(|| format!("--header {text}: write NAME:VALUE"))?;
        all.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(all)
}

/// What it came to, in a line.
fn ended(state: &Value) -> String {
    let number = |key: &str| state[key].as_u64().unwrap_or(0);
    let (done, total) = (number("done"), number("total"));
    let numbers = format!(
        "{} stored, {} were there, {} failed",
        number("stored"),
        number("hits"),
        number("failed")
    );
    let seconds = state["seconds"].as_f64().unwrap_or(0.0);
    match state["outcome"].as_str() {
        Some("done") => format!("{done} URLs in {seconds:.1} s: {numbers}\n"),
        Some("failed") => {
            format!("nothing was warmed: {}\n", state["problem"].as_str().unwrap_or("no reason"))
        }
        Some(_) => format!("stopped after {done} of {total} URLs: {numbers}\n"),
        None => "nothing is being warmed\n".to_owned(),
    }
}

fn failed(failure: &Value) -> String {
    let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
    // What a sitemap lists, and what an error says, may have anything in it.
    let line = format!("{} {}", text("url"), text("why"));
    line.chars().filter(|c| !c.is_control()).collect()
}

/// A bar on standard error, if that is a terminal.
struct Bar {
    shown: bool,
    terminal: bool,
}

impl Bar {
    fn new() -> Bar {
        Bar { shown: false, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, state: &Value) {
        if self.terminal {
            // The rest of an earlier, longer line is erased.
            let _ = write!(std::io::stderr(), "\r{}\u{1b}[K", drawn(state));
            self.shown = true;
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// How far it has come: a bar, numbers, and when it will be done.
fn drawn(state: &Value) -> String {
    let number = |key: &str| state[key].as_u64().unwrap_or(0);
    let (done, total, failed) = (number("done"), number("total"), number("failed"));
    if total == 0 {
        return "reading the sitemap".to_owned();
    }
    let full = (WIDTH * done.min(total) / total) as usize;
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH as usize - full));
    let seconds = state["seconds"].as_f64().unwrap_or(0.0);
    let pace = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    let left = match pace > 0.0 {
        true => format!(", {:.0} s left", total.saturating_sub(done) as f64 / pace),
        false => String::new(),
    };
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("[{bar}] {done}/{total}, {pace:.0}/s{failed}{left}")
}

/// Width of the bar, in characters.
const WIDTH: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_how_far_it_is() {
        for (state, expect) in [
            (json!({"total": 0}), "reading the sitemap"),
            (
                json!({"total": 10, "done": 0, "seconds": 0.0}),
                "[..............................] 0/10, 0/s",
            ),
            (
                json!({"total": 10, "done": 5, "failed": 1, "seconds": 2.5}),
                "[###############...............] 5/10, 2/s, 1 failed, 2 s left",
            ),
            (
                json!({"total": 10, "done": 10, "seconds": 1.0}),
                "[##############################] 10/10, 10/s, 0 s left",
            ),
        ] {
            assert_eq!(drawn(&state), expect);
        }
    }

    #[test]
    fn the_end_is_said_in_a_line() {
        let state = json!({"outcome": "done", "done": 3, "total": 3, "stored": 1, "hits": 1, "failed": 1, "seconds": 0.25});
        assert_eq!(ended(&state), "3 URLs in 0.2 s: 1 stored, 1 were there, 1 failed\n");
        assert_eq!(ended(&Value::Null), "nothing is being warmed\n");
        let failure = json!({"url": "http://a/", "why": "x\u{1b}[31m"});
        assert_eq!(failed(&failure), "http://a/ x[31m");
    }

    #[test]
    fn fields_given_come_before_what_is_sent_by_itself() {
        let all = headers(&["Accept-Encoding: identity".into(), "x:y:z".into()]).expect("two");
        assert_eq!(all["accept-encoding"], "identity");
        assert_eq!(all["x"], "y:z");
        assert_eq!(
            headers(&["a: b".into()]).expect("one")["accept-encoding"],
            "gzip, deflate, br, zstd"
        );
        assert!(headers(&["a".into()]).is_err());
    }
}
