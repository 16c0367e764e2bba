//! The documents say what the program does: its keys, metrics, problems and commands are those of
//! the code, and every configuration that they show is understood.
//!
//! A block that begins with "```toml snip" is a whole `snip.toml`. With `SEAWALL_BLESS=1` set the
//! help texts in the reference are written again instead of compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use seawall_testkit::{Process, RawClient};
use serde_json::Value;
use snip::config::Config;
use snip::link::Code;
use snip::problem::Problem;
use snip::refusal::Refusal;
use snip::store::StoreError;

const BINARY: &str = env!("CARGO_BIN_EXE_snip");

const REFERENCE: &str = "docs/reference/snip.md";

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the crate is in the repository")
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages below a folder, and those in it.
fn pages(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the repository is there").flatten() {
        let path = entry.path();
        let is_source = path.file_name().is_some_and(|name| name != "target");
        if path.is_dir() && depth > 0 && is_source {
            pages(&path, depth - 1, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The columns of the rows whose first one is in back-ticks, of the first table under a heading.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let from = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let lines = page[from..].lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).filter(|it| it.starts_with("| `"));
    let columns = |line: &str| {
        let inner = line.trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|column| column.trim().to_owned()).collect()
    };
    rows.map(columns).collect()
}

/// What is between back-ticks, if that is all there is.
fn quoted(column: &str) -> Option<&str> {
    column.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

#[test]
fn every_configuration_in_the_documents_is_understood() {
    let mut found = Vec::new();
    pages(&root(), 0, &mut found);
    for folder in ["apps", "docs", "examples"] {
        pages(&root().join(folder), 4, &mut found);
    }
    let mut seen = 0;
    for path in found {
        let text = fs::read_to_string(&path).expect("a page is text");
        let mut blocks = text.split("```toml snip\n");
        let mut line = blocks.next().map_or(0, |before| before.lines().count());
        for block in blocks {
            let file = filled(block.split("```").next().unwrap_or_default());
            let title = format!("{}, block of line {}", path.display(), line + 1);
            Config::parse(&file, &title).unwrap_or_else(|error| panic!("{error}"));
            line += 1 + block.lines().count();
            seen += 1;
        }
    }
    assert!(seen >= 2, "the configurations are gone");
}

/// With the names of values of the environment in their place.
fn filled(file: &str) -> String {
    let mut parts = file.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part.replacen('}', "", 1))
}

#[test]
fn the_table_of_keys_is_that_of_the_code() {
    let rows = rows(&page("apps/shortener/README.md"), "## Configuration");
    let described: BTreeSet<_> =
        rows.iter().map(|row| quoted(&row[0]).expect("a key").to_owned()).collect();
    let mut keys = BTreeSet::new();
    for section in ["", "cache", "edge", "clicks", "links"] {
        let (head, prefix) = match section {
            "" => (String::new(), String::new()),
            name => (format!("[{name}]\n"), format!("{name}.")),
        };
        // Whoever asks for a key that is not there is told all there are.
        let error = Config::parse(&format!("{head}no-such-key = 1"), "f").expect_err("unknown");
        let error = error.to_string();
        let (_, all) = error.split_once("expected one of ").expect("it names the keys");
        let all = all.split('`').skip(1).step_by(2);
        keys.extend(all.map(|key| format!("{prefix}{key}")));
    }
    for section in ["cache", "edge", "clicks", "links"] {
        assert!(keys.remove(section), "no section {section} in {keys:?}");
    }
    assert_eq!(described, keys);
    // Each default, written down, changes nothing.
    let defaults = rows.iter().filter_map(|row| Some((quoted(&row[0])?, quoted(&row[1])?)));
    let file: String = defaults.map(|(key, value)| format!("{key} = {value}\n")).collect();
    let mut written = Config::parse(&file, "defaults").unwrap_or_else(|error| panic!("{error}"));
    let mut default = Config::default();
    (written.name, default.name) = (String::new(), String::new());
    assert_eq!(format!("{written:#?}"), format!("{default:#?}"));
    assert!(file.lines().count() >= 15, "defaults are missing:\n{file}");
}

