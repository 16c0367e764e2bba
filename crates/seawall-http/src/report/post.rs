//! One batch to one server: a connection of its own, one request, and the head of the answer. Has no
//! opinion on what follows from that; `deliver.rs` has, which calls it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use seawall_h1::{Method, ResponseHead};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use super::Order;
use super::waiting::Batch;
use crate::upstream::answer::{Answer, Failure, authority, plain};
use crate::upstream::health::tcp;

/// What became of it.
#[derive(Debug)]
pub(super) enum Posted {
    /// The application has taken it.
    Taken,
    /// It has refused it, with this status, and would again.
    Refused(u16),
    /// It is not known to have taken it: why, and how long it asks to be left alone.
    Failed(String, Option<Duration>),
}

/// Posts a batch under its number, until `deadline`. When dropped meanwhile, the connection is
/// closed.
pub(super) async fn post(
    order: &Order,
    server: SocketAddr,
    batch: &Batch,
    number: &str,
    deadline: Instant,
) -> Posted {
    let failed = |why: &str| Posted::Failed(why.to_owned(), None);
    let connecting = deadline.min(Instant::now() + order.connect_timeout);
    let mut stream = match timeout_at(connecting, tcp::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return failed(&plain(&error)),
        Err(_) => return failed("no connection in time"),
    };
    let head = head(order, server, batch, number);
    let (read, mut write) = stream.split();
    let asked = async {
        let mut answer = Answer::new(read, order.limits);
        let written = async {
            write.write_all(head.as_bytes()).await?;
            for piece in &batch.pieces {
                write.write_all(&piece.text).await?;
            }
            write.flush().await
        };
        // It may answer before it has read everything, and then close.
        tokio::select! {
            biased;
            read = answer.read_head(Method::Post) => read?,
            _ = written => answer.read_head(Method::Post).await?,
        }
        Ok::<_, Failure>(answer.head)
    };
    match timeout_at(deadline, asked).await {
        Ok(Ok(head)) => judge(&head),
        Ok(Err(failure)) => failed(&failure.to_string()),
        Err(_) => failed("no answer in time"),
    }
}

fn head(order: &Order, server: SocketAddr, batch: &Batch, number: &str) -> String {
    let path = &order.to.path;
    let host = order.to.host.as_deref().map_or_else(|| authority(server), str::to_owned);
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: seawall-report\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\nSeawall-Batch: {number}\r\n",
        batch.bytes
    );
    if let Some(authorization) = &order.to.authorization {
        // Writing to a string cannot fail.
        let _ = write!(head, "Authorization: {}\r\n", authorization.reveal());
    }
    head + "Connection: close\r\n\r\n"
}

/// What the head of an answer says. Of the client errors those are no refusals that pass by
/// themselves: 408, 425 and 429.
fn judge(head: &ResponseHead) -> Posted {
    match head.status {
        200..=299 => Posted::Taken,
        408 | 425 | 429 => Posted::Failed(format!("status {}", head.status), after(head)),
        400..=499 => Posted::Refused(head.status),
        status => Posted::Failed(format!("status {status}"), after(head)),
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). A date is not looked at.
fn after(head: &ResponseHead) -> Option<Duration> {
    let value = str::from_utf8(head.headers.first(b"retry-after")?).ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_refused_or_neither() {
        let judged = |status| {
            let mut head = ResponseHead::default();
            head.begin(status);
            head.headers.push(b"Retry-After", b"7");
            format!("{:?}", judge(&head))
        };
        for status in [200, 202, 204] {
            assert_eq!(judged(status), "Taken");
        }
        for status in [400, 401, 404, 413, 422] {
            assert_eq!(judged(status), format!("Refused({status})"));
        }
        for status in [301, 408, 429, 500, 503] {
            assert_eq!(judged(status), format!("Failed(\"status {status}\", Some(7s))"));
        }
    }
}
