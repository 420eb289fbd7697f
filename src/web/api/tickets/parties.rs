//! Who takes part in a ticket, and who of the staff follows it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, seen, tagged};
use crate::ids::{PersonId, TicketId};
use crate::mail::address;
use crate::people;
use crate::tickets::parties::{self, Follower};
use crate::tickets::read::{self, Participant};
use crate::tickets::{self};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(participants, add))
        .routes(routes!(remove))
        .routes(routes!(followers))
        .routes(routes!(follow, unfollow))
}

#[derive(Serialize, ToSchema)]
struct Participants {
    participants: Vec<Participant>,
    /// Always null: the list comes whole.
    next_cursor: Option<String>,
}

/// Lists who takes part: they get what staff answers.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/participants",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "Who takes part", body = Participants))
)]
async fn participants(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Participants>, Error> {
    seen(&state, &caller, number).await?;
    let participants = read::participants(&state.db, number).await?;
    Ok(Json(Participants { participants, next_cursor: None }))
}

/// Somebody by mail address, or a person that there is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Somebody {
    #[schema(example = "ada@example.org")]
    email: Option<String>,
    /// Of somebody new.
    #[serde(default)]
    name: String,
    /// Instead of an address: written to at the one that is theirs for sure.
    #[schema(value_type = Option<i64>)]
    person_id: Option<PersonId>,
}

/// Somebody who takes part from now on.
#[derive(Serialize, ToSchema)]
struct Added {
    person_id: PersonId,
    /// The ticket's version after it.
    version: i64,
}

/// Lets somebody take part: they get what staff answers from now on.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/participants",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    request_body = Somebody,
    responses(
        (status = 200, description = "They took part already", body = Added),
        (status = 201, description = "They take part", body = Added,
         headers(("ETag" = String, description = "The ticket's version after it"))),
    )
)]
async fn add(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    Input { value: body, once }: Input<Somebody>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let act = act(&state, &caller);
    let fault = |field: &str, detail: String| Error::Invalid(vec![Fault { field: field.to_owned(), detail }]);
    let mut tx = state.db.begin().await?;
    let (person, email) = match (&body.email, body.person_id) {
        (Some(email), None) => {
            let email = address::canonical(email);
            if !address::is_valid(&email) {
                return Err(fault("email", format!("`{email}` is not a mail address")));
            }
            if state.config.mailbox.iter().any(|m| address::canonical(&m.address) == email) {
                return Err(fault("email", "this is an address of ours".to_owned()));
            }
            let person = people::by_address(&mut tx, &email, body.name.trim(), act.now).await?;
            (person, Some(email))
        }
        (None, Some(person)) => {
            let person = people::person_in(&mut tx, person).await?.filter(|p| p.active);
            let person = person.ok_or_else(|| fault("person_id", "there is no such person".to_owned()))?;
            (person.id, None)
        }
        _ => return Err(fault("", "give either email or person_id".to_owned())),
    };
    let ticket = tickets::lock(&mut tx, number).await?;
    let is_new = parties::add_participant(&mut tx, &ticket, person, email.as_deref(), act).await?;
    let version = tickets::lock(&mut tx, number).await?.version;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let added = Added { person_id: person, version };
    let answer = once.commit(tx, &state, &caller, status, &added).await?;
    Ok(tagged(answer, version))
}

/// Lets somebody take part no more. The requester stays.
#[utoipa::path(
    delete,
    path = "/api/tickets/{number}/participants/{person}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("person" = i64, Path, description = "The person"),
    ),
    responses(
        (status = 204, description = "They take part no more"),
        (status = 409, description = "It is the requester", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    Named((number, person)): Named<(TicketId, PersonId)>,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, number).await?;
    parties::remove_participant(&mut tx, &ticket, person, act(&state, &caller)).await?;
    let version = tickets::lock(&mut tx, number).await?.version;
    let answer = once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await?;
    Ok(tagged(answer, version))
}

#[derive(Serialize, ToSchema)]
struct Followers {
    followers: Vec<Follower>,
    /// Always null: the list comes whole.
    next_cursor: Option<String>,
}

/// Lists the staff who follow a ticket.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/followers",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "Who follows it", body = Followers))
)]
async fn followers(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Followers>, Error> {
    seen(&state, &caller, number).await?;
    Ok(Json(Followers { followers: parties::followers(&state.db, number).await?, next_cursor: None }))
}

/// Follows a ticket: the caller is told of what comes in, like whoever has it.
#[utoipa::path(
    put,
    path = "/api/tickets/{number}/followers/me",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses(
        (status = 204, description = "The caller follows it"),
        (status = 409, description = "It was merged into another", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn follow(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, number).await?;
    parties::follow(&mut tx, &ticket, act(&state, &caller)).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}

/// Follows a ticket no more.
#[utoipa::path(
    delete,
    path = "/api/tickets/{number}/followers/me",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses(
        (status = 204, description = "The caller does not follow it"),
        (status = 409, description = "It was merged into another", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn unfollow(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    once: Once,
) -> Result<Response, Error> {
    // Also where they do not see it any more.
    if !parties::follows(&state.db, number, caller.person).await? {
        seen(&state, &caller, number).await?;
    }
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, number).await?;
    parties::unfollow(&mut tx, &ticket, act(&state, &caller)).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
