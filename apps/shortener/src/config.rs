//! `snip.toml`: what the operator typed, checked and made into what the program uses.
//!
//! It never opens what it names: databases, Redis and files are for those who use them. The
//! commands of `cli.rs` load it once at their start.

mod values;

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::link::Redirect;
use crate::target::NEVER;

use self::values::{DatabaseUrl, NatsUrl, Net, Origin, RedisUrl, Span, Status, Text, Token};

/// The whole configuration. [`Config::default`] is that of a program without a file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 is any free one. Default `127.0.0.1:3000`.
    pub listen: String,
    /// What short links begin with, without a slash at its end. Default: `http://` and where it
    /// listens.
    pub url: Option<String>,
    /// What this instance is called. Default: the name of the machine and the number of the
    /// process.
    pub name: String,
    /// `sqlite:FILE` or `postgres://…`. Default `sqlite:snip.db`.
    pub database: String,
    /// PostgreSQL only: servers that look-ups and reports may read.
    pub replicas: Vec<String>,
    /// Connections to each PostgreSQL server. Default 8.
    pub pool: u32,
    /// The second tier of the look-up cache.
    pub redis: Option<String>,
    /// Where clicks go as a stream.
    pub nats: Option<String>,
    /// How long it serves on, with `/readyz` failing, after it was asked to end: as long as a
    /// balancer needs to see that. Default 0 s.
    pub drain_delay: Duration,
    /// Peers whose `X-Forwarded-For` and `Seawall-Reported` are believed. Default: none.
    pub trust: Vec<IpNet>,
    /// A database of countries in the format of MaxMind.
    pub country: Option<PathBuf>,
    /// `[cache]`
    pub cache: CacheConfig,
    /// `[edge]`
    pub edge: EdgeConfig,
    /// `[clicks]`
    pub clicks: ClicksConfig,
    /// `[links]`
    pub links: LinksConfig,
}

/// `[cache]`: the look-up cache of this process, and Redis.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Links that this process holds at most; 0: none. Default 100,000.
    pub memory: usize,
    /// The longest that a change by another instance goes unseen here. Default 1 s, at least 10 ms.
    pub memory_ttl: Duration,
    /// How long a link stays in Redis, and in this process without being looked up again.
    /// Default 10 min, at least 1 s.
    pub redis_ttl: Duration,
    /// How long it is remembered that there is no such link. Default 5 s, at least 1 s.
    pub negative_ttl: Duration,
}

/// `[edge]`: what caches in front are told.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// `max-age` of redirects, for browsers, whose copies cannot be purged. Default 5 s.
    pub max_age: Duration,
    /// How long caches in front may keep a redirect; 0: not at all. Default 5 min.
    pub s_maxage: Duration,
    /// Admin addresses of Seawall nodes that are told of changes, as `http://HOST:PORT`.
    pub purge: Vec<String>,
    /// What is sent to them as `Authorization: Bearer …`.
    pub token: Option<String>,
}

/// `[clicks]`: how clicks are counted and how long that is kept.
#[derive(Debug, Clone)]
pub struct ClicksConfig {
    /// How often the buffer is written to the database. Default 1 s. What a `kill -9` can lose is
    /// what came in since.
    pub every: Duration,
    /// Aggregated counters that are held in memory at most; what is beyond is counted as lost, and
    /// beyond half of it new referrers are not told apart. Default 100,000.
    pub most: usize,
    /// How long the counts of a minute are kept. Default 2 days.
    pub minutes: Duration,
    /// How long the counts of an hour are kept. Default 90 days.
    pub hours: Duration,
    /// How long the counts of a day are kept. Default 5 years.
    pub days: Duration,
    /// What Seawall's reports must carry; without it reports are refused.
    pub report_token: Option<String>,
}

/// `[links]`: what links may be.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// Schemes of targets. Default `http` and `https`.
    pub schemes: Vec<String>,
    /// Bytes that a target has at most. Default 2,048, at most 8,192.
    pub longest: usize,
    /// A file of hosts that no link may lead to, one a line.
    pub block_list: Option<PathBuf>,
    /// The redirect of links that do not say. Default 302.
    pub redirect: Redirect,
    /// Whether links that do not say send the query of whoever follows them on. Default: no.
    pub forward_query: bool,
}

