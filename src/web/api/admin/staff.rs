//! What the assignment goes by: a person's skills, periods away and working hours.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use crate::people::hours::AwayPeriod;

use crate::ids::PersonId;
use crate::people::hours::{self, Interval, WorkingHours};
use crate::people::{self, OwnSkill, levels};
use crate::queue;
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(skills, replace_skills))
        .routes(routes!(set_skill, remove_skill))
        .routes(routes!(confirm_skill))
        .routes(routes!(away, add_away))
        .routes(routes!(remove_away))
        .routes(routes!(working_hours, set_hours, remove_hours))
}

async fn known(state: &Shared, id: PersonId) -> Result<(), Error> {
    people::person(&state.db, id).await?.map(drop).ok_or(Error::NotFound)
}

#[derive(Serialize, ToSchema)]
struct OwnSkills {
    skills: Vec<OwnSkill>,
}

/// The skills of a person, proposed ones too.
#[utoipa::path(
    get,
    path = "/api/admin/people/{id}/skills",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 200, description = "By slug", body = OwnSkills))
)]
async fn skills(State(state): State<Shared>, Named(id): Named<PersonId>) -> Result<Json<OwnSkills>, Error> {
    known(&state, id).await?;
    Ok(Json(OwnSkills { skills: people::skills_of(&state.db, id).await? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LevelOfSkill {
    /// 1 (knows a little) to 5 (knows it all).
    #[schema(minimum = 1, maximum = 5)]
    level: i32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SkillLevel {
    #[schema(example = "billing")]
    slug: String,
    /// 1 (knows a little) to 5 (knows it all).
    #[schema(minimum = 1, maximum = 5)]
    level: i32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AllSkills {
    skills: Vec<SkillLevel>,
}

/// Sets all skills of a person. Confirmed ones that are not named are taken away; proposals that are not named wait on.
#[utoipa::path(
    put,
    path = "/api/admin/people/{id}/skills",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    request_body = AllSkills,
    responses(
        (status = 200, description = "Their skills now", body = OwnSkills),
        (status = 409, description = "They are not staff", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn replace_skills(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
    Input { value: body, .. }: Input<AllSkills>,
) -> Result<Json<OwnSkills>, Error> {
    known(&state, id).await?;
    let wanted: Vec<_> = body.skills.into_iter().map(|skill| (skill.slug, skill.level)).collect();
    let mut tx = state.db.begin().await?;
    levels::replace(&mut tx, id, &wanted, caller.actor(), state.clock.now()).await?;
    let skills = levels::skills_in(&mut tx, id).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(Json(OwnSkills { skills }))
}

/// Sets how well a person has one skill.
#[utoipa::path(
    put,
    path = "/api/admin/people/{id}/skills/{slug}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number"), ("slug" = String, Path, description = "The skill")),
    request_body = LevelOfSkill,
    responses(
        (status = 200, description = "Their skills now", body = OwnSkills),
        (status = 409, description = "They are not staff", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn set_skill(
    State(state): State<Shared>,
    caller: Caller,
    Named((id, slug)): Named<(PersonId, String)>,
    Input { value: body, .. }: Input<LevelOfSkill>,
) -> Result<Json<OwnSkills>, Error> {
    known(&state, id).await?;
    let mut tx = state.db.begin().await?;
    levels::set(&mut tx, id, &slug, body.level, caller.actor(), state.clock.now()).await?;
    let skills = levels::skills_in(&mut tx, id).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(Json(OwnSkills { skills }))
}

/// Takes a skill from a person, or refuses what they proposed.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}/skills/{slug}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number"), ("slug" = String, Path, description = "The skill")),
    responses((status = 204, description = "They do not have it any more"))
)]
async fn remove_skill(
    State(state): State<Shared>,
    caller: Caller,
    Named((id, slug)): Named<(PersonId, String)>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    if !levels::remove(&mut tx, id, &slug, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Confirms what a moderator proposed: the skill counts from now on.
#[utoipa::path(
    post,
    path = "/api/admin/people/{id}/skills/{slug}/confirm",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number"), ("slug" = String, Path, description = "The skill")),
    responses((status = 200, description = "Their skills now", body = OwnSkills))
)]
async fn confirm_skill(
    State(state): State<Shared>,
    caller: Caller,
    Named((id, slug)): Named<(PersonId, String)>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    if !levels::confirm(&mut tx, id, &slug, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    let skills = levels::skills_in(&mut tx, id).await?;
    once.commit(tx, &state, &caller, StatusCode::OK, &OwnSkills { skills }).await
}

#[derive(Serialize, ToSchema)]
struct AwayPeriods {
    /// By beginning.
    periods: Vec<AwayPeriod>,
}

/// The periods away of a person that are not over.
#[utoipa::path(
    get,
    path = "/api/admin/people/{id}/away",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 200, description = "By beginning", body = AwayPeriods))
)]
async fn away(State(state): State<Shared>, Named(id): Named<PersonId>) -> Result<Json<AwayPeriods>, Error> {
    known(&state, id).await?;
    Ok(Json(AwayPeriods { periods: hours::away_periods(&state.db, id, state.clock.now()).await? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAwayPeriod {
    from: DateTime<Utc>,
    /// The first moment at which they are back.
    until: DateTime<Utc>,
    /// For colleagues; not in the audit log.
    #[serde(default)]
    note: String,
}

/// Enters a period in which a person is given no tickets. Periods may overlap.
#[utoipa::path(
    post,
    path = "/api/admin/people/{id}/away",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    request_body = NewAwayPeriod,
    responses((status = 201, description = "It is entered", body = AwayPeriod))
)]
async fn add_away(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
    Input { value: body, once }: Input<NewAwayPeriod>,
) -> Result<Response, Error> {
    known(&state, id).await?;
    once.replay(&state, &caller).await?;
    let (now, actor) = (state.clock.now(), caller.actor());
    let mut tx = state.db.begin().await?;
    let period = hours::add_away(&mut tx, id, body.from, body.until, &body.note, actor, now).await?;
    once.commit(tx, &state, &caller, StatusCode::CREATED, &period).await
}

/// Takes a period back.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}/away/{period}",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number"), ("period" = i64, Path, description = "The period's number")),
    responses((status = 204, description = "It is gone"))
)]
async fn remove_away(
    State(state): State<Shared>,
    caller: Caller,
    Named((id, period)): Named<(PersonId, i64)>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    if !hours::remove_away(&mut tx, id, period, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A day of the week.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

const WEEK: [(Weekday, chrono::Weekday); 7] = [
    (Weekday::Monday, chrono::Weekday::Mon),
    (Weekday::Tuesday, chrono::Weekday::Tue),
    (Weekday::Wednesday, chrono::Weekday::Wed),
    (Weekday::Thursday, chrono::Weekday::Thu),
    (Weekday::Friday, chrono::Weekday::Fri),
    (Weekday::Saturday, chrono::Weekday::Sat),
    (Weekday::Sunday, chrono::Weekday::Sun),
];

/// A part of a day, by the clock on the wall.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WorkingInterval {
    weekday: Weekday,
    #[schema(example = "09:00")]
    from: String,
    /// Exclusive; 24:00 is the end of the day.
    #[schema(example = "17:00")]
    until: String,
}

/// When somebody works, week after week.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkingHours)]
pub(super) struct Hours {
    /// IANA name.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    intervals: Vec<WorkingInterval>,
}

impl From<&WorkingHours> for Hours {
    fn from(hours: &WorkingHours) -> Self {
        let shown = |interval: &Interval| {
            let (weekday, _) = WEEK.into_iter().find(|(_, day)| *day == interval.weekday)?;
            let (from, until) = (hours::show_time(interval.begins), hours::show_time(interval.ends));
            Some(WorkingInterval { weekday, from, until })
        };
        Self {
            time_zone: hours.zone().to_owned(),
            intervals: hours.intervals().iter().filter_map(shown).collect(),
        }
    }
}

impl Hours {
    fn read(&self) -> Result<WorkingHours, Error> {
        let time = |text: &str, index: usize, name: &str| {
            hours::parse_time(text).ok_or_else(|| {
                let field = format!("intervals[{index}].{name}");
                let detail = "write a time of day as 09:00, and the end of the day as 24:00".to_owned();
                Error::Invalid(vec![Fault { field, detail }])
            })
        };
        let mut intervals = Vec::new();
        for (index, interval) in self.intervals.iter().enumerate() {
            let place = interval.weekday as usize;
            let weekday = WEEK.get(place).map_or(chrono::Weekday::Mon, |(_, day)| *day);
            let begins = time(&interval.from, index, "from")?;
            let ends = time(&interval.until, index, "until")?;
            intervals.push(Interval { weekday, begins, ends });
        }
        Ok(WorkingHours::new(&self.time_zone, intervals)?)
    }
}

#[derive(Serialize, ToSchema)]
struct HoursOf {
    /// Null: always.
    hours: Option<Hours>,
}

/// When a person works.
#[utoipa::path(
    get,
    path = "/api/admin/people/{id}/hours",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 200, description = "Their working hours", body = HoursOf))
)]
async fn working_hours(
    State(state): State<Shared>,
    Named(id): Named<PersonId>,
) -> Result<Json<HoursOf>, Error> {
    known(&state, id).await?;
    let hours = hours::working_hours(&state.db, id).await?;
    Ok(Json(HoursOf { hours: hours.as_ref().map(Hours::from) }))
}

/// Sets when a person works. Off hours they are given a ticket only if nobody at work fits.
#[utoipa::path(
    put,
    path = "/api/admin/people/{id}/hours",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    request_body = Hours,
    responses(
        (status = 200, description = "Their working hours now", body = HoursOf),
        (status = 409, description = "They are not staff", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn set_hours(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
    Input { value: body, .. }: Input<Hours>,
) -> Result<Json<HoursOf>, Error> {
    known(&state, id).await?;
    let wanted = body.read()?;
    let mut tx = state.db.begin().await?;
    hours::set_hours(&mut tx, id, &wanted, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(Json(HoursOf { hours: Some(Hours::from(&wanted)) }))
}

/// Takes a person's working hours away: it is always working time.
#[utoipa::path(
    delete,
    path = "/api/admin/people/{id}/hours",
    tag = "people",
    params(("id" = i64, Path, description = "The person's number")),
    responses((status = 204, description = "They have none any more"))
)]
async fn remove_hours(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<PersonId>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    if !hours::remove_hours(&mut tx, id, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    tx.commit().await?;
    queue::ring(&state.db).await;
    Ok(StatusCode::NO_CONTENT)
}
