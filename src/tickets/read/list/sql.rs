//! The statements of lists, made of the parts that a list needs.
//!
//! What a filter is compared with is written into the statement where it is one of few known words, and then the statement is
//! prepared once; for other values PostgreSQL is to plan anew, with the value before it.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool, Postgres, QueryBuilder};

use super::{Filter, Holder, Place, RANKED, Sort};
use crate::tickets::Status;
use crate::tickets::read::{Found, Sight, Summary};

type Query = QueryBuilder<Postgres>;

/// A ticket in a list, with what its place depends on.
#[derive(sqlx::FromRow)]
pub(super) struct Listed {
    #[sqlx(flatten)]
    pub(super) summary: Summary,
    /// How well it fits what was searched for.
    #[sqlx(default)]
    pub(super) rank: f32,
}

/// What a [`Summary`] is made of, of a ticket `t`. The names are looked up for the tickets of the page only.
const COLUMNS: &str = "t.id AS number, t.subject, t.status, t.priority, t.category, t.channel, t.language,
     t.skills AS required_skills, t.tags, t.requester_id,
     (SELECT name FROM persons WHERE id = t.requester_id) AS requester_name, t.assignee_id,
     (SELECT name FROM persons WHERE id = t.assignee_id) AS assignee_name, t.assignment_outcome, t.deadline_at,
     t.follow_up_of, t.related_to, t.merged_into, t.split_from, t.first_response_at, t.resolved_at, t.closed_at, t.deleted_at,
     t.version, t.created_at, t.updated_at";

/// Whose tickets a caller may see: the one place that says so. The conditions follow others (`AND …`).
fn push_sight(query: &mut Query, sight: Sight) {
    match sight {
        Sight::All => {}
        Sight::Requester(person) => {
            query.push(" AND t.requester_id = ").push_bind(person.0);
        }
        Sight::Moderator(person) => {
            query
                .push(" AND (t.assignee_id IS NULL OR t.assignee_id = ")
                .push_bind(person.0)
                .push(" OR t.requester_id = ")
                .push_bind(person.0)
                .push(
                    " OR EXISTS (SELECT FROM ticket_skills ts JOIN person_skills ps ON ps.skill_id = ts.skill_id
                      WHERE ts.ticket_id = t.id AND ps.confirmed AND ps.person_id = ",
                )
                .push_bind(person.0)
                .push("))");
        }
    }
}

pub(super) async fn page(
    db: &PgPool,
    sight: Sight,
    filter: &Filter,
    sort: Sort,
    begin: Option<Place>,
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    if let Some(search) = &filter.search {
        return searched_for(db, sight, filter, search, sort, begin, limit).await;
    }
    let skill = skill_of(db, filter).await?;
    if filter.skill.is_some() && skill.is_none() {
        return Ok(Vec::new());
    }
    let mut query = Query::new("SELECT ");
    query.push(COLUMNS).push(" FROM (");
    let branches = branches(filter, sort);
    for (number, status) in branches.iter().enumerate() {
        if number > 0 {
            query.push(") UNION ALL (");
        } else if branches.len() > 1 {
            query.push("(");
        }
        query.push("SELECT t.* FROM tickets t");
        push_joins(&mut query, filter);
        push_conditions(&mut query, sight, filter, skill, *status);
        push_place(&mut query, sort, begin);
        query.push(" ORDER BY ").push(order(sort)).push(" LIMIT ").push_bind(limit);
    }
    if branches.len() > 1 {
        query.push(") ORDER BY ").push(order(sort).replace("t.", "")).push(" LIMIT ").push_bind(limit);
    }
    query.push(") t ORDER BY ").push(order(sort));
    query.build_query_as().persistent(is_fixed(filter)).fetch_all(db).await
}

/// PostgreSQL knows by the id how common a skill is.
async fn skill_of(db: &PgPool, filter: &Filter) -> sqlx::Result<Option<i64>> {
    let Some(slug) = &filter.skill else { return Ok(None) };
    sqlx::query_scalar!("SELECT id FROM skills WHERE slug = $1", slug).fetch_optional(db).await
}

fn order(sort: Sort) -> &'static str {
    match sort {
        Sort::Newest | Sort::Relevance => "t.id DESC",
        Sort::Oldest => "t.id",
        Sort::Updated => "t.updated_at DESC, t.id DESC",
    }
}

/// Whether everything that the filter compares with is written into the statement.
fn is_fixed(filter: &Filter) -> bool {
    filter.category.is_none()
        && filter.skill.is_none()
        && filter.tag.is_none()
        && filter.requester.is_none()
        && filter.overdue_at.is_none()
        && filter.created_since.is_none()
        && filter.updated_since.is_none()
        && !matches!(filter.assignee, Some(Holder::Person(_)))
}

