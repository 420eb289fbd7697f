//! The fake's HTTP: every request is logged, checked against Discord's description, and done or refused.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::lines::{Line, Lines};
use super::multipart::{self, Upload};
use super::openapi::{self, Fault, Found};
use super::trouble::Trouble;
use super::world::{Id, Request, TOKEN, World};
use super::{Shared, guild, interactions, messages, rules, threads, wire};

/// A request that keeps to the description.
#[derive(Debug)]
pub struct Call {
    pub operation: String,
    parameters: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    pub body: Value,
    pub uploads: Vec<Upload>,
}

impl Call {
    /// An id in the path.
    pub fn id(&self, name: &str) -> Id {
        self.text(name).parse().unwrap_or_default()
    }

    /// Another parameter of the path.
    pub fn text(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

/// What a call comes to: a status and JSON (null: nothing).
pub type Outcome = Result<(u16, Value), Refusal>;

/// Discord's way to say no: <https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: u64,
    pub message: &'static str,
    /// What the request had wrong in itself, if that is the reason.
    pub faults: Vec<Fault>,
}

impl Refusal {
    pub fn new(status: u16, code: u64, message: &'static str) -> Self {
        Self { status, code, message, faults: Vec::new() }
    }

    pub fn form(faults: Vec<Fault>) -> Self {
        Self { status: 400, code: 50035, message: "Invalid Form Body", faults }
    }

    pub fn unknown(code: u64) -> Self {
        let message = match code {
            10003 => "Unknown Channel",
            10004 => "Unknown Guild",
            10007 => "Unknown Member",
            10008 => "Unknown Message",
            10013 => "Unknown User",
            10015 => "Unknown Webhook",
            10062 => "Unknown interaction",
            _ => "404: Not Found",
        };
        Self::new(404, code, message)
    }

    fn body(&self) -> Value {
        let mut body = json!({"message": self.message, "code": self.code});
        if self.code == 50035 {
            let mut errors = json!({});
            for fault in &self.faults {
                let path: Vec<&str> = fault.at.split('/').filter(|part| !part.is_empty()).collect();
                let error = json!([{"code": "FAKE_VALIDATION", "message": fault.what}]);
                put(&mut errors, &path, error);
            }
            wire::set(&mut body, "errors", errors);
        }
        body
    }
}

/// Discord's tree of errors: an object for each step of the path, and `_errors` at its end.
fn put(tree: &mut Value, path: &[&str], error: Value) {
    match (path, tree.as_object_mut()) {
        ([step, rest @ ..], Some(object)) => {
            put(object.entry(*step).or_insert_with(|| json!({})), rest, error);
        }
        _ => wire::set(tree, "_errors", error),
    }
}

/// Serves the API until the fake ends.
pub async fn serve(lines: Lines, shared: Shared) {
    let router = Router::new().fallback(handle).layer(DefaultBodyLimit::max(64 << 20)).with_state(shared);
    axum::serve(lines, router.into_make_service_with_connect_info::<Line>()).await.ok();
}

async fn handle(
    State(shared): State<Shared>,
    ConnectInfo(line): ConnectInfo<Line>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some(path) = uri.path().strip_prefix("/api/v10") else {
        return (StatusCode::NOT_FOUND, "404: Not Found").into_response();
    };
    let path = path.replace("%40", "@");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (body, uploads) = match read_body(kind, &body) {
        Ok(read) => read,
        Err(fault) => (Some(json!({"unreadable": fault})), Vec::new()),
    };
    let request = Request {
        at: Instant::now(),
        method: method.to_string(),
        path: path.clone(),
        query: uri.query().unwrap_or_default().to_owned(),
        body: body.clone().unwrap_or_default(),
        files: uploads.iter().map(|upload| upload.name.clone()).collect(),
        status: 0,
        code: None,
    };
    let (number, trouble) = {
        let mut world = shared.lock();
        world.requests.push(request);
        (world.requests.len() - 1, world.troubles.meet(method.as_str(), &path))
    };
    if let Some(trouble) = trouble.filter(|trouble| !trouble.comes_after()) {
        return meet(trouble, &line, &shared, number).await;
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok());
    let answer = {
        let mut world = shared.lock();
        let query = read_query(uri.query().unwrap_or_default());
        let answer = answer(&mut world, method.as_str(), &path, query, body, uploads, token);
        if let (Some(request), true) = (world.requests.get_mut(number), trouble.is_none()) {
            request.status = answer.0;
            request.code = answer.1.get("code").and_then(Value::as_u64);
        }
        answer
    };
    match trouble {
        Some(trouble) => meet(trouble, &line, &shared, number).await,
        None => write(answer.0, &answer.1),
    }
}

async fn meet(trouble: Trouble, line: &Line, shared: &Shared, number: usize) -> Response<Body> {
    if let Some(answer) = trouble.answer() {
        if let Some(request) = shared.lock().requests.get_mut(number) {
            request.status = answer.status().as_u16();
        }
        return answer;
    }
    if matches!(trouble, Trouble::DropBefore | Trouble::DropAfter) {
        line.cut();
        return StatusCode::NO_CONTENT.into_response();
    }
    std::future::pending().await
}

fn write(status: u16, body: &Value) -> Response<Body> {
    let answer = Response::builder()
        .status(status)
        .header("x-ratelimit-limit", "50")
        .header("x-ratelimit-remaining", "49")
        .header("x-ratelimit-reset-after", "0.001")
        .header("x-ratelimit-bucket", "fake");
    let answer = if body.is_null() {
        answer.body(Body::empty())
    } else {
        answer.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
    };
    answer.expect("a status and headers that can be")
}

fn read_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let split = |pair: &str| {
        pair.split_once('=').map_or((pair.to_owned(), String::new()), |(k, v)| (k.into(), v.into()))
    };
    pairs.map(split).collect()
}

