//! A small ticket bot on the real serenity, its rate limiter on, that takes the way to discord.com.

use std::sync::Arc;
use std::time::Duration;

use serenity::all::{
    ActionRowComponent, ApplicationId, AutocompleteChoice, ButtonStyle, ChannelType, ClientBuilder, Command,
    CommandInteraction, CommandOptionType, CommandType, ComponentInteraction, Context, CreateActionRow,
    CreateAllowedMentions, CreateAutocompleteResponse, CreateButton, CreateCommand, CreateCommandOption,
    CreateInputText, CreateInteractionResponse, CreateInteractionResponseFollowup,
    CreateInteractionResponseMessage, CreateMessage, CreateModal, CreateSelectMenu, CreateSelectMenuKind,
    CreateSelectMenuOption, CreateThread, EditInteractionResponse, EventHandler, GatewayIntents,
    GuildChannel, GuildId, Http, HttpBuilder, InputTextStyle, Interaction, Message, MessageId,
    MessageUpdateEvent, ModalInteraction, PartialGuildChannel, Ready, ResumedEvent, ShardManager,
};
use serenity::async_trait;
use serenity::model::id::ChannelId;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::certificates;
use crate::harness::discord::{BOT, Discord, GUILD, HOST, TOKEN};
use crate::harness::wait::PATIENCE;

/// The bot, as long as it lives.
pub struct Bot {
    events: Mutex<UnboundedReceiver<String>>,
    shards: Arc<ShardManager>,
    running: JoinSet<Result<(), serenity::Error>>,
}