/// The statuses that are read one beside the other, each in the order of an index, and then merged: so that the page is
/// found however rare a status is. `None`: whatever the status.
fn branches(filter: &Filter, sort: Sort) -> Vec<Option<Status>> {
    let by_number = matches!(sort, Sort::Newest | Sort::Oldest);
    let is_held = filter.assignee.is_some();
    match filter.status.as_slice() {
        // The index of who has what has the status before the number.
        [] if is_held && by_number && !filter.deleted => Status::ALL.into_iter().map(Some).collect(),
        [] => vec![None],
        some => {
            let mut statuses: Vec<Option<Status>> = Vec::new();
            for status in some {
                if !statuses.contains(&Some(*status)) {
                    statuses.push(Some(*status));
                }
            }
            statuses
        }
    }
}

fn push_joins(query: &mut Query, filter: &Filter) {
    if filter.tag.is_some() {
        query.push(" JOIN ticket_tags g ON g.ticket_id = t.id");
    }
    if filter.skill.is_some() {
        query.push(" JOIN ticket_skills k ON k.ticket_id = t.id");
    }
}

fn push_conditions(
    query: &mut Query,
    sight: Sight,
    filter: &Filter,
    skill: Option<i64>,
    status: Option<Status>,
) {
    query.push(if filter.deleted {
        " WHERE t.deleted_at IS NOT NULL"
    } else {
        " WHERE t.deleted_at IS NULL"
    });
    push_sight(query, sight);
    let mut word = |column: &str, word: &'static str| {
        query.push(" AND t.").push(column).push(" = '").push(word).push("'");
    };
    if let Some(status) = status {
        word("status", status.as_str());
    }
    if let Some(priority) = filter.priority {
        word("priority", priority.as_str());
    }
    if let Some(channel) = filter.channel {
        word("channel", channel.as_str());
    }
    if let Some(category) = &filter.category {
        query.push(" AND t.category = ").push_bind(category.clone());
    }
    if let Some(tag) = &filter.tag {
        query.push(" AND g.tag = ").push_bind(tag.clone());
    }
    if let (Some(_), Some(skill)) = (&filter.skill, skill) {
        query.push(" AND k.skill_id = ").push_bind(skill);
    }
    match filter.assignee {
        Some(Holder::Nobody) => {
            query.push(" AND t.assignee_id IS NULL");
        }
        Some(Holder::Person(person)) => {
            query.push(" AND t.assignee_id = ").push_bind(person.0);
        }
        None => {}
    }
    if let Some(requester) = filter.requester {
        query.push(" AND t.requester_id = ").push_bind(requester.0);
    }
    if let Some(at) = filter.overdue_at {
        query
            .push(" AND t.status IN ('new', 'open', 'pending') AND t.deadline_at IS NOT NULL AND t.deadline_at < ")
            .push_bind(at);
    }
    if let Some(since) = filter.created_since {
        query.push(" AND t.created_at >= ").push_bind(since);
    }
    if let Some(since) = filter.updated_since {
        query.push(" AND t.updated_at >= ").push_bind(since);
    }
}

/// A requester finds by what they may read.
fn searched(sight: Sight) -> &'static str {
    match sight {
        Sight::All | Sight::Moderator(_) => "s.all_text",
        Sight::Requester(_) => "s.public_text",
    }
}

fn push_place(query: &mut Query, sort: Sort, begin: Option<Place>) {
    let Some(Place { id, key }) = begin else { return };
    match sort {
        Sort::Newest | Sort::Relevance => query.push(" AND t.id < ").push_bind(id),
        Sort::Oldest => query.push(" AND t.id > ").push_bind(id),
        Sort::Updated => query
            .push(" AND (t.updated_at, t.id) < (")
            .push_bind(DateTime::<Utc>::from_timestamp_micros(key).unwrap_or_default())
            .push(", ")
            .push_bind(id)
            .push(")"),
    };
}

/// How many bits of a number tell tickets of one block apart, with the letter of its word in `ticket_search`.
const BLOCKS: [(u32, char); 4] = [(10, 'a'), (13, 'b'), (16, 'c'), (19, 'd')];

