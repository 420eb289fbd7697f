//! A support desk: the daemon in this process, on a database of its own, between a real Dovecot and a real SMTP server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};
use ticketd::app::App;
use ticketd::clock::Clock;
use ticketd::config::Config;
use ticketd::ids::PersonId;
use ticketd::people::{self, NewStaff, Role};
use ticketd::{queue, sources};
use tokio_util::sync::CancellationToken;

use super::children;
use super::dovecot::{Dovecot, PASSWORD};
use super::logs::Errors;
use super::mail::Mail;
use super::postgres;
use super::smtp::{Received, SmtpSink};

/// The address customers write to.
pub const SUPPORT: &str = "support@example.org";
pub const STAFF_PASSWORD: &str = "correct horse battery";

pub struct Desk {
    pub app: App,
    pub db: PgPool,
    pub clock: Clock,
    pub sink: SmtpSink,
    /// The mailbox's user on the shared Dovecot.
    pub user: String,
    errors: Errors,
    closed: bool,
    _log: tracing::subscriber::DefaultGuard,
}

/// How a desk differs from the usual one.
#[derive(Default)]
pub struct Plan {
    /// TOML behind the usual configuration.
    pub more: String,
    /// Another address than [`SUPPORT`] for the mailbox.
    pub address: Option<&'static str>,
    /// Keys of the `[[mailbox]]` section.
    pub mailbox: String,
    /// Another database than a fresh one on the shared server.
    pub db: Option<PgPool>,
    pub sink: Option<SmtpSink>,
    pub dovecot: Option<u16>,
    pub user: Option<String>,
    /// What stands in place of the password in `[mailbox.imap]`.
    pub login: Option<String>,
}

