//! Tickets: what people see of them, what they say in them, and what they do to them.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::ids::TicketId;
use crate::queue::Tx;
use crate::tickets::actions::{Act, Caps};
use crate::tickets::read::{self, Summary};
use crate::tickets::{Channel, patch};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::idempotency::Once;
use crate::web::request::Caller;

mod assignment;
mod changing;
mod detail;
mod files;
mod list;
mod media;
mod merging;
mod messages;
mod opening;
mod parties;
mod rating;
mod triage;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(list::router())
        .merge(opening::router())
        .merge(detail::router())
        .merge(changing::router())
        .merge(messages::router())
        .merge(files::router())
        .merge(assignment::router())
        .merge(triage::router())
        .merge(merging::router())
        .merge(parties::router())
        .merge(rating::router())
}

/// The ticket, if the caller may see it.
async fn seen(state: &Shared, caller: &Caller, number: TicketId) -> Result<Summary, Error> {
    let sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
    read::ticket(&state.db, sight, number).await?.ok_or(Error::NotFound)
}

/// The ticket as the transaction has changed it, as the caller sees it.
async fn changed(tx: &mut Tx, state: &Shared, caller: &Caller, number: TicketId) -> Result<Summary, Error> {
    let sight = caller.sight(state.settings.known().assignment.moderators_see_all);
    match read::ticket_in(tx, sight, number).await? {
        Some(summary) => Ok(summary),
        // They gave it out of their sight.
        None => read::ticket_in(tx, read::Sight::All, number).await?.ok_or(Error::NotFound),
    }
}

/// Commits a change and answers with the ticket as it is after it.
async fn finish(
    mut tx: Tx,
    once: &Once,
    state: &Shared,
    caller: &Caller,
    number: TicketId,
    status: StatusCode,
) -> Result<Response, Error> {
    let summary = changed(&mut tx, state, caller, number).await?;
    let answer = once.commit(tx, state, caller, status, &summary).await?;
    Ok(tagged(answer, summary.version))
}

fn act(state: &Shared, caller: &Caller) -> Act {
    Act { by: caller.person, channel: Channel::Web, now: state.clock.now() }
}

fn caps(state: &Shared, force: bool) -> Caps {
    Caps { default: state.settings.known().assignment.cap_default, force }
}

/// An answer about a ticket that was changed says in which version it is now.
fn tagged(mut answer: Response, version: i64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// The version that a change is meant for, from `If-Match`; `None`: whichever it is. Tags of the whole ticket have a part
/// behind the version, which does not matter here.
fn expected(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let version = tag.and_then(|tag| tag.split('-').next()).and_then(|version| version.parse().ok());
    version.map(Some).ok_or_else(|| {
        Error::BadRequest("If-Match is one ETag of the ticket, as it was given out".to_owned())
    })
}

/// Locks the ticket in the version that `If-Match` names.
async fn locked(tx: &mut Tx, number: TicketId, headers: &HeaderMap) -> Result<crate::tickets::Locked, Error> {
    Ok(patch::lock_version(tx, number, expected(headers)?).await?)
}

/// One of the configured categories.
fn known_category(state: &Shared, category: &str) -> Result<(), Error> {
    let known = &state.settings.known().triage.categories;
    if known.iter().any(|c| c == category) {
        return Ok(());
    }
    let detail = format!("`{category}` is no category: {}", known.join(", "));
    Err(Error::Invalid(vec![Fault { field: "category".to_owned(), detail }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_names_a_version() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_str(text).unwrap());
            expected(&headers).ok()
        };
        assert_eq!(expected(&HeaderMap::new()).ok(), Some(None));
        assert_eq!(read("*"), Some(None));
        assert_eq!(read("\"17\""), Some(Some(17)));
        assert_eq!(read("\"17-0a1b2c3d\""), Some(Some(17)));
        assert_eq!(read("W/\"17-0a1b2c3d\""), Some(Some(17)), "a proxy that compresses weakens tags");
        for wrong in ["17", "\"\"", "\"x\"", "\"1\", \"2\"", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
