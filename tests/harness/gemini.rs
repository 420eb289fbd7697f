//! A Gemini at the wire: it serves `generateContent` on the loopback, answers as it was told to, and refuses what the
//! real one refuses, in the same words.

mod wire;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse as _, Response};
use futures_util::stream;
use serde_json::{Map, Value, json};
use ticketd::triage::gemini::{Gemini, Settings};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use wire::get;

use super::desk::Desk;

/// The key that the fake takes.
pub(crate) const KEY: &str = "AIza-key-of-the-fake";
/// The model to ask it for.
pub(crate) const MODEL: &str = "gemini-3.5-flash-lite";
/// The models there are, as of 2026-11.
const MODELS: [&str; 7] = [
    MODEL,
    "gemini-3.1-flash-lite",
    "gemini-3.5-flash",
    "gemini-3.6-flash",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
    "gemini-2.5-flash-lite",
];

/// What the fake says to one request that it can't find fault with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Finishes well, with this JSON as its text.
    Judge(Value),
    /// Finishes well, with this text.
    Text(String),
    /// Any status with any JSON body.
    Status(u16, Value),
    /// 429: too many requests in this minute.
    QuotaMinute { retry_delay: &'static str },
    /// 429: the requests of the day are used up; its delay is as misleading as the real one's.
    QuotaDay,
    /// Finishes well, once the test lets it.
    Held(Arc<Notify>, Value),
    /// Takes the request and never answers.
    Hang,
    /// Half of a good answer, then the connection breaks.
    CutBody,
    /// A byte at a time, for ever.
    Drip,
    /// The prompt is blocked: no candidates.
    Blocked,
    /// The answer is withheld.
    Safety,
    /// Thinking used up all the tokens: no text.
    MaxTokens,
    /// A proxy on the way has trouble.
    Html502,
    /// 200 and no JSON.
    Garbage,
    /// 200 and a body of this many bytes.
    Big(usize),
}

/// The fake; it ends with its handle.
#[derive(Debug)]
pub(crate) struct FakeGemini {
    address: String,
    world: World,
    task: JoinHandle<()>,
}

type World = Arc<Mutex<Told>>;

#[derive(Debug, Default)]
struct Told {
    script: VecDeque<Answer>,
    otherwise: Option<Answer>,
    requests: Vec<Value>,
    refusals: Vec<String>,
}

impl FakeGemini {
    /// Listens on a free port of the loopback. Unless scripted, it judges by the first entry of each enum.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let world = World::default();
        let router = Router::new().fallback(handle).with_state(Arc::clone(&world));
        #[expect(
            clippy::disallowed_methods,
            reason = "the fake lives outside of the daemon and its supervisor"
        )]
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the fake serves until it is dropped");
        });
        Self { address: format!("http://{address}"), world, task }
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.address
    }

    /// Answers to come, after those that are still to come.
    pub(crate) fn script(&self, answers: Vec<Answer>) {
        lock(&self.world).script.extend(answers);
    }

    /// What to say from now on when the script is at its end.
    pub(crate) fn otherwise(&self, answer: Answer) {
        lock(&self.world).otherwise = Some(answer);
    }

    /// The bodies of all calls of `generateContent`, also of those it refused.
    pub(crate) fn requests(&self) -> Vec<Value> {
        lock(&self.world).requests.clone()
    }

    /// What it found fault with, in its words: empty in a good test.
    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.world).refusals.clone()
    }
}