#[test]
fn the_table_of_requests_is_that_of_the_description() {
    let document = serde_json::to_value(snip::api::document()).expect("JSON");
    let scope = |operation: &Value| {
        let words = operation["responses"]["403"]["description"].as_str().unwrap_or_default();
        words.split('`').nth(1).map(str::to_owned)
    };
    let mut offered = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let path = path.replace("{code}", "CODE").replace("{id}", "ID");
            offered.insert(format!("{} {path}", method.to_uppercase()), scope(operation));
        }
    }
    let described: BTreeMap<_, _> = rows(&page("apps/shortener/README.md"), "## API")
        .iter()
        .flat_map(|row| {
            let requests = row[0].split(", ").map(|it| quoted(it).expect("a request").to_owned());
            requests.map(|request| (request, quoted(&row[1]).map(str::to_owned)))
        })
        .collect();
    assert_eq!(described, offered);
}

#[test]
fn the_table_of_metrics_is_that_of_the_program() {
    let exposed = exposed();
    let mut described = BTreeMap::new();
    for row in rows(&page(REFERENCE), "## Metrics") {
        let labels = row[2].split(',').filter_map(|label| quoted(label.trim()));
        let labels: BTreeSet<_> = labels.map(str::to_owned).collect();
        assert!(!row[3].is_empty(), "{row:?} means nothing");
        described.insert(quoted(&row[0]).expect("a name").to_owned(), (row[1].clone(), labels));
    }
    assert_eq!(described, exposed);
}

/// Type and labels by name of all metrics of an instance that has one of everything.
fn exposed() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let home = tempfile::tempdir().expect("a directory can be made");
    // Nobody answers there, and that is enough to be counted.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    let file = home.path().join("snip.toml");
    let config = format!(
        "listen = \"127.0.0.1:0\"\nredis = \"redis://{silent}\"\nnats = \"nats://{silent}\"\n\
         [edge]\npurge = [\"http://{silent}\"]\n"
    );
    fs::write(file, config).expect("it can be written");
    let mut command = Command::new(BINARY);
    command.arg("serve").current_dir(home.path());
    let process = Process::spawn(command).expect("snip starts");
    let address = process
        .wait_for_line(|line| line.text.strip_prefix("listening on ")?.parse().ok())
        .expect("it listens");
    let mut client = RawClient::connect(address).expect("it accepts");
    let text = client.get("snip", "/metrics").expect("it answers").text();
    let mut all = BTreeMap::<String, (String, BTreeSet<String>)>::new();
    for line in text.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, kind) = announced.split_once(' ').expect("a name and a type");
            all.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((sample, rest)) = line.split_once('{') {
            let name = sample.strip_suffix("_bucket").filter(|name| all.contains_key(*name));
            let labels = rest.split_once('}').expect("labels end").0.split(',');
            let labels = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            // `le` is how a histogram is written down.
            let labels = labels.filter(|name| *name != "le").map(str::to_owned);
            let family = all.get_mut(name.unwrap_or(sample)).expect("announced before");
            family.1.extend(labels);
        }
    }
    assert!(all.len() > 20, "metrics are missing: {all:?}");
    all
}

/// The one after this in the order of the enum; the compiler asks for those that are new.
fn after(problem: Option<&Problem>) -> Option<Problem> {
    let code = || Code::new("a").expect("a code");
    Some(match problem {
        None => Problem::NotJson(String::new()),
        Some(Problem::NotJson(_)) => Problem::BadRequest(Vec::new()),
        Some(Problem::BadRequest(_)) => Problem::Unauthenticated(""),
        Some(Problem::Unauthenticated(_)) => Problem::Forbidden(""),
        Some(Problem::Forbidden(_)) => Problem::Escalation(String::new()),
        Some(Problem::Escalation(_)) => Problem::CrossSite,
        Some(Problem::CrossSite) => Problem::NotFound,
        Some(Problem::NotFound) => Problem::NoLink(code()),
        Some(Problem::NoLink(_)) => Problem::NoKey(0),
        Some(Problem::NoKey(_)) => Problem::MethodNotAllowed,
        Some(Problem::MethodNotAllowed) => Problem::TooSlow,
        Some(Problem::TooSlow) => Problem::Taken(code()),
        Some(Problem::Taken(_)) => Problem::InProgress,
        Some(Problem::InProgress) => Problem::Changed(0),
        Some(Problem::Changed(_)) => Problem::TooLarge,
        Some(Problem::TooLarge) => Problem::UnsupportedType(""),
        Some(Problem::UnsupportedType(_)) => Problem::Invalid(Vec::new()),
        Some(Problem::Invalid(_)) => Problem::KeyReused,
        Some(Problem::KeyReused) => Problem::Busy(""),
        Some(Problem::Busy(_)) => Problem::Store(StoreError::Unavailable("".into())),
        Some(Problem::Store(_)) => Problem::Internal,
        Some(Problem::Internal) => return None,
    })
}

