//! A provider that vouches for people (OpenID Connect), at the wire: it refuses what a real one refuses, and lies on demand.

#![expect(clippy::indexing_slicing, reason = "claims are set by name")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const CLIENT_ID: &str = "ticketd-test";
pub const CLIENT_SECRET: &str = "a secret between the two & odd+";

/// Two keys, so that one can follow the other.
const KEYS: [&str; 2] = [include_str!("oidc/key1.pem"), include_str!("oidc/key2.pem")];

/// How an ID token differs from a right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Audience,
    TwoAudiences,
    Issuer,
    Nonce,
    NoNonce,
    Expired,
    FromTheFuture,
    /// No signature at all.
    AlgNone,
    /// Signed with the client secret.
    AlgHmac,
    /// Signed with a key that is not the provider's, under the name of one that is.
    ForeignKey,
    /// One letter of the claims is another.
    Tampered,
    NoIdToken,
}

/// A code that was given out.
struct Grant {
    redirect_uri: String,
    challenge: String,
    nonce: String,
    person: Value,
}

struct World {
    issuer: String,
    /// Who is signed in at the provider; `None`: they say no.
    person: Option<Value>,
    lie: Option<Lie>,
    /// Which key signs.
    key: usize,
    now: DateTime<Utc>,
    codes: BTreeMap<String, Grant>,
    keys_asked: usize,
    broken: bool,
    faults: Vec<String>,
}

#[derive(Clone)]
pub struct FakeProvider(Arc<Mutex<World>>);

type Fields = BTreeMap<String, String>;

impl FakeProvider {
    /// Listens on a free port; ends with the test's runtime.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let world = World {
            issuer,
            person: None,
            lie: None,
            key: 0,
            now: super::desk::start_of_time(),
            codes: BTreeMap::new(),
            keys_asked: 0,
            broken: false,
            faults: Vec::new(),
        };
        let provider = Self(Arc::new(Mutex::new(world)));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(provider.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "a server of the test's, which ends with the test's runtime"
        )]
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn issuer(&self) -> String {
        self.world().issuer.clone()
    }

    /// The section of a configuration.
    pub fn section(&self, more: &str) -> String {
        format!(
            "[oidc]\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\nname = \"Example\"\n{more}\n",
            self.issuer()
        )
    }

    /// Who sits in front of the browser.
    pub fn is_signed_in(&self, person: Value) {
        self.world().person = Some(person);
    }

    /// Ada, as providers tell of somebody.
    pub fn signs_in(&self, subject: &str, email: &str) {
        self.is_signed_in(
            json!({"sub": subject, "email": email, "email_verified": true, "name": "Ada Lovelace"}),
        );
    }

    /// Who sits in front of the browser does not allow it.
    pub fn is_denied(&self) {
        self.world().person = None;
    }

    pub fn lies(&self, lie: Option<Lie>) {
        self.world().lie = lie;
    }

    /// From now on the other key signs, and is the only one that is published.
    pub fn changes_keys(&self) {
        let mut world = self.world();
        world.key = 1 - world.key;
    }

    /// Answers nothing but 500.
    pub fn breaks(&self, broken: bool) {
        self.world().broken = broken;
    }

    /// How often the keys were asked for.
    pub fn keys_asked(&self) -> usize {
        self.world().keys_asked
    }

    /// What a real provider would have refused.
    pub fn faults(&self) -> Vec<String> {
        self.world().faults.clone()
    }

    /// Follows the browser's way to the provider: where it is sent back to.
    pub async fn visit(&self, url: &str) -> String {
        assert!(url.starts_with(&format!("{}/authorize?", self.issuer())), "{url}");
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let answer = client.build().expect("a client").get(url).send().await.expect("an answer");
        let status = answer.status();
        let location = answer.headers().get("location").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let text = answer.text().await.unwrap_or_default();
        location.unwrap_or_else(|| panic!("the provider refused: {status} {text}"))
    }
}

fn fault(world: &mut World, what: &str) -> Response {
    world.faults.push(what.to_owned());
    (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_request", "error_description": what})))
        .into_response()
}

async fn discovery(State(provider): State<FakeProvider>) -> Response {
    let world = provider.world();
    if world.broken {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let issuer = &world.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        // HS256 as well: whoever believes this list takes what anybody with the client secret signed.
        "id_token_signing_alg_values_supported": ["RS256", "HS256"],
    }))
    .into_response()
}

async fn keys(State(provider): State<FakeProvider>) -> Json<Value> {
    let mut world = provider.world();
    world.keys_asked += 1;
    let mut jwk = Jwk::from_encoding_key(&signing_key(world.key), Algorithm::RS256).expect("a public key");
    jwk.common.key_id = Some(format!("key-{}", world.key));
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["use"] = json!("sig");
    Json(json!({"keys": [jwk]}))
}

fn signing_key(number: usize) -> EncodingKey {
    EncodingKey::from_rsa_pem(KEYS.get(number).expect("a key").as_bytes()).expect("an RSA key")
}

