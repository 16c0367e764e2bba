//! Routes of the plan: each with a name of its own, one action, and only keys that go with it.

use std::sync::Arc;

use super::Seen;
use super::names::Upstreams;
use super::pages::Pages;
use crate::config::{Config, Edits, ErrorBody, Listen, RedirectTo, RespondWith, Route, Upstream};
use crate::nearest::nearest;
use crate::plan::{
    self, Action, ErrorMatch, ErrorPage, HeaderEdits, HostPattern, PathPattern, Redirect, Respond,
    ValuePattern, When,
};
use crate::read::{At, Given};
use crate::report::Report;
use crate::rules::Pairs;
use crate::section::Named;
use crate::source::{Span, quoted};
use crate::surroundings::Surroundings;

pub(super) fn compile(
    config: &Config,
    upstreams: &Upstreams<'_>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Option<plan::Route>> {
    let routes = &config.route;
    check_number(config, report);
    let (names, pages) = (Seen::new(), Pages::new(around));
    let sections = &*config.upstream;
    let mut compiler = Compiler { config, upstreams, sections, around, names, pages, report };
    let numbered = routes.iter().enumerate();
    numbered.map(|(index, route)| compiler.one(index, route.as_ref()?)).collect()
}

/// Reports listeners for HTTP without routes, and routes without listeners for HTTP.
fn check_number(config: &Config, report: &mut Report) {
    let (routes, listeners) = (&config.route, &config.listen);
    let is_tcp = |named: &Named<Listen>| {
        named.section.as_ref().is_some_and(|section| section.tcp.is_there())
    };
    let only_tcp = !listeners.is_empty() && listeners.complete && listeners.iter().all(is_tcp);
    if routes.is_empty() && routes.complete && !only_tcp {
        let first = config.upstream.first().map_or("app", |upstream| &upstream.name.value);
        let help = format!("add for example:\n[[route]]\nto = \"{first}\"");
        report.missing(Span::FILE, "there is no route", Some(help));
    }
    if let (Some(route), true) = (routes.first(), only_tcp) {
        let span = route.as_ref().map_or(Span::FILE, |route| route.span);
        let help = "add a listener without `tcp`, or take the routes away";
        let message = "no route is ever asked: every listener has `tcp`";
        report.warning(span, message, Some(help.to_owned()));
    }
}

pub(super) struct Compiler<'a, 't> {
    pub(super) config: &'a Config,
    pub(super) upstreams: &'a Upstreams<'a>,
    /// What the upstreams say, by position.
    pub(super) sections: &'a [Named<Upstream>],
    pub(super) around: &'a Surroundings<'a>,
    names: Seen<String>,
    pub(super) pages: Pages<'a>,
    pub(super) report: &'a mut Report<'t>,
}

impl Compiler<'_, '_> {
    fn one(&mut self, index: usize, route: &At<Route>) -> Option<plan::Route> {
        let name = self.name(index, route);
        let when = self.when(route);
        let action = self.action(route);
        self.check_forward_only(route);
        let request = edits(&route.headers.request);
        let response = edits(&route.headers.response);
        self.check_host_edits(&route.headers.request);
        let errors = self.errors(&route.errors);
        let report = self.reporting(route);
        Some(plan::Route {
            name: Arc::from(name),
            when: when?,
            action: action?,
            request_headers: request?,
            response_headers: response?,
            errors: errors?,
            report: report?,
        })
    }

    fn name(&mut self, index: usize, route: &At<Route>) -> String {
        let given = route.name.value();
        let name = given.map_or_else(|| format!("route-{}", index + 1), |at| at.value.clone());
        let span = given.map_or(route.span, |at| at.span);
        if let Some(other) = self.names.before(name.clone(), span) {
            let line = self.report.line(other);
            let message =
                format!("the route on line {line} already has the name {}", quoted(&name));
            let help = match given {
                Some(_) => "names appear in metrics and logs; give each route its own",
                None => "this route has no `name` and is called after its position; give it one",
            };
            self.report.error(span, message, Some(help.to_owned()));
        }
        name
    }

    fn when(&mut self, route: &At<Route>) -> Option<When> {
        let mut good = true;
        let mut check = |readable: bool| good &= readable;
        check(!matches!(route.host, Given::Unreadable));
        check(!matches!(route.path, Given::Unreadable));
        check(!matches!(route.methods, Given::Unreadable));
        check(!matches!(route.match_headers, Given::Unreadable));
        check(!matches!(route.match_query, Given::Unreadable));
        self.spelling(route);
        let when = When {
            host: route.host.value().map_or(HostPattern::Any, |at| at.value.clone()),
            path: route.path.value().map_or(PathPattern::Any, |at| at.value.clone()),
            methods: self.methods(route),
            headers: patterns(&route.match_headers),
            query: patterns(&route.match_query),
        };
        good.then_some(when)
    }

