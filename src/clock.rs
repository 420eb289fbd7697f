//! Time. The one place that asks the system for it; a test's clock moves only when told.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Where `now` comes from. Cheap to clone; clones of a told clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Told(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn told(start: DateTime<Utc>) -> Self {
        Self(Source::Told(Arc::new(Mutex::new(start))))
    }

    /// Now, in whole microseconds, the resolution of PostgreSQL: what was stored compares equal to what was meant.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
            Source::System => {
                let now = Utc::now();
                now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
            }
            Source::Told(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a told clock on; the system's clock does not listen.
    pub fn advance(&self, by: TimeDelta) {
        if let Source::Told(at) = &self.0 {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
