//! What the queue promises, on a real PostgreSQL: no job is lost, none is completed twice, a late worker is rolled back
//! with all it wrote, a duplicate is absorbed only by an unstarted job, failures wait longer each time, dead letters
//! come back. A model of the queue runs beside it, under any order of events.

mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use proptest::test_runner::{Config, TestRunner};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};
use ticketd::clock::Clock;
use ticketd::ingest;
use ticketd::queue::{self, ASSIGN, CLOSE_RESOLVED, DELIVER, HEAR, Job, JobError, Tx, Verdict, Which};
use ticketd::worker::{self, Pulse};
use tokio_util::sync::CancellationToken;

use crate::harness::desk::{self, Desk, Plan, start_of_time};
use crate::harness::mail::mail;
use crate::harness::postgres;
use crate::harness::smtp::SmtpSink;
use crate::harness::wait::until;

/// What completed jobs leave behind: a row each, written in the transaction that completes them.
struct Effects(PgPool);

impl Effects {
    async fn on_a_fresh_database() -> Self {
        let options = PgPoolOptions::new().max_connections(12);
        let db = options.connect_with(postgres::fresh().await).await.expect("a pool");
        let table = "CREATE TABLE effects (job BIGINT NOT NULL, attempt INT NOT NULL)";
        sqlx::query(table).execute(&db).await.expect("a table");
        Self(db)
    }

    async fn write(tx: &mut Tx, job: &queue::Claimed) {
        let insert = sqlx::query("INSERT INTO effects VALUES ($1, $2)").bind(job.id.0).bind(job.attempt);
        insert.execute(&mut **tx).await.expect("an effect");
    }

    /// Job and attempt of every effect, sorted.
    async fn all(&self) -> Vec<(i64, i32)> {
        let rows = sqlx::query("SELECT job, attempt FROM effects ORDER BY 1, 2").fetch_all(&self.0).await;
        rows.expect("the effects").iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn clear(&self) {
        sqlx::raw_sql("DELETE FROM jobs; DELETE FROM effects").execute(&self.0).await.expect("emptied");
    }
}

async fn enqueue(db: &PgPool, kind: &queue::Kind, subject: i64, run_at: DateTime<Utc>, now: DateTime<Utc>) {
    let mut tx = db.begin().await.expect("a transaction");
    queue::enqueue_all(&mut tx, &[(kind, subject, run_at)], now).await.expect("a job");
    tx.commit().await.expect("committed");
}

/// The whole table, by id.
async fn table(db: &PgPool) -> Vec<Job> {
    let mut jobs = queue::list(db, Which::All, 10_000).await.expect("the jobs");
    jobs.sort_by_key(|job| job.id);
    jobs
}

#[test]
fn every_order_of_events_keeps_the_promises() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let effects = runtime.block_on(Effects::on_a_fresh_database());
    // The failing steps are printed, cut down to few; a file of them beside the source would have to be looked after.
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new(config)
        .run(&model::steps(), |steps| {
            runtime.block_on(async {
                effects.clear().await;
                model::check(&effects, &steps).await
            })
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(effects.0.close());
}

#[tokio::test]
async fn jobs_that_take_turns_wait_for_the_one_begun_earlier() {
    let effects = Effects::on_a_fresh_database().await;
    let (db, now) = (&effects.0, start_of_time());
    enqueue(db, &HEAR, 1, now, now).await;
    let first = queue::claim(db, now, 10).await.expect("claimed").remove(0);
    enqueue(db, &HEAR, 1, now, now).await;
    enqueue(db, &HEAR, 2, now, now).await;
    let others = queue::claim(db, now, 10).await.expect("claimed");
    assert_eq!(others.iter().map(|j| j.subject).collect::<Vec<_>>(), [2], "another thread does not wait");

    // Not while the first waits to be tried again, and not when its lease has run out: then it is its own turn again.
    queue::failed(db, &first, &JobError::Retry(anyhow!("not now")), now, 0.5).await.expect("a verdict");
    assert!(queue::claim(db, now, 10).await.expect("claimed").is_empty());
    let later = now + TimeDelta::minutes(30);
    let again = queue::claim(db, later, 10).await.expect("claimed");
    let again = again.into_iter().find(|j| j.subject == 1).expect("the first");
    assert_eq!((again.id, again.attempt), (first.id, 2));
    again.done(db.begin().await.expect("a transaction")).await.expect("done");
    let next = queue::claim(db, later, 10).await.expect("claimed");
    assert_eq!(next.iter().filter(|j| j.subject == 1).count(), 1, "and now the second");

    // One that is dead lets the next go on.
    let next = next.into_iter().find(|j| j.subject == 1).expect("the second");
    enqueue(db, &HEAR, 1, later, later).await;
    queue::failed(db, &next, &JobError::Fail(anyhow!("never")), later, 0.5).await.expect("a verdict");
    assert_eq!(queue::claim(db, later, 10).await.expect("claimed").len(), 1);
    effects.0.close().await;
}

#[tokio::test]
async fn a_worker_that_comes_late_is_rolled_back_with_all_it_wrote() {
    let effects = Effects::on_a_fresh_database().await;
    let (db, now) = (&effects.0, start_of_time());
    enqueue(db, &ASSIGN, 1, now, now).await;
    let first = queue::claim(db, now, 1).await.expect("claimed").remove(0);
    let mut slow = db.begin().await.expect("a transaction");
    Effects::write(&mut slow, &first).await;
    queue::enqueue(&mut slow, &CLOSE_RESOLVED, 7, now).await.expect("a job that follows");

    let later = now + TimeDelta::from_std(ASSIGN.lease).expect("a lease");
    assert!(queue::claim(db, later - TimeDelta::microseconds(1), 1).await.expect("claimed").is_empty());
    let second = queue::claim(db, later, 1).await.expect("claimed").remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));

