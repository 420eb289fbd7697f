//! An IMAP server that misbehaves on purpose, for what a real Dovecot does not do on command.
//!
//! It serves one folder with fixed mails to anyone, one thread for each connection, and knows just the commands that
//! the reader sends. [`Fault`]s say what goes wrong; each happens as often as it is listed.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes in the middle of the FETCH of a portion, after its first mail.
    HangUpInFetch,
    /// FETCH of this mail's content is refused, alone or with others.
    Refuse(u32),
    /// The answer with this mail's content is no IMAP.
    Nonsense(u32),
    /// As [`Fault::Nonsense`], and the mail can't be found in it either.
    UtterNonsense(u32),
    /// This mail is listed but vanishes before it is fetched.
    Vanish(u32),
    /// This mail is listed and never given.
    Withhold(u32),
    /// What is said of this mail comes in another order, with more than was asked for before, between and behind it.
    Disorder(u32),
    /// This mail's content comes as a quoted string, not as a literal.
    Quoted(u32),
    /// IDLE is answered with NO.
    NoIdle,
    /// The connection is accepted, and nothing more.
    Silence,
}

/// The server. Its threads end with the process.
#[derive(Clone, Debug)]
pub struct ImapScript {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capabilities: &'static str,
    mails: Mutex<Vec<(u32, Vec<u8>)>>,
    faults: Mutex<Vec<Fault>>,
    commands: watch::Sender<Vec<String>>,
    connections: watch::Sender<usize>,
}

impl ImapScript {
    /// A server with these mails, UIDs from 1.
    pub fn start(mails: &[&[u8]], faults: &[Fault]) -> Self {
        Self::with_capabilities("IMAP4rev1 IDLE UIDPLUS MOVE", mails, faults)
    }

    /// A server that announces these capabilities.
    pub fn with_capabilities(capabilities: &'static str, mails: &[&[u8]], faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            capabilities,
            mails: Mutex::new((1..).zip(mails.iter().map(|raw| raw.to_vec())).collect()),
            faults: Mutex::new(faults.to_vec()),
            commands: watch::Sender::default(),
            connections: watch::Sender::default(),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&served);
                shared.connections.send_modify(|count| *count += 1);
                // A client that hangs up is no fault of the test.
                std::thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Self { port, shared }
    }

    /// Its port on 127.0.0.1, plain text.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every command so far, without tags.
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.borrow().clone()
    }

    /// Another mail comes in; nobody is told.
    pub fn deliver(&self, raw: &[u8]) {
        let mut mails = self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = mails.last().map_or(1, |(uid, _)| uid + 1);
        mails.push((uid, raw.to_vec()));
    }

    /// Waits until a client has connected `count` times.
    pub async fn wait_for_connections(&self, count: usize) {
        let mut connections = self.shared.connections.subscribe();
        let waiting = connections.wait_for(|now| *now >= count);
        tokio::time::timeout(super::dovecot::PATIENCE, waiting)
            .await
            .expect("a client connects")
            .expect("a server");
    }
}

