//! What takes the place of failed answers, of the plan.

use std::path::Path;

use super::route::Compiler;
use crate::config::FallbackEntry;
use crate::plan::{ErrorMatch, Fallback, Give, Respond};
use crate::read::{At, Given};
use crate::report::Report;
use crate::source::Span;
use crate::text::Text;

impl Compiler<'_, '_> {
    /// The entries of a route that forwards to the upstream at `own`.
    pub(super) fn fallback(
        &mut self,
        given: &Given<Vec<At<FallbackEntry>>>,
        own: Option<usize>,
    ) -> Vec<Fallback> {
        let mut all: Vec<Fallback> = Vec::new();
        for at in given.items() {
            let on = self.fallback_on(&at.value);
            self.check_reach(at.span, &on, &all);
            if let Some(give) = self.give(at, own) {
                all.push(Fallback { on, give });
            }
        }
        all
    }

    fn fallback_on(&mut self, entry: &FallbackEntry) -> Vec<ErrorMatch> {
        if !entry.on.is_there() {
            return vec![ErrorMatch::Class(5)];
        }
        let mut all: Vec<ErrorMatch> = Vec::new();
        for at in entry.on.items() {
            self.check_code(&at.value, at.span);
            if all.contains(&at.value) {
                let help = "take one of them away".to_owned();
                self.report.warning(at.span, "this is there twice", Some(help));
                continue;
            }
            all.push(at.value.clone());
        }
        all
    }

    /// Warns of an entry all of whose failures get a page of an earlier one. Other upstreams may
    /// fail as well, so that what comes after them is reached.
    fn check_reach(&mut self, span: Span, on: &[ErrorMatch], earlier: &[Fallback]) {
        let pages = earlier.iter().filter(|fallback| matches!(fallback.give, Give::Page(_)));
        let caught: Vec<&ErrorMatch> = pages.flat_map(|fallback| &fallback.on).collect();
        let is_caught = |when: &ErrorMatch| self.is_caught(when, &caught);
        if !on.is_empty() && on.iter().all(is_caught) {
            let message =
                "this entry is never reached: pages before it are given for all that it is for";
            let help = "move it up, or take it away";
            self.report.warning(span, message, Some(help.to_owned()));
        }
    }

    fn is_caught(&self, when: &ErrorMatch, caught: &[&ErrorMatch]) -> bool {
        let class = |class: u16| caught.iter().any(|by| **by == ErrorMatch::Class(class as u8));
        let status =
            |status: u16| caught.contains(&&ErrorMatch::Status(status)) || class(status / 100);
        match when {
            ErrorMatch::Class(digit) => class(u16::from(*digit)),
            ErrorMatch::Status(code) => status(*code),
            ErrorMatch::Code(code) => {
                let known = self.around.codes.iter().find(|(known, _)| **known == **code);
                caught.contains(&when)
                    || known.is_some_and(|(_, code)| status(*code))
                    || (class(4) && class(5))
            }
        }
    }

    fn give(&mut self, at: &At<FallbackEntry>, own: Option<usize>) -> Option<Give> {
        let entry = &at.value;
        let there = [
            ("to", entry.to.is_there()),
            ("respond", entry.respond.is_there()),
            ("file", entry.file.is_there()),
        ];
        let chosen: Vec<&str> =
            there.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect();
        match *chosen {
            [] => {
                let help = "add one of `to = \"UPSTREAM\"`, `respond = \"…\"` and `file = \"…\"`";
                let message = "nothing is given instead";
                self.report.error(at.span, message, Some(help.to_owned()));
                return None;
            }
            [chosen] => check_file_only(entry, chosen, self.report),
            _ => {
                let message = format!("this entry has `{}`", chosen.join("` and `"));
                let help = "an entry gives one thing; keep one of them and make other entries for the rest";
                self.report.error(at.span, message, Some(help.to_owned()));
                return None;
            }
        }
        if let Some(to) = entry.to.value() {
            let upstream = self.upstreams.find("to", to, self.report)?;
            if Some(upstream) == own {
                let help = "name another upstream; for more attempts at this one there is `retry`";
                let message = "this is the upstream that failed";
                self.report.error(to.span, message, Some(help.to_owned()));
            }
            return Some(Give::Upstream(upstream));
        }
        if let Some(respond) = entry.respond.value() {
            return self.respond(&respond.value, respond.span, UNAVAILABLE).map(Give::Page);
        }
        let file = entry.file.value()?;
        self.file(file, entry).map(Give::Page)
    }

    fn file(&mut self, file: &At<Text>, entry: &FallbackEntry) -> Option<Respond> {
        let status = u16::try_from(entry.status.value).unwrap_or(u16::MAX);
        if matches!(status, 204 | 205 | 304) {
            let message = format!("an answer with status {status} has no body");
            let help = "choose another status such as 503";
            self.report.error(entry.status.span, message, Some(help.to_owned()));
        }
        let content_type = match &entry.content_type {
            Given::Value(at) => Some(at.value.clone()),
            Given::Unreadable => None,
            Given::Absent => {
                let found = media_type(&file.value.value);
                if found.is_none() {
                    let message =
                        format!("the name of {} does not say what it is", file.value.shown());
                    let help = "add for example `type = \"text/html; charset=utf-8\"`";
                    self.report.error(file.span, message, Some(help.to_owned()));
                }
                found.map(Box::from)
            }
        };
        match self.pages.content(&file.value) {
            Ok(body) => Some(Respond { status, body, content_type: Some(content_type?) }),
            Err((message, help)) => {
                self.report.error(file.span, message, Some(help));
                None
            }
        }
    }
}

/// Reports keys that are about a file where there is none.
fn check_file_only(entry: &FallbackEntry, chosen: &str, report: &mut Report) {
    if chosen == "file" {
        return;
    }
    let mut refuse = |key: &str, span: Span| {
        let help = match chosen {
            "respond" => format!("write `respond = {{ {key} = …, body = \"…\" }}`"),
            _ => format!("take `{key}` away"),
        };
        report.error(span, format!("`{key}` here goes with `file`"), Some(help));
    };
    if entry.status.given {
        refuse("status", entry.status.span);
    }
    if let Some(at) = entry.content_type.value() {
        refuse("type", at.span);
    }
}

/// What the name of a file says about its media type.
fn media_type(path: &str) -> Option<&'static str> {
    let extension = Path::new(path).extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// The status of a page that says nothing else.
const UNAVAILABLE: u16 = 503;
