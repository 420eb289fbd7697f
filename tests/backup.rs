//! A backup is restored by the commands that the README gives: the tickets are the same, nothing is lost and nothing is said
//! twice that need not be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool, Row};
use ticketd::audit;
use ticketd::config::Attachments;
use ticketd::database::{Keep, PrivatePostgres};
use ticketd::files::{Content, Files};
use ticketd::store::Store;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::desk::data_dir;
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{Mail, header, mail};
use crate::harness::postgres;
use crate::harness::program::Place;
use crate::harness::smtp::{At, Behaviour};
use crate::harness::wait::until;

/// The commands of the README that begin with this comment.
fn commands(purpose: &str) -> String {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.into_iter().find(|block| block.starts_with(&format!("# {purpose}")));
    found.unwrap_or_else(|| panic!("the README has no commands for: {purpose}")).to_owned()
}

/// Where PostgreSQL's programs are: Debian keeps the server's off PATH.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.expect("PostgreSQL's programs (apt-get install postgresql)");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

/// Somebody's shell, with what the README's variables stand for.
struct Shell<'a> {
    place: &'a Place,
    variables: Vec<(&'static str, String)>,
}

impl Shell<'_> {
    async fn does(&self, purpose: &str) {
        let bin = self.place.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        let ticketd = bin.join("ticketd");
        if !ticketd.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ticketd"), &ticketd).expect("a link");
        }
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &commands(purpose)]).current_dir(self.place.path());
        shell.env("PATH", format!("{}:{}:/usr/bin:/bin", programs().display(), bin.display()));
        shell.envs(self.variables.iter().map(|(name, value)| (*name, value.as_str())));
        shell.stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || shell.output()).await.expect("a thread").expect("bash");
        assert!(ran.status.success(), "{purpose}: {ran:?}");
    }
}

fn with_a_file() -> Mail {
    let body = "--b\nContent-Type: text/plain\n\nI want a refund for my invoice.\n--b\nContent-Type: text/plain\n\
        Content-Disposition: attachment; filename=a.txt\n\nthe invoice\n--b--\n";
    mail("Ada <ada@example.net>", "Charged twice", body).with("Content-Type", "multipart/mixed; boundary=b")
}

/// All that people see of the tickets, as text.
async fn contents(db: &PgPool) -> Vec<String> {
    let all = "SELECT 'ticket ' || to_jsonb(t)::TEXT FROM tickets t
               UNION ALL SELECT 'message ' || to_jsonb(m)::TEXT FROM messages m
               UNION ALL SELECT 'file ' || to_jsonb(a)::TEXT FROM attachments a
               UNION ALL SELECT 'event ' || to_jsonb(e)::TEXT FROM ticket_events e
               UNION ALL SELECT 'ledger ' || to_jsonb(i)::TEXT FROM inbound i
               UNION ALL SELECT 'audit ' || to_jsonb(l)::TEXT FROM audit_log l ORDER BY 1";
    sqlx::query(all).fetch_all(db).await.expect("the tickets").iter().map(|row| row.get(0)).collect()
}

/// The configuration of a place where `url` and `data` stand instead of its own.
fn moved(premises: &Premises, place: &Place, url: &str, data: &Path) -> PathBuf {
    let text = std::fs::read_to_string(&premises.config).expect("the configuration");
    let database = text.lines().find(|line| line.starts_with("url = ")).expect("a database");
    let own = data_dir(&premises.user);
    let text = text.replace(database, &format!("url = \"{url}\""));
    place.file("restored.toml", &text.replace(&own.display().to_string(), &data.display().to_string()))
}

async fn connect(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(2).connect(url).await.expect("a pool")
}

async fn count(db: &PgPool, what: &'static str) -> i64 {
    sqlx::query(what).fetch_one(db).await.expect("a count").get(0)
}

async fn is_settled(db: &PgPool, mails: i64) -> bool {
    let query = "SELECT count(*) FROM inbound WHERE fate IS NOT NULL";
    count(db, query).await == mails && count(db, "SELECT count(*) FROM jobs").await == 0
}

/// How often this person was sent a mail, and under how many Message-IDs.
fn sent_to(premises: &Premises, address: &str) -> (usize, usize) {
    let mails = premises.sink.mails();
    let to = mails.iter().filter(|m| m.rcpt_to.iter().any(|r| r.eq_ignore_ascii_case(address)));
    let mut ids: Vec<_> = to.filter_map(|mail| header(&mail.text(), "Message-ID")).collect();
    let copies = ids.len();
    ids.sort();
    ids.dedup();
    (copies, ids.len())
}

