//! `ticketd doctor`: is everything that the configuration names there and willing? One line each, with what to do.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;

use super::{one_line, say};
use crate::app::{self, Storage};
use crate::clock::Clock;
use crate::config::{Alarms, Config, Mailbox};
use crate::deliver::mailer::Mailer;
use crate::oauth::{Grant, Tokens};
use crate::store::{Store, disk};
use crate::triage::Triage;
use crate::worker::watch;
use crate::{database, discord, sources};

/// What is at stake where nobody vouches for who wrote a mail.
const UNVOUCHED: &str = "authserv_id is not set, so nobody vouches for who wrote a mail: who has the signed address of a notice and \
    forges that member's From speaks for staff, and #fwd does not work; set it to the name under which your mail server writes \
    Authentication-Results (Gmail: mx.google.com, Microsoft 365: -)";

struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, what: &str, result: anyhow::Result<String>) -> anyhow::Result<()> {
        match result {
            Ok(said) => say(&format!("ok    {what}: {said}")),
            Err(error) => {
                self.failed = true;
                say(&format!("FAIL  {what}: {}", one_line(&error)))
            }
        }
    }
}

/// Checks and reports. Exit 1 if one check fails.
pub(super) async fn run(path: &Path, offline: bool) -> anyhow::Result<ExitCode> {
    let mut report = Report { failed: false };
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            report.line("configuration", Err(error))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    report.line("configuration", Ok(format!("{} is sound", path.display())))?;
    for key in config.without_effect() {
        say(&format!("note  configuration: {key} is set, but this version does nothing with it yet"))?;
    }
    for mailbox in
        config.mailbox.iter().filter(|mailbox| mailbox.imap.is_some() && mailbox.authserv_id.is_none())
    {
        say(&format!("note  mailbox {}: {UNVOUCHED}", mailbox.name))?;
    }
    secrets(&config, &mut report)?;
    if !offline {
        let (checked, tokens) = check_database(&config).await;
        report.line("database", checked)?;
        if let Some((storage, _)) = &tokens {
            report.line("clock", check_clock(&config, storage).await)?;
        }
        if let Some(url) = config.database.reports_url().transpose() {
            report.line("reports", check_replica(url).await)?;
        }
        check_disks(&config, &mut report)?;
        report.line("attachments", check_attachments(&config).await)?;
        check_mailboxes(&config, tokens.as_ref().map(|(_, tokens)| tokens), &mut report).await?;
        if let Some((storage, _)) = tokens {
            storage.close().await;
        }
        check_gemini(&config, &mut report).await?;
        if let Some(discord) = &config.discord {
            for (what, result) in discord::check::check(discord).await {
                report.line(what, result)?;
            }
        }
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn secrets(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let readable = || "is readable".to_owned();
    if config.auth.secret_file.is_some() || config.auth.secret.is_some() {
        report.line("auth secret", config.auth.secret().map(|_| readable()))?;
    }
    for mailbox in &config.mailbox {
        for (way, oauth) in mailbox.grants() {
            let what = format!("mailbox {} {way} oauth files", mailbox.name);
            let read = oauth.refresh_token(&mailbox.name).and_then(|_| oauth.client_secret(&mailbox.name));
            report.line(&what, read.map(|_| readable()))?;
        }
        if let Some(imap) = mailbox.imap.as_ref().filter(|imap| imap.oauth.is_none()) {
            let what = format!("mailbox {} imap password", mailbox.name);
            report.line(&what, imap.secret(&mailbox.name).map(|_| readable()))?;
        }
        if let Some(smtp) = mailbox.smtp.as_ref().filter(|s| s.user.is_some() && s.oauth.is_none()) {
            let what = format!("mailbox {} smtp password", mailbox.name);
            report.line(&what, smtp.login(&mailbox.name).map(|_| readable()))?;
        }
    }
    for (mailbox, way, file) in authorities(config) {
        let what = format!("mailbox {mailbox} {way} authority");
        let read = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {way}.ca_file {}", file.display()))
            .and_then(|text| {
                anyhow::ensure!(
                    text.contains("BEGIN CERTIFICATE"),
                    "{way}.ca_file {} holds no certificate: it must be PEM",
                    file.display()
                );
                Ok(readable())
            });
        report.line(&what, read)?;
    }
    if let Some(gemini) = &config.gemini {
        report.line("gemini key", gemini.key().map(|_| readable()))?;
    }
    if let Some(s3) = &config.attachments.s3 {
        report.line("attachments key", s3.key().map(|_| readable()))?;
    }
    if let Some(discord) = &config.discord {
        report.line("discord token", discord::check::check_token(discord))?;
    }
    Ok(())
}

/// Every `ca_file`, with the mailbox and the way it is for.
fn authorities(config: &Config) -> Vec<(&str, &'static str, &Path)> {
    let mut files = Vec::new();
    for mailbox in &config.mailbox {
        let imap = mailbox.imap.as_ref().and_then(|i| i.ca_file.as_deref());
        let smtp = mailbox.smtp.as_ref().and_then(|s| s.ca_file.as_deref());
        files.extend(imap.map(|file| (mailbox.name.as_str(), "imap", file)));
        files.extend(smtp.map(|file| (mailbox.name.as_str(), "smtp", file)));
    }
    files
}

/// The tokens of mailboxes are in it, once it is migrated, and new ones must be stored there.
async fn check_database(config: &Config) -> (anyhow::Result<String>, Option<(Storage, Tokens)>) {
    let storage = match Storage::open(config).await {
        Ok(storage) => storage,
        Err(error) => return (Err(error), None),
    };
    let version = match database::ping(&storage.db).await {
        Ok(version) => version,
        Err(error) => {
            storage.close().await;
            return (Err(error), None);
        }
    };
    if database::is_read_only(&storage.db).await.unwrap_or(false) {
        storage.close().await;
        return (Err(anyhow::anyhow!("PostgreSQL {version} {}", database::READ_ONLY)), None);
    }
    if !database::is_migrated(&storage.db).await.unwrap_or(false) {
        storage.close().await;
        return (Ok(format!("PostgreSQL {version}, to be migrated at the next start")), None);
    }
    let said = format!("PostgreSQL {version}, up to date");
    let clock = Clock::system();
    let tokens = match app::master_secrets(config, &storage.db, &clock).await {
        Ok(masters) => Tokens::new(&storage.db, &clock, &masters),
        Err(error) => Err(error),
    };
    match tokens {
        Ok(tokens) => (Ok(said), Some((storage, tokens))),
        Err(error) => {
            storage.close().await;
            (Err(error), None)
        }
    }
}

async fn check_replica(url: anyhow::Result<SecretString>) -> anyhow::Result<String> {
    let replica = database::connect(database::options("database.reports_url", &url?)?, 1)
        .await
        .context("database.reports_url")?;
    let checked = match database::is_migrated(&replica).await {
        Ok(true) => Ok("they are read from the replica".to_owned()),
        Ok(false) => Err(anyhow::anyhow!(
            "the replica is behind: it has not followed the last migration yet, or follows another server"
        )),
        Err(error) => Err(error.context("the server of database.reports_url has no ticketd on it")),
    };
    replica.close().await;
    checked
}

async fn check_mailboxes(
    config: &Config,
    tokens: Option<&Tokens>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mailer = Mailer::new(config).map(|mailer| match tokens {
        Some(tokens) => mailer.with_tokens(tokens),
        None => mailer,
    });
    for mailbox in &config.mailbox {
        check_grants(mailbox, tokens, report).await?;
        check_mailbox(mailbox, tokens, mailer.as_ref().ok(), report).await?;
    }
    if let Err(error) = mailer {
        report.line("smtp", Err(error))?;
    }
    Ok(())
}

/// Whether token servers give access tokens. What they refused before is asked for again: that is what this is for.
async fn check_grants(mailbox: &Mailbox, tokens: Option<&Tokens>, report: &mut Report) -> anyhow::Result<()> {
    for (way, oauth) in mailbox.grants() {
        let what = format!("mailbox {} {way} oauth", mailbox.name);
        let Some(tokens) = tokens else {
            let remedy =
                "not tried: a token that the server gives could not be stored without a migrated database";
            report.line(&what, Err(anyhow::anyhow!(remedy)))?;
            continue;
        };
        let given = tokens.token(&Grant::new(&mailbox.name, oauth)).await;
        report.line(
            &what,
            given.map(|_| "the token server gives access tokens".to_owned()).map_err(Into::into),
        )?;
    }
    Ok(())
}

async fn check_clock(config: &Config, storage: &Storage) -> anyhow::Result<String> {
    let theirs = database::now(&storage.db).await.context("cannot ask PostgreSQL for the time")?;
    let ahead = (Clock::system().now() - theirs).num_seconds();
    let limit = match config.alarms.clock_seconds {
        0 => Alarms::default().clock_seconds,
        limit => limit,
    };
    anyhow::ensure!(ahead.abs() <= limit, watch::skew(ahead));
    Ok(format!("it differs from PostgreSQL's by less than {limit} s"))
}

/// A line for each file system that is written to.
fn check_disks(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let rooms = match disk::rooms(config) {
        Ok(rooms) => rooms,
        Err(error) => return report.line("disk", Err(error)),
    };
    let limit = config.alarms.disk_free_percent;
    for room in rooms {
        let said = if room.free_percent < limit {
            Err(anyhow::anyhow!(watch::full(&room, limit)))
        } else {
            Ok(format!("{} % are left under {}", room.free_percent, room.path.display()))
        };
        report.line("disk", said)?;
    }
    Ok(())
}

async fn check_attachments(config: &Config) -> anyhow::Result<String> {
    Ok(Store::open(&config.attachments, &config.data_dir)?.probe().await?)
}

async fn check_mailbox(
    mailbox: &Mailbox,
    tokens: Option<&Tokens>,
    mailer: Option<&Mailer>,
    report: &mut Report,
) -> anyhow::Result<()> {
    if mailbox.imap.is_some() {
        let limit = Duration::from_mins(1);
        let checked = match tokio::time::timeout(limit, sources::check_mailbox(mailbox, tokens)).await {
            Ok(checked) => checked,
            Err(_elapsed) => {
                Err(anyhow::anyhow!("no answer within {} s: check host, port and tls", limit.as_secs()))
            }
        };
        report.line(&format!("mailbox {} imap", mailbox.name), checked)?;
    }
    if let Some(mailer) = mailer {
        report.line(&format!("mailbox {} smtp", mailbox.name), mailer.check(&mailbox.name).await)?;
    }
    Ok(())
}

async fn check_gemini(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    match Triage::client(config) {
        Ok(None) => report.line("triage", Ok("the offline engine judges".to_owned())),
        Ok(Some(gemini)) => report.line("gemini", gemini.check().await.map_err(Into::into)),
        Err(error) => report.line("gemini", Err(error)),
    }
}
