//! A gRPC check: `grpc.health.v1.Health/Check` on an HTTP/2 connection of its own, without TLS and
//! without asking first (prior knowledge). The two messages have one field each that matters, so
//! they are written and read here. Called by `probe.rs`, which bounds the time.
//!
//! The protocol: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>, framing in
//! `PROTOCOL-HTTP2.md` beside it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::net::TcpStream;

use super::probe::Finding;
use super::report::cut;
use crate::upstream::answer::{authority, plain};

/// Bytes of an answer that are read; a `HealthCheckResponse` has two.
const MAX_ANSWER: usize = 4096;

/// Bytes of all header fields of an answer.
const MAX_FIELDS: u32 = 16 * 1024;

/// Asks for `service` and judges the answer.
pub(super) async fn ask(
    stream: TcpStream,
    target: SocketAddr,
    service: &str,
    patience: Duration,
) -> Finding {
    match check(stream, target, service, patience).await {
        Ok(finding) => finding,
        Err(error) => match error.get_io() {
            Some(error) => Finding::bad(&plain(error)),
            None => Finding::bad(&format!("malformed answer: {error}")),
        },
    }
}

async fn check(
    stream: TcpStream,
    target: SocketAddr,
    service: &str,
    patience: Duration,
) -> Result<Finding, h2::Error> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(MAX_FIELDS).initial_window_size(65_535);
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await?;
    let drive = async {
        // Its errors reach the exchange too, which is the one to tell them.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        found = exchange(client, target, service, patience) => found,
        () = drive => Ok(Finding::bad("connection closed")),
    }
}

async fn exchange(
    client: h2::client::SendRequest<Bytes>,
    target: SocketAddr,
    service: &str,
    patience: Duration,
) -> Result<Finding, h2::Error> {
    let uri = format!("http://{}/grpc.health.v1.Health/Check", authority(target));
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .header(USER_AGENT, "seawall-health")
        .header("grpc-timeout", grpc_timeout(patience))
        .body(());
    let Ok(request) = request else {
        debug_assert!(false, "an address makes a good URI");
        return Ok(Finding::bad("the request cannot be written"));
    };
    let (answer, mut body) = client.ready().await?.send_request(request, false)?;
    body.send_data(question(service), true)?;
    let (head, mut content) = answer.await?.into_parts();
    if head.status != StatusCode::OK {
        return Ok(Finding::bad(&format!("status {}", head.status.as_u16())));
    }
    let mut message = BytesMut::new();
    while let Some(data) = content.data().await {
        let data = data?;
        if message.len() + data.len() > MAX_ANSWER {
            return Ok(Finding::bad("malformed answer: it is too long"));
        }
        content.flow_control().release_capacity(data.len())?;
        message.put(data);
    }
    // An answer without content has the status in its head ("Trailers-Only").
    let trailers = match head.headers.contains_key("grpc-status") {
        true => Some(head.headers),
        false => content.trailers().await?,
    };
    Ok(judge(&message, &trailers.unwrap_or_default()))
}

fn judge(message: &[u8], trailers: &HeaderMap) -> Finding {
    let text = |name| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let Some(status) = text("grpc-status") else {
        return Finding::bad("malformed answer: there is no grpc-status");
    };
    if status != "0" {
        let code = code(&status).map_or_else(String::new, |name| format!(" ({name})"));
        let mut reason = format!("grpc-status {}{code}", cut(&status));
        if let Some(message) = text("grpc-message").filter(|message| !message.is_empty()) {
            reason.push_str(": ");
            reason.push_str(&message);
        }
        return Finding::bad(&reason);
    }
    match serving_status(message) {
        Some(1) => Finding::good("SERVING"),
        Some(0) => Finding::bad("grpc health UNKNOWN"),
        Some(2) => Finding::bad("grpc health NOT_SERVING"),
        Some(3) => Finding::bad("grpc health SERVICE_UNKNOWN"),
        Some(other) => Finding::bad(&format!("grpc health {other}")),
        None => Finding::bad("malformed answer: it is no HealthCheckResponse"),
    }
}

/// The codes that a health service is likely to give.
fn code(status: &str) -> Option<&'static str> {
    Some(match status {
        "1" => "CANCELLED",
        "2" => "UNKNOWN",
        "4" => "DEADLINE_EXCEEDED",
        "5" => "NOT_FOUND",
        "7" => "PERMISSION_DENIED",
        "8" => "RESOURCE_EXHAUSTED",
        "12" => "UNIMPLEMENTED",
        "13" => "INTERNAL",
        "14" => "UNAVAILABLE",
        "16" => "UNAUTHENTICATED",
        _ => return None,
    })
}

/// A timeout as gRPC writes it: at most eight digits and a unit.
fn grpc_timeout(patience: Duration) -> String {
    match patience.as_millis() {
        millis if millis < 100_000_000 => format!("{millis}m"),
        _ => format!("{}S", patience.as_secs().min(99_999_999)),
    }
}

/// A `HealthCheckRequest` in its frame: not compressed, the length, and field 1 unless it is empty.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put(message);
    framed.freeze()
}

/// Field 1 of a `HealthCheckResponse` in its frame, which is 0 when it is absent. `None` when that
/// is not what it is.
fn serving_status(framed: &[u8]) -> Option<u64> {
    // The first byte says whether it is compressed, which nobody has asked for.
    let (&[0, a, b, c, d], mut rest) = framed.split_first_chunk()? else { return None };
    if u32::from_be_bytes([a, b, c, d]) as usize != rest.len() {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => {
                varint(&mut rest)?;
            }
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// Takes a base-128 number off the front, of at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for nth in 0..10 {
        let (&byte, left) = rest.split_first()?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << (7 * nth);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;