impl Drop for FakeGemini {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(world: &World) -> MutexGuard<'_, Told> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(
    State(world): State<World>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Result<Value, _> = serde_json::from_slice(&body);
    let call = uri.path().strip_prefix("/v1beta/models/").unwrap_or_default();
    let generate = call.strip_suffix(":generateContent").filter(|_| method == Method::POST);
    if generate.is_some() {
        let seen = body.as_ref().map_or(Value::Null, Value::clone);
        lock(&world).requests.push(seen);
    }
    if let Err((status, error)) = admitted(&uri, &headers) {
        return refuse(&world, status, &error);
    }
    let Some(model) = generate else {
        return if method == Method::GET { describe(&world, call) } else { lost() };
    };
    if !MODELS.contains(&model) {
        return unknown_model(&world, model);
    }
    let Ok(body) = body else {
        let message = "Invalid JSON payload received. Unexpected end of string.";
        return refuse(&world, 400, &error(400, "INVALID_ARGUMENT", message, &[]));
    };
    if let Some(message) = wire::complaint(model, &body) {
        let violation = json!({ "description": message });
        let details =
            json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]});
        return refuse(&world, 400, &error(400, "INVALID_ARGUMENT", &message, &[details]));
    }
    let answer = {
        let mut told = lock(&world);
        told.script.pop_front().or_else(|| told.otherwise.clone())
    };
    let answer = answer.unwrap_or_else(|| Answer::Judge(first_of_everything(&body)));
    respond(answer, model).await
}

/// The key belongs into its header and nowhere else.
fn admitted(uri: &Uri, headers: &HeaderMap) -> Result<(), (u16, Value)> {
    if uri.query().is_some() {
        // The real one takes ?key=; a key in a URL ends in logs, so this one does not.
        return Err((400, error(400, "INVALID_ARGUMENT", "No query, and no key in it, please.", &[])));
    }
    match headers.get("x-goog-api-key").map(|key| key.to_str().unwrap_or_default()) {
        Some(KEY) => Ok(()),
        Some(_) => {
            let message = "API key not valid. Please pass a valid API key.";
            let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}});
            let words = json!({"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US",
                "message": message});
            Err((400, error(400, "INVALID_ARGUMENT", message, &[info, words])))
        }
        None => {
            let message = "Method doesn't allow unregistered callers (callers without established identity). \
                Please use API Key or other form of API consumer identity to call this API.";
            Err((403, error(403, "PERMISSION_DENIED", message, &[])))
        }
    }
}

fn describe(world: &World, model: &str) -> Response {
    if !MODELS.contains(&model) {
        return unknown_model(world, model);
    }
    let body = json!({"name": format!("models/{model}"), "version": "001", "displayName": "Gemini of the tests",
        "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"], "thinking": true});
    whole(200, &body)
}

fn unknown_model(world: &World, model: &str) -> Response {
    let message = format!(
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. \
         Call ModelService.ListModels to see the list of available models and their supported methods."
    );
    refuse(world, 404, &error(404, "NOT_FOUND", &message, &[]))
}

/// Google's page for a path that is no API.
fn lost() -> Response {
    (StatusCode::NOT_FOUND, Html("<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>")).into_response()
}

fn refuse(world: &World, status: u16, error: &Value) -> Response {
    let message = error.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    lock(world).refusals.push(message.to_owned());
    whole(status, error)
}

/// `google.rpc.Status` as the API wraps it.
fn error(code: u16, status: &str, message: &str, details: &[Value]) -> Value {
    let mut error = json!({ "code": code, "message": message, "status": status });
    if let (false, Some(error)) = (details.is_empty(), error.as_object_mut()) {
        error.insert("details".into(), details.into());
    }
    json!({ "error": error })
}

async fn respond(answer: Answer, model: &str) -> Response {
    match answer {
        Answer::Judge(judgement) => whole(200, &finished(model, &judgement.to_string())),
        Answer::Text(text) => whole(200, &finished(model, &text)),
        Answer::Held(gate, judgement) => {
            gate.notified().await;
            whole(200, &finished(model, &judgement.to_string()))
        }
        Answer::Status(status, body) => whole(status, &body),
        Answer::QuotaMinute { retry_delay } => whole(
            429,
            &quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15", retry_delay, model),
        ),
        Answer::QuotaDay => {
            whole(429, &quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20", "47s", model))
        }
        Answer::Hang => std::future::pending().await,
        Answer::CutBody => cut_body(model),
        Answer::Drip => drip(),
        Answer::Blocked => {
            let usage = json!({"promptTokenCount": 59, "totalTokenCount": 59});
            whole(
                200,
                &json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage}),
            )
        }
        Answer::Safety => whole(200, &ended(model, "SAFETY")),
        Answer::MaxTokens => whole(200, &ended(model, "MAX_TOKENS")),
        Answer::Html502 => {
            let page = Html("<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>");
            (StatusCode::BAD_GATEWAY, page).into_response()
        }
        Answer::Garbage => streamed(Body::from("\u{1f}\u{8b} this is not JSON")),
        Answer::Big(bytes) => streamed(Body::from(" ".repeat(bytes))),
    }
}

