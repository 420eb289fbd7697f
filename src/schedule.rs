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
use crate::database;
use crate::queue::{self, Kind};

/// When (UTC) which job is put into the queue.
const TABLE: [(&str, &Kind); 7] = [
    ("* * * * *", &queue::WATCH),
    ("*/15 * * * *", &queue::REASSIGN),
    ("7 * * * *", &queue::CLOSE_RESOLVED),
    ("*/2 * * * *", &queue::ROLES),
    ("11-59/20 * * * *", &queue::SWEEP),
    ("17-59/20 * * * *", &queue::SWEEP_FILES),
    ("23 * * * *", &queue::EXPIRE),
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

/// The next time after `now` that a line of the table falls due, with the jobs of every line that does.
fn next(now: DateTime<Utc>) -> anyhow::Result<Option<(DateTime<Utc>, Vec<&'static Kind>)>> {
    let mut soonest: Option<(DateTime<Utc>, Vec<&'static Kind>)> = None;
    for (line, kind) in TABLE {
        let Some(at) = parse(line)?.after(&now).next() else { continue };
        match &mut soonest {
            Some((earliest, kinds)) if *earliest == at => kinds.push(kind),
            Some((earliest, _)) if *earliest < at => {}
            _ => soonest = Some((at, vec![kind])),
        }
    }
    Ok(soonest)
}

/// Puts jobs into the queue when their time comes, until told to stop.
pub async fn run(db: PgPool, clock: Clock, stop: CancellationToken) {
    let mut after = clock.now();
    loop {
        let (at, kinds) = match next(after) {
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
        if let Err(error) = database::within(enqueue(&db, &kinds, clock.now())).await {
            tracing::warn!(%error, "scheduled jobs cannot be entered; they are left out this time");
        }
        after = at;
    }
}

async fn enqueue(db: &PgPool, kinds: &[&'static Kind], now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    for kind in kinds {
        match kind.name {
            // It tells of a backlog: it must not stand in it.
            "watch" => queue::enqueue_first(&mut tx, kind, 0, now).await?,
            _ => queue::enqueue(&mut tx, kind, 0, now).await?,
        }
    }
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
        for _ in 0..30 {
            let (next, kinds) = next(at).unwrap().unwrap();
            let others: Vec<_> = kinds.iter().map(|kind| kind.name).filter(|name| *name != "watch").collect();
            assert_eq!(kinds.len(), others.len() + 1, "every minute is watched");
            if !others.is_empty() && others != ["roles"] {
                due.push(format!("{} {}", (next - noon).num_minutes(), others.join(" ")));
            }
            at = next;
        }
        let expected = [
            "7 close_resolved",
            "11 sweep",
            "15 reassign",
            "17 sweep_files",
            "23 expire",
            "30 reassign roles",
        ];
        assert_eq!(due, expected);
    }
}
