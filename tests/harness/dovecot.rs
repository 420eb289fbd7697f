//! A real Dovecot for the tests.
//!
//! Any user name logs in with [`PASSWORD`], and a fresh user name is a fresh mailbox, so one server does for a whole
//! test process. It runs in the foreground with null stdio (as a daemon it would keep the test runner's pipes open)
//! and is stopped when the process ends.

#![expect(clippy::panic, reason = "a harness that can't do its part fails the test, and says why")]

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Group, Pid, User, getegid, geteuid},
};
use tokio::net::TcpStream;

use super::{certificates, children};

/// The password of every user.
pub const PASSWORD: &str = "secret";
/// How long Dovecot may take to start, stop or answer before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A logged-in session in plain text.
pub type Session = async_imap::Session<TcpStream>;

/// A running Dovecot (or one that can be started again).
#[derive(Debug)]
pub struct Dovecot {
    folder: PathBuf,
    imap: u16,
    imaps: u16,
    owner: Owner,
    child: Mutex<Option<Child>>,
}

/// Who the mail belongs to: root can't read mail, so Dovecot reads it as somebody else.
#[derive(Debug, Clone)]
struct Owner {
    user: String,
    group: String,
    uid: u32,
    gid: u32,
    root: bool,
}

impl Dovecot {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Dovecot> = OnceLock::new();
        SHARED.get_or_init(Self::private)
    }

    /// A server of its own, for tests that stop or kill it.
    pub fn private() -> Self {
        Self::with("")
    }

    /// A server of its own with more lines of configuration, such as `imap_capability = IMAP4rev1`.
    pub fn with(configuration: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        children::sweep("ticketd-dovecot");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ticketd-dovecot-{}-{count}", std::process::id()));
        let owner = Owner::find();
        for part in ["", "mail", "run", "state"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).expect("a folder for dovecot");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        owner.give(&folder.join("mail"));
        certificates::write_to(&folder);
        // Another process may take a port between its choice and Dovecot's start.
        for _ in 0..5 {
            let (imap, imaps) = free_ports();
            let text = settings(&folder, &owner, imap, imaps) + configuration + "\n";
            std::fs::write(folder.join("dovecot.conf"), text).expect("write dovecot.conf");
            let dovecot =
                Self { folder: folder.clone(), imap, imaps, owner: owner.clone(), child: Mutex::default() };
            if dovecot.try_start() {
                return dovecot;
            }
        }
        panic!("dovecot does not start; its log:\n{}", log_of(&folder))
    }

    /// Starts a server that was stopped or killed: same data, same ports.
    pub fn start(&self) {
        assert!(self.try_start(), "dovecot does not start again; its log:\n{}", self.log());
    }

    fn try_start(&self) -> bool {
        let mut command = Command::new(binary());
        command.arg("-F").arg("-c").arg(self.folder.join("dovecot.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).env_clear();
        let mut child = children::spawn(command, Signal::SIGTERM).expect("start dovecot");
        let ready = self.wait_until_ready(&mut child);
        *self.child() = ready.then_some(child);
        ready
    }

    fn wait_until_ready(&self, child: &mut Child) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if child.try_wait().expect("ask for dovecot's state").is_some() {
                return false;
            }
            if greets(self.imap) && greets_tls(self.imaps) {
                return true;
            }
            // Dovecot has no way to say that it is ready but to answer.
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    /// Stops it politely: idle clients are told BYE.
    pub fn stop(&self) {
        self.end(Signal::SIGTERM);
    }

    /// Kills it and every process it started, as a crash would.
    pub fn kill(&self) {
        self.end(Signal::SIGKILL);
    }

    fn end(&self, signal: Signal) {
        let Some(mut child) = self.child().take() else { return };
        let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        killpg(group, signal).ok();
        child.wait().expect("dovecot ends");
        // Sessions outlive a polite stop only for a moment; a crash takes them along.
        killpg(group, signal).ok();
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port on 127.0.0.1 for plain text and STARTTLS.
    pub fn imap_port(&self) -> u16 {
        self.imap
    }

    /// The port for TLS from the first byte: a good certificate as `localhost` or 127.0.0.1, an expired one at
    /// [`certificates::EXPIRED_HOST`], one for other names at [`certificates::UNNAMED_HOST`], and at
    /// [`certificates::SELF_SIGNED_HOST`] the one in [`Dovecot::self_signed_file`].
    pub fn imaps_port(&self) -> u16 {
        self.imaps
    }

    /// The certificate that a client must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate that the server signed itself.
    pub fn self_signed_file(&self) -> PathBuf {
        self.folder.join("self-signed.pem")
    }

    /// What Dovecot logged.
    pub fn log(&self) -> String {
        log_of(&self.folder)
    }

    /// A logged-in session of this user, nothing selected.
    pub async fn session(&self, user: &str) -> Session {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.imap)).await.expect("connect to dovecot");
        let mut client = async_imap::Client::new(stream);
        client.read_response().await.expect("read the greeting").expect("a greeting");
        match client.login(user, PASSWORD).await {
            Ok(session) => session,
            Err((error, _)) => panic!("log in to dovecot: {error}\n{}", self.log()),
        }
    }

    /// Delivers one mail by IMAP APPEND: idle readers wake up at once.
    pub async fn append(&self, user: &str, folder: &str, raw: impl AsRef<[u8]>) {
        let mut session = self.session(user).await;
        if folder != "INBOX" {
            session.create(folder).await.ok(); // it may be there
        }
        session.append(folder, None, None, raw).await.expect("append a mail");
        session.logout().await.expect("log out");
    }

    /// Delivers many mails at once by writing Maildir files, as a delivery agent does. UIDs follow their order.
    pub fn deliver<'a>(&self, user: &str, folder: &str, mails: impl IntoIterator<Item = &'a [u8]>) {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let maildir = self.maildir(user, folder);
        for part in ["tmp", "new", "cur"] {
            std::fs::create_dir_all(maildir.join(part)).expect("create a maildir");
        }
        for path in [&self.maildir(user, ""), &maildir] {
            self.owner.give(path);
            ["tmp", "new", "cur"].iter().filter(|part| path.join(part).exists()).for_each(|part| {
                self.owner.give(&path.join(part));
            });
        }
        for raw in mails {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("1700000000.M{count:09}P{}.test", std::process::id());
            let path = maildir.join("tmp").join(&name);
            std::fs::write(&path, raw).expect("write a mail");
            self.owner.give(&path);
            std::fs::rename(&path, maildir.join("new").join(&name)).expect("deliver a mail");
        }
    }

    /// Where Dovecot keeps a folder of a user; the top folder for `INBOX` and for no name.
    fn maildir(&self, user: &str, folder: &str) -> PathBuf {
        let top = self.folder.join("mail").join(user);
        match folder {
            "" | "INBOX" => top,
            name => top.join(format!(".{name}")),
        }
    }

    /// UIDs and flags of the mails in a user's INBOX; without `\Recent`, which only says who looked first.
    pub async fn flags(&self, user: &str) -> Vec<(u32, Vec<String>)> {
        let mut session = self.session(user).await;
        session.examine("INBOX").await.expect("open the INBOX");
        let fetches: Vec<_> =
            session.uid_fetch("1:*", "(UID FLAGS)").await.expect("fetch").try_collect().await.expect("flags");
        let mut all: Vec<_> = fetches
            .iter()
            .map(|fetch| {
                let flags = fetch.flags().map(|flag| match flag {
                    async_imap::types::Flag::Custom(name) => name.into_owned(),
                    known => format!("\\{known:?}"),
                });
                (fetch.uid.expect("a UID"), flags.filter(|flag| flag != "\\Recent").collect::<Vec<_>>())
            })
            .collect();
        all.sort();
        all
    }

    /// The names of a user's folders, sorted.
    pub async fn folders(&self, user: &str) -> Vec<String> {
        let mut session = self.session(user).await;
        let names: Vec<_> =
            session.list(None, Some("*")).await.expect("list").try_collect().await.expect("folders");
        let mut names: Vec<_> = names.iter().map(|name| name.name().to_owned()).collect();
        names.sort();
        names
    }

    /// The mails in a folder, byte for byte, by ascending UID. Nothing is marked as read.
    pub async fn messages(&self, user: &str, folder: &str) -> Vec<Vec<u8>> {
        let mut session = self.session(user).await;
        session.examine(folder).await.expect("open the folder");
        let fetches: Vec<_> = session
            .uid_fetch("1:*", "(UID BODY.PEEK[])")
            .await
            .expect("fetch")
            .try_collect()
            .await
            .expect("mails");
        let mut all: Vec<_> =
            fetches.iter().map(|f| (f.uid, f.body().unwrap_or_default().to_vec())).collect();
        all.sort();
        all.into_iter().map(|(_, raw)| raw).collect()
    }

    /// Gives a user's INBOX a new UIDVALIDITY and its mails new UIDs from 1 on, as after a restore from backup.
    /// Returns the new UIDVALIDITY.
    pub async fn bump_uidvalidity(&self, user: &str) -> u32 {
        let mut session = self.session(user).await;
        let old =
            session.examine("INBOX").await.expect("open the INBOX").uid_validity.expect("a UIDVALIDITY");
        session.logout().await.expect("log out");
        let maildir = self.maildir(user, "INBOX");
        for entry in std::fs::read_dir(&maildir).expect("read the maildir").flatten() {
            if entry.file_name().to_string_lossy().starts_with("dovecot.index") {
                std::fs::remove_file(entry.path()).expect("remove an index");
            }
        }
        let list = maildir.join("dovecot-uidlist");
        let new = old + 1;
        std::fs::write(&list, format!("3 V{new} N1 G{new:032x}\n")).expect("write the UID list");
        self.owner.give(&list);
        new
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.kill();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

impl Owner {
    fn find() -> Self {
        let root = geteuid().is_root();
        let found = if root { User::from_name("nobody") } else { User::from_uid(geteuid()) };
        let user = found.ok().flatten().expect("a user for the mail");
        let gid = if root { user.gid } else { getegid() };
        let group = Group::from_gid(gid).ok().flatten().expect("a group for the mail");
        Self { user: user.name, group: group.name, uid: user.uid.as_raw(), gid: gid.as_raw(), root }
    }

    fn give(&self, path: &Path) {
        if self.root {
            chown(path, Some(self.uid), Some(self.gid)).expect("give a file to the mail's owner");
        }
    }
}

fn binary() -> &'static Path {
    ["/usr/sbin/dovecot", "/usr/local/sbin/dovecot", "/sbin/dovecot"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("these tests need a real Dovecot: apt-get install dovecot-imapd"))
}

