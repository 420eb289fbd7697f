//! Any request to the API by an admin, on a real PostgreSQL. An input is read as choices: which operation, which of its
//! parameters and properties, with what in them; now and then against the description, or no JSON at all. Whatever is asked,
//! the answer is never an error of ours (5xx), and an error of the asker's is a problem (RFC 9457) with a detail in one line.

#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use axum::{Router, response::Response};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use ticketd::app::App;
use ticketd::clock::Clock;
use ticketd::config::Config;
use ticketd::database::{self, PrivatePostgres};
use ticketd::people::{self, NewStaff, Role};
use ticketd::web::rights::TABLE;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const ADMIN: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

struct Desk {
    runtime: Runtime,
    router: Router,
    db: sqlx::PgPool,
    token: String,
    _postgres: PrivatePostgres,
    _folder: tempfile::TempDir,
}

static DESK: LazyLock<std::sync::Mutex<Desk>> = LazyLock::new(|| std::sync::Mutex::new(Desk::open()));

impl Desk {
    fn open() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        // Not below the other: PostgreSQL runs as another user where we are root, and must reach it.
        let data = std::env::temp_dir().join(format!("ticketd-fuzz-{}", std::process::id()));
        let postgres = PrivatePostgres::start_volatile(&data).expect("a PostgreSQL");
        let text = format!(
            "data_dir = {:?}\n[limits]\nrequests_per_address = 0\nlog_ins_per_address = 0\nlog_ins_per_account = 0\n\
             letters_per_address = 0\ntickets_per_person = 0\n[[mailbox]]\nname = \"support\"\n\
             address = \"support@example.org\"\n[mailbox.smtp]\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\n",
            folder.path()
        );
        let config = Arc::new(Config::parse(&text, BTreeMap::new()).expect("a configuration"));
        let (db, router) = runtime.block_on(async {
            let db = database::connect(postgres.options("postgres"), 4).await.expect("a pool");
            database::migrate(&db).await.expect("migrations");
            let app = App::build(config, db.clone(), Clock::system(), None).await.expect("an app");
            (db, app.router())
        });
        let mut desk = Self {
            router,
            runtime,
            db,
            token: String::new(),
            _postgres: postgres,
            _folder: folder,
        };
        desk.admit();
        for subject in ["Invoice", "Printer", "Password"] {
            let opened = desk.post("/api/tickets", &json!({ "subject": subject, "body": "It is wrong." }));
            assert_eq!(opened.status(), StatusCode::CREATED, "a ticket to begin with");
        }
        desk
    }

    /// An admin who is logged in: at first, and when an input took that away.
    fn admit(&mut self) {
        let staff = NewStaff {
            name: "Ada".into(),
            email: ADMIN.into(),
            role: Role::Admin,
            cap: None,
            away: false,
            skills: Vec::new(),
        };
        self.runtime.block_on(async {
            let now = Clock::system().now();
            let id = people::save_staff(&self.db, &staff, now).await.expect("an admin");
            people::set_password(&self.db, id, PASSWORD.into(), now).await.expect("a password");
        });
        let answer = self.post("/api/auth/login", &json!({ "email": ADMIN, "password": PASSWORD }));
        assert_eq!(answer.status(), StatusCode::OK, "the admin logs in");
        let body = self.runtime.block_on(answer.into_body().collect()).expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        self.token = body["access_token"].as_str().expect("a token").to_owned();
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.request("POST", path).body(Body::from(body.to_string())).expect("a request");
        self.ask(request)
    }

    fn request(&self, method: &str, uri: &str) -> axum::http::request::Builder {
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        match self.token.as_str() {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        }
    }

    fn ask(&self, request: Request<Body>) -> Response {
        let answer = self.router.clone().oneshot(request);
        let limit = Duration::from_secs(20);
        let answer = self.runtime.block_on(async { tokio::time::timeout(limit, answer).await });
        answer.expect("an answer in time").expect("no error outside of answers")
    }

    fn holds(&mut self, method: &str, uri: &str, body: Vec<u8>) {
        let Ok(request) = self.request(method, uri).body(Body::from(body)) else { return };
        let answer = self.ask(request);
        let status = answer.status();
        assert!(!status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED, "{status}");
        let kind = answer.headers().get("content-type").cloned();
        // Pages for people, behind links in their mails, say it in words.
        let is_page = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if status.is_client_error() && !is_page {
            assert_eq!(kind.as_ref().and_then(|k| k.to_str().ok()), Some("application/problem+json"), "{status}");
            let body = self.runtime.block_on(answer.into_body().collect()).expect("a body").to_bytes();
            let problem: Value = serde_json::from_slice(&body).expect("a problem is JSON");
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.contains('\n')), "{problem}");
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || uri.starts_with("/api/auth") {
            self.admit();
        }
    }
}

