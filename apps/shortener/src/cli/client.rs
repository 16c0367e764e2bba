//! How commands speak with a running shortener: its API, with a key.
//!
//! What can be sent again without doing harm is sent again when the server is away or busy, for
//! about a minute. Called by the commands that work on links.

mod answer;

use std::io;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

pub(super) use self::answer::{Refused, words_of};
use self::answer::{problem_of, understand};

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
    pub(super) fn server(&self) -> anyhow::Result<Server> {
        let key = self.key.clone().context("an API key is needed: set SNIP_KEY, or use --key")?;
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
    /// It may be better later.
    Later(Setback),
    /// It will not.
    Final(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Final(error)
    }
}

/// What may be better later.
struct Setback {
    error: anyhow::Error,
    /// By when the server thinks so.
    wished: Option<Duration>,
    /// It may have been done all the same: the answer was lost.
    is_open: bool,
}

impl Server {
    /// Where it is, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Reads a resource. `path` begins behind `/api/v1`.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.stubborn(|_| self.ask(Method::GET, path, None, None)).map(|answer| answer.body)
    }

    /// Reads a resource that may be missing.
    pub(super) fn read_if_any(&self, path: &str) -> anyhow::Result<Option<Value>> {
        self.stubborn(|_| match self.send(Method::GET, path, None, None)? {
            (404, ..) => Ok(None),
            (status, body, _) => Ok(Some(understand(&self.base, status, &body)?)),
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
        let once = format!("\"{once}\"");
        let field = Some(("idempotency-key", once.as_str()));
        self.stubborn(|_| self.ask(Method::POST, path, Some(&body), field))
    }

    /// Changes something in a way that can be repeated, and returns what it is then. With a version,
    /// only if it has that.
    ///
    /// # Errors
    /// [`Refused`] with `changed` when it has another version.
    pub(super) fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &Value,
        version: Option<i64>,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(what)?;
        let version = version.map(|version| format!("\"{version}\""));
        let field = version.as_deref().map(|version| ("if-match", version));
        let changed = self.stubborn(|may_be_done| {
            self.ask(Method::PATCH, path, Some(&body), field).map_err(|failure| match failure {
                Failure::Final(error) if may_be_done && Refused::is(&error, "changed") => {
                    let words = "an earlier try, whose answer was lost, may have changed it";
                    Failure::Final(error.context(words))
                }
                failure => failure,
            })
        });
        changed.map(|answer| answer.body)
    }

    /// Deletes a link. False: there was none.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<bool> {
        self.stubborn(|may_be_done| {
            let (status, body, _) = self.send(Method::DELETE, path, None, None)?;
            match understand::<Value>(&self.base, status, &body) {
                // After an answer that was lost, it is gone because it was deleted.
                Err(error) if Refused::is(&error, "no-link") => Ok(may_be_done),
                answer => Ok(answer.map(|_| true)?),
            }
        })
    }

    /// Asks until it is answered, for a while. What asks is told whether an earlier try may have
    /// done it.
    fn stubborn<T>(&self, ask: impl Fn(bool) -> Result<T, Failure>) -> anyhow::Result<T> {
        let mut wait = Duration::from_millis(200);
        let mut may_be_done = false;
        for attempt in 1..TRIES {
            match ask(may_be_done) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Later(Setback { error, wished, is_open })) => {
                    may_be_done |= is_open;
                    // At a terminal nobody should wonder; most is over before this is said.
                    if attempt == 4 {
                        eprintln!("{error:#}; trying again for a while");
                    }
                    sleep(wished.unwrap_or(wait).min(LONGEST_WAIT));
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        ask(may_be_done).map_err(|failure| match failure {
            Failure::Later(Setback { error, .. }) | Failure::Final(error) => error,
        })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        field: Option<(&str, &str)>,
    ) -> Result<Answer<T>, Failure> {
        let (status, body, is_replayed) = self.send(method, path, body, field)?;
        Ok(Answer { body: understand(&self.base, status, &body)?, is_replayed })
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        field: Option<(&str, &str)>,
    ) -> Result<(u16, Vec<u8>, bool), Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some((name, value)) = field {
            request = request.header(name, value);
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
            let is_refused = matches!(&error, ureq::Error::Io(error)
                if error.kind() == io::ErrorKind::ConnectionRefused);
            let place = format!("cannot reach {base} (SNIP_URL or --url says where it is)");
            let error = anyhow::Error::from(error).context(place);
            match is_network {
                true => Failure::Later(Setback { error, wished: None, is_open: !is_refused }),
                false => Failure::Final(error),
            }
        })?;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let is_replayed = header("idempotency-replayed").is_some();
        let wished = header("retry-after").and_then(|text| text.parse().ok());
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("{base} broke off its answer"));
            Failure::Later(Setback { error, wished: None, is_open: true })
        })?;
        let is_in_progress = status == 409 && problem_of(&body).0 == "in-progress";
        if matches!(status, 429 | 502 | 503 | 504) || is_in_progress {
            let error = anyhow::anyhow!("{base} answers {status}: {}", problem_of(&body).1);
            let wished = wished.map(Duration::from_secs);
            return Err(Failure::Later(Setback { error, wished, is_open: status != 429 }));
        }
        Ok((status, body, is_replayed))
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
