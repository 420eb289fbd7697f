//! What an admin looks at first.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ledger::{self, Mailbox};
use crate::ids::PersonId;
use crate::people::directory;
use crate::queue;
use crate::tickets::outbox;
use crate::tickets::read::{self, Waiting};
use crate::web::State as Shared;
use crate::web::error::Error;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(dashboard))
}

#[derive(Serialize, ToSchema)]
struct Dashboard {
    /// All tickets there are.
    tickets_by_status: BTreeMap<String, i64>,
    /// Active tickets that nobody has.
    unassigned: i64,
    /// Active tickets that an admin has because nobody fit.
    fallback: i64,
    /// The ticket whose requester has waited longest for an answer.
    oldest_waiting: Option<Waiting>,
    /// Jobs to be done, by kind.
    waiting_jobs: BTreeMap<String, i64>,
    /// When the oldest of them was due.
    oldest_due: Option<DateTime<Utc>>,
    /// Jobs that were given up, by kind.
    dead_jobs: BTreeMap<String, i64>,
    /// Mails that were not sent, or came back, by state.
    undelivered: BTreeMap<String, i64>,
    failing_mailboxes: Vec<Mailbox>,
    /// Staff that is away now.
    away: Vec<AwayColleague>,
}

#[derive(Serialize, ToSchema)]
struct AwayColleague {
    id: PersonId,
    name: String,
}

/// How the desk fares.
#[utoipa::path(
    get,
    path = "/api/admin/dashboard",
    tag = "operations",
    responses((status = 200, description = "As it is now", body = Dashboard))
)]
async fn dashboard(State(state): State<Shared>) -> Result<Json<Dashboard>, Error> {
    let overview = read::overview(&state.db).await?;
    let backlog = queue::backlog(&state.db).await?;
    let mailboxes = ledger::all_mailboxes(&state).await?;
    let away = directory::away_now(&state.db, state.clock.now()).await?;
    Ok(Json(Dashboard {
        tickets_by_status: overview.by_status.into_iter().collect(),
        unassigned: overview.unassigned,
        fallback: overview.fallback,
        oldest_waiting: overview.oldest_waiting,
        waiting_jobs: backlog.waiting.into_iter().collect(),
        oldest_due: backlog.oldest_due,
        dead_jobs: backlog.dead.into_iter().collect(),
        undelivered: outbox::count_unsent(&state.db).await?.into_iter().collect(),
        failing_mailboxes: mailboxes.into_iter().filter(|mailbox| mailbox.failing_since.is_some()).collect(),
        away: away.into_iter().map(|(id, name)| AwayColleague { id, name }).collect(),
    }))
}
