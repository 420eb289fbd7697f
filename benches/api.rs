//! How fast the API answers, with few tickets and with very many: the real program on a real PostgreSQL (fsync on) and the
//! client that measures, all on the same cores. Both sizes are measured in one run, so the ratio says what size costs.
//!
//! `cargo bench --bench api`; `TICKETD_BENCH_TICKETS` sets the large size (1,000,000), `TICKETD_BENCH_REQUESTS` the number of
//! requests of each kind, `TICKETD_BENCH_SECONDS` the length of the load.

#![expect(
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "the harness of the tests, of which this uses a part"
)]
#![expect(clippy::panic, clippy::print_stdout, reason = "a measurement that fails has nothing better to do")]

#[path = "../tests/harness/mod.rs"]
mod harness;
mod measure;

use std::net::{SocketAddr, TcpListener};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use ticketd::clock::Clock;
use ticketd::people::{self, NewStaff, Role};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use harness::wait;
use measure::{Ground, cpu, option, percentile, serve};

const PASSWORD: &str = "correct horse battery";
const SMALL: i64 = 10_000;
const CONNECTIONS: usize = 16;

#[tokio::main]
async fn main() {
    let large: i64 = option("TICKETD_BENCH_TICKETS", 1_000_000);
    let ground = Ground::lay(4).await;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    hire(&ground.db).await;
    let config = ground.configure(&format!(
        "{}[http]\nlisten = \"{address}\"\n[limits]\nrequests_per_address = 0\n[auth]\naccess_minutes = 600\n\
         [[mailbox]]\nname = \"support\"\naddress = \"support@example.org\"\noutbox_dir = \"out\"\n\
         [telemetry]\nlog = \"warn\"\n",
        ground.database()
    ));
    let mut before = Vec::new();
    for size in [SMALL, large] {
        fill(&ground.db, size).await;
        let mut daemon = serve(&config);
        wait::until("the API", async || TcpStream::connect(address).await.is_ok()).await;
        println!("{size} tickets");
        let measured = measure_all(address, &daemon).await;
        for (at, (name, median, p99)) in measured.iter().enumerate() {
            let ratio =
                before.get(at).map(|(_, m, _): &(String, f64, f64)| format!(", {:.2} times", median / m));
            println!("  {name:38} {median:7.2} ms median, {p99:7.2} ms p99{}", ratio.unwrap_or_default());
        }
        before = measured;
        daemon.kill().ok();
        daemon.wait().ok();
    }
    ground.db.close().await;
}

async fn hire(db: &PgPool) {
    let now = Clock::system().now();
    let catalogue: Vec<String> =
        SKILLS.iter().map(|s| format!("[[skill]]\nslug = \"{s}\"\nname = \"{s}\"\n")).collect();
    people::import_skills(db, &catalogue.concat(), now).await.expect("a catalogue");
    for (name, role) in [("Dora", Role::Admin), ("Bea", Role::Moderator)] {
        let skills = vec![("billing".to_owned(), 4)];
        let email = format!("{}@example.org", name.to_lowercase());
        let staff = NewStaff { name: name.into(), email, role, cap: None, away: false, skills };
        let id = people::save_staff(db, &staff, now).await.expect("staff");
        people::set_password(db, id, PASSWORD.into(), now).await.expect("a password");
    }
}

const SKILLS: [&str; 8] = ["billing", "rust", "network", "mail", "account", "hardware", "legal", "shipping"];

