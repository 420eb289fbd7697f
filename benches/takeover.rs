//! How soon another process reads when the one that reads dies or stands still: three of the real program on one
//! PostgreSQL (fsync on) while mails arrive at a real Dovecot, all on the same cores.
//!
//! `cargo bench --bench takeover`; `TICKETD_BENCH_KILLS` and `TICKETD_BENCH_FREEZES` set how often.

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

use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use harness::daemon::{Daemon, Premises};
use harness::dovecot::Dovecot;
use harness::wait::until;
use measure::{Ground, option, percentile};

/// A mail arrives this often.
const LOAD: Duration = Duration::from_millis(50);
const READS: &str = "\"mailbox read\"";
const WAITS: &str = "waiting to take over";

#[tokio::main]
async fn main() {
    let (kills, freezes) = (option("TICKETD_BENCH_KILLS", 10), option("TICKETD_BENCH_FREEZES", 3));
    let ground = Ground::lay(4).await;
    let dovecot = Dovecot::shared();
    let premises = Premises::on(&ground.url(), dovecot.imap_port(), "", "").await;
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::start(&premises.config, "")).collect();
    let delivered = Cell::new(0);
    let (mut killed, mut frozen) = (Vec::new(), Vec::new());
    let story = async {
        for _ in 0..kills {
            killed.push(take_over(&mut daemons, Blow::Kill, &premises).await);
        }
        for _ in 0..freezes {
            frozen.push(take_over(&mut daemons, Blow::Freeze, &premises).await);
        }
    };
    tokio::select! {
        () = story => {}
        never = mails_arrive(dovecot, &premises.user, &delivered) => match never {},
    }
    let all = delivered.get();
    let in_ledger = async || premises.count("SELECT count(*) FROM inbound").await >= all;
    until("all mails are in the ledger", in_ledger).await;
    for (what, mut times) in [("kill -9", killed), ("SIGSTOP", frozen)] {
        let count = times.len();
        let (median, most) = (percentile(&mut times, 50), percentile(&mut times, 100));
        println!(
            "{what} of the reader, {count} times: another reads after {median:.2} s median, {most:.2} s at most"
        );
    }
    println!("{all} mails arrived meanwhile, and all are in the ledger");
}

#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Freeze,
}

async fn mails_arrive(dovecot: &Dovecot, user: &str, delivered: &Cell<i64>) -> Infallible {
    let mut pace = tokio::time::interval(LOAD);
    loop {
        pace.tick().await;
        let number = delivered.get() + 1;
        // Counted before it is there: it may arrive although nobody hears the end of this.
        let mail = format!(
            "From: P <p{number}@client.example>\r\nTo: support@example.org\r\nSubject: Invoice {number}\r\n\r\nMissing.\r\n"
        );
        dovecot.append(user, "INBOX", mail).await;
        delivered.set(number);
    }
}

/// Which of them reads, by what it said last.
fn reader(daemons: &[Daemon]) -> Option<usize> {
    daemons.iter().position(|daemon| {
        let log = daemon.log();
        log.lines()
            .rev()
            .find(|line| line.contains(READS) || line.contains(WAITS))
            .is_some_and(|l| l.contains(READS))
    })
}

fn passes(daemons: &[Daemon], but: usize) -> usize {
    let others = daemons.iter().enumerate().filter(|(at, _)| *at != but);
    others.map(|(_, daemon)| daemon.log().lines().filter(|line| line.contains(READS)).count()).sum()
}

/// Seconds from the blow to the end of another process's first pass.
async fn take_over(daemons: &mut [Daemon], blow: Blow, premises: &Premises) -> f64 {
    for daemon in daemons.iter() {
        assert!(daemon.comes_up().await, "{}", daemon.log());
    }
    let two_wait = async || {
        let waiting = daemons.iter().filter(|daemon| daemon.log().contains(WAITS)).count();
        waiting >= 2 && reader(daemons).is_some()
    };
    until("one reads, the others wait", two_wait).await;
    let Some(victim) = reader(daemons) else { panic!("nobody reads") };
    let before = passes(daemons, victim);
    let begun = Instant::now();
    match (blow, daemons.get_mut(victim)) {
        (Blow::Kill, Some(daemon)) => daemon.kill(),
        (Blow::Freeze, Some(daemon)) => daemon.freezes(),
        (_, None) => panic!("there is no such process"),
    }
    until("another one reads", async || passes(daemons, victim) > before).await;
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(daemon) = daemons.get_mut(victim) {
        *daemon = Daemon::start(&premises.config, "");
    }
    seconds
}
