//! A PostgreSQL of our own: the system's binaries, a socket in a private folder, no TCP, ended with its parent.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;

/// What becomes of the data when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Data,
    Nothing,
}

/// A running server. Dropping it stops the server; so does the death of this process, `kill -9` included.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: PathBuf,
    keep: Keep,
    durable: bool,
    child: Option<Child>,
}

/// A socket's path must fit `sun_path` (108 bytes) with `/.s.PGSQL.5432` behind it.
const LONGEST_FOLDER: usize = 90;
const START_LIMIT: Duration = Duration::from_mins(1);

impl PrivatePostgres {
    /// Starts a server on `folder`, made and initialised where it is new. `binaries` overrides the search.
    ///
    /// A server that another process of ours already runs on this folder is used, and left running.
    pub fn start(folder: &Path, keep: Keep, binaries: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_with(folder, keep, binaries, true)
    }

    /// As [`PrivatePostgres::start`], but a power cut may lose data: for tests, which do not outlive one.
    pub fn start_volatile(folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(folder, Keep::Nothing, None, false)
    }

    fn start_with(folder: &Path, keep: Keep, binaries: Option<&Path>, durable: bool) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder)?;
        if folder.as_os_str().len() > LONGEST_FOLDER {
            bail!(
                "the folder {} is too long for a socket: choose one of at most {LONGEST_FOLDER} bytes",
                folder.display()
            );
        }
        let binaries = match binaries {
            Some(given) if is_server(given) => given.to_owned(),
            Some(given) => bail!("no PostgreSQL server binaries in {}: {INSTALL}", given.display()),
            None => find_binaries()?,
        };
        let owner = unprivileged_owner()?;
        make_private_folder(&folder, owner)?;
        let mut server = Self { folder, keep, durable, child: None };
        if !server.data().join("PG_VERSION").exists() {
            server.initialise(&binaries, owner)?;
        }
        server.launch(&binaries, owner)?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whole or not at all: initdb writes `PG_VERSION` first, so a folder that it was killed in would look made.
    fn initialise(&self, binaries: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
        let unfinished = self.folder.join("data.new");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot clear {}", unfinished.display()))?;
        }
        if std::fs::read_dir(self.data()).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} holds something else than a PostgreSQL: choose another folder", self.data().display());
        }
        let mut initdb = command(&binaries.join("initdb"), owner);
        initdb.arg("-D").arg(&unfinished);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        if !self.durable {
            initdb.arg("--no-sync");
        }
        initdb.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = spawn_tied_to_this_process(initdb).context("cannot run initdb")?;
        let output = running.wait_with_output().context("cannot wait for initdb")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message");
            bail!(
                "initdb failed in {}: {last}{}",
                self.folder.display(),
                if owner.is_some() {
                    " (it runs as an unprivileged user, who must be able to reach that folder: choose another with --data-dir)"
                } else {
                    ""
                }
            );
        }
        std::fs::rename(&unfinished, self.data())
            .with_context(|| format!("cannot put a new database at {}", self.data().display()))
    }

    /// Starts the server and waits until it answers. A predecessor that is still shutting down is waited for.
    fn launch(&mut self, binaries: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut child: Option<Child> = None;
        loop {
            if let Some(running) = self.ready_pid() {
                if let Some(own) = child.take_if(|c| i32::try_from(c.id()) == Ok(running)) {
                    self.child = Some(own);
                    return Ok(());
                }
                if child.is_none() && is_alive(running) && self.answers() {
                    return Ok(());
                }
            }
            match child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                None if child.is_some() => {}
                Some(status) if !self.is_locked() => {
                    bail!("PostgreSQL ended at once ({status}): {}", self.log_tail());
                }
                _ => child = Some(self.spawn(binaries, owner)?),
            }
            if begun.elapsed() > START_LIMIT {
                bail!("PostgreSQL did not start within {START_LIMIT:?}: {}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn spawn(&self, binaries: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut postgres = command(&binaries.join("postgres"), owner);
        postgres.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        postgres.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]);
        if owner.is_some() {
            // The server runs as another user than we do; root may enter its folder, nobody else.
            postgres.args(["-c", "unix_socket_permissions=0777"]);
        }
        if !self.durable {
            postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400"]);
        }
        postgres.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        spawn_tied_to_this_process(postgres).context("cannot run postgres")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.reverse();
        lines.join(" | ")
    }

    fn pid_file(&self) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Some(text.lines().map(|l| l.trim().to_owned()).collect())
    }

    /// The server's process id, once its pid file says that it takes connections (line 8 of the file).
    fn ready_pid(&self) -> Option<i32> {
        let lines = self.pid_file()?;
        if !matches!(lines.get(7)?.as_str(), "ready" | "standby") {
            return None;
        }
        lines.first()?.parse().ok()
    }

    fn is_locked(&self) -> bool {
        let pid = self.pid_file().and_then(|l| l.first().and_then(|p| p.parse().ok()));
        pid.is_some_and(is_alive)
    }

    /// Whether something accepts on the socket: a pid file alone may be left over from before a reboot.
    fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.folder.join(".s.PGSQL.5432")).is_ok()
    }

    /// How to connect to the database `name` of this server.
    pub fn options(&self, name: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.folder)
            .port(5432)
            .username("postgres")
            .database(name)
    }

    /// Starts the server again where it has ended, whoever ran it: out of memory, or with another process of ours whose
    /// server this one used. Says whether it had.
    pub fn revive(&mut self) -> anyhow::Result<bool> {
        let runs = match &mut self.child {
            Some(child) => child.try_wait()?.is_none(),
            None => self.answers(),
        };
        if !runs {
            self.child = None;
            self.launch(&find_binaries()?, unprivileged_owner()?)?;
        }
        Ok(!runs)
    }

    /// Restarts the server as a crash of it would (`immediate`): for tests.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::SIGQUIT);
            child.wait()?;
        }
        self.launch(&find_binaries()?, unprivileged_owner()?)
    }

    /// Stops the server at once and leaves it stopped until [`PrivatePostgres::resume`]: for tests.
    pub fn halt(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::SIGQUIT);
            child.wait()?;
        }
        Ok(())
    }

    /// Starts a server on `folder` that follows this one and answers readers (a hot standby): for tests.
    pub fn replicate(&self, folder: &Path) -> anyhow::Result<Self> {
        let owner = unprivileged_owner()?;
        make_private_folder(folder, owner)?;
        let mut copy = command(&find_binaries()?.join("pg_basebackup"), owner);
        copy.arg("-h").arg(&self.folder).args([
            "-U",
            "postgres",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ]);
        let output = copy.arg("-D").arg(folder.join("data")).output().context("cannot run pg_basebackup")?;
        if !output.status.success() {
            bail!("pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Self::start_volatile(folder)
    }

    /// Starts a halted server again.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.launch(&find_binaries()?, unprivileged_owner()?)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SIGINT is "fast shutdown"; data that is thrown away needs no checkpoint.
        signal(&child, if self.keep == Keep::Data { Signal::SIGINT } else { Signal::SIGQUIT });
        if let Err(error) = child.wait() {
            tracing::warn!(%error, "cannot wait for the private PostgreSQL to end");
        }
        if self.keep == Keep::Nothing
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, "cannot remove the private PostgreSQL's folder");
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // An error means that it is gone already.
        nix::sys::signal::kill(Pid::from_raw(pid), signal).ok();
    }
}