    /// A pattern with what servers read in several ways guards one spelling of several.
    fn spelling(&mut self, route: &At<Route>) {
        let Some(at) = route.path.value() else { return };
        let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = &at.value else { return };
        let ambiguous = ["%2F", "%5C", "%3B", "%2B", ";"];
        if let Some(part) = ambiguous.into_iter().find(|part| path.contains(part)) {
            let message = format!("`{part}` in a path is read in several ways");
            let help = "this pattern takes only the path written like this; to guard a path, name one \
                        without it that leads there, such as the part before it followed by `/*`";
            self.report.warning(at.span, message, Some(help.to_owned()));
        }
    }

    fn methods(&mut self, route: &At<Route>) -> Vec<Box<str>> {
        let mut methods: Vec<Box<str>> = Vec::new();
        for at in route.methods.items() {
            if methods.contains(&at.value) {
                let message = format!("`{}` is there twice", at.value);
                self.report.warning(at.span, message, Some("take one of them away".to_owned()));
                continue;
            }
            if !METHODS.contains(&&*at.value)
                && let Some(near) = nearest(&at.value, METHODS.iter().copied())
            {
                let message = format!("`{}` is not a usual method", at.value);
                self.report.warning(at.span, message, Some(format!("did you mean \"{near}\"?")));
            }
            methods.push(at.value.clone());
        }
        let has = |name: &str| methods.iter().any(|method| &**method == name);
        let heads = has("GET") && !has("HEAD");
        let purge = route.cache.value().is_some_and(|at| !at.value.purge.items().is_empty());
        let purges = purge && !methods.is_empty() && !has("PURGE");
        methods.extend(heads.then(|| "HEAD".into()));
        methods.extend(purges.then(|| "PURGE".into()));
        methods
    }

    fn action(&mut self, route: &At<Route>) -> Option<Action> {
        let there = [
            ("to", route.to.is_there()),
            ("redirect", route.redirect.is_there()),
            ("respond", route.respond.is_there()),
        ];
        let chosen: Vec<&str> =
            there.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect();
        match *chosen {
            [] => {
                let help =
                    "add one of `to = \"UPSTREAM\"`, `redirect = \"…\"` and `respond = \"…\"`";
                let message = "this route does nothing with its requests";
                self.report.missing(route.span, message, Some(help.to_owned()));
                None
            }
            [_] => self.chosen_action(route),
            _ => {
                let message = format!("this route has `{}`", chosen.join("` and `"));
                let help =
                    "a route does one thing; keep one of them and make other routes for the rest";
                self.report.error(route.span, message, Some(help.to_owned()));
                None
            }
        }
    }

    fn chosen_action(&mut self, route: &At<Route>) -> Option<Action> {
        if let Some(to) = route.to.value() {
            return self.forward(route, to).map(Action::Forward);
        }
        if let Some(redirect) = route.redirect.value() {
            return Some(Action::Redirect(redirect_of(&redirect.value)));
        }
        let respond = route.respond.value()?;
        self.respond(&respond.value, respond.span, OK).map(Action::Respond)
    }

    /// The answer of a section whose status is `status` unless it says another.
    pub(super) fn respond(
        &mut self,
        respond: &RespondWith,
        span: Span,
        status: u16,
    ) -> Option<Respond> {
        let status = match respond.status.given {
            true => u16::try_from(respond.status.value).unwrap_or(u16::MAX),
            false => status,
        };
        let body = respond.body.value().map_or("", |at| &at.value.value);
        if matches!(status, 204 | 205 | 304) && !body.is_empty() {
            let span = respond.body.value().map_or(span, |at| at.span);
            let message = format!("an answer with status {status} has no body");
            let help = "take `body` away, or choose another status such as 200";
            self.report.error(span, message, Some(help.to_owned()));
        }
        if let Some(kind) = respond.content_type.value()
            && body.is_empty()
        {
            let message = "a media type without a body means nothing";
            self.report.warning(
                kind.span,
                message,
                Some("add `body`, or take `type` away".to_owned()),
            );
        }
        if matches!(respond.body, Given::Unreadable)
            || matches!(respond.content_type, Given::Unreadable)
        {
            return None;
        }
        let given = respond.content_type.value().map(|at| at.value.clone());
        let content_type = given.unwrap_or_else(|| "text/plain; charset=utf-8".into());
        Some(Respond {
            status,
            body: Arc::from(body.as_bytes()),
            content_type: (!body.is_empty()).then_some(content_type),
        })
    }

