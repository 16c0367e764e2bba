//! Retries of the plan.

use super::{number, small};
use crate::config::{RetryEntry, RetryOn, Route};
use crate::plan::Retry;
use crate::read::At;
use crate::report::Report;
use crate::units::show_duration;

pub(super) fn compile(route: &Route, report: &mut Report) -> Retry {
    let Some(at) = route.retry.value() else { return Retry::default() };
    let retry = &at.value;
    check_use(retry, report);
    let attempt_timeout = retry.attempt_timeout.value();
    if let Some(at) = attempt_timeout
        && at.value >= route.timeout.value
    {
        let whole = show_duration(route.timeout.value);
        let message = format!("one attempt has no more time than all of them, which have {whole}");
        let help = "write a shorter `attempt-timeout`, or a longer `timeout` of the route";
        report.error(at.span, message, Some(help.to_owned()));
    }
    let (unanswered, statuses) = match retry.on.is_there() {
        true => on(retry.on.items(), report),
        false => (true, vec![502, 503, 504]),
    };
    Retry {
        attempts: small(retry.attempts.value),
        unanswered,
        statuses,
        budget: retry.budget.value,
        floor: retry.floor.value,
        backoff: retry.backoff.value,
        body: number(retry.body.value),
        attempt_timeout: attempt_timeout.map(|at| at.value),
    }
}

fn on(items: &[At<RetryOn>], report: &mut Report) -> (bool, Vec<u16>) {
    let (mut unanswered, mut statuses) = (false, Vec::new());
    for at in items {
        let twice = match at.value {
            RetryOn::Unanswered => std::mem::replace(&mut unanswered, true),
            RetryOn::Status(status) if statuses.contains(&status) => true,
            RetryOn::Status(status) => {
                statuses.push(status);
                false
            }
        };
        if twice {
            let help = "take one of them away".to_owned();
            report.warning(at.span, "this is there twice", Some(help));
        }
    }
    (unanswered, statuses)
}

/// Warns of settings of retries that are never made.
fn check_use(retry: &RetryEntry, report: &mut Report) {
    let spent = retry.budget.value == 0 && retry.floor.value == 0;
    if spent && retry.attempts.given && retry.attempts.value > 1 {
        let message = "nothing is ever tried again: the budget is empty";
        let help = "give `budget` or `floor` something, or write `attempts = 1`";
        report.warning(retry.attempts.span, message, Some(help.to_owned()));
    }
    if retry.attempts.value > 1 {
        return;
    }
    let unused = [
        ("on", retry.on.value().map(|at| at.span)),
        ("backoff", retry.backoff.given.then_some(retry.backoff.span)),
    ];
    for (key, span) in unused {
        if let Some(span) = span {
            let message = format!("`{key}` means nothing with one attempt");
            let help = format!("write a larger `attempts`, or take `{key}` away");
            report.warning(span, message, Some(help));
        }
    }
}