/// What fits a search, best first, among the newest that fit.
async fn searched_for(
    db: &PgPool,
    sight: Sight,
    filter: &Filter,
    search: &str,
    sort: Sort,
    begin: Option<Place>,
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    let mut found = newest_fitting(db, sight, filter, search).await?;
    // Who types a number means the ticket.
    let number = search.trim().trim_start_matches('#').parse::<i64>().ok();
    if let Some(number) = number.filter(|_| is_plain(filter))
        && one(db, sight, number).await?.is_some()
    {
        found.retain(|fit| fit.id != number);
        found.push(Fit { id: number, rank: f32::MAX });
    }
    let before = |a: &Fit, b: &Fit| match sort {
        Sort::Relevance | Sort::Updated => b.rank.total_cmp(&a.rank).then_with(|| b.id.cmp(&a.id)),
        Sort::Newest => b.id.cmp(&a.id),
        Sort::Oldest => a.id.cmp(&b.id),
    };
    found.sort_by(before);
    let last =
        begin.map(|Place { id, key }| Fit { id, rank: f32::from_bits(u32::try_from(key).unwrap_or(0)) });
    let page = found.iter().filter(|fit| last.is_none_or(|last| before(&last, fit).is_lt()));
    let page: Vec<Fit> = page.take(usize::try_from(limit).unwrap_or(0)).copied().collect();
    rows_of(db, &page).await
}

/// The newest that fit a search. They are looked for among the newest numbers first, then among more, because a common word
/// fits so many tickets that looking at all of them takes seconds.
async fn newest_fitting(db: &PgPool, sight: Sight, filter: &Filter, search: &str) -> sqlx::Result<Vec<Fit>> {
    if matches!(sight, Sight::Requester(_)) {
        // Their own are few, and found by their index.
        return fitting(db, sight, filter, search, None).await;
    }
    let enough = usize::try_from(RANKED).unwrap_or(usize::MAX);
    if !is_unfiltered(sight, filter) {
        let found = fitting_walked(db, sight, filter, search).await?;
        if found.len() >= enough {
            return Ok(found);
        }
    }
    let newest = sqlx::query_scalar!("SELECT max(ticket_id) FROM ticket_search").fetch_one(db).await?;
    let newest = newest.unwrap_or(0);
    for (bits, letter) in BLOCKS {
        let block = newest >> bits;
        if block <= 1 {
            // All there are: to name the blocks would only be more to look at.
            break;
        }
        let within = format!("'#{letter}{block}' | '#{letter}{}'", block - 1);
        let found = fitting(db, sight, filter, search, Some(within)).await?;
        if found.len() >= enough {
            return Ok(found);
        }
    }
    fitting(db, sight, filter, search, None).await
}

/// Tickets of a filter that are looked at one by one before the index of words is asked.
const WALKED: i64 = 2000;

/// The newest that fit, among the newest that the filter leaves: where the words are common, that is enough, and the words of
/// all the others need not be looked at.
async fn fitting_walked(db: &PgPool, sight: Sight, filter: &Filter, search: &str) -> sqlx::Result<Vec<Fit>> {
    let text = searched(sight);
    let mut query = Query::new("SELECT id, ts_rank_cd(text, websearch_to_tsquery('english', ");
    query
        .push_bind(search.to_owned())
        .push(")) AS rank FROM (SELECT s.ticket_id AS id, ")
        .push(text)
        .push(" AS text FROM (SELECT t.id FROM tickets t");
    push_joins(&mut query, filter);
    push_filter(db, &mut query, sight, filter).await?;
    query
        .push(" ORDER BY t.id DESC LIMIT ")
        .push_bind(WALKED)
        .push(") AS walked JOIN ticket_search s ON s.ticket_id = walked.id WHERE numnode(websearch_to_tsquery('english', ")
        .push_bind(search.to_owned())
        .push(")) > 0 AND ")
        .push(text)
        .push(" @@ websearch_to_tsquery('english', ")
        .push_bind(search.to_owned())
        .push(") ORDER BY s.ticket_id DESC LIMIT ")
        .push_bind(RANKED)
        .push(") AS newest");
    query.build_query_as().persistent(false).fetch_all(db).await
}

async fn push_filter(db: &PgPool, query: &mut Query, sight: Sight, filter: &Filter) -> sqlx::Result<()> {
    push_conditions(query, sight, filter, skill_of(db, filter).await?.or(Some(0)), None);
    if !filter.status.is_empty() {
        let words: Vec<String> = filter.status.iter().map(|s| format!("'{}'", s.as_str())).collect();
        query.push(" AND t.status IN (").push(words.join(", ")).push(")");
    }
    Ok(())
}

/// Nothing else is asked for: the words are all that is looked at. Who is deleted is not in there.
fn is_unfiltered(sight: Sight, filter: &Filter) -> bool {
    sight == Sight::All && is_plain(filter)
}

fn is_plain(filter: &Filter) -> bool {
    Filter { search: None, ..filter.clone() } == Filter::default()
}

/// A ticket that fits a search.
#[derive(Clone, Copy, sqlx::FromRow)]
struct Fit {
    id: i64,
    rank: f32,
}

