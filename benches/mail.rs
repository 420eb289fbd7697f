//! How fast a full inbox becomes tickets, what a mail costs, how soon it is acknowledged, and how much memory an idle
//! daemon takes: the real program between a real Dovecot, SMTP server and PostgreSQL (fsync on), measured beside the raw
//! speed of IMAP FETCH and of PostgreSQL commits in the same run.
//!
//! `cargo bench --bench mail`; `TICKETD_BENCH_MAILS` sets the size.

#![expect(
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "the harness of the tests, of which this uses a part"
)]
#![expect(clippy::panic, clippy::print_stdout, reason = "a measurement that fails has nothing better to do")]

#[path = "../tests/harness/mod.rs"]
mod harness;
mod measure;

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{PgPool, Row};
use ticketd::clock::Clock;
use ticketd::people::{self, NewStaff, Role};

use harness::desk::{configuration, fresh_user};
use harness::dovecot::Dovecot;
use harness::mail::mail;
use harness::smtp::SmtpSink;
use harness::wait;
use measure::{Ground, cpu, option, percentile, serve};

const SKILLS: &str =
    "[[skill]]\nslug = \"billing\"\nname = \"Billing\"\naliases = [\"invoice\", \"refund\"]\n";
const SINGLE_MAILS: usize = 40;

#[tokio::main]
async fn main() {
    let count: usize = option("TICKETD_BENCH_MAILS", 3000);
    let ground = Ground::lay(12).await;
    let db = ground.db.clone();
    staff(&db).await;

    let user = fresh_user();
    let mails: Vec<Vec<u8>> = (0..count).map(letter).collect();
    Dovecot::shared().deliver(&user, "INBOX", mails.iter().map(Vec::as_slice));
    let fetched = fetch_rate(&user, count).await;
    println!("raw: IMAP FETCH of the same inbox        {fetched:8.0} mails/s");
    let commits = commit_rate(&db).await;
    println!("raw: PostgreSQL commits, 12 connections  {commits:8.0} /s");

    let sink = SmtpSink::start();
    let more = format!(
        "{}[http]\nlisten = \"127.0.0.1:0\"\n[assignment]\ncap_default = 10000\n[telemetry]\nlog = \"warn\"\n",
        ground.database()
    );
    let text = configuration(&user, Dovecot::shared().imap_port(), sink.port(), "", &more);
    let config = ground.configure(&text);
    full_inbox(&db, &config, count, fetched, commits).await;
    single_mails(&config, &user, &sink).await;
    db.close().await;
}

fn letter(number: usize) -> Vec<u8> {
    let body = format!(
        "Hello,\n\nmy invoice {number} is wrong, I was charged twice and want a refund.\n\n{}\nKind regards\nC{number}\n",
        "The order was placed in November and the parcel arrived on time. ".repeat(20)
    );
    mail(&format!("Customer {number} <c{number}@example.net>"), &format!("Invoice {number}"), &body).raw()
}

async fn staff(db: &PgPool) {
    let now = Clock::system().now();
    people::import_skills(db, SKILLS, now).await.expect("a catalogue");
    for name in ["Ann", "Bea", "Cem", "Dan"] {
        let skills = vec![("billing".to_owned(), 4)];
        let email = format!("{}@example.org", name.to_lowercase());
        let person =
            NewStaff { name: name.into(), email, role: Role::Moderator, cap: None, away: false, skills };
        people::save_staff(db, &person, now).await.expect("staff");
    }
}

async fn fetch_rate(user: &str, count: usize) -> f64 {
    let mut session = Dovecot::shared().session(user).await;
    session.examine("INBOX").await.expect("an inbox");
    let begun = Instant::now();
    let found: Vec<_> = session
        .uid_fetch("1:*", "(UID BODY.PEEK[])")
        .await
        .expect("mails")
        .try_collect()
        .await
        .expect("mails");
    assert_eq!(found.len(), count);
    rate(count, begun.elapsed())
}