#[tokio::test]
async fn a_dump_is_restored_with_the_same_tickets_and_only_what_waited_is_sent() {
    let (place, dovecot) = (Place::new(), Dovecot::shared());
    let url = postgres::fresh_url().await;
    let premises = Premises::on(&url, dovecot.imap_port(), "", "").await;
    let daemon = Daemon::start(&premises.config, "");
    dovecot.append(&premises.user, "INBOX", with_a_file().raw()).await;
    until("the first mail is answered", async || premises.is_settled(1).await).await;
    // What this one gets is fixed, and does not leave.
    premises.sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned()));
    dovecot
        .append(&premises.user, "INBOX", mail("Bob <bob@example.net>", "Refund", "Invoice 7.").raw())
        .await;
    let fixed = "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND content IS NOT NULL";
    until("two mails wait", async || premises.count(fixed).await == 2).await;
    daemon.stops().await;
    let sent = premises.sink.mails().len();

    let backup = place.path().join("backup");
    std::fs::create_dir(&backup).expect("a folder");
    let variables = |url: &str, data: &Path, config: &Path| {
        vec![
            ("URL", url.to_owned()),
            ("DATA", data.display().to_string()),
            ("BACKUP", backup.display().to_string()),
            ("CONFIG", config.display().to_string()),
        ]
    };
    let before = variables(&url, &data_dir(&premises.user), &premises.config);
    Shell { place: &place, variables: before }.does("backup").await;

    let elsewhere = format!("{url}_restored");
    let (_, name) = elsewhere.rsplit_once('/').expect("a URL");
    premises.db.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("an empty database");
    let data = place.path().join("data");
    let config = moved(&premises, &place, &elsewhere, &data);
    let after = Shell { place: &place, variables: variables(&elsewhere, &data, &config) };
    after.does("restore").await;
    let restored = connect(&elsewhere).await;
    assert_eq!(contents(&restored).await, contents(&premises.db).await);
    after.does("after a restore").await;

    premises.sink.behave(&Behaviour::Accept);
    let rest = sqlx::query("UPDATE jobs SET run_at = LEAST(run_at, now())");
    rest.execute(&restored).await.expect("the pause after the refusal is over");
    let daemon = Daemon::start(&config, "");
    until("what waited is sent", async || is_settled(&restored, 2).await).await;
    // A pass over the mailbox finds nothing new.
    daemon.says("\"mailbox read\"", 1).await;
    assert_eq!(premises.sink.mails().len(), sent + 2, "an acknowledgement and a notice");
    assert_eq!(
        (sent_to(&premises, "ada@example.net"), sent_to(&premises, "bob@example.net")),
        ((1, 1), (1, 1))
    );
    assert_eq!(count(&restored, "SELECT count(*) FROM tickets").await, 2);
    let files = Files::new(restored.clone(), Store::open(&Attachments::default(), &data).expect("the store"));
    let content = Content::new("the invoice");
    assert_eq!(files.read(content.sha256).await.expect("its content"), content.bytes);
    assert_eq!(audit::verify(&restored).await.expect("the log").broken_at, None);
    dovecot.append(&premises.user, "INBOX", mail("Eve <eve@example.net>", "Hi", "Invoice 8.").raw()).await;
    until("the next mail is a ticket", async || is_settled(&restored, 3).await).await;
    assert!(count(&restored, "SELECT max(id) FROM tickets").await > 2000, "no number is given out twice");
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    restored.close().await;
    premises.db.close().await;
}

/// A server that archives its log, as the README says, in `place`.
async fn archiving(place: &Place) -> (PrivatePostgres, Vec<(&'static str, String)>) {
    let folder = |name: &str| {
        let path = place.path().join(name);
        std::fs::create_dir(&path).expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, open).expect("permissions");
        path.display().to_string()
    };
    let (archive, backup) = (folder("archive"), folder("backup"));
    let mut server =
        PrivatePostgres::start(&place.path().join("pg"), Keep::Nothing, None).expect("a PostgreSQL");
    let url = postgres::url_of(&server.options("postgres"));
    let variables = vec![
        ("URL", url.clone()),
        ("ADMIN_URL", url.clone()),
        ("ARCHIVE", archive),
        ("BASE", format!("{backup}/base")),
        ("CONFIG", place.path().join("restored.toml").display().to_string()),
    ];
    Shell { place, variables: variables.clone() }.does("archive").await;
    server.crash_and_restart().expect("PostgreSQL starts again");
    let db = connect(&url).await;
    ticketd::database::migrate(&db).await.expect("migrations");
    db.close().await;
    (server, variables)
}

