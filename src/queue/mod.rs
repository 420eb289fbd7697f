//! Durable jobs in PostgreSQL.
//!
//! A job is a row. It is *due* when `run_at` has come; claiming it adds one to `attempt` and moves `run_at` one
//! lease ahead, so the job of a killed worker is due again by itself. A stage reports success with a [`Done`],
//! and the only maker of one is [`Claimed::done`], which commits the stage's effects, the jobs that follow and this
//! job's removal together; a worker that comes late (its lease ran out and another claimed the job) is rolled
//! back whole.
//!
//! Knows nothing about what a job's `subject` is.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::ids::JobId;

pub mod room;
mod sql;

/// A transaction on our database.
pub type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

/// The channel workers listen on.
pub const CHANNEL: &str = "ticketd_jobs";

/// A kind of job: its name, and how long and how often it may try.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// How long a claim holds. A job is stopped a little earlier, so that it never outlives its lease.
    pub lease: Duration,
    /// Attempts until it is put on the dead-letter list.
    pub max_attempts: i32,
    /// Pause after the first failure; it doubles with each.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_cap: Duration,
    /// A job older than this gives up at its next failure; `None`: only attempts count.
    pub give_up_after: Option<TimeDelta>,
    /// Jobs of this kind with the same subject take turns: one is not begun before the one begun earlier has ended.
    /// The index `jobs_started_in_turn` and the claim name these kinds.
    pub in_turn: bool,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Understand one mail of the ledger; subject: the ledger row.
pub const INGEST: Kind = local("ingest");
/// Judge one ticket; subject: the ticket. The lease covers Gemini's time-out.
pub const TRIAGE: Kind = Kind { lease: Duration::from_secs(150), ..local("triage") };
/// Choose who gets one ticket; subject: the ticket.
pub const ASSIGN: Kind = local("assign");
/// Look again at tickets that nobody fit; subject: 0.
pub const REASSIGN: Kind = local("reassign");
/// Send one delivery; subject: the delivery. Five days, as mail servers do (RFC 5321 §4.5.4.1). The lease covers the ten
/// minutes that a server may think about a mail.
pub const DELIVER: Kind = Kind {
    name: "deliver",
    lease: Duration::from_mins(15),
    max_attempts: i32::MAX,
    backoff: Duration::from_secs(5),
    backoff_cap: Duration::from_hours(1),
    give_up_after: Some(TimeDelta::days(5)),
    in_turn: false,
};
/// Do what one interaction in Discord asks for; subject: the ledger row.
pub const INTERACT: Kind = local("interact");
/// Take in what was said in one thread in Discord, in order; subject: the thread. The lease covers fetching files.
pub const HEAR: Kind = Kind { lease: Duration::from_mins(3), in_turn: true, ..local("hear") };
/// Bring one thread in Discord up to date, in order; subject: the thread. Five days, as with mail.
pub const MIRROR: Kind = Kind {
    name: "mirror",
    lease: Duration::from_mins(3),
    backoff_cap: Duration::from_mins(15),
    backoff: Duration::from_secs(2),
    in_turn: true,
    ..DELIVER
};
/// Ask Discord who still holds the roles that make staff; subject: 0.
pub const ROLES: Kind = Kind { lease: Duration::from_mins(5), ..local("roles") };
/// Mail one code that links an address; subject: the code. It is void after minutes, and so is its mail.
pub const LETTER: Kind =
    Kind { lease: Duration::from_mins(3), give_up_after: Some(TimeDelta::minutes(15)), ..local("letter") };
/// Mail one letter about an account; subject: the letter. Its own time ends it, at the latest after five days.
pub const ACCOUNT_LETTER: Kind = Kind { name: "account_letter", lease: Duration::from_mins(3), ..DELIVER };
/// Tell one webhook of one event; subject: the delivery to it. It gives up by itself after a day.
pub const WEBHOOK: Kind = Kind {
    name: "webhook",
    lease: MINUTE,
    max_attempts: i32::MAX,
    backoff: Duration::from_secs(5),
    backoff_cap: Duration::from_hours(1),
    give_up_after: None,
    in_turn: false,
};
/// Tell of one alarm, or that it is over; subject: the alarm. Its channels are tried again by themselves, for a day.
pub const ALARM: Kind = Kind {
    name: "alarm",
    lease: Duration::from_mins(3),
    max_attempts: i32::MAX,
    backoff: Duration::from_secs(5),
    backoff_cap: Duration::from_mins(15),
    give_up_after: Some(TimeDelta::days(1)),
    in_turn: false,
};
/// Close what was resolved long ago; subject: 0.
pub const CLOSE_RESOLVED: Kind = local("close_resolved");

