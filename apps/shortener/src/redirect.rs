//! `GET` and `HEAD` of a short link, and `POST` of its password: the story of a click.
//!
//! The order of the lines is the order in which it is decided. Nothing of the request is sent on but
//! the query, where the link says so (`redirect/forward.rs`). Called by `serve.rs` for nearly every
//! request, so it allocates nothing that it can have been given.

mod forward;
pub mod tries;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERER, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::clicks::event::Origin;
use crate::edge::Edge;
use crate::link::{Code, Millis};
use crate::metrics::Counted;
use crate::password;
use crate::refusal::{Refusal, page};
use crate::resolve::{Entry, Found, Resolved};
use crate::seldom::Seldom;
use crate::serve::{App, Content, Peer, code};
use crate::store::{StoreError, system_clock};

/// Bytes of a form at most.
const LARGEST_FORM: usize = 4 * 1024;

/// How long a form may take to arrive.
const FORM: Duration = Duration::from_secs(10);

/// What is answered to whoever follows a short link.
///
/// Dropped, nothing is left behind but a click that may have been taken from those a link has left.
pub async fn answer(app: &Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Response<Content> {
    let begun = Instant::now();
    if request.method() == Method::POST {
        return unlock(app, peer, request).await;
    }
    let (Parts { method, uri, headers, .. }, _) = request.into_parts();
    // As `serve.rs` has told it from its other paths.
    let code = code(uri.path()).unwrap_or_default();
    let outcome = match method {
        Method::GET => follow(app, code, uri.query(), true).await,
        Method::HEAD => follow(app, code, uri.query(), false).await,
        _ => Err(Refusal::Method),
    };
    let answer = match outcome {
        Ok(Followed::There(link)) => {
            clicked(app, peer, code, &method, &headers);
            link.redirect(app, headers)
        }
        Ok(Followed::Not(answer)) => answer,
        Err(refusal) => refuse(app, code, refusal),
    };
    app.metrics.took(begun.elapsed());
    answer
}

/// The one place where clicks are counted: a redirect was answered.
fn clicked(app: &App, peer: IpAddr, code: &str, method: &Method, headers: &HeaderMap) {
    let peer = Peer::new(peer, &app.config);
    let counted = if method == Method::HEAD {
        Counted::Not
    } else if peer.has_reported(headers) {
        Counted::BySeawall
    } else {
        app.clicks.record(code, peer.client(headers), origin(headers));
        Counted::Here
    };
    app.metrics.redirected(counted);
}

/// What a request says of where it comes from.
fn origin(headers: &HeaderMap) -> Origin<'_> {
    let field = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_one = |name: &str| headers.get(name).is_some_and(|value| value == "1");
    Origin {
        referrer: field(REFERER),
        agent: field(USER_AGENT),
        is_private: is_one("dnt") || is_one("sec-gpc"),
    }
}

/// What came of following a short link.
enum Followed {
    There(There),
    /// An answer that is no redirect.
    Not(Response<Content>),
}

/// A link that may be followed.
struct There {
    entry: Arc<Entry>,
    location: HeaderValue,
    status: StatusCode,
    /// For how many milliseconds others may keep that it can; `None`: nobody may.
    keep: Option<Option<Millis>>,
}

impl There {
    fn new(entry: Arc<Entry>, status: u16, query: Option<&str>) -> Result<There, Refusal> {
        let query = query.filter(|query| entry.mapping.forward_query && !query.is_empty());
        let location = match query {
            Some(query) => forward::location(&entry.mapping.target, query),
            None => entry.prepared.location.clone(),
        };
        let location = location.ok_or(Refusal::Damaged)?;
        let status = StatusCode::from_u16(status).map_err(|_| Refusal::Damaged)?;
        Ok(There { entry, location, status, keep: None })
    }

    /// The redirect. The fields of the request lend it their memory: for a new map of that size the
    /// allocator takes longer than for all else here.
    fn redirect(self, app: &App, mut headers: HeaderMap) -> Response<Content> {
        headers.clear();
        headers.insert(LOCATION, self.location);
        match self.keep {
            Some(left) => app.edge.keep(&mut headers, &self.entry.prepared, left),
            None => Edge::keep_nothing(&mut headers),
        }
        let mut answer = Response::new(Content::EMPTY);
        *answer.status_mut() = self.status;
        *answer.headers_mut() = headers;
        answer
    }
}

/// The link that a code leads to, or what stands in its way. `HEAD` takes none of the clicks it has
/// left, and so is not told where they lead.
async fn follow(
    app: &Arc<App>,
    code: &str,
    query: Option<&str>,
    is_click: bool,
) -> Result<Followed, Refusal> {
    let (entry, is_unsure) = look_up(app, code).await?;
    let left = entry.mapping.expires.map(|expires| expires.saturating_sub(system_clock()));
    if left.is_some_and(|left| left <= 0) {
        return Ok(Followed::Not(gone(app, &entry, is_unsure)));
    }
    if entry.is_used_up() {
        return Err(Refusal::Gone);
    }
    if entry.mapping.password.is_some() {
        app.metrics.asked();
        return Ok(Followed::Not(form(StatusCode::OK, "This link has a password.")));
    }
    if entry.mapping.limited && !is_click {
        let mut answer = Response::new(Content::EMPTY);
        Edge::keep_nothing(answer.headers_mut());
        return Ok(Followed::Not(answer));
    }
    if entry.mapping.limited {
        take_click(app, code, &entry).await?;
    }
    let status = entry.mapping.redirect.status();
    let keep = (!entry.mapping.limited && !is_unsure).then_some(left);
    Ok(Followed::There(There { keep, ..There::new(entry, status, query)? }))
}

