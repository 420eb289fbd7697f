//! The daemon and the demo as processes: they start, stop, are killed, and leave nothing behind but what they should.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, Row};
use ticketd::database::{Keep, PrivatePostgres};

use crate::harness::mail::text;
use crate::harness::postgres;
use crate::harness::program::{Place, Running, free_port, gone, run, run_with, until};
use crate::harness::smtp::{Behaviour, SmtpSink};

const MAILBOX: &str = "[[mailbox]]\nname = \"support\"\naddress = \"support@example.org\"\n";
const MAIL: &str = "From: Ada <ada@example.net>\r\nTo: support@example.org\r\nMessage-ID: <1@x>\r\nSubject: Hi\r\n\r\nHello\r\n";

async fn get(url: &str) -> (u16, String) {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
    let answer = client.get(url).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// The postmaster of a private PostgreSQL in this folder.
fn postmaster(folder: &Path) -> i32 {
    let text = std::fs::read_to_string(folder.join("data/postmaster.pid")).expect("a pid file");
    text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
}

/// Processes with this folder in their command line.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder)).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_is_in_hand_and_ends_well() {
    let place = Place::new();
    let sink = SmtpSink::start();
    let url = postgres::fresh_url().await;
    let config = place.config(&format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{url}\"\n{MAILBOX}\
         [mailbox.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n",
        sink.port()
    ));
    let ran = run(&["ingest", "--config", &config], MAIL).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The server has the mail and takes its time to say so.
    sink.behave(&Behaviour::Delay(1500));
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    sink.wait_for(1).await;
    daemon.signal(Signal::SIGTERM);
    let status = daemon.ends().await;
    assert_eq!(status.code(), Some(0), "{:#?}", daemon.said);
    assert!(daemon.said.last().is_some_and(|line| line.contains("stopped")), "{:#?}", daemon.said);
    let db = PgPoolOptions::new().connect(&url).await.expect("the database");
    let row =
        sqlx::query("SELECT count(*) FROM deliveries WHERE state = 'sent' AND kind = 'acknowledgement'");
    assert_eq!(
        row.fetch_one(&db).await.expect("a count").get::<i64, _>(0),
        1,
        "what was in hand was not finished"
    );
    let row = sqlx::query("SELECT count(*) FROM jobs WHERE kind = 'deliver'");
    assert_eq!(row.fetch_one(&db).await.expect("a count").get::<i64, _>(0), 0);
    db.close().await;
    assert!(text(&sink.mails()[0].text()).contains("we have received your message"));
}

#[tokio::test]
async fn a_reload_kills_nobody() {
    let place = Place::new();
    let port = free_port();
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:{port}\"\n[database]\nurl = \"{}\"\n{MAILBOX}outbox_dir = \"out\"\n",
        postgres::fresh_url().await
    );
    let config = place.config(&text);
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    daemon.says("ticketd is up").await;
    daemon.signal(Signal::SIGHUP);
    daemon.says("the configuration was read again, secrets as well, but for the database's; nothing else is changed").await;
    place.config(&text.replace("listen", "lissen"));
    daemon.signal(Signal::SIGHUP);
    let said = daemon.says("the configuration has an error").await;
    assert!(said.contains("did you mean `listen`"), "{said}");
    assert_eq!(get(&format!("http://127.0.0.1:{port}/healthz")).await, (200, "ok\n".to_owned()));
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.ends().await.code(), Some(0), "{:#?}", daemon.said);
}

#[tokio::test]
async fn a_daemon_told_to_stop_while_it_starts_ends_well() {
    let place = Place::new();
    let config = place.config("data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    // Said right before the private PostgreSQL is made, which takes a second or more.
    daemon.says("no [[mailbox]] is configured").await;
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends().await.code(), Some(0), "{:#?}", daemon.said);
    assert_eq!(processes_of(place.path()), [""; 0]);
}