/// Remove what nothing needs any more; subject: 0.
pub const SWEEP: Kind = local("sweep");
/// Remove contents of files that nothing needs any more, and move those in the database to the store; subject: 0.
pub const SWEEP_FILES: Kind = Kind { lease: Duration::from_mins(5), ..local("sweep_files") };

/// Remove what was kept long enough; subject: 0.
pub const EXPIRE: Kind = Kind { lease: Duration::from_mins(5), ..local("expire") };

/// Look at all that may be late or broken, and raise or clear alarms; subject: 0.
pub const WATCH: Kind = local("watch");

/// Every kind there is.
pub const KINDS: [&Kind; 18] = [
    &WATCH,
    &SWEEP,
    &ALARM,
    &SWEEP_FILES,
    &EXPIRE,
    &INGEST,
    &TRIAGE,
    &ASSIGN,
    &REASSIGN,
    &DELIVER,
    &CLOSE_RESOLVED,
    &INTERACT,
    &HEAR,
    &MIRROR,
    &LETTER,
    &ACCOUNT_LETTER,
    &ROLES,
    &WEBHOOK,
];

const fn local(name: &'static str) -> Kind {
    Kind {
        name,
        lease: MINUTE,
        max_attempts: 20,
        backoff: SECOND,
        backoff_cap: Duration::from_mins(15),
        give_up_after: None,
        in_turn: false,
    }
}

impl Kind {
    /// The time a job may take: less than its lease.
    pub fn time_limit(&self) -> Duration {
        self.lease.mul_f32(0.8)
    }

    /// The pause before the attempt after `attempt`; `jitter` (0 to 1) spreads it over 75 to 125 %.
    pub fn pause_after(&self, attempt: i32, jitter: f32) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(20);
        let pause = self.backoff.saturating_mul(1 << doublings).min(self.backoff_cap);
        pause.mul_f32(0.75 + 0.5 * jitter.clamp(0.0, 1.0))
    }

    fn gives_up(&self, attempt: i32, created_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        attempt >= self.max_attempts || self.give_up_after.is_some_and(|limit| now - created_at >= limit)
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }
}

/// A job as it stands in the table.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub subject: i64,
    pub attempt: i32,
    pub run_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub last_error: Option<String>,
    pub failed_at: Option<DateTime<Utc>>,
}

/// A job this process holds until its lease ends.
#[derive(Debug)]
pub struct Claimed {
    pub id: JobId,
    pub kind: &'static Kind,
    pub subject: i64,
    pub attempt: i32,
    pub created_at: DateTime<Utc>,
    /// Why it failed before. With a high `attempt`, `None` says that no claim ever came to an end.
    pub last_error: Option<String>,
}

/// The proof that a job's effects are committed. Only [`Claimed::done`] makes one.
#[derive(Debug)]
pub struct Done(());

/// How a stage failed, and so what becomes of its job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Try again after the kind's backoff.
    #[error("{0:#}")]
    Retry(anyhow::Error),
    /// Try again at a time the stage knows better.
    #[error("{1:#}")]
    RetryAfter(Duration, anyhow::Error),
    /// It can never succeed: to the dead-letter list.
    #[error("{0:#}")]
    Fail(anyhow::Error),
    /// The lease ran out and another worker has the job: everything was rolled back.
    #[error("the lease ran out before the job was done")]
    Late,
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(error.into())
    }
}

impl From<anyhow::Error> for JobError {
    fn from(error: anyhow::Error) -> Self {
        Self::Retry(error)
    }
}

impl Claimed {
    /// Removes the job and commits `tx`, all or nothing. The only success there is.
    pub async fn done(&self, mut tx: Tx) -> Result<Done, JobError> {
        if sql::finish(&mut tx, self.id, self.attempt).await? != 1 {
            // Dropping tx rolls back what a late worker wrote.
            return Err(JobError::Late);
        }
        tx.commit().await?;
        Ok(Done(()))
    }

    /// Whether a failure now would be the last.
    pub fn is_last(&self, now: DateTime<Utc>) -> bool {
        self.kind.gives_up(self.attempt, self.created_at, now)
    }
}

/// Adds a job to a change, in the change's transaction. An unstarted job for the same thing absorbs it.
pub async fn enqueue(tx: &mut Tx, kind: &Kind, subject: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    enqueue_all(tx, &[(kind, subject, now)], now).await
}

/// As [`enqueue`], ahead of all that waits: what tells of a backlog must not stand in it. Jobs are taken in the order of
/// their time.
pub async fn enqueue_first(tx: &mut Tx, kind: &Kind, subject: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    enqueue_all(tx, &[(kind, subject, now - AHEAD)], now).await
}

