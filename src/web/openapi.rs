//! The description of the API (OpenAPI 3.1), made from the handlers and the table of rights, and the page that shows it.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::State;
use super::error::{Fault, Problem};
use super::rights::{self, Access, Scope};

/// What the whole document has; paths come from the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ticketd",
        description = "Tickets from mail, Discord and the web. Log in at `POST /api/auth/login` and send the access token as \
                       `Authorization: Bearer …`, or take an API token. Errors are problem details (RFC 9457). Lists go on \
                       with `cursor`. Times are RFC 3339 in UTC."
    ),
    components(schemas(Problem, Fault)),
    modifiers(&BearerToken)
)]
pub(super) struct Base;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access token from `POST /api/auth/login`, or an API token (`tdk_…`)"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    }
}

/// Adds to every operation what follows from the table of rights and from its form: who may, and which errors can come.
pub(super) fn complete(document: &mut Document) {
    loosen_rows(document);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(path, &method, operation);
        }
    }
}

/// Whether the operation takes `If-Match`.
fn names_version(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    parameters.filter_map(|p| if let RefOr::T(p) = p { Some(p) } else { None }).any(|p| p.name == "If-Match")
}

/// The rows of one report may fit the description of another's as well, which `oneOf` forbids.
fn loosen_rows(document: &mut Document) {
    let Some(components) = &mut document.components else { return };
    let Some(RefOr::T(Schema::OneOf(rows))) = components.schemas.get("ReportRows") else { return };
    let any = rows.items.iter().cloned().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    let any = any.description(rows.description.clone()).build();
    components.schemas.insert("ReportRows".to_owned(), RefOr::T(Schema::AnyOf(any)));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let slots = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ];
    slots.into_iter().filter_map(|(method, slot)| Some((method, slot.as_mut()?)))
}

fn complete_operation(path: &str, method: &Method, operation: &mut Operation) {
    let Some(row) = rights::find(method, path) else { return };
    let mut errors = BTreeMap::from([
        (StatusCode::TOO_MANY_REQUESTS, "Too many requests: `Retry-After` says when to try again"),
        (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side; it has been logged"),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "The database does not answer, or the request took too long: try again",
        ),
    ]);
    if row.access != Access::Anyone {
        errors.insert(StatusCode::UNAUTHORIZED, "No token, or one that is not good (any more)");
        errors.insert(StatusCode::FORBIDDEN, "The role, or the scopes of the API token, do not allow it");
        operation.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    }
    let has = |kind: ParameterIn, operation: &Operation| {
        let parameters = operation.parameters.iter().flatten();
        parameters
            .filter_map(|p| if let RefOr::T(p) = p { Some(p) } else { None })
            .any(|p| p.parameter_in == kind)
    };
    if has(ParameterIn::Query, operation) || operation.request_body.is_some() || *method == Method::POST {
        errors.insert(
            StatusCode::BAD_REQUEST,
            "A parameter, a header or the body is wrong; of a body `errors` says which field",
        );
    }
    if has(ParameterIn::Path, operation) {
        errors.insert(StatusCode::NOT_FOUND, "There is nothing here, or nothing that the caller may see");
    }
    if names_version(operation) {
        errors.insert(StatusCode::PRECONDITION_FAILED, "The ticket is in another version");
    }
    if operation.request_body.is_some() {
        errors.insert(StatusCode::PAYLOAD_TOO_LARGE, "The body has more bytes than are taken");
        errors.insert(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is of another media type");
    }
    if *method == Method::POST && row.access != Access::Anyone {
        errors.insert(StatusCode::UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request");
        errors.insert(StatusCode::CONFLICT, "It cannot be done as things stand: `detail` says why");
    }
    for (status, description) in errors {
        let code = status.as_str().to_owned();
        operation.responses.responses.entry(code).or_insert_with(|| problem(description));
    }
    let rights = json!({
        "for": row.access.as_str(),
        "api_token_scope": (row.scope != Scope::Never).then(|| row.scope.as_str()),
    });
    operation.extensions.get_or_insert_default().merge(Extensions::builder().add("x-rights", rights).build());
}

fn problem(description: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name("Problem");
    let content = Content::new(Some(schema));
    RefOr::T(
        ResponseBuilder::new().description(description).content("application/problem+json", content).build(),
    )
}

/// The document as it is served.
#[derive(Clone, Debug)]
pub(super) struct Served(pub(super) Bytes);

/// The OpenAPI document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn document(Extension(served): Extension<Served>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], served.0).into_response()
}

/// Scripts and styles of the page come from this server; it has styles in its elements, and images as data.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The page that shows the document. Everything that it loads is in the binary.
pub(super) fn page() -> Router<State> {
    let page = SwaggerUi::new("/api/docs").config(Config::new(["/api/openapi.json"]).validator_url("none"));
    let policy = HeaderValue::from_static(PAGE_POLICY);
    Router::from(page).layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, policy))
}
