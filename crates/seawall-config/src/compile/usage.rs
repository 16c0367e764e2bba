//! Who uses which upstream, HTTP or TCP, and what does not go with that.

use super::names::Upstreams;
use crate::config::{Config, Route, Upstream};
use crate::plan::HashKey;
use crate::read::{At, Given};
use crate::report::Report;
use crate::source::Span;
use crate::text::Text;

/// Warns of upstreams that nothing uses, and reports what their users make of no sense.
pub(super) fn check(config: &Config, report: &mut Report) {
    check_caches(config, report);
    let usage = Usage::of(config);
    for (named, users) in config.upstream.iter().zip(&usage.users) {
        let name = &named.name.value;
        if usage.certain && users.http.is_none() && users.tcp.is_none() {
            let message = format!("nothing uses the upstream `{name}`");
            let help = format!("add `to = \"{name}\"` to a route, or take the upstream away");
            report.warning(named.name.span, message, Some(help));
        }
        let Some(section) = &named.section else { continue };
        if let (Some(at), Some(user)) = (section.proxy_protocol.value(), users.http) {
            let message =
                format!("line {} sends HTTP requests to this upstream", report.line(user));
            let help = "a connection carries requests of many clients, so that its PROXY header \
                        would be wrong; servers are told in `Forwarded` and `X-Forwarded-For`. \
                        Make another upstream for `tcp`";
            report.error(at.span, message, Some(help.to_owned()));
        }
        if usage.certain && users.http.is_none() && users.tcp.is_some() {
            tcp_only(section, report);
        }
    }
}

/// Warns of what is there for caches alone when no route has one.
fn check_caches(config: &Config, report: &mut Report) {
    let caches = |route: &Option<At<Route>>| match route {
        Some(route) => route.cache.is_there(),
        None => true,
    };
    if !config.route.complete || config.route.iter().any(caches) {
        return;
    }
    let help =
        "add for example `cache = { ttl = \"60s\" }` to a route with `to`, or take this away";
    if config.cache.given {
        let message = "nothing is ever stored: no route has `cache`";
        report.warning(config.cache.span, message, Some(help.to_owned()));
    }
    if config.state.redis.is_there() {
        let message = "nothing is shared: no route has `cache`";
        report.warning(config.state.span, message, Some(help.to_owned()));
    }
}

/// Who uses an upstream: where the first of them says so.
#[derive(Clone, Copy, Default)]
struct Users {
    http: Option<Span>,
    tcp: Option<Span>,
}

struct Usage {
    users: Vec<Users>,
    /// Whether every name could be read and resolved: another may be meant for any of them.
    certain: bool,
}

impl Usage {
    fn of(config: &Config) -> Usage {
        let names = Upstreams::new(&config.upstream);
        let mut usage =
            Usage { users: vec![Users::default(); config.upstream.len()], certain: true };
        for named in config.listen.iter() {
            match &named.section {
                Some(section) => usage.add(&section.tcp, &names, |users| &mut users.tcp),
                None => usage.certain = false,
            }
        }
        for route in config.route.iter() {
            let Some(route) = route else {
                usage.certain = false;
                continue;
            };
            usage.add(&route.to, &names, |users| &mut users.http);
            usage.certain &= !matches!(route.fallback, Given::Unreadable);
            usage.certain &= !matches!(route.cache, Given::Unreadable);
            usage.certain &= !matches!(route.report, Given::Unreadable);
            if let Some(report) = route.report.value() {
                usage.add(&report.to, &names, |users| &mut users.http);
            }
            if let Some(cache) = route.cache.value() {
                usage.add(&cache.parent, &names, |users| &mut users.http);
            }
            for entry in route.fallback.items() {
                usage.add(&entry.to, &names, |users| &mut users.http);
            }
        }
        usage.certain &= config.listen.complete && config.route.complete;
        usage
    }

    fn add(
        &mut self,
        to: &Given<Text>,
        names: &Upstreams<'_>,
        user: fn(&mut Users) -> &mut Option<Span>,
    ) {
        let found = match to {
            Given::Absent => return,
            Given::Unreadable => None,
            Given::Value(to) => names.position(&to.value.value).map(|index| (index, to.span)),
        };
        match found.and_then(|(index, span)| Some((self.users.get_mut(index)?, span))) {
            Some((users, span)) => {
                user(users).get_or_insert(span);
            }
            None => self.certain = false,
        }
    }
}

/// Reports what means nothing where no HTTP is spoken.
fn tcp_only(section: &Upstream, report: &mut Report) {
    let mut refuse = |span: Span, message: &str, help: &str| {
        report.error(span, message, Some(help.to_owned()));
    };
    if let Some(at) = section.sticky.value() {
        let help = "only listeners with `tcp` use this upstream; `balance = \"ip-hash\"` keeps \
                    clients on their servers";
        refuse(at.span, "a TCP connection has no cookies", help);
    }
    if let Some(at) = section.hash.value()
        && at.value.by.value != HashKey::ClientIp
    {
        let help = "only listeners with `tcp` use this upstream; hash by \"ip\"";
        refuse(at.value.by.span, "a TCP connection has nothing like this to hash by", help);
    }
    let (keepalive, limits) = (&section.keepalive, &section.limits);
    let unused = [
        ("keepalive", keepalive.given, keepalive.span),
        ("idle-timeout", section.idle_timeout.given, section.idle_timeout.span),
        ("limits.head", limits.head.given, limits.head.span),
        ("limits.headers", limits.headers.given, limits.headers.span),
    ];
    for (key, _, span) in unused.into_iter().filter(|(_, given, _)| *given) {
        let message =
            format!("`{key}` is about HTTP, and only listeners with `tcp` use this upstream");
        let help = match key {
            "idle-timeout" => "set `timeouts.tunnel` of the listener, and take this away",
            _ => "take it away",
        };
        report.warning(span, message, Some(help.to_owned()));
    }
}