    assert!(matches!(first.done(slow).await, Err(JobError::Late)), "the first worker has lost its lease");
    assert_eq!(effects.all().await, []);
    let error = JobError::Retry(anyhow!("too late"));
    let verdict = queue::failed(db, &first, &error, later, 0.5).await.expect("a verdict");
    assert_eq!(verdict, Verdict::Superseded, "a late worker's failure is no news either");

    let mut quick = db.begin().await.expect("a transaction");
    Effects::write(&mut quick, &second).await;
    second.done(quick).await.expect("the second worker holds the lease");
    assert_eq!(effects.all().await, [(first.id.0, 2)]);
    assert!(table(db).await.is_empty(), "the job that followed from the late work is not there");
    effects.0.close().await;
}

#[tokio::test]
async fn of_many_askers_at_the_same_moment_one_job_comes() {
    let effects = Effects::on_a_fresh_database().await;
    let (db, now) = (&effects.0, start_of_time());
    for round in 1..=20_i32 {
        join_all((0..8).map(|second| enqueue(db, &ASSIGN, 1, now + TimeDelta::seconds(second), now))).await;
        let waiting = table(db).await;
        assert_eq!(waiting.len(), usize::try_from(round).expect("small"), "{waiting:#?}");
        let newest = waiting.last().expect("a job");
        assert_eq!((newest.attempt, newest.run_at), (0, now), "the earliest time of all is kept");
        // From here on it is started, and takes in no more.
        queue::claim(db, now, 1).await.expect("claimed");
    }
    effects.0.close().await;
}

#[tokio::test]
async fn failures_wait_longer_each_time_until_the_job_is_dead_and_then_it_can_be_revived() {
    let effects = Effects::on_a_fresh_database().await;
    let db = &effects.0;
    let mut now = start_of_time();
    enqueue(db, &ASSIGN, 5, now, now).await;
    let error = JobError::Retry(anyhow!("the moon is full"));
    let mut pauses = Vec::new();
    let dead = loop {
        let job = queue::claim(db, now, 1).await.expect("claimed").remove(0);
        match queue::failed(db, &job, &error, now, 0.5).await.expect("a verdict") {
            Verdict::WillRetry { at } => {
                let before = at - TimeDelta::microseconds(1);
                assert!(
                    queue::claim(db, before, 1).await.expect("claimed").is_empty(),
                    "not before its time"
                );
                pauses.push((at - now).num_seconds());
                now = at;
            }
            Verdict::Dead => break job,
            Verdict::Superseded => panic!("nobody else has the job"),
        }
    };
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900, 900, 900, 900, 900]);
    assert!(queue::claim(db, now + TimeDelta::days(365), 9).await.expect("claimed").is_empty(), "dead");
    let letters = queue::list(db, Which::Failed, 9).await.expect("the dead letters");
    let said: Vec<_> = letters.iter().map(|job| (job.id, job.last_error.as_deref())).collect();
    assert_eq!(said, [(dead.id, Some("the moon is full"))]);

    assert!(queue::retry(db, dead.id, now).await.expect("revived"));
    assert!(!queue::retry(db, dead.id, now).await.expect("asked again"), "it is no dead letter any more");
    let again = queue::claim(db, now, 9).await.expect("claimed");
    let [job] = again.as_slice() else { panic!("one job comes back, not {again:?}") };
    assert_eq!((job.kind.name, job.subject, job.attempt), ("assign", 5, 1), "with all its attempts");
    effects.0.close().await;
}

