//! When staff is at work: working hours by the clock on their wall, and periods in which they are away.
//!
//! Whoever has no working hours is always at work. Coming back from a period is not announced by anything: the look at
//! waiting tickets every 15 minutes finds it.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use serde_json::json;
use sqlx::PgPool;

use super::Role;
use crate::audit::{self, Actor};
use crate::ids::PersonId;
use crate::queue::{self, Tx};

mod sql;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
const MOST_INTERVALS: usize = 70;
const LONGEST_NOTE: usize = 200;
/// What lies further from now than this is a mistyped year.
const LONGEST_AWAY: TimeDelta = TimeDelta::days(5 * 366);
/// Periods to come that one person may have.
const MOST_PERIODS: i64 = 100;

/// A part of a day of the week at which somebody works, in minutes after midnight; `ends` is exclusive, 1440 is midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub weekday: Weekday,
    pub begins: u16,
    pub ends: u16,
}

/// When somebody works, week after week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingHours {
    zone: Tz,
    /// By weekday and time; no two overlap.
    intervals: Vec<Interval>,
}

/// Why hours or a period were not entered, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum HoursError {
    #[error("`{0}` is no time zone: take an IANA name, such as Europe/Berlin")]
    Zone(String),
    #[error("there is no interval: give one at least, or remove the hours, then it is always working time")]
    NoInterval,
    #[error("at most {MOST_INTERVALS} intervals are taken")]
    TooManyIntervals,
    #[error("an interval begins before it ends, on one day: what goes on after midnight is another interval")]
    Order,
    #[error("two intervals of one day overlap: make one of them")]
    Overlap,
    #[error("a period begins before it ends")]
    PeriodOrder,
    #[error("the period is over already: give one that ends in the future")]
    Past,
    #[error("a period lies within five years of now: for longer, set the person to away")]
    TooLong,
    #[error("at most {MOST_PERIODS} periods are kept for one person: remove some")]
    TooManyPeriods,
    #[error("a note has at most {LONGEST_NOTE} characters, in one line")]
    Note,
    #[error("only moderators and admins have working hours and periods away")]
    NotStaff,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl WorkingHours {
    /// Checks and sorts.
    pub fn new(zone: &str, mut intervals: Vec<Interval>) -> Result<Self, HoursError> {
        let zone = zone.trim();
        let zone = zone.parse::<Tz>().map_err(|_unknown| {
            HoursError::Zone(zone.chars().filter(|c| !c.is_control()).take(64).collect())
        })?;
        if intervals.is_empty() {
            return Err(HoursError::NoInterval);
        }
        if intervals.len() > MOST_INTERVALS {
            return Err(HoursError::TooManyIntervals);
        }
        if intervals.iter().any(|i| i.begins >= i.ends || i.ends > DAY) {
            return Err(HoursError::Order);
        }
        intervals.sort_by_key(|i| (i.weekday.num_days_from_monday(), i.begins));
        let pairs = intervals.iter().zip(intervals.iter().skip(1));
        if pairs.into_iter().any(|(a, b)| a.weekday == b.weekday && b.begins < a.ends) {
            return Err(HoursError::Overlap);
        }
        Ok(Self { zone, intervals })
    }

    /// The IANA name of the time zone.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Whether it is working time, by the clock on the wall: an hour that summer time leaves out is no working time, and
    /// one that comes twice is it twice.
    pub fn cover(&self, now: DateTime<Utc>) -> bool {
        let there = now.with_timezone(&self.zone);
        let minute = u16::try_from(there.hour() * 60 + there.minute()).unwrap_or_default();
        let weekday = there.weekday();
        self.intervals.iter().any(|i| i.weekday == weekday && (i.begins..i.ends).contains(&minute))
    }
}

/// Minutes after midnight as people write them: `09:30`, and `24:00` for the end of a day. `None`: it is no time.
pub fn parse_time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |part: &str| {
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse::<u16>().ok() } else { None }
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|m| *m < 60)?);
    Some(hours * 60 + minutes).filter(|time| *time <= DAY)
}

