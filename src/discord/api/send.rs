//! How one call reaches Discord: by serenity with its rate limiter, or directly with a loop of our own.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use serenity::http::{Http, HttpError, LightMethod, Request, Route};
use tokio::time::Instant;

use super::error::{ApiError, one_line, read_body, unreachable};
use crate::discord::message::File;

/// The largest JSON that is read: a hundred messages with all that hangs on them.
const LONGEST_BODY: usize = 8 << 20;
/// Tries in all where Discord says "too many requests".
const TRIES: usize = 6;
const DISCORD: &str = "https://discord.com";

/// One call.
pub(super) struct Call<'a> {
    pub(super) route: Route<'a>,
    pub(super) method: LightMethod,
    pub(super) body: Option<Value>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) files: &'a [File],
}

impl<'a> Call<'a> {
    pub(super) fn new(method: LightMethod, route: Route<'a>) -> Self {
        Self { route, method, body: None, query: Vec::new(), files: &[] }
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn files(mut self, files: &'a [File]) -> Self {
        self.files = files;
        self
    }
}

/// By serenity: its rate limiter waits before a route is used up, and repeats what was refused.
pub(super) async fn by_serenity(http: &Http, call: Call<'_>) -> Result<Value, ApiError> {
    let body = call.body.map(|body| body.to_string().into_bytes());
    let params = (!call.query.is_empty()).then_some(call.query);
    let request = Request::new(call.route, call.method).body(body).params(params);
    match http.request(request).await {
        Ok(response) => read(response).await,
        Err(error) => Err(sort(error)),
    }
}

fn sort(error: serenity::Error) -> ApiError {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) => {
            let (status, error) = (response.status_code.as_u16(), response.error);
            let faults: Vec<String> =
                error.errors.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
            // Serenity's word for a body that is not Discord's JSON.
            let message = (error.code != -1).then(|| one_line(error.message, &faults));
            ApiError::sort(status, i64::try_from(error.code).unwrap_or(0), message)
        }
        serenity::Error::Http(HttpError::Request(error)) => unreachable(error),
        other => ApiError::Unreachable(other.to_string()),
    }
}

/// Where and as whom direct calls are made.
pub(super) struct Direct {
    client: reqwest::Client,
    base: String,
    authorization: HeaderValue,
}

impl Direct {
    pub(super) fn new(client: reqwest::Client, base: Option<&str>, token: &str) -> anyhow::Result<Self> {
        let Ok(mut authorization) = HeaderValue::from_str(&format!("Bot {token}")) else {
            anyhow::bail!("discord: the token has characters that no token has")
        };
        authorization.set_sensitive(true);
        let base = base.unwrap_or(DISCORD).trim_end_matches('/').to_owned();
        Ok(Self { client, base, authorization })
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Waits out "too many requests" as long as the deadline allows.
    pub(super) async fn call(&self, call: Call<'_>, deadline: Instant) -> Result<Value, ApiError> {
        for _ in 1..TRIES {
            match self.once(&call).await {
                Err(ApiError::RateLimited(wait)) if Instant::now() + wait < deadline => {
                    tokio::time::sleep(wait).await;
                }
                other => return other,
            }
        }
        self.once(&call).await
    }

    async fn once(&self, call: &Call<'_>) -> Result<Value, ApiError> {
        let url = call.route.path().replacen(DISCORD, &self.base, 1);
        let mut request = self
            .client
            .request(call.method.reqwest_method(), url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT, serenity::constants::USER_AGENT)
            .query(&call.query);
        if !call.files.is_empty() {
            request = request.multipart(form(call.body.as_ref(), call.files));
        } else if let Some(body) = &call.body {
            request = request.json(body);
        } else if !matches!(call.method, LightMethod::Get) {
            request = request.header(reqwest::header::CONTENT_LENGTH, 0);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return read(response).await;
        }
        let by_header = retry_after(response.headers());
        let body = bytes(response).await.unwrap_or_default();
        if status.as_u16() == 429 {
            return Err(ApiError::RateLimited(wait(&body).or(by_header).unwrap_or(Duration::from_secs(1))));
        }
        Err(match read_body(&body) {
            Some((code, message)) => ApiError::sort(status.as_u16(), code, Some(message)),
            None => ApiError::sort(status.as_u16(), 0, None),
        })
    }
}

/// Files go as `files[n]` beside the message (<https://docs.discord.com/developers/reference#uploading-files>).
fn form(body: Option<&Value>, files: &[File]) -> Form {
    let mut form = Form::new();
    if let Some(body) = body {
        form = form.text("payload_json", body.to_string());
    }
    for (number, file) in files.iter().enumerate() {
        let part = || {
            Part::stream_with_length(file.bytes.clone(), file.bytes.len() as u64).file_name(file.name.clone())
        };
        let typed = file.content_type.as_deref().and_then(|kind| part().mime_str(kind).ok());
        form = form.part(format!("files[{number}]"), typed.unwrap_or_else(part));
    }
    form
}

/// Discord's own figure, in seconds and their fractions.
fn wait(body: &[u8]) -> Option<Duration> {
    let json: Value = serde_json::from_slice(body).ok()?;
    seconds(json.get("retry_after")?.as_f64()?)
}

/// Cloudflare has the header alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

async fn read(response: reqwest::Response) -> Result<Value, ApiError> {
    let status = response.status().as_u16();
    let body = bytes(response).await?;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|_not_json| ApiError::Server(status))
}

async fn bytes(response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let body = take(response, LONGEST_BODY).await?;
    body.ok_or_else(|| ApiError::Unreachable("the answer is longer than any of Discord's".to_owned()))
}

/// The whole body, or `None` where it is longer than allowed.
pub(super) async fn take(mut response: reqwest::Response, most: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_read_from_body_or_header() {
        assert_eq!(
            wait(br#"{"message": "x", "retry_after": 0.25, "global": true}"#),
            Some(Duration::from_millis(250))
        );
        assert_eq!(wait(b"<html>"), None);
        assert_eq!(wait(br#"{"retry_after": -1}"#), None);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("3"))]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(3)));
    }
}
