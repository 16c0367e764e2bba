//! One check of one server, from opening a connection to what is found. Never takes longer than its
//! timeout, never reads more than its limits, and has no opinion on what follows from it: that is
//! for `rounds.rs`, which calls it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use seawall_config::plan::{HealthCheck, Probe, ProxyProtocol};
use seawall_core::proxy_protocol;
use seawall_h1::HeadLimits;
use seawall_telemetry::metrics::CheckOutcome;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use super::report::{DeepHealth, cut};
use super::{grpc, http, tcp};
use crate::tcp::version_of;
use crate::upstream::answer::plain;

/// Who is asked, and what.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The server; where it is asked is [`target`].
    pub(super) server: SocketAddr,
    pub(super) check: Arc<HealthCheck>,
    /// Limits on the head of an answer.
    pub(super) limits: HeadLimits,
    /// The header that the server expects at the beginning of a connection.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
}

/// What a check has found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) outcome: CheckOutcome,
    /// Whether a connection could be opened.
    pub(super) connected: bool,
    /// In a few words; short and on one line.
    pub(super) reason: Box<str>,
    pub(super) parts: Option<DeepHealth>,
}

impl Finding {
    pub(super) fn good(reason: &str) -> Finding {
        Finding::of(CheckOutcome::Good, reason)
    }

    /// An answer that is not as it is to be.
    pub(super) fn bad(reason: &str) -> Finding {
        Finding::of(CheckOutcome::Answer, reason)
    }

    fn of(outcome: CheckOutcome, reason: &str) -> Finding {
        Finding { outcome, connected: true, reason: cut(reason), parts: None }
    }

    fn timed_out(patience: Duration, connected: bool) -> Finding {
        let reason = format!("timed out after {patience:?}");
        Finding { connected, ..Finding::of(CheckOutcome::Timeout, &reason) }
    }
}

/// Where the server is asked.
pub(super) fn target(server: SocketAddr, check: &HealthCheck) -> SocketAddr {
    let mut target = server;
    target.set_port(check.port.unwrap_or(server.port()));
    target
}

/// Asks. When dropped meanwhile, the connection is closed.
pub(super) async fn ask(question: Question) -> Finding {
    let Question { server, check, limits, proxy_protocol } = question;
    let target = target(server, &check);
    let deadline = Instant::now() + check.timeout;
    let mut stream = match timeout_at(deadline, tcp::connect(target)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let outcome = match tcp::is_ours(&error) {
                true => CheckOutcome::Skipped,
                false => CheckOutcome::Connect,
            };
            let found = Finding::of(outcome, &plain(&error));
            return Finding { connected: false, ..found };
        }
        Err(_) => return Finding::timed_out(check.timeout, false),
    };
    let asked = async {
        // Another port is another service, and nothing is known of what that expects.
        if let (Some(version), None) = (proxy_protocol, check.port) {
            let mut header = Vec::new();
            proxy_protocol::encode(version_of(version), None, &mut header);
            if let Err(error) = stream.write_all(&header).await {
                return Finding::bad(&plain(&error));
            }
        }
        match &check.probe {
            Probe::Tcp => Finding::good("connected"),
            Probe::Http { path, method, host, status, body } => {
                let wanted = http::Wanted { status, text: body.as_deref() };
                let request = http::request(method, path, host.as_deref(), target);
                http::ask(stream, &request, method, wanted, limits, deadline).await
            }
            Probe::Grpc { service } => grpc::ask(stream, target, service, check.timeout).await,
        }
    };
    match timeout_at(deadline, asked).await {
        Ok(finding) => finding,
        Err(_) => Finding::timed_out(check.timeout, true),
    }
}
