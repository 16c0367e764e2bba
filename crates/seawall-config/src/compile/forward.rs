//! Forwarding routes of the plan: to an upstream that there is, and only keys that go with it.

use super::route::Compiler;
use super::{hedge, retry};
use crate::config::Route;
use crate::path::is_within;
use crate::plan::{Forward, PathPattern};
use crate::read::{At, Given};
use crate::source::{Span, quoted};
use crate::text::Text;

impl Compiler<'_, '_> {
    pub(super) fn forward(&mut self, route: &Route, to: &At<Text>) -> Option<Forward> {
        let upstream = self.upstreams.find("to", to, self.report);
        self.check_strip(route);
        let retry = retry::compile(route, self.report);
        let section = upstream.and_then(|index| self.sections.get(index)?.section.as_ref());
        let hedge = hedge::compile(route, section, self.report);
        let fallback = self.fallback(&route.fallback, upstream);
        let cache = self.cache(route, upstream);
        Some(Forward {
            upstream: upstream?,
            timeout: route.timeout.value,
            retry,
            hedge,
            fallback,
            strip_prefix: route.strip_prefix.value().map(|at| at.value.clone()),
            add_prefix: route.add_prefix.value().map(|at| at.value.clone()),
            cache,
        })
    }

    fn check_strip(&mut self, route: &Route) {
        let Some(strip) = route.strip_prefix.value() else { return };
        let ensured = match &route.path {
            Given::Unreadable => return,
            Given::Absent => false,
            Given::Value(at) => match &at.value {
                PathPattern::Exact(path) | PathPattern::Prefix(path) => {
                    is_within(path, &strip.value)
                }
                PathPattern::Any => false,
            },
        };
        if !ensured {
            let message =
                format!("not every path of this route begins with {}", quoted(&strip.value));
            let help = format!("set `path = \"{}/*\"`, or take `strip-prefix` away", strip.value);
            self.report.error(strip.span, message, Some(help));
        }
    }

    /// Reports keys that mean something only when the request is forwarded.
    pub(super) fn check_forward_only(&mut self, route: &At<Route>) {
        let answers = route.redirect.is_there() || route.respond.is_there();
        if !answers || route.to.is_there() {
            return;
        }
        let mut refuse = |key: &str, span: Span| {
            let message = format!("`{key}` needs `to`: nothing is forwarded here");
            self.report.error(span, message, Some(format!("take `{key}` away")));
        };
        if let Some(at) = route.strip_prefix.value() {
            refuse("strip-prefix", at.span);
        }
        if let Some(at) = route.add_prefix.value() {
            refuse("add-prefix", at.span);
        }
        if route.timeout.given {
            refuse("timeout", route.timeout.span);
        }
        if let Some(at) = route.retry.value() {
            refuse("retry", at.span);
        }
        if let Some(at) = route.hedge.value() {
            refuse("hedge", at.span);
        }
        if let Some(at) = route.fallback.value() {
            refuse("fallback", at.span);
        }
        if let Some(at) = route.cache.value() {
            refuse("cache", at.span);
        }
        let request = &route.headers.request;
        if request.remove.is_there() || request.set.is_there() || request.add.is_there() {
            refuse("headers.request", request.span);
        }
    }
}
