//! Runs due jobs: claims them, hands each to its stage, records failures.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::assign::Assign;
use crate::clock::Clock;
use crate::config::Retention;
use crate::crash;
use crate::database::{self, Refusals};
use crate::deliver::Deliver;
use crate::deliver::alarm::Alarms;
use crate::deliver::letter::Letters;
use crate::deliver::webhook::Webhooks;
use crate::files::Files;
use crate::ingest::Ingest;
use crate::queue::{self, Bell, Claimed, Done, JobError, Kind, Verdict};
use crate::settings::Settings;
use crate::triage::Triage;
use crate::{people, tickets};

mod expire;
pub mod watch;

use watch::Watch;

/// The stages, and what they share.
#[derive(Clone, Debug)]
pub struct Stages {
    pub db: PgPool,
    pub clock: Clock,
    pub settings: Settings,
    pub ingest: Ingest,
    pub triage: Triage,
    pub assign: Assign,
    pub deliver: Deliver,
    pub letters: Letters,
    pub alarms: Alarms,
    pub webhooks: Webhooks,
    pub files: Files,
    pub watch: Watch,
    pub refusals: Refusals,
}

/// Jobs one process works on at once: most of them wait for the database or the network.
const AT_ONCE: usize = 20;
/// How many of them may be of kinds that wait for others: a mail server that never answers, Discord or a webhook must not keep
/// mail from becoming tickets, nor a heap of large mails what came before from being answered.
const LIMITED: [(&[&Kind], usize); 5] = [
    (&[&queue::DELIVER, &queue::LETTER, &queue::ACCOUNT_LETTER], 8),
    (&[&queue::MIRROR], 4),
    // Large mails wait for room in memory.
    (&[&queue::INGEST], 12),
    (&[&queue::WEBHOOK], 4),
    // A place of its own: it tells that mail does not leave.
    (&[&queue::ALARM], 1),
];
/// How often the queue is looked at unasked: covers a lost notification, and finds jobs whose time has come.
pub const POLL: Duration = Duration::from_millis(500);
const SLOWEST_POLL: Duration = Duration::from_secs(15);
/// Who is refused where no job can be claimed.
const CLAIMING: &str = "the queue";