/// The document that describes the API.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(ticketd::web::document()).expect("a document"));

/// Values that are more than their characters.
const KNOWN: [&str; 24] = [
    ADMIN,
    PASSWORD,
    "1",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "me",
    "none",
    "open",
    "urgent",
    "billing",
    "customer@example.net",
    "https://192.0.2.1/hook",
    "https://hooks.example.net/",
    "2026-11-21T00:00:00Z",
    "-262143-01-01T00:00:00Z",
    "+262142-12-31T23:59:59Z",
    "2026-02-30",
    "09:00",
    "Europe/Berlin",
    "\0",
    "\u{202e}\u{feff}",
    "%' OR 1=1; --\\",
];

/// An input, read from its beginning; zeros follow its end.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn one_of<'b, T>(&mut self, all: &'b [T]) -> Option<&'b T> {
        let at = usize::from(self.byte());
        all.get(at % all.len().max(1))
    }

    fn text(&mut self) -> String {
        match self.byte() {
            length @ 0..64 => self.taken(usize::from(length)),
            64..200 => (*self.one_of(&KNOWN).unwrap_or(&"")).to_owned(),
            long => self.taken(8).repeat(usize::from(long - 199) * 20),
        }
    }

    fn taken(&mut self, length: usize) -> String {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(taken).into_owned()
    }

    fn number(&mut self) -> i64 {
        match self.byte() {
            small @ 0..200 => i64::from(small) - 3,
            _ => i64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// A value as `schema` (JSON Schema) describes it, mostly.
    fn value(&mut self, schema: &Value, depth: u8) -> Value {
        if let Some(pointer) = schema["$ref"].as_str() {
            let schema = DOCUMENT.pointer(pointer.trim_start_matches('#')).unwrap_or(&Value::Null);
            return if depth > 6 { Value::Null } else { self.value(schema, depth + 1) };
        }
        match self.byte() {
            0xff => return Value::Null,
            0xfe => return self.text().into(),
            0xfd => return self.number().into(),
            0xfc => return json!([{}]),
            _ => {}
        }
        for several in ["oneOf", "anyOf", "allOf", "enum"] {
            if let Some(all) = schema[several].as_array() {
                let chosen = self.one_of(all).unwrap_or(&Value::Null);
                return if several == "enum" { chosen.clone() } else { self.value(chosen, depth) };
            }
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.one_of(kinds).unwrap_or(&Value::Null).clone(),
            kind => kind.clone(),
        };
        match kind.as_str().unwrap_or_default() {
            "object" => self.object(schema, depth),
            "array" => (0..self.byte() % 4).map(|_| self.value(&schema["items"], depth)).collect(),
            "integer" => self.number().into(),
            "number" => (self.number() as f64 / 7.0).into(),
            "boolean" => (self.byte() & 1 == 1).into(),
            "null" => Value::Null,
            _ => self.text().into(),
        }
    }

    fn object(&mut self, schema: &Value, depth: u8) -> Value {
        let mut object = serde_json::Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if self.byte() % 4 != 3 {
                object.insert(name.clone(), self.value(schema, depth));
            }
        }
        if schema["additionalProperties"].is_object() || self.byte() == 0xff {
            object.insert(self.text(), self.value(&schema["additionalProperties"], depth));
        }
        Value::Object(object)
    }
}

/// Every byte that could end a piece of an address, as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let choice = u16::from_le_bytes([choices.byte(), choices.byte()]);
    let row = &TABLE[usize::from(choice) % TABLE.len()];
    let operation = &DOCUMENT["paths"][row.path][row.method.to_lowercase()];
    let mut path = row.path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let value = match choices.byte() {
            0..80 if parameter["in"] == "query" => continue,
            0..200 if parameter["in"] == "path" => (choices.byte() % 5).to_string(),
            _ => written(&choices.value(&parameter["schema"], 0)),
        };
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &encoded(&value)),
            Some("query") => query.push(format!("{}={}", encoded(name), encoded(&value))),
            _ => {}
        }
    }
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let body = match (schema, choices.byte()) {
        (Value::Null, _) => Vec::new(),
        (_, 0xff) => choices.0.to_vec(),
        (schema, _) => choices.value(schema, 0).to_string().into_bytes(),
    };
    let uri = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    if uri.parse::<Uri>().is_ok() {
        DESK.lock().expect("one input at a time").holds(row.method, &uri, body);
    }
});
