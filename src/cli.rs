//! The commands.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Listeners, StopSignal, Storage, reload};
use crate::clock::Clock;
use crate::config::Config;
use crate::mail::{parse, reading};
use crate::{database, ingest, people, queue, triage};

mod admin;
mod deliveries;
mod doctor;
mod jobs;
mod ledger;
pub(crate) mod logging;

/// Support tickets from mail, triaged, assigned and answered in-thread.
#[derive(Parser)]
#[command(name = "ticketd", version, arg_required_else_help = true)]
#[command(after_help = "Example (needs nothing but PostgreSQL's programs): ticketd demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct ConfigFile {
    /// The configuration file (see config/example.toml)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole thing at work without any outside service
    #[command(after_help = "Example: ticketd demo --once")]
    Demo {
        /// Handle the sample mails, print one line of JSON, and exit
        #[arg(long)]
        once: bool,
        /// Keep database and outbox in this folder (default: a temporary one, removed at the end)
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Where the API listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: std::net::SocketAddr,
    },
    /// Run the daemon
    #[command(after_help = "Example: ticketd serve --config /etc/ticketd/ticketd.toml")]
    Serve(ConfigFile),
    /// Check configuration, database, mailboxes, SMTP and Gemini; exit 1 if one fails
    #[command(after_help = "Example: ticketd doctor --config ticketd.toml --offline")]
    Doctor {
        #[command(flatten)]
        file: ConfigFile,
        /// Check only what needs no network: the configuration and its files
        #[arg(long)]
        offline: bool,
    },
    /// Apply migrations
    #[command(after_help = "Example: ticketd migrate --config ticketd.toml")]
    Migrate(ConfigFile),
    /// Take in one mail from an MTA's pipe; exit 0 after commit, 75 when it should be tried again
    #[command(
        after_help = "Example (Postfix alias): support: \"|/usr/bin/ticketd ingest --config /etc/ticketd/ticketd.toml\""
    )]
    Ingest {
        #[command(flatten)]
        file: ConfigFile,
        /// The mail; `-` or nothing reads standard input
        #[arg(value_name = "FILE")]
        mail: Option<PathBuf>,
    },
    /// Show how a mail is read
    #[command(subcommand, after_help = "Example: ticketd mail parse mail.eml")]
    Mail(MailCommand),
    /// Try the triage engines
    #[command(
        subcommand,
        after_help = "Example: ticketd triage predict --catalogue labels.json < tickets.jsonl"
    )]
    Triage(TriageCommand),
    /// Manage admins
    #[command(
        subcommand,
        after_help = "Example: ticketd admin create --config ticketd.toml --email ada@example.org"
    )]
    Admin(admin::AdminCommand),
    /// Move the skill catalogue in and out, as TOML
    #[command(subcommand, after_help = "Example: ticketd skills export --config ticketd.toml > skills.toml")]
    Skills(SkillsCommand),
    /// Enter moderators and admins, as TOML
    #[command(subcommand, after_help = "Example: ticketd staff import --config ticketd.toml < staff.toml")]
    Staff(StaffCommand),
    /// See and repair durable jobs
    #[command(subcommand, after_help = "Example: ticketd jobs list --config ticketd.toml --failed")]
    Jobs(jobs::JobsCommand),
    /// Mails that were not sent
    #[command(subcommand, arg_required_else_help = true)]
    #[command(after_help = "Example: ticketd deliveries list --config ticketd.toml")]
    Deliveries(deliveries::DeliveriesCommand),
    /// See the fate of every mail
    #[command(subcommand, after_help = "Example: ticketd ledger list --config ticketd.toml")]
    Ledger(ledger::LedgerCommand),
}

#[derive(Subcommand)]
enum MailCommand {
    /// How ticketd reads a mail, as JSON; `-` reads paths from standard input, one line of JSON each
    #[command(after_help = "Example: ticketd mail parse --own-address support@example.org mail.eml")]
    Parse {
        /// An address of ours; may be given several times
        #[arg(long, value_name = "A")]
        own_address: Vec<String>,
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
    },
    /// Which of these mails belong together; reads paths from standard input to its end
    #[command(after_help = "Example: ls *.eml | ticketd mail thread -")]
    Thread {
        #[arg(value_name = "-", value_parser = ["-"])]
        from: String,
    },
}

#[derive(Subcommand)]
enum TriageCommand {
    /// The offline engine: tickets as JSONL on standard input, ranked labels as JSONL on standard output
    #[command(after_help = "Example: ticketd triage predict --catalogue labels.json < tickets.jsonl")]
    Predict {
        /// JSON list of {label, name, aliases, description}
        #[arg(long, value_name = "FILE")]
        catalogue: PathBuf,
    },
}

