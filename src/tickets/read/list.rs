//! Lists of tickets: filtered, sorted, searched, and read page by page.
//!
//! A page is read from one place of one index, wherever in the list it stands: a cursor says after which ticket it begins.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Utc};
use sha2::{Digest, Sha256};

use super::{Sight, Summary};
use crate::ids::{PersonId, TicketId};
use crate::queue::Tx;
use crate::tickets::{Channel, Priority, Status};

mod sql;

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By number, the last one first.
    #[default]
    Newest,
    Oldest,
    /// Last changed first.
    Updated,
    /// Of a search: what fits best first, among the newest 200 that fit.
    Relevance,
}

impl Sort {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "newest" => Some(Self::Newest),
            "oldest" => Some(Self::Oldest),
            "updated" => Some(Self::Updated),
            "relevance" => Some(Self::Relevance),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Newest => 1,
            Self::Oldest => 2,
            Self::Updated => 3,
            Self::Relevance => 4,
        }
    }
}

/// Who is to have the tickets of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Person(PersonId),
}

/// Which tickets a list shows: those for which everything holds that is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// One of them; none: any.
    pub status: Vec<Status>,
    pub priority: Option<Priority>,
    pub category: Option<String>,
    /// The slug of a required skill.
    pub skill: Option<String>,
    pub assignee: Option<Holder>,
    pub requester: Option<PersonId>,
    pub tag: Option<String>,
    pub channel: Option<Channel>,
    /// Active, and its deadline has passed at this time.
    pub overdue_at: Option<DateTime<Utc>>,
    pub created_since: Option<DateTime<Utc>>,
    pub updated_since: Option<DateTime<Utc>>,
    /// What deleted tickets are looked for with, for admins; `false`: those that are not deleted.
    pub deleted: bool,
    /// Words, "quoted phrases", -words that are not to be there; sorted by relevance or newest first, whatever else is asked.
    pub search: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    pub tickets: Vec<Summary>,
    /// Where the next page begins; `None`: this one is the last.
    pub next: Option<String>,
}

/// The cursor is none of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor is not one that was given out for this list")]
pub struct NoCursor;

/// What a list could not do.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    NoCursor(#[from] NoCursor),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// After which ticket a page begins: its number, and what else the order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: i64,
    /// Microseconds of the change, or the bits of the rank.
    key: i64,
}

/// Shows that the cursor is one of ours and of this very list. Nobody gains anything by making one up.
fn seal(sort: Sort, filter: &Filter, place: Place) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update([sort.code()]);
    // What moves with the clock does not make another list.
    let fixed = Filter { overdue_at: None, ..filter.clone() };
    hash.update(format!("{fixed:?} {}", filter.overdue_at.is_some()).as_bytes());
    hash.update(place.id.to_be_bytes());
    hash.update(place.key.to_be_bytes());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    [a, b, c, d]
}

fn cursor(sort: Sort, filter: &Filter, place: Place) -> String {
    let bytes = place.id.to_be_bytes().into_iter().chain(place.key.to_be_bytes());
    let mut text = String::with_capacity(40);
    for byte in bytes.chain(seal(sort, filter, place)) {
        // Writing to a String cannot fail.
        if write!(text, "{byte:02x}").is_err() {
            break;
        }
    }
    text
}

fn place(sort: Sort, filter: &Filter, cursor: &str) -> Result<Place, NoCursor> {
    let part = |from: usize, to: usize| cursor.get(from..to).ok_or(NoCursor);
    let number = |text: &str| u64::from_str_radix(text, 16).map(u64::cast_signed).map_err(|_error| NoCursor);
    let place = Place { id: number(part(0, 16)?)?, key: number(part(16, 32)?)? };
    // A time that PostgreSQL does not know, nobody was given.
    let is_time =
        || DateTime::from_timestamp_micros(place.key).is_some_and(|at| (1970..=9999).contains(&at.year()));
    let is_ours = cursor == self::cursor(sort, filter, place) && (sort != Sort::Updated || is_time());
    if is_ours { Ok(place) } else { Err(NoCursor) }
}

/// How many of the newest tickets that fit a search are ranked.
const RANKED: i64 = 200;