/// Tickets as a desk has them: nine in ten are history, subjects and texts are of words as common and as rare as in a
/// language, each has one or two skills.
async fn fill(db: &PgPool, size: i64) {
    let begun = Instant::now();
    let persons = (size / 10).max(1000);
    let word = "'word' || (5000 * power(random(), 4))::INT";
    let words = |n: usize| vec![word; n].join(" || ' ' || ");
    let statements = [
        "DELETE FROM jobs".to_owned(),
        format!(
            "INSERT INTO persons (name, created_at) SELECT 'Customer ' || n, now()
             FROM generate_series((SELECT count(*) FROM persons) + 1, {persons} + 3) AS n"
        ),
        format!(
            "INSERT INTO tickets (subject, status, priority, category, channel, requester_id, assignee_id, assignment_outcome,
                                  created_at, updated_at, resolved_at, closed_at)
             SELECT {}, status, (ARRAY['low', 'medium', 'medium', 'high', 'urgent'])[1 + (n * 7) % 5],
                    (ARRAY['technical', 'billing', 'account', 'bug', 'other'])[1 + (n * 11) % 5], 'email',
                    3 + n % {persons}, CASE WHEN status <> 'new' THEN 1 + n % 2 END, 'matched',
                    at, at + interval '1 hour', CASE WHEN status IN ('resolved', 'closed') THEN at + interval '1 hour' END,
                    CASE WHEN status = 'closed' THEN at + interval '1 day' END
             FROM (SELECT n, now() - ({size} - n) * interval '30 seconds' AS at,
                          CASE WHEN n % 100 < 92 THEN 'closed' WHEN n % 100 < 94 THEN 'resolved' WHEN n % 100 < 96 THEN 'pending'
                               WHEN n % 100 < 99 THEN 'open' ELSE 'new' END AS status
                   FROM generate_series((SELECT count(*) FROM tickets) + 1, {size}) AS n) AS source",
            words(6)
        ),
        format!(
            "INSERT INTO messages (ticket_id, kind, channel, author_id, body, visible, created_at)
             SELECT t.id, 'inbound', 'email', t.requester_id, text, text, t.created_at
             FROM tickets t, LATERAL (SELECT {} || CASE WHEN t.id IS NULL THEN '' ELSE '' END AS text) AS x
             WHERE NOT EXISTS (SELECT FROM messages m WHERE m.ticket_id = t.id)",
            words(30)
        ),
        "INSERT INTO participants (ticket_id, person_id, part, address, joined_at)
         SELECT id, requester_id, 'requester', 'c@example.net', created_at FROM tickets ON CONFLICT DO NOTHING"
            .to_owned(),
        "INSERT INTO ticket_skills (ticket_id, skill_id)
         SELECT t.id, s.id FROM tickets t JOIN skills s ON s.id = 1 + t.id % 8 OR (t.id % 3 = 0 AND s.id = 1 + (t.id / 8) % 8)
         ON CONFLICT DO NOTHING"
            .to_owned(),
        "VACUUM ANALYZE".to_owned(),
        "CHECKPOINT".to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(db).await.expect("tickets");
    }
    println!("({size} tickets made in {:.0} s)", begun.elapsed().as_secs_f64());
}

/// One connection that is kept; the least that a client can be, so that little of what is measured is its own.
struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    async fn connect(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: BufReader::new(stream), token: token.to_owned() }
    }

    async fn get(&mut self, path: &str) -> Vec<u8> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", self.token);
        self.send(&request, path).await
    }

    async fn send(&mut self, request: &str, what: &str) -> Vec<u8> {
        self.stream.get_mut().write_all(request.as_bytes()).await.expect("a request");
        let (mut line, mut length, mut first) = (String::new(), 0, true);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.expect("a line");
            assert!(!first || line.starts_with("HTTP/1.1 200"), "{what}: {line}");
            first = false;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.expect("a body");
        body
    }
}

async fn log_in(address: SocketAddr, name: &str) -> String {
    let body = json!({"email": format!("{name}@example.org"), "password": PASSWORD}).to_string();
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = Client::connect(address, "").await.send(&request, "log-in").await;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    answer.pointer("/access_token").and_then(Value::as_str).expect("a token").to_owned()
}

