//! One ticket with everything about it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::messages::shown;
use super::seen;
use crate::ids::TicketId;
use crate::tickets::csat::{self, Rating};
use crate::tickets::parties::{self, Follower};
use crate::tickets::read::{self, DeliveryState, Event, Message, Participant, Summary};
use crate::tickets::{changes, transcript};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(detail)).routes(routes!(events)).routes(routes!(page))
}

#[derive(Serialize, ToSchema)]
struct Detail {
    #[serde(flatten)]
    summary: Summary,
    participants: Vec<Participant>,
    messages: Vec<Message>,
    /// Tickets that were merged into this one: what was said in them is read there.
    merged_from: Vec<TicketId>,
    /// How content the requester was.
    rating: Option<Rating>,
    /// The last judgement. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    triage: Option<changes::Triage>,
    /// What became of everything that was sent. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryState>>,
    /// Staff who follow it. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    followers: Option<Vec<Follower>>,
}

/// Reads a ticket with its conversation. Staff also read notes, the judgement, and what became of what was sent.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-None-Match" = Option<String>, Header, description = "ETags of what the caller has already"),
    ),
    responses(
        (status = 200, description = "The ticket", body = Detail,
         headers(("ETag" = String, description = "For `If-Match` of changes, and for `If-None-Match`"))),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn detail(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let summary = seen(&state, &caller, number).await?;
    let (db, is_staff, version) = (&state.db, caller.is_staff(), summary.version);
    let mut participants = read::participants(db, number).await?;
    if !is_staff {
        for one in participants.iter_mut().filter(|one| one.person_id != caller.person) {
            one.address = String::new();
        }
    }
    let messages = read::messages(db, number, is_staff, state.clock.now()).await?;
    let detail = Detail {
        participants,
        messages: shown(messages, number, false).await?,
        merged_from: read::merged_from(db, number).await?,
        rating: csat::rating(db, number).await?,
        triage: if is_staff { changes::triage(db, number).await? } else { None },
        deliveries: if is_staff { Some(read::deliveries(db, number).await?) } else { None },
        followers: if is_staff { Some(parties::followers(db, number).await?) } else { None },
        summary,
    };
    let body = serde_json::to_vec(&detail).map_err(anyhow::Error::from)?;
    Ok(unless_known(&headers, version, body))
}

/// What is shown depends on more than the ticket's version (names, deliveries) and on who reads it, so a tag has a hash of
/// all of it behind the version.
fn unless_known(headers: &HeaderMap, version: i64, body: Vec<u8>) -> Response {
    let hash: [u8; 32] = Sha256::digest(&body).into();
    let [a, b, c, d, ..] = hash;
    let tag = format!("\"{version}-{:08x}\"", u32::from_be_bytes([a, b, c, d]));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let is_known = known
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|k| k.trim_start_matches("W/") == tag || k == "*");
    let mut answer = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

#[derive(Serialize, ToSchema)]
struct Events {
    events: Vec<Event>,
    /// Always null: the timeline comes whole.
    next_cursor: Option<String>,
}

/// Reads the timeline of a ticket.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/events",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "Oldest first", body = Events))
)]
async fn events(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Events>, Error> {
    seen(&state, &caller, number).await?;
    Ok(Json(Events { events: read::events(&state.db, number).await?, next_cursor: None }))
}

/// Reads a ticket as a page to keep; its requester gets the public part. It is an attachment, so that no browser shows it as a
/// page of ours.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/transcript",
    operation_id = "transcript",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
async fn page(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<impl IntoResponse, Error> {
    let summary = seen(&state, &caller, number).await?;
    let page = transcript::document(&state.db, &summary, caller.is_staff(), state.clock.now()).await?;
    let disposition = format!("attachment; filename=\"{}\"", transcript::file_name(&summary));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, page))
}
