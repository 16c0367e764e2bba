//! The admin API of a running process, as the command line asks it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use seawall_config::plan::Secret;
use serde_json::Value;

use crate::source::{DEFAULT_FILE, Source};

/// Which process is asked.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Where its admin API listens [default: what the configuration says]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Its configuration, for where the API is and its token [default: seawall.toml, if there is one]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What goes below the help of commands that ask a running process.
pub(crate) const TOKEN_HELP: &str = "\
The token of the admin API is taken from SEAWALL_ADMIN_TOKEN, or from the configuration.";

/// The admin API of a running process.
#[derive(Debug)]
pub(crate) struct Api {
    address: String,
    token: Option<Secret>,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// How long the API may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer, in bytes.
const LARGEST: u64 = 64 << 20;

impl Api {
    /// The one that the arguments, the configuration and the environment name.
    pub(crate) fn of(node: &NodeArgs) -> anyhow::Result<Api> {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
        let named = node.config.clone();
        let file = named.or_else(|| default().filter(|_| node.admin.is_none()));
        let server = match file {
            None => None,
            Some(file) => match (Source::File { file: file.clone(), watch: false }).load() {
                Ok(loaded) => Some((file, loaded.plan.server)),
                Err(error) => bail!("{}", error.render(false).trim_end()),
            },
        };
        let address = match (&node.admin, &server) {
            (Some(address), _) => address.clone(),
            (None, None) => bail!("say where the admin API listens: --admin 127.0.0.1:9900"),
            (None, Some((file, server))) => {
                let address = server.admin.with_context(|| {
                    format!(
                        "{} has no admin API; add [server] admin = \"127.0.0.1:9900\"",
                        file.display()
                    )
                })?;
                reachable(address).to_string()
            }
        };
        let given = std::env::var("SEAWALL_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
        let configured = || server.and_then(|(_, server)| server.admin_token);
        let token = given.map(Secret::new).or_else(configured);
        // It goes into a field as it is.
        if token.as_ref().is_some_and(|token| !token.reveal().bytes().all(|b| b.is_ascii_graphic()))
        {
            bail!("the token of the admin API has characters other than visible ASCII");
        }
        Ok(Api { address, token })
    }

    /// Asks it. An answer that is no success is an error with all that it says.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &Value) -> anyhow::Result<Answer> {
        let answer = self
            .exchange(method, target, body)
            .with_context(|| format!("the admin API at {} does not answer", self.address))?;
        match answer.status {
            200..=299 => Ok(answer),
            404 if answer.body == Value::Null => {
                bail!("what listens at {} is no admin API that knows {target}", self.address)
            }
            401 => bail!("the token is missing or wrong; set SEAWALL_ADMIN_TOKEN"),
            status => bail!("{}", told(status, &answer.body)),
        }
    }

    fn exchange(&self, method: &str, target: &str, body: &Value) -> anyhow::Result<Answer> {
        let mut addresses = self.address.to_socket_addrs()?;
        let address = addresses.next().context("its name has no address")?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let token = match &self.token {
            Some(token) => format!("authorization: Bearer {}\r\n", token.reveal()),
            None => String::new(),
        };
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{token}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        // A body that is refused for its size may not be taken to its end; the answer is there.
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        let mut answer = Vec::new();
        let read = stream.take(LARGEST).read_to_end(&mut answer);
        if answer.is_empty() {
            sent?;
            read?;
        }
        parsed(&answer).context("what it says is not HTTP")
    }
}

/// Where a listener of this machine is reached.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// An answer whose length is given, or that ends with the connection.
fn parsed(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    for (name, value) in fields {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == "content-length" && value.parse() != Ok(body.len()) {
            return None;
        }
        if name == "transfer-encoding" {
            return None;
        }
    }
    Some(Answer { status, body: serde_json::from_slice(body).unwrap_or(Value::Null) })
}

/// What a refusal says (RFC 9457), with everything that is wrong.
fn told(status: u16, body: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let detail = text(&body["detail"]).or_else(|| text(&body["status"]));
    let mut out = detail.unwrap_or_else(|| format!("it was answered {status}"));
    let problems = body["problems"].as_array().map_or(&[][..], Vec::as_slice);
    for problem in problems {
        if let Some(message) = text(&problem["message"]).filter(|message| *message != out) {
            out.push_str(&format!("\n  {message}"));
        }
    }
    let help = text(&body["help"]).or_else(|| text(&problems.first()?["help"]));
    if let Some(help) = help {
        out.push_str(&format!("\n  = help: {help}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        for (answer, expect) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some(200)),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Some(404)),
            ("HTTP/1.0 200 OK\r\n\r\nnull", Some(200)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(parsed(answer.as_bytes()).map(|answer| answer.status), expect, "{answer}");
        }
    }

    #[test]
    fn refusals_say_all_that_is_wrong() {
        let body = serde_json::json!({
            "detail": "the purge has 2 mistakes",
            "problems": [{"message": "a", "help": "do x"}, {"message": "b", "help": "do y"}],
        });
        assert_eq!(told(422, &body), "the purge has 2 mistakes\n  a\n  b\n  = help: do x");
        assert_eq!(told(503, &serde_json::json!({"status": "draining"})), "draining");
        assert_eq!(told(500, &Value::Null), "it was answered 500");
        let one = serde_json::json!({"detail": "a", "problems": [{"message": "a", "help": null}]});
        assert_eq!(told(422, &one), "a");
    }
}
