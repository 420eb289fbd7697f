//! What the measurements share: a durable PostgreSQL of their own, the real program, and numbers of a process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use ticketd::database::{self, Keep, PrivatePostgres};

use crate::harness::children;

/// A PostgreSQL with fsync on, migrated, and a folder beside it.
pub struct Ground {
    pub folder: tempfile::TempDir,
    pub db: PgPool,
    _server: PrivatePostgres,
}

impl Ground {
    pub async fn lay(connections: u32) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().expect("a folder");
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), permissions).expect("a folder that PostgreSQL can reach");
        let server =
            PrivatePostgres::start(&folder.path().join("pg"), Keep::Nothing, None).expect("a PostgreSQL");
        let options = PgPoolOptions::new().max_connections(connections);
        let db = options.connect_with(server.options("postgres")).await.expect("a pool");
        database::migrate(&db).await.expect("migrations");
        Self { folder, db, _server: server }
    }

    /// Where this PostgreSQL is reached.
    pub fn url(&self) -> String {
        let socket = self.folder.path().join("pg").display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    /// The section that has ticketd use it.
    pub fn database(&self) -> String {
        format!("[database]\nurl = \"{}\"\n", self.url())
    }

    /// Writes the configuration down.
    pub fn configure(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("ticketd.toml");
        std::fs::write(&path, text).expect("written");
        path
    }
}

/// The real program.
pub fn serve(config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketd"));
    command.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
    children::spawn(command, Signal::SIGKILL).expect("ticketd")
}

/// A measurement's size, from the environment.
#[expect(clippy::disallowed_methods, reason = "a measurement's size")]
pub fn option<T: std::str::FromStr>(name: &str, usual: T) -> T {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

pub fn percentile(times: &mut [f64], part: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or(f64::NAN)
}

/// User and system time of a process (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
