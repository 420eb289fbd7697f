//! Who did what to people, roles, settings and accounts.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::audit::{self, Entry, Filter, Verified};
use crate::ids::PersonId;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::Params;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
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
    /// Number of the person who did it.
    actor: Option<i64>,
    /// Begins with this: `person` finds `person.role_changed`.
    action: Option<String>,
    /// What it was done to: `person:7`, `setting:mail.acknowledge`.
    subject: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct AuditEntries {
    entries: Vec<Entry>,
    next_cursor: Option<String>,
}

/// Lists what was done.
#[utoipa::path(
    get,
    path = "/api/admin/audit",
    tag = "operations",
    params(ListQuery),
    responses((status = 200, description = "Newest first", body = AuditEntries))
)]
async fn list(
    State(state): State<Shared>,
    Params(query): Params<ListQuery>,
) -> Result<Json<AuditEntries>, Error> {
    let limit = page::limit(query.limit)?;
    let filter = Filter {
        actor: query.actor.map(PersonId),
        action: query.action,
        subject: query.subject,
        before: page::after(query.cursor.as_deref())?,
    };
    let entries = audit::list(&state.db, &filter, limit + 1).await?;
    let (entries, next_cursor) = page::cut(entries, limit, |entry| entry.seq.to_string());
    Ok(Json(AuditEntries { entries, next_cursor }))
}

/// Goes through the whole log: was anything changed or removed?
#[utoipa::path(
    get,
    path = "/api/admin/audit/verify",
    tag = "operations",
    responses((status = 200, description = "How many entries were looked at, and where the chain breaks, if it does", body = Verified))
)]
async fn verify(State(state): State<Shared>) -> Result<Json<Verified>, Error> {
    Ok(Json(audit::verify(&state.db).await?))
}
