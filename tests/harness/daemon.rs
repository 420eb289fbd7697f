//! ticketd as a process of its own, for tests that kill it, and all that it needs around it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};
use ticketd::app::App;
use ticketd::clock::Clock;
use ticketd::config::Config;
use ticketd::files::Content;
use ticketd::ids::{PersonId, TicketId};
use ticketd::people::{self, NewStaff, Role};
use ticketd::tickets::{self, Channel, StaffMessage, uploads};
use tokio::sync::watch;

use super::desk::{configuration, fresh_user};
use super::smtp::SmtpSink;
use super::wait::PATIENCE;
use super::{children, postgres};

/// A running (or ended) process. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: watch::Receiver<Said>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    /// Its standard error is closed: it is dead.
    ended: bool,
}

impl Daemon {
    /// `ticketd serve`. `failpoints` as the crate `fail` reads them: `NAME=1*return` dies at that crash point.
    pub fn start(config: &Path, failpoints: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketd"));
        command.args(["serve", "--config"]).arg(config).env_clear().env("FAILPOINTS", failpoints);
        // The disk of the machine that tests is nobody's trouble here, and would be told by mail.
        command.env("TICKETD_ALARMS__DISK_FREE_PERCENT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = children::spawn(command, Signal::SIGKILL).expect("start ticketd");
        let log = child.stderr.take().expect("a pipe");
        let (say, said) = watch::channel(Said::default());
        let listener = Some(std::thread::spawn(move || listen(log, &say)));
        Self { child, said, listener }
    }

    /// Waits until it is up; false: it ended before, as it does where the database is away.
    pub async fn comes_up(&self) -> bool {
        self.until("\"ticketd is up\"", Said::is_up).await;
        self.said.borrow().is_up()
    }

    /// Whether it has come up, and has not ended by itself since.
    pub fn is_up(&self) -> bool {
        let said = self.said.borrow();
        said.is_up() && !said.ended
    }

    /// Waits until it has said this `count` times.
    pub async fn says(&self, what: &str, count: usize) {
        let times = |said: &Said| said.lines.iter().filter(|line| line.contains(what)).count();
        self.until(what, |said| times(said) >= count).await;
        assert!(times(&self.said.borrow()) >= count, "it ended before it said {what}:\n{}", self.log());
    }

    async fn until(&self, what: &str, holds: impl Fn(&Said) -> bool) {
        let mut said = self.said.clone();
        let waiting = said.wait_for(|said| said.ended || holds(said));
        let done = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(done, "ticketd does not say {what} within {PATIENCE:?}:\n{}", self.log());
    }

    /// Waits for `count` more lines of its log, but no longer than `limit`: some moment in its life.
    pub async fn works_for(&self, count: usize, limit: Duration) {
        let mut said = self.said.clone();
        let enough = said.borrow().lines.len() + count;
        let some_moment = said.wait_for(|said| said.ended || said.lines.len() >= enough);
        tokio::time::timeout(limit, some_moment).await.ok();
    }

    /// Waits until it ends by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        self.until("good-bye", |_| false).await;
        self.child.wait().expect("its exit status")
    }

    /// Whether it is dead.
    pub fn has_ended(&self) -> bool {
        self.said.borrow().ended
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("its exit status");
        // Its last words may still be in the pipe.
        self.listener.take().map(JoinHandle::join);
    }

