//! What happens by the clock: cron lines that put jobs into the queue.
//!
//! Every process runs the schedule; the queue absorbs what is enqueued twice.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use cron::Schedule;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::queue::{self, Kind};

/// When (UTC) which job is put into the queue.
const TABLE: [(&str, &Kind); 5] = [
    ("*/15 * * * *", &queue::REASSIGN),
    ("7 * * * *", &queue::CLOSE_RESOLVED),
    ("*/2 * * * *", &queue::ROLES),
    // At no minute of another line: of two that fall due together one is run.
    ("11-59/20 * * * *", &queue::SWEEP),
    ("17-59/20 * * * *", &queue::SWEEP_FILES),
];

/// Reads the usual five fields. The `cron` crate wants seconds in front, and counts Sunday as 1, so days of the week
/// are taken by name only.
pub fn parse(line: &str) -> anyhow::Result<Schedule> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, _, weekday] = fields.as_slice() else {
        anyhow::bail!("`{line}`: a schedule has five fields: minute hour day month weekday");
    };
    if weekday.bytes().any(|b| b.is_ascii_digit()) {
        anyhow::bail!("`{line}`: write days of the week as names (mon, tue …)");
    }
    Schedule::from_str(&format!("0 {line}")).with_context(|| format!("`{line}` is no schedule"))
}

/// The next time after `now` that a line of the table falls due, with its job.
fn next(now: DateTime<Utc>) -> anyhow::Result<Option<(DateTime<Utc>, &'static Kind)>> {
    let mut soonest = None;
    for (line, kind) in TABLE {
        if let Some(at) = parse(line)?.after(&now).next()
            && soonest.is_none_or(|(earliest, _)| at < earliest)
        {
            soonest = Some((at, kind));
        }
    }
    Ok(soonest)
}

/// Puts jobs into the queue when their time comes, until told to stop.
pub async fn run(db: PgPool, clock: Clock, stop: CancellationToken) {
    let mut after = clock.now();
    loop {
        let (at, kind) = match next(after) {
            Ok(Some(next)) => next,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the schedule cannot be read");
                return;
            }
        };
        // In short steps: the system's clock may be set while we wait.
        while clock.now() < at {
            let left = (at - clock.now()).to_std().unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(left.min(Duration::from_secs(30))) => {}
            }
        }
        if let Err(error) = enqueue(&db, kind, clock.now()).await {
            tracing::warn!(%error, job.kind = kind.name, "a scheduled job cannot be entered; it is left out this time");
        }
        after = at;
    }
}

async fn enqueue(db: &PgPool, kind: &'static Kind, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    queue::enqueue(&mut tx, kind, 0, now).await?;
    tx.commit().await?;
    queue::ring(db).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn five_fields_and_day_names_are_read_and_others_are_refused() {
        assert!(parse("*/5 * * * *").is_ok());
        assert!(parse("0 9 * * mon-fri").is_ok());
        for wrong in ["0 9 * * 1", "* * * *", "0 0 9 * * mon", "61 * * * *", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_falls_due_in_order() {
        let noon = Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap();
        let (mut at, mut due) = (noon, Vec::new());
        for _ in 0..10 {
            let (next, kind) = next(at).unwrap().unwrap();
            due.push(((next - noon).num_minutes(), kind.name));
            at = next;
        }
        let roles = |minute| (minute, "roles");
        let expected = [2, 4, 6].map(roles).into_iter().chain([(7, "close_resolved")]);
        let expected = expected.chain([8, 10].map(roles)).chain([(11, "sweep")]);
        let expected = expected.chain([12, 14].map(roles)).chain([(15, "reassign")]);
        assert_eq!(due, expected.collect::<Vec<_>>());
    }
}
