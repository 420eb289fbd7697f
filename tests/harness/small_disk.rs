//! A PostgreSQL on a file system of its own that is small, and can be filled to its last byte.
//!
//! The file system is mounted where nobody else sees it: by root in a mount namespace, by anybody else in one of a user
//! namespace. It ends with the server.

#![expect(clippy::panic, reason = "a harness that can't do its part fails the test, and says why")]

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use ticketd::database;

use super::children;

/// How long the server may take to start before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server, started again whenever it ends. Dropping it ends it.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
    child: Child,
}

impl SmallDisk {
    /// A server on so many MiB, with a migrated database `postgres`.
    pub async fn start(mebibytes: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        children::sweep("ticketd-small");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("ticketd-small-{}-{count}", std::process::id()));
        std::fs::create_dir_all(place.join("disk")).expect("a folder");
        std::fs::set_permissions(&place, PermissionsExt::from_mode(0o755)).expect("permissions");
        let log = std::fs::File::create(place.join("log")).expect("a log");
        let (mut command, user) = unshared();
        command.args(["sh", "-c", include_str!("small_disk.sh"), "sh"]).arg(&place);
        command.arg(format!("{mebibytes}M")).arg(binaries()).args(user);
        command.current_dir("/").env("TZ", "UTC").env_remove("PGDATA").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let child = children::spawn(command, Signal::SIGKILL).expect("unshare (apt-get install util-linux)");
        let mut disk = Self { place, child };
        disk.wait_until_up();
        let options = PgPoolOptions::new().max_connections(1);
        let db = options.connect_with(disk.options()).await.expect("a pool");
        database::migrate(&db).await.expect("migrations");
        db.close().await;
        disk
    }

    fn wait_until_up(&mut self) {
        let begun = Instant::now();
        while !std::fs::read_to_string(self.disk().join("data/postmaster.pid"))
            .is_ok_and(|pid| pid.contains("ready"))
        {
            let ended = self.child.try_wait().expect("ask for its state").is_some();
            if ended || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
                panic!(
                    "no PostgreSQL on a file system of its own; this test needs root, or user namespaces \
                        (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0):\n{log}"
                );
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The file system, as the server sees it.
    fn disk(&self) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root")
            .join(self.place.strip_prefix("/").expect("an absolute path"))
            .join("disk")
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.place)
            .port(5432)
            .username("postgres")
            .database("postgres")
    }

    /// Takes all the room there is.
    pub fn fills(&self) {
        let path = self.disk().join("ballast");
        let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        for size in [1 << 20, 1 << 12] {
            let chunk = vec![7; size];
            loop {
                match ballast.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("cannot fill the disk: {error}"),
                }
            }
        }
        assert!(std::fs::metadata(&path).expect("the file").size() > 0, "there was no room to take");
    }

    /// There is room again.
    pub fn has_room(&self) {
        std::fs::remove_file(self.disk().join("ballast")).expect("the file");
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.place).ok();
    }
}

/// A command in namespaces of its own, and what runs a program there as a user that PostgreSQL takes.
fn unshared() -> (Command, Vec<String>) {
    let mut command = Command::new("unshare");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user", "--mount", "--"]);
        return (command, words(&["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]));
    }
    let named = |name| User::from_name(name).ok().flatten();
    let owner = named("postgres").or_else(|| named("nobody")).expect("a user for the server");
    command.args(["--mount", "--"]).env("owner", &owner.name);
    let (user, group) = (format!("--reuid={}", owner.uid), format!("--regid={}", owner.gid));
    (command, words(&["setpriv", &user, &group, "--clear-groups", "--"]))
}

/// The newest of the distribution's servers.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        if let Ok(version) = entry.file_name().to_string_lossy().parse() {
            found.push((version, entry.path().join("bin")));
        }
    }
    found.sort();
    found.pop().map_or_else(|| PathBuf::from("/usr/bin"), |(_, folder)| folder)
}
