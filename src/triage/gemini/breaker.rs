//! When not to ask Gemini at all. Pure but for its lock: time comes from outside, so a test's clock moves it.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// How many calls in a row may fail before the circuit opens. Each has had its own tries already.
const THRESHOLD: u32 = 3;
/// How long the circuit stays open at first; each further opening doubles it.
const COOLDOWN: TimeDelta = TimeDelta::seconds(30);
const LONGEST_COOLDOWN: TimeDelta = TimeDelta::minutes(10);
/// A wrong key or model doesn't heal by itself: ask seldom, but ask, because it can be put right on Google's side.
const REFUSED_COOLDOWN: TimeDelta = TimeDelta::minutes(5);
const LONGEST_REFUSED_COOLDOWN: TimeDelta = TimeDelta::hours(1);

/// What a call tells about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered, whatever it said.
    Answered,
    /// It did not answer in time, or not sensibly.
    Failed,
    /// It takes nothing from us as we are configured.
    Refused,
    /// It told us when to come back.
    Closed { until: DateTime<Utc> },
}

/// Closed, open until a time, or half open: past that time one call is let through, and the others wait for it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    openings: u32,
    open_until: Option<DateTime<Utc>>,
}

impl Breaker {
    /// Lets a call through, or says until when not to ask.
    ///
    /// A call let through by a half-open circuit has `lease` to come back with an outcome; a call that was dropped
    /// thus blocks nobody for longer.
    pub(super) fn admit(&self, now: DateTime<Utc>, lease: TimeDelta) -> Result<(), DateTime<Utc>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            Some(until) if now < until => Err(until),
            Some(_) => {
                state.open_until = Some(after(now, lease));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn record(&self, now: DateTime<Utc>, outcome: Outcome) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Answered => *state = State::default(),
            Outcome::Failed => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= THRESHOLD || state.open_until.is_some() {
                    state.open(now, COOLDOWN, LONGEST_COOLDOWN);
                }
            }
            Outcome::Refused => state.open(now, REFUSED_COOLDOWN, LONGEST_REFUSED_COOLDOWN),
            Outcome::Closed { until } => {
                state.open_until = Some(state.open_until.map_or(until, |before| before.max(until)));
            }
        }
    }
}

impl State {
    fn open(&mut self, now: DateTime<Utc>, first: TimeDelta, longest: TimeDelta) {
        let doubled = first.checked_mul(1_i32 << self.openings.min(10)).unwrap_or(longest);
        self.openings = self.openings.saturating_add(1);
        self.open_until = Some(after(now, doubled.min(longest)));
    }
}

/// Far enough is far enough: an overflow of the calendar keeps the circuit open for ever.
fn after(now: DateTime<Utc>, wait: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: TimeDelta = TimeDelta::seconds(20);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn opens_after_three_failures_and_closes_after_a_good_answer() {
        let breaker = Breaker::default();
        for second in 0..2 {
            breaker.record(at(second), Outcome::Failed);
            assert_eq!(breaker.admit(at(second), LEASE), Ok(()));
        }
        breaker.record(at(2), Outcome::Failed);
        assert_eq!(breaker.admit(at(3), LEASE), Err(at(32)));
        assert_eq!(breaker.admit(at(32), LEASE), Ok(()), "half open");
        assert_eq!(breaker.admit(at(33), LEASE), Err(at(52)), "one at a time");
        breaker.record(at(34), Outcome::Answered);
        assert_eq!(breaker.admit(at(34), LEASE), Ok(()));
        breaker.record(at(35), Outcome::Failed);
        assert_eq!(breaker.admit(at(35), LEASE), Ok(()), "counts from the beginning again");
    }

    #[test]
    fn a_failed_probe_opens_for_longer_and_a_lost_probe_for_its_lease_only() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.record(at(0), Outcome::Failed);
        }
        assert_eq!(breaker.admit(at(30), LEASE), Ok(()));
        breaker.record(at(31), Outcome::Failed);
        assert_eq!(breaker.admit(at(40), LEASE), Err(at(91)));
        assert_eq!(breaker.admit(at(91), LEASE), Ok(()));
        assert_eq!(breaker.admit(at(111), LEASE), Ok(()), "the first probe never came back");
    }

    #[test]
    fn a_refusal_opens_at_once_and_a_later_date_wins() {
        let breaker = Breaker::default();
        breaker.record(at(0), Outcome::Refused);
        assert_eq!(breaker.admit(at(1), LEASE), Err(at(300)));
        breaker.record(at(2), Outcome::Closed { until: at(47) });
        assert_eq!(breaker.admit(at(48), LEASE), Err(at(300)));
        breaker.record(at(3), Outcome::Closed { until: at(4000) });
        assert_eq!(breaker.admit(at(3999), LEASE), Err(at(4000)));
    }

    #[test]
    fn cooldowns_have_an_end() {
        let breaker = Breaker::default();
        for _ in 0..40 {
            breaker.record(at(0), Outcome::Refused);
        }
        assert_eq!(breaker.admit(at(0), LEASE), Err(at(3600)));
    }
}