#[tokio::test]
async fn numbers_are_explained_and_may_have_a_door_of_their_own() {
    let place = Place::new();
    let (port, metrics) = (free_port(), free_port());
    let base = format!(
        "[http]\nlisten = \"127.0.0.1:{port}\"\n[database]\nurl = \"{}\"\n{MAILBOX}outbox_dir = \"out\"\n",
        postgres::fresh_url().await
    );
    let config = place.config(&base);
    assert_eq!(run(&["ingest", "--config", &config], MAIL).await.code, Some(0));
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    daemon.says("fate").await;
    let (status, numbers) = get(&format!("http://127.0.0.1:{port}/metrics")).await;
    assert_eq!(status, 200);
    for line in [
        "# HELP ticketd_mails_total Mails understood, by fate",
        "# TYPE ticketd_mails_total counter",
        "ticketd_mails_total{fate=\"ticketed\"} 1",
        "# HELP ticketd_jobs_waiting Jobs that wait, by kind",
        "# TYPE ticketd_jobs_dead gauge",
        "ticketd_jobs_dead{kind=\"deliver\"} 0",
    ] {
        assert!(numbers.lines().any(|l| l == line), "`{line}` is not in\n{numbers}");
    }
    // Every number has its help.
    let names = numbers.lines().filter(|l| l.starts_with("# TYPE")).filter_map(|l| l.split(' ').nth(2));
    for name in names {
        assert!(numbers.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends().await.code(), Some(0));

    let config = place.config(&format!("{base}[telemetry]\nmetrics_listen = \"127.0.0.1:{metrics}\"\n"));
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    daemon.says("ticketd is up").await;
    let (status, numbers) = get(&format!("http://127.0.0.1:{metrics}/metrics")).await;
    assert!(
        status == 200 && numbers.contains("# HELP ticketd_tickets Tickets, by status"),
        "{status} {numbers}"
    );
    assert_eq!(get(&format!("http://127.0.0.1:{port}/metrics")).await.0, 404);
    assert_eq!(get(&format!("http://127.0.0.1:{metrics}/api/tickets")).await.0, 404);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends().await.code(), Some(0));
}

#[tokio::test]
async fn the_demo_run_once_prints_one_line_and_leaves_nothing_behind() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    let ran = run_with(&["demo", "--once"], "", &[("TMPDIR", &folder)]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    let keys: Vec<_> = told.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["acknowledged", "assigned", "mails", "median_ms", "tickets", "triaged"]);
    assert_eq!((&told["mails"], &told["tickets"]), (&18.into(), &14.into()), "{told}");
    assert_eq!((&told["triaged"], &told["assigned"]), (&14.into(), &14.into()), "{told}");
    assert!(told["acknowledged"].as_i64().is_some_and(|n| (1..=14).contains(&n)), "{told}");
    assert!(told["median_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{told}");
    assert!(entries(place.path()).is_empty(), "{:?}", entries(place.path()));
    assert_eq!(processes_of(place.path()), [""; 0]);
}

#[tokio::test]
async fn a_demo_that_is_interrupted_half_way_clears_up() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    let mut demo = Running::start(&["demo", "--listen", "127.0.0.1:0"], &[("TMPDIR", &folder)]);
    demo.says("[ 1/18]").await;
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.ends().await.code(), Some(0), "{:#?}", demo.said);
    assert!(entries(place.path()).is_empty(), "{:?}", entries(place.path()));
    assert_eq!(processes_of(place.path()), [""; 0]);
}

#[tokio::test]
async fn a_demo_that_is_killed_takes_its_postgresql_along() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    let mut demo = Running::start(&["demo", "--listen", "127.0.0.1:0"], &[("TMPDIR", &folder)]);
    demo.says("[ 2/18]").await;
    let server = postmaster(&place.path().join(format!("ticketd-demo-{}/postgres", demo.pid())));
    demo.signal(Signal::SIGKILL);
    assert_eq!(demo.ends().await.code(), None);
    gone(server).await;
    assert_eq!(processes_of(place.path()), [""; 0]);
}