async fn authorize(State(provider): State<FakeProvider>, Query(asked): Query<Fields>) -> Response {
    let mut world = provider.world();
    let get = |name: &str| asked.get(name).cloned().unwrap_or_default();
    for (name, wanted) in
        [("response_type", "code"), ("client_id", CLIENT_ID), ("code_challenge_method", "S256")]
    {
        if get(name) != wanted {
            return fault(&mut world, &format!("{name} is `{}`", get(name)));
        }
    }
    let scopes = get("scope");
    if !["openid", "email"].iter().all(|scope| scopes.split(' ').any(|s| s == *scope)) {
        return fault(&mut world, &format!("scope is `{scopes}`"));
    }
    let (state, nonce, challenge) = (get("state"), get("nonce"), get("code_challenge"));
    if state.len() < 22 || nonce.len() < 22 || challenge.len() != 43 || state == nonce {
        return fault(&mut world, "state, nonce or code_challenge can be guessed");
    }
    let back = |query: String| {
        Redirect::to(&format!("{}?{query}&state={state}", get("redirect_uri"))).into_response()
    };
    let Some(person) = world.person.clone() else {
        return back("error=access_denied&error_description=%3Cscript%3E".to_owned());
    };
    let code = format!("code-{}-{}", world.codes.len(), state.get(..8).unwrap_or_default());
    let grant = Grant { redirect_uri: get("redirect_uri"), challenge, nonce, person };
    world.codes.insert(code.clone(), grant);
    back(format!("code={code}&scope=openid+email&authuser=0"))
}

/// RFC 6749 §2.3.1: HTTP Basic, both parts encoded as in a form.
fn is_authenticated(headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let decoded =
        given.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    let encoded = |text: &str| {
        let pair = reqwest::Url::parse_with_params("http://x", [("k", text)]).expect("a URL");
        pair.query().unwrap_or_default().trim_start_matches("k=").to_owned()
    };
    text == format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET))
}

async fn token(
    State(provider): State<FakeProvider>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let mut world = provider.world();
    if world.broken {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let get = |name: &str| form.get(name).cloned().unwrap_or_default();
    if !is_authenticated(&headers) {
        return fault(&mut world, "the client is not authenticated");
    }
    // A code is good once.
    let Some(grant) = world.codes.remove(&get("code")) else {
        return fault(&mut world, "the code is unknown");
    };
    let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier")));
    if get("grant_type") != "authorization_code" || get("redirect_uri") != grant.redirect_uri {
        return fault(&mut world, "grant_type or redirect_uri is another one");
    }
    if verifier != grant.challenge {
        return fault(&mut world, "the code verifier is wrong");
    }
    let mut answer = json!({"access_token": "at", "token_type": "Bearer", "expires_in": 3600});
    if world.lie != Some(Lie::NoIdToken) {
        answer["id_token"] = json!(id_token(&world, &grant));
    }
    Json(answer).into_response()
}

fn id_token(world: &World, grant: &Grant) -> String {
    let (now, lie) = (world.now.timestamp(), world.lie);
    let is = |wanted: Lie| lie == Some(wanted);
    let mut claims = grant.person.clone();
    claims["iss"] = json!(if is(Lie::Issuer) { "http://127.0.0.1:1" } else { &world.issuer });
    claims["aud"] = match lie {
        Some(Lie::Audience) => json!("another-client"),
        Some(Lie::TwoAudiences) => json!([CLIENT_ID, "another-client"]),
        _ => json!(CLIENT_ID),
    };
    claims["iat"] = json!(if is(Lie::FromTheFuture) { now + 61 } else { now });
    claims["exp"] = json!(if is(Lie::Expired) { now - 1 } else { now + 3600 });
    if !is(Lie::NoNonce) {
        claims["nonce"] = json!(if is(Lie::Nonce) { "another nonce" } else { &grant.nonce });
    }
    let unsigned = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(&header), part(&claims))
    };
    let rsa = |key: usize| {
        let header = Header { kid: Some(format!("key-{}", world.key)), ..Header::new(Algorithm::RS256) };
        encode(&header, &claims, &signing_key(key)).expect("a token")
    };
    match lie {
        Some(Lie::AlgNone) => unsigned(json!({"alg": "none", "typ": "JWT"})) + ".",
        Some(Lie::AlgHmac) => {
            let key = EncodingKey::from_secret(CLIENT_SECRET.as_bytes());
            encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
        }
        Some(Lie::ForeignKey) => rsa(1 - world.key),
        Some(Lie::Tampered) => {
            let token = rsa(world.key);
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            let mut other = claims.clone();
            other["sub"] = json!("somebody else");
            *parts.get_mut(1).expect("claims") = URL_SAFE_NO_PAD.encode(other.to_string());
            parts.join(".")
        }
        _ => rsa(world.key),
    }
}
