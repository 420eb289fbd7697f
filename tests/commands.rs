//! The program as a new user meets it: every mistake is one line that says what to do, every command does its work.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::certificates::EXPIRED_HOST;
use crate::harness::desk::fresh_user;
use crate::harness::dovecot::{Dovecot, PASSWORD};
use crate::harness::gemini::{FakeGemini, KEY};
use crate::harness::postgres;
use crate::harness::program::{ClosedPort, Place, Ran, free_port, run, run_with};
use crate::harness::smtp::SmtpSink;

/// The one line of a command that failed, redacted.
fn complaint(place: &Place, ran: &Ran, code: i32, changing: &[(&str, &str)]) -> String {
    assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "more than a line: {}", ran.err);
    place.redact(&ran.err, changing)
}

const MAILBOX: &str = "[[mailbox]]\nname = \"support\"\naddress = \"support@example.org\"\n";

#[tokio::test]
async fn a_wrong_configuration_is_one_line_that_says_what_to_do() {
    let place = Place::new();
    let missing = place.path().join("ticketd.toml").display().to_string();
    let ran = run(&["serve", "--config", &missing], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: cannot read the configuration DIR/ticketd.toml (config/example.toml is a start): No such file or directory (os error 2)");
    let said = async |text: &str| {
        let config = place.config(text);
        let ran = run(&["serve", "--config", &config], "").await;
        complaint(&place, &ran, 1, &[])
    };
    insta::assert_snapshot!(said("[htpp]\nlisten = \"127.0.0.1:0\"\n").await, @"ticketd: configuration DIR/ticketd.toml: unknown key `htpp`: did you mean `http`?");
    insta::assert_snapshot!(said(&format!("{MAILBOX}outbox_dri = \"out\"\n")).await, @"ticketd: configuration DIR/ticketd.toml: unknown key `mailbox[0].outbox_dri`: did you mean `outbox_dir`?");
    insta::assert_snapshot!(said("[assignment]\ncap_default = \"ten\"\n").await, @r#"ticketd: configuration DIR/ticketd.toml: `assignment.cap_default`: invalid type: string "ten", expected i32"#);
    insta::assert_snapshot!(said("[http]\nlisten = 8080\n").await, @"ticketd: configuration DIR/ticketd.toml: `http.listen`: invalid type: integer `8080`, expected socket address");
    insta::assert_snapshot!(said("[http\nlisten = 8080\n").await, @"ticketd: configuration DIR/ticketd.toml: line 1: unclosed table, expected `]`");
    insta::assert_snapshot!(said("[telemetry]\nlog = \"ticketd=loud\"\n").await, @r#"ticketd: telemetry.log is no log filter, such as "info": error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5"#);
    insta::assert_snapshot!(said("[gemini]\napi_key = \"k\"\ntimeout = \"soon\"\n").await, @r#"ticketd: configuration DIR/ticketd.toml: `gemini.timeout`: `soon` is not a time such as "20s""#);
    insta::assert_snapshot!(said("[gemini]\napi_key = \"k\"\ntimeout = \"10m\"\n").await, @"ticketd: configuration DIR/ticketd.toml: `gemini.timeout`: 600s is not between a moment and 90s, the longest a judgement may take");
    insta::assert_snapshot!(said(&format!("{MAILBOX}outbox_dir = \"out\"\n[database]\nurl = \"mysql://localhost/x\"\n")).await, @"ticketd: database.url is not a PostgreSQL URL, such as postgres://user@host/name");
    let config = place.config("");
    let environment = [("TICKETD_HTTP__LISSEN", "127.0.0.1:1")];
    let ran = run_with(&["serve", "--config", &config], "", &environment).await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: configuration DIR/ticketd.toml: unknown key `http.lissen`: did you mean `listen`?");
}

#[tokio::test]
async fn an_unreadable_secret_is_one_line_that_names_the_file() {
    let place = Place::new();
    let url = postgres::fresh_url().await;
    let port = free_port();
    let listen = format!("[http]\nlisten = \"127.0.0.1:{port}\"\n");
    let database = format!("{listen}[database]\nurl = \"{url}\"\n");
    let said = async |text: String| {
        let config = place.config(&text);
        let ran = run(&["serve", "--config", &config], "").await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        place.redact(ran.err.lines().last().unwrap_or_default(), &[])
    };
    let imap = "[mailbox.imap]\nhost = \"localhost\"\nuser = \"u\"\n";
    insta::assert_snapshot!(said(format!("{listen}[database]\nurl_file = \"db-url\"\n")).await, @"ticketd: database: url: cannot read DIR/db-url (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
    insta::assert_snapshot!(said(format!("{database}[auth]\nsecret_file = \"secret\"\n")).await, @"ticketd: auth: secret: cannot read DIR/secret (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
    insta::assert_snapshot!(said(format!("{database}[gemini]\napi_key_file = \"key\"\n")).await, @"ticketd: gemini: api key: cannot read DIR/key (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
    insta::assert_snapshot!(said(format!("{database}{MAILBOX}outbox_dir = \"out\"\n{imap}password_file = \"pw\"\n")).await, @"ticketd: mailbox support: imap password: cannot read DIR/pw (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
    insta::assert_snapshot!(said(format!("{database}{MAILBOX}outbox_dir = \"out\"\n{imap}")).await, @"ticketd: mailbox support: imap.password_file is missing");
    place.file("pw", "\n");
    insta::assert_snapshot!(said(format!("{database}{MAILBOX}outbox_dir = \"out\"\n{imap}password_file = \"pw\"\n")).await, @"ticketd: mailbox support: imap password: DIR/pw is empty");
    place.file("secret", "short");
    insta::assert_snapshot!(said(format!("{database}[auth]\nsecret_file = \"secret\"\n")).await, @"ticketd: auth: the secret is shorter than 32 bytes: make one with `openssl rand -hex 32`");
    let smtp = "[mailbox.smtp]\nhost = \"localhost\"\nuser = \"u\"\npassword_file = \"smtp-pw\"\n";
    insta::assert_snapshot!(said(format!("{database}{MAILBOX}{smtp}")).await, @"ticketd: mailbox support: smtp password: cannot read DIR/smtp-pw (must be readable by the user ticketd runs as): No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_database_that_is_away_and_a_port_that_is_taken_are_one_line_each() {
    let place = Place::new();
    let nobody = ClosedPort::take();
    let closed = nobody.port.to_string();
    let begun = std::time::Instant::now();
    let config = place.config(&format!(
        "{MAILBOX}outbox_dir = \"out\"\n[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"postgres://u:secret@127.0.0.1:{closed}/x\"\n"
    ));
    let ran = run(&["serve", "--config", &config], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[(&closed, "PORT")]), @"ticketd: cannot connect to PostgreSQL: check database.url and that the server runs: error communicating with database: Connection refused (os error 111)");
    let ran = run(&["jobs", "list", "--config", &config], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[(&closed, "PORT")]), @"ticketd: cannot connect to PostgreSQL: check database.url and that the server runs: error communicating with database: Connection refused (os error 111)");
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "it keeps a new user waiting");
    // An MTA is told to try again.
    let config = place.config(&format!(
        "{MAILBOX}outbox_dir = \"out\"\n[database]\nurl = \"postgres://u@127.0.0.1:{closed}/x\"\n"
    ));
    let ran = run(&["ingest", "--config", &config], "Subject: x\r\n\r\nHello\r\n").await;
    insta::assert_snapshot!(complaint(&place, &ran, 75, &[(&closed, "PORT")]), @"ticketd: cannot connect to PostgreSQL: check database.url and that the server runs: error communicating with database: Connection refused (os error 111)");

    let url = postgres::fresh_url().await;
    let wrong_name = url.rsplit_once('/').expect("a URL").0.to_owned() + "/no_such_database";
    let config =
        place.config(&format!("{MAILBOX}outbox_dir = \"out\"\n[http]\nlisten = \"127.0.0.1:0\"\n[database]\nurl = \"{wrong_name}\"\n"));
    let ran = run(&["serve", "--config", &config], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @r#"ticketd: cannot connect to PostgreSQL: check database.url and that the server runs: error returned from database: database "no_such_database" does not exist at line 948"#);

    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let config = place.config(&format!(
        "[http]\nlisten = \"{taken}\"\n[database]\nurl = \"{url}\"\n[telemetry]\nlog = \"error\"\n"
    ));
    let ran = run(&["serve", "--config", &config], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[(&taken, "ADDRESS")]), @"ticketd: cannot listen on ADDRESS: another process may have the port; set http.listen to a free one: Address already in use (os error 98)");
    let ran = run(&["demo", "--listen", &taken], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[(&taken, "ADDRESS")]), @"ticketd: cannot listen on ADDRESS: another process may have the port; set --listen to a free one: Address already in use (os error 98)");
}

/// A configuration of `[mailbox.imap]` and `[mailbox.smtp]` on the tests' servers.
struct Setup {
    url: String,
    imap: String,
    smtp: String,
    more: String,
}

fn imap(host: &str, port: u16, tls: &str, user: &str, more: &str) -> String {
    let ca = Dovecot::shared().ca_file();
    format!(
        "[mailbox.imap]\nhost = \"{host}\"\nport = {port}\ntls = \"{tls}\"\nuser = \"{user}\"\nca_file = \"{}\"\n{more}",
        ca.display()
    )
}

fn smtp(sink: &SmtpSink, password: &str) -> String {
    format!(
        "[mailbox.smtp]\nhost = \"localhost\"\nport = {}\ntls = \"starttls\"\nuser = \"support\"\npassword = \"{password}\"\nca_file = \"{}\"\n",
        sink.port(),
        sink.ca_file().display()
    )
}

impl Setup {
    fn text(&self) -> String {
        format!(
            "data_dir = \"data\"\n[database]\nurl = \"{}\"\n{MAILBOX}authserv_id = \"mx\"\n{}{}{}",
            self.url, self.imap, self.smtp, self.more
        )
    }

    /// What `doctor` says, and its exit code.
    async fn doctor(&self, place: &Place) -> (Option<i32>, String) {
        let config = place.config(&self.text());
        let ran = run(&["doctor", "--config", &config], "").await;
        assert_eq!(ran.err, "", "doctor speaks on standard output");
        (ran.code, place.redact(&ran.out, &[]))
    }

    /// The one check that fails.
    async fn failing(&self, place: &Place, changing: &[(&str, &str)]) -> String {
        let (code, said) = self.doctor(place).await;
        let failing: Vec<_> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert_eq!((code, failing.len()), (Some(1), 1), "{said}");
        place.redact(failing[0], changing)
    }
}

#[tokio::test]
async fn doctor_says_what_is_well_and_names_the_one_thing_that_is_not() {
    let place = Place::new();
    let dovecot = Dovecot::shared();
    let sink = SmtpSink::with_login("support", "s3cret");
    let gemini = FakeGemini::start().await;
    let user = fresh_user();
    let good = || {
        imap("localhost", dovecot.imaps_port(), "implicit", &user, &format!("password = \"{PASSWORD}\"\n"))
    };
    let mut setup = Setup {
        url: postgres::fresh_url().await,
        imap: good(),
        smtp: smtp(&sink, "s3cret"),
        more: format!(
            "[alarms]\ndisk_free_percent = 1\n[gemini]\nbase_url = \"{}\"\napi_key = \"{KEY}\"\n",
            gemini.base_url()
        ),
    };
    let (imap_port, secure_port, smtp_port) =
        (dovecot.imap_port().to_string(), dovecot.imaps_port().to_string(), sink.port().to_string());
    let changing = [
        (secure_port.as_str(), "IMAPS"),
        (imap_port.as_str(), "IMAP"),
        (smtp_port.as_str(), "SMTP"),
        (user.as_str(), "USER"),
    ];
    let (code, said) = setup.doctor(&place).await;
    assert_eq!(code, Some(0), "{said}");
    let version =
        said.split_once("PostgreSQL ").and_then(|(_, rest)| rest.split_once(',')).expect("a version").0;
    let left = said.split_once("disk: ").and_then(|(_, rest)| rest.split_once(" are")).expect("a disk").0;
    let all = [changing.as_slice(), &[(version, "VERSION"), (left, "SOME %")]].concat();
    insta::assert_snapshot!(place.redact(&said, &all), @"
    ok    configuration: DIR/ticketd.toml is sound
    ok    mailbox support imap password: is readable
    ok    mailbox support smtp password: is readable
    ok    mailbox support imap authority: is readable
    ok    mailbox support smtp authority: is readable
    ok    gemini key: is readable
    ok    database: PostgreSQL VERSION, up to date
    ok    clock: it differs from PostgreSQL's by less than 60 s
    ok    disk: SOME % are left under DIR/data
    ok    attachments: folder DIR/data/attachments takes, gives and deletes files
    ok    mailbox support imap: localhost:IMAPS takes the login; INBOX holds 0 mails
    ok    mailbox support smtp: smtp localhost:SMTP answers and takes the login
    ok    gemini: Gemini of the tests
    ");
    assert_eq!(sink.mails().len(), 0, "doctor sends nothing");
    assert_eq!(gemini.requests().len(), 0, "doctor spends no tokens");

    let wrong = "password = \"wrong\"\n";
    setup.imap = imap("localhost", dovecot.imaps_port(), "implicit", &user, wrong);
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support imap: the server refused login for the user of mailbox support: check imap.user and imap.password_file (with two-factor authentication it takes an app password); it said: [AUTHENTICATIONFAILED] Authentication failed.");
    let password = format!("password = \"{PASSWORD}\"\n");
    setup.imap = imap("no-such-host.invalid", 993, "implicit", &user, &password);
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support imap: cannot find the server no-such-host.invalid: check imap.host (failed to lookup address information: Name or service not known)");
    let nobody = ClosedPort::take();
    let closed = nobody.port;
    setup.imap = imap("localhost", closed, "implicit", &user, &password);
    insta::assert_snapshot!(setup.failing(&place, &[(&closed.to_string(), "CLOSED")]).await, @"FAIL  mailbox support imap: localhost:CLOSED refuses connections: check imap.port (993 for implicit TLS, 143 for starttls) and whether the server runs");
    setup.imap = imap(EXPIRED_HOST, dovecot.imaps_port(), "implicit", &user, &password);
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support imap: the certificate of 127.0.0.2:IMAPS expired on 2001-01-01: the server needs a new one (no option accepts an expired one)");
    setup.imap = imap("localhost", dovecot.imap_port(), "implicit", &user, &password);
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @r#"FAIL  mailbox support imap: localhost:IMAP does not speak TLS from the first byte: set imap.tls = "starttls", or imap.port to the port that does (993)"#);
    setup.imap = good().replace("ca_file", "#ca_file");
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support imap: the certificate of localhost:IMAPS is signed by nobody this machine trusts: set imap.ca_file to the certificate of its authority (PEM)");
    setup.imap = good() + "folder = \"Suport\"\n";
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support imap: there is no folder `Suport`: set imap.folder to one of: INBOX");
    setup.imap = good();

    setup.smtp = smtp(&sink, "wrong");
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support smtp: smtp localhost:SMTP: the server refused the login: check smtp.user and the password file (with two-factor log-in: an app password) (permanent error (535): 5.7.8 Authentication credentials invalid)");
    setup.smtp = smtp(&sink, "s3cret").replace("ca_file", "#ca_file");
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  mailbox support smtp: smtp localhost:SMTP: the server's certificate is not trusted: give its authority as smtp.ca_file (Connection error: Connection error: invalid peer certificate: UnknownIssuer)");
    setup.smtp = smtp(&sink, "s3cret").replace(&smtp_port, &closed.to_string());
    insta::assert_snapshot!(setup.failing(&place, &[(&closed.to_string(), "CLOSED")]).await, @"FAIL  mailbox support smtp: smtp localhost:CLOSED: nothing listens there: check smtp.host and smtp.port (Connection error: Connection refused (os error 111))");
    setup.smtp = smtp(&sink, "s3cret");

    setup.more = setup.more.replace(KEY, "AIza-wrong");
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  gemini: Gemini refused the request with HTTP status 400: the API key is not valid: check api_key_file in [gemini]");
    setup.more = format!(
        "[gemini]\nbase_url = \"{}\"\napi_key = \"{KEY}\"\nmodel = \"gemini-1.0\"\n",
        gemini.base_url()
    );
    insta::assert_snapshot!(setup.failing(&place, &changing).await, @"FAIL  gemini: Gemini refused the request with HTTP status 404: the model is unknown: check model in [gemini]");
    setup.more = String::new();

    setup.url = format!("postgres://u@127.0.0.1:{closed}/x");
    insta::assert_snapshot!(setup.failing(&place, &[(&closed.to_string(), "CLOSED")]).await, @"FAIL  database: cannot connect to PostgreSQL: check database.url and that the server runs: error communicating with database: Connection refused (os error 111)");
}

#[tokio::test]
async fn doctor_says_what_to_do_about_a_wrong_clock_and_a_full_disk() {
    let place = Place::new();
    let url = postgres::fresh_url().await;
    let setup = |more: &str| Setup {
        url: url.clone(),
        imap: String::new(),
        smtp: "outbox_dir = \"out\"\n".to_owned(),
        more: more.to_owned(),
    };
    let full = setup("[alarms]\ndisk_free_percent = 100\n").failing(&place, &[]).await;
    let left = full.split_once("disk: ").and_then(|(_, rest)| rest.split_once(" are")).expect("a disk").0;
    insta::assert_snapshot!(full.replacen(left, "SOME %", 1), @"FAIL  disk: SOME % are left of the disk under DIR/data (data_dir), less than alarms.disk_free_percent = 100: free some space or give it a larger one");

    // A PostgreSQL whose clock is wrong: its own function is found behind another one of that name.
    let db = sqlx::PgPool::connect(&url).await.expect("the database");
    let name = url.rsplit_once('/').expect("a URL").1;
    let wrong = format!(
        "CREATE SCHEMA wrong;
         CREATE FUNCTION wrong.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql
           AS $$ SELECT pg_catalog.clock_timestamp() + INTERVAL '10 minutes' $$;
         ALTER DATABASE {name} SET search_path = wrong, public, pg_catalog"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(wrong)).execute(&db).await.expect("a wrong clock");
    db.close().await;
    let said = setup("[alarms]\ndisk_free_percent = 0\n").failing(&place, &[]).await;
    // A second may pass between the two clocks.
    insta::assert_snapshot!(said.replace("601 s", "600 s").replace("599 s", "600 s"), @"FAIL  clock: this machine's clock is 600 s behind PostgreSQL's, so far that one-time codes and log-ins fail: have both set by NTP (`timedatectl set-ntp true`)");
}

#[tokio::test]
async fn doctor_offline_checks_the_configuration_and_every_file_it_names() {
    let place = Place::new();
    place.file("pw", "secret\n");
    let text = format!(
        "{MAILBOX}authserv_id = \"mx\"\n[mailbox.imap]\nhost = \"no-such-host.invalid\"\nuser = \"u\"\npassword_file = \"pw\"\n\
         [mailbox.smtp]\nhost = \"no-such-host.invalid\"\nuser = \"u\"\npassword_file = \"pw\"\n\
         [gemini]\napi_key_file = \"pw\"\n"
    );
    let config = place.config(&text);
    let ran = run(&["doctor", "--offline", "--config", &config], "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(place.redact(&ran.out, &[]), @r"
    ok    configuration: DIR/ticketd.toml is sound
    ok    mailbox support imap password: is readable
    ok    mailbox support smtp password: is readable
    ok    gemini key: is readable
    ");

    let config = place.config(&text.replace("host = \"no-such", "ca_file = \"ca.pem\"\nhost = \"no-such"));
    let ran = run(&["doctor", "--offline", "--config", &config], "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    insta::assert_snapshot!(place.redact(&ran.out, &[]), @r"
    ok    configuration: DIR/ticketd.toml is sound
    ok    mailbox support imap password: is readable
    ok    mailbox support smtp password: is readable
    FAIL  mailbox support imap authority: cannot read imap.ca_file DIR/ca.pem: No such file or directory (os error 2)
    FAIL  mailbox support smtp authority: cannot read smtp.ca_file DIR/ca.pem: No such file or directory (os error 2)
    ok    gemini key: is readable
    ");
    let config = place.config("[mailbx]\n");
    let ran = run(&["doctor", "--offline", "--config", &config], "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    insta::assert_snapshot!(place.redact(&ran.out, &[]), @"FAIL  configuration: configuration DIR/ticketd.toml: unknown key `mailbx`: did you mean `mailbox`?");
}

#[tokio::test]
async fn every_command_helps_with_an_example_and_refuses_wrong_usage_with_2() {
    let commands: [&[&str]; 26] = [
        &[],
        &["demo"],
        &["serve"],
        &["doctor"],
        &["migrate"],
        &["ingest"],
        &["mail"],
        &["mail", "parse"],
        &["mail", "thread"],
        &["triage"],
        &["triage", "predict"],
        &["admin"],
        &["admin", "create"],
        &["skills"],
        &["skills", "import"],
        &["skills", "export"],
        &["staff"],
        &["staff", "import"],
        &["jobs"],
        &["jobs", "list"],
        &["deliveries"],
        &["deliveries", "list"],
        &["deliveries", "retry"],
        &["ledger"],
        &["ledger", "list"],
        &["ledger", "reconcile"],
    ];
    for command in commands.into_iter().chain([["jobs", "retry"].as_slice(), &["jobs", "cancel"]]) {
        let ran = run(&[command, &["--help"]].concat(), "").await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}");
        let example = ran.out.lines().find(|line| line.contains("Example"));
        assert!(
            example.is_some_and(|line| line.contains("ticketd ")),
            "{command:?} has no example:\n{}",
            ran.out
        );
    }
    let wrong: [&[&str]; 14] = [
        &[],
        &["serv"],
        &["serve"],
        &["serve", "--config"],
        &["serve", "--config", "a", "b"],
        &["demo", "--listen", "here"],
        &["mail", "parse"],
        &["mail", "thread", "a.eml"],
        &["triage", "predict"],
        &["jobs", "retry", "--config", "x", "seven"],
        &["jobs", "retry", "--config", "x"],
        &["ledger", "list", "--config", "x", "--fate", "lost"],
        &["ledger", "list", "--config", "x", "--limit", "0"],
        &["admin", "create", "--config", "x", "--email", "a@b.c", "--password", "p"],
    ];
    for command in wrong {
        let ran = run(command, "").await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{command:?}: {ran:?}");
        assert!(ran.err.contains("--help") || ran.err.contains("Usage"), "{command:?}: {}", ran.err);
    }
    let ran = run(&["--version"], "").await;
    assert_eq!(ran.out, format!("ticketd {}\n", env!("CARGO_PKG_VERSION")));
}

/// A configuration with a database of its own and nothing else.
async fn plain(place: &Place) -> String {
    place.config(&format!(
        "[database]\nurl = \"{}\"\n{MAILBOX}outbox_dir = \"out\"\n",
        postgres::fresh_url().await
    ))
}

#[tokio::test]
async fn the_first_admin_gets_a_password_that_is_not_on_the_command_line() {
    let place = Place::new();
    let config = plain(&place).await;
    let create = ["admin", "create", "--config", &config, "--email", "Dora@Example.org"];
    let ran = run(&create, "short\n").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: the password has 5 characters: take at least 10");
    let ran = run(&create, "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: no password on standard input");
    let ran = run(&["admin", "create", "--config", &config, "--email", "dora"], "a long password\n").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: `dora` is not a mail address");
    let ran = run(&create, "a long password\nand more\n").await;
    assert_eq!(
        (ran.code, ran.err.as_str(), ran.out.as_str()),
        (Some(0), "", "Dora is an admin (person 1)\n"),
        "{ran:?}"
    );
    // The same again is a new password, not a second person.
    let named = [create.as_slice(), &["--name", "Dora D."]].concat();
    let ran = run(&named, "another long password").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "Dora D. is an admin (person 1)\n"), "{ran:?}");
}

#[tokio::test]
async fn skills_go_out_as_they_came_in() {
    let place = Place::new();
    let config = plain(&place).await;
    let catalogue = "[[skill]]\nslug = \"billing\"\nname = \"Billing\"\naliases = [\n    \"invoice\",\n    \"Rechnung\",\n]\n\
                     description = \"Invoices \\\"and\\\" refunds\"\n\n[[skill]]\nslug = \"rust\"\nname = \"Rust\"\naliases = []\ndescription = \"\"\n";
    let ran = run(&["skills", "import", "--config", &config], catalogue).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 skills imported\n"), "{ran:?}");
    let exported = run(&["skills", "export", "--config", &config], "").await;
    let read = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(read(&exported.out), read(catalogue));
    let ran = run(&["skills", "import", "--config", &config], &exported.out).await;
    assert_eq!(ran.code, Some(0));
    let again = run(&["skills", "export", "--config", &config], "").await;
    assert_eq!(again.out, exported.out);

    let refused = async |text: &str| {
        let ran = run(&["skills", "import", "--config", &config], text).await;
        complaint(&place, &ran, 1, &[])
    };
    insta::assert_snapshot!(refused("[[skill]\n").await, @"ticketd: line 1: unclosed array table, expected `]`");
    insta::assert_snapshot!(refused("[[skill]]\nslug = \"x\"\n").await, @"ticketd: line 1: missing field `name`");
    insta::assert_snapshot!(refused("[[skill]]\nslug = \"x\"\nname = \"X\"\nalias = []\n").await, @"ticketd: line 4: unknown field `alias`, expected one of `slug`, `name`, `aliases`, `description`");
    insta::assert_snapshot!(refused("[[skill]]\nslug = \"Not A Slug\"\nname = \"X\"\n").await, @"ticketd: skill `Not A Slug`: a slug has 1 to 64 of a-z, 0-9, - and _, and starts with a letter or digit");
    insta::assert_snapshot!(refused("[[skills]]\nslug = \"x\"\nname = \"X\"\n").await, @"ticketd: line 1: unknown field `skills`, expected `skill`");
    insta::assert_snapshot!(refused("").await, @"ticketd: there is no [[skill]] in the document");
    assert_eq!(
        run(&["skills", "export", "--config", &config], "").await.out,
        exported.out,
        "nothing changed"
    );
}

#[tokio::test]
async fn staff_comes_in_from_toml_and_mistakes_are_named() {
    let place = Place::new();
    let config = plain(&place).await;
    run(&["skills", "import", "--config", &config], "[[skill]]\nslug = \"billing\"\nname = \"Billing\"\n")
        .await;
    let bea = "[[person]]\nname = \"Bea\"\nemail = \"bea@example.org\"\nrole = \"moderator\"\nskills = { billing = 5 }\n";
    for _ in 0..2 {
        let ran = run(&["staff", "import", "--config", &config], bea).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1 staff imported\n"), "{ran:?}");
    }
    let refused = async |text: &str| {
        let ran = run(&["staff", "import", "--config", &config], text).await;
        complaint(&place, &ran, 1, &[])
    };
    insta::assert_snapshot!(refused(&bea.replace("= 5", "= 6")).await, @"ticketd: Bea: level 6 in billing: levels are from 1 to 5");
    insta::assert_snapshot!(refused(&bea.replace("{ billing", "{ wine")).await, @"ticketd: Bea: has a skill that is not in the catalogue");
    insta::assert_snapshot!(refused(&bea.replace("bea@example.org", "bea")).await, @"ticketd: Bea: `bea` is not a mail address");
    insta::assert_snapshot!(refused(&bea.replace("moderator", "boss")).await, @"ticketd: line 4: unknown variant `boss`, expected one of `user`, `moderator`, `admin`");
    insta::assert_snapshot!(refused("").await, @"ticketd: there is no [[person]] in the document");
}

#[tokio::test]
async fn the_ledger_tells_the_fate_of_every_mail_and_migrating_twice_is_fine() {
    let place = Place::new();
    let config = plain(&place).await;
    for _ in 0..2 {
        let ran = run(&["migrate", "--config", &config], "").await;
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (Some(0), "the database is up to date\n", "")
        );
    }
    let mail = "From: ada@example.net\r\nMessage-ID: <1@x>\r\nSubject: Hi\r\n\r\nHello\r\n";
    let ran = run(&["ingest", "--config", &config], mail).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "{ran:?}");
    let file = place.file("2.eml", &mail.replace("<1@x>", "<2@x>"));
    let ran = run(&["ingest", "--config", &config, &file.display().to_string()], "").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows = async |fate: &str| {
        let ran = run(&["ledger", "list", "--config", &config, "--fate", fate], "").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    let waiting = rows("waiting").await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!((&waiting[0]["source"], &waiting[0]["fate"]), (&json!("pipe"), &Value::Null));
    assert_eq!(rows("ticketed").await.len(), 0);
    let jobs = run(&["jobs", "list", "--config", &config], "").await;
    let kinds: Vec<Value> =
        jobs.out.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")["kind"].clone()).collect();
    assert_eq!(kinds, ["ingest", "ingest"]);
    assert_eq!(run(&["jobs", "list", "--failed", "--config", &config], "").await.out, "");
    let ran = run(&["jobs", "retry", "--config", &config, "1"], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: there is no dead letter 1 (see `ticketd jobs list --failed`)");
    let ran = run(&["jobs", "cancel", "--config", &config, "99"], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: there is no job 99 (see `ticketd jobs list`)");
}

#[tokio::test]
async fn mails_are_read_one_by_one_or_as_a_batch() {
    let place = Place::new();
    let mail = |id: &str, more: &str| {
        format!(
            "From: Ada <ada@example.net>\r\nTo: s@example.org\r\nMessage-ID: <{id}>\r\n{more}Subject: Hi\r\n\r\nHello\r\n"
        )
    };
    let first = place.file("1.eml", &mail("1@x", ""));
    let other =
        place.file("2.eml", &mail("2@x", "Date: Sat, 21 Nov 2026 09:00:00 +0000\r\n").replace("Hi", "Other"));
    let answer = place.file("3.eml", &mail("3@x", "In-Reply-To: <1@x>\r\nReferences: <1@x>\r\n"));
    let shown = |path: &Path| path.display().to_string();
    let ran = run(&["mail", "parse", "--own-address", "s@example.org", &shown(&first)], "").await;
    let read: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1));
    assert!(read.to_string().contains("ada@example.net"), "{read}");
    let ran = run(&["mail", "parse", &shown(&place.path().join("none.eml"))], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: cannot read DIR/none.eml: No such file or directory (os error 2)");

    // A line for each line, also where there is nothing to read.
    let paths = format!("{}\n{}/none.eml\n{}\n", shown(&first), shown(place.path()), shown(&other));
    let ran = run(&["mail", "parse", "-"], &paths).await;
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((ran.code, lines.len()), (Some(0), 3), "{ran:?}");
    assert!(lines[1]["error"].as_str().is_some_and(|e| e.starts_with("cannot read ")), "{}", lines[1]);
    assert_eq!(lines[2]["subject"], "Other");

    let paths = format!("{}\n{}\n{}\n", shown(&first), shown(&other), shown(&answer));
    let ran = run(&["mail", "thread", "-"], &paths).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "{\"groups\":[[0,2],[1]]}\n"), "{ran:?}");
}

#[tokio::test]
async fn the_offline_engine_is_a_filter() {
    let place = Place::new();
    let catalogue = json!([{"label": "billing", "name": "Billing", "aliases": ["invoice"], "description": "Invoices and refunds"},
                           {"label": "printing", "name": "Printers", "aliases": ["printer"], "description": "Printers"}]);
    let file = place.file("labels.json", &catalogue.to_string()).display().to_string();
    let tickets = "{\"id\": 1, \"title\": \"Wrong invoice\", \"body\": \"\"}\n{\"id\": \"b\", \"title\": \"Printer\"}\n";
    let ran = run(&["triage", "predict", "--catalogue", &file], tickets).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["id"], &lines[0]["labels"][0]), (&json!(1), &json!("billing")));
    assert_eq!((&lines[1]["id"], &lines[1]["labels"][0]), (&json!("b"), &json!("printing")));
    let ran = run(&["triage", "predict", "--catalogue", &file], "{\"id\": 1}\nnonsense\n").await;
    assert_eq!((ran.code, ran.out.lines().count()), (Some(1), 1));
    insta::assert_snapshot!(place.redact(&ran.err, &[]), @"ticketd: line 2 is not a ticket: expected ident at line 1 column 2");
    let ran = run(&["triage", "predict", "--catalogue", "/nonexistent.json"], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: cannot read /nonexistent.json: No such file or directory (os error 2)");
}

#[tokio::test]
async fn another_key_is_made_where_the_keys_are_in_the_database_and_only_there() {
    let place = Place::new();
    let config = plain(&place).await;
    let ran = run(&["admin", "rotate-key", "--config", &config], "").await;
    insta::assert_snapshot!(ran.out.trim(), @"there are 2 keys now: restart every process on this database, and the newest signs");
    let secret = ("TICKETD_AUTH__SECRET", "a secret of more than thirty-two characters");
    let ran = run_with(&["admin", "rotate-key", "--config", &config], "", &[secret]).await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: the keys come from auth.secret_file: put a new secret there, and name the file of the old one in auth.previous_secret_files");
}

#[tokio::test]
async fn what_is_in_quarantine_is_read_again_on_demand() {
    let place = Place::new();
    let url = postgres::fresh_url().await;
    let config = place.config(&format!("[database]\nurl = \"{url}\"\n{MAILBOX}outbox_dir = \"out\"\n"));
    assert_eq!(run(&["ingest", "--config", &config], "From: ada@example.net\n\nHello\n").await.code, Some(0));
    assert_eq!(run(&["ingest", "--config", &config], "From: bob@example.net\n\nHello\n").await.code, Some(0));
    let db = sqlx::PgPool::connect(&url).await.expect("the database");
    sqlx::query("UPDATE inbound SET fate = 'quarantined', reason = 'it broke', handled_at = now()")
        .execute(&db)
        .await
        .expect("a quarantine");
    let ran = run(&["ledger", "replay", "--config", &config, "1"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1 mail will be read again\n"), "{ran:?}");
    let ran = run(&["ledger", "replay", "--config", &config, "1"], "").await;
    insta::assert_snapshot!(complaint(&place, &ran, 1, &[]), @"ticketd: row 1 is not in quarantine: there is nothing to replay");
    let ran = run(&["ledger", "replay", "--config", &config, "--all"], "").await;
    assert_eq!(ran.out, "1 mail will be read again\n", "{ran:?}");
    let ran = run(&["ledger", "replay", "--config", &config, "--all"], "").await;
    assert_eq!(ran.out, "no mail in quarantine can be read again\n", "{ran:?}");
    let waiting = "SELECT count(*) FROM inbound i JOIN jobs j ON j.kind = 'ingest' AND j.subject = i.id WHERE i.fate IS NULL";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&db).await.expect("a count");
    assert_eq!(waiting, 2);
}
