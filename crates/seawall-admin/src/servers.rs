//! The servers of an upstream, put in place and taken out by hand.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use seawall_config::servers::LARGEST_LIST;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::{Admin, Ask, Problem, Refused, json};

/// What an operator says about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Use it.
    Use,
    /// Nothing new goes there; what is there ends by itself.
    Drain,
    /// Nothing goes there.
    Disable,
}

/// Largest body of an order, in bytes.
const LARGEST_ORDER: usize = 1024;

/// The requests of this file.
pub(crate) fn routes() -> Router<Admin> {
    let servers = put(replace).delete(reset).layer(DefaultBodyLimit::max(LARGEST_LIST));
    let state = put(order).layer(DefaultBodyLimit::max(LARGEST_ORDER));
    Router::new()
        .route("/api/upstreams/{upstream}/servers", servers)
        .route("/api/upstreams/{upstream}/servers/{server}/state", state)
}

async fn replace(
    State(admin): State<Admin>,
    Path(upstream): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let list = match not_from_a_page(&headers).and_then(|()| whole(body, LARGEST_LIST)) {
        Ok(body) => Some(body.to_vec()),
        Err(refused) => return refused.into_response(),
    };
    ask(&admin, |answer| Ask::Servers { upstream, list, answer }).await
}

async fn reset(
    State(admin): State<Admin>,
    Path(upstream): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = not_from_a_page(&headers) {
        return refused.into_response();
    }
    ask(&admin, |answer| Ask::Servers { upstream, list: None, answer }).await
}

async fn order(
    State(admin): State<Admin>,
    Path((upstream, server)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let read = not_from_a_page(&headers).and_then(|()| whole(body, LARGEST_ORDER));
    let order = match read.and_then(|body| read_order(&body)) {
        Ok(order) => order,
        Err(refused) => return refused.into_response(),
    };
    ask(&admin, |answer| Ask::Order { upstream, server, order, answer }).await
}

fn read_order(body: &[u8]) -> Result<Order, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        state: Order,
    }
    let body: Result<Body, _> = serde_json::from_slice(body);
    body.map(|body| body.state).map_err(|error| {
        let help = r#"send {"state": "use"}, {"state": "drain"} or {"state": "disable"}"#;
        let problem = Problem {
            severity: "error",
            file: "body".to_owned(),
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
            help: Some(help.to_owned()),
        };
        let detail = "the body is not an order about a server".to_owned();
        Refused::Wrong { detail, problems: vec![problem] }
    })
}

/// A page in the operator's browser could send this too; programs send no Origin.
pub(crate) fn not_from_a_page(headers: &HeaderMap) -> Result<(), Refused> {
    match headers.contains_key(header::ORIGIN) {
        true => Err(Refused::OtherSite),
        false => Ok(()),
    }
}

pub(crate) fn whole(body: Result<Bytes, BytesRejection>, most: usize) -> Result<Bytes, Refused> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refused::TooLarge { most },
        _ => Refused::Wrong { detail: "the body cannot be read".to_owned(), problems: vec![] },
    })
}

async fn ask<T: serde::Serialize>(
    admin: &Admin,
    what: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Ask,
) -> Response {
    match crate::ask(admin, what).await {
        Some(Ok(answer)) => json(StatusCode::OK, &answer),
        Some(Err(refused)) => refused.into_response(),
        None => Refused::Draining.into_response(),
    }
}
