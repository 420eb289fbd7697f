//! The real binary, run as a person at a terminal or an init system runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::children;

/// How long a command may take, or a test waits for a word from it. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The binary with these arguments; nothing of the test's own environment speaks to it.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketd"));
    command.args(args);
    for name in ["CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "TICKETD_DATA_DIR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, with this on its standard input.
pub async fn run(args: &[&str], input: &str) -> Ran {
    run_with(args, input, &[]).await
}

/// As [`run`], with more in the environment.
pub async fn run_with(args: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command = command(args);
    command.envs(environment.iter().copied());
    let mut child = children::spawn(command, Signal::SIGKILL).expect("ticketd starts");
    let pid = pid_of(&child);
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        // A command that does not read its input closes it; that is no error of the test.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        child.wait_with_output()
    });
    let output = match tokio::time::timeout(PATIENCE, output).await {
        Ok(output) => output.expect("the waiting thread").expect("an end"),
        Err(_elapsed) => {
            kill(pid, Signal::SIGKILL).ok();
            panic!("ticketd {args:?} did not end within {PATIENCE:?}");
        }
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8 from ticketd");
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

/// A command that goes on: `serve` or `demo`. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// Everything it said so far.
    pub said: Vec<String>,
}

impl Running {
    /// Starts it, with more in the environment.
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(args);
        command.envs(environment.iter().copied());
        let mut child = children::spawn(command, Signal::SIGKILL).expect("ticketd starts");
        let (sender, lines) = mpsc::unbounded_channel();
        pass_on(child.stdout.take().expect("a pipe"), sender.clone());
        pass_on(child.stderr.take().expect("a pipe"), sender);
        Self { child, lines, said: Vec::new() }
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Waits for a line that holds this, on standard output or standard error.
    pub async fn says(&mut self, words: &str) -> String {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
            let Ok(Some(line)) = next else {
                panic!("ticketd did not say `{words}` but:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("ticketd runs");
    }

    /// Waits for its end, and hears what it says until then.
    pub async fn ends(&mut self) -> ExitStatus {
        while let Some(line) =
            tokio::time::timeout(PATIENCE, self.lines.recv()).await.expect("ticketd ends or says something")
        {
            self.said.push(line);
        }
        self.child.wait().expect("an end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn pass_on(pipe: impl Read + Send + 'static, lines: mpsc::UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.send(line).ok();
        }
    });
}

/// Waits until a process is no more (a zombie is none).
pub async fn gone(pid: i32) {
    until("the process is gone", || !is_running(pid)).await;
}

/// Waits for something that nobody announces.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            ticks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}

fn is_running(pid: i32) -> bool {
    // The state follows the name in parentheses (proc_pid_stat(5)).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A folder for a configuration and what belongs to it. An unprivileged PostgreSQL may pass through it.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ticketd-test-").tempdir().expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("permissions");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and says where it is.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }

    /// Writes the configuration, and says where it is. Files are kept in this folder.
    pub fn config(&self, text: &str) -> String {
        let is_placed = text.contains("data_dir") || text.contains("[attachments");
        let files = if is_placed { "" } else { "[attachments]\npath = \"attachments\"\n" };
        self.file("ticketd.toml", &format!("{text}\n{files}")).display().to_string()
    }

    /// What changes from run to run is taken out of a message: this folder, and these other words.
    pub fn redact(&self, text: &str, changing: &[(&str, &str)]) -> String {
        let text = text.replace(&self.path().display().to_string(), "DIR");
        changing.iter().fold(text, |text, (found, name)| text.replace(found, name)).trim_end().to_owned()
    }
}

/// The URL under which another process reaches the database of this pool.
pub fn url_of(db: &sqlx::PgPool) -> String {
    let options = db.connect_options();
    let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{socket}:5432/{}", options.get_database().expect("a name"))
}

/// A port that refuses connections as long as this lives: it is taken, and nobody listens on it.
pub struct ClosedPort {
    _taken: socket2::Socket,
    pub port: u16,
}

impl ClosedPort {
    pub fn take() -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
        Self { _taken: socket, port: address.port() }
    }
}

/// A port for a process to listen on, below those that the system hands out to whoever wants any.
pub fn free_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| rand::random_range(20_000..30_000));
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.find(is_free).expect("a free port")
}