#[test]
fn the_table_of_problems_is_that_of_the_code() {
    let all = std::iter::successors(after(None), |problem| after(Some(problem)));
    let mut words: Vec<(String, String)> = all
        .map(|problem| problem.shown())
        .map(|shown| (shown.kind, shown.status.to_string()))
        .collect();
    words.dedup();
    let described: Vec<(String, String)> = rows(&page(REFERENCE), "## Problems")
        .into_iter()
        .map(|row| {
            assert!(!row[2].is_empty() && !row[3].is_empty(), "{row:?} explains nothing");
            (format!("urn:snip:problem:{}", quoted(&row[0]).expect("a word")), row[1].clone())
        })
        .collect();
    assert_eq!(described, words);
}

#[test]
fn the_table_of_small_pages_is_that_of_the_code() {
    let all = Refusal::ALL.map(|it| (it.name().to_owned(), it.status().as_u16().to_string()));
    let described: Vec<(String, String)> = rows(&page(REFERENCE), "## What a link may answer")
        .into_iter()
        .map(|row| (quoted(&row[0]).expect("a word").to_owned(), row[1].clone()))
        .collect();
    assert_eq!(described, all);
}

/// What stands between these two in the reference, one block for each command.
const HELP: [&str; 2] = ["<!-- help: made by a test -->\n", "<!-- /help -->"];

#[test]
fn the_help_in_the_reference_is_that_of_the_program() {
    let mut made = String::new();
    for words in [
        &[][..],
        &["serve"],
        &["check"],
        &["create"],
        &["show"],
        &["list"],
        &["change"],
        &["delete"],
        &["stats"],
        &["import"],
        &["export"],
        &["key"],
        &["key", "create"],
        &["key", "list"],
        &["key", "revoke"],
    ] {
        let output = Command::new(BINARY)
            .args(words)
            .arg("--help")
            .env_remove("SNIP_URL")
            .env_remove("SNIP_KEY")
            .output()
            .expect("snip runs");
        let help = String::from_utf8(output.stdout).expect("help is text");
        let name = [&["snip"], words].concat().join(" ");
        made += &format!("\n### `{name}`\n\n```text\n{}\n```\n", help.trim_end());
    }
    made += "\n";
    let path = root().join(REFERENCE);
    let kept = page(REFERENCE);
    let (before, rest) = kept.split_once(HELP[0]).expect("where the help begins");
    let (help, after) = rest.split_once(HELP[1]).expect("where the help ends");
    if env::var_os("SEAWALL_BLESS").is_some() {
        let text = [before, HELP[0], &made, HELP[1], after].concat();
        fs::write(&path, text).expect("the repository can be written");
        return;
    }
    assert!(help == made, "{REFERENCE} is out of date: run this test with SEAWALL_BLESS=1");
}

/// As the README says of backups.
#[test]
fn the_file_of_a_database_is_whole_after_a_clean_end() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(home.path());
    let mut process = Process::spawn(command).expect("snip starts");
    process.wait_for_text("listening on ").expect("it listens");
    let log = home.path().join("snip.db-wal");
    assert!(log.metadata().is_ok_and(|about| about.len() > 0), "there is a log while it runs");
    process.terminate().expect("it is asked to end");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    assert!(!log.exists(), "what is in {} is not in the file", log.display());
}
