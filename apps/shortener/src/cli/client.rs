//! How commands speak with a running shortener: its API, with a key.
//!
//! What can be sent again without doing harm is sent again when the server is away or busy, for
//! about a minute. Called by the commands that work on links.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries of a request that can be sent again.
const TRIES: u32 = 10;

/// The longest wait between two tries, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer at most: a thousand links of the longest kind.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// Where the shortener is and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Access {
    /// The shortener
    #[arg(long, env = "SNIP_URL", value_name = "SERVER", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// An API key; on the command line others on this machine can see it, in the environment not
    #[arg(long, env = "SNIP_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
}

/// A shortener that is asked.
pub(super) struct Server {
    agent: Agent,
    base: String,
    key: String,
}

/// An answer.
pub(super) struct Answer<T> {
    /// What it says.
    pub(super) body: T,
    /// It is that of an earlier request with the same key.
    pub(super) is_replayed: bool,
}

impl Access {
    /// The server.
    ///
    /// # Errors
    /// When there is no key, or the address is none.
    pub(super) fn server(self) -> anyhow::Result<Server> {
        let key = self.key.context("an API key is needed: set SNIP_KEY, or use --key")?;
        let url = url::Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .with_context(|| format!("not the address of a server: {}", self.url))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            // A key is for the server that was named, not for where it sends us.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("snip/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Server { agent: config.into(), base, key })
    }
}

/// Why there is no good answer.
enum Failure {
    /// It may be better later, and by when the server thinks so.
    Later(anyhow::Error, Option<Duration>),
    /// It will not.
    Final(anyhow::Error),
}

impl Server {
    /// Reads a resource. `path` begins behind `/api/v1`.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.stubborn(|| self.ask(Method::GET, path, None, None)).map(|answer| answer.body)
    }

    /// Reads a resource that may be missing.
    pub(super) fn read_if_any(&self, path: &str) -> anyhow::Result<Option<Value>> {
        self.stubborn(|| match self.send(Method::GET, path, None, None)? {
            (404, ..) => Ok(None),
            (status, body, _) => understand(status, &body).map(Some),
        })
    }

    /// Makes something, once, however often it has to be sent: `once` is what tells this request
    /// from others.
    pub(super) fn make<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
        once: &str,
    ) -> anyhow::Result<Answer<T>> {
        let body = serde_json::to_vec(what)?;
        self.stubborn(|| self.ask(Method::POST, path, Some(&body), Some(once)))
    }

    /// Changes something in a way that can be repeated.
    pub(super) fn change(&self, path: &str, what: &Value) -> anyhow::Result<()> {
        let body = serde_json::to_vec(what)?;
        self.stubborn(|| self.ask::<Value>(Method::PATCH, path, Some(&body), None)).map(drop)
    }

    fn stubborn<T>(&self, ask: impl Fn() -> Result<T, Failure>) -> anyhow::Result<T> {
        let mut wait = Duration::from_millis(200);
        for attempt in 1..TRIES {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Later(error, wished)) => {
                    // At a terminal nobody should wonder; most is over before this is said.
                    if attempt == 4 {
                        eprintln!("{error:#}; trying again for a while");
                    }
                    sleep(wished.unwrap_or(wait).min(LONGEST_WAIT));
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        ask().map_err(|failure| match failure {
            Failure::Later(error, _) | Failure::Final(error) => error,
        })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        once: Option<&str>,
    ) -> Result<Answer<T>, Failure> {
        let (status, body, is_replayed) = self.send(method, path, body, once)?;
        Ok(Answer { body: understand(status, &body)?, is_replayed })
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        once: Option<&str>,
    ) -> Result<(u16, Vec<u8>, bool), Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(once) = once {
            request = request.header("idempotency-key", format!("\"{once}\""));
        }
        let base = &self.base;
        let sent = match body {
            Some(body) => request.body(body).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let sent = sent.with_context(|| format!("cannot ask {base}")).map_err(Failure::Final)?;
        let mut answer = sent.map_err(|error| {
            let is_network = matches!(
                error,
                ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed
            );
            let error = anyhow::Error::from(error).context(format!("cannot reach {base}"));
            if is_network { Failure::Later(error, None) } else { Failure::Final(error) }
        })?;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let is_replayed = header("idempotency-replayed").is_some();
        let wished = header("retry-after").and_then(|text| text.parse().ok());
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("{base} broke off its answer"));
            Failure::Later(error, None)
        })?;
        let is_in_progress = status == 409 && problem_of(&body).0.ends_with(":in-progress");
        if matches!(status, 429 | 502 | 503 | 504) || is_in_progress {
            let error = anyhow::anyhow!("{base} answers {status}: {}", problem_of(&body).1);
            return Err(Failure::Later(error, wished.map(Duration::from_secs)));
        }
        Ok((status, body, is_replayed))
    }
}

fn understand<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, Failure> {
    let read = || -> anyhow::Result<T> {
        if !(200..300).contains(&status) {
            let (_, words) = problem_of(body);
            bail!("the server answers {status}: {words}");
        }
        // What has no content is nothing.
        let body = if body.is_empty() { b"null" } else { body };
        serde_json::from_slice(body).context("the server's answer is not that of a shortener")
    };
    read().map_err(Failure::Final)
}

/// The word and the sentences of a problem.
fn problem_of(body: &[u8]) -> (String, String) {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = problem["type"].as_str().unwrap_or_default().to_owned();
    (word, words_of(&problem))
}

/// What a problem says: each rule that is broken, or its detail.
pub(super) fn words_of(problem: &Value) -> String {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let each: Vec<String> = errors
        .iter()
        .filter_map(|error| {
            let place =
                ["pointer", "parameter", "header"].iter().find_map(|key| error[*key].as_str());
            let field = place.unwrap_or_default().rsplit('/').next().unwrap_or_default();
            Some(format!("{field}: {}", error["detail"].as_str()?))
        })
        .collect();
    match each.is_empty() {
        true => problem["detail"].as_str().unwrap_or("it does not say why").to_owned(),
        false => each.join("; "),
    }
}

/// A text that tells a request from all others.
///
/// # Errors
/// When the system has no randomness to give.
pub(super) fn unique() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other).context("no randomness can be had")?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
