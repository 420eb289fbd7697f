//! A ticket is locked before its threads and relays, by everybody: else two that meet wait for each other, and PostgreSQL ends
//! one of them.

use sqlx::Row;
use ticketd::clock::Clock;
use ticketd::ids::{DeliveryId, PersonId, TicketId};
use ticketd::people::Role;
use ticketd::tickets::{self, threads};

use crate::harness::desk::Desk;
use crate::harness::mail::mail;
use crate::harness::wait::until;

const TICKET: TicketId = TicketId(1001);

/// A ticket with a thread and a relay that waits in it; nobody is there to show it.
async fn desk() -> (Desk, threads::Thread, DeliveryId, PersonId) {
    let desk = Desk::open().await;
    let dora = desk.hires("Dora", Role::Admin, &[]).await;
    let guild = threads::Guild { guild: 1, support_channel: 2, staff_channel: 3 };
    threads::configure(&desk.db, Some(guild)).await.expect("a guild");
    desk.handles(&mail("Ada <ada@example.net>", "Charged twice", "A refund, please.")).await;
    let thread = threads::of_ticket(&desk.db, TICKET).await.expect("threads").pop().expect("a thread");
    let relay = sqlx::query("SELECT id FROM deliveries WHERE kind = 'relay'").fetch_one(&desk.db).await;
    (desk, thread, DeliveryId(relay.expect("a relay").get(0)), dora)
}

#[tokio::test]
async fn who_repairs_a_thread_and_who_writes_of_it_do_not_wait_for_each_other() {
    let (desk, thread, relay, dora) = desk().await;
    let now = Clock::system().now();
    for what in ["broke", "told", "unpostable"] {
        let mut repairing = desk.db.begin().await.expect("a transaction");
        tickets::lock(&mut repairing, TICKET).await.expect("the ticket");
        let mirrors = async {
            if what == "unpostable" {
                return threads::unpostable(&desk.db, TICKET, relay, "too long", now).await;
            }
            let mut tx = desk.db.begin().await?;
            match what {
                "broke" => threads::broke(&mut tx, &thread, "gone", now).await?,
                _ => threads::told(&mut tx, &thread, true, now).await?,
            }
            tx.commit().await
        };
        let repairs = async {
            let waits = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            until("the other one waits", async || desk.count(waits).await > 0).await;
            threads::repair(&mut repairing, &thread, true, dora, now).await?;
            repairing.commit().await
        };
        let (mirrored, repaired) = tokio::join!(mirrors, repairs);
        assert!(mirrored.is_ok() && repaired.is_ok(), "{what}: {mirrored:?}, {repaired:?}");
    }
    desk.settle().await;
    desk.close().await;
}
