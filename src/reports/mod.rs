//! What happened on the desk in a range of days: tables to be read by people and by spreadsheets. Reads, and writes nothing.
//!
//! A report is one table. Each of its rows is one day, or one day and one subject (a moderator, a skill …); its totals are
//! the same over the whole range, computed and not added up: a median of medians is no median.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

mod range;
mod rows;
mod sheet;
mod sql;

pub use range::{LONGEST, Range, RangeError};
pub use rows::{
    AccuracyRow, CategoryRow, DeliveriesRow, GeminiFailuresRow, GeminiRow, ModeratorRow, RoutingRow, Rows,
    SatisfactionRow, SkillGapRow, SkillRow, TicketsRow, TimesRow,
};

/// The reports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportName)]
pub enum Name {
    /// Created, resolved, closed; how many were open at the end of each day.
    Tickets,
    /// How long people waited for a first response and for a resolution.
    Times,
    Moderators,
    Skills,
    Categories,
    /// How the automatic assignment came out.
    Routing,
    /// Skills that tickets need and no active moderator has.
    SkillGaps,
    /// How often people corrected the triage.
    Accuracy,
    Gemini,
    GeminiFailures,
    Deliveries,
    /// How content requesters were.
    Satisfaction,
}

impl Name {
    pub const ALL: [Self; 12] = [
        Self::Tickets,
        Self::Times,
        Self::Moderators,
        Self::Skills,
        Self::Categories,
        Self::Routing,
        Self::SkillGaps,
        Self::Accuracy,
        Self::Gemini,
        Self::GeminiFailures,
        Self::Deliveries,
        Self::Satisfaction,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tickets => "tickets",
            Self::Times => "times",
            Self::Moderators => "moderators",
            Self::Skills => "skills",
            Self::Categories => "categories",
            Self::Routing => "routing",
            Self::SkillGaps => "skill_gaps",
            Self::Accuracy => "accuracy",
            Self::Gemini => "gemini",
            Self::GeminiFailures => "gemini_failures",
            Self::Deliveries => "deliveries",
            Self::Satisfaction => "satisfaction",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// One report.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Report {
    pub name: Name,
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Whose days they are.
    pub time_zone: String,
    pub rows: Rows,
    /// Over the whole range: `day` is null.
    pub totals: Rows,
}

impl Report {
    /// As a sheet for a spreadsheet: a line of names, the rows, the totals, whose day is `total`.
    pub fn csv(&self) -> anyhow::Result<String> {
        sheet::write(&self.rows, &self.totals)
    }
}

/// Makes a report. Days that have not begun at `now` are there, with nothing in them.
pub async fn report(db: &PgPool, name: Name, range: &Range, now: DateTime<Utc>) -> sqlx::Result<Report> {
    let (rows, totals) = match name {
        Name::Tickets => tickets(db, range, now).await?,
        Name::Times => daily(range, sql::times(db, range).await?, Rows::Times),
        Name::Moderators => split(sql::moderators(db, range).await?, Rows::Moderators),
        Name::Skills => split(sql::skills(db, range).await?, Rows::Skills),
        Name::Categories => split(sql::categories(db, range).await?, Rows::Categories),
        Name::Routing => daily(range, sql::routing(db, range).await?, Rows::Routing),
        Name::SkillGaps => split(sql::skill_gaps(db, range).await?, Rows::SkillGaps),
        Name::Accuracy => split(sql::accuracy(db, range).await?, Rows::Accuracy),
        Name::Gemini => daily(range, sql::gemini(db, range).await?, Rows::Gemini),
        Name::GeminiFailures => split(sql::gemini_failures(db, range).await?, Rows::GeminiFailures),
        Name::Deliveries => split(sql::deliveries(db, range).await?, Rows::Deliveries),
        Name::Satisfaction => daily(range, sql::satisfaction(db, range).await?, Rows::Satisfaction),
    };
    let (from, to) = (range.from(), range.to());
    Ok(Report { name, from, to, time_zone: range.zone().name().to_owned(), rows, totals })
}

/// A row that is of one day, or of the whole range.
trait Daily {
    fn day(&self) -> Option<NaiveDate>;
}

/// Puts the totals apart.
fn split<T: Daily>(all: Vec<T>, into: fn(Vec<T>) -> Rows) -> (Rows, Rows) {
    let (rows, totals) = all.into_iter().partition(|row: &T| row.day().is_some());
    (into(rows), into(totals))
}

/// As [`split`], with a row for every day, and one of totals.
fn daily<T: Daily + From<Option<NaiveDate>>>(
    range: &Range,
    all: Vec<T>,
    into: fn(Vec<T>) -> Rows,
) -> (Rows, Rows) {
    let mut found = all.into_iter().peekable();
    let mut rows = Vec::with_capacity(range.days().len());
    for day in range.days().iter().copied().map(Some).chain([None]) {
        rows.push(found.next_if(|row| row.day() == day).unwrap_or_else(|| T::from(day)));
    }
    let totals = rows.split_off(range.days().len());
    (into(rows), into(totals))
}

async fn tickets(db: &PgPool, range: &Range, now: DateTime<Utc>) -> sqlx::Result<(Rows, Rows)> {
    let mut backlog = sql::backlog(db, range.begins()).await?;
    let mut rows = sql::tickets(db, range).await?;
    let mut total = TicketsRow::from(None);
    for (row, begins) in rows.iter_mut().zip(range.bounds()) {
        if *begins <= now {
            backlog += row.created + row.reopened - row.left;
            row.backlog = Some(backlog);
            total.backlog = row.backlog;
        }
        total.created += row.created;
        total.resolved += row.resolved;
        total.closed += row.closed;
        total.reopened += row.reopened;
    }
    Ok((Rows::Tickets(rows), Rows::Tickets(vec![total])))
}