/// A user name nobody else has: a fresh, empty mailbox.
pub fn fresh_user() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("support{}-{}", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

pub fn start_of_time() -> DateTime<Utc> {
    "2026-11-21T09:00:00Z".parse().expect("a date")
}

impl Desk {
    /// One mailbox, offline triage, and nobody on staff yet.
    pub async fn open() -> Self {
        Self::with(Plan::default()).await
    }

    pub async fn with(plan: Plan) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let errors = Errors::default();
        let log = errors.listen();
        let sink = plan.sink.unwrap_or_else(SmtpSink::start);
        let user = plan.user.unwrap_or_else(fresh_user);
        let db = match plan.db {
            Some(db) => db,
            None => PgPoolOptions::new()
                .max_connections(8)
                .connect_with(postgres::fresh().await)
                .await
                .expect("a pool"),
        };
        let imap = plan.dovecot.unwrap_or_else(|| Dovecot::shared().imap_port());
        let text = configuration(&user, imap, sink.port(), &plan.mailbox, &plan.more);
        let text = text.replace(SUPPORT, plan.address.unwrap_or(SUPPORT));
        let text = match &plan.login {
            Some(login) => text.replacen(&format!("password = \"{PASSWORD}\""), login, 1),
            None => text,
        };
        let config = Config::parse(&text, BTreeMap::new()).expect("a configuration");
        let clock = Clock::told(start_of_time());
        let app = App::build(Arc::new(config), db.clone(), clock.clone(), None).await.expect("an app");
        Self { app, db, clock, sink, user, errors, closed: false, _log: log }
    }

    /// Someone who works here, with skills at level 3 to 5.
    pub async fn hires(&self, name: &str, role: Role, skills: &[(&str, i32)]) -> PersonId {
        self.hires_with(name, role, skills, None, false).await
    }

    pub async fn hires_with(
        &self,
        name: &str,
        role: Role,
        skills: &[(&str, i32)],
        cap: Option<i32>,
        away: bool,
    ) -> PersonId {
        let staff = NewStaff {
            name: name.to_owned(),
            email: format!("{}@example.org", name.to_lowercase()),
            role,
            cap,
            away,
            skills: skills.iter().map(|(slug, level)| ((*slug).to_owned(), *level)).collect(),
        };
        let id = people::save_staff(&self.db, &staff, self.clock.now()).await.expect("a staff member");
        people::set_password(&self.db, id, STAFF_PASSWORD.into(), self.clock.now())
            .await
            .expect("a password");
        self.settle().await;
        id
    }

    /// The usual catalogue: `billing` and `networking`.
    pub async fn knows_skills(&self) {
        let catalogue = r#"
            [[skill]]
            slug = "billing"
            name = "Billing"
            aliases = ["invoice", "refund", "charged"]
            description = "Invoices, payments and refunds"
            [[skill]]
            slug = "networking"
            name = "Networking"
            aliases = ["dns", "firewall", "router"]
            description = "Networks, routers and name servers"
        "#;
        people::import_skills(&self.db, catalogue, self.clock.now()).await.expect("a catalogue");
    }

    /// Puts a mail into the inbox, as the mail server does, and leaves it there.
    pub async fn gets(&self, mail: &Mail) {
        Dovecot::shared().append(&self.user, "INBOX", mail.raw()).await;
    }

    /// A mail arrives, is fetched, and everything that follows from it happens.
    pub async fn handles(&self, mail: &Mail) {
        self.gets(mail).await;
        self.fetches().await;
        self.settle().await;
    }

    /// Reads the mailbox once, as the daemon does when it wakes.
    pub async fn fetches(&self) {
        self.try_fetch().await.expect("the mailbox can be read");
    }

    pub async fn try_fetch(&self) -> anyhow::Result<usize> {
        let mailbox = self.app.config.mailbox.first().expect("a mailbox");
        let mut reader = sources::reader(
            mailbox,
            &self.db,
            &self.clock,
            &self.app.oauth,
            self.app.config.mail.max_message_bytes,
        )?;
        sources::imap::sync_once(&mut reader).await
    }

    /// Runs due jobs through the real worker until none is due.
    pub async fn settle(&self) {
        self.app.stages.settle().await.expect("the queue answers");
    }

    /// Lets time pass, then does what is due by then.
    pub async fn later(&self, by: TimeDelta) {
        self.clock.advance(by);
        self.settle().await;
    }

    /// What was sent to this address, oldest first.
    pub fn mails_to(&self, address: &str) -> Vec<Received> {
        self.sink
            .mails()
            .into_iter()
            .filter(|m| m.rcpt_to.iter().any(|r| r.eq_ignore_ascii_case(address)))
            .collect()
    }

    /// The newest mail sent to this address, as text.
    pub fn last_mail_to(&self, address: &str) -> String {
        self.mails_to(address).pop().unwrap_or_else(|| panic!("nothing was sent to {address}")).text()
    }

    /// A number from the database.
    pub async fn count(&self, what: &'static str) -> i64 {
        sqlx::query(what).fetch_one(&self.db).await.expect("a count").get(0)
    }

    /// Tickets there are.
    pub async fn tickets(&self) -> i64 {
        self.count("SELECT count(*) FROM tickets").await
    }

    /// The fates in the ledger, oldest first.
    pub async fn fates(&self) -> Vec<String> {
        let rows = sqlx::query("SELECT COALESCE(fate, 'waiting') FROM inbound ORDER BY id");
        rows.fetch_all(&self.db).await.expect("the ledger").iter().map(|r| r.get(0)).collect()
    }

    /// The API, to somebody who is not logged in.
    pub async fn serves(&self) -> Api {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = self.app.router();
        #[expect(
            clippy::disallowed_methods,
            reason = "the test's server, which ends with the test's runtime"
        )]
        tokio::spawn(ticketd::web::serve(listener, router, CancellationToken::new()));
        Api { base, token: None, client: reqwest::Client::builder().no_proxy().build().expect("a client") }
    }

    /// A log-in to the API.
    pub async fn logs_in(&self, name: &str) -> Api {
        let mut api = self.serves().await;
        let login = serde_json::json!({
            "email": format!("{}@example.org", name.to_lowercase()),
            "password": STAFF_PASSWORD,
        });
        let (status, body) = api.post("/api/auth/login", &login).await;
        assert_eq!(status, 200, "{body}");
        api.token = body.pointer("/access_token").and_then(Value::as_str).map(str::to_owned);
        api
    }

    /// The errors logged so far, which the test expects.
    pub fn expects_errors(&self) -> Vec<String> {
        self.errors.take()
    }

    /// Every line of the log so far.
    pub fn log(&self) -> Vec<String> {
        self.errors.lines()
    }

    /// Ends a desk whose database the test took away.
    pub fn close_without_database(mut self) {
        assert_eq!(self.errors.take(), Vec::<String>::new(), "errors were logged");
        self.closed = true;
    }

    /// Ends the desk: nothing may be due, dead or logged as an error.
    pub async fn close(mut self) {
        let jobs = queue::list(&self.db, queue::Which::All, 100).await.expect("the queue");
        let now = self.clock.now();
        let left: Vec<_> = jobs.iter().filter(|j| j.run_at <= now || j.failed_at.is_some()).collect();
        assert!(left.is_empty(), "work is left undone: {left:#?}");
        assert_eq!(self.errors.take(), Vec::<String>::new(), "errors were logged");
        self.closed = true;
        self.db.close().await;
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        assert!(self.closed || std::thread::panicking(), "end the test with desk.close().await");
    }
}

/// The usual configuration of a test.
pub fn configuration(user: &str, imap: u16, smtp: u16, mailbox: &str, more: &str) -> String {
    let files = data_dir(user);
    format!(
        r#"
        data_dir = "{}"
        [[mailbox]]
        name = "support"
        address = "{SUPPORT}"
        {mailbox}
        [mailbox.imap]
        host = "127.0.0.1"
        port = {imap}
        tls = "none"
        user = "{user}"
        password = "{PASSWORD}"
        [mailbox.smtp]
        host = "127.0.0.1"
        port = {smtp}
        tls = "none"
        {more}
        "#,
        files.display()
    )
}

/// Where a desk keeps files. The same for one that is opened anew for the same mailbox.
pub fn data_dir(user: &str) -> PathBuf {
    static SWEPT: OnceLock<()> = OnceLock::new();
    SWEPT.get_or_init(|| children::sweep("ticketd-files"));
    std::env::temp_dir().join(format!("ticketd-files-{}", std::process::id())).join(user)
}

/// The HTTP API as a client sees it.
#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub token: Option<String>,
    client: reqwest::Client,
}

impl Api {
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.put(format!("{}{path}", self.base)).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.patch(format!("{}{path}", self.base)).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(self.client.delete(format!("{}{path}", self.base))).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> (u16, Value) {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}
