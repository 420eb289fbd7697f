//! One's own account: name, skills, log-ins.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fault;
use crate::ids::PersonId;
use crate::people::access::{self, By};
use crate::people::sessions::{self, Session};
use crate::people::{self, OwnSkill, Role, SkillError, accounts, external, second_factor};
use crate::queue;
use crate::web::State as Shared;
use crate::web::error::{Error, Problem};
use crate::web::request::{Caller, Input, Named};
use crate::web::rights;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(show, rename))
        .routes(routes!(skills, propose_skills))
        .routes(routes!(list_sessions, end_other_sessions))
        .routes(routes!(end_session))
}

/// The session a request is made in, where it is made in one.
pub(super) fn session_of(caller: &Caller) -> Option<i64> {
    match caller.by {
        By::Session(id) => Some(id),
        By::Token { .. } => None,
    }
}

#[derive(Serialize, ToSchema)]
struct Me {
    id: PersonId,
    name: String,
    role: Role,
    email: Option<String>,
    /// The user id in Discord, where it is linked.
    discord: Option<String>,
    has_password: bool,
    /// Whether a second factor is asked for at log-in.
    second_factor: bool,
    /// True: nothing can be done before a second factor was set up, or used to log in.
    restricted: bool,
    signs_in_by: Vec<SignsInBy>,
}

#[derive(Serialize, ToSchema)]
struct SignsInBy {
    #[schema(example = "https://accounts.google.com")]
    issuer: String,
    since: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

async fn me(state: &Shared, caller: &Caller) -> Result<Json<Me>, Error> {
    let person = people::person(&state.db, caller.person).await?.ok_or(Error::Unauthorized)?;
    let signs_in_by = external::list(&state.db, person.id).await?;
    Ok(Json(Me {
        id: person.id,
        name: person.name,
        role: person.role,
        email: person.email,
        discord: person.discord.map(|id| id.to_string()),
        has_password: accounts::has_password(&state.db, person.id).await?,
        second_factor: second_factor::state(&state.db, person.id).await?.active,
        restricted: rights::is_restricted(&state.config, caller),
        signs_in_by: signs_in_by
            .into_iter()
            .map(|known| SignsInBy {
                issuer: known.issuer,
                since: known.created_at,
                last_used_at: known.last_used_at,
            })
            .collect(),
    }))
}

/// Who one is.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "account",
    responses((status = 200, description = "One's own account", body = Me))
)]
async fn show(State(state): State<Shared>, caller: Caller) -> Result<Json<Me>, Error> {
    me(&state, &caller).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rename {
    /// 1 to 100 characters.
    name: String,
}

/// Changes one's name.
#[utoipa::path(
    patch,
    path = "/api/auth/me",
    tag = "account",
    request_body = Rename,
    responses((status = 200, description = "One's own account", body = Me))
)]
async fn rename(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, .. }: Input<Rename>,
) -> Result<Json<Me>, Error> {
    accounts::rename(&state.db, caller.person, &body.name).await?;
    me(&state, &caller).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Proposal {
    skills: Vec<ProposedSkill>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProposedSkill {
    /// Of the catalogue.
    #[schema(example = "billing")]
    slug: String,
    #[schema(minimum = 1, maximum = 5)]
    level: i32,
}

#[derive(Serialize, ToSchema)]
struct Skill {
    slug: String,
    name: String,
    /// 1 (knows a little) to 5 (knows it all).
    level: i32,
    /// Only what an admin confirmed counts when tickets are assigned.
    confirmed: bool,
}

impl From<OwnSkill> for Skill {
    fn from(skill: OwnSkill) -> Self {
        Self { slug: skill.slug, name: skill.name, level: skill.level, confirmed: skill.confirmed }
    }
}

/// One's own skills, by slug.
#[utoipa::path(
    get,
    path = "/api/auth/me/skills",
    tag = "account",
    responses((status = 200, description = "Confirmed and proposed ones", body = Vec<Skill>))
)]
async fn skills(State(state): State<Shared>, caller: Caller) -> Result<Json<Vec<Skill>>, Error> {
    let skills = people::skills_of(&state.db, caller.person).await?;
    Ok(Json(skills.into_iter().map(Skill::from).collect()))
}