    fn errors(&mut self, given: &Given<Pairs<ErrorMatch, ErrorBody>>) -> Option<Vec<ErrorPage>> {
        let at = match given {
            Given::Absent => return Some(Vec::new()),
            Given::Unreadable => return None,
            Given::Value(at) => at,
        };
        for (when, _) in &at.value {
            self.check_code(&when.value, when.span);
        }
        let length: usize = at.value.iter().map(|(_, page)| page.body.value.value.len()).sum();
        if length > MOST_ERROR_BYTES {
            let message = format!("these pages have {length} bytes together");
            let help = "at most 1MiB is allowed; put pictures and styles on a server".to_owned();
            self.report.error(at.span, message, Some(help));
            return None;
        }
        at.value.iter().map(|(when, page)| error_page(&when.value, &page.value)).collect()
    }

    /// Warns of a code that no refusal has, where the codes are known.
    pub(super) fn check_code(&mut self, when: &ErrorMatch, span: Span) {
        let ErrorMatch::Code(code) = when else { return };
        let known: Vec<&str> = self.around.codes.iter().map(|(code, _)| *code).collect();
        if known.is_empty() || known.contains(&&**code) {
            return;
        }
        let message = format!("no refusal has the code {}", quoted(code));
        let help = match nearest(code, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the codes are in the reference of refusals".to_owned(),
        };
        self.report.warning(span, message, Some(help));
    }

    /// A request has exactly one `host` (RFC 9112 §3.2).
    fn check_host_edits(&mut self, edits: &Edits) {
        let removed = edits.remove.items().iter();
        let removed = removed.map(|at| (&at.value, at.span));
        let added = edits.add.items().iter();
        let added = added.map(|(name, _)| (&name.value, name.span));
        for (_, span) in removed.chain(added).filter(|(name, _)| &***name == "host") {
            let help = "to change it write `set = { host = \"…\" }`";
            self.report.error(span, "a request has exactly one `host`", Some(help.to_owned()));
        }
    }
}

/// The status of an answer that says nothing else.
const OK: u16 = 200;

/// The most bytes that the error pages of a route have together.
const MOST_ERROR_BYTES: usize = 1 << 20;

fn error_page(when: &ErrorMatch, page: &ErrorBody) -> Option<ErrorPage> {
    let body = page.body.value.value.as_str();
    let content_type = match &page.content_type {
        Given::Unreadable => return None,
        Given::Value(at) => at.value.clone(),
        Given::Absent if body.starts_with('<') => "text/html; charset=utf-8".into(),
        Given::Absent => "text/plain; charset=utf-8".into(),
    };
    Some(ErrorPage { when: when.clone(), body: Arc::from(body.as_bytes()), content_type })
}

fn redirect_of(redirect: &RedirectTo) -> Redirect {
    Redirect {
        to: redirect.to.value.clone(),
        status: u16::try_from(redirect.status.value).unwrap_or(u16::MAX),
    }
}

fn patterns(given: &Given<Pairs<Box<str>, Box<str>>>) -> Vec<(Box<str>, ValuePattern)> {
    let pattern = |value: &str| match value {
        "*" => ValuePattern::Present,
        exact => ValuePattern::Exact(exact.into()),
    };
    let list = given.items().iter();
    list.map(|(name, value)| (name.value.clone(), pattern(&value.value))).collect()
}

fn edits(edits: &Edits) -> Option<HeaderEdits> {
    let unreadable = matches!(edits.remove, Given::Unreadable)
        || matches!(edits.set, Given::Unreadable)
        || matches!(edits.add, Given::Unreadable);
    let fields = |given: &Given<Pairs<Box<str>, plan::Template>>| {
        let list = given.items().iter();
        list.map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
    };
    let removed = edits.remove.items().iter();
    let whole = HeaderEdits {
        remove: removed.map(|at| at.value.clone()).collect(),
        set: fields(&edits.set),
        add: fields(&edits.add),
    };
    (!unreadable).then_some(whole)
}

/// Methods whose misspellings are worth a warning.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "PURGE",
    "QUERY",
    "LINK",
    "UNLINK",
    "BIND",
    "UNBIND",
    "LIST",
];
