//! Of two processes one reads; when it dies, or stands still, the other reads within seconds, and nothing comes in twice.

use std::time::{Duration, Instant};

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::wait::until;

/// Two processes on the same premises: the first reads, the second waits behind it.
struct Pair {
    dovecot: &'static Dovecot,
    premises: Premises,
    first: Daemon,
    second: Daemon,
    delivered: usize,
}

impl Pair {
    async fn begins() -> Self {
        let dovecot = Dovecot::shared();
        let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
        let first = Daemon::start(&premises.config, "");
        first.says("mailbox read", 1).await;
        let second = Daemon::start(&premises.config, "");
        second.says("waiting to take over", 1).await;
        Self { dovecot, premises, first, second, delivered: 0 }
    }

    async fn gets_mail(&mut self) {
        self.delivered += 1;
        let number = self.delivered;
        let mail = format!(
            "From: P <p{number}@client.example>\r\nTo: support@example.org\r\nMessage-ID: <{number}@client.example>\r\n\
             Subject: Invoice {number}\r\n\r\nThe refund is missing.\r\n"
        );
        self.dovecot.append(&self.premises.user, "INBOX", mail).await;
    }

    async fn has_read_all(&self) {
        let all = i64::try_from(self.delivered).expect("small");
        let in_ledger = async || self.premises.count("SELECT count(*) FROM inbound").await == all;
        until("all mails are in the ledger", in_ledger).await;
    }

    /// Every mail is one ticket, and was acknowledged once.
    async fn has_handled_each_once(&self) {
        let is_settled = async || self.premises.is_settled(self.delivered).await;
        until("everything is done", is_settled).await;
        let all = i64::try_from(self.delivered).expect("small");
        assert_eq!(self.premises.count("SELECT count(*) FROM tickets").await, all);
        assert_eq!(self.premises.count("SELECT count(*) FROM messages").await, all);
        let customers = self.premises.sink.mails().into_iter().flat_map(|mail| mail.rcpt_to);
        let mut acknowledged: Vec<String> = customers.filter(|to| to.ends_with("@client.example")).collect();
        acknowledged.sort();
        let each: Vec<String> =
            (1..=self.delivered).map(|number| format!("p{number}@client.example")).collect();
        assert_eq!(acknowledged, each);
    }
}

#[tokio::test]
async fn after_kill_9_the_other_process_reads_within_five_seconds() {
    let mut pair = Pair::begins().await;
    pair.first.kill();
    let begun = Instant::now();
    pair.gets_mail().await;
    pair.has_read_all().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    pair.has_handled_each_once().await;
    pair.second.stops().await;
    pair.premises.db.close().await;
}

#[tokio::test]
async fn when_a_process_stands_still_the_other_reads_within_ten_seconds_and_nothing_comes_twice_when_it_goes_on()
 {
    let mut pair = Pair::begins().await;
    pair.gets_mail().await;
    pair.has_read_all().await;
    pair.has_handled_each_once().await;
    pair.first.freezes();
    let begun = Instant::now();
    pair.gets_mail().await;
    pair.has_read_all().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    pair.first.thaws();
    pair.gets_mail().await;
    pair.first.says("the reader's lock is lost", 1).await;
    pair.first.says("waiting to take over", 1).await;
    pair.gets_mail().await;
    pair.has_handled_each_once().await;
    // It waits for its turn like any other.
    pair.second.kill();
    pair.gets_mail().await;
    pair.has_read_all().await;
    assert_eq!((pair.first.errors(), pair.second.errors()), (Vec::new(), Vec::new()));
    pair.premises.db.close().await;
}