/// A server on a copy of the base, recovered to the target.
async fn recovered(place: &Place, name: &str, variables: &[(&'static str, String)]) -> PrivatePostgres {
    let home = place.path().join(name);
    std::fs::create_dir(&home).expect("a folder");
    let base = place.path().join("backup/base");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&base).arg(home.join("base"));
    assert!(copy.status().expect("cp").success());
    let mut variables = variables.to_vec();
    variables.retain(|(name, _)| *name != "BASE");
    variables.push(("BASE", home.join("base").display().to_string()));
    Shell { place, variables }.does("recover").await;
    std::fs::rename(home.join("base"), home.join("data")).expect("the data folder");
    // The server runs as its own user, and we may be root.
    let owner = std::fs::metadata(place.path().join("pg/data")).expect("the first server's data");
    let (uid, gid) =
        (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(format!("{uid}:{gid}")).arg(&home);
    assert!(chown.status().expect("chown").success());
    PrivatePostgres::start(&home, Keep::Nothing, None).unwrap_or_else(|error| {
        let log = std::fs::read_to_string(home.join("postgres.log")).unwrap_or_default();
        panic!("PostgreSQL does not recover: {error:#}\n{log}")
    })
}

#[tokio::test]
async fn a_moment_between_two_backups_is_restored_and_what_came_after_it_is_read_again() {
    let (place, dovecot) = (Place::new(), Dovecot::shared());
    let (mut server, mut variables) = archiving(&place).await;
    let url = postgres::url_of(&server.options("postgres"));
    let premises = Premises::on(&url, dovecot.imap_port(), "", "").await;
    let mut daemon = Daemon::start(&premises.config, "");
    let arrives = async |name: &str| {
        let from = format!("{name} <{}@example.net>", name.to_lowercase());
        dovecot.append(&premises.user, "INBOX", mail(&from, "Refund", "A refund of my invoice.").raw()).await;
    };
    arrives("Ada").await;
    until("the first mail is answered", async || premises.is_settled(1).await).await;
    Shell { place: &place, variables: variables.clone() }.does("base").await;
    premises.sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned()));
    arrives("Bob").await;
    let fixed = "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND content IS NOT NULL";
    until("two mails wait", async || premises.count(fixed).await == 2).await;
    let target: String =
        sqlx::query_scalar("SELECT now()::TEXT").fetch_one(&premises.db).await.expect("a time");

    // After the target they leave, and one more mail comes.
    premises.sink.behave(&Behaviour::Accept);
    arrives("Cleo").await;
    until("all is answered", async || premises.is_settled(3).await).await;
    daemon.kill();
    let sent = |name: &str| sent_to(&premises, &format!("{name}@example.net"));
    assert_eq!([sent("ada"), sent("bob"), sent("cleo")], [(1, 1); 3]);
    let segment: String = sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())")
        .fetch_one(&premises.db)
        .await
        .expect("a segment");
    until("the log is archived", async || {
        let archived =
            sqlx::query_scalar("SELECT COALESCE(last_archived_wal >= $1, FALSE) FROM pg_stat_archiver");
        archived.bind(&segment).fetch_one(&premises.db).await.expect("the archiver")
    })
    .await;
    premises.db.close().await;
    server.halt().expect("PostgreSQL stops");
    variables.push(("TARGET", target));

    for (name, cancels) in [("one", true), ("two", false)] {
        let server = recovered(&place, name, &variables).await;
        let url = postgres::url_of(&server.options("postgres"));
        let config = moved(&premises, &place, &url, &data_dir(&premises.user));
        let mut shell = Shell { place: &place, variables: variables.clone() };
        shell.variables.retain(|(name, _)| *name != "URL");
        shell.variables.push(("URL", url.clone()));
        let db = connect(&url).await;
        until("PostgreSQL is at its target", async || {
            count(&db, "SELECT pg_is_in_recovery()::INT::BIGINT").await == 0
        })
        .await;
        shell.does("after a restore").await;
        if cancels {
            shell.does("if nothing is to be sent twice").await;
        }
        assert_eq!(count(&db, "SELECT count(*) FROM tickets").await, 2, "{name}: it is the moment before");
        sqlx::query("UPDATE jobs SET run_at = LEAST(run_at, now())")
            .execute(&db)
            .await
            .expect("leases are over");
        let daemon = Daemon::start(&config, "");
        until(&format!("{name}: all is done"), async || is_settled(&db, 3).await).await;
        assert_eq!(count(&db, "SELECT count(*) FROM tickets").await, 3, "{name}");
        assert_eq!(count(&db, "SELECT count(*) FROM tickets WHERE id > 2000").await, 1, "{name}");
        assert_eq!(daemon.errors(), Vec::<String>::new());
        daemon.stops().await;
        db.close().await;
        // Cleo's mail is new to each of the two, which give it the same number: one that was not given out before.
        let expected = if cancels { [(1, 1), (1, 1), (2, 2)] } else { [(1, 1), (2, 1), (3, 2)] };
        assert_eq!([sent("ada"), sent("bob"), sent("cleo")], expected, "{name}");
        // Dropping it stops the server, and blocks.
        tokio::task::spawn_blocking(move || drop(server)).await.expect("dropped");
    }
}
