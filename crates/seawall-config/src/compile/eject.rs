//! Passive ejection of the plan.

use super::longest;
use crate::config::Upstream;
use crate::plan::{Eject, ServerAddress};
use crate::report::Report;

pub(super) fn compile(section: &Upstream, report: &mut Report) -> Option<Eject> {
    let at = section.eject.value()?;
    let eject = at.value.as_ref()?;
    let alone = match section.servers.items() {
        [server] => matches!(server.value.address.value, ServerAddress::Socket(_)),
        _ => false,
    };
    if alone && !section.servers_file.is_there() {
        let message = "there is one server, and the last one is never ejected";
        let help = "take `eject` away, add a server, or use a `breaker`, which also holds for one";
        report.warning(at.span, message, Some(help.to_owned()));
    }
    Some(Eject {
        errors: super::small(eject.errors.value),
        outliers: eject.outliers.value,
        base: eject.base.value,
        longest: longest("for", &eject.base, &eject.longest, report),
        at_most: eject.at_most.value,
    })
}