/// The link of a code, unless there is none, or it is disabled, which nobody is to tell apart.
async fn look_up(app: &Arc<App>, code: &str) -> Result<(Arc<Entry>, bool), Refusal> {
    let resolver = &app.caches.resolver;
    let Resolved { found, is_unsure } = resolver.resolve(code).await.map_err(of_store)?;
    match found {
        Found::Link(entry) if !entry.mapping.disabled => {
            resolver.refresh_early(code, &entry);
            Ok((entry, is_unsure))
        }
        Found::Link(_) | Found::Missing if is_unsure => Err(Refusal::Unavailable),
        Found::Link(_) | Found::Missing => Err(Refusal::Missing),
    }
}

async fn take_click(app: &App, code: &str, entry: &Entry) -> Result<(), Refusal> {
    let code = Code::new(code).map_err(|_| Refusal::Missing)?;
    match app.store.take_click(&code).await.map_err(of_store)? {
        Some(_) => Ok(()),
        None => {
            entry.use_up();
            Err(Refusal::Gone)
        }
    }
}

/// What is answered for a link that has expired: caches in front may know that it has.
fn gone(app: &App, entry: &Entry, is_unsure: bool) -> Response<Content> {
    app.metrics.refused(Refusal::Gone);
    let mut answer = Refusal::Gone.answer();
    if !is_unsure {
        app.edge.keep_expired(answer.headers_mut(), &entry.prepared);
    }
    answer
}

fn refuse(app: &App, code: &str, refusal: Refusal) -> Response<Content> {
    app.metrics.refused(refusal);
    let mut answer = refusal.answer();
    if refusal == Refusal::Missing && Code::new(code).is_ok() {
        app.edge.keep_missing(answer.headers_mut(), code);
    }
    answer
}

fn of_store(error: StoreError) -> Refusal {
    static LOG: Seldom = Seldom::new();
    match LOG.may() {
        Some(before) => warn!(%error, before, "links cannot be looked up"),
        None => debug!(%error, "a link could not be looked up"),
    }
    if error.is_transient() { Refusal::Unavailable } else { Refusal::Damaged }
}

/// The password of a link was sent.
async fn unlock(app: &Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Response<Content> {
    let (parts, body) = request.into_parts();
    let code = code(parts.uri.path()).unwrap_or_default();
    let client = Peer::new(peer, &app.config).client(&parts.headers);
    let mut answer = match check(app, client, code, &parts, body).await {
        Ok(link) => {
            clicked(app, peer, code, &parts.method, &parts.headers);
            link.redirect(app, parts.headers)
        }
        Err(Refusal::WrongPassword) => {
            app.metrics.refused(Refusal::WrongPassword);
            form(Refusal::WrongPassword.status(), Refusal::WrongPassword.words())
        }
        // What a cache may keep of a code is for `GET`.
        Err(refusal) => {
            app.metrics.refused(refusal);
            refusal.answer()
        }
    };
    Edge::keep_nothing(answer.headers_mut());
    answer
}

/// The redirect behind a password, if this is it.
async fn check(
    app: &Arc<App>,
    client: IpAddr,
    code: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<There, Refusal> {
    let (entry, _) = look_up(app, code).await?;
    if entry.mapping.expires.is_some_and(|expires| expires <= system_clock()) || entry.is_used_up()
    {
        return Err(Refusal::Gone);
    }
    let hash = entry.mapping.password.clone().ok_or(Refusal::Method)?;
    let is_form = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Refusal::BadForm);
    }
    let form = timeout(FORM, to_bytes(Body::new(body), LARGEST_FORM)).await;
    let form = form.ok().and_then(Result::ok).ok_or(Refusal::BadForm)?;
    let password = url::form_urlencoded::parse(&form)
        .find_map(|(name, value)| (name == "password").then(|| value.into_owned()))
        .filter(|password| password.len() <= password::LONGEST_PASSWORD * 4)
        .ok_or(Refusal::BadForm)?;
    if !app.tries.may(code, client, Instant::now()) {
        return Err(Refusal::TooManyTries);
    }
    let _turn = app.tries.turn().ok_or(Refusal::Unavailable)?;
    if !password::is(password, hash).await {
        return Err(Refusal::WrongPassword);
    }
    if entry.mapping.limited {
        take_click(app, code, &entry).await?;
    }
    // Whatever the link says: the password is not sent on.
    There::new(entry, StatusCode::SEE_OTHER.as_u16(), parts.uri.query())
}

/// The form that asks for a password.
fn form(status: StatusCode, words: &str) -> Response<Content> {
    let mut answer = page(status, words, FORM_HTML);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

const FORM_HTML: &str = "<form method=post><label for=p>Password</label>\
    <input id=p name=password type=password required autofocus autocomplete=off maxlength=256>\
    <button class=main>Continue</button></form>";
