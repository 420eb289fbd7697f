//! Opening tickets.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, changed, files, known_category, tagged};
use crate::ids::UploadId;
use crate::mail::address;
use crate::people;
use crate::tickets::opening::{self, Request};
use crate::tickets::read::Summary;
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::request::{Caller, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(open))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTicket {
    #[schema(min_length = 1, max_length = 500, example = "The printer is on fire")]
    subject: String,
    #[schema(min_length = 1)]
    body: String,
    /// One of the configured categories; left out, the triage finds it.
    category: Option<String>,
    /// Files sent before by `POST /api/uploads`: at most 20, of 25 MiB together.
    #[serde(default)]
    #[schema(value_type = Vec<i64>)]
    attachments: Vec<UploadId>,
    /// For staff: the customer in whose name they ask.
    requester: Option<Customer>,
}

/// A customer, by mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Customer {
    #[schema(example = "ada@example.org")]
    email: String,
    #[serde(default)]
    name: String,
}

/// Opens a ticket for the caller, or by staff for a customer. It is judged and assigned like any other.
#[utoipa::path(
    post,
    path = "/api/tickets",
    tag = "tickets",
    request_body = NewTicket,
    responses((status = 201, description = "It is open", body = Summary,
               headers(("Location" = String, description = "Its path"), ("ETag" = String, description = "Its version"))))
)]
async fn open(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<NewTicket>,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    state.settings.current().await;
    if let Some(category) = &body.category {
        known_category(&state, category)?;
    }
    if body.requester.is_some() && !caller.is_staff() {
        return Err(Error::Forbidden);
    }
    files::may_go(&state, &body.attachments)?;
    state.limits.ticket(caller.person)?;
    let act = act(&state, &caller);
    let mut tx = state.db.begin().await?;
    let (requester, customer) = match &body.requester {
        None => (caller.person, None),
        Some(customer) => {
            let email = address::canonical(&customer.email);
            if !address::is_valid(&email) {
                let detail = format!("`{}` is not a mail address", customer.email);
                return Err(Error::Invalid(vec![Fault { field: "requester.email".to_owned(), detail }]));
            }
            let person = people::by_address(&mut tx, &email, customer.name.trim(), act.now).await?;
            (person, Some(email))
        }
    };
    let request = Request {
        requester,
        address: customer.as_deref(),
        subject: &body.subject,
        body: &body.body,
        category: body.category.as_deref(),
        uploads: &body.attachments,
        acknowledge: state.settings.known().mail.acknowledge && state.config.default_mailbox().is_some(),
    };
    let (ticket, _) = opening::open(&mut tx, &request, act).await?;
    let summary = changed(&mut tx, &state, &caller, ticket).await?;
    let answer = once.commit(tx, &state, &caller, StatusCode::CREATED, &summary).await?;
    let mut answer = tagged(answer, summary.version);
    if let Ok(place) = HeaderValue::from_str(&format!("/api/tickets/{ticket}")) {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    Ok(answer)
}
