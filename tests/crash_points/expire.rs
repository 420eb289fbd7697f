//! The process dies while what was kept long enough is removed: the rest goes after the next start, and nothing else.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use ticketd::clock::Clock;
use ticketd::queue;

use super::points;
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::wait::until;

pub(super) fn is_there(point: &str) -> bool {
    point.starts_with("expire.")
}

#[tokio::test]
async fn what_was_kept_long_enough_is_removed_though_the_process_died_meanwhile() {
    let known: Vec<String> = points().into_iter().filter(|point| is_there(point)).collect();
    assert_eq!(known, ["expire.raw", "expire.tickets"]);
    for point in known {
        let retention = "[retention]\nraw_mail_days = 30\nclosed_ticket_days = 90\n";
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", retention).await;
        let fill = "
            INSERT INTO tickets (subject, status, channel, requester_id, created_at, updated_at, resolved_at, closed_at)
            SELECT 'Ticket ' || n, 'closed', 'email', 1, at, at, at, at
            FROM generate_series(1, 250) n, LATERAL (SELECT now() - make_interval(days => CASE WHEN n > 240 THEN 80 ELSE 100 END) AS at) a;
            INSERT INTO raw_mails SELECT sha256(n::TEXT::BYTEA), n::TEXT::BYTEA FROM generate_series(1, 1200) n;
            INSERT INTO inbound (source, mailbox, name, raw_sha256, received_at, handled_at, fate)
            SELECT 'pipe', 'support', n::TEXT, sha256(n::TEXT::BYTEA), at, at, 'suppressed'
            FROM generate_series(1, 1200) n, LATERAL (SELECT now() - make_interval(days => CASE WHEN n > 1190 THEN 20 ELSE 40 END) AS at) a;";
        sqlx::raw_sql(fill).execute(&premises.db).await.expect("a full desk");
        let now = Clock::system().now();
        let mut tx = premises.db.begin().await.expect("a transaction");
        queue::enqueue(&mut tx, &queue::EXPIRE, 0, now).await.expect("a job");
        tx.commit().await.expect("a commit");
        let mut daemon = Daemon::start(&premises.config, &format!("{point}=1*off->1*return"));
        assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{point}: {}", daemon.log());
        assert!(premises.count("SELECT count(*) FROM raw_mails").await > 10, "{point}: it died half-way");
        premises.leases_run_out().await;
        let daemon = Daemon::start(&premises.config, "");
        until(&format!("after a death at {point} all is done"), async || premises.is_settled(1200).await)
            .await;
        assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 10, "{point}");
        assert_eq!(premises.count("SELECT count(*) FROM raw_mails").await, 10, "{point}");
        assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
        daemon.stops().await;
        premises.db.close().await;
    }
}