type Read = (Option<Value>, Vec<Upload>);

fn read_body(kind: &str, body: &[u8]) -> Result<Read, String> {
    if body.is_empty() {
        return Ok((None, Vec::new()));
    }
    if kind.starts_with("multipart/form-data") {
        let (payload, uploads) = multipart::read(kind, body).ok_or("a broken form")?;
        return Ok((Some(payload), uploads));
    }
    if !kind.starts_with("application/json") {
        return Err(format!("a body of the type {kind:?}"));
    }
    let body = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    Ok((Some(body), Vec::new()))
}

/// Checks the request, notes its faults, and does it.
fn answer(
    world: &mut World,
    method: &str,
    path: &str,
    query: BTreeMap<String, String>,
    body: Option<Value>,
    uploads: Vec<Upload>,
    token: Option<&str>,
) -> (u16, Value) {
    let Some(found) = openapi::find(method, path) else {
        world.faults.push(format!("{method} {path}: no such operation in the description"));
        return (404, json!({"message": "404: Not Found", "code": 0}));
    };
    let outcome = admit(&found, token).and_then(|()| {
        let fields: Vec<String> = uploads.iter().map(|upload| upload.field.clone()).collect();
        let mut faults = found.faults(&query, body.as_ref());
        faults.extend(rules::faults(&found.operation, body.as_ref().unwrap_or(&Value::Null), &fields));
        if !faults.is_empty() {
            return Err(Refusal::form(faults));
        }
        let body = body.unwrap_or_default();
        let call = Call { operation: found.operation, parameters: found.parameters, query, body, uploads };
        perform(world, &call)
    });
    outcome.unwrap_or_else(|refusal| {
        let faults = refusal.faults.iter();
        world.faults.extend(faults.map(|fault| format!("{method} {path}: {} {}", fault.at, fault.what)));
        if refusal.code == 50006 {
            world.faults.push(format!("{method} {path}: {}", refusal.message));
        }
        (refusal.status, refusal.body())
    })
}

/// Answers to interactions are let in by their own token, and `/gateway` is for everyone.
fn admit(found: &Found, token: Option<&str>) -> Result<(), Refusal> {
    let is_ours = token.and_then(|token| token.strip_prefix("Bot ")) == Some(TOKEN);
    if is_ours || found.is_open {
        return Ok(());
    }
    Err(Refusal::new(401, 0, "401: Unauthorized"))
}

fn perform(world: &mut World, call: &Call) -> Outcome {
    match call.operation.as_str() {
        "list_messages" => messages::list(world, call),
        "create_message" => messages::create(world, call),
        "get_message" => messages::get(world, call),
        "update_message" => messages::update(world, call),
        "delete_message" => messages::delete(world, call),
        "create_thread" => threads::create(world, call),
        "create_thread_from_message" => threads::create_from_message(world, call),
        "update_channel" => threads::update(world, call),
        "delete_channel" => threads::delete(world, call),
        "add_thread_member" | "join_thread" => threads::add_member(world, call),
        "delete_thread_member" => threads::remove_member(world, call),
        "list_thread_members" | "get_thread_member" => threads::members(world, call),
        "list_public_archived_threads" | "list_private_archived_threads" => threads::archived(world, call),
        "get_active_guild_threads" => threads::active(world, call),
        "create_interaction_response" => interactions::callback(world, call),
        "execute_webhook" => interactions::follow_up(world, call),
        name if name.ends_with("_webhook_message") => interactions::message(world, call),
        _ => guild::perform(world, call),
    }
}