async fn commit_rate(db: &PgPool) -> f64 {
    sqlx::query("CREATE TABLE bench (n BIGINT)").execute(db).await.expect("a table");
    let begun = Instant::now();
    let writers = (0..12).map(|_| async {
        for n in 0..150_i64 {
            sqlx::query("INSERT INTO bench VALUES ($1)").bind(n).execute(db).await.expect("a commit");
        }
    });
    futures_util::future::join_all(writers).await;
    rate(12 * 150, begun.elapsed())
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

async fn number(db: &PgPool, sql: &'static str) -> usize {
    let n: i64 = sqlx::query(sql).fetch_one(db).await.expect("a count").get(0);
    usize::try_from(n).unwrap_or(0)
}

/// From the daemon's start to the last ticket, and on to the last acknowledgement.
async fn full_inbox(db: &PgPool, config: &Path, count: usize, fetched: f64, commits: f64) {
    let begun = Instant::now();
    let mut daemon = serve(config);
    wait::until("tickets", async || number(db, "SELECT count(*) FROM tickets").await >= count).await;
    let stored = begun.elapsed();
    let cpu_stored = cpu(daemon.id());
    wait::until("all work done", async || number(db, "SELECT count(*) FROM jobs").await == 0).await;
    let done = begun.elapsed();
    let cpu_done = cpu(daemon.id());
    let per_mail = |cpu: Duration| 1000.0 / rate(count, cpu);
    let stored_rate = rate(count, stored);
    println!(
        "full inbox to stored tickets             {stored_rate:8.0} mails/s ({:.2} of FETCH, {:.2} of commits)",
        stored_rate / fetched,
        stored_rate / commits
    );
    println!("  … triaged, assigned, acknowledged, told {:7.0} mails/s", rate(count, done));
    println!("CPU of ticketd for each mail, to the ticket {:5.2} ms", per_mail(cpu_stored));
    println!("  … and all that follows                 {:8.2} ms", per_mail(cpu_done));
    println!("memory after {count} mails                  {:8.1} MiB", resident(daemon.id()));
    daemon.kill().ok();
    daemon.wait().ok();
}

/// One mail at a time into an idle daemon: until its acknowledgement is at the SMTP server, from the moment the mail is
/// in the mailbox, and from the moment the server announces it. Dovecot holds an announcement back for half a second, so
/// a bare IDLE connection beside the daemon's tells when that is.
async fn single_mails(config: &Path, user: &str, sink: &SmtpSink) {
    let mut daemon = serve(config);
    let before = sink.mails().len();
    let mut watcher = Dovecot::shared().session(user).await;
    watcher.examine("INBOX").await.expect("an inbox");
    let (mut took, mut announced) = (Vec::new(), Vec::new());
    let mut idle = 0.0;
    for number in 0..=SINGLE_MAILS {
        let raw = letter(1_000_000 + number);
        let address = format!("c{}@example.net", 1_000_000 + number);
        let mut idle_connection = watcher.idle();
        idle_connection.init().await.expect("IDLE");
        let (wake, _stop) = idle_connection.wait();
        Dovecot::shared().append(user, "INBOX", &raw).await;
        let arrived = Instant::now();
        let woken = async {
            wake.await.expect("an announcement");
            Instant::now()
        };
        let acknowledged = async {
            let sent = async || sink.mails().iter().skip(before).any(|m| m.rcpt_to.contains(&address));
            wait::until("an acknowledgement", sent).await;
            Instant::now()
        };
        let (woken, acknowledged) = tokio::join!(woken, acknowledged);
        watcher = idle_connection.done().await.expect("the end of IDLE");
        // The first is read while the daemon starts.
        if number == 0 {
            idle = resident(daemon.id());
        } else {
            took.push(acknowledged.saturating_duration_since(arrived).as_secs_f64() * 1000.0);
            announced.push(acknowledged.saturating_duration_since(woken).as_secs_f64() * 1000.0);
        }
    }
    for (from, mut times) in [("announcement", announced), ("arrival", took)] {
        println!(
            "{from:12} to acknowledgement at SMTP {:7.1} ms median, {:.1} ms at the 95th percentile",
            percentile(&mut times, 50),
            percentile(&mut times, 95)
        );
    }
    println!("memory, idle                             {idle:8.1} MiB");
    daemon.kill().ok();
    daemon.wait().ok();
}

/// Resident memory in MiB.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
