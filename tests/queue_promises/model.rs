//! The queue as it should be, in a few lines, and the events it is put through beside the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use ticketd::ids::JobId;
use ticketd::queue::{self, ASSIGN, CLOSE_RESOLVED, Claimed, DELIVER, JobError, Kind, TRIAGE, Tx, Verdict};

use super::{Effects, enqueue, table};
use crate::harness::desk::start_of_time;

const ENQUEUED: [&Kind; 3] = [&ASSIGN, &TRIAGE, &DELIVER];
/// Completing a job of the kinds above enters one of this kind; completing that enters none.
const FOLLOWING: &Kind = &CLOSE_RESOLVED;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Somebody wants work done, after so many seconds.
    Enqueue {
        kind: usize,
        subject: i64,
        after: i64,
    },
    /// A worker takes up to so many due jobs.
    Claim {
        limit: i64,
    },
    /// A worker writes into a transaction, which stays open: it is slow, and time and the others go on.
    Work {
        hand: usize,
    },
    /// A worker reports success.
    Done {
        hand: usize,
    },
    /// A worker reports failure.
    Fail {
        hand: usize,
        how: How,
        jitter: f32,
    },
    /// A worker is killed: one claimed job is forgotten, and what was written for it.
    Vanish {
        hand: usize,
    },
    Pass {
        seconds: i64,
    },
    /// A person revives the oldest dead letter.
    Revive,
    /// A person cancels a job.
    Cancel {
        job: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Retry,
    RetryAfter(u64),
    Fail,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hand = 0..8_usize;
    let how =
        prop_oneof![4 => Just(How::Retry), 2 => (0..200_u64).prop_map(How::RetryAfter), 1 => Just(How::Fail)];
    let step = prop_oneof![
        6 => (0..3_usize, 0..3_i64, prop_oneof![Just(0), 1..100_i64])
            .prop_map(|(kind, subject, after)| Step::Enqueue { kind, subject, after }),
        6 => (1..4_i64).prop_map(|limit| Step::Claim { limit }),
        3 => hand.clone().prop_map(|hand| Step::Work { hand }),
        5 => hand.clone().prop_map(|hand| Step::Done { hand }),
        4 => (hand.clone(), how, 0.0..=1.0_f32).prop_map(|(hand, how, jitter)| Step::Fail { hand, how, jitter }),
        1 => hand.prop_map(|hand| Step::Vanish { hand }),
        4 => prop_oneof![1..10_i64, 50..200_i64].prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Revive),
        1 => (0..8_usize).prop_map(|job| Step::Cancel { job }),
    ];
    prop::collection::vec(step, 1..70)
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    kind: &'static str,
    subject: i64,
    attempt: i32,
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    failed_at: Option<DateTime<Utc>>,
}

/// A claimed job in some worker's hand, with its open transaction if it has begun.
struct Hand {
    job: Claimed,
    written: Option<Tx>,
}

struct World<'a> {
    effects: &'a Effects,
    now: DateTime<Utc>,
    rows: BTreeMap<JobId, Row>,
    hands: Vec<Hand>,
    done: BTreeMap<JobId, i32>,
    /// Jobs that ended otherwise than by success: cancelled, or dead and entered anew.
    gone: BTreeSet<JobId>,
    /// Every job there ever was.
    seen: BTreeSet<JobId>,
}

/// Puts the queue through the steps, then lets everything come to its end.
pub(super) async fn check(effects: &Effects, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World {
        effects,
        now: start_of_time(),
        rows: BTreeMap::new(),
        hands: Vec::new(),
        done: BTreeMap::new(),
        gone: BTreeSet::new(),
        seen: BTreeSet::new(),
    };
    for step in steps {
        world.take(step).await?;
        world.compare(step).await?;
    }
    world.come_to_the_end().await
}

