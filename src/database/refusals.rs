//! What this process could not store because PostgreSQL takes no writes: its disk is full, or it takes reads only.
//!
//! No alarm can be stored then, so it is said in memory: `/readyz` and a metric tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who is refused tries again sooner than this. Who does not has handed over to another process: what was said to it is no news.
const COUNTS_FOR: Duration = Duration::from_mins(10);

/// Why PostgreSQL takes no writes, by who was refused. Who is refused says so, and who stores something again, too.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<String, Refused>>>);

#[derive(Clone, Copy, Debug)]
struct Refused {
    reason: &'static str,
    at: Instant,
}

impl Refusals {
    /// Notes an error of `who`, if it is such a one.
    pub fn note(&self, who: &str, error: &anyhow::Error) {
        let Some(reason) = refusal(error) else { return };
        if self.all().insert(who.to_owned(), Refused { reason, at: Instant::now() }).is_none() {
            tracing::error!(who, "PostgreSQL stores nothing for {who}: {reason}");
        }
    }

    /// `who` has stored something.
    pub fn settle(&self, who: &str) {
        if self.all().remove(who).is_some() {
            tracing::info!(who, "PostgreSQL stores again what {who} gives it");
        }
    }

    /// Why somebody is refused now; `None`: nobody is.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason_at(Instant::now())
    }

    fn reason_at(&self, now: Instant) -> Option<&'static str> {
        let mut all = self.all();
        all.retain(|_, refused| now.saturating_duration_since(refused.at) < COUNTS_FOR);
        all.values().next().map(|refused| refused.reason)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a server that takes reads only.
pub const READ_ONLY: &str = "takes reads only: a standby, or default_transaction_read_only is on; connect to the primary, or set it off";

/// Why PostgreSQL itself, whatever it was given, did not store it: by the codes of its errors (its manual, appendix A).
pub fn refusal(error: &anyhow::Error) -> Option<&'static str> {
    let code = error.chain().find_map(|cause| match cause.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(said)) => said.code(),
        _ => None,
    })?;
    match code.as_ref() {
        "25006" => Some(READ_ONLY),
        "53100" => Some("has no room on its disk: give it some"),
        "53200" => Some("has no memory left: give it more, or fewer connections"),
        "58030" | "58P01" => Some("can't use its disk: see its log"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_until_it_is_settled_or_nobody_is_refused_any_more() {
        let refusals = Refusals::default();
        let refuse = |who: &str| {
            refusals.all().insert(who.to_owned(), Refused { reason: READ_ONLY, at: Instant::now() });
        };
        refuse("support");
        assert_eq!(refusals.reason(), Some(READ_ONLY));
        refusals.settle("support");
        assert_eq!(refusals.reason(), None);
        // Another process reads the mailbox by now, and this one stores nothing of it.
        refuse("support");
        assert_eq!(refusals.reason_at(Instant::now() + COUNTS_FOR), None);
    }
}
