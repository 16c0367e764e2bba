//! Requests in flight and in line, of the plan.

use super::{number, small};
use crate::config::Upstream;
use crate::plan::{MaxInFlight, Queue};
use crate::report::Report;

pub(super) fn max_in_flight(section: &Upstream, report: &mut Report) -> MaxInFlight {
    let Some(at) = section.max_in_flight.value() else { return MaxInFlight::default() };
    let (server, total) = (at.value.server.value(), at.value.total.value());
    if !at.value.server.is_there() && !at.value.total.is_there() {
        let help = "add `server`, `total` or both, or take `max-in-flight` away";
        report.error(at.span, "this limits nothing", Some(help.to_owned()));
    }
    if let (Some(server), Some(total)) = (server, total)
        && server.value > total.value
    {
        let message = "a server can never have more requests than all together";
        let help = format!("lower it below `total`, which is {}", total.value);
        report.warning(server.span, message, Some(help));
    }
    let connections = &section.limits.connections;
    if let Some(server) = server
        && server.value > connections.value
    {
        let message = "a server can never have more requests than connections";
        let help = format!(
            "lower it below `limits.connections`, which is {}, or raise that",
            connections.value
        );
        report.warning(server.span, message, Some(help));
    }
    MaxInFlight { server: server.map(|at| small(at.value)), total: total.map(|at| small(at.value)) }
}

pub(super) fn queue(section: &Upstream, report: &mut Report) -> Queue {
    let limited = section.max_in_flight.is_there();
    match section.queue.value() {
        Some(at) => {
            if !limited {
                let message = "nobody ever waits here: nothing limits the requests in flight";
                let help = "add for example `max-in-flight = 100`, or take `queue` away";
                report.error(at.span, message, Some(help.to_owned()));
            }
            Queue { size: number(at.value.size.value), wait: at.value.wait.value }
        }
        None if limited => Queue { size: SIZE, ..Queue::default() },
        None => Queue::default(),
    }
}

/// Requests that wait when `max-in-flight` is given without `queue`.
const SIZE: usize = 100;
