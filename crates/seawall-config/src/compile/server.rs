//! `[server]` of the plan.

use std::num::NonZeroUsize;

use super::networks::networks;
use crate::config::Server;
use crate::plan;
use crate::report::Report;

pub(super) fn compile(server: &Server, report: &mut Report) -> plan::Server {
    let trust = networks(&server.trust, report, |whole| {
        let help = "any client can then pretend to have any address; list your own proxies";
        (format!("`{whole}` trusts everybody"), help)
    });
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
