//! Passive ejection of the plan.

use super::upstream::is_alone;
use super::{longest, small};
use crate::config::{EjectEntry, ServerEntry, Upstream};
use crate::plan::{Eject, ServerAddress};
use crate::read::At;
use crate::report::Report;
use crate::units::show_percent;

pub(super) fn compile(section: &Upstream, report: &mut Report) -> Option<Eject> {
    let at = section.eject.value()?;
    let eject = at.value.as_ref()?;
    if is_alone(section) {
        let message = "there is one server, and the last one is never ejected";
        let help = "take `eject` away, add a server, or use a `breaker`, which also holds for one";
        report.warning(at.span, message, Some(help.to_owned()));
    }
    check_share(section, eject, report);
    Some(Eject {
        errors: small(eject.errors.value),
        outliers: eject.outliers.value,
        base: eject.base.value,
        longest: longest("for", &eject.base, &eject.longest, report),
        at_most: eject.at_most.value,
    })
}

/// Warns of a share that is less than one of the servers, where their number is known.
fn check_share(section: &Upstream, eject: &EjectEntry, report: &mut Report) {
    let servers = section.servers.items();
    let is_known =
        |server: &At<ServerEntry>| matches!(server.value.address.value, ServerAddress::Socket(_));
    if section.servers_file.is_there() || servers.len() < 2 || !servers.iter().all(is_known) {
        return;
    }
    let at_most = u64::from(eject.at_most.value) * servers.len() as u64 / 1_000;
    if at_most == 0 {
        let message = format!(
            "{} of {} servers is less than one",
            show_percent(eject.at_most.value),
            servers.len()
        );
        let one = 1_000u32.div_ceil(small(servers.len() as u64)).div_ceil(10) * 10;
        let help = format!("no server is ever ejected; write at least \"{}\"", show_percent(one));
        report.warning(eject.at_most.span, message, Some(help));
    }
}