/// What a mail server answers often quotes the address that it is about, which is not for the log.
fn without_addresses(text: &str) -> String {
    let word = |word: &str| if word.contains('@') { "<address>".to_owned() } else { word.to_owned() };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl Stages {
    async fn dispatch(&self, job: &Claimed) -> Result<Done, JobError> {
        match job.kind.name {
            "ingest" => self.ingest.run(job).await,
            "triage" => self.triage.run(job).await,
            "assign" => self.assign.run(job).await,
            "reassign" => self.assign.look_again(job).await,
            "deliver" => self.deliver.run(job).await,
            "interact" => self.ingest.interact(job).await,
            "mirror" => self.deliver.mirror(job).await,
            "roles" => self.ingest.look_at_roles(job).await,
            "hear" => self.ingest.hear(job).await,
            "sweep" => self.sweep(job).await,
            "expire" => self.expire(job).await,
            "sweep_files" => self.sweep_files(job).await,
            "letter" | "account_letter" => self.letters.run(job).await,
            "watch" => self.watch.run(job).await,
            "alarm" => self.alarms.run(job).await,
            "webhook" => self.webhooks.run(job).await,
            "close_resolved" => self.close_resolved(job).await,
            other => Err(JobError::Fail(anyhow::anyhow!("no stage does `{other}`"))),
        }
    }

    async fn close_resolved(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let config = self.settings.current().await;
        let before = now - TimeDelta::days(config.assignment.close_after_days);
        let mut tx = self.db.begin().await?;
        let closed = tickets::close_resolved(&mut tx, before, now).await?;
        if closed > 0 {
            tracing::info!(closed, "closed {closed} resolved tickets");
        }
        job.done(tx).await
    }

    /// Files that went with no message, log-ins and links that are over, deliveries that webhooks took long ago.
    async fn sweep(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let retention = self.settings.current().await.retention.clone();
        let mut tx = self.db.begin().await?;
        let uploads = tickets::uploads::sweep(&mut tx, now).await?;
        let webhooks =
            tickets::webhooks::sweep(&mut tx, Retention::time(retention.webhook_days), now).await?;
        tickets::loops::sweep(&mut tx, now).await?;
        tickets::pacing::sweep(&mut tx, now).await?;
        let accounts = people::sweep(&mut tx, Retention::time(retention.session_days), now).await?;
        tracing::info!(uploads, webhooks, ?accounts, "what nothing needs any more was removed");
        job.done(tx).await
    }

    /// Contents that nothing refers to, and those that are still in the database.
    async fn sweep_files(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let swept = self.files.sweep(now).await?;
        let mut tx = self.db.begin().await?;
        if swept.unfinished {
            queue::enqueue(&mut tx, &queue::SWEEP_FILES, 0, now).await?;
        }
        tracing::info!(removed = swept.removed, moved = swept.moved, "contents of files were swept");
        job.done(tx).await
    }

    /// Runs one claimed job to its end, whatever that is. Says whether it is done.
    pub async fn run(&self, job: &Claimed) -> bool {
        let span = tracing::info_span!(
            "job",
            job.id = job.id.0,
            job.kind = job.kind.name,
            job.subject = job.subject
        );
        self.run_in_span(job).instrument(span).await
    }

    async fn run_in_span(&self, job: &Claimed) -> bool {
        crash::point("worker.claimed");
        let begun = std::time::Instant::now();
        let result = self.attempt(job).await;
        metrics::histogram!("ticketd_job_seconds", "kind" => job.kind.name)
            .record(begun.elapsed().as_secs_f64());
        match result {
            Ok(_done) => {
                self.refusals.settle(job.kind.name);
                metrics::counter!("ticketd_jobs_total", "kind" => job.kind.name, "outcome" => "done")
                    .increment(1);
                true
            }
            Err(error) => {
                self.record_failure(job, &error).await;
                false
            }
        }
    }

    async fn attempt(&self, job: &Claimed) -> Result<Done, JobError> {
        if job.attempt > job.kind.max_attempts {
            // Failures are counted when they are written down; these claims ended with the process, or in a panic.
            return Err(JobError::Fail(anyhow::anyhow!(
                "it was begun {} times and never came to an end",
                job.kind.max_attempts
            )));
        }
        match tokio::time::timeout(job.kind.time_limit(), self.dispatch(job)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(JobError::Retry(anyhow::anyhow!(
                "it took longer than {} s",
                job.kind.time_limit().as_secs()
            ))),
        }
    }

    async fn record_failure(&self, job: &Claimed, error: &JobError) {
        if let JobError::Retry(cause) | JobError::RetryAfter(_, cause) | JobError::Fail(cause) = error {
            self.refusals.note(job.kind.name, cause);
        }
        let jitter = rand::random();
        let verdict = database::within(queue::failed(&self.db, job, error, self.clock.now(), jitter)).await;
        let (outcome, said) = match &verdict {
            Ok(Verdict::WillRetry { .. }) => ("retry", "job failed; it will be tried again"),
            Ok(Verdict::Dead) => ("dead", "job failed for good; see `ticketd jobs list --failed`"),
            Ok(Verdict::Superseded) => ("late", "job was done by another worker"),
            // Its lease runs out, and it is tried again.
            Err(_) => ("unrecorded", "job failed, and so did writing that down; it will be tried again"),
        };
        metrics::counter!("ticketd_jobs_total", "kind" => job.kind.name, "outcome" => outcome).increment(1);
        let error = without_addresses(&format!("{error:#}"));
        match verdict {
            Ok(Verdict::Dead) => tracing::error!(error, attempt = job.attempt, "{said}"),
            // A race between two mails of a thread is no news.
            Ok(Verdict::WillRetry { .. }) if job.attempt == 1 && error.contains("same moment") => {
                tracing::debug!(error, attempt = job.attempt, "{said}");
            }
            _ => tracing::warn!(error, attempt = job.attempt, "{said}"),
        }
    }

    /// Runs due jobs until none is due: for tests, and for commands that see their work through.
    pub async fn settle(&self) -> anyhow::Result<usize> {
        let mut done = 0;
        loop {
            let jobs = queue::claim(&self.db, self.clock.now(), 1).await?;
            let Some(job) = jobs.first() else { return Ok(done) };
            self.run(job).await;
            done += 1;
        }
    }
}

/// A sign of life of the loop below, for the watchdog.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<std::sync::Mutex<std::time::Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(std::sync::Mutex::new(std::time::Instant::now())))
    }
}

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = std::time::Instant::now();
    }

    /// How long ago the loop went round.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed()
    }
}

