//! `ticketd demo`: the main job on sample mails, with no outside service: a private PostgreSQL, the offline engine, and
//! a folder instead of an SMTP server. Everything between is the daemon itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Listeners, StopSignal, Storage, reload::Stop};
use crate::clock::Clock;
use crate::config::Config;
use crate::database::{self, Keep, PrivatePostgres};
use crate::ids::{InboundId, TicketId};
use crate::mail::parse;
use crate::people::{self, Role};
use crate::tickets::{changes, read};
use crate::{cli, ingest};

mod show;
use show::Screen;

const CATALOGUE: &str = include_str!("demo/catalogue.toml");
const STAFF: &str = include_str!("demo/staff.toml");
const ANSWERS: &str = include_str!("demo/answers.toml");

macro_rules! mails {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("demo/mails/", $name, ".eml")).as_slice())),*] };
}
const MAILS: [(&str, &[u8]); 18] = mails![
    "01-database-outage",
    "02-rechnung-doppelt-abgebucht",
    "03-tunnel-vpn-coupe",
    "04-la-app-se-cierra",
    "05-poczta-trafia-do-spamu",
    "06-sso-login-dekinai",
    "07-disk-full-html-only",
    "08-wrong-vat-number-on-invoice",
    "09-database-outage-follow-up",
    "10-abwesenheitsnotiz",
    "11-undelivered-mail-returned",
    "12-tunnel-vpn-coupe-again",
    "13-postgres-operators-digest",
    "14-vineyard-lease",
    "15-security-report-stored-xss",
    "16-feature-request-reverse-dns-api",
    "17-kernel-panic-nach-update",
    "18-two-factor-phone-lost",
];

#[derive(Deserialize)]
struct Answers {
    answer: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    mail: String,
    body: String,
}

/// The folder of a demo: given and kept, or temporary and removed.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let keep = given.is_some();
        let path = given
            .unwrap_or_else(|| std::env::temp_dir().join(format!("ticketd-demo-{}", std::process::id())));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path: std::path::absolute(path)?, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "cannot remove the demo's folder");
        }
    }
}

/// Runs the demo. With `once`: the samples, one line of JSON, the end.
pub async fn run(once: bool, data_dir: Option<PathBuf>, listen: SocketAddr) -> anyhow::Result<()> {
    let config = configuration(listen)?;
    cli::logging::start(&config.telemetry)?;
    let screen = Screen::new(!once);
    // The port first: whoever runs another demo already should not wait for a database to be told.
    let listeners = if once { Listeners::default() } else { Listeners::open(&config, "--listen").await? };
    let mut stop_signal = StopSignal::listen()?;
    let folder = Folder::make(data_dir)?;
    let config = Arc::new(inside(config, &folder.path));
    screen.say("Starting a PostgreSQL of our own …")?;
    let keep = if folder.keep { Keep::Data } else { Keep::Nothing };
    let place = folder.path.join("postgres");
    let server = tokio::task::spawn_blocking(move || PrivatePostgres::start(&place, keep, None)).await??;
    let storage = Storage::of(database::connect(server.options("postgres"), 16).await?);
    database::migrate(&storage.db).await?;
    let clock = Clock::system();
    let password = format!("demo-{:08x}", rand::random::<u32>());
    set_up_people(&storage.db, &clock, &password).await?;
    let metrics = if once { None } else { app::install_metrics() };
    let app = App::build(Arc::clone(&config), storage.db.clone(), clock, metrics).await?;
    let stop = CancellationToken::new();
    let show = async {
        let result = tokio::select! {
            result = take_in_all(&app, &screen, &folder.path) => result.map(Some),
            () = stop_signal.heard() => Ok(None),
        };
        let told = match &result {
            Ok(Some(figures)) if once => cli::say(&figures.json()),
            Ok(Some(figures)) => {
                let told = screen.look_around(figures, listen, &folder.path, &password, folder.keep);
                stop_signal.heard().await;
                told
            }
            Ok(None) | Err(_) => Ok(()),
        };
        stop.cancel();
        result.and(told)
    };
    let ((), result) = tokio::join!(app.run(listeners, Stop { ends: stop.clone(), ..Stop::default() }), show);
    storage.close().await;
    tokio::task::spawn_blocking(move || drop(server)).await?;
    result
}

fn configuration(listen: SocketAddr) -> anyhow::Result<Config> {
    let text = format!(
        "[http]\nlisten = \"{listen}\"\n[mail]\nundo_seconds = 0\n[telemetry]\nlog = \"error\"\nformat = \"plain\"\n\
         [[mailbox]]\nname = \"support\"\naddress = \"support@demo.example\"\noutbox_dir = \"outbox\"\n"
    );
    Config::parse(&text, BTreeMap::new())
}

/// Everything of the demo is in its folder.
fn inside(mut config: Config, folder: &Path) -> Config {
    folder.clone_into(&mut config.data_dir);
    for mailbox in &mut config.mailbox {
        mailbox.outbox_dir = Some(folder.join("outbox"));
    }
    config
}

async fn set_up_people(db: &PgPool, clock: &Clock, password: &str) -> anyhow::Result<()> {
    people::import_skills(db, CATALOGUE, clock.now()).await?;
    for person in people::import_staff(db, STAFF, clock.now()).await? {
        if person.role == Role::Admin {
            people::set_password(db, person.id, password.to_owned().into(), clock.now()).await?;
        }
    }
    Ok(())
}

