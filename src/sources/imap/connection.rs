//! One connection to a mail server: reaching it, logging in, and commands that can neither hang nor end half-way
//! unnoticed.
//!
//! async-imap has no time-outs, and where the server answers NO or hangs up in the middle, its streams just end,
//! as if there were no more mail. So commands go through [`Connection::command`], which knows the difference.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_imap::imap_proto::{Capability, MailboxDatum, Outcome, RequestId, Response, ResponseCode, Status};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::login::{self, Login};
use super::{folder, tls};
use crate::config::Tls;
use crate::oauth::AccessToken;

/// How long reaching the server may take, all its addresses together.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may take to answer a command that is no work.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to end IDLE: a connection that died silently shows here.
const DONE: Duration = Duration::from_secs(15);
/// How much of what a server says is repeated to people.
const LONGEST_QUOTE: usize = 200;
/// How many folder names are worth listing.
const MOST_FOLDERS: usize = 30;

/// How to reach a mailbox.
#[derive(Clone, Debug)]
pub struct ImapSettings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub user: String,
    pub login: Login,
    /// An authority to trust beside the known ones, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The folder that is read, as people write it.
    pub folder: String,
}

/// Why a mailbox can't be read. The texts name cause and remedy; none holds an address, a password or mail.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    /// No connection, or none that may be used.
    #[error("{0}")]
    Unreachable(String),
    /// User and password were not accepted: trying again soon would lock the account.
    #[error("{0}")]
    LoginRefused(String),
    /// The token server does not let us in any more: nothing is asked until somebody has acted.
    #[error("{0}")]
    GrantRefused(String),
    /// The folder can't be opened: there is none, or no right to it.
    #[error("{0}")]
    NoFolder(String),
    /// There is a new access token, and servers end sessions that were opened with an old one.
    #[error("there is a new access token")]
    TokenRenewed,
    /// The server said NO or BAD; the connection lives.
    #[error("{0}")]
    Refused(String),
    /// The server gives no content for a mail that it lists.
    #[error("the server lists a mail but does not give its content")]
    Withheld,
    /// The server does not do IDLE, whatever it announced; the connection lives.
    #[error("the server does not start IDLE")]
    NoIdle,
    /// The connection is gone, or silent for too long.
    #[error("{0}")]
    Lost(String),
    /// An answer that is no IMAP. Its text may be mail, so it is not repeated.
    #[error("the server's answer can't be understood")]
    Unparsable,
    /// Our own side: the database.
    #[error(transparent)]
    Storage(#[from] anyhow::Error),
}

pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Transport for T {}

/// Buffered, so that a command is one packet and a mail is not read 4 KiB at a time.
pub(super) type Wire = BufStream<Box<dyn Transport>>;
pub(super) type Client = async_imap::Client<Wire>;

/// What the server can do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities {
    pub(super) idle: bool,
    /// MOVE (RFC 6851).
    pub(super) moves: bool,
    /// UID EXPUNGE (RFC 4315).
    pub(super) uidplus: bool,
}

/// A folder as it was when it was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) uidvalidity: u32,
    pub(super) uidnext: Option<u32>,
}

/// A logged-in session.
#[derive(Debug)]
pub struct Connection {
    session: async_imap::Session<Wire>,
    /// What it was opened with, where that ends.
    pub(super) token: Option<AccessToken>,
    pub(super) abilities: Abilities,
    /// The server announced mail since this was last set to false.
    pub(super) news: bool,
}

impl Connection {
    /// Connects and logs in. `mailbox` is its name in the configuration, for the error's text.
    ///
    /// An access token that is refused may have been revoked before its time: it is tried once more with another one.
    pub async fn open(mailbox: &str, settings: &ImapSettings) -> Result<Self, ImapError> {
        let Login::OAuth(oauth) = &settings.login else {
            return Self::try_open(mailbox, settings, None).await;
        };
        let token = oauth.token().await?;
        match Self::try_open(mailbox, settings, Some(token.clone())).await {
            Err(ImapError::LoginRefused(_)) if oauth.refused(&token).await => {
                Self::try_open(mailbox, settings, Some(oauth.token().await?)).await
            }
            opened => opened,
        }
    }