/// The newest that fit, within these blocks of numbers.
async fn fitting(
    db: &PgPool,
    sight: Sight,
    filter: &Filter,
    search: &str,
    within: Option<String>,
) -> sqlx::Result<Vec<Fit>> {
    let text = searched(sight);
    // The rank is reckoned for those alone that are left in the end.
    let mut query = Query::new("SELECT id, ts_rank_cd(text, websearch_to_tsquery('english', ");
    query
        .push_bind(search.to_owned())
        .push(")) AS rank FROM (SELECT s.ticket_id AS id, ")
        .push(text)
        .push(" AS text ");
    let is_plain = is_unfiltered(sight, filter);
    query.push(if is_plain {
        "FROM ticket_search s"
    } else {
        "FROM tickets t JOIN ticket_search s ON s.ticket_id = t.id"
    });
    push_joins(&mut query, filter);
    if is_plain {
        query.push(" WHERE TRUE");
    } else {
        push_filter(db, &mut query, sight, filter).await?;
    }
    query.push(" AND numnode(websearch_to_tsquery('english', ").push_bind(search.to_owned()).push(")) > 0");
    query.push(" AND ").push(text).push(" @@ (");
    if let Some(within) = within {
        query.push_bind(within).push("::TSQUERY && ");
    }
    query.push("websearch_to_tsquery('english', ").push_bind(search.to_owned()).push("))");
    // `+ 0`: not by the index of the numbers, which would be read through where few fit.
    query.push(" ORDER BY s.ticket_id + 0 DESC LIMIT ").push_bind(RANKED).push(") AS newest");
    query.build_query_as().persistent(false).fetch_all(db).await
}

async fn rows_of(db: &PgPool, page: &[Fit]) -> sqlx::Result<Vec<Listed>> {
    let ids: Vec<i64> = page.iter().map(|fit| fit.id).collect();
    let mut query = Query::new("SELECT ");
    query
        .push(COLUMNS)
        .push(" FROM tickets t WHERE t.id = ANY (")
        .push_bind(ids)
        .push(") ORDER BY array_position(");
    query.push_bind(page.iter().map(|fit| fit.id).collect::<Vec<_>>()).push(", t.id)");
    let mut rows: Vec<Listed> = query.build_query_as().fetch_all(db).await?;
    for row in &mut rows {
        row.rank = page.iter().find(|fit| fit.id == row.summary.number.0).map_or(0.0, |fit| fit.rank);
    }
    Ok(rows)
}

/// One ticket.
pub(super) async fn one(db: impl PgExecutor<'_>, sight: Sight, ticket: i64) -> sqlx::Result<Option<Summary>> {
    let mut query = Query::new("SELECT ");
    query.push(COLUMNS).push(" FROM tickets t WHERE t.id = ").push_bind(ticket);
    query.push(" AND t.deleted_at IS NULL");
    push_sight(&mut query, sight);
    query.build_query_as().fetch_optional(db).await
}

pub(super) async fn at_hand(
    db: &PgPool,
    sight: Sight,
    person: i64,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    let mut query = Query::new("SELECT ");
    query
        .push(COLUMNS)
        .push(" FROM tickets t WHERE t.deleted_at IS NULL AND t.status IN ('new', 'open', 'pending')");
    push_sight(&mut query, sight);
    if !matches!(sight, Sight::Requester(_)) {
        query.push(" AND (t.assignee_id IS NULL OR t.assignee_id = ").push_bind(person);
        query.push(" OR t.requester_id = ").push_bind(person).push(")");
    }
    query.push(" ORDER BY t.id DESC LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(db).await
}

/// Nothing in `text` has a meaning of its own, as it would in LIKE.
pub(super) async fn search_numbers(
    db: &PgPool,
    sight: Sight,
    text: &str,
    limit: i64,
) -> sqlx::Result<Vec<Found>> {
    let mut query = Query::new(
        "SELECT t.id AS number, t.subject, t.status FROM tickets t
         WHERE t.deleted_at IS NULL AND t.merged_into IS NULL AND (starts_with(t.id::TEXT, ",
    );
    query
        .push_bind(text.to_owned())
        .push(") OR strpos(lower(t.subject), lower(")
        .push_bind(text.to_owned())
        .push(")) > 0)");
    push_sight(&mut query, sight);
    query.push(" ORDER BY t.id DESC LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(db).await
}

pub(super) async fn count_by_status(db: &PgPool, sight: Sight) -> sqlx::Result<Vec<(String, i64)>> {
    let mut query = Query::new("");
    if sight == Sight::All {
        query.push(
            "SELECT status, sum(n)::BIGINT AS n FROM ticket_counts GROUP BY 1 HAVING sum(n) > 0 ORDER BY 1",
        );
    } else {
        query.push("SELECT t.status, count(*) AS n FROM tickets t WHERE t.deleted_at IS NULL");
        push_sight(&mut query, sight);
        query.push(" GROUP BY 1 ORDER BY 1");
    }
    query.build_query_as().fetch_all(db).await
}
