//! The way out: SMTP by lettre, or a folder of .eml files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use lettre::address::Envelope;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls as LettreTls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret;

use crate::config::{Config, Mailbox, Smtp, Tls};
use crate::oauth::{AccessToken, Grant, TokenError, Tokens};
use crate::tickets::outbox::Attempt;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Sends mails, each by its mailbox's way.
#[derive(Debug)]
pub struct Mailer {
    ways: BTreeMap<String, Way>,
    limits: Limits,
    /// `None`: who logs in by access tokens is not sent by.
    tokens: Option<Tokens>,
}

/// How long a mail server may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To accept a connection and answer a first command.
    pub connect: Duration,
    /// For a whole mail. lettre's own limit covers connecting only (lettre #1027).
    pub conversation: Duration,
}

impl Default for Limits {
    /// A server that looks for viruses has ten minutes to say that it took a mail (RFC 5321 §4.5.3.2.6). Who hangs up
    /// earlier sends it again and again, and each copy arrives.
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), conversation: Duration::from_mins(11) }
    }
}

#[derive(Debug)]
enum Way {
    Smtp(Box<Server>),
    Folder(PathBuf),
}

/// A mail server, and what is known to it.
#[derive(Debug)]
struct Server {
    mailbox: String,
    settings: Smtp,
    /// `None`: it is not logged in to by access tokens.
    grant: Option<Grant>,
    /// It is made anew after a time-out of ours, which leaves its connection in an unknown state, and for each access token,
    /// because its connections are logged in with the one before.
    transport: Mutex<(Transport, Option<AccessToken>)>,
}

impl Mailer {
    /// A mailer for every configured mailbox.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Self::with_limits(config, Limits::default())
    }

    /// The same with other limits: tests have no minutes to lose.
    pub fn with_limits(config: &Config, limits: Limits) -> anyhow::Result<Self> {
        let mut ways = BTreeMap::new();
        for mailbox in &config.mailbox {
            ways.insert(mailbox.name.clone(), way(mailbox, limits)?);
        }
        Ok(Self { ways, limits, tokens: None })
    }

    /// The same, for mailboxes that log in by access tokens as well.
    #[must_use]
    pub fn with_tokens(self, tokens: &Tokens) -> Self {
        Self { tokens: Some(tokens.clone()), ..self }
    }

    /// Tries once.
    pub async fn send(&self, mailbox: &str, from: &str, to: &str, name: &str, content: &[u8]) -> Attempt {
        self.send_within(self.limits.conversation, mailbox, from, to, name, content).await
    }

    /// As [`Mailer::send`], for a mail that is of no use later: it takes no longer than `limit`.
    pub async fn send_within(
        &self,
        limit: Duration,
        mailbox: &str,
        from: &str,
        to: &str,
        name: &str,
        content: &[u8],
    ) -> Attempt {
        match self.ways.get(mailbox) {
            Some(Way::Smtp(server)) => match envelope(from, to) {
                Ok(envelope) => self.send_by(server, limit, &envelope, content).await,
                Err(error) => Attempt::Permanent { answer: format!("{error:#}") },
            },
            Some(Way::Folder(folder)) => {
                let path = folder.join(format!("{name}.eml"));
                match write_whole(folder, &path, content).await {
                    Ok(()) => Attempt::Sent { answer: format!("written to {}", path.display()) },
                    Err(error) => {
                        Attempt::Network { error: format!("cannot write {}: {error}", path.display()) }
                    }
                }
            }
            None => Attempt::Temporary { answer: format!("mailbox `{mailbox}` is not in the configuration") },
        }
    }

    /// An access token that is refused may have been revoked before its time: it is tried once more with another one.
    async fn send_by(
        &self,
        server: &Server,
        limit: Duration,
        envelope: &Envelope,
        content: &[u8],
    ) -> Attempt {
        let (transport, token) = match self.transport(server).await {
            Ok(current) => current,
            Err(attempt) => return attempt,
        };
        let (attempt, is_refused) = self.try_by(server, &transport, limit, envelope, content).await;
        let (Some(tokens), Some(grant), Some(token)) = (&self.tokens, &server.grant, token) else {
            return attempt;
        };
        if !is_refused {
            if matches!(attempt, Attempt::Sent { .. }) {
                tokens.accepted(grant, &token).await;
            }
            return attempt;
        }
        if !tokens.refused(grant, &token).await {
            return attempt;
        }
        match self.transport(server).await {
            Ok((transport, _)) => self.try_by(server, &transport, limit, envelope, content).await.0,
            Err(attempt) => attempt,
        }
    }

    /// The transport, logged in with the newest access token.
    async fn transport(&self, server: &Server) -> Result<(Transport, Option<AccessToken>), Attempt> {
        let current = || server.transport.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(grant) = &server.grant else { return Ok(current()) };
        let Some(tokens) = &self.tokens else {
            return Err(Attempt::Temporary { answer: "there are no access tokens here".to_owned() });
        };
        let token = tokens.token(grant).await.map_err(|error| match error {
            TokenError::Refused(reason) => Attempt::Temporary { answer: reason },
            TokenError::Unavailable(reason) => Attempt::Network { error: reason },
            TokenError::Storage(error) => Attempt::Network { error: format!("{error:#}") },
        })?;
        let (transport, known) = current();
        if known.is_some_and(|known| known.is_same(&token)) {
            return Ok((transport, Some(token)));
        }
        let fresh = smtp(&server.mailbox, &server.settings, Some(&token), self.limits)
            .map_err(|error| Attempt::Temporary { answer: format!("{error:#}") })?;
        *server.transport.lock().unwrap_or_else(PoisonError::into_inner) =
            (fresh.clone(), Some(token.clone()));
        Ok((fresh, Some(token)))
    }

    /// Tries once, and says whether the login was what failed.
    async fn try_by(
        &self,
        server: &Server,
        transport: &Transport,
        limit: Duration,
        envelope: &Envelope,
        content: &[u8],
    ) -> (Attempt, bool) {
        let settings = &server.settings;
        let limit = self.limits.conversation.min(limit);
        // A server that says nothing at all is left soon, so that the others' mail goes on.
        let greeting = self.limits.connect.min(limit);
        let (sent, limit) = match tokio::time::timeout(greeting, transport.test_connection()).await {
            Ok(Ok(_)) => (tokio::time::timeout(limit, transport.send_raw(envelope, content)).await, limit),
            Ok(Err(error)) => (Ok(Err(error)), greeting),
            Err(elapsed) => (Err(elapsed), greeting),
        };
        match sent {
            Ok(Ok(response)) => {
                let said = response.message().collect::<Vec<_>>().join(" ");
                (Attempt::Sent { answer: format!("{} {said}", response.code()) }, false)
            }
            Ok(Err(error)) => (classify(&error, settings), is_about_login(&error, settings)),
            Err(_elapsed) => {
                let mut current = server.transport.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(fresh) = smtp(&server.mailbox, settings, current.1.as_ref(), self.limits) {
                    current.0 = fresh;
                }
                (Attempt::Network { error: format!("no answer within {limit:?}") }, false)
            }
        }
    }

    /// Connects, logs in and says goodbye: for `doctor`.
    pub async fn check(&self, mailbox: &str) -> anyhow::Result<String> {
        match self.ways.get(mailbox) {
            Some(Way::Smtp(server)) => {
                let settings = &server.settings;
                let place = format!("smtp {}:{}", settings.host, settings.port());
                let current = match self.transport(server).await {
                    Ok((current, _)) => current,
                    Err(attempt) => anyhow::bail!("{place}: {}", said(attempt)),
                };
                let limit = self.limits.connect;
                match tokio::time::timeout(limit, current.test_connection()).await {
                    Ok(Ok(true)) => Ok(format!(
                        "{place} answers{}",
                        if settings.user.is_some() { " and takes the login" } else { "" }
                    )),
                    Ok(Ok(false)) => anyhow::bail!("{place} does not take commands"),
                    Ok(Err(error)) => anyhow::bail!("{place}: {}", explained(&error, settings)),
                    Err(_elapsed) => anyhow::bail!("{place}: {SILENT} (no answer within {limit:?})"),
                }
            }
            Some(Way::Folder(folder)) => {
                tokio::fs::create_dir_all(folder)
                    .await
                    .with_context(|| format!("cannot make {}", folder.display()))?;
                Ok(format!("mails are written to {}", folder.display()))
            }
            None => anyhow::bail!("mailbox `{mailbox}` is not in the configuration"),
        }
    }
}