impl Config {
    /// Loads a file.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable(name.clone(), error))?;
        Config::parse(&text, &name)
    }

    /// Understands the text of a file; `name` is for messages.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
        let problem = |span: Option<Range<usize>>, what: &str| Problem {
            file: name.to_owned(),
            line: span.map(|span| line_of(text, span.start)),
            what: what.trim_end().to_owned(),
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let what = format!("{}{}", error.message(), hint(error.message()));
            ConfigError::Wrong(vec![problem(error.span(), &what)])
        })?;
        let wrong: Vec<_> = file
            .contradictions()
            .into_iter()
            .map(|(span, what)| problem(Some(span), &what))
            .collect();
        if wrong.is_empty() { Ok(file.into_config()) } else { Err(ConfigError::Wrong(wrong)) }
    }

    /// Whether the peer with this address is believed about clients.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.iter().any(|net| net.contains(&peer))
    }
}

impl Default for Config {
    fn default() -> Config {
        File::default().into_config()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    /// What is wrong in it.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// Something that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1, if it is in one.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// What was meant by a name that is not known, from the message that has all that are.
fn hint(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(wrong) = names.next().filter(|_| message.starts_with("unknown field")) else {
        return String::new();
    };
    let nearest = names.map(|name| (distance(wrong, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 2 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// How many letters must be put in, taken out or replaced to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.chars().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The file as it is typed. What is absent has its default in [`File::into_config`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    listen: Option<Text>,
    url: Option<Origin>,
    name: Option<Text>,
    database: Option<Spanned<DatabaseUrl>>,
    replicas: Vec<Spanned<DatabaseUrl>>,
    pool: Option<Spanned<u32>>,
    redis: Option<RedisUrl>,
    nats: Option<NatsUrl>,
    drain_delay: Option<Span>,
    trust: Vec<Net>,
    country: Option<Text>,
    cache: CacheSection,
    edge: EdgeSection,
    clicks: ClicksSection,
    links: LinksSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct CacheSection {
    memory: Option<usize>,
    memory_ttl: Option<Spanned<Span>>,
    redis_ttl: Option<Spanned<Span>>,
    negative_ttl: Option<Spanned<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct EdgeSection {
    max_age: Option<Spanned<Span>>,
    s_maxage: Option<Spanned<Span>>,
    purge: Vec<Spanned<Origin>>,
    token: Option<Token>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ClicksSection {
    every: Option<Spanned<Span>>,
    most: Option<Spanned<usize>>,
    minutes: Option<Spanned<Span>>,
    hours: Option<Spanned<Span>>,
    days: Option<Spanned<Span>>,
    report_token: Option<Token>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LinksSection {
    schemes: Option<Spanned<Vec<String>>>,
    longest: Option<Spanned<usize>>,
    block_list: Option<Text>,
    redirect: Option<Status>,
    forward_query: bool,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

impl File {
    /// What no value by itself shows to be wrong, or only its size.
    fn contradictions(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let is_postgres =
            self.database.as_ref().is_some_and(|database| database.get_ref().is_postgres());
        for replica in &self.replicas {
            if !is_postgres {
                wrong.push((
                    replica.span(),
                    "replicas are for PostgreSQL; `database` is not".into(),
                ));
            } else if !replica.get_ref().is_postgres() {
                wrong.push((replica.span(), "a replica is `postgres://…`".into()));
            }
        }
        for node in &self.edge.purge {
            if !node.get_ref().0.starts_with("http://") {
                wrong.push((node.span(), "the admin API of Seawall speaks plain HTTP".into()));
            }
        }
        let mut within = |value: &Option<Spanned<usize>>, range: Range<usize>, key: &str| {
            if let Some(value) = value
                && !range.contains(value.get_ref())
            {
                let (least, most) = (range.start, range.end - 1);
                wrong.push((value.span(), format!("`{key}` is between {least} and {most}")));
            }
        };
        within(&self.clicks.most, 1..100_000_001, "most");
        within(&self.links.longest, 16..8193, "longest");
        let pool =
            self.pool.as_ref().map(|pool| Spanned::new(pool.span(), *pool.get_ref() as usize));
        within(&pool, 1..1001, "pool");
        let mut at_least = |value: &Option<Spanned<Span>>, least: Duration, key: &str| {
            if let Some(value) = value
                && value.get_ref().0 < least
            {
                wrong.push((value.span(), format!("`{key}` is {least:?} at least")));
            }
        };
        at_least(&self.cache.memory_ttl, Duration::from_millis(10), "memory-ttl");
        at_least(&self.cache.redis_ttl, SECOND, "redis-ttl");
        at_least(&self.cache.negative_ttl, SECOND, "negative-ttl");
        at_least(&self.clicks.every, Duration::from_millis(10), "every");
        at_least(&self.clicks.minutes, DAY, "minutes");
        at_least(&self.clicks.hours, DAY, "hours");
        at_least(&self.clicks.days, DAY, "days");
        let mut whole = |value: &Option<Spanned<Span>>, key: &str| {
            if let Some(value) = value
                && value.get_ref().0.subsec_millis() > 0
            {
                wrong.push((value.span(), format!("`{key}` is in whole seconds")));
            }
        };
        whole(&self.edge.max_age, "max-age");
        whole(&self.edge.s_maxage, "s-maxage");
        let schemes = self.links.schemes.iter();
        for scheme in schemes.flat_map(|it| it.get_ref().iter().map(move |scheme| (it, scheme))) {
            let (place, scheme) = scheme;
            let lower = scheme.to_ascii_lowercase();
            let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            if NEVER.contains(&lower.as_str()) {
                wrong.push((place.span(), format!("no link may lead to `{scheme}`, ever")));
            } else if scheme.is_empty() || !scheme.bytes().all(is_fit) {
                wrong.push((place.span(), format!("a scheme is like `https`, not `{scheme}`")));
            }
        }
        if let Some(schemes) = &self.links.schemes
            && schemes.get_ref().is_empty()
        {
            wrong.push((schemes.span(), "without a scheme there can be no link".into()));
        }
        wrong
    }

    fn into_config(self) -> Config {
        let span = |value: Option<Spanned<Span>>, default: Duration| {
            value.map_or(default, |value| value.into_inner().0)
        };
        let text = |value: Option<Text>| value.map(|text| text.0);
        let File { cache, edge, clicks, links, .. } = self;
        Config {
            listen: text(self.listen).unwrap_or_else(|| "127.0.0.1:3000".to_owned()),
            url: self.url.map(|url| url.0),
            name: text(self.name).unwrap_or_else(own_name),
            database: self
                .database
                .map_or_else(|| "sqlite:snip.db".to_owned(), |url| url.into_inner().0),
            replicas: self.replicas.into_iter().map(|url| url.into_inner().0).collect(),
            pool: self.pool.map_or(8, Spanned::into_inner),
            redis: self.redis.map(|url| url.0),
            nats: self.nats.map(|url| url.0),
            drain_delay: self.drain_delay.map_or(Duration::ZERO, |span| span.0),
            trust: self.trust.into_iter().map(|net| net.0).collect(),
            country: text(self.country).map(PathBuf::from),
            cache: CacheConfig {
                memory: cache.memory.unwrap_or(100_000),
                memory_ttl: span(cache.memory_ttl, SECOND),
                redis_ttl: span(cache.redis_ttl, 600 * SECOND),
                negative_ttl: span(cache.negative_ttl, 5 * SECOND),
            },
            edge: EdgeConfig {
                max_age: span(edge.max_age, 5 * SECOND),
                s_maxage: span(edge.s_maxage, 300 * SECOND),
                purge: edge.purge.into_iter().map(|origin| origin.into_inner().0).collect(),
                token: edge.token.map(|token| token.0),
            },
            clicks: ClicksConfig {
                every: span(clicks.every, SECOND),
                most: clicks.most.map_or(100_000, Spanned::into_inner),
                minutes: span(clicks.minutes, 2 * DAY),
                hours: span(clicks.hours, 90 * DAY),
                days: span(clicks.days, 5 * 365 * DAY),
                report_token: clicks.report_token.map(|token| token.0),
            },
            links: LinksConfig {
                schemes: links
                    .schemes
                    .map_or_else(|| vec!["http".into(), "https".into()], Spanned::into_inner),
                longest: links.longest.map_or(2048, Spanned::into_inner),
                block_list: text(links.block_list).map(PathBuf::from),
                redirect: links.redirect.map_or(Redirect::Found, |status| status.0),
                forward_query: links.forward_query,
            },
        }
    }
}

/// The name of the machine and the number of the process: different for any two that run.
fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_and_an_empty_one_are_the_same() {
        let mut empty = Config::parse("", "snip.toml").expect("nothing is wrong");
        empty.name.clear();
        let mut default = Config::default();
        default.name.clear();
        assert_eq!(format!("{empty:?}"), format!("{default:?}"));
    }

    #[test]
    fn connections_to_databases_may_be_encrypted() {
        for query in ["sslmode=require", "sslrootcert=/no/such%20file&sslmode=verify-full"] {
            let text = format!("database = \"postgres://b/d?{query}\"");
            let config = Config::parse(&text, "f").unwrap_or_else(|error| panic!("{error}"));
            assert!(config.database.ends_with(query), "{query}");
        }
    }

    #[test]
    fn problems_name_their_line() {
        for (text, expect) in [
            ("listen = 1", "snip.toml:1: invalid type: integer `1`, expected a string"),
            (
                "\nlisten = \"${SNIP_UNSET_HERE}\"",
                "snip.toml:2: the environment has no SNIP_UNSET_HERE",
            ),
            ("listen = \"${\"", "snip.toml:1: `${` without `}`"),
            (
                "[cache]\nmemory-ttl = 5",
                "snip.toml:2: invalid type: integer `5`, expected a string with a",
            ),
            (
                "[cache]\nmemory_ttl = \"5s\"",
                "snip.toml:2: unknown field `memory_ttl`, expected one",
            ),
            ("nats = \"\"", "snip.toml:1: NATS is like"),
            ("nats = \"nats://a,http://b\"", "snip.toml:1: NATS is like"),
            ("database = \"postgres://a:secret@b:c/d\"", "snip.toml:1: not `postgres://USER"),
            (
                "database = \"postgres://b/d?sslmode=verify-full\"",
                "snip.toml:1: not `postgres://USER:PASSWORD@HOST/DATABASE`: a PostgreSQL URL: `sslmode",
            ),
            ("[edge]\ns-maxage = \"1500ms\"", "snip.toml:2: `s-maxage` is in whole seconds"),
            ("[links]\nschemes = [\"Data\"]", "snip.toml:2: no link may lead to `Data`, ever"),
            ("[links]\nschemes = [\"https:\"]", "snip.toml:2: a scheme is like `https`"),
            ("[cache]\nmemory-ttl = \"1\"", "snip.toml:2: a duration is like \"500ms\""),
            ("[cache]\nmemory-ttl = \"0s\"", "snip.toml:2: `memory-ttl` is 10ms at least"),
            ("[cache]\n\nttl = \"1s\"", "snip.toml:3: unknown field `ttl`"),
            (
                "database = \"mysql://x\"",
                "snip.toml:1: a database is `sqlite:FILE` or `postgres://…`",
            ),
            ("replicas = [\"postgres://x/y\"]", "snip.toml:1: replicas are for PostgreSQL"),
            ("trust = [\"10.0.0.0/33\"]", "snip.toml:1: an address is like"),
            ("[links]\nredirect = 303", "snip.toml:2: a redirect is 301, 302, 307 or 308"),
            ("[links]\nlongest = 9000", "snip.toml:2: `longest` is between 16 and 8192"),
            ("url = \"example.com\"", "snip.toml:1: a URL here is like"),
            (
                "[edge]\npurge = [\"https://x\"]",
                "snip.toml:2: the admin API of Seawall speaks plain HTTP",
            ),
            ("[edge]\ntoken = \"\"", "snip.toml:2: a token is of ASCII characters"),
            ("[clicks]\nreport-token = \" x\"", "snip.toml:2: a token is of ASCII characters"),
            ("pool = 0", "snip.toml:1: `pool` is between 1 and 1000"),
            ("a = [", "snip.toml:1: "),
        ] {
            let error = Config::parse(text, "snip.toml").err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("accepted: {text}"));
            assert!(error.starts_with(expect), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_meant_is_guessed() {
        for (text, expect) in [
            ("lisen = \"x\"", "; did you mean `listen`?"),
            ("[cache]\nmemory_ttl = \"5s\"", "; did you mean `memory-ttl`?"),
            ("[chache]\nmemory = 1", "; did you mean `cache`?"),
            ("color = 1", "`links`"),
        ] {
            let error = Config::parse(text, "f").expect_err("it is unknown").to_string();
            assert!(error.ends_with(expect), "{text}: {error}");
        }
        for (one, other, expect) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), expect);
        }
    }

    #[test]
    fn a_password_is_in_no_message() {
        let text = "database = \"postgres://a:geheim@b:c/d\"";
        let error = Config::parse(text, "f").expect_err("the port is none").to_string();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn the_environment_may_have_something_else() {
        let text = r#"listen = "${SNIP_UNSET_HERE:-[::1]:0}" "#;
        assert_eq!(Config::parse(text, "snip.toml").expect("a default").listen, "[::1]:0");
        let text = r#"name = "${PATH:-nothing}" "#;
        let path = std::env::var("PATH").expect("every process has it");
        assert_eq!(Config::parse(text, "snip.toml").expect("it is there").name, path);
    }

    #[test]
    fn the_files_of_the_stages_load() {
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/stages");
        let mut seen = Vec::new();
        for entry in std::fs::read_dir(stages).expect("there are stages") {
            let file = entry.expect("they can be listed").path().join("snip.toml");
            if let Ok(text) = std::fs::read_to_string(&file) {
                let name = file.display().to_string();
                let config = Config::parse(&text, &name).unwrap_or_else(|error| panic!("{error}"));
                seen.push((config.replicas.len(), config.redis.is_some(), config.edge.purge.len()));
            }
        }
        seen.sort_unstable();
        let none = (0, false, 0);
        assert_eq!(seen, [none, none, none, (0, true, 2), (2, false, 0), (2, true, 0)]);
    }

    #[test]
    fn all_contradictions_are_reported_at_once() {
        let text = "pool = 0\nreplicas = [\"sqlite:x\"]\n[cache]\nredis-ttl = \"1ms\"";
        let error = Config::parse(text, "f").expect_err("three things are wrong").to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            listen = "[::1]:0"
            url = "https://sn.ip/"
            name = "one"
            database = "postgres://snip:x@db/snip"
            replicas = ["postgres://snip:x@db2/snip"]
            pool = 4
            redis = "redis://r"
            nats = "nats://n"
            trust = ["127.0.0.1", "10.0.0.0/8", "::1"]
            country = "country.mmdb"
            drain-delay = "5s"
            [cache]
            memory = 0
            memory-ttl = "250ms"
            redis-ttl = "1h"
            negative-ttl = "2s"
            [edge]
            max-age = "0s"
            s-maxage = "1d"
            purge = ["http://127.0.0.1:9900"]
            token = "x"
            [clicks]
            every = "2s"
            most = 5
            minutes = "1d"
            hours = "30d"
            days = "1y"
            report-token = "y"
            [links]
            schemes = ["https"]
            longest = 4096
            block-list = "blocked"
            redirect = 301
            forward-query = true
        "#;
        let config = Config::parse(text, "snip.toml").expect("nothing is wrong");
        assert_eq!(config.url.as_deref(), Some("https://sn.ip"));
        assert_eq!(config.drain_delay, Duration::from_secs(5));
        assert_eq!(config.cache.memory_ttl, Duration::from_millis(250));
        assert_eq!(config.clicks.days, 365 * DAY);
        assert_eq!(config.links.redirect, Redirect::Permanent);
        assert!(config.links.forward_query);
        assert!(config.trusts("10.1.2.3".parse().expect("an address")));
        assert!(!config.trusts("11.1.2.3".parse().expect("an address")));
    }
}