/// A page of at most `limit` tickets that the caller may see; `after`: the cursor that the page before ended with.
pub async fn list(
    db: &sqlx::PgPool,
    sight: Sight,
    filter: &Filter,
    sort: Sort,
    after: Option<&str>,
    limit: i64,
) -> Result<Page, ListError> {
    let begin = after.map(|cursor| place(sort, filter, cursor)).transpose()?;
    if cannot_be(filter) {
        return Ok(Page { tickets: Vec::new(), next: None });
    }
    let mut rows = sql::page(db, sight, filter, sort, begin, limit + 1).await?;
    let more = i64::try_from(rows.len()).unwrap_or(0) > limit;
    if more {
        rows.pop();
    }
    let next = rows.last().filter(|_| more).map(|last| {
        let key = match sort {
            Sort::Newest | Sort::Oldest => 0,
            Sort::Updated => last.summary.updated_at.timestamp_micros(),
            Sort::Relevance => i64::from(last.rank.to_bits()),
        };
        cursor(sort, filter, Place { id: last.summary.number.0, key })
    });
    let tickets = rows.into_iter().map(|row| row.summary).collect();
    Ok(Page { tickets: super::hidden(sight, tickets), next })
}

/// PostgreSQL's TEXT cannot hold NUL; nothing that could be found does.
fn cannot_be(filter: &Filter) -> bool {
    let texts = [&filter.category, &filter.skill, &filter.tag, &filter.search];
    texts.into_iter().flatten().any(|text| text.contains('\0'))
}

/// One ticket, if the caller may see it.
pub async fn ticket(db: &sqlx::PgPool, sight: Sight, ticket: TicketId) -> sqlx::Result<Option<Summary>> {
    let found = sql::one(db, sight, ticket.0).await?;
    Ok(super::hidden(sight, found.into_iter().collect()).pop())
}

/// As [`ticket`], as the transaction sees it.
pub async fn ticket_in(tx: &mut Tx, sight: Sight, ticket: TicketId) -> sqlx::Result<Option<Summary>> {
    let found = sql::one(&mut **tx, sight, ticket.0).await?;
    Ok(super::hidden(sight, found.into_iter().collect()).pop())
}

/// Active tickets of a person to begin with, in Discord: to a requester their own, to staff what is theirs or nobody's.
/// The newest first.
pub async fn at_hand(
    db: &sqlx::PgPool,
    sight: Sight,
    person: PersonId,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    Ok(super::hidden(sight, sql::at_hand(db, sight, person.0, limit).await?))
}

/// Tickets to choose from while somebody types: whose number begins with `text`, or whose subject holds it; newest first.
pub async fn search_numbers(
    db: &sqlx::PgPool,
    sight: Sight,
    text: &str,
    limit: i64,
) -> sqlx::Result<Vec<super::Found>> {
    // PostgreSQL's TEXT cannot hold NUL; no subject does.
    if text.contains('\0') {
        return Ok(Vec::new());
    }
    sql::search_numbers(db, sight, text.trim().trim_start_matches('#'), limit).await
}

/// How many of the tickets that the caller may see are in each status. What is closed costs nothing more for whoever sees
/// all; a moderator who sees some waits for them to be counted.
pub async fn count_by_status(db: &sqlx::PgPool, sight: Sight) -> sqlx::Result<Vec<(String, i64)>> {
    sql::count_by_status(db, sight).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_and_for_no_other() {
        let open = Filter { status: vec![Status::Open], ..Filter::default() };
        let here = Place { id: 1042, key: 7 };
        let given = cursor(Sort::Updated, &open, here);
        assert_eq!(place(Sort::Updated, &open, &given), Ok(here));
        assert_eq!(place(Sort::Newest, &open, &given), Err(NoCursor));
        assert_eq!(place(Sort::Updated, &Filter::default(), &given), Err(NoCursor));
        for wrong in
            ["", "b1001", "ä", &given.replacen('0', "1", 1), &given.to_uppercase(), &format!("{given}0")]
        {
            assert_eq!(place(Sort::Updated, &open, wrong), Err(NoCursor), "{wrong}");
        }
        let late = Filter { overdue_at: Some(DateTime::UNIX_EPOCH), ..Filter::default() };
        let later = Filter { overdue_at: DateTime::from_timestamp(1_790_000_000, 0), ..Filter::default() };
        assert!(place(Sort::Newest, &later, &cursor(Sort::Newest, &late, here)).is_ok(), "time goes on");
    }
}