fn is_alive(pid: i32) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

const INSTALL: &str = "install them (Debian: `apt-get install postgresql`) or set database.url";

fn is_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

/// The newest of the distribution's servers, else the PATH's.
fn find_binaries() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt"] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().replace("postgresql@", "");
            if let Ok(version) = name.parse() {
                found.push((version, entry.path().join("bin")));
            }
        }
    }
    // Fedora and others install one version, beside the other programs.
    found.push((0, PathBuf::from("/usr/bin")));
    found.extend(crate::config::search_path().into_iter().map(|folder| (0, folder)));
    found.retain(|(_, folder)| is_server(folder));
    found.sort();
    match found.pop() {
        Some((_, folder)) => Ok(folder),
        None => bail!("no PostgreSQL server binaries found (initdb, postgres): {INSTALL}"),
    }
}

/// PostgreSQL refuses to run as root: then the user `postgres`, else `nobody`, runs it.
fn unprivileged_owner() -> anyhow::Result<Option<(u32, u32)>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = nix::unistd::User::from_name(name)? {
            return Ok(Some((user.uid.as_raw(), user.gid.as_raw())));
        }
    }
    bail!("running as root, and neither the user postgres nor nobody exists to run PostgreSQL")
}

fn make_private_folder(folder: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    let described = || format!("cannot make the folder {}", folder.display());
    if !folder.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).with_context(described)?;
    }
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).with_context(described)?;
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).with_context(described)
}

fn command(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env_remove("PGDATA").env("TZ", "UTC");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// Spawns `command` so that the kernel sends it SIGINT when this process dies.
///
/// `PR_SET_PDEATHSIG` follows the *thread* that forked, so one thread that lives as long as the process does it.
fn spawn_tied_to_this_process(mut command: Command) -> std::io::Result<Child> {
    use std::sync::mpsc::{Sender, channel};
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: std::sync::OnceLock<Sender<Order>> = std::sync::OnceLock::new();

    #[expect(
        unsafe_code,
        reason = "prctl between fork and exec is async-signal-safe; nothing else runs there"
    )]
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Some(Signal::SIGINT))?));
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The asker waits for the answer; if it is gone, so is the need for the child.
                if let Err(unwanted) = answer.send(command.spawn())
                    && let Ok(mut child) = unwanted.0
                {
                    child.kill().ok();
                }
            }
        });
        orders
    });
    let (answer, result) = channel();
    spawner.send((command, answer)).map_err(|gone| std::io::Error::other(gone.to_string()))?;
    result.recv().map_err(std::io::Error::other)?
}
