//! A desk whose tickets are shown in the fake Discord.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use sqlx::Row;
use ticketd::app::App;
use ticketd::ids::{InboundId, MessageId, PersonId, TicketId};
use ticketd::people::{self, Role};
use ticketd::queue::Tx;
use ticketd::tickets::actions::{self, Act, Revision};
use ticketd::tickets::read::{self, Sight};
use ticketd::tickets::{
    self, Channel, Inbound, Locked, NewParticipant, Opening, StaffMessage, Status, TicketError, threads,
};

use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Discord, Person, STAFF, Said, Setup};
use crate::harness::mail::mail;

pub const ADA: &str = "Ada <ada@example.net>";
pub const TICKET: TicketId = TicketId(1001);

/// A desk where Bea, who is in Discord, too, knows about billing.
pub struct Room {
    pub desk: Desk,
    pub discord: Discord,
    pub bea: Person,
    pub bea_here: PersonId,
    mia: Option<Person>,
}

/// What somebody wrote, without the line above that says who.
pub fn text_of(said: &Said) -> String {
    said.content.split_once('\n').map_or_else(String::new, |(_, text)| text.to_owned())
}

impl Room {
    pub async fn open() -> Self {
        Self::new(Discord::start().await, true).await
    }

    /// Where #staff is a forum with these tags.
    pub async fn with_forum(tags: &[&str]) -> Self {
        let discord = Discord::with(Setup { forum: true, ..Setup::default() }).await;
        for tag in tags {
            discord.adds_tag(STAFF, tag);
        }
        Self::new(discord, true).await
    }

    /// Where closing a ticket leaves a transcript in its threads; Mia has opened one.
    pub async fn with_transcripts() -> Self {
        let discord = Discord::start().await;
        let more = format!("{}transcript_on_close = true\n", discord.config());
        let mut room = Self::furnish(discord, more).await;
        room.mia_opens_a_ticket().await;
        room
    }

    pub async fn with_a_ticket() -> Self {
        let room = Self::open().await;
        room.desk.handles(&mail(ADA, "Refund", "I want a refund of the invoice.")).await;
        room
    }

    /// Mia has opened a ticket in Discord.
    pub async fn with_mias_ticket() -> Self {
        let mut room = Self::open().await;
        room.mia_opens_a_ticket().await;
        room
    }

    /// The ticket was there before Discord was configured.
    pub async fn with_a_ticket_before_discord() -> Self {
        let mut room = Self::new(Discord::start().await, false).await;
        room.desk.handles(&mail(ADA, "Refund", "I want a refund of the invoice.")).await;
        let text = format!("{}\n", room.discord.config());
        room.desk.configures(&text).await;
        room
    }

    async fn new(discord: Discord, configured: bool) -> Self {
        let more = if configured { discord.config() } else { String::new() };
        Self::furnish(discord, more).await
    }

    async fn furnish(discord: Discord, more: String) -> Self {
        let desk = Desk::with(Plan { more, ..Plan::default() }).await;
        desk.knows_skills().await;
        let bea_here = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
        let bea = discord.member_with("bea", &["moderator"]);
        let add = sqlx::query(
            "INSERT INTO identities (person_id, channel, address, created_at) VALUES ($1, 'discord', $2, now())",
        );
        add.bind(bea_here.0).bind(bea.id().to_string()).execute(&desk.db).await.expect("an identity");
        Self { desk, discord, bea, bea_here, mia: None }
    }

    pub fn mia(&self) -> &Person {
        self.mia.as_ref().expect("she opened a ticket")
    }

    async fn mia_opens_a_ticket(&mut self) {
        self.mia = Some(self.discord.member("mia"));
        self.writes_a_ticket().await;
        self.desk.settle().await;
    }

    /// Mia's ticket, of which nothing is shown yet.
    pub async fn with_mias_ticket_unseen() -> Self {
        let mut room = Self::open().await;
        room.mia = Some(room.discord.member("mia"));
        room.writes_a_ticket().await;
        room
    }

    async fn writes_a_ticket(&self) {
        let (db, now, mia) = (&self.desk.db, self.desk.clock.now(), self.mia().id());
        let mut tx = db.begin().await.expect("a transaction");
        let person = people::by_discord(&mut tx, mia, "mia", now).await.expect("a person");
        let text = "It burns, the *invoice* shows a refund.";
        let message = Inbound {
            ledger: Some(ledger_row()),
            channel: Channel::Discord,
            author: NewParticipant { person, address: mia.to_string() },
            rfc_id: None,
            subject: "It burns".to_owned(),
            body: text.to_owned(),
            visible: text.to_owned(),
            html: None,
            sender_class: "human",
            from_human: true,
            origin: None,
            reply_to: None,
            refs: Vec::new(),
            new_ids: Vec::new(),
            cc: Vec::new(),
            attachments: Vec::new(),
            problems: None,
            sent_at: None,
            received_at: now,
        };
        tickets::open(&mut tx, &message, &Opening::default(), now).await.expect("a ticket");
        tx.commit().await.expect("a commit");
    }

