//! What keeps the web server up and its guests apart: limits, proxies that are not believed, heads that never end, pages that
//! may not be framed, and errors that tell nothing of the inside.

use std::net::SocketAddr;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use ticketd::people::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::desk::{Api, Desk, Plan, STAFF_PASSWORD};

async fn desk(more: &str) -> (Desk, Api) {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let dora = desk.logs_in("Dora").await;
    (desk, dora)
}

fn client() -> Client {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

async fn log_in(api: &Api, email: &str, password: &str, forwarded: &str) -> Response {
    let request = client().post(format!("{}/api/auth/login", api.base)).header("x-forwarded-for", forwarded);
    request.json(&json!({"email": email, "password": password})).send().await.expect("an answer")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn one_client_is_stopped_from_guessing_whatever_address_it_claims_to_have() {
    let (desk, dora) = desk("[limits]\nlog_ins_per_address = 4\nlog_ins_per_account = 0\n").await;
    let mut answers = Vec::new();
    for n in 0..5 {
        let answer =
            log_in(&dora, &format!("nobody{n}@example.org"), "wrong password", &format!("198.51.100.{n}"))
                .await;
        answers.push((answer.status().as_u16(), header(&answer, "retry-after").to_owned()));
    }
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429], "one of four was the log-in before");
    let wait: u64 = answers.last().and_then(|(_, wait)| wait.parse().ok()).expect("Retry-After in seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let right = log_in(&dora, "dora@example.org", STAFF_PASSWORD, "192.0.2.1").await;
    assert_eq!(right.status().as_u16(), 429, "also with the right password");
    assert_eq!(header(&right, "content-type"), "application/problem+json");
    assert_eq!(dora.get("/api/tickets").await.0, 200, "who is logged in is not disturbed");
    desk.close().await;
}

#[tokio::test]
async fn one_account_is_not_guessed_at_from_everywhere() {
    let limits = "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nlog_ins_per_account = 3\n";
    let (desk, dora) = desk(&limits.replace("[http]", "[http]\nlisten = \"127.0.0.1:0\"")).await;
    let mut statuses = Vec::new();
    for n in 0..4 {
        let answer = log_in(&dora, " DORA@example.org", "wrong password", &format!("198.51.100.{n}")).await;
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 429, 429], "one of three was the log-in before");
    desk.close().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let limits = "[limits]\nlog_ins_per_address = 2\nlog_ins_per_account = 0\n";
    let (desk, dora) =
        desk(&format!("[http]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n{limits}"))
            .await;
    let ask = async |forwarded: &str| {
        log_in(&dora, "nobody@example.org", "wrong", forwarded).await.status().as_u16()
    };
    assert_eq!((ask("192.0.2.1").await, ask("192.0.2.1").await, ask("192.0.2.1").await), (401, 401, 429));
    assert_eq!(ask("192.0.2.2").await, 401);
    assert_eq!(
        ask("192.0.2.99, 192.0.2.1").await,
        429,
        "what a client writes before its own address is not believed"
    );
    desk.close().await;
}

#[tokio::test]
async fn heads_without_end_and_bodies_without_measure_are_refused() {
    let (desk, dora) = desk("").await;
    let address: SocketAddr = dora.base.trim_start_matches("http://").parse().expect("an address");
    let answer = async |request: Vec<u8>| {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(&request).await.ok();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.ok();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    };
    let long = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(answer(long.into_bytes()).await, "HTTP/1.1 431 Request Header Fields Too Large");
    let many = "X-More: 1\r\n".repeat(200);
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(answer(many.into_bytes()).await, "HTTP/1.1 431 Request Header Fields Too Large");
    let huge =
        client().post(format!("{}/api/auth/login", dora.base)).json(&json!({"email": "x".repeat(2 << 20)}));
    assert_eq!(huge.send().await.expect("an answer").status().as_u16(), 413);
    desk.close().await;
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let (desk, dora) = desk("").await;
    for path in ["/", "/healthz", "/api/tickets", "/api/nothing", "/api/openapi.json", "/api/docs/"] {
        let answer = client().get(format!("{}{path}", dora.base)).send().await.expect("an answer");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "x-frame-options"), "DENY", "{path}");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer", "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("script-src 'unsafe") && !policy.contains("http"), "{path}: {policy}");
    }
    let foreign = client().get(format!("{}/api/tickets", dora.base)).header("origin", "https://evil.example");
    let foreign = foreign.send().await.expect("an answer");
    assert_eq!(header(&foreign, "access-control-allow-origin"), "", "closed unless configured");
    desk.close().await;

    let (desk, dora) =
        self::desk("[http]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"https://app.example\"]\n").await;
    let ask = async |origin: &str| {
        let request = client().get(format!("{}/api/tickets", dora.base)).header("origin", origin);
        let answer = request.send().await.expect("an answer");
        header(&answer, "access-control-allow-origin").to_owned()
    };
    assert_eq!(ask("https://app.example").await, "https://app.example");
    assert_eq!(ask("https://evil.example").await, "");
    desk.close().await;
}

#[tokio::test]
async fn the_description_and_its_page_come_from_the_program_itself() {
    let (desk, dora) = desk("").await;
    let get = async |path: &str| {
        let answer = client().get(format!("{}{path}", dora.base)).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.text().await.expect("a body")
    };
    let document: Value = serde_json::from_str(&get("/api/openapi.json").await).expect("JSON");
    assert!(
        document.pointer("/openapi").and_then(Value::as_str).is_some_and(|v| v.starts_with("3.1")),
        "OpenAPI 3.1"
    );
    let page = get("/api/docs/").await;
    assert!(page.contains("swagger-ui"), "{page:.500}");
    assert!(
        !page.contains("//cdn") && !page.contains("https://"),
        "nothing is loaded from elsewhere: {page}"
    );
    assert!(get("/api/docs/swagger-initializer.js").await.contains("/api/openapi.json"));
    desk.close().await;
}
