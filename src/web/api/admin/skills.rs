//! The catalogue of skills, and what moderators say to have of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::ids::PersonId;
use crate::people::catalogue::{self, Change, Listed};
use crate::people::levels::{self, Proposal};
use crate::people::{self};
use crate::queue;
use crate::tickets::skills as needed;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(detail, change, remove))
        .routes(routes!(proposals))
}

/// A skill of the catalogue, who has it, and what needs it.
#[derive(Serialize, ToSchema)]
struct SkillUse {
    slug: String,
    name: String,
    /// Other words for it.
    aliases: Vec<String>,
    description: String,
    /// Active staff who have it, confirmed.
    staff: i64,
    /// Those who say to have it, and wait for an admin's word.
    proposals: i64,
    /// Active tickets that need it.
    active_tickets: i64,
}

#[derive(Serialize, ToSchema)]
struct SkillCatalogue {
    skills: Vec<SkillUse>,
}

fn with_use(listed: Listed, active: &BTreeMap<String, i64>) -> SkillUse {
    SkillUse {
        active_tickets: active.get(&listed.skill.slug).copied().unwrap_or_default(),
        slug: listed.skill.slug,
        name: listed.skill.name,
        aliases: listed.skill.aliases,
        description: listed.skill.description,
        staff: listed.staff,
        proposals: listed.proposals,
    }
}

/// The whole catalogue.
#[utoipa::path(
    get,
    path = "/api/admin/skills",
    tag = "skills",
    responses((status = 200, description = "By slug", body = SkillCatalogue))
)]
async fn list(State(state): State<Shared>) -> Result<Json<SkillCatalogue>, Error> {
    let active = needed::active_by_skill(&state.db).await?.into_iter().collect();
    let skills = catalogue::list(&state.db).await?.into_iter().map(|l| with_use(l, &active)).collect();
    Ok(Json(SkillCatalogue { skills }))
}

async fn one(state: &Shared, slug: &str) -> Result<Json<SkillUse>, Error> {
    let listed = catalogue::get(&state.db, slug).await?.ok_or(Error::NotFound)?;
    let active = needed::active_by_skill(&state.db).await?.into_iter().collect();
    Ok(Json(with_use(listed, &active)))
}

/// One skill.
#[utoipa::path(
    get,
    path = "/api/admin/skills/{slug}",
    tag = "skills",
    params(("slug" = String, Path, description = "The skill's slug")),
    responses((status = 200, description = "The skill", body = SkillUse))
)]
async fn detail(State(state): State<Shared>, Named(slug): Named<String>) -> Result<Json<SkillUse>, Error> {
    one(&state, &slug).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSkill {
    /// 1 to 64 of a-z, 0-9, - and _; it stays.
    #[schema(example = "billing")]
    slug: String,
    #[schema(example = "Billing")]
    name: String,
    /// Other words for it; one stands for one skill only.
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    description: String,
}

/// Enters a skill.
#[utoipa::path(
    post,
    path = "/api/admin/skills",
    tag = "skills",
    request_body = NewSkill,
    responses((status = 201, description = "It is in the catalogue", body = people::Skill))
)]
async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<NewSkill>,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let NewSkill { slug, name, aliases, description } = body;
    let skill = people::Skill { slug, name, aliases, description };
    let mut tx = state.db.begin().await?;
    let skill = catalogue::create(&mut tx, &skill, caller.actor(), state.clock.now()).await?;
    once.commit(tx, &state, &caller, StatusCode::CREATED, &skill).await
}

/// What is to be changed; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SkillChange {
    name: Option<String>,
    /// All of them.
    aliases: Option<Vec<String>>,
    description: Option<String>,
}

/// Changes a skill.
#[utoipa::path(
    patch,
    path = "/api/admin/skills/{slug}",
    tag = "skills",
    params(("slug" = String, Path, description = "The skill's slug")),
    request_body = SkillChange,
    responses(
        (status = 200, description = "The skill as it is now", body = SkillUse),
        (status = 409, description = "An alias stands for another skill already",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(state): State<Shared>,
    caller: Caller,
    Named(slug): Named<String>,
    Input { value: body, .. }: Input<SkillChange>,
) -> Result<Json<SkillUse>, Error> {
    let change = Change { name: body.name, aliases: body.aliases, description: body.description };
    let mut tx = state.db.begin().await?;
    catalogue::change(&mut tx, &slug, &change, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    one(&state, &slug).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Take it from everybody who has it, and from every ticket.
    #[serde(default)]
    force: bool,
}

/// Removes a skill. One that people have or tickets need is removed with `force` only.
#[utoipa::path(
    delete,
    path = "/api/admin/skills/{slug}",
    tag = "skills",
    params(("slug" = String, Path, description = "The skill's slug"), RemoveQuery),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is in use: `detail` says by how many",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    Named(slug): Named<String>,
    Params(query): Params<RemoveQuery>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    needed::remove_skill(&mut tx, &slug, query.force, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(StatusCode::NO_CONTENT)
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
}

#[derive(Serialize, ToSchema)]
struct Proposals {
    proposals: Vec<Proposal>,
    next_cursor: Option<String>,
}

/// What moderators say to have, and nobody has confirmed.
#[utoipa::path(
    get,
    path = "/api/admin/proposals",
    tag = "skills",
    params(ListQuery),
    responses((status = 200, description = "By person and skill", body = Proposals))
)]
async fn proposals(
    State(state): State<Shared>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Proposals>, Error> {
    let limit = page::limit(query.limit)?;
    let after = match query.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let (person, slug) = cursor.split_once('.').ok_or_else(page::not_given_out)?;
            page::after::<PersonId>(Some(person))?.map(|person| (person, slug))
        }
    };
    let found = levels::proposals(&state.db, after, limit + 1).await?;
    let (proposals, next_cursor) = page::cut(found, limit, |last| format!("{}.{}", last.person, last.slug));
    Ok(Json(Proposals { proposals, next_cursor }))
}
