//! How soon an interaction in Discord gets its first answer under load, and how soon staff's reply is mail at the SMTP
//! server: the real program, in its production path of serenity (TLS, rate limiter on), between a fake Discord that
//! checks every request, a real SMTP server and a real PostgreSQL (fsync on), all on the same cores.
//!
//! `cargo bench --bench discord`; `TICKETD_BENCH_SECONDS` sets how long the load lasts.

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

use std::process::Child;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::PgPool;
use ticketd::clock::Clock;
use ticketd::people::{self, NewStaff, Role};

use harness::desk::{configuration, fresh_user};
use harness::discord::{Asked, Discord, Person};
use harness::dovecot::Dovecot;
use harness::mail::mail;
use harness::smtp::SmtpSink;
use harness::wait;
use measure::{Ground, cpu, option, percentile, serve};

const PER_SECOND: u64 = 50;
const REPLIES: usize = 100;

#[tokio::main]
async fn main() {
    let seconds: u64 = option("TICKETD_BENCH_SECONDS", 20);
    let ground = Ground::lay(4).await;
    let db = ground.db.clone();
    hire(&db).await;

    let discord = Discord::start().await;
    let bea = discord.member_with("bea", &["moderator"]);
    let sink = SmtpSink::start();
    let user = fresh_user();
    Dovecot::shared().append(&user, "INBOX", &letter().raw()).await;
    let more = format!(
        "{}[http]\nlisten = \"127.0.0.1:0\"\n[mail]\nundo_seconds = 0\n[telemetry]\nlog = \"warn\"\n{}",
        ground.database(),
        discord.config()
    );
    let config =
        ground.configure(&configuration(&user, Dovecot::shared().imap_port(), sink.port(), "", &more));
    let mut daemon = serve(&config);
    let thread = discord.staff_thread("#1001").await;
    thread.hears("charged twice").await;

    interactions(&bea, &daemon, seconds).await;
    replies(&bea, thread.id(), &sink).await;
    daemon.kill().ok();
    daemon.wait().ok();
    db.close().await;
}

fn letter() -> harness::mail::Mail {
    mail("Ada <ada@example.net>", "Invoice", "Hello,\n\nI was charged twice and want a refund.\n\nAda")
}

async fn hire(db: &PgPool) {
    let now = Clock::system().now();
    let dora = NewStaff {
        name: "Dora".to_owned(),
        email: "dora@example.org".to_owned(),
        role: Role::Admin,
        cap: None,
        away: false,
        skills: Vec::new(),
    };
    people::save_staff(db, &dora, now).await.expect("staff");
}

/// Commands at an even pace, whether or not earlier ones are answered: from the moment Discord sends one to the moment
/// its first answer is there.
async fn interactions(bea: &Person, daemon: &Child, seconds: u64) {
    bea.uses("/stats").await.answer().await;
    let before = cpu(daemon.id());
    let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(PER_SECOND).unwrap_or(1));
    let mut asked = Vec::new();
    for _ in 0..PER_SECOND * seconds {
        pace.tick().await;
        asked.push(bea.uses("/stats").await);
    }
    let firsts = join_all(asked.iter().map(Asked::first_answer_took)).await;
    let mut took: Vec<f64> = firsts.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
    join_all(asked.iter().map(Asked::answer)).await;
    let cpu_each = cpu(daemon.id()).saturating_sub(before).as_secs_f64() * 1000.0 / took_count(&took);
    println!(
        "interaction to first answer, {PER_SECOND}/s for {seconds} s  {:7.1} ms median, {:.1} ms at the 99th percentile, {:.1} ms at most",
        percentile(&mut took, 50),
        percentile(&mut took, 99),
        percentile(&mut took, 100)
    );
    println!("CPU of ticketd for each interaction        {cpu_each:7.2} ms");
}

/// One reply at a time: from the command in Discord to the mail at the SMTP server.
async fn replies(bea: &Person, thread: u64, sink: &SmtpSink) {
    let mut took = Vec::new();
    for number in 0..REPLIES {
        let text = format!("Answer number {number}.");
        let begun = Instant::now();
        let asked = bea.uses("/reply").with("text", &text).in_channel(thread).await;
        let arrived = async || sink.mails().iter().any(|mail| mail.text().contains(&text));
        wait::until("the reply as mail", arrived).await;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        asked.answer().await;
    }
    println!(
        "reply in Discord to mail at SMTP, no undo  {:7.1} ms median, {:.1} ms at the 99th percentile",
        percentile(&mut took, 50),
        percentile(&mut took, 99)
    );
}

fn took_count(took: &[f64]) -> f64 {
    f64::from(u32::try_from(took.len()).unwrap_or(1).max(1))
}
