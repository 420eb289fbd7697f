//! A range of days in somebody's time zone.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The longest range, in days: a leap year.
pub const LONGEST: usize = 366;

/// Why there is no such range, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the last day lies before the first: turn them round")]
    Backwards,
    #[error("a report covers {LONGEST} days at most: ask for several")]
    TooLong,
    #[error("there are reports from the year 1970 to the year 9999: choose other days")]
    OutOfTime,
    #[error("there is no time zone `{0}`: name one as Europe/Berlin")]
    UnknownZone(String),
}

/// Days, and the moments at which they begin and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    zone: Tz,
    days: Vec<NaiveDate>,
    /// When each day begins, and when the last one ends.
    bounds: Vec<DateTime<Utc>>,
}

impl Range {
    /// From one day to another, that one included.
    pub fn new(from: NaiveDate, to: NaiveDate, zone: &str) -> Result<Self, RangeError> {
        let name = || zone.chars().filter(|c| !c.is_control()).take(40).collect();
        let zone: Tz = zone.parse().map_err(|_unknown| RangeError::UnknownZone(name()))?;
        if to < from {
            return Err(RangeError::Backwards);
        }
        if from.year() < 1970 || to.year() > 9999 {
            return Err(RangeError::OutOfTime);
        }
        let days: Vec<NaiveDate> = from.iter_days().take_while(|day| *day <= to).take(LONGEST + 1).collect();
        if days.len() > LONGEST {
            return Err(RangeError::TooLong);
        }
        let end = to.checked_add_days(Days::new(1));
        let bounds = days.iter().copied().chain(end).map(|day| beginning(zone, day)).collect::<Vec<_>>();
        Ok(Self { zone, days, bounds })
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    pub fn from(&self) -> NaiveDate {
        self.days.first().copied().unwrap_or_default()
    }

    /// The last day.
    pub fn to(&self) -> NaiveDate {
        self.days.last().copied().unwrap_or_default()
    }

    pub fn days(&self) -> &[NaiveDate] {
        &self.days
    }

    pub(super) fn bounds(&self) -> &[DateTime<Utc>] {
        &self.bounds
    }

    pub(super) fn begins(&self) -> DateTime<Utc> {
        self.bounds.first().copied().unwrap_or_default()
    }

    pub(super) fn ends(&self) -> DateTime<Utc> {
        self.bounds.last().copied().unwrap_or_default()
    }
}

/// The first moment of a day: midnight, or where clocks are put forward over midnight, the first time there is.
fn beginning(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    // A day that a country skipped has no moment: it begins, and ends, with the next one.
    for quarters in 0..=192 {
        match zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarters))) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.to_utc(),
            LocalResult::None => {}
        }
    }
    midnight.and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_begin_at_local_midnight_also_when_clocks_change() {
        let hours = |from: &str, to: &str, zone: &str| -> Vec<i64> {
            let range = Range::new(day(from), day(to), zone).unwrap();
            range.bounds().windows(2).map(|w| (w[1] - w[0]).num_hours()).collect()
        };
        assert_eq!(hours("2026-03-28", "2026-03-30", "Europe/Berlin"), [24, 23, 24]);
        assert_eq!(hours("2026-10-24", "2026-10-26", "Europe/Berlin"), [24, 25, 24]);
        assert_eq!(hours("2026-11-20", "2026-11-21", "UTC"), [24, 24]);
        // There, clocks go forward at midnight: that day begins at one o'clock.
        assert_eq!(hours("2023-04-27", "2023-04-29", "Africa/Cairo"), [24, 23, 24]);
        // Samoa had no 30 December 2011.
        assert_eq!(hours("2011-12-29", "2011-12-31", "Pacific/Apia"), [24, 0, 24]);
        let berlin = Range::new(day("2026-11-21"), day("2026-11-21"), "Europe/Berlin").unwrap();
        assert_eq!(berlin.begins().to_rfc3339(), "2026-11-20T23:00:00+00:00");
    }

    #[test]
    fn what_is_no_range_says_what_is() {
        let refused =
            |from: &str, to: &str, zone: &str| Range::new(day(from), day(to), zone).unwrap_err().to_string();
        assert_eq!(
            refused("2026-11-21", "2026-11-20", "UTC"),
            "the last day lies before the first: turn them round"
        );
        assert_eq!(
            refused("2026-01-01", "2027-01-02", "UTC"),
            "a report covers 366 days at most: ask for several"
        );
        assert_eq!(
            refused("2026-01-01", "2026-01-01", "Mars/Base\0"),
            "there is no time zone `Mars/Base`: name one as Europe/Berlin"
        );
        assert_eq!(Range::new(day("2026-01-01"), day("2027-01-01"), "UTC").unwrap().days().len(), 366);
        for day in [NaiveDate::MIN, NaiveDate::MAX] {
            assert_eq!(Range::new(day, day, "UTC"), Err(RangeError::OutOfTime));
        }
        assert!(Range::new(day("1970-01-01"), day("1970-01-01"), "Asia/Tokyo").is_ok());
        assert!(Range::new(day("9999-12-31"), day("9999-12-31"), "Pacific/Honolulu").is_ok());
    }
}