/// Claims and runs jobs until told to stop, then sees to the end what is in hand. Looks at the queue when it is called,
/// and every `poll`.
pub async fn run(stages: Stages, pulse: Pulse, poll: Duration, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let limited = LIMITED.map(|(kinds, most)| (kinds, Arc::new(Semaphore::new(most))));
    let mut running = JoinSet::new();
    let mut listener = None;
    let mut pause = poll;
    while !stop.is_cancelled() {
        pulse.beat();
        while let Some(ended) = running.try_join_next() {
            report_panic(Some(ended));
        }
        if listener.is_none() {
            // Before the look: a job that is announced between the two is heard of.
            listener =
                database::within(async { Ok(Bell::listen(&stages.db).await) }).await.unwrap_or_default();
        }
        let is_full = |slots: &Arc<Semaphore>| slots.available_permits() == 0;
        let (full, open): (Vec<_>, Vec<_>) = limited.iter().partition(|(_, slots)| is_full(slots));
        let left: Vec<&Kind> = full.iter().flat_map(|(kinds, _)| kinds.iter().copied()).collect();
        let open = open.iter().map(|(_, slots)| slots.available_permits());
        let free = open.chain([slots.available_permits()]).min().unwrap_or_default();
        let limit = i64::try_from(free).unwrap_or(1);
        let claimed =
            database::within(queue::claim_except(&stages.db, &left, stages.clock.now(), limit)).await;
        match claimed {
            Ok(jobs) => {
                pause = poll;
                stages.refusals.settle(CLAIMING);
                let took = jobs.len();
                for job in jobs {
                    let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                    let of_kind = limited.iter().find(|(kinds, _)| kinds.contains(&job.kind));
                    let limited_slot = of_kind.map(|(_, slots)| Arc::clone(slots).try_acquire_owned().ok());
                    let stages = stages.clone();
                    running.spawn(async move {
                        stages.run(&job).await;
                        drop((slot, limited_slot));
                    });
                }
                if took == free && free > 0 {
                    // A backlog: others may help.
                    call_for_help(&stages).await;
                    if slots.available_permits() > 0 {
                        continue;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim jobs; they wait until the database lets us");
                stages.refusals.note(CLAIMING, &error.into());
                listener = None;
                pause = (pause * 2).min(SLOWEST_POLL);
                if wait(&stop, pause).await {
                    break;
                }
                continue;
            }
        }
        wait_for_work(&stop, &mut listener, &mut running, slots.available_permits() > 0, pause).await;
    }
    while running.join_next().await.is_some() {}
}

async fn call_for_help(stages: &Stages) {
    let ringing = async {
        queue::ring(&stages.db).await;
        Ok(())
    };
    // Where it does not arrive, they poll.
    database::within(ringing).await.unwrap_or_default();
}

/// Until a job is announced, one of ours ends (the next may follow from it), time passes, or we are to stop.
async fn wait_for_work(
    stop: &CancellationToken,
    listener: &mut Option<Bell>,
    running: &mut JoinSet<()>,
    may_take: bool,
    pause: Duration,
) {
    let announced = async {
        match listener.as_mut() {
            Some(bell) => bell.rung().await,
            None => std::future::pending().await,
        }
    };
    let lost = tokio::select! {
        () = stop.cancelled() => false,
        ended = running.join_next(), if !running.is_empty() => {
            report_panic(ended);
            false
        }
        alive = announced, if may_take => !alive,
        () = tokio::time::sleep(pause) => false,
    };
    if lost {
        *listener = None;
    }
}

fn report_panic(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "a job's task panicked; the job is tried again when its lease ends");
    }
}

/// Waits; true when we are to stop.
async fn wait(stop: &CancellationToken, pause: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(pause) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_mail_server_is_logged_without_the_address_in_it() {
        let answer =
            "not now: 451 4.7.1 <ada@example.net>: greylisted, see https://example.net/?a=ada@example.net";
        assert_eq!(without_addresses(answer), "not now: 451 4.7.1 <address> greylisted, see <address>");
    }
}