/// Whole or not at all: a reader of the folder never sees half a mail.
async fn write_whole(
    folder: &std::path::Path,
    path: &std::path::Path,
    content: &[u8],
) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let unfinished = path.with_extension("part");
    tokio::fs::write(&unfinished, content).await?;
    tokio::fs::rename(&unfinished, path).await
}

fn way(mailbox: &Mailbox, limits: Limits) -> anyhow::Result<Way> {
    match (&mailbox.smtp, &mailbox.outbox_dir) {
        (Some(settings), _) => {
            let grant = settings.oauth.as_ref().map(|oauth| Grant::new(&mailbox.name, oauth));
            grant.as_ref().map_or(Ok(()), Grant::check)?;
            Ok(Way::Smtp(Box::new(Server {
                mailbox: mailbox.name.clone(),
                settings: settings.clone(),
                grant,
                transport: Mutex::new((smtp(&mailbox.name, settings, None, limits)?, None)),
            })))
        }
        (None, Some(folder)) => Ok(Way::Folder(folder.clone())),
        (None, None) => anyhow::bail!("mailbox {}: has no way out", mailbox.name),
    }
}

fn smtp(
    mailbox: &str,
    settings: &Smtp,
    token: Option<&AccessToken>,
    limits: Limits,
) -> anyhow::Result<Transport> {
    let mut parameters = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path)
            .with_context(|| format!("mailbox {mailbox}: cannot read smtp.ca_file {}", path.display()))?;
        let certificate = Certificate::from_pem(&pem).with_context(|| {
            format!("mailbox {mailbox}: smtp.ca_file {} holds no certificate", path.display())
        })?;
        parameters = parameters.add_root_certificate(certificate);
    }
    let parameters = parameters.build().with_context(|| format!("mailbox {mailbox}: smtp TLS"))?;
    let tls = match settings.tls {
        Tls::Implicit => LettreTls::Wrapper(parameters),
        Tls::StartTls => LettreTls::Required(parameters),
        Tls::None if is_loopback(&settings.host) => LettreTls::None,
        Tls::None => anyhow::bail!(
            "mailbox {mailbox}: smtp.tls = \"none\" is for loopback addresses only: {} is none",
            settings.host
        ),
    };
    let mut builder = Transport::builder_dangerous(&settings.host)
        .port(settings.port())
        .tls(tls)
        .timeout(Some(limits.connect))
        .pool_config(PoolConfig::new().max_size(4).idle_timeout(Duration::from_secs(30)));
    if settings.oauth.is_some() {
        if let (Some(user), Some(token)) = (settings.user.clone(), token) {
            let token = token.secret.expose_secret().to_owned();
            builder =
                builder.credentials(Credentials::new(user, token)).authentication(vec![Mechanism::Xoauth2]);
        }
    } else if let Some((user, password)) = settings.login(mailbox)? {
        builder = builder.credentials(Credentials::new(user, password.expose_secret().to_owned()));
    }
    Ok(builder.build())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An empty sender is the null reverse-path (RFC 5321 §4.5.5).
