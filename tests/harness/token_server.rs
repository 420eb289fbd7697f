//! A token server (OAuth 2.0) at the wire: it refuses what a real one refuses, rotates and revokes on demand, and tells
//! Dovecot whose an access token is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::dovecot::Dovecot;

const CLIENT_ID: &str = "ticketd-mail";
pub const CLIENT_SECRET: &str = "a secret of the client & odd+";

struct World {
    base: String,
    folder: tempfile::TempDir,
    /// The account that tokens are for.
    account: String,
    client_secret: String,
    /// The refresh token that is good; `None`: revoked.
    refresh_token: Option<String>,
    /// Each refresh token is good once.
    rotates: bool,
    life: i64,
    /// Access tokens, and whether they are good.
    access: BTreeMap<String, bool>,
    /// What it answers instead.
    trouble: Option<(u16, String)>,
    asked: usize,
    busy: usize,
    most_at_once: usize,
}

#[derive(Clone)]
pub struct TokenServer(Arc<Mutex<World>>);

type Fields = BTreeMap<String, String>;

impl TokenServer {
    /// Listens on a free port; ends with the test's runtime. There is one grant, for this account.
    pub async fn start(account: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let folder = tempfile::Builder::new().prefix("ticketd-test-").tempdir().expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("permissions");
        let world = World {
            base,
            folder,
            account: account.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            refresh_token: None,
            rotates: false,
            life: 3600,
            access: BTreeMap::new(),
            trouble: None,
            asked: 0,
            busy: 0,
            most_at_once: 0,
        };
        let server = Self(Arc::new(Mutex::new(world)));
        server.grants("rt-first");
        std::fs::write(server.file("client-secret"), CLIENT_SECRET).expect("write a file");
        let router = Router::new()
            .route("/token", post(token))
            .route("/tokeninfo", get(tokeninfo))
            .with_state(server.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "a server of the test's, which ends with the test's runtime"
        )]
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world().folder.path().join(name)
    }

    /// A Dovecot that believes this server.
    pub fn dovecot(&self) -> Dovecot {
        let file = self.file("oauth2.conf");
        let base = self.world().base.clone();
        let text = format!(
            "tokeninfo_url = {base}/tokeninfo?access_token=\nusername_attribute = email\n\
             active_attribute = active\nactive_value = true\n"
        );
        std::fs::write(&file, text).expect("write oauth2.conf");
        Dovecot::with(&format!(
            "auth_mechanisms = plain login xoauth2 oauthbearer\n\
             passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}",
            file.display()
        ))
    }

    /// `oauth = {…}` of a configuration.
    pub fn section(&self, more: &str) -> String {
        let base = self.world().base.clone();
        let folder = self.world().folder.path().display().to_string();
        format!(
            "oauth = {{ token_url = \"{base}/token\", client_id = \"{CLIENT_ID}\", client_secret_file = \
             \"{folder}/client-secret\", refresh_token_file = \"{folder}/refresh-token\"{more} }}"
        )
    }

    /// The account's owner allows it (once more): an admin puts the refresh token into the file.
    pub fn grants(&self, refresh_token: &str) {
        std::fs::write(self.file("refresh-token"), format!("{refresh_token}\n")).expect("write a file");
        self.world().refresh_token = Some(refresh_token.to_owned());
    }

    /// The same token is good again.
    pub fn forgives(&self, refresh_token: &str) {
        self.world().refresh_token = Some(refresh_token.to_owned());
    }

    /// The account's owner does not allow it any more.
    pub fn revokes_grant(&self) {
        self.world().refresh_token = None;
        self.revokes_access();
    }

    /// All access tokens of before are void.
    pub fn revokes_access(&self) {
        self.world().access.values_mut().for_each(|good| *good = false);
    }

    /// Whose tokens it gives out from now on.
    pub fn is_for(&self, account: &str) {
        account.clone_into(&mut self.world().account);
    }

    pub fn rotates(&self) {
        self.world().rotates = true;
    }

    /// From now on the client is known by another secret.
    pub fn changes_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.world().client_secret);
    }

    /// Answers this instead, until it is told to stop.
    pub fn troubles(&self, trouble: Option<(u16, &str)>) {
        self.world().trouble = trouble.map(|(status, body)| (status, body.to_owned()));
    }

    /// How often it was asked for a token.
    pub fn asked(&self) -> usize {
        self.world().asked
    }

    /// How many asked at the same time.
    pub fn most_at_once(&self) -> usize {
        self.world().most_at_once
    }

    /// The newest access token.
    pub fn newest(&self) -> String {
        format!("at{}", self.world().access.len())
    }

    /// Every secret there was: none may be in a log, or in the database as it is.
    pub fn secrets(&self) -> Vec<String> {
        let world = self.world();
        let refresh = world.refresh_token.iter().cloned();
        ["rt-first".to_owned(), CLIENT_SECRET.to_owned()].into_iter().chain(refresh).collect()
    }
}

async fn token(State(server): State<TokenServer>, Form(form): Form<Fields>) -> Response {
    {
        let mut world = server.world();
        world.asked += 1;
        world.busy += 1;
        world.most_at_once = world.most_at_once.max(world.busy);
    }
    // Room for another one to come while this one is here.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let mut world = server.world();
    world.busy -= 1;
    if let Some((status, body)) = world.trouble.clone() {
        return (StatusCode::from_u16(status).expect("a status"), body).into_response();
    }
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let refused = |status: StatusCode, code: &str| (status, Json(json!({"error": code}))).into_response();
    if get("grant_type") != "refresh_token" {
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    if get("client_id") != CLIENT_ID || get("client_secret") != world.client_secret {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    if world.refresh_token.as_deref() != Some(get("refresh_token")) {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let access = format!("at{}", world.access.len() + 1);
    world.access.insert(access.clone(), true);
    let mut answer = json!({"access_token": access, "token_type": "Bearer", "expires_in": world.life});
    if world.rotates {
        let next = format!("rt-rotated-{}", world.access.len());
        world.refresh_token = Some(next.clone());
        answer.as_object_mut().expect("an object").insert("refresh_token".to_owned(), json!(next));
    }
    Json(answer).into_response()
}

async fn tokeninfo(State(server): State<TokenServer>, Query(asked): Query<Fields>) -> Json<Value> {
    let world = server.world();
    let token = asked.get("access_token").map(String::as_str).unwrap_or_default();
    if world.access.get(token) == Some(&true) {
        Json(json!({"email": world.account, "active": "true"}))
    } else {
        Json(json!({"active": "false"}))
    }
}
