//! The description of the API (OpenAPI 3.1), made from the handlers and their types.
//!
//! `docs/reference/snip-openapi.json` is this document; a test compares them.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Parameter, PathItem};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, OpenApi as Document, RefOr, Server};
use utoipa::{Modify, OpenApi};

use crate::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "snip",
        description = "A link shortener. Times are of RFC 3339, problems of RFC 9457.",
    ),
    paths(
        super::links::create,
        super::links::list,
        super::links::read,
        super::links::change,
        super::links::remove,
        super::links::tags,
        super::export::csv,
        super::qr::svg,
        super::qr::png,
        super::stats::of_link,
        super::stats::of_all,
        super::report::take,
        super::live::look,
        super::bulk::create,
        super::keys::list,
        super::keys::create,
        super::keys::revoke,
        super::keys::me,
        super::session::begin,
        super::session::end,
        serve,
    ),
    tags(
        (name = "links", description = "Links, and what they are tagged with"),
        (name = "clicks", description = "How links are clicked"),
        (name = "keys", description = "API keys, and sessions of the web page"),
    ),
    modifiers(&Common),
)]
struct Description;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        document.servers = Some(vec![Server::new("/api/v1")]);
        let mut bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        bearer.description = Some("An API key, `snip_…`".to_owned());
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("key", SecurityScheme::Http(bearer));
        let mut report = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        report.description = Some("What `clicks.report-token` says".to_owned());
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("report", SecurityScheme::Http(report));
        let session = "A session of the web page, begun by `signIn`: may do what its key may do. \
                       What changes something must come from a page of this server. Its name is \
                       `__Host-snip` where short links begin with `https`";
        let session = ApiKey::Cookie(ApiKeyValue::with_description("snip", session));
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("session", SecurityScheme::ApiKey(session));
        for parameter in document.paths.paths.values_mut().flat_map(parameters) {
            if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema {
                schema.schema_type = present(&schema.schema_type);
            }
        }
        let one_of = ["key", "session"].map(|name| SecurityRequirement::new(name, [""; 0]));
        document.security = Some(one_of.into());
    }
}

fn parameters(path: &mut PathItem) -> impl Iterator<Item = &mut Parameter> {
    let PathItem { get, post, patch, delete, .. } = path;
    let operations = [get, post, patch, delete].into_iter().filter_map(Option::as_mut);
    operations.flat_map(|operation| operation.parameters.iter_mut().flatten()).filter_map(
        |parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        },
    )
}

/// A parameter that need not be there has no `null` for it: there is none in a URL or a head.
fn present(kind: &SchemaType) -> SchemaType {
    match kind {
        SchemaType::Array(kinds) => match kinds.iter().find(|kind| **kind != Type::Null) {
            Some(kind) => SchemaType::Type(kind.clone()),
            None => SchemaType::AnyValue,
        },
        other => other.clone(),
    }
}

/// The document.
pub fn document() -> Document {
    Description::openapi()
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "links", operation_id = "readDescription",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)),
)]
pub(super) async fn serve() -> Result<Response, Problem> {
    // Everybody may ask, and to write it takes milliseconds: once.
    static TEXT: LazyLock<Option<Bytes>> =
        LazyLock::new(|| document().to_pretty_json().ok().map(Bytes::from));
    let text = TEXT.clone().ok_or(Problem::Internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