/// More than any backlog grows to before somebody looks.
const AHEAD: TimeDelta = TimeDelta::days(30);

/// As [`enqueue`], for several jobs at once, each due at its own time. An unstarted twin keeps the earlier one.
pub async fn enqueue_all(
    tx: &mut Tx,
    jobs: &[(&Kind, i64, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = jobs.iter().map(|(kind, _, _)| kind.name.to_owned()).collect();
    let subjects: Vec<i64> = jobs.iter().map(|(_, subject, _)| *subject).collect();
    let times: Vec<DateTime<Utc>> = jobs.iter().map(|(_, _, run_at)| *run_at).collect();
    sql::insert(tx, &names, &subjects, &times, now).await
}

/// Wakes the workers of every process. Called after a commit, never inside a transaction: PostgreSQL makes commits
/// that notify take turns, which would cost the group commit. A lost call is covered by polling.
pub async fn ring(db: &PgPool) {
    if let Err(error) = sql::notify(db, CHANNEL).await {
        tracing::debug!(%error, "cannot wake the workers; they poll");
    }
}

/// Hears [`ring()`]. It holds a connection.
#[derive(Debug)]
pub struct Bell(PgListener);

impl Bell {
    /// `None`: the database does not answer.
    pub async fn listen(db: &PgPool) -> Option<Self> {
        let mut listener = PgListener::connect_with(db).await.ok()?;
        // Without it a lost connection would be mended silently, and what was announced meanwhile would be missed.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.ok()?;
        Some(Self(listener))
    }

    /// Waits for the next ring. False: the connection is lost.
    pub async fn rung(&mut self) -> bool {
        self.0.try_recv().await.is_ok_and(|rung| rung.is_some())
    }
}

/// Takes up to `limit` due jobs, oldest first.
pub async fn claim(db: &PgPool, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Claimed>> {
    claim_except(db, &[], now, limit).await
}

/// As [`claim`], but leaves jobs of some kinds where they are.
pub async fn claim_except(
    db: &PgPool,
    left: &[&Kind],
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Claimed>> {
    let (names, leases): (Vec<String>, Vec<f64>) = KINDS
        .into_iter()
        .filter(|kind| !left.contains(kind))
        .map(|kind| (kind.name.to_owned(), kind.lease.as_secs_f64()))
        .unzip();
    let jobs = sql::claim(db, &names, &leases, now, limit).await?;
    Ok(jobs
        .into_iter()
        .filter_map(|job| {
            let kind = Kind::named(&job.kind)?;
            Some(Claimed {
                id: job.id,
                kind,
                subject: job.subject,
                attempt: job.attempt,
                created_at: job.created_at,
                last_error: job.last_error,
            })
        })
        .collect())
}

/// What became of a job whose stage failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    WillRetry { at: DateTime<Utc> },
    Dead,
    Superseded,
}

/// Records a failure: the job is due again after its pause, or dead.
pub async fn failed(
    db: &PgPool,
    job: &Claimed,
    error: &JobError,
    now: DateTime<Utc>,
    jitter: f32,
) -> sqlx::Result<Verdict> {
    let pause = match error {
        JobError::Late => return Ok(Verdict::Superseded),
        JobError::Fail(_) => None,
        _ if job.is_last(now) => None,
        JobError::RetryAfter(pause, _) => Some(*pause),
        JobError::Retry(_) => Some(job.kind.pause_after(job.attempt, jitter)),
    };
    let text: String = error.to_string().chars().take(500).collect();
    let (changed, verdict) = match pause {
        Some(pause) => {
            let at = now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::hours(1));
            (sql::postpone(db, job.id, job.attempt, at, &text).await?, Verdict::WillRetry { at })
        }
        None => (sql::bury(db, job.id, job.attempt, now, &text).await?, Verdict::Dead),
    };
    Ok(if changed == 1 { verdict } else { Verdict::Superseded })
}

/// Gives a claimed job back untouched: the process is stopping before it began it.
pub async fn release(db: &PgPool, job: &Claimed, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::postpone(db, job.id, job.attempt, now, "given back: the process is stopping").await?;
    Ok(())
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Failed,
}

/// The jobs that wait, oldest first; or only the dead letters.
pub async fn list(db: &PgPool, which: Which, limit: i64) -> sqlx::Result<Vec<Job>> {
    sql::list(db, which == Which::Failed, limit).await
}

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Dead letters, or those that wait; `None`: both.
    pub dead: Option<bool>,
    pub kind: Option<&'static str>,
    /// Only jobs after this one.
    pub after: Option<JobId>,
}

/// Jobs by number, at most `limit`.
pub async fn page(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Job>> {
    sql::page(db, filter, limit).await
}

/// One job. `None`: it is done, or there never was one.
pub async fn job(db: &PgPool, id: JobId) -> sqlx::Result<Option<Job>> {
    sql::job(db, id).await
}

/// Puts a dead letter back to work, with all its attempts. False: there is no such dead letter.
pub async fn retry(db: &PgPool, id: JobId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let found = revive(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(found.is_some())
}

/// What a job that is back at work is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    pub kind: String,
    pub subject: i64,
}

/// As [`retry`], in a transaction of the caller's. `None`: there is no such dead letter.
pub async fn revive(tx: &mut Tx, id: JobId, now: DateTime<Utc>) -> sqlx::Result<Option<Revived>> {
    sql::revive(tx, id, now).await
}

/// As [`revive`], for all dead letters of a kind. Returns how many there were.
pub async fn revive_all(tx: &mut Tx, kind: &Kind, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sql::revive_all(tx, kind.name, now).await
}

/// Kinds that may be cancelled: nothing waits for them, or they are entered again by themselves.
pub const CANCELLABLE: [&Kind; 9] =
    [&DELIVER, &LETTER, &MIRROR, &REASSIGN, &CLOSE_RESOLVED, &SWEEP, &SWEEP_FILES, &EXPIRE, &WATCH];

/// Takes the dead letters about a subject off the list: it goes on another way.
pub async fn forget_dead(tx: &mut Tx, kind: &Kind, subject: i64) -> sqlx::Result<()> {
    sql::forget_dead(tx, kind.name, subject).await
}

/// Takes the jobs about things that are no more out of the queue, but for those that somebody has begun.
pub async fn forget_all(tx: &mut Tx, kind: &Kind, subjects: &[i64]) -> sqlx::Result<()> {
    sql::forget_all(tx, kind.name, subjects).await
}

/// Takes a job away for good and says what it was.
pub async fn cancel(tx: &mut Tx, id: JobId) -> sqlx::Result<Option<Job>> {
    sql::delete(tx, id).await
}

/// How many jobs wait and how many are dead, by kind, and how long the oldest due one has waited.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    pub waiting: Vec<(String, i64)>,
    pub dead: Vec<(String, i64)>,
    pub oldest_due: Option<DateTime<Utc>>,
}

/// Reads the state of the queue, for metrics.
pub async fn backlog(db: &PgPool) -> sqlx::Result<Backlog> {
    let mut backlog = Backlog::default();
    for row in sql::count(db).await? {
        // Those that go ahead of all have no age.
        if !row.dead && ![WATCH.name, ALARM.name].contains(&row.kind.as_str()) {
            backlog.oldest_due = [backlog.oldest_due, row.oldest].into_iter().flatten().min();
        }
        let list = if row.dead { &mut backlog.dead } else { &mut backlog.waiting };
        list.push((row.kind, row.jobs));
    }
    Ok(backlog)
}

/// The jobs of some kinds that were due at a time and have not been begun since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub jobs: i64,
    pub oldest_due: DateTime<Utc>,
}

