//! `redirect`: an answer that points elsewhere.

use seawall_config::plan::{Redirect, Route};

use super::headers::fill;
use crate::message::{Body, Request, Response};

/// Builds the answer.
pub(crate) fn answer(request: &Request<'_>, route: &Route, to: &Redirect) -> Response {
    let mut head = request.worker.take_head();
    head.begin(to.status);
    let mut location = Vec::with_capacity(128);
    fill(&to.to, request, route, &mut location);
    head.headers.push(b"Location", &location);
    Response { head, body: Body::Empty }
}
