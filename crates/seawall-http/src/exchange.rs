//! The spine of the HTTP door: one exchange, head to tail.

use seawall_config::plan::Action;
use seawall_h1::head::TargetForm;
use seawall_h1::{BodyLength, Known, Method};

use crate::forward::forward;
use crate::message::{Request, Response};
use crate::policy::{cache, deadline, headers, redirect, report, respond};
use crate::refuse::Refusal;
use crate::route::Found;

/// Answers one request. The order of the lines is the order of the policies.
///
/// When dropped — the client has left, or the deadline has passed — the connection to the server
/// is closed, which cancels the work there; nothing else is held.
pub(crate) async fn exchange(request: &Request<'_>) -> Result<Response, Refusal> {
    check(request)?; // 405, 413, 417, 508
    let plan = &request.running.compiled.plan;
    let at = match request.running.compiled.table.find(&plan.routes, request.head) {
        Found::Route(at) => at,
        Found::Nothing => return Err(Refusal::NoRoute),
        Found::Ambiguous => return Err(Refusal::AmbiguousPath),
    };
    let route = &plan.routes[at];
    request.facts.route.set(Some(at));
    request.facts.reported.set(report::by_whom(request, route));
    let mut response = match &route.action {
        Action::Forward(to) => {
            let allowed = deadline::allowed(request, to.timeout);
            request.facts.deadline.set(Some(request.started + allowed));
            if allowed.is_zero() {
                return Err(Refusal::DeadlinePassed);
            }
            match &to.cache {
                Some(rules) => cache::answer(request, route, to, rules).await?,
                None => forward(request, route, to).await?,
            }
        }
        Action::Redirect(to) => redirect::answer(request, route, to),
        Action::Respond(with) => respond::answer(request, with),
    };
    headers::edit_response(request, route, &mut response.head);
    Ok(response)
}

/// What holds for every request, whichever route it takes.
fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let head = request.head;
    if matches!(head.method, Method::Connect | Method::Trace) || head.form == TargetForm::Authority
    {
        return Err(Refusal::MethodRefused);
    }
    if head.expects_other {
        return Err(Refusal::ExpectationUnknown);
    }
    if matches!(head.body, BodyLength::Length(length) if length > request.listener.limits.body) {
        return Err(Refusal::BodyTooLarge);
    }
    if head.headers.known(Known::Via).is_some() {
        /// Seawalls that one request may pass: edge, region, shield and some more.
        const MAX_HOPS: usize = 10;
        let hops = head.headers.all_known(Known::Via).flat_map(seawall_h1::fields::list);
        if hops.filter(|hop| hop.ends_with(headers::PSEUDONYM)).count() >= MAX_HOPS {
            return Err(Refusal::Loop);
        }
    }
    Ok(())
}