/// `None`: nothing is late.
pub async fn late(db: &PgPool, kinds: &[&Kind], due_by: DateTime<Utc>) -> sqlx::Result<Option<Late>> {
    let names: Vec<String> = kinds.iter().map(|kind| kind.name.to_owned()).collect();
    sql::late(db, &names, due_by).await
}

/// When the next job is due, if any waits.
pub async fn next_due(db: &PgPool) -> sqlx::Result<Option<DateTime<Utc>>> {
    sql::next_due(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_spread() {
        let seconds: Vec<u64> = (1..=12).map(|n| DELIVER.pause_after(n, 0.5).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(DELIVER.pause_after(1, 0.0), Duration::from_millis(3750));
        assert_eq!(DELIVER.pause_after(1, 1.0), Duration::from_millis(6250));
        assert_eq!(DELIVER.pause_after(i32::MAX, 0.5), DELIVER.backoff_cap);
    }

    #[test]
    fn the_claim_names_the_kinds_that_take_turns() {
        let statement = include_str!("sql.rs");
        for kind in KINDS {
            let named = statement.contains(&format!("'{}'", kind.name));
            assert_eq!(named, kind.in_turn, "{}", kind.name);
        }
    }

    #[test]
    fn a_job_never_outlives_its_lease() {
        for kind in KINDS {
            assert!(kind.time_limit() < kind.lease, "{}", kind.name);
        }
        assert!(
            TRIAGE.time_limit() > crate::config::LONGEST_GEMINI_TIMEOUT,
            "a ticket would never be judged"
        );
    }
}
