//! Circuit breakers of the plan.

use super::longest;
use crate::config::Upstream;
use crate::plan::Breaker;
use crate::report::Report;

pub(super) fn compile(section: &Upstream, report: &mut Report) -> Option<Breaker> {
    let breaker = section.breaker.value()?.value.as_ref()?;
    if breaker.slow.given && !breaker.slow_after.is_there() {
        let message = "nothing says which answers are slow";
        let help = "add for example `slow-after = \"1s\"`, or take `slow` away";
        report.error(breaker.slow.span, message, Some(help.to_owned()));
    }
    Some(Breaker {
        window: breaker.window.value,
        minimum: super::small(breaker.minimum.value),
        failures: breaker.failures.value,
        slow: breaker.slow.value,
        slow_after: breaker.slow_after.value().map(|at| at.value),
        open: breaker.open.value,
        longest: longest("open", &breaker.open, &breaker.longest, report),
        probes: super::small(breaker.probes.value),
        probe_timeout: breaker.probe_timeout.value,
        step: breaker.step.value,
    })
}