#[derive(Subcommand)]
enum StaffCommand {
    /// Enter and change moderators and admins from TOML on standard input; removes nobody
    #[command(
        after_help = "Example: ticketd staff import --config ticketd.toml < staff.toml\n\nstaff.toml:\n  \
        [[person]]\n  name = \"Bea\"\n  email = \"bea@example.org\"\n  role = \"moderator\"   # or admin\n  \
        cap = 10               # open tickets; left out: assignment.cap_default\n  away = false\n  \
        skills = { billing = 5, networking = 3 }   # slug and level 1 to 5"
    )]
    Import(ConfigFile),
}

#[derive(Subcommand)]
enum SkillsCommand {
    /// Add and change skills from TOML on standard input
    #[command(after_help = "Example: ticketd skills import --config ticketd.toml < skills.toml")]
    Import(ConfigFile),
    /// Write the catalogue as TOML to standard output
    #[command(after_help = "Example: ticketd skills export --config ticketd.toml > skills.toml")]
    Export(ConfigFile),
}

/// `EX_TEMPFAIL` of sysexits.h: the MTA keeps the mail and tries again.
const TRY_AGAIN: u8 = 75;

/// Parses the command line, runs the command, and turns its error into one line.
pub fn main() -> ExitCode {
    // Both serenity's and our TLS would otherwise have to guess a provider.
    rustls::crypto::ring::default_provider().install_default().ok();
    let _scenario = fail::FailScenario::setup();
    let cli = Cli::parse();
    let is_ingest = matches!(cli.command, Command::Ingest { .. });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("cannot start threads"), 1),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => fail(&error, if is_ingest { TRY_AGAIN } else { 1 }),
    }
}

#[expect(clippy::print_stderr, reason = "the one place that tells the terminal why a command failed")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("ticketd: {}", one_line(error));
    ExitCode::from(code)
}

/// An error and its causes in one line. Some crates' errors repeat their cause; people read it once.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let said = cause.to_string().replace('\n', " ");
        if !line.ends_with(&said) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&said);
        }
    }
    line
}

