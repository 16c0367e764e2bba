//! `[server]` of the plan.

use std::num::NonZeroUsize;

use crate::config::Server;
use crate::plan;
use crate::report::Report;

pub(super) fn compile(server: &Server, report: &mut Report) -> plan::Server {
    let mut trust = Vec::new();
    for net in server.trust.items() {
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
            let message = format!("`{whole}` trusts everybody");
            let help = "any client can then pretend to have any address; list your own proxies";
            report.warning(net.span, message, Some(help.to_owned()));
        }
        if !trust.contains(&whole) {
            trust.push(whole);
        }
    }
    if let Some(admin) = server.admin.value.0
        && !admin.ip().to_canonical().is_loopback()
        && !server.admin_token.is_there()
    {
        let message = format!("the admin API would be open to whoever reaches `{admin}`");
        let help = format!(
            "bind it to \"127.0.0.1:{}\", or set `admin-token = \"${{SEAWALL_ADMIN_TOKEN}}\"`",
            admin.port()
        );
        report.missing(server.admin.span, message, Some(help));
    }
    let workers = server.workers.value().map(|at| at.value);
    plan::Server {
        workers: workers.and_then(|n| NonZeroUsize::new(super::number(n))),
        admin: server.admin.value.0,
        admin_token: server.admin_token.value().map(|at| at.value.clone()),
        drain: server.drain.value,
        access_log: server.access_log.value.0.clone(),
        trust,
        resolver: server.resolver.value().map(|at| at.value),
        zone: server.zone.value().map(|at| at.value.as_str().into()),
    }
}