    async fn try_open(
        mailbox: &str,
        settings: &ImapSettings,
        token: Option<AccessToken>,
    ) -> Result<Self, ImapError> {
        let tcp = connect(settings).await?;
        let client = match settings.tls {
            Tls::Implicit => greeted(settings, buffered(encrypted(settings, tcp).await?)).await?,
            Tls::StartTls => {
                let plain = starttls(settings, greeted(settings, buffered(Box::new(tcp))).await?).await?;
                async_imap::Client::new(buffered(encrypted(settings, plain).await?))
            }
            Tls::None => greeted(settings, buffered(Box::new(tcp))).await?,
        };
        let session = login::login(mailbox, settings, token.as_ref(), client).await?;
        let mut connection = Self { session, token, abilities: Abilities::default(), news: false };
        connection.abilities = connection.ask_abilities().await?;
        Ok(connection)
    }

    async fn ask_abilities(&mut self) -> Result<Abilities, ImapError> {
        let mut abilities = Abilities::default();
        self.command("CAPABILITY", ANSWER, |response| {
            let Response::Capabilities(all) = response else { return };
            for capability in all {
                match capability {
                    Capability::Atom(name) if name.eq_ignore_ascii_case("IDLE") => abilities.idle = true,
                    Capability::Atom(name) if name.eq_ignore_ascii_case("MOVE") => abilities.moves = true,
                    Capability::Atom(name) if name.eq_ignore_ascii_case("UIDPLUS") => {
                        abilities.uidplus = true;
                    }
                    Capability::Imap4rev1 | Capability::Auth(_) | Capability::Atom(_) => {}
                }
            }
        })
        .await?;
        Ok(abilities)
    }

