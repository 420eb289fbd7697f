//! SIGHUP: the configuration is read again while the daemon works, and nobody notices but by what it says.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::desk::fresh_user;
use crate::harness::dovecot::{Dovecot, PASSWORD};
use crate::harness::mail::mail;
use crate::harness::smtp::Behaviour;
use crate::harness::wait::until;

const READ_AGAIN: &str = "SIGHUP: the configuration was read again";

fn text(premises: &Premises) -> String {
    std::fs::read_to_string(&premises.config).expect("the configuration")
}

fn write(premises: &Premises, text: &str) {
    std::fs::write(&premises.config, text).expect("write the configuration");
}

/// The newest line of the log that says what a reload did.
fn said(daemon: &Daemon) -> String {
    let log = daemon.log();
    let line = log.lines().rev().find(|line| line.contains("SIGHUP")).expect("it was told");
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    line.get("message").and_then(serde_json::Value::as_str).expect("a message").to_owned()
}

async fn get(url: &str) -> Result<u16, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    Ok(client.get(url).send().await?.status().as_u16())
}

#[tokio::test]
async fn a_new_configuration_counts_without_a_restart_and_a_wrong_one_does_not() {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let daemon = Daemon::start(&premises.config, "");
    daemon.says("\"mailbox read\"", 1).await;
    let arrives = async |user: &str, name: &str, to: &str| {
        let from = format!("{name} <{}@example.net>", name.to_lowercase());
        let mail = mail(&from, "Refund", "A refund of my invoice.").with("To", to);
        dovecot.append(user, "INBOX", mail.raw()).await;
    };
    arrives(&premises.user, "Ada", "support@example.org").await;
    until("the first mail is answered", async || premises.is_settled(1).await).await;
    assert_eq!(premises.sink.mails().len(), 2);

    // One more mailbox, no acknowledgements, and what takes a restart.
    let before = text(&premises);
    let (port, sales) = (dovecot.imap_port(), fresh_user());
    let more = format!(
        "[[mailbox]]\nname = \"sales\"\naddress = \"sales@example.org\"\n[mailbox.imap]\nhost = \"127.0.0.1\"\nport = {port}\n\
         tls = \"none\"\nuser = \"{sales}\"\npassword = \"{PASSWORD}\"\n[mailbox.smtp]\nhost = \"127.0.0.1\"\nport = {}\n\
         tls = \"none\"\n[mail]\nacknowledge = false\n",
        premises.sink.port()
    );
    let after =
        before.replace("127.0.0.1:0", "127.0.0.1:1").replace("format = \"json\"", "format = \"plain\"")
            + &more;
    write(&premises, &after);
    daemon.reloads();
    daemon.says(READ_AGAIN, 1).await;
    insta::assert_snapshot!(said(&daemon), @"SIGHUP: the configuration was read again; from now on count: [[mailbox]], [mail]; at the next restart: http.listen, telemetry.format");
    arrives(&sales, "Bob", "sales@example.org").await;
    arrives(&premises.user, "Cleo", "support@example.org").await;
    until("both mailboxes are read", async || premises.is_settled(3).await).await;
    assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 3);
    assert_eq!(premises.count("SELECT count(*) FROM tickets WHERE mailbox = 'sales'").await, 1);
    assert_eq!(premises.sink.mails().len(), 4, "notices, and no acknowledgements");
    assert_eq!(get(&format!("{}/healthz", daemon.base_url())).await.expect("it listens where it did"), 200);

    // What is wrong changes nothing, wherever it is wrong.
    for (wrong, why) in [
        (after.replace("[mail]", "[mial]"), "did you mean `mail`?"),
        (
            after.replace("log = \"info,ticketd=debug\"", "log = \"ticketd=loud\""),
            "telemetry.log is no log filter",
        ),
        (after.replace(&format!("password = \"{PASSWORD}\""), "password_file = \"none\""), "cannot read"),
    ] {
        write(&premises, &wrong);
        daemon.reloads();
        daemon.says(why, 1).await;
        assert!(said(&daemon).starts_with("SIGHUP: the configuration has an error, and stays as it was: "));
    }
    arrives(&sales, "Dan", "sales@example.org").await;
    until("the mailboxes are read as before", async || premises.is_settled(4).await).await;

    // A mailbox that is taken out is not read any more, and the log says less.
    write(&premises, &before.replace("log = \"info,ticketd=debug\"", "log = \"info\""));
    daemon.reloads();
    daemon.says(READ_AGAIN, 2).await;
    insta::assert_snapshot!(said(&daemon), @"SIGHUP: the configuration was read again; from now on count: [[mailbox]], [mail], [telemetry]");
    arrives(&premises.user, "Eve", "support@example.org").await;
    until("one mailbox is read", async || premises.is_settled(5).await).await;
    assert_eq!(premises.sink.mails().len(), 7, "with acknowledgements again");
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn while_it_is_read_again_and_again_no_mail_is_lost_or_doubled_and_no_request_refused() {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let daemon = Daemon::start(&premises.config, "");
    daemon.says("\"mailbox read\"", 1).await;
    let url = format!("{}/healthz", daemon.base_url());
    for round in 0..5 {
        for nth in 0..4 {
            let from = format!("Ada <ada{}@example.net>", round * 4 + nth);
            let mail = mail(&from, "Refund", "A refund of my invoice.");
            dovecot.append(&premises.user, "INBOX", mail.raw()).await;
        }
        daemon.reloads();
        let asked = join_all((0..20).map(|_| get(&url))).await;
        assert!(asked.iter().all(|answer| answer.as_ref().is_ok_and(|status| *status == 200)), "{asked:?}");
        daemon.says(READ_AGAIN, round + 1).await;
    }
    until("all is done", async || premises.is_settled(20).await).await;
    assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 20);
    assert_eq!(premises.sink.mails().len(), 40, "an acknowledgement and a notice each");
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn a_server_that_thinks_longer_than_a_stop_waits_is_not_cut_off_by_a_reload() {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let daemon = Daemon::start(&premises.config, "");
    daemon.says("\"mailbox read\"", 1).await;
    // At its end the process waits for 30 s.
    premises.sink.behave(&Behaviour::Delay(33_000));
    let letter = mail("Ada <ada@example.net>", "Refund", "A refund of my invoice.");
    dovecot.append(&premises.user, "INBOX", letter.raw()).await;
    premises.sink.wait_for(2).await;
    daemon.reloads();
    daemon.says(READ_AGAIN, 1).await;
    until("both answers of the server were heard", async || premises.is_settled(1).await).await;
    assert_eq!(premises.sink.mails().len(), 2, "an acknowledgement and a notice, once each");
    assert_eq!(premises.count("SELECT count(*) FROM delivery_attempts").await, 2);
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}
