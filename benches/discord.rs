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

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use ticketd::clock::Clock;
use ticketd::database::{self, Keep, PrivatePostgres};
use ticketd::people::{self, NewStaff, Role};

use harness::desk::{configuration, fresh_user};
use harness::discord::{Asked, Discord, Person};
use harness::dovecot::Dovecot;
use harness::mail::mail;
use harness::smtp::SmtpSink;
use harness::{children, wait};

const PER_SECOND: u64 = 50;
const REPLIES: usize = 100;

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let seconds: u64 = option("TICKETD_BENCH_SECONDS").and_then(|n| n.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().expect("a folder");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(folder.path(), permissions).expect("a folder that PostgreSQL can reach");
    let server =
        PrivatePostgres::start(&folder.path().join("pg"), Keep::Nothing, None).expect("a PostgreSQL");
    let options = PgPoolOptions::new().max_connections(4);
    let db = options.connect_with(server.options("postgres")).await.expect("a pool");
    database::migrate(&db).await.expect("migrations");
    hire(&db).await;

    let discord = Discord::start().await;
    let bea = discord.member_with("bea", &["moderator"]);
    let sink = SmtpSink::start();
    let user = fresh_user();
    Dovecot::shared().append(&user, "INBOX", &letter().raw()).await;
    let socket = folder.path().join("pg").display().to_string().replace('/', "%2F");
    let more = format!(
        "[database]\nurl = \"postgres://postgres@{socket}/postgres\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [mail]\nundo_seconds = 0\n[telemetry]\nlog = \"warn\"\n{}",
        discord.config()
    );
    let config = folder.path().join("ticketd.toml");
    let text = configuration(&user, Dovecot::shared().imap_port(), sink.port(), "", &more);
    std::fs::write(&config, text).expect("written");
    let mut daemon = serve(&config);
    let thread = discord.staff_thread("#1001").await;
    thread.hears("charged twice").await;

    interactions(&bea, &daemon, seconds).await;
    replies(&bea, thread.id(), &sink).await;
    daemon.kill().ok();
    daemon.wait().ok();
    db.close().await;
}

#[expect(clippy::disallowed_methods, reason = "a measurement's size")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
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

fn serve(config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketd"));
    command.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
    children::spawn(command, Signal::SIGKILL).expect("ticketd")
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

fn percentile(times: &mut [f64], part: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or(f64::NAN)
}

/// User and system time of a process (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