/// What the JSON line tells.
#[derive(Default)]
struct Figures {
    mails: usize,
    tickets: usize,
    triaged: usize,
    assigned: usize,
    acknowledged: usize,
    answered: usize,
    /// From arrival to the acknowledgement in the outbox, or to the mail's fate where none is due.
    took_ms: Vec<f64>,
}

impl Figures {
    fn median_ms(&self) -> f64 {
        let mut sorted = self.took_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }

    fn json(&self) -> String {
        serde_json::json!({
            "mails": self.mails,
            "tickets": self.tickets,
            "triaged": self.triaged,
            "assigned": self.assigned,
            "acknowledged": self.acknowledged,
            "median_ms": (self.median_ms() * 10.0).round() / 10.0,
        })
        .to_string()
    }
}

async fn take_in_all(app: &App, screen: &Screen, folder: &Path) -> anyhow::Result<Figures> {
    let answers: Answers = toml::from_str(ANSWERS)?;
    let mut figures = Figures::default();
    for (number, (name, raw)) in MAILS.iter().enumerate() {
        let mail = parse::parse(raw);
        screen.mail(
            number + 1,
            MAILS.len(),
            mail.from.as_ref().map_or("", |f| f.address.as_str()),
            &mail.subject,
        )?;
        let begun = Instant::now();
        let db = &app.stages.db;
        let Some(id) = ingest::receive_sample(db, &app.stages.clock, "support", name, raw).await? else {
            screen.step(begun, "already taken in by an earlier demo in this folder")?;
            continue;
        };
        figures.mails += 1;
        let ticket = follow(app, screen, id, begun, &mut figures).await?;
        if let (Some(ticket), Some(answer)) = (ticket, answers.answer.iter().find(|a| a.mail == *name)) {
            answer_as_staff(app, screen, folder, ticket, answer, &mut figures).await?;
        }
    }
    Ok(figures)
}

/// Shows one mail's way as it happens. Says which ticket it opened.
async fn follow(
    app: &App,
    screen: &Screen,
    id: InboundId,
    begun: Instant,
    figures: &mut Figures,
) -> anyhow::Result<Option<TicketId>> {
    let db = &app.stages.db;
    let entry = wait_for(|| async { Ok(ingest::entry(db, id).await?.filter(|e| e.fate.is_some())) }).await?;
    let fate = entry.fate.as_deref().unwrap_or_default();
    let Some(ticket) = entry.ticket_id.filter(|_| fate == "ticketed") else {
        screen.step(begun, &show::fate(&entry))?;
        figures.took_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
        return Ok(None);
    };
    figures.tickets += 1;
    screen.step(begun, &format!("ticket #{ticket}"))?;
    let is_acknowledged = || async {
        let sent = read::deliveries(db, ticket).await?;
        let acknowledgement = sent.into_iter().find(|d| d.kind == "acknowledgement");
        Ok(match acknowledgement {
            None => Some(false),
            Some(delivery) => (delivery.state == "sent").then_some(true),
        })
    };
    if wait_for(is_acknowledged).await? {
        figures.acknowledged += 1;
        screen.step(begun, "acknowledged to the sender")?;
    } else {
        screen.step(begun, "not acknowledged: a machine wrote it")?;
    }
    figures.took_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    let triage = wait_for(|| async { Ok(changes::triage(db, ticket).await?) }).await?;
    figures.triaged += 1;
    screen.step(begun, &show::triage(&triage))?;
    let assignment = wait_for(|| async { Ok(changes::assignment(db, ticket).await?) }).await?;
    figures.assigned += usize::from(assignment.assignee_id.is_some());
    screen.step(begun, &format!("assigned to {}", assignment.reason))?;
    Ok(Some(ticket))
}

/// The assignee answers the notice by mail, as their mail client would.
async fn answer_as_staff(
    app: &App,
    screen: &Screen,
    folder: &Path,
    ticket: TicketId,
    answer: &Answer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let db = &app.stages.db;
    let begun = Instant::now();
    let sent = |kind: &'static str| async move {
        let all = read::deliveries(db, ticket).await?;
        Ok(all.into_iter().find(|d| d.kind == kind && d.state == "sent"))
    };
    let notice = wait_for(|| sent("notice")).await?;
    let path = folder.join("outbox").join(format!("{ticket}-notice-{}.eml", notice.id));
    let read = parse::parse(
        &tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?,
    );
    let to = read.reply_to.first().map_or("", |m| m.address.as_str());
    let id = read.message_id.unwrap_or_default();
    let raw = format!(
        "From: {}\r\nTo: {to}\r\nSubject: Re: {}\r\nMessage-ID: <answer-{}@demo.example>\r\nIn-Reply-To: <{id}>\r\n\
         References: <{id}>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
        notice.address,
        read.subject,
        answer.mail,
        answer.body.replace('\n', "\r\n")
    );
    let name = format!("answer-{}", answer.mail);
    ingest::receive_sample(db, &app.stages.clock, "support", &name, raw.as_bytes()).await?;
    wait_for(|| sent("reply")).await?;
    figures.answered += 1;
    screen.step(begun, &format!("{} answers by mail; the answer is in the sender's thread", notice.address))
}

/// Asks until there is an answer.
async fn wait_for<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    ask: impl Fn() -> F,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(30), "a step did not happen within 30 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