/// A client of the way B: it takes the fake for discord.com, and no proxy on its way there.
pub fn client(discord: &Discord) -> reqwest::Client {
    let authority =
        reqwest::Certificate::from_pem(certificates::authority_pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().use_rustls_tls().add_root_certificate(authority).no_proxy();
    client.resolve(HOST, discord.connect_addr()).timeout(Duration::from_secs(5)).build().expect("a client")
}

/// serenity's client of the API, its rate limiter on.
pub fn http(discord: &Discord, token: &str) -> Http {
    let application = ApplicationId::new(BOT);
    HttpBuilder::new(token).application_id(application).client(client(discord)).build()
}

impl Bot {
    /// Starts it with the intents it needs, and waits until it is ready.
    pub async fn start(discord: &Discord) -> Self {
        let intents = GatewayIntents::GUILDS
            | GatewayIntents::GUILD_MESSAGES
            | GatewayIntents::DIRECT_MESSAGES
            | GatewayIntents::MESSAGE_CONTENT;
        let bot = Self::with(discord, TOKEN, intents).await;
        bot.tells("ready as ticketd Ok").await;
        discord.bot_is_ready().await;
        bot
    }

    pub async fn with(discord: &Discord, token: &str, intents: GatewayIntents) -> Self {
        let http = http(discord, token);
        let (tell, events) = unbounded_channel();
        let mut client = ClientBuilder::new_with_http(http, intents)
            .event_handler(Handler { tell })
            .await
            .expect("a client");
        let shards = Arc::clone(&client.shard_manager);
        let mut running = JoinSet::new();
        running.spawn(async move { client.start().await });
        Self { events: Mutex::new(events), shards, running }
    }

    /// Waits for the next thing that it tells, which must begin with this.
    pub async fn tells(&self, what: &str) -> String {
        let told = timeout(PATIENCE, self.events.lock().await.recv()).await;
        let told = told.unwrap_or_else(|_| panic!("the bot does not tell {what}")).expect("it lives");
        assert!(told.starts_with(what), "the bot tells {told:?}, not {what:?}");
        told
    }

    /// Waits for two things, in any order: serenity handles each event in a task of its own.
    pub async fn tells_both(&self, one: &str, other: &str) {
        let told = [self.tells("").await, self.tells("").await];
        for expected in [one, other] {
            assert!(told.contains(&expected.to_owned()), "the bot tells {told:?}, not {expected:?}");
        }
    }

    /// Signs off.
    pub async fn stops(mut self) {
        self.shards.shutdown_all().await;
        self.running.shutdown().await;
    }

    /// Waits for the error that ends it.
    pub async fn fails(mut self) -> String {
        let ended = timeout(PATIENCE, self.running.join_next()).await.expect("it ends").expect("it ran");
        format!("{:?}", ended.expect("it does not panic").expect_err("it fails"))
    }
}

struct Handler {
    tell: UnboundedSender<String>,
}

impl Handler {
    fn tell(&self, what: impl Into<String>) {
        self.tell.send(what.into()).ok();
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, ctx: Context, ready: Ready) {
        let commands = GuildId::new(GUILD).set_commands(&ctx.http, commands()).await;
        let commands = commands.map(|list: Vec<Command>| list.len());
        self.tell(format!("ready as {} {commands:?}", ready.user.name));
    }

    async fn resume(&self, _: Context, _: ResumedEvent) {
        self.tell("resumed");
    }

    async fn message(&self, _: Context, message: Message) {
        let by = message.author.name;
        let roles = message.member.map(|member| member.roles.len());
        let files = message.attachments.len();
        self.tell(format!(
            "message {by} {:?} {:?} roles {roles:?} files {files}",
            message.kind, message.content
        ));
    }

    async fn message_update(
        &self,
        _: Context,
        _: Option<Message>,
        _: Option<Message>,
        event: MessageUpdateEvent,
    ) {
        self.tell(format!("update {:?}", event.content.unwrap_or_default()));
    }

    async fn message_delete(&self, _: Context, _: ChannelId, id: MessageId, _: Option<GuildId>) {
        self.tell(format!("delete {id}"));
    }

    async fn thread_create(&self, _: Context, thread: GuildChannel) {
        self.tell(format!("thread {} {:?}", thread.name, thread.kind));
    }

    async fn thread_update(&self, _: Context, _: Option<GuildChannel>, thread: GuildChannel) {
        let state = thread.thread_metadata.map(|state| (state.archived, state.locked));
        self.tell(format!("thread update {} {state:?}", thread.name));
    }

    async fn thread_delete(&self, _: Context, thread: PartialGuildChannel, _: Option<GuildChannel>) {
        self.tell(format!("thread delete {}", thread.id));
    }

    async fn interaction_create(&self, ctx: Context, interaction: Interaction) {
        let done = match interaction {
            Interaction::Command(it) => match it.data.name.as_str() {
                "ticket" => open(&ctx.http, &it).await,
                "form" => it.create_response(&ctx.http, CreateInteractionResponse::Modal(form())).await,
                "Make a ticket of this" => quote(&ctx.http, &it).await,
                _ => assign(&ctx.http, &it).await,
            },
            Interaction::Autocomplete(it) => {
                let typed = it.data.autocomplete().map(|option| option.value).unwrap_or_default();
                let choice = AutocompleteChoice::new(format!("#{typed}01 printer"), format!("{typed}01"));
                let choices = CreateAutocompleteResponse::new().set_choices(vec![choice]);
                it.create_response(&ctx.http, CreateInteractionResponse::Autocomplete(choices)).await
            }
            Interaction::Component(it) => click(&ctx.http, &it).await,
            Interaction::Modal(it) => submitted(&ctx.http, &it).await,
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.tell(format!("error {error:?}"));
        }
    }
}

type Done = Result<(), serenity::Error>;

fn commands() -> Vec<CreateCommand> {
    let text = |name: &str| CreateCommandOption::new(CommandOptionType::String, name, "a text");
    let new = CreateCommandOption::new(CommandOptionType::SubCommand, "new", "open a ticket")
        .add_sub_option(text("subject").required(true).max_length(100))
        .add_sub_option(
            text("category").add_string_choice("Billing", "billing").add_string_choice("Other", "other"),
        );
    let to = CreateCommandOption::new(CommandOptionType::User, "to", "whom");
    vec![
        CreateCommand::new("ticket").description("tickets").add_option(new),
        CreateCommand::new("form").description("a form"),
        CreateCommand::new("assign")
            .description("give it to someone")
            .add_option(text("ticket").required(true).set_autocomplete(true))
            .add_option(to),
        CreateCommand::new("Make a ticket of this").kind(CommandType::Message),
    ]
}

fn hidden(text: &str) -> CreateInteractionResponseMessage {
    CreateInteractionResponseMessage::new().content(text).ephemeral(true)
}

/// Deferred answer, private thread, its people, a card with buttons, and the answer.
async fn open(http: &Http, it: &CommandInteraction) -> Done {
    it.defer_ephemeral(http).await?;
    let subject = serde_json::to_value(&it.data.options).expect("JSON").to_string();
    let thread = CreateThread::new("#1001 printer").kind(ChannelType::PrivateThread).invitable(false);
    let thread = it.channel_id.create_thread(http, thread).await?;
    http.add_thread_channel_member(thread.id, it.user.id).await?;
    let buttons = CreateActionRow::Buttons(vec![
        CreateButton::new("claim.x").label("Claim").style(ButtonStyle::Primary),
        CreateButton::new("close.x").label("Close").style(ButtonStyle::Danger),
    ]);
    let options =
        vec![CreateSelectMenuOption::new("High", "high"), CreateSelectMenuOption::new("Low", "low")];
    let menu =
        CreateSelectMenu::new("priority.x", CreateSelectMenuKind::String { options }).placeholder("Priority");
    let card = CreateMessage::new()
        .content(format!("@everyone {subject}"))
        .allowed_mentions(CreateAllowedMentions::new())
        .components(vec![buttons, CreateActionRow::SelectMenu(menu)]);
    thread.id.send_message(http, card).await?;
    it.edit_response(http, EditInteractionResponse::new().content("opened")).await?;
    Ok(())
}

fn form() -> CreateModal {
    let subject = CreateInputText::new(InputTextStyle::Short, "Subject", "subject").max_length(100);
    let text =
        CreateInputText::new(InputTextStyle::Paragraph, "What happened", "description").required(false);
    CreateModal::new("open.x", "Open a ticket")
        .components(vec![CreateActionRow::InputText(subject), CreateActionRow::InputText(text)])
}

async fn submitted(http: &Http, it: &ModalInteraction) -> Done {
    let inputs = it.data.components.iter().flat_map(|row| &row.components);
    let values: Vec<String> = inputs
        .filter_map(|input| match input {
            ActionRowComponent::InputText(input) => input.value.clone(),
            _ => None,
        })
        .collect();
    it.defer_ephemeral(http).await?;
    it.edit_response(http, EditInteractionResponse::new().content(values.join(" / "))).await?;
    Ok(())
}

async fn quote(http: &Http, it: &CommandInteraction) -> Done {
    let quoted: Vec<String> = it
        .data
        .resolved
        .messages
        .values()
        .map(|message| format!("{}: {}", message.author.name, message.content))
        .collect();
    let answer = CreateInteractionResponse::Message(hidden(&quoted.join("\n")));
    it.create_response(http, answer).await
}

async fn assign(http: &Http, it: &CommandInteraction) -> Done {
    let to: Vec<String> = it.data.resolved.users.values().map(|user| user.name.clone()).collect();
    it.create_response(
        http,
        CreateInteractionResponse::Message(hidden(&format!("assigned to {}", to.join(", ")))),
    )
    .await
}

/// Claim changes the card, Close says something beside it, the menu says what was chosen.
async fn click(http: &Http, it: &ComponentInteraction) -> Done {
    if it.data.custom_id == "claim.x" {
        let card = CreateInteractionResponseMessage::new().content(format!("claimed by {}", it.user.name));
        return it.create_response(http, CreateInteractionResponse::UpdateMessage(card)).await;
    }
    it.create_response(http, CreateInteractionResponse::Acknowledge).await?;
    let what = serde_json::to_string(&it.data.kind).expect("JSON");
    let text = CreateInteractionResponseFollowup::new()
        .content(format!("{} {what}", it.data.custom_id))
        .ephemeral(true);
    it.create_followup(http, text).await?;
    Ok(())
}