    /// Bea does something to the ticket, and everything follows from it.
    pub async fn acts<T>(
        &self,
        what: impl AsyncFnOnce(&mut Tx, &Locked, Act) -> Result<T, TicketError>,
    ) -> T {
        let done = self.does(what).await;
        self.desk.settle().await;
        done
    }

    async fn does<T>(&self, what: impl AsyncFnOnce(&mut Tx, &Locked, Act) -> Result<T, TicketError>) -> T {
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        let ticket = tickets::lock(&mut tx, TICKET).await.expect("a ticket");
        let act = Act { by: self.bea_here, channel: Channel::Web, now: self.desk.clock.now() };
        let done = what(&mut tx, &ticket, act).await.expect("it can be done");
        tx.commit().await.expect("a commit");
        done
    }

    /// Bea answers in the console; it can be taken back for ten seconds.
    pub async fn replies(&self, text: &str) -> MessageId {
        self.acts(async |tx, ticket, act| {
            let message =
                StaffMessage { author: act.by, channel: Channel::Web, text, inbound: None, uploads: &[] };
            tickets::reply(tx, ticket, &message, act.now + TimeDelta::seconds(10), act.now).await
        })
        .await
    }

    pub async fn notes(&self, text: &str) {
        self.writes_a_note(text).await;
        self.desk.settle().await;
    }

    /// A note, of which nothing is shown yet.
    pub async fn writes_a_note(&self, text: &str) {
        self.does(async |tx, ticket, act| {
            let message =
                StaffMessage { author: act.by, channel: Channel::Web, text, inbound: None, uploads: &[] };
            tickets::note(tx, ticket, &message, act.now).await
        })
        .await;
    }

    pub async fn revises(&self, message: MessageId, revision: Revision<'_>) {
        self.acts(async |tx, ticket, act| {
            actions::revise(tx, ticket, message, revision, ledger_row(), act).await
        })
        .await;
    }

    pub async fn first_message(&self) -> MessageId {
        let messages =
            read::messages(&self.desk.db, TICKET, true, self.desk.clock.now()).await.expect("messages");
        messages.first().expect("a message").id
    }

    pub async fn status(&self) -> Status {
        let ticket = read::ticket(&self.desk.db, Sight::All, TICKET).await.expect("a ticket").expect("1001");
        Status::parse(&ticket.status).expect("a status")
    }

    /// Time passes, here and in Discord, and what is due by then is done.
    pub async fn later(&self, by: TimeDelta) {
        self.discord.lets_pass(by.to_std().expect("a time ahead"));
        self.desk.later(by).await;
    }

    /// Until no job is left to be tried again.
    pub async fn comes_to_rest(&self) {
        for _ in 0..40 {
            self.desk.settle().await;
            if self.desk.count("SELECT count(*) FROM jobs WHERE failed_at IS NULL").await == 0 {
                return;
            }
            self.later(TimeDelta::seconds(20)).await;
        }
        panic!("it does not come to rest");
    }

    /// Why a thread shows nothing any more.
    pub async fn broken(&self, audience: threads::Audience) -> Option<String> {
        self.thread(audience).await.broken
    }

    pub async fn thread(&self, audience: threads::Audience) -> threads::Thread {
        let all = threads::of_ticket(&self.desk.db, TICKET).await.expect("threads");
        all.into_iter().find(|thread| thread.audience == audience).expect("a thread")
    }

    /// Bea clicks on "Make a new thread".
    pub async fn repairs(&self, audience: threads::Audience) {
        let thread = self.thread(audience).await;
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        threads::repair(&mut tx, &thread, false, self.bea_here, self.desk.clock.now())
            .await
            .expect("a repair");
        tx.commit().await.expect("a commit");
        self.desk.settle().await;
    }

    /// The events of the ticket of one kind.
    pub async fn events(&self, kind: &str) -> usize {
        let rows =
            sqlx::query("SELECT kind FROM ticket_events").fetch_all(&self.desk.db).await.expect("events");
        rows.iter().filter(|row| row.get::<String, _>(0) == kind).count()
    }

    pub async fn close(self) {
        self.desk.close().await;
        assert_eq!(self.discord.troubles_left(), 0, "trouble that nobody met");
    }
}

impl Desk {
    /// The daemon is started anew with more in its configuration.
    pub async fn configures(&mut self, more: &str) {
        let text = crate::harness::desk::configuration(&self.user, 1, self.sink.port(), "", more);
        let config = ticketd::config::Config::parse(&text, std::collections::BTreeMap::new())
            .expect("a configuration");
        let app = App::build(std::sync::Arc::new(config), self.db.clone(), self.clock.clone(), None).await;
        self.app = app.expect("an app");
        self.settle().await;
    }
}

/// A row of the ledger that nobody else names.
fn ledger_row() -> InboundId {
    static COUNT: AtomicI64 = AtomicI64::new(1_000_000);
    InboundId(COUNT.fetch_add(1, Ordering::Relaxed))
}
