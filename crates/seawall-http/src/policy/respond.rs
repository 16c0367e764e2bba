//! `respond`: an answer from the plan itself.

use seawall_config::plan::Respond;

use crate::message::{Body, Request, Response};

/// Builds the answer.
pub(crate) fn answer(request: &Request<'_>, with: &Respond) -> Response {
    let mut head = request.worker.take_head();
    head.begin(with.status);
    if let Some(kind) = &with.content_type {
        head.headers.push(b"Content-Type", kind.as_bytes());
    }
    Response { head, body: Body::Shared(with.body.clone()) }
}
