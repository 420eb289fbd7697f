//! The process dies when a webhook was told and nobody knows.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use ticketd::audit::Actor;
use ticketd::clock::Clock;
use ticketd::tickets::webhooks::{self, NewWebhook};

use super::adas_mail;
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::receiver::Receiver;
use crate::harness::wait::until;

/// It is told again under the same id, so that it can tell.
#[tokio::test]
async fn a_webhook_is_told_twice_under_one_id_and_not_never() {
    let receiver = Receiver::start().await;
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", &receiver.section()).await;
    let new = NewWebhook { name: "x".to_owned(), url: receiver.url("/"), kinds: vec!["opened".to_owned()] };
    let mut tx = premises.db.begin().await.expect("a transaction");
    webhooks::create(&mut tx, &new, Actor::COMMAND, Clock::system().now()).await.expect("a webhook");
    tx.commit().await.expect("a commit");
    Dovecot::shared().append(&premises.user, "INBOX", adas_mail().raw()).await;

    let mut daemon = Daemon::start(&premises.config, "webhook.sent=1*return");
    assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{}", daemon.log());
    assert_eq!(receiver.got().len(), 1);
    premises.leases_run_out().await;
    let daemon = Daemon::start(&premises.config, "");
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until("the webhook is told", async || premises.is_settled(1).await).await;
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    let got = receiver.got();
    let ids: BTreeSet<_> = got.iter().map(|got| got.header("webhook-id").to_owned()).collect();
    assert_eq!((got.len(), ids.len()), (2, 1));
    let sent = "SELECT count(*) FROM webhook_deliveries WHERE state = 'sent'";
    assert_eq!(
        (premises.count(sent).await, premises.count("SELECT count(*) FROM webhook_attempts").await),
        (1, 1)
    );
    premises.db.close().await;
}
