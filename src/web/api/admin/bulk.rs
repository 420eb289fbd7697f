//! Dead letters, many at once: put back to work, or given up.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs::kind_named;
use crate::audit;
use crate::ids::{DeliveryId, JobId};
use crate::queue::{self, CANCELLABLE, Filter, Kind};
use crate::tickets::outbox::bulk::{self, MOST};
use crate::tickets::outbox::{self, CANCELLABLE_STATES, CancelError, RETRIABLE_STATES, UnsentFilter};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::request::{Caller, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(retry_jobs))
        .routes(routes!(cancel_jobs))
        .routes(routes!(retry_deliveries))
        .routes(routes!(cancel_deliveries))
}

fn wrong(field: &str, detail: impl Into<String>) -> Error {
    Error::Invalid(vec![Fault { field: field.to_owned(), detail: detail.into() }])
}

/// Which of them are meant.
enum Chosen<T, F> {
    These(Vec<T>),
    Those(F),
}

fn chosen<T, F>(ids: Option<Vec<T>>, filter: Option<F>, other: &str) -> Result<Chosen<T, F>, Error> {
    match (ids, filter) {
        (Some(ids), None) if ids.is_empty() || ids.len() > MOST => {
            Err(wrong("ids", format!("give 1 to {MOST} of them")))
        }
        (Some(ids), None) => Ok(Chosen::These(ids)),
        (None, Some(filter)) => Ok(Chosen::Those(filter)),
        (Some(_), Some(_)) | (None, None) => Err(wrong("ids", format!("give either ids or {other}"))),
    }
}

/// Either `ids` or `kind`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobsChosen {
    /// 1 to 1000 numbers.
    #[schema(example = json!([17, 18]), max_items = 1000)]
    ids: Option<Vec<JobId>>,
    /// The dead letters of this kind.
    kind: Option<String>,
}

impl JobsChosen {
    fn read(self) -> Result<Chosen<JobId, &'static Kind>, Error> {
        let kind = self.kind.map(|name| kind_named(&name)).transpose();
        chosen(self.ids, kind.map_err(|detail| wrong("kind", detail))?, "kind")
    }
}

/// Either `ids` or `state`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeliveriesChosen {
    /// 1 to 1000 numbers.
    #[schema(example = json!([17, 18]), max_items = 1000)]
    ids: Option<Vec<DeliveryId>>,
    /// The 1000 oldest of this state, or the next 1000 `after` one.
    state: Option<String>,
    /// With `state`: only those that were entered before this time.
    before: Option<DateTime<Utc>>,
    /// With `state`: only those after this one, the `last` of the answer before.
    after: Option<DeliveryId>,
}

impl DeliveriesChosen {
    fn read(self, states: &[&str]) -> Result<Chosen<DeliveryId, UnsentFilter>, Error> {
        if self.state.as_deref().is_some_and(|state| !states.contains(&state)) {
            return Err(wrong("state", format!("is one of {}", states.join(", "))));
        }
        let (before, after) = (self.before, self.after);
        for (field, is_given) in [("before", before.is_some()), ("after", after.is_some())] {
            if is_given && self.state.is_none() {
                return Err(wrong(field, "goes with state only"));
            }
        }
        let filter = self.state.map(|state| UnsentFilter { states: vec![state], before, after });
        chosen(self.ids, filter, "state")
    }
}

#[derive(Serialize, ToSchema)]
struct JobsRetried {
    /// Dead letters that are back at work.
    retried: i64,
    /// Of the numbers given, those that are no dead letters (any more).
    skipped: Vec<JobId>,
}

#[derive(Serialize, ToSchema)]
struct JobsCancelled {
    cancelled: usize,
    /// Of the numbers given, those that are no jobs (any more).
    skipped: Vec<JobId>,
    /// There are more dead letters of that kind: ask again.
    more: bool,
}

#[derive(Serialize, ToSchema)]
struct DeliveriesRetried {
    retried: usize,
    /// Those of which there is nothing to repeat: sent, waiting, taken back.
    skipped: Vec<DeliveryId>,
    /// With `state`: the last that was looked at.
    last: Option<DeliveryId>,
    /// There are more of that state: ask again, `after` the last.
    more: bool,
}

#[derive(Serialize, ToSchema)]
struct DeliveriesCancelled {
    cancelled: usize,
    /// Those that have left, or were given up before.
    skipped: Vec<DeliveryId>,
    /// With `state`: the last that was looked at.
    last: Option<DeliveryId>,
    /// There are more of that state: ask again, `after` the last.
    more: bool,
}

