//! Active checks of the plan: each asks one thing, and only what goes with it.

use crate::config::{HealthEntry, Upstream};
use crate::plan::{HealthCheck, Probe};
use crate::read::At;
use crate::report::Report;
use crate::source::Span;

pub(super) fn compile(section: &Upstream, report: &mut Report) -> Option<HealthCheck> {
    let at = section.health.value()?;
    let health = &at.value;
    let probe = probe(at, report);
    let (every, timeout) = (&health.every, &health.timeout);
    if timeout.given && timeout.value > every.value {
        let message = "a check would take longer than the time to the next one";
        let help = "write a `timeout` that is not longer than `every`, or a longer `every`";
        report.error(timeout.span, message, Some(help.to_owned()));
    }
    Some(HealthCheck {
        probe: probe?,
        every: every.value,
        timeout: timeout.value.min(every.value),
        rise: super::small(health.rise.value),
        fall: super::small(health.fall.value),
        port: health.port.value().and_then(|at| u16::try_from(at.value).ok()),
    })
}

fn probe(at: &At<HealthEntry>, report: &mut Report) -> Option<Probe> {
    let health = &at.value;
    let asked: Vec<&str> = [
        ("path", health.path.is_there()),
        ("tcp", health.tcp.value),
        ("grpc", health.grpc.is_there()),
    ]
    .into_iter()
    .filter_map(|(key, asked)| asked.then_some(key))
    .collect();
    match *asked {
        [] => {
            let message = "this check asks nothing";
            let help = "add `path = \"/healthz\"`, `tcp = true`, or `grpc = \"\"`";
            report.missing(at.span, message, Some(help.to_owned()));
            return None;
        }
        [asked] => http_only(health, asked, report),
        _ => {
            let message = format!("this check has `{}`", asked.join("` and `"));
            let help = "a check asks one thing; keep one of them";
            report.error(at.span, message, Some(help.to_owned()));
            return None;
        }
    }
    if health.tcp.value {
        return Some(Probe::Tcp);
    }
    if let Some(service) = health.grpc.value() {
        return Some(Probe::Grpc { service: service.value.clone() });
    }
    let path = health.path.value()?.value.clone();
    let body = health.body.value();
    if let (Some(body), "HEAD") = (body, health.method.value) {
        let message = "the answer to `HEAD` has no body that this could be in";
        let help = "write `method = \"GET\"`, or take `body` away";
        report.error(body.span, message, Some(help.to_owned()));
    }
    let status = health.status.items().iter().map(|at| at.value).collect();
    Some(Probe::Http {
        path,
        method: health.method.value.into(),
        host: health.host.value().map(|at| at.value.clone()),
        status: if health.status.is_there() { status } else { vec![(200, 399)] },
        body: body.map(|at| at.value.clone()),
    })
}

/// Reports keys that mean something only when `path` is asked for.
fn http_only(health: &HealthEntry, asked: &str, report: &mut Report) {
    if asked == "path" {
        return;
    }
    let mut refuse = |key: &str, span: Span| {
        let message = format!("`{key}` needs `path`: no HTTP request is made here");
        report.error(span, message, Some(format!("take `{key}` away")));
    };
    if health.method.given {
        refuse("method", health.method.span);
    }
    if let Some(at) = health.host.value() {
        refuse("host", at.span);
    }
    if let Some(at) = health.status.value() {
        refuse("status", at.span);
    }
    if let Some(at) = health.body.value() {
        refuse("body", at.span);
    }
}
