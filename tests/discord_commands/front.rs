//! A desk with a Discord in front of it, as the daemon has: what is asked there is worked on while one waits for the answer.

use sqlx::Row;
use ticketd::tickets::threads::Audience;

use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Asked, Discord, Id, Person, Shown};
use crate::harness::online::Online;
use crate::harness::wait::until;

pub struct Front {
    pub desk: Desk,
    pub discord: Discord,
    online: Option<Online>,
}

/// Where a ticket is shown, and what stands for it in custom ids.
pub struct Places {
    /// The thread of staff, and the card in the channel above it.
    pub staff: Id,
    pub card: Id,
    pub handle: String,
}

impl Front {
    pub async fn open() -> Self {
        Self::with("").await
    }

    /// `more`: keys of the section `[discord]`, and other sections.
    pub async fn with(more: &str) -> Self {
        let discord = Discord::start().await;
        let desk =
            Desk::with(Plan { more: format!("{}\n{more}", discord.config()), ..Plan::default() }).await;
        let online = desk.connects_to_discord().await;
        Self { desk, discord, online: Some(online) }
    }

    /// Does what is to be done until there is an answer.
    pub async fn shown(&self, asked: impl IntoFuture<Output = Asked>) -> Shown {
        let asked = asked.await;
        until("it is answered", async || {
            self.desk.settle().await;
            asked.seen().is_some()
        })
        .await;
        // What follows from it.
        self.desk.settle().await;
        asked.seen().expect("it was there")
    }

    pub async fn told(&self, asked: impl IntoFuture<Output = Asked>) -> String {
        self.shown(asked).await.text
    }

    pub async fn places(&self, ticket: i64) -> Places {
        let thread = self.desk.thread_row(ticket, Audience::Staff).await;
        Places {
            staff: thread.channel.expect("it was made"),
            card: thread.card.expect("it was posted"),
            handle: thread.handle,
        }
    }

    /// The thread of a requester from Discord.
    pub async fn own_thread(&self, ticket: i64) -> Id {
        self.desk.thread_row(ticket, Audience::Requester).await.channel.expect("it was made")
    }

    /// Fate and reason of the newest interaction.
    pub async fn last_fate(&self) -> (String, String) {
        let row = sqlx::query(
            "SELECT COALESCE(fate, 'waiting'), COALESCE(reason, '') FROM inbound WHERE name LIKE 'i%' ORDER BY id DESC LIMIT 1",
        );
        let row = row.fetch_one(&self.desk.db).await.expect("a row");
        (row.get(0), row.get(1))
    }

    /// Something of the newest ticket, as text: `status`.
    pub async fn of_newest(&self, what: &'static str) -> String {
        let statement = format!("SELECT COALESCE(({what})::TEXT, '') FROM tickets ORDER BY id DESC LIMIT 1");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_one(&self.desk.db).await;
        row.expect("a ticket").get(0)
    }

    pub async fn newest(&self) -> i64 {
        self.of_newest("id").await.parse().expect("a number")
    }

    /// Someone fills in the form behind `/ticket new`; what they are told.
    pub async fn opens(&self, who: &Person, subject: &str, text: &str) -> String {
        let form = who.uses("/ticket new").await.modal().await;
        self.told(form.submits(&[("subject", subject), ("text", text)])).await
    }

    /// The bot's process dies.
    pub async fn goes_offline(&mut self) {
        if let Some(online) = self.online.take() {
            online.dies().await;
        }
    }

    pub async fn comes_back(&mut self) {
        self.online = Some(self.desk.connects_to_discord().await);
    }

    pub async fn close(self) {
        if let Some(online) = self.online {
            online.ends().await;
        }
        self.desk.settle().await;
        // Where nobody was hired there is nobody to give a ticket to, which is alarmed about.
        let errors = self.desk.expects_errors();
        let others: Vec<_> = errors.iter().filter(|error| !error.contains("is unassigned")).collect();
        assert!(others.is_empty(), "errors were logged: {others:#?}");
        self.desk.close().await;
    }
}
