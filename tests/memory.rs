//! Memory is bounded by what is in hand, not by what waits. `cargo bench --bench memory` does the same with more of it.

use ticketd::tickets::uploads::LARGEST;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{large_mail, mail};
use crate::harness::wait::{PATIENCE, until, within};

const MIB: u64 = 1024 * 1024;

/// A daemon that has stored these mails, and its most memory until then, in MiB.
async fn stores(mails: &[Vec<u8>]) -> (Premises, Daemon, u64) {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    dovecot.deliver(&premises.user, "INBOX", mails.iter().map(Vec::as_slice));
    let daemon = Daemon::start(&premises.config, "");
    let all = i64::try_from(mails.len()).expect("small");
    let stored = async || premises.count("SELECT count(*) FROM inbound").await == all;
    until("all mails are stored", stored).await;
    let most = daemon.most_memory() / MIB;
    (premises, daemon, most)
}

#[tokio::test]
async fn mails_that_wait_take_no_memory() {
    let letters: Vec<Vec<u8>> = (0..1000).map(|number| large_mail(number, 100_000)).collect();
    let (premises, daemon, most) = stores(&letters).await;
    assert!(most < 180, "{most} MiB for 100 MB that waited");
    assert_eq!(daemon.errors(), Vec::<String>::new());
    drop(daemon);
    premises.db.close().await;
}

#[tokio::test]
async fn three_mails_as_large_as_are_taken_stay_within_bounds() {
    let letters: Vec<Vec<u8>> = (0..3).map(|number| large_mail(number, 25 * 1024 * 1024 - 65_536)).collect();
    let (premises, daemon, _) = stores(&letters).await;
    until("all mails are handled", async || premises.is_settled(letters.len()).await).await;
    let most = daemon.most_memory() / MIB;
    assert!(most < 400, "{most} MiB");
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn five_answers_with_files_as_large_as_are_taken_stay_within_bounds() {
    let letters: Vec<Vec<u8>> = (0..5)
        .map(|number| mail(&format!("Ada <ada{number}@example.net>"), "Refund", "I want a refund.").raw())
        .collect();
    let (premises, daemon, _) = stores(&letters).await;
    until("all mails are handled", async || premises.is_settled(letters.len()).await).await;
    daemon.stops().await;
    for ticket in 1001..=1005 {
        premises.answers(ticket, LARGEST).await;
    }
    let daemon = Daemon::start(&premises.config, "");
    // One after the other, by a program that is not optimised.
    let have_left = async || premises.is_settled(letters.len()).await;
    assert!(within(PATIENCE * 3, have_left).await, "not all answers have left:\n{}", daemon.log());
    let most = daemon.most_memory() / MIB;
    assert!(most < 330, "{most} MiB");
    assert_eq!(
        premises.count("SELECT count(*) FROM deliveries WHERE kind = 'reply' AND state = 'sent'").await,
        5
    );
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}