#[tokio::test]
async fn a_killed_daemon_takes_its_postgresql_along_and_keeps_its_data() {
    let place = Place::new();
    let config = place.config("data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
    let skills = "[[skill]]\nslug = \"rust\"\nname = \"Rust\"\n";
    let ran = run(&["skills", "import", "--config", &config], skills).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1 skills imported\n"), "{ran:?}");
    let folder = place.path().join("data/postgres");
    assert_eq!(processes_of(place.path()), [""; 0], "a command stops what it started");
    for _ in 0..2 {
        let mut daemon = Running::start(&["serve", "--config", &config], &[]);
        daemon.says("ticketd is up").await;
        let server = postmaster(&folder);
        // Another command uses the daemon's server, and leaves it running.
        let exported = run(&["skills", "export", "--config", &config], "").await;
        assert!(exported.out.contains("slug = \"rust\""), "{exported:?}");
        assert_eq!(postmaster(&folder), server);
        daemon.signal(Signal::SIGKILL);
        daemon.ends().await;
        gone(server).await;
    }
    let exported = run(&["skills", "export", "--config", &config], "").await;
    assert!(exported.out.contains("slug = \"rust\""), "{exported:?}");
}

#[tokio::test]
async fn a_private_postgresql_is_private_unprivileged_and_thrown_away_on_request() {
    let place = Place::new();
    let folder = place.path().join("pg");
    let server = PrivatePostgres::start(&folder, Keep::Nothing, None).expect("a server");
    let pid = postmaster(&folder);
    let owner = std::fs::metadata(format!("/proc/{pid}")).expect("the server runs").uid();
    if geteuid().is_root() {
        assert_ne!(owner, 0, "it runs as root");
    } else {
        assert_eq!(owner, geteuid().as_raw());
    }
    let mode = std::fs::metadata(&folder).expect("the folder").mode() & 0o777;
    assert_eq!(mode, 0o700, "others may pass through the folder to the socket");
    let mut connection =
        sqlx::PgConnection::connect_with(&server.options("postgres")).await.expect("a connection");
    let row = sqlx::query("SHOW listen_addresses").fetch_one(&mut connection).await.expect("a setting");
    assert_eq!(row.get::<String, _>(0), "", "it listens on the network");
    connection.close().await.expect("closed");
    tokio::task::spawn_blocking(move || drop(server)).await.expect("dropped");
    gone(pid).await;
    assert!(!folder.exists(), "data was to be thrown away");
}

#[tokio::test]
async fn a_daemon_killed_while_it_makes_its_postgresql_starts_the_next_time() {
    let place = Place::new();
    let config = place.config("data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
    let folder = place.path().join("data/postgres");
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    // initdb writes this file first, and goes on for a second or more.
    let is_being_made =
        || ["data", "data.new"].iter().any(|part| folder.join(part).join("PG_VERSION").exists());
    until("initdb has begun", is_being_made).await;
    daemon.signal(Signal::SIGKILL);
    daemon.ends().await;
    until("nothing is left running", || processes_of(place.path()).is_empty()).await;
    let exported = run(&["skills", "export", "--config", &config], "").await;
    assert_eq!((exported.code, exported.err.as_str()), (Some(0), ""), "{exported:?}");
    assert!(folder.join("data/PG_VERSION").exists() && !folder.join("data.new").exists());
}

#[tokio::test]
async fn what_keeps_a_private_postgresql_from_starting_is_said_in_one_line() {
    let place = Place::new();
    let said = |folder: &Path, binaries: Option<&Path>| {
        let error = PrivatePostgres::start(folder, Keep::Nothing, binaries).expect_err("it cannot start");
        place.redact(&format!("{error:#}"), &[])
    };
    let folder = place.path().join("pg");
    insta::assert_snapshot!(said(&folder, Some(place.path())), @"no PostgreSQL server binaries in DIR: install them (Debian: `apt-get install postgresql`) or set database.url");
    insta::assert_snapshot!(said(&place.path().join("x".repeat(100)), None).replace(&"x".repeat(100), "LONG"), @"the folder DIR/LONG is too long for a socket: choose one of at most 90 bytes");
    let file = place.file("file", "");
    insta::assert_snapshot!(said(&file.join("pg"), None), @"cannot make the folder DIR/file/pg: Not a directory (os error 20)");
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    std::fs::write(folder.join("data/notes.txt"), "mine").expect("a file");
    insta::assert_snapshot!(said(&folder, None), @"DIR/pg/data holds something else than a PostgreSQL: choose another folder");
    assert!(folder.join("data/notes.txt").exists(), "somebody's file is gone");
    // A process that was to have a private PostgreSQL says the same.
    let config = place.config("data_dir = \"file\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
    let ran = run(&["jobs", "list", "--config", &config], "").await;
    assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{ran:?}");
    insta::assert_snapshot!(place.redact(&ran.err, &[]), @"ticketd: database.url is not set, and the private PostgreSQL cannot be started: cannot make the folder DIR/file/postgres: Not a directory (os error 20)");
}

#[tokio::test]
async fn a_private_postgresql_that_ended_is_started_again() {
    let place = Place::new();
    let port = free_port();
    let config = place.config(&format!(
        "data_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n{MAILBOX}outbox_dir = \"out\"\n",
        place.path().join("data").display()
    ));
    let mut daemon = Running::start(&["serve", "--config", &config], &[]);
    daemon.says("ticketd is up").await;
    let server = postmaster(&place.path().join("data/postgres"));
    // As the kernel does where memory runs out.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), Signal::SIGKILL).expect("the server runs");
    daemon.says("the private PostgreSQL had ended; it runs again").await;
    let ran = run(&["ingest", "--config", &config], MAIL).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    daemon.says("mail 1 ticketed").await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends().await.code(), Some(0), "{:#?}", daemon.said);
}
