//! `hello`, the application behind the demo: an ordinary HTTP server that says which of its
//! instances answered. It knows nothing of Seawall, as every application in front of which
//! Seawall is put.

use std::future::IntoFuture;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

mod pages;

/// A small web application that says which of its instances answered.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free port, which is printed.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The name of this instance: letters, digits, `-` and `_`, at most 32.
    #[arg(long, default_value = "hello", value_parser = instance_name)]
    name: String,
}

/// How long a stopping instance waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr().context("a listener without an address")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    // Whoever started this reads the port from the first line, so that it must not be buffered.
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}")
        .and_then(|()| out.flush())
        .context("no standard output")?;

    let (stopping, stop) = tokio::sync::oneshot::channel::<()>();
    // Answers are small: each goes out at once, whatever Nagle would say. A socket that refuses
    // the option still works.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, pages::router(&arguments.name))
        .with_graceful_shutdown(async { drop(stop.await) })
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        outcome = &mut server => return outcome.context("the server ended"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(stopping);
    match tokio::time::timeout(DRAIN, server).await {
        Ok(outcome) => outcome.context("the server ended badly"),
        Err(_) => anyhow::bail!("requests were still in flight after {DRAIN:?}"),
    }
}

/// Names go into HTML, JSON and header fields as they are: nothing in them needs escaping.
fn instance_name(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=32).contains(&text.len()) && text.bytes().all(fine) {
        Ok(text.to_owned())
    } else {
        Err("1 to 32 letters, digits, `-` or `_`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_escaping() {
        for good in ["a", "hello-1", "A_9", &"x".repeat(32)] {
            assert!(instance_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a b", "<b>", "\"", "é", &"x".repeat(33)] {
            assert!(instance_name(bad).is_err(), "{bad:?}");
        }
    }
}
