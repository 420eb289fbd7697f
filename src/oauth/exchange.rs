//! One question to a token server: an access token for a refresh token (RFC 6749 §6). Its answers are not trusted.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::config::OAuth;

/// The whole of it; less than a lease on the grant.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// No answer of a token server is longer.
const LONGEST_ANSWER: usize = 64 * 1024;
/// No token is: a mail server would not take the line.
const LONGEST_TOKEN: usize = 8 * 1024;
/// The life of a token of which nothing else is said (RFC 6749 §5.1 only recommends that it is).
const USUAL_LIFE: i64 = 3600;
const SHORTEST_LIFE: i64 = 30;
const LONGEST_LIFE: i64 = 24 * 3600;

/// What a token server gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access_token: SecretString,
    pub(super) life: TimeDelta,
    /// To be used instead of the one that was shown.
    pub(super) refresh_token: Option<SecretString>,
}

/// Why it gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It will not, however often it is asked; the code is one of RFC 6749 §5.2 or the server's own.
    Refused(String),
    /// It can't at the moment, or what it says makes no sense.
    Unavailable(String),
}

/// Asks token servers.
#[derive(Debug)]
pub(super) struct Exchange {
    remote: reqwest::Client,
    /// A proxy of the environment can't reach our own loopback.
    loopback: reqwest::Client,
}

impl Exchange {
    pub(super) fn new() -> anyhow::Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .use_rustls_tls()
                .connect_timeout(CONNECT_WITHIN)
                .timeout(PATIENCE)
                // Who is sent elsewhere would show the refresh token there.
                .redirect(reqwest::redirect::Policy::none())
        };
        let made = "cannot make an HTTP client for token servers";
        Ok(Self {
            remote: builder().build().context(made)?,
            loopback: builder().no_proxy().build().context(made)?,
        })
    }

    pub(super) async fn refresh(
        &self,
        config: &OAuth,
        client_secret: Option<&SecretString>,
        refresh_token: &SecretString,
    ) -> Result<Granted, Denied> {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", &config.client_id),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        // In the body, as Google and Microsoft document it (RFC 6749 §2.3.1).
        form.extend(client_secret.map(|secret| ("client_secret", secret.expose_secret())));
        form.extend(config.scope.as_deref().map(|scope| ("scope", scope)));
        // Plain http is for loopback addresses only: the configuration is checked for that.
        let is_plain = config.token_url.starts_with("http://");
        let client = if is_plain { &self.loopback } else { &self.remote };
        let mut response =
            client.post(&config.token_url).form(&form).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(Denied::Unavailable("its answer is too long to be one".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        read(status, &body)
    }
}

/// In our own words: reqwest's have the URL in them.
fn unreachable(error: &reqwest::Error) -> Denied {
    Denied::Unavailable(
        if error.is_timeout() {
            "it does not answer in time"
        } else if error.is_connect() {
            "no connection: check oauth.token_url and the network"
        } else {
            "the connection was lost"
        }
        .to_owned(),
    )
}

fn read(status: u16, body: &[u8]) -> Result<Granted, Denied> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let text = |key: &str| answer.as_ref().and_then(|answer| answer.get(key)).and_then(Value::as_str);
    if matches!(status, 400 | 401) {
        return Err(match text("error").filter(|code| is_code(code)) {
            Some(code) if !is_passing(code) => Denied::Refused(with_detail(code, text("error_description"))),
            Some(code) => Denied::Unavailable(format!("it said {code}")),
            None => Denied::Unavailable(format!("it answered with HTTP status {status}")),
        });
    }
    if status != 200 {
        return Err(Denied::Unavailable(format!("it answered with HTTP status {status}")));
    }
    let nonsense = || Denied::Unavailable("its answer holds no usable access token".to_owned());
    let access_token = text("access_token").filter(|token| is_token(token)).ok_or_else(nonsense)?;
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(nonsense());
    }
    Ok(Granted {
        access_token: access_token.to_owned().into(),
        life: life(answer.as_ref().and_then(|answer| answer.get("expires_in"))),
        refresh_token: text("refresh_token")
            .filter(|token| is_token(token))
            .map(|token| token.to_owned().into()),
    })
}

/// Some servers write the number as text.
fn life(expires_in: Option<&Value>) -> TimeDelta {
    let seconds = expires_in.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    TimeDelta::seconds(seconds.unwrap_or(USUAL_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE))
}

/// VSCHAR without the space (RFC 6749 appendix A; RFC 6750 §2.1): a token with a control character in it would end the
/// field of the SASL message that it stands in.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_code(code: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !code.is_empty() && code.len() <= 60 && code.bytes().all(known)
}

/// Codes of other pages of the standards that say: later.
fn is_passing(code: &str) -> bool {
    matches!(code, "temporarily_unavailable" | "server_error" | "slow_down")
}

/// Microsoft's number of the fault. The rest of a description may name people.
fn with_detail(code: &str, description: Option<&str>) -> String {
    let first = description.and_then(|text| text.split([':', ' ']).next()).unwrap_or_default();
    let number = first.strip_prefix("AADSTS").filter(|number| {
        !number.is_empty() && number.len() <= 12 && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    number.map_or_else(|| code.to_owned(), |number| format!("{code}, AADSTS{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_a_refusal_or_to_be_asked_for_again() {
        let said = |status: u16, body: &str| match read(status, body.as_bytes()) {
            Ok(granted) => format!(
                "{} for {} s, then {:?}",
                granted.access_token.expose_secret(),
                granted.life.num_seconds(),
                granted.refresh_token.map(|token| token.expose_secret().to_owned())
            ),
            Err(denied) => format!("{denied:?}"),
        };
        let lines = [
            said(
                200,
                r#"{"access_token":"at","expires_in":3599,"token_type":"Bearer","refresh_token":"rt2"}"#,
            ),
            said(200, r#"{"access_token":"at","expires_in":"600"}"#),
            said(200, r#"{"access_token":"at","expires_in":-5,"refresh_token":"a\u0001b"}"#),
            said(200, r#"{"access_token":"at\u0001auth=Bearer other"}"#),
            said(200, r#"{"access_token":"at","token_type":"mac"}"#),
            said(200, "<html>"),
            said(
                400,
                r#"{"error":"invalid_grant","error_description":"Token of ada@example.net has been revoked."}"#,
            ),
            said(
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired."}"#,
            ),
            said(401, r#"{"error":"invalid_client"}"#),
            said(400, r#"{"error":"temporarily_unavailable"}"#),
            said(400, r#"{"error":"no code\r\n"}"#),
            said(403, "{}"),
            said(302, ""),
            said(503, r#"{"error":"invalid_grant"}"#),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        at for 3599 s, then Some("rt2")
        at for 600 s, then None
        at for 30 s, then None
        Unavailable("its answer holds no usable access token")
        Unavailable("its answer holds no usable access token")
        Unavailable("its answer holds no usable access token")
        Refused("invalid_grant")
        Refused("invalid_grant, AADSTS700082")
        Refused("invalid_client")
        Unavailable("it said temporarily_unavailable")
        Unavailable("it answered with HTTP status 400")
        Unavailable("it answered with HTTP status 403")
        Unavailable("it answered with HTTP status 302")
        Unavailable("it answered with HTTP status 503")
        "#);
    }
}