    /// SIGHUP: it reads its configuration again.
    pub fn reloads(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// SIGSTOP: it stands still, and everything that it holds stays as it is.
    pub fn freezes(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on where it stood.
    pub fn thaws(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it takes signals");
    }

    /// The most memory it ever had, in bytes.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        number_after(&status, "VmHWM:") * 1024
    }

    /// How many bytes it has read, from files and connections.
    pub fn has_read_bytes(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("a process");
        number_after(&io, "rchar:")
    }

    /// SIGTERM, and waits until it has finished what is in hand.
    pub async fn stops(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ends().await;
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Where its API can be reached.
    pub fn base_url(&self) -> String {
        let said = self.said.borrow();
        let up = said.lines.iter().find(|line| line.contains("ticketd is up")).expect("it is up");
        let up: Value = serde_json::from_str(up).expect("a line of JSON");
        format!("http://{}", up.get("listen").and_then(Value::as_str).expect("an address"))
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.said.borrow().lines.join("\n")
    }

    /// What it logged as an error, and panics.
    pub fn errors(&self) -> Vec<String> {
        let is_error = |line: &&String| line.contains("\"level\":\"ERROR\"") || line.contains("panicked at");
        self.said.borrow().lines.iter().filter(is_error).cloned().collect()
    }
}

impl Said {
    fn is_up(&self) -> bool {
        self.lines.iter().any(|line| line.contains("ticketd is up"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The number behind a name in a file of proc(5).
fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn listen(log: ChildStderr, say: &watch::Sender<Said>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        say.send_modify(|said| said.lines.push(line));
    }
    say.send_modify(|said| said.ended = true);
}

/// What a ticketd process needs: a database, a mailbox, a mail server, a configuration that names them, and staff who
/// know about everything that is written in the tests.
#[derive(Debug)]
pub struct Premises {
    pub db: PgPool,
    pub sink: SmtpSink,
    pub user: String,
    pub config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Premises {
    /// On a fresh database of the shared server.
    pub async fn furnish(imap: u16, mailbox: &str, more: &str) -> Self {
        Self::on(&postgres::fresh_url().await, imap, mailbox, more).await
    }

    /// On a migrated database with nothing in it.
    pub async fn on(url: &str, imap: u16, mailbox: &str, more: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (sink, user) = (SmtpSink::start(), fresh_user());
        let more = format!(
            "{more}\n[database]\nurl = \"{url}\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [telemetry]\nlog = \"info,ticketd=debug\"\nformat = \"json\"\n"
        );
        let text = configuration(&user, imap, sink.port(), mailbox, &more);
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("ticketd.toml");
        std::fs::write(&config, &text).expect("write the configuration");
        let db = PgPoolOptions::new().max_connections(2).connect(url).await.expect("a pool");
        employ(&db).await;
        let premises = Self { db, sink, user, config, _folder: folder };
        premises.app().await.stages.settle().await.expect("the queue answers");
        premises
    }

    /// An app in this process, by the same configuration.
    async fn app(&self) -> App {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let parsed = Arc::new(Config::parse(&text, BTreeMap::new()).expect("a configuration"));
        App::build(parsed, self.db.clone(), Clock::system(), None).await.expect("an app")
    }

    /// Who has a ticket answers it, with a file of so many bytes.
    pub async fn answers(&self, ticket: i64, bytes: usize) {
        let files = self.app().await.stages.deliver.files;
        let now = Clock::system().now();
        let mut noise = vec![0; bytes];
        StdRng::seed_from_u64(ticket.cast_unsigned()).fill_bytes(&mut noise);
        let content = Content::new(noise);
        files.keep(std::slice::from_ref(&content), now).await.expect("a content");
        let query = sqlx::query_scalar("SELECT assignee_id FROM tickets WHERE id = $1").bind(ticket);
        let author = PersonId(query.fetch_one(&self.db).await.expect("who has it"));
        let mut tx = self.db.begin().await.expect("a transaction");
        let name = Some("log");
        let file = uploads::take(&mut tx, author, name, "application/octet-stream", &content, now).await;
        let uploads = [file.expect("an upload").id];
        let (text, channel) = ("See the file.", Channel::Web);
        let message = StaffMessage { author, channel, text, inbound: None, uploads: &uploads };
        let locked = tickets::lock(&mut tx, TicketId(ticket)).await.expect("a ticket");
        tickets::reply(&mut tx, &locked, &message, now, now).await.expect("an answer");
        tx.commit().await.expect("a commit");
    }

    /// The leases of whoever held jobs have run out. To be called while nobody works.
    pub async fn leases_run_out(&self) {
        let update = sqlx::query("UPDATE jobs SET run_at = LEAST(run_at, now())");
        update.execute(&self.db).await.expect("the queue");
    }

    /// A number from the database.
    pub async fn count(&self, what: &'static str) -> i64 {
        sqlx::query(what).fetch_one(&self.db).await.expect("a count").get(0)
    }

    /// Whether `mails` are in the ledger, all have a fate, and nothing is left to do.
    pub async fn is_settled(&self, mails: usize) -> bool {
        let query = sqlx::query(
            "SELECT (SELECT count(*) FROM inbound WHERE fate IS NOT NULL), (SELECT count(*) FROM jobs)",
        );
        let row = query.fetch_one(&self.db).await.expect("counts");
        (row.get::<i64, _>(0), row.get::<i64, _>(1)) == (i64::try_from(mails).expect("small"), 0)
    }
}

/// Bea and Cem share the work, Dora is the admin.
async fn employ(db: &PgPool) {
    let now = Clock::system().now();
    let catalogue = "[[skill]]\nslug = \"billing\"\nname = \"Billing\"\naliases = [\"invoice\", \"refund\"]\n\
        description = \"Invoices, payments and refunds\"\n\
        [[skill]]\nslug = \"networking\"\nname = \"Networking\"\naliases = [\"dns\", \"firewall\", \"router\"]\n\
        description = \"Networks, routers and name servers\"\n";
    people::import_skills(db, catalogue, now).await.expect("a catalogue");
    let both = vec![("billing".to_owned(), 5), ("networking".to_owned(), 4)];
    for (name, role, skills) in [
        ("Bea", Role::Moderator, both.clone()),
        ("Cem", Role::Moderator, both),
        ("Dora", Role::Admin, Vec::new()),
    ] {
        let email = format!("{}@example.org", name.to_lowercase());
        let (name, cap) = (name.to_owned(), Some(1000));
        let staff = NewStaff { name, email, role, cap, away: false, skills };
        people::save_staff(db, &staff, now).await.expect("a staff member");
    }
}
