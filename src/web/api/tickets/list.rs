//! Lists and counts.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ids::PersonId;
use crate::people::Role;
use crate::tickets::labels;
use crate::tickets::read::{self, Filter, Holder, ListError, Sight, Sort, Summary};
use crate::tickets::{Channel, Priority, Status};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(summary))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many; 25 if left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    /// `new`, `open`, `pending`, `resolved`, `closed`; several with commas between them.
    #[param(example = "new,open")]
    status: Option<String>,
    /// `low`, `medium`, `high` or `urgent`.
    priority: Option<String>,
    category: Option<String>,
    /// The slug of a required skill.
    skill: Option<String>,
    /// `me`, `none`, or a person's id. For staff.
    assignee: Option<String>,
    /// `me`, or a person's id.
    requester: Option<String>,
    /// For staff.
    tag: Option<String>,
    /// `email`, `discord` or `web`.
    channel: Option<String>,
    /// Active, and the deadline has passed.
    overdue: Option<bool>,
    created_since: Option<DateTime<Utc>>,
    updated_since: Option<DateTime<Utc>>,
    /// Words to search for: all of them, "phrases" in quotes, `-words` that are not to be there; or a number.
    q: Option<String>,
    /// `newest` (if left out), `oldest`, `updated`; of a search `relevance` (if left out) or `newest`.
    sort: Option<String>,
    /// Deleted tickets instead. For admins.
    deleted: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct Tickets {
    tickets: Vec<Summary>,
    /// Where the next page begins; null: this is the last one.
    next_cursor: Option<String>,
}

const USUAL_PAGE: i64 = 25;
const LARGEST_PAGE: i64 = 100;
/// The longest text to search for, in bytes.
const LONGEST_SEARCH: usize = 500;

/// Lists tickets that the caller may see: staff those that concern them, requesters their own.
#[utoipa::path(
    get,
    path = "/api/tickets",
    tag = "tickets",
    params(ListQuery),
    responses((status = 200, description = "A page of the list", body = Tickets))
)]
async fn list(
    State(state): State<Shared>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<Tickets>, Error> {
    let limit = query.limit.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Error::BadRequest(format!("limit is from 1 to {LARGEST_PAGE}")));
    }
    for since in [query.created_since, query.updated_since].into_iter().flatten() {
        if !(1970..=9999).contains(&since.year()) {
            return Err(Error::BadRequest("a time is between the years 1970 and 9999".to_owned()));
        }
    }
    let sort = sort(&query)?;
    let filter = filter(&query, &caller, state.clock.now())?;
    let sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
    match read::list(&state.db, sight, &filter, sort, query.cursor.as_deref(), limit).await {
        Ok(page) => Ok(Json(Tickets { tickets: page.tickets, next_cursor: page.next })),
        Err(ListError::NoCursor(error)) => Err(Error::BadRequest(error.to_string())),
        Err(ListError::Database(error)) => Err(error.into()),
    }
}

fn sort(query: &ListQuery) -> Result<Sort, Error> {
    let Some(named) = &query.sort else {
        return Ok(if query.q.is_some() { Sort::Relevance } else { Sort::Newest });
    };
    let sort = Sort::parse(named).filter(|sort| match sort {
        Sort::Newest => true,
        Sort::Oldest | Sort::Updated => query.q.is_none(),
        Sort::Relevance => query.q.is_some(),
    });
    sort.ok_or_else(|| {
        let known = if query.q.is_some() { "relevance, newest" } else { "newest, oldest, updated" };
        Error::BadRequest(format!("`{named}` is no way to sort this list: {known}"))
    })
}

fn filter(query: &ListQuery, caller: &Caller, now: DateTime<Utc>) -> Result<Filter, Error> {
    let for_staff = query.tag.is_some() || query.assignee.is_some();
    let deleted = query.deleted.unwrap_or(false);
    if (for_staff && !caller.is_staff()) || (deleted && caller.role != Role::Admin) {
        return Err(Error::Forbidden);
    }
    let statuses = query.status.as_deref().map(|list| list.split(',').map(status).collect());
    let q = query.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    if q.is_some_and(|q| q.len() > LONGEST_SEARCH) {
        return Err(Error::BadRequest(format!("q has at most {LONGEST_SEARCH} bytes")));
    }
    if let Some(tag) = query.tag.as_deref().filter(|tag| !labels::is_tag(tag)) {
        return Err(Error::BadRequest(format!("`{tag}` is no tag")));
    }
    Ok(Filter {
        status: statuses.transpose()?.unwrap_or_default(),
        priority: query.priority.as_deref().map(priority).transpose()?,
        category: query.category.clone(),
        skill: query.skill.clone(),
        assignee: query.assignee.as_deref().map(|text| holder(text, caller)).transpose()?,
        requester: query.requester.as_deref().map(|text| person("requester", text, caller)).transpose()?,
        tag: query.tag.clone(),
        channel: query.channel.as_deref().map(channel).transpose()?,
        overdue_at: query.overdue.unwrap_or(false).then_some(now),
        created_since: query.created_since,
        updated_since: query.updated_since,
        deleted,
        search: q.map(str::to_owned),
    })
}

fn status(text: &str) -> Result<Status, Error> {
    let fault = || Error::BadRequest(format!("`{text}` is no status: new, open, pending, resolved, closed"));
    Status::parse(text.trim()).ok_or_else(fault)
}

fn priority(text: &str) -> Result<Priority, Error> {
    let fault = || Error::BadRequest(format!("`{text}` is no priority: low, medium, high, urgent"));
    Priority::parse(text).ok_or_else(fault)
}

fn channel(text: &str) -> Result<Channel, Error> {
    let fault = || Error::BadRequest(format!("`{text}` is no channel: email, discord, web"));
    Channel::parse(text).ok_or_else(fault)
}

fn holder(text: &str, caller: &Caller) -> Result<Holder, Error> {
    if text == "none" { Ok(Holder::Nobody) } else { person("assignee", text, caller).map(Holder::Person) }
}

fn person(what: &str, text: &str, caller: &Caller) -> Result<PersonId, Error> {
    if text == "me" {
        return Ok(caller.person);
    }
    let none = if what == "assignee" { ", `none`" } else { "" };
    text.parse()
        .map(PersonId)
        .map_err(|_error| Error::BadRequest(format!("{what} is `me`{none} or a person's id")))
}

/// How many tickets are in each status.
#[derive(Default, Serialize, ToSchema)]
struct Counts {
    new: i64,
    open: i64,
    pending: i64,
    resolved: i64,
    closed: i64,
    total: i64,
}

/// Counts the tickets that the caller may see, by status.
#[utoipa::path(
    get,
    path = "/api/tickets/summary",
    tag = "tickets",
    responses((status = 200, description = "How many are in each status", body = Counts))
)]
async fn summary(State(state): State<Shared>, caller: Caller) -> Result<Json<Counts>, Error> {
    let sight: Sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
    let mut counts = Counts::default();
    for (status, n) in read::count_by_status(&state.db, sight).await? {
        counts.total += n;
        match Status::parse(&status) {
            Some(Status::New) => counts.new = n,
            Some(Status::Open) => counts.open = n,
            Some(Status::Pending) => counts.pending = n,
            Some(Status::Resolved) => counts.resolved = n,
            Some(Status::Closed) | None => counts.closed = n,
        }
    }
    Ok(Json(counts))
}
