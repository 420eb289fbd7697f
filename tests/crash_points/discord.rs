//! The process dies between any two steps of showing a ticket in Discord and of hearing what is said there.

use std::os::unix::process::ExitStatusExt;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use sqlx::PgPool;
use ticketd::clock::Clock;
use ticketd::ids::{InboundId, PersonId, TicketId};
use ticketd::people;
use ticketd::queue::Tx;
use ticketd::tickets::actions::{self, Act, Revision};
use ticketd::tickets::read;
use ticketd::tickets::threads::{self, Audience};
use ticketd::tickets::{self, Channel, Inbound, Locked, NewParticipant, Opening, StaffMessage, TicketError};

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::discord::{Discord, Person, STAFF, Setup, Thread};
use crate::harness::dovecot::Dovecot;
use crate::harness::wait::until;

const TICKET: TicketId = TicketId(1001);

/// On the way of a ticket in Discord.
pub fn is_there(point: &str) -> bool {
    ["mirror.", "discord.", "hear."].iter().any(|stage| point.starts_with(stage))
}

#[tokio::test]
async fn a_ticket_is_shown_in_discord_as_if_the_process_had_not_died() {
    let points: Vec<_> = super::points().into_iter().filter(|point| is_there(point)).collect();
    assert!(points.len() >= 20, "the crash points are not where this test looks for them: {points:?}");
    let alive = Life::begin("").await.ends().await;
    insta::assert_snapshot!(alive, @"
    # #1001 It burns
    ticketd: **mia** wrote:
      It smokes.
      -# edited
    ticketd: **Bea** noted, for staff only:
      Careful.
    ticketd: **Bea** answered the requester:
      Use **water**.
    ticketd: **mia** wrote:
      It is out.
      [photo.png, 5 bytes]
    ticketd: **Bea** noted, for staff only:
      Forbidden?
    ticketd: **Bea** noted, for staff only:
      Lost?

    # #1001 It burns
    ticketd: <@mia>, this is your ticket **#1001**: It burns
      
      Write here whatever you want to add. Our staff answer in this thread; nobody else sees it.
    ticketd: (edited) You wrote:
      It smokes.
      -# edited
    ticketd: **Bea:** Use **water**.
    mia: It is out.
      [photo.png, 5 bytes]
    ticketd: #1001 is closed, and so is this thread. `/ticket reopen` opens both again.

    3 in #staff
    ");
    let lives = points.iter().map(|point| {
        let alive = &alive;
        async move { assert_eq!(&Life::begin(point).await.ends().await, alive, "after a death at {point}") }
    });
    stream::iter(lives).buffer_unordered(6).collect::<Vec<()>>().await;
}

/// Mia's ticket, while the process dies once.
struct Life {
    point: String,
    premises: Premises,
    discord: Discord,
    mia: Person,
    bea: Person,
    daemon: Daemon,
    died: bool,
}

impl Life {
    async fn begin(point: &str) -> Self {
        let clock = Clock::system();
        let discord = Discord::with(Setup { now: clock.now(), ..Setup::default() }).await;
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", &discord.config()).await;
        let (mia, bea) = (discord.member("mia"), discord.member_with("bea", &["moderator"]));
        let failpoints = if point.is_empty() { String::new() } else { format!("{point}=1*return") };
        let daemon = Daemon::start(&premises.config, &failpoints);
        let died = point.is_empty();
        Self { point: point.to_owned(), premises, discord, mia, bea, daemon, died }
    }

    /// Until nothing is left to be done; the process is started again where it died.
    async fn settles(&mut self) {
        loop {
            let (premises, daemon) = (&self.premises, &self.daemon);
            let place = format!("all is done, to die at {}", self.point);
            until(&place, async || {
                daemon.has_ended() || premises.count("SELECT count(*) FROM jobs").await == 0
            })
            .await;
            if !self.daemon.has_ended() {
                return;
            }
            let status = self.daemon.ends().await;
            assert!(!self.died, "{}: {status}\n{}", self.point, self.daemon.log());
            assert_eq!(
                status.signal(),
                Some(Signal::SIGABRT as i32),
                "{}: {status}\n{}",
                self.point,
                self.daemon.log()
            );
            self.died = true;
            self.premises.leases_run_out().await;
            self.daemon = Daemon::start(&self.premises.config, "");
        }
    }

    async fn ends(mut self) -> String {
        opens_a_ticket(&self.premises.db, &self.mia).await;
        self.settles().await;
        self.writes_and_changes().await;
        self.talks().await;
        self.closes_and_opens().await;
        self.loses_a_thread().await;
        assert!(self.died, "the process never came to {}", self.point);
        assert_eq!(self.daemon.errors(), Vec::<String>::new(), "{}", self.point);
        let mut shown: Vec<String> = self.discord.threads().iter().map(Thread::shown).collect();
        shown.sort();
        let above = self.discord.messages(STAFF).len();
        let shown = format!("{}\n{above} in #staff", shown.join("\n"));
        self.daemon.stops().await;
        self.premises.db.close().await;
        shown
    }

    /// A note, an answer that can be taken back for a second, an edit to more and to less.
    async fn writes_and_changes(&mut self) {
        self.acts(async |tx, ticket, act| {
            let note = StaffMessage {
                author: act.by,
                channel: Channel::Web,
                text: "Careful.",
                inbound: None,
                uploads: &[],
            };
            tickets::note(tx, ticket, &note, act.now).await?;
            let reply = StaffMessage { text: "Use **water**.", ..note };
            tickets::reply(tx, ticket, &reply, act.now + TimeDelta::seconds(1), act.now).await
        })
        .await;
        let messages =
            read::messages(&self.premises.db, TICKET, true, Clock::system().now()).await.expect("messages");
        let first = messages.first().expect("a message").id;
        let long = "It burns.\n".repeat(250);
        for (ledger, text) in [(1_000_001, long.as_str()), (1_000_002, "It smokes.")] {
            self.acts(async |tx, ticket, act| {
                actions::revise(tx, ticket, first, Revision::Edited(text), InboundId(ledger), act).await
            })
            .await;
        }
    }

    /// Mia says something with a file, whether the process lives or not.
    async fn talks(&mut self) {
        let own = self.discord.support_thread("#1001").await;
        let said = self.mia.sends(own.id(), "It is out.", &[("photo.png", b"photo")]).await;
        let heard = format!("m{said}");
        loop {
            self.settles().await;
            let query = "SELECT count(*) FROM inbound WHERE fate IS NOT NULL AND name = $1";
            let found = sqlx::query_scalar::<_, i64>(query).bind(&heard).fetch_one(&self.premises.db).await;
            if found.expect("the ledger") == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.settles().await;
        // Bea was in the thread once, and has the ticket no more.
        let all = threads::of_ticket(&self.premises.db, TICKET).await.expect("threads");
        let own = all.into_iter().find(|thread| thread.audience == Audience::Requester).expect("a thread");
        threads::joined(&self.premises.db, own.id, self.bea.id()).await.expect("noted");
        self.acts(async |tx, _, act| Ok(threads::changed(tx, TICKET, act.now).await?)).await;
    }

    async fn closes_and_opens(&mut self) {
        self.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
        assert!(self.discord.threads().iter().all(|thread| thread.archived() && thread.locked()));
        self.acts(async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    }

    /// First the bot may not write there, then the thread is gone.
    async fn loses_a_thread(&mut self) {
        let staff = self.discord.staff_thread("#1001").await;
        self.discord.forbids(staff.id(), 50013);
        self.breaks("Forbidden?").await;
        self.discord.forbids(staff.id(), 0);
        self.repairs().await;
        self.bea.removes_thread(staff.id()).await;
        self.breaks("Lost?").await;
        self.repairs().await;
    }

    async fn breaks(&mut self, text: &str) {
        self.acts(async |tx, ticket, act| {
            let note =
                StaffMessage { author: act.by, channel: Channel::Web, text, inbound: None, uploads: &[] };
            tickets::note(tx, ticket, &note, act.now).await
        })
        .await;
        assert!(self.staff_thread().await.broken.is_some(), "{}", self.point);
    }

    async fn repairs(&mut self) {
        let thread = self.staff_thread().await;
        self.acts(async |tx, _, act| Ok(threads::repair(tx, &thread, false, act.by, act.now).await?)).await;
    }

    async fn staff_thread(&self) -> threads::Thread {
        let all = threads::of_ticket(&self.premises.db, TICKET).await.expect("threads");
        all.into_iter().find(|thread| thread.audience == Audience::Staff).expect("a thread")
    }

    async fn acts<T>(&mut self, what: impl AsyncFnOnce(&mut Tx, &Locked, Act) -> Result<T, TicketError>) {
        let mut tx = self.premises.db.begin().await.expect("a transaction");
        let ticket = tickets::lock(&mut tx, TICKET).await.expect("a ticket");
        let bea = people::find_by_address(&mut tx, "bea@example.org").await.expect("people").expect("Bea");
        let act = Act { by: bea.id, channel: Channel::Web, now: Clock::system().now() };
        what(&mut tx, &ticket, act).await.expect("it can be done");
        tx.commit().await.expect("a commit");
        self.settles().await;
    }
}

async fn opens_a_ticket(db: &PgPool, mia: &Person) {
    let now = Clock::system().now();
    let mut tx = db.begin().await.expect("a transaction");
    let person: PersonId = people::by_discord(&mut tx, mia.id(), "mia", now).await.expect("a person");
    let text = "It burns, the invoice shows a refund.";
    let message = Inbound {
        ledger: Some(InboundId(1_000_000)),
        channel: Channel::Discord,
        author: NewParticipant { person, address: mia.id().to_string() },
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
