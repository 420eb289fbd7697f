//! The process dies when a token server has given a new refresh token and nobody has stored it.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use super::adas_mail;
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::PASSWORD;
use crate::harness::token_server::TokenServer;
use crate::harness::wait::until;

/// Premises whose mailbox is logged in to with access tokens.
async fn with_tokens(tokens: &TokenServer, imap: u16) -> Premises {
    let premises = Premises::furnish(imap, "", "").await;
    tokens.is_for(&premises.user);
    let text = std::fs::read_to_string(&premises.config).expect("the configuration");
    let text = text.replacen(&format!("password = \"{PASSWORD}\""), &tokens.section(""), 1);
    std::fs::write(&premises.config, text).expect("write the configuration");
    premises
}

async fn dies(premises: &Premises) {
    let mut daemon = Daemon::start(&premises.config, "oauth.granted=1*return");
    assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{}", daemon.log());
    premises.leases_run_out().await;
    sqlx::query("UPDATE oauth_grants SET held_until = now()")
        .execute(&premises.db)
        .await
        .expect("time passes");
}

async fn comes_in(premises: &Premises, daemon: Daemon) {
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until("the mail is handled", async || premises.is_settled(1).await).await;
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
}

#[tokio::test]
async fn a_grant_whose_new_refresh_token_died_with_the_process_is_told_and_a_new_one_heals_it() {
    let tokens = TokenServer::start("").await;
    tokens.rotates();
    let dovecot = tokens.dovecot();
    let premises = with_tokens(&tokens, dovecot.imap_port()).await;
    dovecot.append(&premises.user, "INBOX", adas_mail().raw()).await;
    dies(&premises).await;

    let daemon = Daemon::start(&premises.config, "");
    let told =
        "SELECT count(*) FROM alarms WHERE kind = 'oauth' AND told_at IS NOT NULL AND cleared_at IS NULL";
    until("the refusal is told", async || premises.count(told).await == 1).await;
    assert_eq!(premises.count("SELECT count(*) FROM inbound").await, 0);
    daemon.stops().await;

    tokens.grants("rt-anew");
    comes_in(&premises, Daemon::start(&premises.config, "")).await;
    assert_eq!(premises.count("SELECT count(*) FROM alarms WHERE cleared_at IS NULL").await, 0);
    premises.db.close().await;
}

#[tokio::test]
async fn a_server_that_takes_a_refresh_token_twice_is_asked_again() {
    let tokens = TokenServer::start("").await;
    let dovecot = tokens.dovecot();
    let premises = with_tokens(&tokens, dovecot.imap_port()).await;
    dovecot.append(&premises.user, "INBOX", adas_mail().raw()).await;
    dies(&premises).await;
    comes_in(&premises, Daemon::start(&premises.config, "")).await;
    assert_eq!(tokens.asked(), 2);
    premises.db.close().await;
}