fn envelope(from: &str, to: &str) -> anyhow::Result<Envelope> {
    let from: Option<Address> = if from.is_empty() {
        None
    } else {
        Some(from.parse().context("our own address cannot be mailed from")?)
    };
    let to: Address = to.parse().context("the address cannot be mailed to")?;
    Envelope::new(from, vec![to]).context("the envelope cannot be written")
}

/// What an error means for the mail. A login that is not accepted says nothing about the mail, although its code is
/// 5xx (RFC 4954 §6): the mail waits until somebody has put the password right.
fn classify(error: &lettre::transport::smtp::Error, settings: &Smtp) -> Attempt {
    if is_about_login(error, settings) {
        Attempt::Temporary { answer: explained(error, settings) }
    } else if error.is_permanent() {
        Attempt::Permanent { answer: chain(error) }
    } else if error.is_transient() {
        Attempt::Temporary { answer: chain(error) }
    } else {
        Attempt::Network { error: explained(error, settings) }
    }
}

fn is_about_login(error: &lettre::transport::smtp::Error, settings: &Smtp) -> bool {
    let is_code = error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
    // To a token that it does not take a server gives its reason as one more challenge, and lettre, which expects none,
    // leaves before the server has come to its 535 (RFC 7628 §3.2.3, as XOAUTH2 has it).
    is_code || settings.oauth.is_some() && error.is_client() && chain(error).contains("challenge")
}

/// What an attempt ended with.
fn said(attempt: Attempt) -> String {
    match attempt {
        Attempt::Sent { answer } | Attempt::Permanent { answer } | Attempt::Temporary { answer } => answer,
        Attempt::Network { error } => error,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text.replace(['\r', '\n'], " ")
}

/// The error behind what to do about it, where that is known.
fn explained(error: &lettre::transport::smtp::Error, settings: &Smtp) -> String {
    let text = chain(error);
    match hint(error, &text, settings) {
        Some(hint) => format!("{hint} ({text})"),
        None => text,
    }
}

const SILENT: &str = "the server says nothing: is it the right port for smtp.tls?";

fn hint(error: &lettre::transport::smtp::Error, text: &str, settings: &Smtp) -> Option<&'static str> {
    Some(if is_about_login(error, settings) && settings.oauth.is_some() {
        "the server refused the access token: check smtp.user, that the token is for that account and its scope covers SMTP"
    } else if is_about_login(error, settings) && settings.user.is_none() {
        "the server wants a login: set smtp.user and smtp.password_file"
    } else if is_about_login(error, settings) {
        "the server refused the login: check smtp.user and the password file (with two-factor log-in: an app password)"
    } else if text.contains("refused") {
        "nothing listens there: check smtp.host and smtp.port"
    } else if text.contains("lookup") || text.contains("resolve") || text.contains("not known") {
        "the name is not known: check smtp.host"
    } else if text.contains("xpired") {
        "the server's certificate has expired: the server needs a new one"
    } else if text.contains("ertificate") || text.contains("UnknownIssuer") {
        "the server's certificate is not trusted: give its authority as smtp.ca_file"
    } else if settings.tls == Tls::Implicit && text.contains("corrupt") {
        "the port does not speak TLS at once: is smtp.tls = \"starttls\" meant?"
    } else if error.is_timeout() {
        SILENT
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::DELIVER;

    #[test]
    fn a_server_has_the_time_that_the_standard_gives_it_and_the_lease_lasts_longer() {
        let limit = Limits::default().conversation;
        assert!(limit > Duration::from_mins(10), "RFC 5321 §4.5.3.2.6");
        assert!(DELIVER.time_limit() > limit, "a slow server would get a mail again and again");
    }
}