impl Shared {
    fn has(&self, fault: Fault) -> bool {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).contains(&fault)
    }

    /// Whether this goes wrong now; once for each time it is listed.
    fn happens(&self, fault: Fault) -> bool {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().position(|known| *known == fault);
        found.map(|at| faults.remove(at)).is_some()
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut lines = BufReader::new(stream).lines();
        if self.happens(Fault::Silence) {
            lines.next();
            return Ok(());
        }
        out.write_all(b"* OK ready\r\n")?;
        while let Some(line) = lines.next().transpose()? {
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            self.commands.send_modify(|commands| commands.push(command.to_owned()));
            let mut answer = Vec::new();
            let end = self.answer(command, &mut answer);
            out.write_all(&answer)?;
            match end {
                End::Tagged(status) => out.write_all(format!("{tag} {status}\r\n").as_bytes())?,
                End::HangUp => {
                    // Half-closed: the client can still write, so only the missing answer tells it.
                    out.shutdown(Shutdown::Write)?;
                    lines.by_ref().for_each(drop);
                    return Ok(());
                }
                End::Idle => {
                    lines.next();
                    out.write_all(format!("{tag} OK done\r\n").as_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn answer(&self, command: &str, out: &mut Vec<u8>) -> End {
        let words: Vec<&str> = command.split(' ').collect();
        let text = match words.as_slice() {
            ["CAPABILITY"] => format!("* CAPABILITY {}\r\n", self.capabilities),
            ["SELECT" | "EXAMINE", ..] => {
                let mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
                let next = mails.last().map_or(1, |(uid, _)| uid + 1);
                format!("* {} EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT {next}] n\r\n", mails.len())
            }
            ["IDLE"] if self.happens(Fault::NoIdle) => return End::Tagged("NO not today"),
            ["IDLE"] => {
                out.extend(b"+ idling\r\n");
                return End::Idle;
            }
            ["UID", "FETCH", set, rest @ ..] => return self.fetch(set, &rest.join(" "), out),
            ["UID", "EXPUNGE", set] => {
                let mut mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
                mails.retain(|(uid, _)| !within(set, *uid));
                String::new()
            }
            _ => String::new(),
        };
        out.extend(text.as_bytes());
        End::Tagged("OK done")
    }

    fn fetch(&self, set: &str, items: &str, out: &mut Vec<u8>) -> End {
        let mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = mails.last().map_or(0, |(uid, _)| *uid);
        for (number, (uid, raw)) in (1..).zip(&mails) {
            let is_last_by_star = set.ends_with('*') && *uid == last;
            if !within(set, *uid) && !is_last_by_star {
                continue;
            }
            if !items.contains("BODY.PEEK") {
                if !items.contains("RFC822.SIZE") && self.has(Fault::Vanish(*uid)) {
                    continue; // the question whether it is still there
                }
                let line = format!("* {number} FETCH (UID {uid} RFC822.SIZE {})\r\n", raw.len());
                out.extend(line.as_bytes());
                continue;
            }
            if self.happens(Fault::Refuse(*uid)) {
                return End::Tagged("NO [SERVERBUG] can't read it");
            }
            if self.has(Fault::Vanish(*uid)) || self.has(Fault::Withhold(*uid)) {
                continue;
            }
            let mut attributes = format!("UID {uid} ");
            if self.has(Fault::Nonsense(*uid)) {
                attributes.push_str("FLAGS (((");
            }
            if self.has(Fault::UtterNonsense(*uid)) {
                out.extend(b"* what is this\r\n* ]]\r\n");
                continue;
            }
            let origin = if items.contains("]<0.") { "<0>" } else { "" };
            if self.has(Fault::Quoted(*uid)) {
                let text = String::from_utf8_lossy(raw);
                out.extend(format!("* {number} FETCH (BODY[]{origin} \"{text}\" UID {uid})\r\n").as_bytes());
                continue;
            }
            if self.has(Fault::Disorder(*uid)) {
                out.extend(
                    format!("* {number} FETCH (FLAGS (\\Recent $Label))\r\n* OK by the way\r\n").as_bytes(),
                );
                out.extend(
                    format!("* {number} fetch (FLAGS () BODY[]{origin} {{{}}}\r\n", raw.len()).as_bytes(),
                );
                out.extend(raw);
                out.extend(
                    format!(" MODSEQ (12) UID {uid})\r\n* {number} FETCH (FLAGS (\\Seen))\r\n").as_bytes(),
                );
                continue;
            }
            write!(attributes, "BODY[]{origin} {{{}}}\r\n", raw.len()).expect("write to a string");
            out.extend(format!("* {number} FETCH ({attributes}").as_bytes());
            out.extend(raw);
            out.extend(b")\r\n");
            if !set.eq(&uid.to_string()) && self.happens(Fault::HangUpInFetch) {
                return End::HangUp;
            }
        }
        End::Tagged("OK done")
    }
}

enum End {
    Tagged(&'static str),
    HangUp,
    Idle,
}

/// Whether a UID is in a sequence set; `*` is left to the caller.
fn within(set: &str, uid: u32) -> bool {
    set.split(',').any(|run| {
        let (first, last) = run.split_once(':').unwrap_or((run, run));
        let first = first.parse().unwrap_or(u32::MAX);
        let last = if last == "*" { u32::MAX } else { last.parse().unwrap_or(0) };
        (first..=last).contains(&uid)
    })
}
