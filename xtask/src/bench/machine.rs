//! What has to be known of the machine and the programs to read the results: never a path, a
//! name of the machine or of a user.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::build;
use crate::tools::output_of;

/// Named facts in the order they are printed.
pub(crate) fn facts(seawall: Option<&Path>) -> Vec<(&'static str, String)> {
    let uname = rustix::system::uname();
    let mut facts = vec![
        ("date", today()),
        ("cpu", cpu_model()),
        ("cores", std::thread::available_parallelism().map_or(1, usize::from).to_string()),
        (
            "kernel",
            format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        ),
        ("nginx", version(&output_of("nginx", &["-v"]))),
        ("haproxy", version(&output_of("haproxy", &["-v"]))),
        ("wrk", version(&output_of("wrk", &["-v"]))),
    ];
    if let Some(seawall) = seawall {
        let program = seawall.to_string_lossy();
        facts.push(("seawall", version(&output_of(&program, &["--version"]))));
        facts.push(("commit", commit()));
        facts.push(("rustc", version(&output_of("rustc", &["--version"]))));
    }
    facts
}

/// The same with Varnish.
pub(crate) fn cache_facts(seawall: Option<&Path>) -> Vec<(&'static str, String)> {
    let mut facts = facts(seawall);
    let varnish = output_of("varnishd", &["-V"]);
    let version = varnish.split("varnish-").nth(1).unwrap_or_default();
    let version = version.split(' ').next().unwrap_or_default();
    let after = facts.iter().position(|(name, _)| *name == "haproxy").map_or(0, |at| at + 1);
    facts.insert(after, ("varnish", version.to_owned()));
    facts
}

/// What has to be known of the stages of the shortener, and the commit, which each has of its own.
pub(crate) fn stage_facts(seawall: &Path, snip: &Path) -> (Vec<(&'static str, String)>, String) {
    let mut all = facts(Some(seawall));
    all.retain(|(name, _)| !["date", "nginx", "haproxy", "wrk", "commit"].contains(name));
    let of = |program: &str| version(&output_of(program, &["--version"]));
    all.push(("snip", of(&snip.to_string_lossy())));
    all.push(("postgresql", of("postgres")));
    // `Redis server v=7.0.15 sha=…`
    let redis = output_of("redis-server", &["--version"]);
    let redis = redis.split(" v=").nth(1).and_then(|rest| rest.split(' ').next());
    all.push(("redis", redis.unwrap_or("unknown").to_owned()));
    (all, format!("{} {}", commit(), today()))
}

/// Those of the shortener's benchmark.
pub(crate) fn shortener_facts(snip: &Path) -> Vec<(&'static str, String)> {
    let mut facts = facts(None);
    facts.retain(|(name, _)| *name != "haproxy");
    let of = |program: &str, argument: &str| version(&output_of(program, &[argument]));
    facts.extend([
        ("postgresql", of("postgres", "--version")),
        ("redis", of("redis-server", "--version")),
        ("node", of("node", "--version")),
        ("php", of("php-fpm8.2", "-v")),
        ("snip", of(&snip.to_string_lossy(), "--version")),
        ("commit", commit()),
        ("rustc", of("rustc", "--version")),
    ]);
    facts
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| "unknown".to_owned(), |(_, model)| model.trim().to_owned())
}

/// The first word with a digit and a dot in it, as `1.22.1` in `nginx version: nginx/1.22.1`.
fn version(printed: &str) -> String {
    printed
        .split([' ', '\n', '/'])
        .find(|word| word.contains('.') && word.contains(|letter: char| letter.is_ascii_digit()))
        .unwrap_or("unknown")
        .to_owned()
}

fn commit() -> String {
    let root = build::root().to_string_lossy();
    let id = output_of("git", &["-C", &root, "rev-parse", "--short=12", "HEAD"]);
    let changed = output_of("git", &["-C", &root, "status", "--porcelain", "--untracked-files=no"]);
    match (id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !id.is_empty(), changed.is_empty()) {
        (true, true) => id,
        (true, false) => format!("{id} with changes"),
        (false, _) => "unknown".to_owned(),
    }
}

fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn versions_are_found() {
        assert_eq!(version("nginx version: nginx/1.22.1"), "1.22.1");
        assert_eq!(version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - x"), "2.6.12-1+deb12u4");
        assert_eq!(version(""), "unknown");
    }
}
