//! A desk with a Discord in front of it: what people do there is answered, stored and worked on at once.

use std::sync::Arc;

use serenity::all::{
    ClientBuilder, Context, EventHandler, GatewayIntents, Http, HttpBuilder, Interaction, Ready, ShardManager,
};
use serenity::async_trait;
use sqlx::Row;
use ticketd::app::App;
use ticketd::discord::api::{Answer, Api};
use ticketd::discord::card::{self, CardFacts};
use ticketd::discord::catalogue;
use ticketd::discord::request::{Request, What};
use ticketd::ingest::discord::{Arrived, receive};
use ticketd::ingest::interact::{choices, first_answer};
use tokio::task::JoinSet;

use crate::harness::certificates;
use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Discord, GUILD, HOST, Id, Person, STAFF, SUPPORT, TOKEN};
use crate::harness::wait::PATIENCE;

pub struct Front {
    pub desk: Desk,
    pub discord: Discord,
    api: Arc<Api>,
    shards: Arc<ShardManager>,
    running: JoinSet<()>,
}

/// A ticket's threads, and what stands for it in custom ids.
pub struct Shown {
    pub staff: Id,
    pub card: Id,
    pub own: Option<Id>,
    pub handle: String,
}

impl Front {
    pub async fn open() -> Self {
        Self::with("", "").await
    }

    /// `more`: keys of the section `[discord]`; `beside`: other sections.
    pub async fn with(more: &str, beside: &str) -> Self {
        let discord = Discord::start().await;
        let more = format!("{}\n{more}\n{beside}", discord.config());
        let desk = Desk::with(Plan { more, ..Plan::default() }).await;
        let api = desk.app.stages.ingest.discord.clone().expect("Discord is configured");
        let handler = Handler { app: desk.app.clone(), api: Arc::clone(&api) };
        let builder = ClientBuilder::new_with_http(http(&discord), GatewayIntents::GUILDS);
        let mut client = builder.event_handler(handler).await.expect("a client");
        let shards = Arc::clone(&client.shard_manager);
        let mut running = JoinSet::new();
        running.spawn(async move { client.start().await.expect("the gateway takes it") });
        discord.bot_is_ready().await;
        Self { desk, discord, api, shards, running }
    }

    /// Shows a ticket where the daemon would: a staff thread with a card, and a thread with a requester from Discord.
    pub async fn shows(&self, ticket: i64, requester: Option<&Person>) -> Shown {
        let handle = format!("handle{ticket}");
        let facts = CardFacts { handle: handle.clone(), number: ticket, ..CardFacts::default() };
        let card = self.api.post(STAFF, &card::card(&facts), None, &[]).await.expect("a card");
        let staff = self.api.thread_from_message(STAFF, card, &format!("#{ticket}")).await.expect("a thread");
        self.knows(ticket, "staff", &handle, staff).await;
        let own = match requester {
            Some(requester) => {
                let thread = self.api.private_thread(SUPPORT, &format!("#{ticket}")).await.expect("a thread");
                self.api.add_member(thread, requester.id()).await.expect("a member");
                self.knows(ticket, "requester", &format!("own{ticket}"), thread).await;
                Some(thread)
            }
            None => None,
        };
        Shown { staff, card, own, handle }
    }

    async fn knows(&self, ticket: i64, audience: &str, handle: &str, channel: Id) {
        sqlx::query(
            "INSERT INTO discord_threads (ticket_id, audience, handle, channel_id, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(ticket)
        .bind(audience)
        .bind(handle)
        .bind(i64::try_from(channel).expect("an id"))
        .bind(self.desk.clock.now())
        .execute(&self.desk.db)
        .await
        .expect("a thread");
    }

    /// What the database says of the newest interaction: its fate, and why.
    pub async fn last_fate(&self) -> (String, String) {
        let row = sqlx::query(
            "SELECT COALESCE(fate, 'waiting'), COALESCE(reason, '') FROM inbound WHERE source = 'discord' ORDER BY id DESC LIMIT 1",
        );
        let row = row.fetch_one(&self.desk.db).await.expect("a row");
        (row.get(0), row.get(1))
    }

    /// One text of the newest ticket, such as `status`.
    pub async fn of_newest(&self, column: &'static str) -> String {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT COALESCE({column}::TEXT, '') FROM tickets ORDER BY id DESC LIMIT 1"
        ));
        sqlx::query(sql).fetch_one(&self.desk.db).await.expect("a ticket").get(0)
    }

    pub async fn newest(&self) -> i64 {
        self.of_newest("id").await.parse().expect("a number")
    }

    /// Someone fills in the form behind `/ticket new`; what they are answered.
    pub async fn opens(&self, who: &Person, subject: &str, text: &str) -> String {
        let form = who.uses("/ticket new").await.modal().await;
        form.submits(&[("subject", subject), ("text", text)]).await.answer().await
    }

    pub async fn close(self) {
        let Self { desk, discord, shards, mut running, .. } = self;
        shards.shutdown_all().await;
        running.shutdown().await;
        desk.settle().await;
        drop(discord);
        desk.close().await;
    }
}

/// serenity's own client: the fake is discord.com to it.
fn http(discord: &Discord) -> Http {
    let authority = reqwest::Certificate::from_pem(certificates::authority_pem().as_bytes());
    let client = reqwest::Client::builder()
        .use_rustls_tls()
        .add_root_certificate(authority.expect("a certificate"))
        .no_proxy()
        .resolve(HOST, discord.connect_addr())
        .timeout(PATIENCE);
    HttpBuilder::new(TOKEN).client(client.build().expect("a client")).build()
}

struct Handler {
    app: App,
    api: Arc<Api>,
}

impl Handler {
    async fn takes(&self, interaction: &Interaction) -> anyhow::Result<()> {
        let Some(request) = Request::from_interaction(interaction) else { return Ok(()) };
        let ingest = &self.app.stages.ingest;
        let answer = match &request.what {
            What::Autocomplete { .. } => Answer::Choices(choices(&ingest.db, &ingest.config, &request).await),
            _ => first_answer(&ingest.config, &request),
        };
        self.api.answer(request.id, &request.token, &answer).await?;
        if matches!(answer, Answer::Defer { .. }) {
            receive(&ingest.db, &ingest.clock, &[Arrived::interaction(&request)]).await?;
            self.app.stages.settle().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, _: Context, _: Ready) {
        let commands = catalogue::commands(&self.app.config.triage.categories);
        self.api.set_commands(GUILD, &commands).await.expect("the commands are taken");
    }

    async fn interaction_create(&self, _: Context, interaction: Interaction) {
        self.takes(&interaction).await.expect("it is stored and worked on");
    }
}
