//! What takes the place of a failed answer: that of another upstream, or a page. Each says so in
//! `Proxy-Status` (RFC 9209).

use seawall_config::plan::{Action, Give, Route};
use tokio::time::Instant;

use super::attempt::{Answered, Failed};
use super::pass_on;
use super::retry::Errand;
use crate::message::{Request, Response};
use crate::policy::{headers, respond};
use crate::refuse::{Kind, Refusal, is_meant};

/// The answer, or if it failed what the route gives instead: the first that fits and can be had.
pub(crate) async fn instead(
    errand: &Errand<'_>,
    result: Result<Answered, Failed>,
) -> Result<Response, Refusal> {
    let Errand { request, to, .. } = errand;
    let (mut pump, mut failure) = match result {
        Ok(answered) if answered.head.status < 400 => return Ok(pass_on(errand, answered)),
        // It may well be passed on, so it goes on being sent until there is something else.
        Ok(answered) => (None, Ok(answered)),
        Err(Failed { refusal: Refusal::ClientGone, .. }) => return Err(Refusal::ClientGone),
        Err(failed) => (Some(failed.pump), Err(failed.refusal)),
    };
    let mut is_taken = false;
    let (status, refusal) = match &failure {
        Ok(answered) => (answered.head.status, None),
        Err(refusal) => (refusal.description().status, Some(*refusal)),
    };
    for fallback in &to.fallback {
        if !fallback.on.iter().any(|when| is_meant(when, status, refusal)) {
            continue;
        }
        let mut response = match &fallback.give {
            Give::Page(page) => respond::answer(request, page),
            Give::Upstream(other) => {
                // What is wrong with the request is so everywhere.
                if refusal.is_some_and(|refusal| refusal.description().kind == Kind::Client) {
                    continue;
                }
                if let Ok(answered) = &mut failure
                    && !std::mem::replace(&mut is_taken, true)
                {
                    pump = Some(answered.conversation.take_pump());
                }
                let left = pump.take().filter(|pump| pump.may_be_sent_again(errand.is_safe()));
                let Some(left) = left else { continue };
                let second = Errand::new(request, errand.route, to, *other);
                let now = Instant::now();
                match second.run(now, second.again(left, now)).await {
                    Ok(answered) if answered.head.status < 500 => pass_on(&second, answered),
                    Ok(mut answered) => {
                        pump = Some(answered.conversation.take_pump());
                        answered.conversation.discard();
                        request.worker.give_back_head(answered.head);
                        continue;
                    }
                    Err(failed) if failed.refusal == Refusal::ClientGone => {
                        return Err(failed.refusal);
                    }
                    Err(failed) => {
                        pump = Some(failed.pump);
                        continue;
                    }
                }
            }
        };
        request.route_cells().fallbacks.add(1);
        request.facts.fell_back.set(true);
        let place = match &fallback.give {
            Give::Page(_) => "page",
            Give::Upstream(other) => &request.running.compiled.plan.upstreams[*other].name,
        };
        mark(&mut response, status, refusal, place);
        if let Ok(answered) = failure {
            answered.conversation.discard();
            request.worker.give_back_head(answered.head);
        }
        return Ok(response);
    }
    failure.map(|answered| pass_on(errand, answered))
}

/// The page that a route gives for a refusal that came when there was no time for anything else.
pub(crate) fn page(request: &Request<'_>, route: &Route, refusal: Refusal) -> Option<Response> {
    let Action::Forward(to) = &route.action else { return None };
    let status = refusal.description().status;
    let page = to.fallback.iter().find_map(|fallback| match &fallback.give {
        Give::Page(page) => {
            let meant = fallback.on.iter().any(|when| is_meant(when, status, Some(refusal)));
            meant.then_some(page)
        }
        Give::Upstream(_) => None,
    })?;
    request.route_cells().fallbacks.add(1);
    let mut response = respond::answer(request, page);
    mark(&mut response, status, Some(refusal), "page");
    headers::edit_response(request, route, &mut response.head);
    Some(response)
}

/// Says what the answer takes the place of.
fn mark(response: &mut Response, status: u16, refusal: Option<Refusal>, place: &str) {
    let why = match refusal.map(Refusal::description) {
        Some(about) => {
            format!("error={}; details=\"{}; fallback={place}\"", about.proxy_error, about.code)
        }
        None => format!("received-status={status}; details=\"fallback={place}\""),
    };
    response.head.headers.push(b"Proxy-Status", format!("seawall; {why}").as_bytes());
}