fn whole(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a test names a real status");
    (status, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body.to_string()).into_response()
}

fn streamed(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}

fn finished(model: &str, text: &str) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0,
            "safetyRatings": []}],
        "usageMetadata": usage(),
        "modelVersion": model,
        "responseId": "fake",
    })
}

fn ended(model: &str, reason: &str) -> Value {
    let candidate = json!({"content": {"role": "model"}, "finishReason": reason, "index": 0});
    json!({"candidates": [candidate], "usageMetadata": usage(), "modelVersion": model})
}

fn usage() -> Value {
    json!({"promptTokenCount": 59, "candidatesTokenCount": 9, "thoughtsTokenCount": 0, "totalTokenCount": 68,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 59}]})
}

fn quota(id: &str, value: &str, retry_delay: &str, model: &str) -> Value {
    let metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests";
    let violation = json!({"quotaMetric": metric, "quotaId": id, "quotaValue": value,
        "quotaDimensions": {"location": "global", "model": model}});
    let message = "You exceeded your current quota, please check your plan and billing details.";
    let links = json!([{"description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]);
    let details = [
        json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}),
        json!({"@type": "type.googleapis.com/google.rpc.Help", "links": links}),
        json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}),
    ];
    error(429, "RESOURCE_EXHAUSTED", message, &details)
}

fn cut_body(model: &str) -> Response {
    let body = finished(model, "{}").to_string();
    let half: String = body.chars().take(body.chars().count() / 2).collect();
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut by the script");
    streamed(Body::from_stream(stream::iter([Ok(half), Err(broken)])))
}

fn drip() -> Response {
    let ticks = tokio::time::interval(Duration::from_millis(10));
    let drops = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Ok::<_, Infallible>(" "), ticks))
    });
    streamed(Body::from_stream(drops))
}

/// A judgement that fits the schema of the request, without any thought.
fn first_of_everything(request: &Value) -> Value {
    let schema = get(request, "generationConfig").and_then(|config| get(config, "responseSchema"));
    schema.map_or_else(|| json!({}), first)
}

fn first(schema: &Value) -> Value {
    if let Some(word) = get(schema, "enum").and_then(Value::as_array).and_then(|words| words.first()) {
        return word.clone();
    }
    match get(schema, "type").and_then(Value::as_str).unwrap_or_default() {
        "OBJECT" => {
            let properties = get(schema, "properties").and_then(Value::as_object);
            let fields = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), first(schema)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        "ARRAY" => get(schema, "items").map_or_else(|| json!([]), |items| json!([first(items)])),
        "NUMBER" | "INTEGER" => get(schema, "maximum").cloned().unwrap_or_else(|| json!(1)),
        "BOOLEAN" => json!(true),
        "STRING" => json!("en"),
        _ => Value::Null,
    }
}

impl Desk {
    /// From now on Gemini is asked with this key, within this time, as after a restart. It waits a millisecond between its
    /// tries: tests have no second to lose.
    pub(crate) fn asks(&mut self, fake: &FakeGemini, key: &str, timeout: Duration) {
        let settings = Settings {
            base_url: fake.base_url().to_owned(),
            model: MODEL.to_owned(),
            thinking_level: None,
            api_key: key.into(),
            timeout,
        };
        let gemini = Gemini::new(settings).expect("the settings are good");
        self.app.stages.triage.gemini = Some(Arc::new(gemini.with_backoff(Duration::from_millis(1))));
    }
}