const MOST_SKILLS: usize = 100;

/// Says which skills one has. A moderator's word is a proposal, which an admin confirms; an admin's counts at once.
///
/// Skills that are not named stay as they are.
#[utoipa::path(
    put,
    path = "/api/auth/me/skills",
    tag = "account",
    request_body = Proposal,
    responses(
        (status = 200, description = "One's own skills, by slug", body = Vec<Skill>),
        (status = 409, description = "A skill is confirmed at another level: an admin changes it", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn propose_skills(
    state: State<Shared>,
    caller: Caller,
    Input { value: body, .. }: Input<Proposal>,
) -> Result<Json<Vec<Skill>>, Error> {
    if body.skills.len() > MOST_SKILLS {
        return Err(fault("skills", &format!("at most {MOST_SKILLS} skills are taken at once")));
    }
    let now = state.clock.now();
    for (index, skill) in body.skills.iter().enumerate() {
        let proposed = people::propose_skill(&state.db, caller.person, &skill.slug, skill.level, now).await;
        proposed.map_err(|error| match error {
            SkillError::Unknown(_) => fault(&format!("skills[{index}].slug"), &error),
            SkillError::Level => fault(&format!("skills[{index}].level"), &error),
            SkillError::Confirmed { .. } => Error::Conflict(error.to_string()),
            SkillError::NotStaff => Error::Forbidden,
            SkillError::Database(error) => error.into(),
        })?;
    }
    queue::ring(&state.db).await;
    skills(state, caller).await
}

#[derive(Serialize, ToSchema)]
struct OwnSession {
    id: i64,
    /// `password`, `totp` (password and second factor) or `oidc` (signed in by another).
    method: String,
    /// What the client called itself.
    user_agent: String,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// The one this request is made in.
    current: bool,
}

/// One's log-ins that go on, the newest first.
#[utoipa::path(
    get,
    path = "/api/auth/me/sessions",
    tag = "account",
    responses((status = 200, description = "Log-ins that go on", body = Vec<OwnSession>))
)]
async fn list_sessions(State(state): State<Shared>, caller: Caller) -> Result<Json<Vec<OwnSession>>, Error> {
    let current = session_of(&caller);
    let shown = |s: Session| OwnSession {
        current: Some(s.id) == current,
        id: s.id,
        method: s.method,
        user_agent: s.user_agent,
        created_at: s.created_at,
        last_used_at: s.last_used_at,
        expires_at: s.expires_at,
    };
    let sessions = sessions::list(&state.db, caller.person, state.clock.now()).await?;
    Ok(Json(sessions.into_iter().map(shown).collect()))
}

#[derive(Serialize, ToSchema)]
struct Ended {
    ended: u64,
}

/// Ends all one's log-ins but this one.
#[utoipa::path(
    delete,
    path = "/api/auth/me/sessions",
    tag = "account",
    responses((status = 200, description = "How many that were", body = Ended))
)]
async fn end_other_sessions(State(state): State<Shared>, caller: Caller) -> Result<Json<Ended>, Error> {
    let mut tx = state.db.begin().await?;
    let current = session_of(&caller);
    let ended = access::end_sessions(&mut tx, caller.person, current, state.clock.now()).await?;
    tx.commit().await?;
    Ok(Json(Ended { ended }))
}

/// Ends one of one's log-ins, at once.
#[utoipa::path(
    delete,
    path = "/api/auth/me/sessions/{id}",
    tag = "account",
    params(("id" = i64, Path, description = "The log-in's id")),
    responses((status = 204, description = "It has ended"))
)]
async fn end_session(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<i64>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    let ended = sessions::revoke(&mut tx, caller.person, id, state.clock.now()).await?;
    tx.commit().await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Error::NotFound) }
}
