//! Changing, closing, reopening, deleting and restoring.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::messages::closed_too_long;
use super::{act, caps, expected, finish, known_category, locked, seen, tagged};
use crate::audit;
use crate::ids::PersonId;
use crate::tickets::patch::{self, Deadline, Patch};
use crate::tickets::read::{self, Holder, Summary};
use crate::tickets::{self, Priority, Status, actions, removal};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(change, delete))
        .routes(routes!(restore))
        .routes(routes!(close))
        .routes(routes!(reopen))
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[schema(min_length = 1, max_length = 500)]
    subject: Option<String>,
    priority: Option<Priority>,
    /// One of the configured categories.
    category: Option<String>,
    /// Slugs of the required skills, in place of those that there are.
    skills: Option<Vec<String>>,
    status: Option<Status>,
    /// In place of those that there are.
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    /// null: without one.
    #[serde(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    deadline_at: Field<DateTime<Utc>>,
    /// A member of staff; null: nobody.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    assignee_id: Field<PersonId>,
    /// Give it to them even if they have as many open tickets as they may have.
    #[serde(default)]
    force: bool,
}

/// A field that can be left out, or be `null`, which is something else.
#[derive(Clone, Copy, Default)]
enum Field<T> {
    #[default]
    LeftOut,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| value.map_or(Self::Null, Self::Value))
    }
}

/// Changes what is named, all of it or nothing.
#[utoipa::path(
    patch,
    path = "/api/tickets/{number}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = Changes,
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "It cannot be done as things stand: `detail` says why", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn change(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<Changes>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    if let Some(category) = &body.category {
        known_category(&state, category)?;
    }
    if let Field::Value(deadline) = body.deadline_at
        && !(1970..=9999).contains(&deadline.year())
    {
        let detail = "a time between the years 1970 and 9999".to_owned();
        return Err(Error::Invalid(vec![Fault { field: "deadline_at".to_owned(), detail }]));
    }
    let patch = Patch {
        subject: body.subject,
        priority: body.priority,
        category: body.category,
        skills: body.skills,
        tags: body.tags,
        deadline: match body.deadline_at {
            Field::LeftOut => None,
            Field::Null => Some(Deadline::Without),
            Field::Value(at) => Some(Deadline::At(at)),
        },
        assignee: match body.assignee_id {
            Field::LeftOut => None,
            Field::Null => Some(Holder::Nobody),
            Field::Value(person) => Some(Holder::Person(person)),
        },
        status: body.status,
    };
    if patch.is_empty() {
        return Err(Error::BadRequest("nothing is to be changed: name a field".to_owned()));
    }
    once.replay(&state, &caller).await?;
    let expected = expected(&headers)?;
    let mut tx = state.db.begin().await?;
    let (caps, act) = (caps(&state, body.force), act(&state, &caller));
    patch::apply(&mut tx, number, expected, &patch, caps, act).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}

/// Takes a ticket out of sight. An admin can restore it.
#[utoipa::path(
    delete,
    path = "/api/tickets/{number}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 400, description = "If-Match is no ETag", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let expected = expected(&headers)?;
    let act = act(&state, &caller);
    let mut tx = state.db.begin().await?;
    // What was merged can be deleted, too.
    let ticket = tickets::lock_any(&mut tx, number).await?;
    if expected.is_some_and(|version| version != ticket.version && !ticket.is_deleted) {
        return Err(Error::Stale);
    }
    removal::delete(&mut tx, &ticket, act).await?;
    let subject = format!("ticket:{number}");
    audit::record(&mut tx, caller.actor(), "ticket.deleted", &subject, &json!({}), act.now).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}

/// Brings a deleted ticket back as it was.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/restore",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "The ticket, back again", body = Summary,
               headers(("ETag" = String, description = "Its version"))))
)]
async fn restore(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let act = act(&state, &caller);
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock_any(&mut tx, number).await?;
    let restored = removal::restore(&mut tx, &ticket, act).await?;
    let summary = read::ticket_in(&mut tx, read::Sight::All, number).await?.ok_or(Error::NotFound)?;
    if restored {
        let subject = format!("ticket:{number}");
        audit::record(&mut tx, caller.actor(), "ticket.restored", &subject, &json!({}), act.now).await?;
    }
    let answer = once.commit(tx, &state, &caller, StatusCode::OK, &summary).await?;
    Ok(tagged(answer, summary.version))
}

/// Closes a ticket: history at once. Requesters close their own.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/close",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
    )
)]
async fn close(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    actions::close(&mut tx, &ticket, act(&state, &caller)).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}

/// Opens again what was resolved or closed. Requesters do so with their own, as long as an answer of theirs would.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/reopen",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
    )
)]
async fn reopen(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let act = act(&state, &caller);
    let mut tx = state.db.begin().await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    let days = state.settings.known().assignment.reopen_days;
    if !caller.is_staff() && !tickets::takes_replies(&ticket, days, act.now) {
        return Err(closed_too_long(number, days));
    }
    actions::reopen(&mut tx, &ticket, act).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}