/// A line for the caller's standard output; a reader that has gone away is no error of ours.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo { once, data_dir, listen } => crate::demo::run(once, data_dir, listen).await?,
        Command::Serve(file) => serve(&file.config).await?,
        Command::Doctor { file, offline } => return doctor::run(&file.config, offline).await,
        Command::Migrate(file) => migrate(&file.config).await?,
        Command::Ingest { file, mail } => take_in(&file.config, mail.as_deref()).await?,
        Command::Mail(command) => read_mail(command)?,
        Command::Triage(TriageCommand::Predict { catalogue }) => predict(&catalogue)?,
        Command::Admin(command) => admin::run(command).await?,
        Command::Skills(command) => skills(command).await?,
        Command::Staff(StaffCommand::Import(file)) => import_staff(&file.config).await?,
        Command::Jobs(command) => jobs::run(command).await?,
        Command::Deliveries(command) => deliveries::run(command).await?,
        Command::Ledger(command) => ledger::run(command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(path: &Path) -> anyhow::Result<()> {
    let config = Arc::new(Config::load(path)?);
    let log = logging::start(&config.telemetry)?;
    let mut stop_signal = StopSignal::listen()?;
    let reload = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    say_at_start(&config);
    let listeners = Listeners::open(&config, "http.listen").await?;
    let storage = Storage::open(&config).await?;
    database::migrate(&storage.db).await?;
    say_where_links_point(&config);
    let metrics = app::install_metrics();
    let app = App::build(Arc::clone(&config), storage.db.clone(), Clock::system(), metrics.clone()).await?;
    let listen = listeners.address().map(|address| address.to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen, "ticketd is up");
    let stop = CancellationToken::new();
    let read_again = async |old: &Config| {
        let mut new = Config::load(path)?;
        let at_restart = reload::keep_what_needs_a_restart(old, &mut new)?;
        logging::check(&new.telemetry)?;
        let new = Arc::new(new);
        let app = App::build(Arc::clone(&new), storage.db.clone(), Clock::system(), metrics.clone()).await?;
        log.change(&new.telemetry)?;
        let line = reload::summary(old, &new, &at_restart);
        tracing::info!("{line}");
        say_at_start(&new);
        say_where_links_point(&new);
        anyhow::Ok(app)
    };
    let serving = async {
        let served = reload::serve(app, listeners, reload, read_again, stop.clone()).await;
        stop.cancel();
        served
    };
    let (served, (), ()) = tokio::join!(serving, storage.keep_running(stop.clone()), async {
        tokio::select! {
            () = stop_signal.heard() => stop.cancel(),
            () = stop.cancelled() => {}
        }
    });
    storage.close().await;
    #[cfg(feature = "otel")]
    log.end().await;
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// What whoever wrote the configuration should know.
fn say_at_start(config: &Config) {
    for key in config.without_effect() {
        tracing::warn!(key, "{key} is configured, but this build of ticketd does nothing with it");
    }
    if config.mailbox.is_empty() {
        tracing::warn!("no [[mailbox]] is configured: no mail comes in, and none can leave");
    }
}

fn say_where_links_point(config: &Config) {
    if config.http.public_url.is_none() {
        let base = config.http.base_url();
        tracing::warn!(
            "http.public_url is not set: links in mails point to {base}, which others cannot open"
        );
    }
}

/// Opens the database for a command; it must be there and migrated.
async fn storage(path: &Path) -> anyhow::Result<(Config, Storage)> {
    let config = Config::load(path)?;
    let storage = Storage::open(&config).await?;
    database::migrate(&storage.db).await?;
    Ok((config, storage))
}

async fn migrate(path: &Path) -> anyhow::Result<()> {
    let (_, storage) = storage(path).await?;
    storage.close().await;
    say("the database is up to date")
}

/// As much of a mail as every source takes. The rest is read all the same, or the MTA would see its pipe break.
fn start_of(mut mail: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    mail.by_ref().take(limit as u64).read_to_end(&mut raw)?;
    std::io::copy(&mut mail, &mut std::io::sink())?;
    Ok(raw)
}

async fn take_in(path: &Path, mail: Option<&Path>) -> anyhow::Result<()> {
    let limit = Config::load(path)?.mail.max_message_bytes;
    let raw = if let Some(file) = mail.filter(|p| *p != Path::new("-")) {
        std::fs::File::open(file)
            .and_then(|open| start_of(open, limit))
            .with_context(|| format!("cannot read {}", file.display()))?
    } else {
        start_of(std::io::stdin().lock(), limit).context("cannot read standard input")?
    };
    if raw.is_empty() {
        bail!("the mail is empty");
    }
    let (config, storage) = storage(path).await?;
    let mailbox = config.default_mailbox().context("no [[mailbox]] is configured to send answers from")?;
    ingest::receive_pipe(&storage.db, &Clock::system(), &mailbox.name, &raw).await?;
    storage.close().await;
    Ok(())
}

fn read_mail(command: MailCommand) -> anyhow::Result<()> {
    match command {
        MailCommand::Parse { own_address, file } if file == Path::new("-") => {
            for line in std::io::stdin().lines() {
                let line = line?;
                // Every line in gives a line out, readable or not.
                let json = match std::fs::read(line.trim()) {
                    Ok(raw) => serde_json::to_string(&reading::read(&raw, &own_address))?,
                    Err(error) => {
                        serde_json::json!({"error": format!("cannot read {line}: {error}")}).to_string()
                    }
                };
                say(&json)?;
            }
            Ok(())
        }
        MailCommand::Parse { own_address, file } => {
            let raw = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            say(&serde_json::to_string(&reading::read(&raw, &own_address))?)
        }
        MailCommand::Thread { from: _ } => {
            let mut mails = Vec::new();
            for line in std::io::stdin().lines() {
                let line = line?;
                mails.push(parse::parse(
                    &std::fs::read(line.trim()).with_context(|| format!("cannot read {line}"))?,
                ));
            }
            say(&serde_json::json!({"groups": reading::group(&mails)}).to_string())
        }
    }
}

fn predict(catalogue: &Path) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(catalogue).with_context(|| format!("cannot read {}", catalogue.display()))?;
    triage::predict::run(&text, std::io::stdin().lock(), std::io::stdout().lock())
}

async fn import_staff(path: &Path) -> anyhow::Result<()> {
    let document = std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?;
    let (_, storage) = storage(path).await?;
    let imported = people::import_staff(&storage.db, &document, Clock::system().now()).await;
    queue::ring(&storage.db).await;
    storage.close().await;
    say(&format!("{} staff imported", imported?.len()))
}

async fn skills(command: SkillsCommand) -> anyhow::Result<()> {
    match command {
        SkillsCommand::Import(file) => {
            let document = std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?;
            let (_, storage) = storage(&file.config).await?;
            let count = people::import_skills(&storage.db, &document, Clock::system().now()).await?;
            storage.close().await;
            say(&format!("{count} skills imported"))
        }
        SkillsCommand::Export(file) => {
            let (_, storage) = storage(&file.config).await?;
            let document = people::export_skills(&storage.db).await?;
            storage.close().await;
            say(document.trim_end())
        }
    }
}