    /// Runs one command, hands over every untagged answer, and returns when the server has completed it with OK.
    /// `patience` is for each answer, not for all of them.
    pub(super) async fn command(
        &mut self,
        command: &str,
        patience: Duration,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<(), ImapError> {
        let tag = within(patience, self.session.run_command(command)).await?;
        self.completed(&tag, command, patience, &mut each).await
    }

    /// Reads until the command with this tag is completed.
    async fn completed(
        &mut self,
        tag: &RequestId,
        command: &str,
        patience: Duration,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<(), ImapError> {
        let mut lost = ImapError::Lost("the server closed the connection".to_owned());
        loop {
            let answer = within(patience, async { Ok(self.session.read_response().await?) }).await?;
            let Some(answer) = answer else { return Err(lost) };
            match answer.parsed() {
                Response::Done { tag: done, status: Status::Ok, .. } if done == tag => return Ok(()),
                Response::Done { tag: done, outcome, .. } if done == tag => {
                    let said = quote(outcome.information.as_deref().unwrap_or_default());
                    return Err(ImapError::Refused(format!("the server refuses {}: {said}", verb(command))));
                }
                Response::Data { status: Status::Bye, outcome } => lost = goodbye(outcome),
                response => {
                    self.news |= matches!(response, Response::MailboxData(MailboxDatum::Exists(_)));
                    each(response);
                }
            }
        }
    }

    /// Opens a folder; read-only where nothing in it will be changed.
    pub(super) async fn select(&mut self, name: &str, read_only: bool) -> Result<Opened, ImapError> {
        let verb = if read_only { "EXAMINE" } else { "SELECT" };
        let (mut uidvalidity, mut uidnext) = (None, None);
        let command = format!("{verb} {}", folder::argument(name));
        let selected = self
            .command(&command, ANSWER, |response| {
                let Response::Data { status: Status::Ok, outcome } = response else { return };
                match outcome.code {
                    Some(ResponseCode::UidValidity(value)) => uidvalidity = Some(value),
                    Some(ResponseCode::UidNext(value)) => uidnext = Some(value),
                    _ => {}
                }
            })
            .await;
        match selected {
            Err(ImapError::Refused(said)) => Err(self.explain_refused_folder(name, &said).await),
            Err(other) => Err(other),
            Ok(()) => {
                self.news = false;
                let none = "the server gives the folder no UIDVALIDITY, so its mails can't be told apart";
                let uidvalidity = uidvalidity.ok_or_else(|| ImapError::Refused(none.to_owned()))?;
                Ok(Opened { uidvalidity, uidnext })
            }
        }
    }

    async fn explain_refused_folder(&mut self, name: &str, said: &str) -> ImapError {
        let mut names = Vec::new();
        let listed = self
            .command(r#"LIST "" "*""#, ANSWER, |response| {
                if let Response::MailboxData(MailboxDatum::List(listed)) = response {
                    names.push(folder::decode(&listed.name));
                }
            })
            .await;
        if let Err(error) = listed {
            return error;
        }
        names.sort();
        if names.iter().any(|known| folder::same(known, name)) {
            return ImapError::NoFolder(format!("the folder `{name}` can't be opened: {said}"));
        }
        let more = if names.len() > MOST_FOLDERS { ", …" } else { "" };
        names.truncate(MOST_FOLDERS);
        let known = names.join(", ");
        ImapError::NoFolder(format!("there is no folder `{name}`: set imap.folder to one of: {known}{more}"))
    }

    /// Waits until the server announces mail, or `renew` has passed (IDLE, RFC 2177).
    ///
    /// Not by async-imap's `idle`, which shows a dead connection as an interruption, waits for ever where the server
    /// says NO, and restarts its time-out at each of the server's keepalives.
    pub(super) async fn idle(&mut self, renew: Duration) -> Result<(), ImapError> {
        let tag = within(ANSWER, self.session.run_command("IDLE")).await?;
        let deadline = tokio::time::Instant::now() + renew;
        let mut started = false;
        loop {
            // Mail that is announced before the server starts to idle is not announced again.
            if started && self.news {
                break;
            }
            let until = if started { deadline } else { tokio::time::Instant::now() + ANSWER };
            let Ok(answer) = tokio::time::timeout_at(until, self.session.read_response()).await else {
                if started {
                    break;
                }
                return Err(silent(ANSWER));
            };
            let Some(answer) = answer.map_err(|error| translate(error.into()))? else {
                return Err(ImapError::Lost("the connection broke while it was idle".to_owned()));
            };
            match answer.parsed() {
                Response::Continue(_) => started = true,
                Response::Done { tag: done, .. } if *done == tag => {
                    return if started { Ok(()) } else { Err(ImapError::NoIdle) };
                }
                Response::Data { status: Status::Bye, outcome } => return Err(goodbye(outcome)),
                Response::MailboxData(_) => self.news = true,
                // Keepalives, and flags that somebody changed.
                _ => {}
            }
        }
        within(DONE, self.session.run_command_untagged("DONE")).await?;
        self.completed(&tag, "IDLE", DONE, |_| {}).await
    }

    /// The bare connection, between two commands.
    pub(super) fn wire(&mut self) -> &mut Wire {
        self.session.as_mut()
    }

    /// Says goodbye. What the server thinks of it does not matter.
    pub async fn close(mut self) {
        if let Err(error) = within(DONE, self.session.logout()).await {
            tracing::debug!("logging out: {error}");
        }
    }
}

/// Tries a mailbox out: logs in, opens its folder, counts the mails in it. Changes nothing.
pub async fn check(mailbox: &str, settings: &ImapSettings) -> Result<u32, ImapError> {
    let mut connection = Connection::open(mailbox, settings).await?;
    connection.select(&settings.folder, true).await?;
    let mut count = 0;
    let command = format!("STATUS {} (MESSAGES)", folder::argument(&settings.folder));
    connection
        .command(&command, ANSWER, |response| {
            use async_imap::imap_proto::StatusAttribute;
            let Response::MailboxData(MailboxDatum::Status { status, .. }) = response else { return };
            for attribute in status {
                if let StatusAttribute::Messages(messages) = attribute {
                    count = *messages;
                }
            }
        })
        .await?;
    connection.close().await;
    Ok(count)
}

pub(super) fn server(settings: &ImapSettings) -> String {
    format!("{}:{}", settings.host, settings.port)
}

async fn connect(settings: &ImapSettings) -> Result<TcpStream, ImapError> {
    let server = server(settings);
    let addresses = resolve(settings).await?;
    let attempt = async {
        let mut failure = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure)
    };
    let stream = match tokio::time::timeout(CONNECT, attempt).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(Some(error))) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(ImapError::Unreachable(format!(
                "{server} refuses connections: check imap.port (993 for implicit TLS, 143 for starttls) and whether \
                 the server runs"
            )));
        }
        Ok(Err(Some(error))) => {
            return Err(ImapError::Unreachable(format!("cannot connect to {server}: {error}")));
        }
        Ok(Err(None)) => {
            return Err(ImapError::Unreachable(format!("{} has no address: check imap.host", settings.host)));
        }
        Err(_) => {
            let limit = CONNECT.as_secs();
            return Err(ImapError::Unreachable(format!(
                "{server} does not answer within {limit} s: check imap.host, imap.port and the firewall"
            )));
        }
    };
    // An idle connection whose other end vanished is noticed within two minutes, not two hours.
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));
    let tuned = SockRef::from(&stream).set_tcp_keepalive(&keepalive).and_then(|()| stream.set_nodelay(true));
    if let Err(error) = tuned {
        tracing::debug!("connection options: {error}");
    }
    Ok(stream)
}