impl World<'_> {
    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Enqueue { kind, subject, after } => {
                let kind = ENQUEUED[kind];
                let at = self.now + TimeDelta::seconds(after);
                enqueue(&self.effects.0, kind, subject, at, self.now).await;
                self.entered(kind.name, subject, at).await?;
            }
            Step::Claim { limit } => self.claim(limit).await?,
            Step::Work { hand } => self.work(hand).await,
            Step::Done { hand } => self.done(hand).await?,
            Step::Fail { hand, how, jitter } => self.fail(hand, how, jitter).await?,
            Step::Vanish { hand } => drop(self.let_go(hand)),
            Step::Pass { seconds } => self.now += TimeDelta::seconds(seconds),
            Step::Revive => self.revive().await?,
            Step::Cancel { job } => self.cancel(job).await?,
        }
        Ok(())
    }

    /// A job was asked for: an unstarted one for the same thing absorbs it, nothing else does.
    async fn entered(
        &mut self,
        kind: &'static str,
        subject: i64,
        run_at: DateTime<Utc>,
    ) -> Result<(), TestCaseError> {
        let twin = self.rows.values_mut().find(|row| {
            row.kind == kind && row.subject == subject && row.attempt == 0 && row.failed_at.is_none()
        });
        if let Some(twin) = twin {
            twin.run_at = twin.run_at.min(run_at);
            return Ok(());
        }
        let newest = table(&self.effects.0).await.last().map(|job| job.id);
        let Some(id) = newest.filter(|id| self.seen.insert(*id)) else {
            return Err(TestCaseError::fail(format!("{kind} {subject} is not in the table")));
        };
        let row = Row { kind, subject, attempt: 0, run_at, created_at: self.now, failed_at: None };
        self.rows.insert(id, row);
        Ok(())
    }

    async fn claim(&mut self, limit: i64) -> Result<(), TestCaseError> {
        let mut due: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| row.failed_at.is_none() && row.run_at <= self.now)
            .map(|(id, row)| (row.run_at, *id))
            .collect();
        due.sort();
        due.truncate(usize::try_from(limit).unwrap_or_default());
        let mut expected: Vec<_> = due.iter().map(|(_, id)| *id).collect();
        expected.sort();
        let claimed = queue::claim(&self.effects.0, self.now, limit).await.expect("the queue answers");
        let mut ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
        ids.sort();
        prop_assert_eq!(ids, expected, "claimed are the jobs that have been due for longest");
        for job in claimed {
            if let Some(row) = self.rows.get_mut(&job.id) {
                row.attempt += 1;
                row.run_at = self.now + TimeDelta::from_std(job.kind.lease).expect("a lease");
                prop_assert_eq!(row.attempt, job.attempt);
            }
            self.hands.push(Hand { job, written: None });
        }
        // More open transactions than connections would stop the test, not the queue.
        if self.hands.len() > 8 {
            self.hands.remove(0);
        }
        Ok(())
    }

    async fn work(&mut self, hand: usize) {
        let count = self.hands.len().max(1);
        let Some(hand) = self.hands.get_mut(hand % count).filter(|hand| hand.written.is_none()) else {
            return;
        };
        hand.written = Some(write(self.effects, &hand.job, self.now).await);
    }

    async fn done(&mut self, hand: usize) -> Result<(), TestCaseError> {
        let Some(Hand { job, written }) = self.let_go(hand) else { return Ok(()) };
        let tx = match written {
            Some(tx) => tx,
            None => write(self.effects, &job, self.now).await,
        };
        let holds = self.holds(&job);
        match job.done(tx).await {
            Ok(_) => prop_assert!(holds, "a late worker was let through: {job:?}"),
            Err(JobError::Late) => prop_assert!(!holds, "a worker in time was turned away: {job:?}"),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        if holds {
            self.rows.remove(&job.id);
            prop_assert_eq!(self.done.insert(job.id, job.attempt), None, "completed twice");
            if let Some((kind, subject)) = following(&job) {
                // It was entered when the transaction was written; it is seen from now on.
                self.adopt(kind, subject).await?;
            }
        }
        Ok(())
    }

    async fn fail(&mut self, hand: usize, how: How, jitter: f32) -> Result<(), TestCaseError> {
        let Some(Hand { job, written }) = self.let_go(hand) else { return Ok(()) };
        drop(written);
        let why = anyhow!("a reason");
        let error = match how {
            How::Retry => JobError::Retry(why),
            How::RetryAfter(seconds) => JobError::RetryAfter(Duration::from_secs(seconds), why),
            How::Fail => JobError::Fail(why),
        };
        let verdict =
            queue::failed(&self.effects.0, &job, &error, self.now, jitter).await.expect("a verdict");
        let holds = self.holds(&job);
        let stored = table(&self.effects.0).await.into_iter().find(|stored| stored.id == job.id);
        let Some(row) = self.rows.get_mut(&job.id).filter(|_| holds) else {
            prop_assert_eq!(verdict, Verdict::Superseded);
            return Ok(());
        };
        let too_old = job.kind.give_up_after.is_some_and(|limit| self.now - row.created_at >= limit);
        if matches!(how, How::Fail) || job.attempt >= job.kind.max_attempts || too_old {
            prop_assert_eq!(verdict, Verdict::Dead);
            row.failed_at = Some(self.now);
            return Ok(());
        }
        let Verdict::WillRetry { at } = verdict else {
            return Err(TestCaseError::fail(format!("{verdict:?} after attempt {} of {job:?}", job.attempt)));
        };
        let pause = (at - self.now).as_seconds_f64();
        let (shortest, longest) = match how {
            How::RetryAfter(seconds) => (seconds as f64, seconds as f64),
            How::Retry | How::Fail => {
                let doubled = job.kind.backoff.as_secs_f64() * 2_f64.powi(job.attempt - 1);
                let pause = doubled.min(job.kind.backoff_cap.as_secs_f64());
                (pause * 0.75, pause * 1.25)
            }
        };
        let slack = 1e-3;
        prop_assert!((shortest - slack..=longest + slack).contains(&pause), "{pause} s after {job:?}");
        let stored = stored.expect("a job that failed is still there").run_at;
        prop_assert!((stored - at).abs() <= TimeDelta::microseconds(1), "told {at}, stored {stored}");
        row.run_at = stored;
        Ok(())
    }

    async fn revive(&mut self) -> Result<(), TestCaseError> {
        let dead = self.rows.iter().find(|(_, row)| row.failed_at.is_some()).map(|(id, _)| *id);
        let Some(id) = dead else { return Ok(()) };
        prop_assert!(queue::retry(&self.effects.0, id, self.now).await.expect("the queue answers"));
        let row = self.rows.remove(&id).expect("the dead letter");
        self.gone.insert(id);
        self.entered(row.kind, row.subject, self.now).await
    }

    async fn cancel(&mut self, job: usize) -> Result<(), TestCaseError> {
        let Some(id) = self.rows.keys().nth(job % self.rows.len().max(1)).copied() else { return Ok(()) };
        let mut tx = self.effects.0.begin().await.expect("a transaction");
        let cancelled = queue::cancel(&mut tx, id).await.expect("the queue answers");
        tx.commit().await.expect("committed");
        prop_assert_eq!(cancelled.map(|job| job.id), Some(id));
        self.rows.remove(&id);
        self.gone.insert(id);
        Ok(())
    }

    /// The table is what the model says, row by row, and so are the effects of what was completed.
    async fn compare(&self, after: &Step) -> Result<(), TestCaseError> {
        let stored: BTreeMap<JobId, Row> = table(&self.effects.0)
            .await
            .into_iter()
            .map(|job| {
                let kind = Kind::named(&job.kind).expect("a known kind").name;
                let (subject, attempt, created_at) = (job.subject, job.attempt, job.created_at);
                let (run_at, failed_at) = (job.run_at, job.failed_at);
                (job.id, Row { kind, subject, attempt, run_at, created_at, failed_at })
            })
            .collect();
        prop_assert_eq!(&stored, &self.rows, "after {:?}", after);
        let effects: Vec<_> = self.done.iter().map(|(id, attempt)| (id.0, *attempt)).collect();
        prop_assert_eq!(self.effects.all().await, effects, "after {:?}", after);
        Ok(())
    }

    /// All workers are killed, the dead are revived, and a worker without fault does what is left.
    async fn come_to_the_end(&mut self) -> Result<(), TestCaseError> {
        self.hands.clear();
        while self.rows.values().any(|row| row.failed_at.is_some()) {
            self.take(&Step::Revive).await?;
        }
        while let Some(due) = queue::next_due(&self.effects.0).await.expect("the queue answers") {
            self.now = self.now.max(due);
            self.take(&Step::Claim { limit: 1 }).await?;
            self.take(&Step::Done { hand: 0 }).await?;
        }
        self.compare(&Step::Pass { seconds: 0 }).await?;
        prop_assert!(self.rows.is_empty(), "left over: {:?}", self.rows);
        let ended: BTreeSet<_> = self.done.keys().chain(&self.gone).copied().collect();
        prop_assert_eq!(&ended, &self.seen, "every job ends, and in one way");
        Ok(())
    }

    fn holds(&self, job: &Claimed) -> bool {
        self.rows.get(&job.id).is_some_and(|row| row.attempt == job.attempt && row.failed_at.is_none())
    }

    fn let_go(&mut self, hand: usize) -> Option<Hand> {
        (!self.hands.is_empty()).then(|| self.hands.remove(hand % self.hands.len()))
    }

    /// Takes a job into the model that came with a completed one.
    async fn adopt(&mut self, kind: &'static str, subject: i64) -> Result<(), TestCaseError> {
        let jobs = table(&self.effects.0).await;
        let Some(job) = jobs.iter().find(|job| job.kind == kind && job.subject == subject) else {
            return Err(TestCaseError::fail("the job that follows is not there"));
        };
        prop_assert!(self.seen.insert(job.id), "the job that follows was there before");
        let (run_at, created_at) = (job.run_at, job.created_at);
        self.rows.insert(job.id, Row { kind, subject, attempt: 0, run_at, created_at, failed_at: None });
        Ok(())
    }
}

/// What the completion of a job enters. Its subject is its own, so that open transactions don't wait for each other.
fn following(job: &Claimed) -> Option<(&'static str, i64)> {
    (job.kind != FOLLOWING).then(|| (FOLLOWING.name, job.id.0 * 1000 + i64::from(job.attempt)))
}

async fn write(effects: &Effects, job: &Claimed, now: DateTime<Utc>) -> Tx {
    let mut tx = effects.0.begin().await.expect("a transaction");
    Effects::write(&mut tx, job).await;
    if let Some((_, subject)) = following(job) {
        queue::enqueue(&mut tx, FOLLOWING, subject, now).await.expect("a job that follows");
    }
    tx
}
