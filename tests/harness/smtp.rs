//! A real SMTP server for the tests: Debian's aiosmtpd, run by `sink.py`.
//!
//! One Python process serves the whole test run; every [`SmtpSink`] is a server of its own in it, on ports of its
//! own. Nothing polls: the process tells what happened on its stdout, and a thread passes that on to who waits.

#![expect(clippy::panic, reason = "a harness that can't do its part fails the test, and says why")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{certificates, children};

/// How long a test waits for mail or a connection before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail as the server accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The envelope's sender; empty for the null sender.
    pub mail_from: String,
    /// The envelope's recipients.
    pub rcpt_to: Vec<String>,
    /// The mail, byte for byte.
    pub raw: Vec<u8>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who logged in, if anyone did.
    pub user: Option<String>,
}

impl Received {
    /// The mail as text, for snapshots and searches.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

/// Where in the dialogue a refusal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In answer to MAIL FROM.
    Mail,
    /// In answer to RCPT TO.
    Rcpt,
    /// In answer to the mail's last dot.
    Data,
}

/// What the server does with the next connections and mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes everything.
    Accept,
    /// Answers with this code and text.
    Refuse(At, u16, String),
    /// Refuses one recipient at RCPT TO, takes the others.
    RefuseRecipient(String, u16, String),
    /// Refuses every sender but this one at MAIL FROM.
    RefuseOtherSenders(String, u16, String),
    /// Keeps the mail, answers after this many milliseconds.
    Delay(u32),
    /// Accepts the connection and never says a word.
    Hang,
    /// Keeps the mail and never answers: perhaps sent.
    HangAfterData,
    /// Keeps the mail and closes the connection without an answer: perhaps sent.
    DropAfterData,
    /// Closes the connection when the client asks to send the mail.
    DropBeforeData,
}

impl Behaviour {
    fn to_json(&self) -> Value {
        match self {
            Self::Accept => json!({"kind": "accept"}),
            Self::Refuse(at, code, text) => {
                let at = match at {
                    At::Mail => "mail",
                    At::Rcpt => "rcpt",
                    At::Data => "data",
                };
                json!({"kind": "refuse", "at": at, "code": code, "text": text})
            }
            Self::RefuseRecipient(recipient, code, text) => {
                json!({"kind": "refuse", "at": "rcpt", "recipient": recipient, "code": code, "text": text})
            }
            Self::RefuseOtherSenders(but, code, text) => {
                json!({"kind": "refuse", "at": "mail", "but": but, "code": code, "text": text})
            }
            Self::Delay(millis) => json!({"kind": "delay", "millis": millis}),
            Self::Hang => json!({"kind": "hang"}),
            Self::HangAfterData => json!({"kind": "hang_after_data"}),
            Self::DropAfterData => json!({"kind": "drop_after_data"}),
            Self::DropBeforeData => json!({"kind": "drop_before_data"}),
        }
    }
}

/// One mail server. Dropping it closes its ports and connections.
#[derive(Debug)]
pub struct SmtpSink {
    number: u64,
    port: u16,
    tls_port: u16,
    ca_file: PathBuf,
    seen: watch::Receiver<Seen>,
}

/// What one sink has seen so far.
#[derive(Debug, Default)]
struct Seen {
    mails: Vec<Received>,
}

impl SmtpSink {
    /// A server that takes mail from anyone.
    pub fn start() -> Self {
        Self::open(&json!({"do": "open"}))
    }

    /// A server that takes mail only after a login.
    pub fn with_login(user: &str, password: &str) -> Self {
        Self::open(&json!({"do": "open", "user": user, "password": password}))
    }

    /// A server that takes mail only after a login by this access token (XOAUTH2).
    pub fn with_token(user: &str, token: &str) -> Self {
        Self::open(&json!({"do": "open", "user": user, "token": token}))
    }

    /// A server at [`certificates::EXPIRED_HOST`] whose certificate has expired.
    pub fn expired() -> Self {
        Self::open(&json!({"do": "open", "expired": true}))
    }

    /// From now on it takes this access token, and no other.
    pub fn takes_token(&self, token: &str) {
        Server::shared().ask(&json!({"do": "take", "sink": self.number, "token": token}));
    }

    fn open(command: &Value) -> Self {
        let server = Server::shared();
        let opened = server.ask(command);
        let number = |key: &str| opened.get(key).and_then(Value::as_u64).expect("a number from sink.py");
        let as_port = |key: &str| u16::try_from(number(key)).expect("a port");
        let seen = server.seen(number("sink")).subscribe();
        let ca_file = server.folder.join("ca.pem");
        Self { ca_file, number: number("sink"), port: as_port("port"), tls_port: as_port("tls_port"), seen }
    }

    /// The port on 127.0.0.1 that speaks plain text and offers STARTTLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on 127.0.0.1 that speaks TLS from the first byte.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// The certificate that a client must trust for either kind of TLS; it names `localhost` and `127.0.0.1`.
    pub fn ca_file(&self) -> PathBuf {
        self.ca_file.clone()
    }

