//! Logging in: by password, or by an access token (OAuth).

use async_imap::imap_proto::{Capability, Response};
use async_imap::types::UnsolicitedResponse;
use secrecy::{ExposeSecret, SecretString};

use super::connection::{ANSWER, Client, ImapError, ImapSettings, Wire, within};
use crate::config::Mechanism;
use crate::oauth::{AccessToken, Grant, TokenError, Tokens};

/// What a mailbox is logged in to with.
#[derive(Clone, Debug)]
pub enum Login {
    Password(SecretString),
    OAuth(Box<OAuth>),
}

/// A login by access tokens.
#[derive(Clone, Debug)]
pub struct OAuth {
    pub tokens: Tokens,
    pub grant: Grant,
    /// `None`: what the server announces.
    pub mechanism: Option<Mechanism>,
}

impl OAuth {
    pub(super) async fn token(&self) -> Result<AccessToken, ImapError> {
        self.tokens.token(&self.grant).await.map_err(|error| match error {
            TokenError::Refused(reason) => ImapError::GrantRefused(reason),
            TokenError::Unavailable(reason) => ImapError::Unreachable(reason),
            TokenError::Storage(error) => ImapError::Storage(error),
        })
    }

    /// Whether there may be a better one than that.
    pub(super) async fn refused(&self, token: &AccessToken) -> bool {
        self.tokens.refused(&self.grant, token).await
    }
}

/// The answer to AUTHENTICATE PLAIN (RFC 4616), for what LOGIN can't carry.
struct Plain<'a> {
    user: &'a str,
    password: &'a str,
}

impl async_imap::Authenticator for Plain<'_> {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        format!("\0{}\0{}", self.user, self.password)
    }
}

/// The answers to AUTHENTICATE XOAUTH2 and OAUTHBEARER: the token, and then, to the server's reason for refusing it, what
/// lets the server come to its end.
struct Bearer {
    answers: std::vec::IntoIter<String>,
}

impl Bearer {
    fn new(mechanism: Mechanism, settings: &ImapSettings, token: &AccessToken) -> Self {
        let (user, token) = (&settings.user, token.secret.expose_secret());
        let answers = match mechanism {
            // developers.google.com/workspace/gmail/imap/xoauth2-protocol
            Mechanism::XOAuth2 => vec![format!("user={user}\x01auth=Bearer {token}\x01\x01")],
            // RFC 7628 §3.1 and §3.2.3; in a name of GS2 (RFC 5801 §4) `=` and `,` are written otherwise.
            Mechanism::OAuthBearer => {
                let name = user.replace('=', "=3D").replace(',', "=2C");
                let ImapSettings { host, port, .. } = settings;
                vec![
                    format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"),
                    "\x01".to_owned(),
                ]
            }
        };
        Self { answers: answers.into_iter() }
    }
}

impl async_imap::Authenticator for Bearer {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        self.answers.next().unwrap_or_default()
    }
}

/// Logs in. Without a token by the password of the settings.
pub(super) async fn login(
    mailbox: &str,
    settings: &ImapSettings,
    token: Option<&AccessToken>,
    client: Client,
) -> Result<async_imap::Session<Wire>, ImapError> {
    match (&settings.login, token) {
        (Login::OAuth(oauth), Some(token)) => by_token(mailbox, settings, oauth, token, client).await,
        (Login::Password(password), _) => by_password(mailbox, settings, password, client).await,
        (Login::OAuth(_), None) => Err(ImapError::Unreachable("there is no access token".to_owned())),
    }
}

async fn by_password(
    mailbox: &str,
    settings: &ImapSettings,
    password: &SecretString,
    client: Client,
) -> Result<async_imap::Session<Wire>, ImapError> {
    let (user, password) = (settings.user.as_str(), password.expose_secret());
    let trying = async {
        if user.is_ascii() && password.is_ascii() {
            client.login(user, password).await.map_err(|(error, _)| error)
        } else {
            client.authenticate("PLAIN", Plain { user, password }).await.map_err(|(error, _)| error)
        }
    };
    within(ANSWER, trying).await.map_err(|error| {
        refused(error, &[password, user], |said| {
            format!(
                "the server refused login for the user of mailbox {mailbox}: check imap.user and imap.password_file \
                 (with two-factor authentication it takes an app password); it said: {said}"
            )
        })
    })
}

async fn by_token(
    mailbox: &str,
    settings: &ImapSettings,
    oauth: &OAuth,
    token: &AccessToken,
    mut client: Client,
) -> Result<async_imap::Session<Wire>, ImapError> {
    let mechanism = match oauth.mechanism {
        Some(mechanism) => mechanism,
        None => announced(&mut client).await?,
    };
    let name = match mechanism {
        Mechanism::XOAuth2 => "XOAUTH2",
        Mechanism::OAuthBearer => "OAUTHBEARER",
    };
    let bearer = Bearer::new(mechanism, settings, token);
    let trying = async { client.authenticate(name, bearer).await.map_err(|(error, _)| error) };
    let session = within(ANSWER, trying).await.map_err(|error| {
        refused(error, &[token.secret.expose_secret(), &settings.user], |said| {
            format!(
                "the server refused the access token of mailbox {mailbox} ({name}): check imap.user, that the token is \
                 for that account and its scope covers IMAP; it said: {said}"
            )
        })
    })?;
    oauth.tokens.accepted(&oauth.grant, token).await;
    Ok(session)
}

/// OAUTHBEARER where the server knows it; who announces neither is tried with what most know.
async fn announced(client: &mut Client) -> Result<Mechanism, ImapError> {
    let (sender, answers) = async_channel::bounded(16);
    within(ANSWER, client.run_command_and_check_ok("CAPABILITY", Some(sender))).await?;
    let mut best = Mechanism::XOAuth2;
    while let Ok(answer) = answers.try_recv() {
        let UnsolicitedResponse::Other(answer) = answer else { continue };
        let Response::Capabilities(all) = answer.parsed() else { continue };
        let is_bearer = |one: &Capability<'_>| matches!(one, Capability::Auth(name) if name.eq_ignore_ascii_case("OAUTHBEARER"));
        if all.iter().any(is_bearer) {
            best = Mechanism::OAuthBearer;
        }
    }
    Ok(best)
}

/// What a refusal means, without what must not be repeated.
fn refused(error: ImapError, secrets: &[&str], explain: impl FnOnce(&str) -> String) -> ImapError {
    let ImapError::Refused(said) = error else { return error };
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    let said = secrets.fold(said, |said, secret| said.replace(secret, "…"));
    // RFC 5530: the server's own trouble, not ours.
    if said.contains("UNAVAILABLE") {
        return ImapError::Unreachable(format!("the server can't log anyone in at the moment: {said}"));
    }
    ImapError::LoginRefused(explain(&said))
}
