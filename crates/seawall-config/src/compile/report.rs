//! Reports of the plan: to an upstream that there is.

use super::route::Compiler;
use crate::config::{ReportEntry, Route};
use crate::plan::Reporting;
use crate::read::{At, Given};

impl Compiler<'_, '_> {
    /// What a route reports; `None` when that was reported as wrong.
    pub(super) fn reporting(&mut self, route: &Route) -> Option<Option<Reporting>> {
        match &route.report {
            Given::Absent => Some(None),
            Given::Unreadable => None,
            Given::Value(at) => self.one_reporting(route, at).map(Some),
        }
    }

    fn one_reporting(&mut self, route: &Route, at: &At<ReportEntry>) -> Option<Reporting> {
        let entry = &at.value;
        let upstream = match (&entry.to, &route.to) {
            (Given::Value(to), _) => self.upstreams.find("to", to, self.report),
            // That it names no upstream is said where it is forwarded.
            (Given::Absent, Given::Value(to)) => self.upstreams.position(&to.value.value),
            (Given::Absent, Given::Absent) => {
                let help = "add `to = \"UPSTREAM\"` to `report`";
                let message = "nobody is told: the route forwards nothing";
                self.report.missing(at.span, message, Some(help.to_owned()));
                None
            }
            (Given::Unreadable, _) | (Given::Absent, Given::Unreadable) => None,
        };
        let broken = matches!(entry.host, Given::Unreadable)
            || matches!(entry.authorization, Given::Unreadable);
        if broken {
            return None;
        }
        Some(Reporting {
            upstream: upstream?,
            path: entry.path.value.clone(),
            host: entry.host.value().map(|at| at.value.clone()),
            authorization: entry.authorization.value().map(|at| at.value.clone()),
            every: entry.every.value,
            timeout: entry.timeout.value,
            buffer: entry.buffer.value,
        })
    }
}