    /// From now on the server behaves like this.
    pub fn behave(&self, behaviour: &Behaviour) {
        let told = json!({"do": "behave", "sink": self.number, "behaviour": behaviour.to_json()});
        Server::shared().ask(&told);
    }

    /// Every mail so far, in the order of arrival.
    pub fn mails(&self) -> Vec<Received> {
        Server::shared().ask(&json!({"do": "sync"}));
        self.seen.borrow().mails.clone()
    }

    /// Waits until there are at least `count` mails and returns all of them.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait("mails", count, |seen| seen.mails.len()).await;
        self.mails()
    }

    async fn wait(&self, what: &str, wanted: usize, count: impl Fn(&Seen) -> usize) {
        let mut seen = self.seen.clone();
        let done = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| count(seen) >= wanted)).await;
        if !matches!(done, Ok(Ok(_))) {
            let got = count(&self.seen.borrow());
            panic!("the mail server has {got} {what} after {PATIENCE:?}, the test waits for {wanted}");
        }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        // A panic here, while a failed test unwinds, would take the other tests along.
        Server::shared().try_ask(&json!({"do": "close", "sink": self.number}));
    }
}

/// The process behind all sinks.
struct Server {
    folder: PathBuf,
    dialogue: Mutex<Dialogue>,
    sinks: Sinks,
}

type Sinks = Arc<Mutex<HashMap<u64, watch::Sender<Seen>>>>;

struct Dialogue {
    commands: ChildStdin,
    answers: mpsc::Receiver<Value>,
}

impl Server {
    fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        children::sweep("ticketd-smtp");
        let folder = std::env::temp_dir().join(format!("ticketd-smtp-{}-0", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the mail server");
        certificates::write_to(&folder);
        let script = folder.join("sink.py");
        std::fs::write(&script, include_str!("sink.py")).expect("write sink.py");
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-W", "ignore"]).arg(script);
        command.arg(&folder).arg(folder.join("server.pem")).arg(folder.join("server.key"));
        let log = std::fs::File::create(folder.join("log")).expect("a log for the mail server");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Not by `children::spawn`: it ends by itself, and tidies up, when this process ends and its stdin with it.
        let mut child = command.spawn().expect("python3 starts: apt-get install python3-aiosmtpd");
        let commands = child.stdin.take().expect("a pipe");
        let events = child.stdout.take().expect("a pipe");
        let sinks = Sinks::default();
        let (to_asker, answers) = mpsc::channel();
        let told = Arc::clone(&sinks);
        std::thread::spawn(move || {
            listen(events, &told, &to_asker);
            child.wait()
        });
        Self { folder, dialogue: Mutex::new(Dialogue { commands, answers }), sinks }
    }

    /// Sends a command and waits for its answer.
    fn ask(&self, command: &Value) -> Value {
        let Some(answer) = self.try_ask(command) else {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            panic!(
                "the mail server does not answer; is aiosmtpd there? apt-get install python3-aiosmtpd\n{log}"
            )
        };
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            panic!("the mail server failed at {command}:\n{error}");
        }
        answer
    }

    fn try_ask(&self, command: &Value) -> Option<Value> {
        let mut dialogue = self.dialogue.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(dialogue.commands, "{command}").ok()?;
        dialogue.answers.recv_timeout(PATIENCE).ok()
    }

    fn seen(&self, sink: u64) -> watch::Sender<Seen> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).entry(sink).or_default().clone()
    }
}

/// Passes on what the process says, until it ends.
fn listen(events: ChildStdout, sinks: &Sinks, answers: &mpsc::Sender<Value>) {
    for line in BufReader::new(events).lines().map_while(Result::ok) {
        let told: Value = serde_json::from_str(&line).expect("JSON from sink.py");
        let Some(event) = told.get("event").and_then(Value::as_str) else {
            answers.send(told).ok();
            continue;
        };
        let sink = told.get("sink").and_then(Value::as_u64).expect("a sink's number");
        if event != "mail" {
            continue;
        }
        // A sink that was closed meanwhile took its mails along: nobody waits for them.
        let Some(mail) = read_mail(&told) else { continue };
        let seen = sinks.lock().unwrap_or_else(PoisonError::into_inner).entry(sink).or_default().clone();
        seen.send_modify(|seen| seen.mails.push(mail));
    }
}

/// `None`: its sink was closed.
fn read_mail(event: &Value) -> Option<Received> {
    let path = PathBuf::from(event.get("path").and_then(Value::as_str).expect("a path"));
    let about = std::fs::read(path.with_extension("json")).ok()?;
    let raw = std::fs::read(path.with_extension("eml")).ok()?;
    let about: Value = serde_json::from_slice(&about).expect("an envelope as JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let field = |key: &str| about.get(key).expect("a field of the envelope");
    Some(Received {
        mail_from: text(field("mail_from")),
        rcpt_to: field("rcpt_to").as_array().expect("recipients").iter().map(text).collect(),
        raw,
        tls: field("tls").as_bool().unwrap_or_default(),
        user: field("user").as_str().map(str::to_owned),
    })
}