async fn resolve(settings: &ImapSettings) -> Result<Vec<SocketAddr>, ImapError> {
    let host = settings.host.as_str();
    let looked_up = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host, settings.port))).await;
    let addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            return Err(ImapError::Unreachable(format!(
                "cannot find the server {host}: check imap.host ({error})"
            )));
        }
        Err(_) => {
            return Err(ImapError::Unreachable(format!(
                "cannot look up {host}: the name server does not answer"
            )));
        }
    };
    match addresses.iter().find(|address| !address.ip().is_loopback()) {
        Some(remote) if settings.tls == Tls::None => Err(ImapError::Unreachable(format!(
            "imap.tls = \"none\" would send the password in the clear, and is for this machine only, but {host} is elsewhere ({}): \
             use \"implicit\" or \"starttls\"",
            remote.ip()
        ))),
        _ => Ok(addresses),
    }
}

fn buffered(stream: Box<dyn Transport>) -> Wire {
    BufStream::with_capacity(64 * 1024, 8 * 1024, stream)
}

async fn encrypted(
    settings: &ImapSettings,
    stream: impl Transport + 'static,
) -> Result<Box<dyn Transport>, ImapError> {
    let server = server(settings);
    let config = tls::client(settings.ca_file.clone()).await?;
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|error| ImapError::Unreachable(format!("imap.host is no host name: {error}")))?;
    match tokio::time::timeout(ANSWER, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(ImapError::Unreachable(tls::explain(&server, &error))),
        Err(_) => Err(ImapError::Unreachable(format!(
            "{server} does not answer the TLS handshake: is it a TLS port?"
        ))),
    }
}