/// Puts dead letters back to work: these, or all of one kind.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/retry",
    tag = "operations",
    request_body = JobsChosen,
    responses((status = 200, description = "They are back at work", body = JobsRetried))
)]
async fn retry_jobs(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<JobsChosen>,
) -> Result<Response, Error> {
    let chosen = body.read()?;
    once.replay(&state, &caller).await?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    let retried = match chosen {
        Chosen::These(ids) => {
            let handled = bulk::retry_jobs(&mut tx, &ids, caller.actor(), now).await?;
            let retried = i64::try_from(handled.done.len()).unwrap_or(i64::MAX);
            JobsRetried { retried, skipped: handled.skipped }
        }
        Chosen::Those(kind) => {
            let retried = queue::revive_all(&mut tx, kind, now).await?;
            if retried > 0 {
                let (data, subject) =
                    (json!({"kind": kind.name, "jobs": retried}), format!("kind:{}", kind.name));
                audit::record(&mut tx, caller.actor(), "job.all_retried", &subject, &data, now).await?;
            }
            JobsRetried { retried, skipped: Vec::new() }
        }
    };
    once.commit(tx, &state, &caller, StatusCode::OK, &retried).await
}

/// Takes jobs away for good, and with them the mails that they would have sent: these, or the 1000 oldest dead letters of one
/// kind. Refused where something would wait for ever.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/cancel",
    tag = "operations",
    request_body = JobsChosen,
    responses((status = 200, description = "They are gone", body = JobsCancelled))
)]
async fn cancel_jobs(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<JobsChosen>,
) -> Result<Response, Error> {
    let chosen = body.read()?;
    once.replay(&state, &caller).await?;
    let (ids, more) = match chosen {
        Chosen::These(ids) => (ids, false),
        Chosen::Those(kind) if !CANCELLABLE.contains(&kind) => {
            return Err(CancelError::Needed(kind.name.to_owned()).into());
        }
        Chosen::Those(kind) => {
            let filter = Filter { dead: Some(true), kind: Some(kind.name), after: None };
            first(queue::page(&state.db, &filter, one_more()).await?, |job| job.id)
        }
    };
    let mut tx = state.db.begin().await?;
    let handled = bulk::cancel_jobs(&mut tx, &ids, caller.actor(), state.clock.now()).await?;
    let body = JobsCancelled { cancelled: handled.done.len(), skipped: handled.skipped, more };
    once.commit(tx, &state, &caller, StatusCode::OK, &body).await
}

/// Sends mails after all: these, or the 1000 oldest of one state (`failed`, `suppressed`, `bounced` or `cancelled`).
#[utoipa::path(
    post,
    path = "/api/admin/deliveries/retry",
    tag = "operations",
    request_body = DeliveriesChosen,
    responses((status = 200, description = "They are back at work", body = DeliveriesRetried))
)]
async fn retry_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<DeliveriesChosen>,
) -> Result<Response, Error> {
    let chosen = body.read(&RETRIABLE_STATES)?;
    once.replay(&state, &caller).await?;
    let (ids, last, more) = unsent(&state, chosen).await?;
    let mut tx = state.db.begin().await?;
    let handled = bulk::retry_deliveries(&mut tx, &ids, caller.actor(), state.clock.now()).await?;
    let body = DeliveriesRetried { retried: handled.done.len(), skipped: handled.skipped, last, more };
    once.commit(tx, &state, &caller, StatusCode::OK, &body).await
}

/// Gives mails up that have not left: these, or the 1000 oldest of one state (`waiting` or `failed`).
#[utoipa::path(
    post,
    path = "/api/admin/deliveries/cancel",
    tag = "operations",
    request_body = DeliveriesChosen,
    responses((status = 200, description = "They will not be sent", body = DeliveriesCancelled))
)]
async fn cancel_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, once }: Input<DeliveriesChosen>,
) -> Result<Response, Error> {
    let chosen = body.read(&CANCELLABLE_STATES)?;
    once.replay(&state, &caller).await?;
    let (ids, last, more) = unsent(&state, chosen).await?;
    let mut tx = state.db.begin().await?;
    let handled = bulk::cancel_deliveries(&mut tx, &ids, caller.actor(), state.clock.now()).await?;
    let body = DeliveriesCancelled { cancelled: handled.done.len(), skipped: handled.skipped, last, more };
    once.commit(tx, &state, &caller, StatusCode::OK, &body).await
}

/// Enough to see whether there are more.
fn one_more() -> i64 {
    i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1)
}

/// The first thousand, and whether there are more.
fn first<T, I>(mut found: Vec<T>, id: impl Fn(&T) -> I) -> (Vec<I>, bool) {
    let more = found.len() > MOST;
    found.truncate(MOST);
    (found.iter().map(id).collect(), more)
}

async fn unsent(
    state: &Shared,
    chosen: Chosen<DeliveryId, UnsentFilter>,
) -> Result<(Vec<DeliveryId>, Option<DeliveryId>, bool), Error> {
    match chosen {
        Chosen::These(ids) => Ok((ids, None, false)),
        Chosen::Those(filter) => {
            let found = outbox::unsent_page(&state.db, &filter, one_more()).await?;
            let (ids, more) = first(found, |delivery| delivery.id);
            let last = ids.last().copied();
            Ok((ids, last, more))
        }
    }
}