/// Dovecot's whole configuration; it reads none of the machine's.
fn settings(folder: &Path, owner: &Owner, imap: u16, imaps: u16) -> String {
    let Owner { user, group, uid, gid, root } = owner;
    let expired = certificates::EXPIRED_HOST;
    let own = certificates::SELF_SIGNED_HOST;
    let hosts = format!("127.0.0.1, {expired}, {own}, {}", certificates::UNNAMED_HOST);
    // As root Dovecot uses the users that its package made; otherwise it must be one user throughout, without chroot.
    let identity = if *root {
        String::new()
    } else {
        let internal =
            ["service imap-login", "service anvil"].map(|s| format!("{s} {{\n  chroot =\n}}\n")).concat();
        format!(
            "default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n{internal}"
        )
    };
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {hosts}
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
local {expired} {{
  ssl_cert = <{folder}/expired.pem
  ssl_key = <{folder}/expired.key
}}
local {own} {{
  ssl_cert = <{folder}/self-signed.pem
  ssl_key = <{folder}/self-signed.key
}}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = never
mailbox_idle_check_interval = 1s
mail_max_userip_connections = 100
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 500
}}
{identity}",
        folder = folder.display(),
    )
}

/// Two ports that are free on every loopback address.
fn free_ports() -> (u16, u16) {
    let [imap, imaps] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port"));
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&imap), port(&imaps))
}

/// Whether an IMAP server says OK on this port.
fn greets(port: u16) -> bool {
    use std::io::Read;
    let Ok(mut stream) = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).ok();
    let mut start = [0; 4];
    stream.read_exact(&mut start).is_ok() && start == *b"* OK"
}

/// Whether something accepts connections on this port.
fn greets_tls(port: u16) -> bool {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_else(|error| format!("(no log: {error})"))
}