/// Reads the greeting.
async fn greeted(settings: &ImapSettings, wire: Wire) -> Result<Client, ImapError> {
    let server = server(settings);
    let mut client = async_imap::Client::new(wire);
    let greeting = match tokio::time::timeout(ANSWER, client.read_response()).await {
        Ok(Ok(Some(greeting))) => greeting,
        Ok(Ok(None)) => {
            return Err(ImapError::Unreachable(format!("{server} closed the connection without a greeting")));
        }
        Ok(Err(_)) => {
            return Err(ImapError::Unreachable(format!(
                "{server} does not speak IMAP: check imap.host and imap.port"
            )));
        }
        Err(_) => {
            return Err(ImapError::Unreachable(format!(
                "{server} says nothing: if it speaks TLS from the first byte (port 993), set imap.tls = \"implicit\""
            )));
        }
    };
    match greeting.parsed() {
        Response::Data { status: Status::Ok, .. } => Ok(client),
        Response::Data { status: Status::Bye, outcome } => {
            let said = quote(outcome.information.as_deref().unwrap_or_default());
            Err(ImapError::Unreachable(format!("{server} turned us away: {said}")))
        }
        // PREAUTH before STARTTLS is how TLS is stripped off (RFC 9051 §11.1); elsewhere nobody configures it.
        _ => {
            Err(ImapError::Unreachable(format!("{server} greets like no IMAP server that one can log in to")))
        }
    }
}

/// Asks for TLS and gives back the bare stream. What the server sent ahead in the clear is thrown away.
async fn starttls(settings: &ImapSettings, mut client: Client) -> Result<Box<dyn Transport>, ImapError> {
    match within(ANSWER, client.run_command_and_check_ok("STARTTLS", None)).await {
        Ok(()) => Ok(client.into_inner().into_inner()),
        Err(ImapError::Refused(said)) => Err(ImapError::Unreachable(format!(
            "{} offers no STARTTLS ({said}): set imap.tls = \"implicit\" and imap.port to its TLS port (993)",
            server(settings)
        ))),
        Err(other) => Err(other),
    }
}

/// Runs a step of the dialogue under a time limit.
pub(super) async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, async_imap::error::Error>>,
) -> Result<T, ImapError> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result.map_err(translate),
        Err(_) => Err(silent(limit)),
    }
}

pub(super) fn silent(limit: Duration) -> ImapError {
    ImapError::Lost(format!("the server was silent for {} s", limit.as_secs()))
}

fn goodbye(outcome: &Outcome<'_>) -> ImapError {
    let said = quote(outcome.information.as_deref().unwrap_or_default());
    ImapError::Lost(format!("the server closed the connection: {said}"))
}

fn translate(error: async_imap::error::Error) -> ImapError {
    use async_imap::error::Error;
    match error {
        // async-imap's way to say that it can't parse: the text holds what it was given.
        Error::Io(error) if error.kind() == std::io::ErrorKind::Other => ImapError::Unparsable,
        Error::Io(error) => ImapError::Lost(format!("the connection broke: {error}")),
        Error::Bad(said) | Error::No(said) => ImapError::Refused(quote(information(&said))),
        Error::Validate(_) => ImapError::Refused("user or password holds a line break".to_owned()),
        Error::Parse(_) => ImapError::Unparsable,
        _ => ImapError::Lost("the server closed the connection".to_owned()),
    }
}

/// The server's words in an error of async-imap, which looks like `code: None, info: Some("words")`.
fn information(error: &str) -> &str {
    let words = error.split_once("info: Some(\"").and_then(|(_, words)| words.strip_suffix("\")"));
    words.unwrap_or("(no reason)")
}

/// The command without its arguments: those may be names that people chose.
fn verb(command: &str) -> String {
    let words = if command.starts_with("UID ") { 2 } else { 1 };
    command.split(' ').take(words).collect::<Vec<_>>().join(" ")
}

/// What a server said, fit for one line of a log.
fn quote(said: &str) -> String {
    let printable = said.chars().filter(|c| !c.is_control());
    let mut quote: String = printable.take(LONGEST_QUOTE).collect();
    if quote.is_empty() {
        quote.push_str("(no reason)");
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_found_and_cut() {
        assert_eq!(
            information(r#"code: None, info: Some("[AUTHENTICATIONFAILED] No.")"#),
            "[AUTHENTICATIONFAILED] No."
        );
        assert_eq!(information("code: None, info: None"), "(no reason)");
        assert_eq!(quote("a\r\nb"), "ab");
        assert_eq!(quote(""), "(no reason)");
        assert_eq!(quote(&"ä".repeat(300)).chars().count(), LONGEST_QUOTE);
    }
}
