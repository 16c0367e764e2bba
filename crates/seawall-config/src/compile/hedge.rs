//! Hedges of the plan.

use super::upstream::is_alone;
use crate::config::{HedgeAfter, Route, Upstream};
use crate::plan::Hedge;
use crate::report::Report;
use crate::source::Span;
use crate::units::show_duration;

pub(super) fn compile(
    route: &Route,
    upstream: Option<&Upstream>,
    report: &mut Report,
) -> Option<Hedge> {
    let at = route.hedge.value()?;
    let hedge = at.value.as_ref()?;
    if upstream.is_some_and(is_alone) {
        let message = "there is one server, and no other that a second attempt could go to";
        let help = "take `hedge` away, or add a server to the upstream";
        report.warning(at.span, message, Some(help.to_owned()));
    }
    let after = match hedge.after.value {
        HedgeAfter::P95 => None,
        HedgeAfter::Time(time) => Some(time),
    };
    let whole = route.timeout.value;
    let mut too_late = |span: Span| {
        let message = format!(
            "the second attempt would never begin: the whole exchange has {}",
            show_duration(whole)
        );
        let help = "write a shorter time, or a longer `timeout` of the route";
        report.error(span, message, Some(help.to_owned()));
    };
    let least = &hedge.least;
    if after.is_some_and(|after| after >= whole) {
        too_late(hedge.after.span);
    } else if least.given && least.value >= whole {
        too_late(least.span);
    } else if let Some(after) = after
        && least.given
        && least.value > after
    {
        let message = format!("`after` says earlier, after {}", show_duration(after));
        let help = "`least` is for `after = \"p95\"`; take one of the two away";
        report.error(least.span, message, Some(help.to_owned()));
    }
    Some(Hedge { after, least: after.map_or(least.value, |after| least.value.min(after)) })
}
