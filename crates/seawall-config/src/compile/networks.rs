//! Lists of addresses and networks.

use ipnet::IpNet;

use crate::read::{At, Given};
use crate::report::Report;

/// The networks of a list, each once. `everybody` says what is wrong with one that has every
/// address in it, and how to mend it.
pub(super) fn networks(
    given: &Given<Vec<At<IpNet>>>,
    report: &mut Report,
    everybody: impl Fn(&IpNet) -> (String, &'static str),
) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for net in given.items() {
        let whole = net.value.trunc();
        if whole != net.value {
            let message = format!("`{}` has bits set beyond its prefix", net.value);
            let help = format!(
                "it is taken as \"{whole}\"; write that, or \"{}\" for one address",
                net.value.addr()
            );
            report.warning(net.span, message, Some(help));
        }
        if whole.prefix_len() == 0 {
            let (message, help) = everybody(&whole);
            report.warning(net.span, message, Some(help.to_owned()));
        }
        if !networks.contains(&whole) {
            networks.push(whole);
        }
    }
    networks
}
