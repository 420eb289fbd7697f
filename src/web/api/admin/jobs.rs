//! What waits to be done, and what was given up: the dead letters.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::audit;
use crate::ids::JobId;
use crate::queue::{self, Filter, Job, KINDS, Kind};
use crate::tickets::outbox;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobState {
    /// To be done, now or later.
    Waiting,
    /// Given up: the dead letters.
    Dead,
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
    #[param(inline)]
    state: Option<JobState>,
    /// What is to be done: `ingest`, `triage`, `deliver` …
    kind: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Jobs {
    jobs: Vec<Job>,
    next_cursor: Option<String>,
}

pub(super) fn kind_named(name: &str) -> Result<&'static Kind, String> {
    Kind::named(name).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        format!("there is no such kind of job: {}", known.join(", "))
    })
}

/// Lists jobs.
#[utoipa::path(
    get,
    path = "/api/admin/jobs",
    tag = "operations",
    params(ListQuery),
    responses((status = 200, description = "By number", body = Jobs))
)]
async fn list(State(state): State<Shared>, Params(query): Params<ListQuery>) -> Result<Json<Jobs>, Error> {
    let limit = page::limit(query.limit)?;
    let kind = query.kind.as_deref().map(kind_named).transpose().map_err(Error::BadRequest)?;
    let filter = Filter {
        dead: query.state.map(|state| matches!(state, JobState::Dead)),
        kind: kind.map(|kind| kind.name),
        after: page::after(query.cursor.as_deref())?,
    };
    let jobs = queue::page(&state.db, &filter, limit + 1).await?;
    let (jobs, next_cursor) = page::cut(jobs, limit, |job| job.id.to_string());
    Ok(Json(Jobs { jobs, next_cursor }))
}

/// One job. What is done is not listed any more.
#[utoipa::path(
    get,
    path = "/api/admin/jobs/{id}",
    tag = "operations",
    params(("id" = i64, Path, description = "The job's number")),
    responses((status = 200, description = "The job", body = Job))
)]
async fn detail(State(state): State<Shared>, Named(id): Named<JobId>) -> Result<Json<Job>, Error> {
    queue::job(&state.db, id).await?.map(Json).ok_or(Error::NotFound)
}

/// Puts a dead letter back to work, with all its attempts. It gets another number.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/retry",
    tag = "operations",
    params(("id" = i64, Path, description = "The job's number")),
    responses((status = 204, description = "It is back at work"))
)]
async fn retry(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<JobId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let job = queue::job(&state.db, id).await?.ok_or(Error::NotFound)?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    if queue::revive(&mut tx, id, now).await?.is_none() {
        return Err(Error::Conflict(format!("job {id} was not given up: it is tried by itself")));
    }
    let data = json!({"kind": job.kind, "subject": job.subject});
    audit::record(&mut tx, caller.actor(), "job.retried", &format!("job:{id}"), &data, now).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}

/// Takes a job away for good, and with it the mail that it would have sent. Refused where something would wait for ever.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/cancel",
    tag = "operations",
    params(("id" = i64, Path, description = "The job's number")),
    responses((status = 204, description = "It is gone"))
)]
async fn cancel(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<JobId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    let job = outbox::cancel_job(&mut tx, id, now).await?;
    let data = json!({"kind": job.kind, "subject": job.subject});
    audit::record(&mut tx, caller.actor(), "job.cancelled", &format!("job:{id}"), &data, now).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
