//! One PostgreSQL for all tests, and a fresh migrated database for each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use ticketd::database::{self, PrivatePostgres};
use tokio::sync::OnceCell;

use super::children;

const TEMPLATE: &str = "template_ticketd";

fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        children::sweep("ticketd-pg");
        let folder = std::env::temp_dir().join(format!("ticketd-pg-{}", std::process::id()));
        PrivatePostgres::start_volatile(&folder).expect("a PostgreSQL (apt-get install postgresql)")
    })
}

/// Migrates once; every test's database is a copy of this one.
async fn template() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let admin = admin().await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).await.expect("a template");
        admin.close().await;
        let db = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(server().options(TEMPLATE))
            .await
            .expect("a pool");
        database::migrate(&db).await.expect("migrations");
        db.close().await;
    })
    .await;
}

async fn admin() -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .connect_with(server().options("postgres"))
        .await
        .expect("a connection")
}

/// How to connect to a fresh, migrated database.
pub async fn fresh() -> PgConnectOptions {
    template().await;
    create(&format!("TEMPLATE {TEMPLATE}")).await
}

/// How to connect to a fresh database with nothing in it.
pub async fn empty() -> PgConnectOptions {
    create("").await
}

async fn create(how: &str) -> PgConnectOptions {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = admin().await;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} {how}"))).await.expect("a database");
    admin.close().await;
    server().options(&name)
}

/// A server of its own with a migrated database `postgres`, for tests that crash or halt it.
pub async fn private() -> PrivatePostgres {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    children::sweep("ticketd-pg");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("ticketd-pg-{}-{count}", std::process::id()));
    let server = PrivatePostgres::start_volatile(&folder).expect("a PostgreSQL (apt-get install postgresql)");
    let options = PgPoolOptions::new().max_connections(1);
    let db = options.connect_with(server.options("postgres")).await.expect("a pool");
    database::migrate(&db).await.expect("migrations");
    db.close().await;
    server
}

/// A server whose processes all stand still until this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<Pid>);

/// Has a server stand still: who is connected stays so, and hears nothing.
pub fn stands_still(server: &PrivatePostgres) -> Frozen {
    let folder = server.options("postgres").get_socket().expect("a socket").join("data/postmaster.pid");
    let file = std::fs::read_to_string(folder).expect("a pid file");
    let postmaster: i32 = file.lines().next().and_then(|pid| pid.parse().ok()).expect("a process id");
    let mut frozen = Frozen(vec![Pid::from_raw(postmaster)]);
    // First the one that would start others.
    kill(Pid::from_raw(postmaster), Signal::SIGSTOP).expect("it runs");
    let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
    for child in children.expect("its processes").split_whitespace() {
        let child = Pid::from_raw(child.parse().expect("a process id"));
        kill(child, Signal::SIGSTOP).ok();
        frozen.0.push(child);
    }
    frozen
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill(*pid, Signal::SIGCONT).ok();
        }
    }
}

/// The URL of a fresh, migrated database on the shared server, for a process of its own.
pub async fn fresh_url() -> String {
    url_of(&fresh().await)
}

/// Connection options as a URL.
pub fn url_of(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{socket}:5432/{}", options.get_database().expect("a name"))
}
