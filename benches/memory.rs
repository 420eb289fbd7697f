//! How much memory the daemon takes at most: with a mailbox in which very many mails wait, and with mails as large as are
//! taken. The real program between a real Dovecot, SMTP server and PostgreSQL (fsync on).
//!
//! `cargo bench --bench memory`; `TICKETD_BENCH_WAITING` (100,000) sets how many small mails wait, `TICKETD_BENCH_LARGE` (12)
//! how many large ones, `TICKETD_BENCH_LARGE_MIB` (25) how large.

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

use std::time::{Duration, Instant};

use harness::daemon::{Daemon, Premises};
use harness::dovecot::Dovecot;
use harness::mail::{large_mail, mail};
use harness::wait::within;
use measure::{Ground, option};

/// What is promised for small mails, however many wait.
const SMALL_MIB: u64 = 200;
/// And for the largest, however many wait: the base, what is fetched, and the few times their size that those being read take.
const LARGE_MIB: u64 = 400;
const MIB: u64 = 1024 * 1024;

#[tokio::main]
async fn main() {
    let waiting: usize = option("TICKETD_BENCH_WAITING", 100_000);
    let (large, size): (usize, usize) =
        (option("TICKETD_BENCH_LARGE", 12), option("TICKETD_BENCH_LARGE_MIB", 25));
    let small = (0..waiting).map(|number| {
        let body = format!("Invoice {number} is wrong.\n\n{}\n", "The parcel arrived on time. ".repeat(40));
        mail(&format!("C{number} <c{number}@example.net>"), &format!("Invoice {number}"), &body).raw()
    });
    measure(&format!("{waiting} mails of 1 KB wait"), small, waiting, SMALL_MIB).await;
    // A little less than the limit: the headers count, too.
    let bytes = size * 1024 * 1024 - 64 * 1024;
    let mails = (0..large).map(|number| large_mail(number, bytes));
    measure(&format!("{large} mails of {size} MiB wait"), mails, large, LARGE_MIB).await;
}

/// One daemon from its start until nothing is left to do.
async fn measure(what: &str, mails: impl Iterator<Item = Vec<u8>>, count: usize, promised: u64) {
    if count == 0 {
        return;
    }
    let ground = Ground::lay(4).await;
    let dovecot = Dovecot::private();
    let premises = Premises::on(&ground.url(), dovecot.imap_port(), "", "").await;
    for raw in mails {
        dovecot.deliver(&premises.user, "INBOX", [raw.as_slice()]);
    }
    // Dovecot numbers what it finds at the first look: that is not ours to be measured.
    let listed = dovecot.session(&premises.user).await.examine("INBOX").await.expect("an inbox").exists;
    assert_eq!(usize::try_from(listed).ok(), Some(count));
    let begun = Instant::now();
    let daemon = Daemon::start(&premises.config, "");
    let all = i64::try_from(count).expect("small");
    let patience = Duration::from_hours(1);
    // Asked often: what counts all rows would be measured, too.
    let in_ledger = async || premises.count("SELECT COALESCE(max(id), 0) FROM inbound").await >= all;
    assert!(within(patience, in_ledger).await, "not all mails are in the ledger");
    told(what, "all are stored", &begun, &daemon, promised);
    let is_done =
        async || premises.count("SELECT count(*) FROM (SELECT FROM jobs LIMIT 1) AS one").await == 0;
    assert!(within(patience, is_done).await, "not all mails are handled");
    told(what, "all are handled", &begun, &daemon, promised);
    daemon.stops().await;
    premises.db.close().await;
}

/// The most memory so far.
fn told(what: &str, when: &str, begun: &Instant, daemon: &Daemon, promised: u64) {
    let (seconds, most) = (begun.elapsed().as_secs_f64(), daemon.most_memory() / MIB);
    let verdict = if most < promised { "under" } else { "OVER" };
    println!("{what}, {when} after {seconds:.0} s: {most} MiB at most ({verdict} {promised})");
}
