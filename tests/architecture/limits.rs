//! Everything that leaves the process has a limit of time: the table says which, and the source agrees with it.

/// What opens connections or asks for names.
const OUTWARD: [&str; 11] = [
    "TcpStream::connect(",
    "lookup_host(",
    "Client::builder()",
    "AsyncSmtpTransport",
    "PgPoolOptions::new()",
    "PgListener::connect",
    "options.connect()",
    "HttpBuilder::new(token)",
    "get_bot_gateway()",
    "client_async",
    "connect_async",
];

/// Each file that does, what it talks to, and the words of its limits.
const LIMITS: [(&str, &str, &[&str]); 16] = [
    (
        "src/database.rs",
        "PostgreSQL: a connection, a statement, a lock, a silent transaction, an answer where nothing else limits it",
        &[
            "const PATIENCE: Duration = Duration::from_secs(10)",
            "(\"statement_timeout\", \"30s\")",
            "(\"lock_timeout\", \"20s\")",
            "(\"idle_in_transaction_session_timeout\", \"6s\")",
            "const ANSWER: Duration = Duration::from_secs(40)",
        ],
    ),
    (
        "src/queue/mod.rs",
        "PostgreSQL's announcements, begun by a worker's turn",
        &["pub async fn rung(&mut self)"],
    ),
    (
        "src/worker.rs",
        "a worker's turn, and each job",
        &["database::within(queue::claim_except", "job.kind.time_limit()"],
    ),
    ("src/sources/lock.rs", "the reader's lock", &["const ANSWER: Duration = Duration::from_secs(5)"]),
    (
        "src/sources/imap/connection.rs",
        "IMAP: reaching the server, an answer, the end of IDLE",
        &[
            "const CONNECT: Duration = Duration::from_secs(10)",
            "const ANSWER: Duration = Duration::from_secs(30)",
            "const DONE: Duration = Duration::from_secs(15)",
        ],
    ),
    ("src/sources/imap/fetch.rs", "IMAP: mails, by their size", &["const BYTES_PER_SECOND: u64 = 16 * 1024"]),
    (
        "src/deliver/mailer.rs",
        "SMTP: until the server greets, and a whole conversation",
        &["connect: Duration::from_secs(20)", "conversation: Duration::from_mins(11)"],
    ),
    (
        "src/deliver/webhook.rs",
        "a receiver of webhooks, its name included",
        &["const TIMEOUT: Duration = Duration::from_secs(10)"],
    ),
    (
        "src/deliver/webhook/guard.rs",
        "the names of receivers: part of a call, or of a request to us",
        &["lookup_host("],
    ),
    (
        "src/discord/api.rs",
        "Discord's API: a try, a call, an answer to an interaction",
        &[
            "const CONNECT_TIMEOUT: Duration = Duration::from_secs(5)",
            "const TRY_TIMEOUT: Duration = Duration::from_secs(15)",
            "const CALL_DEADLINE: Duration = Duration::from_secs(20)",
            "const ANSWER_DEADLINE: Duration = Duration::from_millis(2500)",
        ],
    ),
    ("src/sources/discord.rs", "Discord's gateway", &["const ANSWER: Duration = Duration::from_secs(20)"]),
    (
        "src/triage/gemini.rs",
        "Gemini: reaching it, and a call (gemini.timeout)",
        &["const CONNECT_TIMEOUT: Duration = Duration::from_secs(5)", ".timeout(settings.timeout)"],
    ),
    (
        "src/oauth/exchange.rs",
        "a token server",
        &["const PATIENCE: Duration = Duration::from_secs(20)", ".timeout(PATIENCE)"],
    ),
    (
        "src/web/oidc.rs",
        "who signs people in",
        &["const PATIENCE: Duration = Duration::from_secs(10)", ".timeout(PATIENCE)"],
    ),
    ("src/store/http.rs", "a bucket for attachments", &[".timeout(super::TIME_LIMIT)"]),
    (
        "src/app/traces.rs",
        "a collector of traces",
        &["const TAKES_WITHIN: Duration = Duration::from_secs(10)", ".timeout(TAKES_WITHIN)"],
    ),
];

#[test]
fn everything_that_leaves_the_process_has_a_limit_of_time() {
    let mut findings = Vec::new();
    for (path, text) in super::rust_files("src") {
        let limits = LIMITS.iter().find(|(file, _, _)| *file == path);
        if limits.is_none() && OUTWARD.iter().any(|call| text.contains(call)) {
            findings.push(format!("{path} talks to somebody: say here how long it waits"));
        }
        let missing =
            limits.into_iter().flat_map(|(_, _, words)| *words).filter(|words| !text.contains(**words));
        findings.extend(missing.map(|words| format!("{path} has no `{words}` any more")));
    }
    for (file, _, _) in LIMITS {
        if !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists() {
            findings.push(format!("there is no {file} any more"));
        }
    }
    assert!(findings.is_empty(), "{}", super::list(&findings));
}
