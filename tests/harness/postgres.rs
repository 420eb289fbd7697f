//! One PostgreSQL for all tests, and a fresh migrated database for each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

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
    static COUNT: AtomicU32 = AtomicU32::new(0);
    template().await;
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = admin().await;
    admin
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")))
        .await
        .expect("a database");
    admin.close().await;
    server().options(&name)
}

/// The URL of such a database, for a process of its own.
pub async fn fresh_url() -> String {
    url_of(&fresh().await)
}

/// Connection options as a URL.
pub fn url_of(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{socket}:5432/{}", options.get_database().expect("a name"))
}
