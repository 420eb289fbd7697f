//! Everybody there is: listed, entered, changed, switched off.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use super::staff::{AwayPeriod, Hours};
use crate::ids::PersonId;
use crate::people::directory::{self, Account, Cap, Change, Filter, Identity, Listed, NewPerson};
use crate::people::{OwnSkill, Role};
use crate::queue;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(detail, change, remove))
        .routes(routes!(log_out))
        .routes(routes!(reset_second_factor))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    /// What counts: the greater of what an admin and what Discord gave.
    role: Option<Role>,
    active: Option<bool>,
    /// Part of a name or an address; case does not matter.
    q: Option<String>,
    /// Slug of a skill that they have, confirmed or not.
    skill: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct People {
    people: Vec<Listed>,
    next_cursor: Option<String>,
}

/// Lists people.
#[utoipa::path(
    get,
    path = "/api/admin/people",
    tag = "people",
    params(ListQuery),
    responses((status = 200, description = "By number; who was merged into another is left out", body = People))
)]
async fn list(State(state): State<Shared>, Params(query): Params<ListQuery>) -> Result<Json<People>, Error> {
    let limit = page::limit(query.limit)?;
    let filter = Filter {
        role: query.role,
        active: query.active,
        text: query.q.filter(|text| !text.is_empty()),
        skill: query.skill,
        after: page::after(query.cursor.as_deref())?,
    };
    let people = directory::list(&state.db, &filter, limit + 1, state.clock.now()).await?;
    let (people, next_cursor) = page::cut(people, limit, |person| person.id.to_string());
    Ok(Json(People { people, next_cursor }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPersonEntry {
    #[schema(example = "Bea")]
    name: String,
    #[schema(example = "bea@example.org")]
    email: String,
    role: Role,
}

#[derive(Serialize, ToSchema)]
struct PersonCreated {
    id: PersonId,
}

/// Enters somebody. They can log in once they have set a password, or by another's sign-in.
#[utoipa::path(
    post,
    path = "/api/admin/people",
    tag = "people",
    request_body = NewPersonEntry,
    responses((status = 201, description = "They are entered", body = PersonCreated))
)]
async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<NewPersonEntry>,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let new = NewPerson { name: body.name, email: body.email, role: body.role };
    let mut tx = state.db.begin().await?;
    let id = directory::create(&mut tx, &state.config, &new, caller.actor(), state.clock.now()).await?;
    once.commit(tx, &state, &caller, StatusCode::CREATED, &PersonCreated { id }).await
}

#[derive(Serialize, ToSchema)]
struct PersonProfile {
    #[serde(flatten)]
    person: Listed,
    identities: Vec<Identity>,
    skills: Vec<OwnSkill>,
    /// Periods away that are not over.
    away_periods: Vec<AwayPeriod>,
    /// When they work; null: always.
    hours: Option<Hours>,
    account: Account,
    last_assigned_at: Option<DateTime<Utc>>,
}

async fn profile(state: &Shared, id: PersonId) -> Result<Json<PersonProfile>, Error> {
    let found = directory::profile(&state.db, id, state.clock.now()).await?.ok_or(Error::NotFound)?;
    Ok(Json(PersonProfile {
        person: found.person,
        identities: found.identities,
        skills: found.skills,
        away_periods: found.away_periods,
        hours: found.hours.as_ref().map(Hours::from),
        account: found.account,
        last_assigned_at: found.last_assigned_at,
    }))
}

/// One person with everything.
#[utoipa::path(
    get,
    path = "/api/admin/people/{id}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 200, description = "The person", body = PersonProfile))
)]
async fn detail(
    State(state): State<Shared>,
    Named(id): Named<PersonId>,
) -> Result<Json<PersonProfile>, Error> {
    profile(&state, id).await
}

/// What is to be changed; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonChange {
    name: Option<String>,
    /// What an admin makes of them; a role by Discord counts beside it.
    role: Option<Role>,
    active: Option<bool>,
    away: Option<bool>,
    /// Active tickets they may hold at once; null: the configured number.
    #[serde(default, deserialize_with = "cap")]
    #[schema(value_type = Option<i32>)]
    cap: Option<Cap>,
}

/// Null is a value; what is not there is none.
fn cap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cap>, D::Error> {
    let own = Option::<i32>::deserialize(deserializer)?;
    Ok(Some(own.map_or(Cap::Configured, Cap::Own)))
}

/// Changes a person. Who loses a role or is switched off is logged out, and their tickets are given to others. The last active
/// admin stays one.
#[utoipa::path(
    patch,
    path = "/api/admin/people/{id}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    request_body = PersonChange,
    responses(
        (status = 200, description = "The person as they are now", body = PersonProfile),
        (status = 409, description = "They are the last active admin, or were merged into another",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
    Input { value: body, .. }: Input<PersonChange>,
) -> Result<Json<PersonProfile>, Error> {
    let change =
        Change { name: body.name, role: body.role, active: body.active, away: body.away, cap: body.cap };
    let mut tx = state.db.begin().await?;
    directory::change(&mut tx, id, &change, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    profile(&state, id).await
}

/// Switches a person off: they are logged out, and their tickets are given to others. What they wrote, and their addresses,
/// stay.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses(
        (status = 204, description = "They are switched off"),
        (status = 409, description = "They are the last active admin, or were merged into another",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
) -> Result<StatusCode, Error> {
    let change = Change { active: Some(false), ..Change::default() };
    let mut tx = state.db.begin().await?;
    directory::change(&mut tx, id, &change, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct SessionsEnded {
    /// Log-ins that were ended.
    sessions: u64,
}

/// Ends every log-in of a person.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}/sessions",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 200, description = "They are logged out", body = SessionsEnded))
)]
async fn log_out(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
) -> Result<Json<SessionsEnded>, Error> {
    let mut tx = state.db.begin().await?;
    let sessions = directory::log_out(&mut tx, id, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    Ok(Json(SessionsEnded { sessions }))
}

/// Takes the second factor of a person away who has lost it, and logs them out. One's own is removed with a code.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}/second-factor",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses(
        (status = 204, description = "They log in without one"),
        (status = 409, description = "It is one's own, or there is none", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn reset_second_factor(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
) -> Result<StatusCode, Error> {
    if id == caller.person {
        // Who has a session of an admin's for a moment must not be able to keep it.
        return Err(Error::Conflict(
            "your own is switched off by POST /api/auth/me/second-factor/disable, with a code".to_owned(),
        ));
    }
    let mut tx = state.db.begin().await?;
    if !directory::reset_second_factor(&mut tx, id, caller.actor(), state.clock.now()).await? {
        return Err(Error::Conflict("they have no second factor".to_owned()));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
