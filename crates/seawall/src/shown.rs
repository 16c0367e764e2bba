//! What the door tells of its upstreams, as the admin API shows it.

use std::time::Duration;

use seawall_admin::view;
use seawall_http::door::status::{
    BreakerState, BreakerStatus, BudgetStatus, CheckReport, DeepCheck, DeepHealth, DepartedStatus,
    NameStatus, Origin, ServerStatus, Standing, UpstreamStatus,
};

use crate::lists::List;

/// An upstream with the state of its file.
pub(crate) fn upstream(status: UpstreamStatus, file: Option<&List>) -> view::Upstream {
    view::Upstream {
        name: status.name.to_string(),
        balance: status.balance.word(),
        source: match status.origin {
            Origin::Config => "config",
            Origin::File => "file",
            Origin::ConfigAndFile => "config+file",
            Origin::Api => "api",
        },
        stranded: status.stranded,
        servers: status.servers.into_iter().map(server).collect(),
        departed: status.departed.into_iter().map(departed).collect(),
        names: status.names.into_iter().map(name).collect(),
        file: file.map(self::file),
        in_flight: status.in_flight,
        queue: view::Queue { waiting: status.waiting },
        breaker: status.breaker.map(breaker),
        retry: status.budgets.into_iter().map(budget).collect(),
    }
}

/// A server.
pub(crate) fn server(status: ServerStatus) -> view::Server {
    let by_order = matches!(status.standing, Standing::Draining | Standing::Disabled);
    view::Server {
        address: status.address,
        state: status.standing.word(),
        why: status.why,
        since_seconds: seconds(status.since),
        drained: by_order.then_some(status.in_flight == 0),
        weight: status.weight,
        zone: status.zone.map(|zone| zone.to_string()),
        priority: status.priority,
        in_flight: status.in_flight,
        connections: status.connections,
        latency_ms: status.latency_ms,
        ejections: status.ejections,
        check: status.check.map(check),
        seconds_left: status.unreachable_for.map(seconds),
    }
}

fn departed(status: DepartedStatus) -> view::Departed {
    view::Departed {
        address: status.address,
        in_flight: status.in_flight,
        since_seconds: seconds(Duration::from_millis(status.for_millis)),
    }
}

fn name(status: NameStatus) -> view::Name {
    view::Name {
        name: status.name,
        addresses: status.addresses,
        problem: status.trouble.map(|trouble| trouble.to_string()),
    }
}

fn file(list: &List) -> view::File {
    view::File {
        path: list.path.display().to_string(),
        problem: list.trouble.clone(),
        failures: list.failures,
    }
}

fn breaker(status: BreakerStatus) -> view::Breaker {
    let (state, share) = match status.state {
        BreakerState::Closed => ("closed", None),
        BreakerState::Open => ("open", None),
        BreakerState::HalfOpen => ("half-open", None),
        BreakerState::Recovering(share) => ("recovering", Some(f64::from(share) / 1000.0)),
    };
    view::Breaker { state, share, why: status.why, until_seconds: status.until.map(seconds) }
}

fn budget(status: BudgetStatus) -> view::Budget {
    view::Budget { route: status.route.to_string(), balance: status.balance }
}

fn check(report: CheckReport) -> view::Check {
    let last = report.last;
    let deep = |deep: DeepHealth| view::Deep {
        status: deep.status.into(),
        checks: deep.checks.into_iter().map(part).collect(),
    };
    view::Check {
        good: report.good,
        decided: report.decided,
        found: last.reason.into(),
        in_a_row: report.streak,
        seconds_ago: seconds(last.at.elapsed().unwrap_or_default()),
        took_seconds: seconds(last.took),
        deep: last.parts.map(deep),
    }
}

fn part(part: DeepCheck) -> (String, view::DeepCheck) {
    let observed = part.observed.map(String::from);
    (part.name.into(), view::DeepCheck { status: part.status.into(), observed })
}

/// To a thousandth: what is behind it means nothing.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