/// The same, written.
pub fn show_time(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A period in which somebody takes no part in the assignment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct AwayPeriod {
    pub id: i64,
    pub from: DateTime<Utc>,
    /// The first moment at which they are back.
    pub until: DateTime<Utc>,
    pub note: String,
}

/// The working hours of a person. `None`: always.
pub async fn working_hours(db: &PgPool, person: PersonId) -> sqlx::Result<Option<WorkingHours>> {
    let mut hours = sql::hours(db, Some(person.0)).await?;
    Ok(hours.pop().and_then(|(_, zone, intervals)| known(&zone, intervals)))
}

/// Of everybody who has working hours.
pub(super) async fn all_hours(tx: &mut Tx) -> sqlx::Result<Vec<(PersonId, WorkingHours)>> {
    let hours = sql::hours(&mut **tx, None).await?.into_iter();
    Ok(hours.filter_map(|(id, zone, intervals)| Some((PersonId(id), known(&zone, intervals)?))).collect())
}

/// What is kept was checked when it was entered. A zone that this version does not know any more is as no hours at all:
/// nobody is off for ever by it.
fn known(zone: &str, intervals: Vec<Interval>) -> Option<WorkingHours> {
    WorkingHours::new(zone, intervals).ok()
}

/// Sets when a person works.
pub async fn set_hours(
    tx: &mut Tx,
    person: PersonId,
    hours: &WorkingHours,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), HoursError> {
    lock_staff(tx, person).await?;
    sql::set_hours(tx, person.0, hours.zone(), hours.intervals(), now).await?;
    let shown: Vec<String> = hours.intervals().iter().copied().map(shown).collect();
    let data = json!({"time_zone": hours.zone(), "hours": shown});
    Ok(follow(tx, person, actor, "person.hours_set", &data, now).await?)
}

/// From now on it is always working time. False: it was already.
pub async fn remove_hours(
    tx: &mut Tx,
    person: PersonId,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    super::lock(tx, &[person]).await?;
    if !sql::remove_hours(tx, person.0).await? {
        return Ok(false);
    }
    follow(tx, person, actor, "person.hours_removed", &json!({}), now).await?;
    Ok(true)
}

/// The periods of a person that are not over, by beginning.
pub async fn away_periods(
    db: &PgPool,
    person: PersonId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<AwayPeriod>> {
    sql::periods(db, person.0, now).await
}

/// Enters a period. It may overlap with others.
pub async fn add_away(
    tx: &mut Tx,
    person: PersonId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    note: &str,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<AwayPeriod, HoursError> {
    let note = note.trim().to_owned();
    if note.chars().count() > LONGEST_NOTE || note.chars().any(char::is_control) {
        return Err(HoursError::Note);
    }
    if from >= until {
        return Err(HoursError::PeriodOrder);
    }
    if until <= now {
        return Err(HoursError::Past);
    }
    if until - now > LONGEST_AWAY || now - from > LONGEST_AWAY {
        return Err(HoursError::TooLong);
    }
    lock_staff(tx, person).await?;
    if sql::count_periods(tx, person.0, now).await? >= MOST_PERIODS {
        return Err(HoursError::TooManyPeriods);
    }
    let id = sql::insert_period(tx, person.0, from, until, &note, now).await?;
    // The note is between the two of them and may say why somebody is ill: the log is kept for ever.
    let data = json!({"period": id, "from": from, "until": until});
    audit::record(tx, actor, "person.away_added", &subject(person), &data, now).await?;
    Ok(AwayPeriod { id, from, until, note })
}

/// Takes a period back; if it is now, the person is there again. False: there is no such period.
pub async fn remove_away(
    tx: &mut Tx,
    person: PersonId,
    period: i64,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    super::lock(tx, &[person]).await?;
    if !sql::remove_period(tx, person.0, period).await? {
        return Ok(false);
    }
    follow(tx, person, actor, "person.away_removed", &json!({"period": period}), now).await?;
    Ok(true)
}

/// Who says that they are back is back: what period they were in ends.
pub(super) async fn end_periods(tx: &mut Tx, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::end_periods(tx, person.0, now).await
}

async fn lock_staff(tx: &mut Tx, person: PersonId) -> Result<(), HoursError> {
    super::lock(tx, &[person]).await?;
    match super::person_in(tx, person).await? {
        Some(found) if found.id == person && found.role >= Role::Moderator => Ok(()),
        _ => Err(HoursError::NotStaff),
    }
}

/// Somebody may fit now whom nobody fit before.
async fn follow(
    tx: &mut Tx,
    person: PersonId,
    actor: Actor,
    action: &str,
    data: &serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    audit::record(tx, actor, action, &subject(person), data, now).await
}

fn subject(person: PersonId) -> String {
    format!("person:{person}")
}

fn shown(interval: Interval) -> String {
    format!("{} {}-{}", interval.weekday, show_time(interval.begins), show_time(interval.ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str, days: &[(Weekday, &str, &str)]) -> Result<WorkingHours, HoursError> {
        let time = |text| parse_time(text).unwrap();
        let intervals = days
            .iter()
            .map(|(weekday, begins, ends)| Interval {
                weekday: *weekday,
                begins: time(begins),
                ends: time(ends),
            })
            .collect();
        WorkingHours::new(zone, intervals)
    }

    #[test]
    fn it_is_working_time_by_the_clock_on_the_wall() {
        use Weekday::{Fri, Mon, Sat, Sun};
        let office = hours("Europe/Berlin", &[(Mon, "09:00", "12:30"), (Mon, "13:00", "17:00")]).unwrap();
        let night = hours("America/New_York", &[(Fri, "20:00", "24:00"), (Sat, "00:00", "04:00")]).unwrap();
        let far = hours("Pacific/Auckland", &[(Mon, "08:00", "10:00")]).unwrap();
        let sunday = hours("Europe/Berlin", &[(Sun, "02:00", "03:00")]).unwrap();
        let table = [
            // Winter: UTC+1.
            (&office, "2026-11-23T07:59:59Z", false),
            (&office, "2026-11-23T08:00:00Z", true),
            (&office, "2026-11-23T11:29:59Z", true),
            (&office, "2026-11-23T11:30:00Z", false),
            (&office, "2026-11-23T12:00:00Z", true),
            (&office, "2026-11-23T16:00:00Z", false),
            (&office, "2026-11-24T10:00:00Z", false),
            // Summer: UTC+2.
            (&office, "2026-07-06T06:59:59Z", false),
            (&office, "2026-07-06T07:00:00Z", true),
            (&office, "2026-07-06T14:59:59Z", true),
            (&office, "2026-07-06T15:00:00Z", false),
            // Over midnight, on another day than in UTC: UTC-5.
            (&night, "2026-11-28T00:59:59Z", false),
            (&night, "2026-11-28T01:00:00Z", true),
            (&night, "2026-11-28T04:59:59Z", true),
            (&night, "2026-11-28T05:00:00Z", true),
            (&night, "2026-11-28T09:00:00Z", false),
            // Monday morning there is Sunday in UTC: UTC+13.
            (&far, "2026-11-22T19:00:00Z", true),
            (&far, "2026-11-23T19:00:00Z", false),
            // 29 March 2026: from 02:00 the clock goes to 03:00 at once.
            (&sunday, "2026-03-29T00:59:59Z", false),
            (&sunday, "2026-03-29T01:00:00Z", false),
            // 25 October 2026: the hour from 02:00 comes twice.
            (&sunday, "2026-10-25T00:00:00Z", true),
            (&sunday, "2026-10-25T00:59:59Z", true),
            (&sunday, "2026-10-25T01:00:00Z", true),
            (&sunday, "2026-10-25T01:59:59Z", true),
            (&sunday, "2026-10-25T02:00:00Z", false),
        ];
        for (hours, at, expected) in table {
            assert_eq!(hours.cover(at.parse().unwrap()), expected, "{} {at}", hours.zone());
        }
    }

    #[test]
    fn hours_that_make_no_sense_say_what_does() {
        let said = |zone: &str, days: &[(Weekday, &str, &str)]| hours(zone, days).unwrap_err().to_string();
        let mon = Weekday::Mon;
        insta::assert_snapshot!(said("Berlin", &[(mon, "9:00", "17:00")]), @"`Berlin` is no time zone: take an IANA name, such as Europe/Berlin");
        insta::assert_snapshot!(said("UTC", &[]), @"there is no interval: give one at least, or remove the hours, then it is always working time");
        insta::assert_snapshot!(said("UTC", &[(mon, "17:00", "09:00")]), @"an interval begins before it ends, on one day: what goes on after midnight is another interval");
        insta::assert_snapshot!(said("UTC", &[(mon, "12:00", "17:00"), (mon, "09:00", "12:01")]), @"two intervals of one day overlap: make one of them");
        let adjacent = hours("UTC", &[(mon, "12:00", "17:00"), (mon, "09:00", "12:00")]).unwrap();
        assert_eq!(
            adjacent.intervals().iter().copied().map(shown).collect::<Vec<_>>(),
            ["Mon 09:00-12:00", "Mon 12:00-17:00"]
        );
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        for (text, minutes) in [("09:30", 570), ("9:05", 545), ("00:00", 0), ("24:00", 1440)] {
            assert_eq!(parse_time(text), Some(minutes), "{text}");
        }
        for text in ["", "9", "24:01", "12:60", "-1:00", "1:2:3", "09:00am", "+9:00", "999:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!((show_time(545), show_time(1440)), ("09:05".to_owned(), "24:00".to_owned()));
    }
}