/// Every kind of question, one at a time, then lists as fast as they come.
async fn measure_all(address: SocketAddr, daemon: &Child) -> Vec<(String, f64, f64)> {
    let (dora, bea) = (log_in(address, "dora").await, log_in(address, "bea").await);
    let requests: usize = option("TICKETD_BENCH_REQUESTS", 1000);
    let newest = newest(address, &dora).await;
    let deep = format!("/api/tickets?cursor={}", deep_cursor(address, &dora).await);
    let questions: [(&str, &str, String); 13] = [
        ("list", &dora, "/api/tickets".to_owned()),
        ("list, further on", &dora, deep),
        ("list, by status open", &dora, "/api/tickets?status=open".to_owned()),
        ("list, by status and category", &dora, "/api/tickets?status=closed&category=billing".to_owned()),
        ("list, of one skill, urgent", &dora, "/api/tickets?skill=legal&priority=urgent".to_owned()),
        ("list, own, as a moderator", &bea, "/api/tickets?assignee=me&status=open".to_owned()),
        ("list, of one requester", &dora, "/api/tickets?requester=77".to_owned()),
        ("search, a common word", &dora, "/api/tickets?q=word1".to_owned()),
        ("search, a rare word", &dora, "/api/tickets?q=word4987".to_owned()),
        ("search, two words", &dora, "/api/tickets?q=word3+word70".to_owned()),
        ("search, open ones", &dora, "/api/tickets?q=word20&status=open".to_owned()),
        ("detail", &dora, "/api/tickets/{n}".to_owned()),
        ("summary", &dora, "/api/tickets/summary".to_owned()),
    ];
    let mut measured = Vec::new();
    for (name, token, path) in questions {
        let mut client = Client::connect(address, token).await;
        let mut took = Vec::with_capacity(requests);
        for n in 0..requests + requests / 10 {
            let spread = i64::try_from(n * 7919).unwrap_or(0) % (newest - 1000).max(1);
            let path = path.replace("{n}", &(newest - spread).to_string());
            let begun = Instant::now();
            client.get(&path).await;
            // The first tenth warms up.
            if n >= requests / 10 {
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        measured.push((name.to_owned(), percentile(&mut took, 50), percentile(&mut took, 99)));
    }
    load(address, &dora, daemon).await;
    measured
}

async fn newest(address: SocketAddr, token: &str) -> i64 {
    let list = Client::connect(address, token).await.get("/api/tickets?limit=1").await;
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    list.pointer("/tickets/0/number").and_then(Value::as_i64).expect("a ticket")
}

async fn deep_cursor(address: SocketAddr, token: &str) -> String {
    let mut client = Client::connect(address, token).await;
    let mut cursor = String::new();
    for _ in 0..20 {
        let path = if cursor.is_empty() {
            "/api/tickets?limit=100".to_owned()
        } else {
            format!("/api/tickets?limit=100&cursor={cursor}")
        };
        let page: Value = serde_json::from_slice(&client.get(&path).await).expect("JSON");
        page.pointer("/next_cursor").and_then(Value::as_str).expect("more").clone_into(&mut cursor);
    }
    cursor
}

/// Lists over several connections at once.
async fn load(address: SocketAddr, token: &str, daemon: &Child) {
    let seconds: u64 = option("TICKETD_BENCH_SECONDS", 10);
    let (before, begun) = (cpu(daemon.id()), Instant::now());
    let ends = begun + Duration::from_secs(seconds);
    let clients = (0..CONNECTIONS).map(|_| async {
        let mut client = Client::connect(address, token).await;
        let mut took = Vec::new();
        while Instant::now() < ends {
            let asked = Instant::now();
            client.get("/api/tickets").await;
            took.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        took
    });
    let mut took: Vec<f64> = futures_util::future::join_all(clients).await.concat();
    let count = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX));
    let each = (cpu(daemon.id()).saturating_sub(before)).as_secs_f64() * 1000.0 / count;
    println!(
        "  lists over {CONNECTIONS} connections: {:.0} /s, {:.1} ms median, {:.1} ms p99; {each:.2} ms CPU of ticketd each",
        count / begun.elapsed().as_secs_f64(),
        percentile(&mut took, 50),
        percentile(&mut took, 99)
    );
}