#[tokio::test]
async fn a_mail_is_tried_for_five_days_however_often_that_is() {
    let effects = Effects::on_a_fresh_database().await;
    let db = &effects.0;
    let begun = start_of_time();
    let (mut now, mut attempts) = (begun, 0);
    enqueue(db, &DELIVER, 5, now, now).await;
    let error = JobError::Retry(anyhow!("421 later"));
    loop {
        let job = queue::claim(db, now, 1).await.expect("claimed").remove(0);
        attempts += 1;
        match queue::failed(db, &job, &error, now, 1.0).await.expect("a verdict") {
            Verdict::WillRetry { at } => now = at,
            Verdict::Dead => break,
            Verdict::Superseded => panic!("nobody else has the job"),
        }
    }
    assert!(now - begun >= TimeDelta::days(5) && now - begun < TimeDelta::days(5) + TimeDelta::hours(2));
    assert!(attempts > 100, "{attempts}");
    effects.0.close().await;
}

/// Workers on connections of their own take jobs as they come, and complete them, fail at them, are killed over them,
/// or lose their lease because time passes for the others.
#[tokio::test]
async fn workers_at_the_same_time_lose_nothing_and_do_nothing_twice() {
    const JOBS: i64 = 300;
    let effects = Effects::on_a_fresh_database().await;
    let db = &effects.0;
    let clock = Clock::told(start_of_time());
    let mut tx = db.begin().await.expect("a transaction");
    let jobs: Vec<_> = (0..JOBS).map(|subject| (&ASSIGN, subject, clock.now())).collect();
    queue::enqueue_all(&mut tx, &jobs, clock.now()).await.expect("jobs");
    tx.commit().await.expect("committed");

    let workers = (0..4_u64).map(|number| {
        let (db, clock) = (db.clone(), clock.clone());
        async move {
            let mut chance = StdRng::seed_from_u64(number);
            let (mut done, mut late) = (0, 0);
            loop {
                let jobs = queue::claim(&db, clock.now(), chance.random_range(1..6)).await.expect("claimed");
                if jobs.is_empty() {
                    let Some(due) = queue::next_due(&db).await.expect("the queue") else {
                        break (done, late);
                    };
                    // Nothing is due: time passes, and so do the leases of the killed, and of those that are slow.
                    clock.advance((due - clock.now()).max(TimeDelta::zero()));
                }
                for job in jobs {
                    let fate = chance.random_range(0..10);
                    if fate == 0 {
                        continue; // killed
                    }
                    let mut tx = db.begin().await.expect("a transaction");
                    Effects::write(&mut tx, &job).await;
                    if fate == 1 {
                        drop(tx);
                        let error = JobError::RetryAfter(Duration::from_secs(1), anyhow!("not now"));
                        queue::failed(&db, &job, &error, clock.now(), 0.5).await.expect("a verdict");
                        continue;
                    }
                    if fate == 2 {
                        clock.advance(TimeDelta::seconds(61)); // slow, and everybody else's leases run out too
                    }
                    match job.done(tx).await {
                        Ok(_) => done += 1,
                        Err(JobError::Late) => late += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
    let outcomes = join_all(workers).await;
    let (done, late) = outcomes.iter().fold((0, 0), |(d, l), (done, late)| (d + done, l + late));
    let mut completed = BTreeMap::new();
    for (job, _) in effects.all().await {
        *completed.entry(job).or_insert(0) += 1;
    }
    assert_eq!(completed.len(), usize::try_from(JOBS).expect("small"), "lost");
    assert!(completed.values().all(|times| *times == 1), "done twice: {completed:?}");
    assert_eq!(done, JOBS, "every success that was told is one that happened");
    assert!(outcomes.iter().all(|(done, _)| *done > 0), "all took part: {outcomes:?}");
    assert!(late > 0, "nobody was late: this run showed nothing of that");
    assert!(table(db).await.is_empty());
    effects.0.close().await;
}

#[tokio::test]
async fn two_real_workers_share_a_backlog_without_doing_anything_twice() {
    const MAILS: usize = 80;
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires_with("Bea", ticketd::people::Role::Moderator, &[("billing", 5)], Some(1000), false).await;
    for number in 0..MAILS {
        let from = format!("p{number}@example.net");
        let mail = mail(&from, "Invoice", &format!("The refund number {number} is missing."));
        ingest::receive_sample(&desk.db, &desk.clock, "support", &number.to_string(), &mail.raw())
            .await
            .expect("in the ledger");
    }
    let other = another_process(&desk).await;
    let stop = CancellationToken::new();
    tokio::join!(
        worker::run(desk.app.stages.clone(), Pulse::default(), worker::POLL, stop.clone()),
        worker::run(other.app.stages.clone(), Pulse::default(), worker::POLL, stop.clone()),
        async {
            until("all jobs are done", async || {
                desk.clock.advance(TimeDelta::milliseconds(10));
                table(&desk.db).await.is_empty()
            })
            .await;
            stop.cancel();
        }
    );
    let mails = i64::try_from(MAILS).expect("small");
    assert_eq!(desk.tickets().await, mails);
    for count in [
        "SELECT count(DISTINCT ticket_id) FROM messages",
        "SELECT count(*) FROM messages",
        "SELECT count(*) FROM triages",
        "SELECT count(*) FROM assignments WHERE outcome = 'matched'",
        "SELECT count(*) FROM deliveries WHERE kind = 'acknowledgement' AND state = 'sent'",
        "SELECT count(*) FROM deliveries WHERE kind = 'notice' AND state = 'sent'",
    ] {
        assert_eq!(desk.count(count).await, mails, "{count}");
    }
    let sent = [desk.sink.mails().len(), other.sink.mails().len()];
    assert_eq!(sent.iter().sum::<usize>(), 2 * MAILS);
    assert!(sent.iter().all(|count| *count > 0), "only one of the two did all the work: {sent:?}");
    other.close().await;
    desk.close().await;
}

/// A second daemon on the same database, with connections and a mail server of its own.
async fn another_process(desk: &Desk) -> Desk {
    let options = PgPoolOptions::new().max_connections(8);
    let db = options.connect_with((*desk.db.connect_options()).clone()).await.expect("a pool");
    Desk::with(Plan { db: Some(db), sink: Some(SmtpSink::start()), ..Plan::default() }).await
}

/// Its worker looks at the queue unasked only once an hour: what is done sooner was announced to it.
#[tokio::test]
async fn an_announcement_wakes_an_idle_worker_also_after_its_connection_was_lost() {
    let desk = desk::Desk::open().await;
    let (stop, pulse) = (CancellationToken::new(), Pulse::default());
    let hourly = Duration::from_hours(1);
    let idle = async || {
        until("the worker is idle", async || pulse.age() > Duration::from_millis(100)).await;
    };
    tokio::join!(worker::run(desk.app.stages.clone(), pulse.clone(), hourly, stop.clone()), async {
        for round in 0..3 {
            idle().await;
            enqueue(&desk.db, &CLOSE_RESOLVED, round, desk.clock.now(), desk.clock.now()).await;
            queue::ring(&desk.db).await;
            until("the announced job is done", async || table(&desk.db).await.is_empty()).await;
        }
        idle().await;
        let listening = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
        assert_eq!(desk.count(listening).await, 1, "one connection listens");
        // It notices, listens anew, and looks at the queue in case that something was announced in between.
        until("somebody listens again", async || desk.count(LISTENERS).await == 1).await;
        idle().await;
        enqueue(&desk.db, &CLOSE_RESOLVED, 9, desk.clock.now(), desk.clock.now()).await;
        queue::ring(&desk.db).await;
        until("the announced job is done", async || table(&desk.db).await.is_empty()).await;
        stop.cancel();
    });
    desk.close().await;
}

const LISTENERS: &str = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
