//! What a test sees of a desk's tickets, and what people do to them.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::ids::{PersonId, TicketId};
use ticketd::queue::{self, Tx};
use ticketd::tickets::actions::{self, Act, Caps};
use ticketd::tickets::read::{self, DeliveryState, Event, Message, Participant, Sight, Summary};
use ticketd::tickets::{Locked, TicketError, changes};

use super::desk::{Api, Desk};
use super::dovecot::Dovecot;

impl Desk {
    /// A mail of these bytes arrives, is fetched, and everything that follows from it happens.
    pub async fn handles_raw(&self, raw: &[u8]) {
        Dovecot::shared().append(&self.user, "INBOX", raw).await;
        self.fetches().await;
        self.settle().await;
    }

    /// A ticket that must be there.
    pub async fn ticket(&self, number: i64) -> Summary {
        let found = read::ticket(&self.db, Sight::All, TicketId(number)).await.expect("the database answers");
        found.unwrap_or_else(|| panic!("there is no ticket #{number}"))
    }

    pub async fn conversation(&self, number: i64) -> Vec<Message> {
        read::messages(&self.db, TicketId(number), true, self.clock.now())
            .await
            .expect("the database answers")
    }

    /// Part and address of everyone who takes part, in no special order.
    pub async fn participants(&self, number: i64) -> Vec<(String, String)> {
        let list: Vec<Participant> =
            read::participants(&self.db, TicketId(number)).await.expect("the database answers");
        let mut list: Vec<_> = list.into_iter().map(|p| (p.part, p.address)).collect();
        list.sort();
        list
    }

    pub async fn events(&self, number: i64) -> Vec<Event> {
        read::events(&self.db, TicketId(number)).await.expect("the database answers")
    }

    pub async fn deliveries(&self, number: i64) -> Vec<DeliveryState> {
        read::deliveries(&self.db, TicketId(number)).await.expect("the database answers")
    }

    /// Why mails had the fate they had, oldest first.
    pub async fn reasons(&self) -> Vec<String> {
        let ledger = ticketd::ingest::ledger(&self.db, None, 1000).await.expect("the ledger");
        ledger.into_iter().map(|entry| entry.reason.unwrap_or_default()).collect()
    }

    /// Staff answers by the API, and the time to take it back passes.
    pub async fn answers(&self, api: &Api, number: i64, text: &str, resolve: bool) {
        let body = json!({"body": text, "resolve": resolve});
        let (status, written) = api.post(&format!("/api/tickets/{number}/messages"), &body).await;
        assert_eq!(status, 201, "{written}");
        self.later(TimeDelta::seconds(10)).await;
    }

    /// Does what a command entered: it goes by the system's clock, which may be ahead of the desk's.
    pub async fn catches_up(&self) {
        let ahead = ticketd::clock::Clock::system().now() - self.clock.now();
        self.later(ahead.max(TimeDelta::zero())).await;
    }

    /// What was resolved a week ago is closed.
    pub async fn closes_what_is_resolved(&self) {
        self.clock.advance(TimeDelta::days(7) + TimeDelta::hours(1));
        let mut tx = self.db.begin().await.expect("the database answers");
        let now = self.clock.now();
        queue::enqueue(&mut tx, &queue::CLOSE_RESOLVED, 0, now).await.expect("a job");
        tx.commit().await.expect("a commit");
        self.settle().await;
    }
}

/// Takes a ticket, as the API does. In a test that has nobody else take turns, the ticket may be locked before.
pub async fn claim(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    let turn = changes::take_turn_assigning(tx).await?;
    actions::claim(tx, &turn, ticket, CAPS, act).await
}

/// Gives a ticket to somebody, likewise.
pub async fn give(tx: &mut Tx, ticket: &Locked, to: PersonId, act: Act) -> Result<(), TicketError> {
    let turn = changes::take_turn_assigning(tx).await?;
    actions::assign(tx, &turn, ticket, to, CAPS, act).await
}

const CAPS: Caps = Caps { default: 10, force: false };
