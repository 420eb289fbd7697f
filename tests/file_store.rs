//! Contents of files in the store of attachments: kept once, given back as they were, moved there, and swept.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;
use ticketd::files::Content;
use ticketd::people::Role;
use ticketd::queue;

use crate::harness::desk::{Api, Desk, Plan, data_dir};
use crate::harness::mail::{Mail, mail};

mod faults;
mod pages;

const ADA: &str = "Ada <ada@example.net>";

async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk
}

/// A mail with files, each of a name, a media type and text.
fn with_files(subject: &str, files: &[(&str, &str, &str)]) -> Mail {
    let mut body = "--b\nContent-Type: text/plain\n\nSee the invoice.\n".to_owned();
    for (name, kind, text) in files {
        body.push_str(&format!(
            "--b\nContent-Type: {kind}\nContent-Disposition: attachment; filename=\"{name}\"\n\n{text}\n"
        ));
    }
    body.push_str("--b--\n");
    mail(ADA, subject, &body).with("Content-Type", "multipart/mixed; boundary=b")
}

fn folder(desk: &Desk) -> PathBuf {
    data_dir(&desk.user).join("attachments")
}

/// Every file in the store.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(objects(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Names in the store and in the database are the same, and nothing is on its way.
async fn nothing_is_loose(desk: &Desk) {
    let rows = sqlx::query(
        "SELECT encode(sha256, 'hex') || '.' || object FROM blobs WHERE object IS NOT NULL ORDER BY 1",
    );
    let named: Vec<String> =
        rows.fetch_all(&desk.db).await.expect("contents").iter().map(|row| row.get(0)).collect();
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let mut there: Vec<String> = objects(&folder(desk)).iter().map(name).collect();
    there.sort();
    assert_eq!(there, named);
    assert_eq!(desk.count("SELECT count(*) FROM loose_objects").await, 0);
}

async fn sweeps(desk: &Desk) {
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::SWEEP, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a commit");
    desk.settle().await;
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::SWEEP_FILES, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a commit");
    desk.settle().await;
}

async fn file(api: &Api, number: i64, nth: usize) -> String {
    let messages = api.read(&format!("/api/tickets/{number}/messages")).await.with(200);
    let id = messages.pointer(&format!("/messages/0/attachments/{nth}/id")).and_then(Value::as_i64);
    format!("/api/tickets/{number}/attachments/{}", id.expect("a file"))
}

async fn sends(api: &Api, name: &str, content: &[u8]) -> u16 {
    let path = format!("/api/uploads?filename={name}");
    api.ask(&Method::POST, &path).header("content-type", "text/plain").body(content).send().await.status
}

#[tokio::test]
async fn files_of_mails_are_in_the_store_once_and_come_back_as_they_were() {
    let desk = desk("").await;
    let first =
        with_files("Invoice", &[("a.txt", "text/plain", "the same"), ("b.txt", "text/plain", "another")]);
    desk.handles(&first).await;
    desk.handles(&with_files("Invoice again", &[("c.txt", "text/plain", "the same")])).await;
    assert_eq!(desk.count("SELECT count(*) FROM attachments").await, 3);
    assert_eq!(desk.count("SELECT count(*) FROM blobs WHERE content IS NULL").await, 2);
    assert_eq!(objects(&folder(&desk)).len(), 2);
    nothing_is_loose(&desk).await;
    // The same mail once more, from another mailbox: nothing is written for it.
    std::fs::remove_dir_all(folder(&desk)).expect("the store");
    desk.handles(&first).await;
    assert_eq!(desk.fates().await, ["ticketed", "ticketed", "duplicate"]);
    assert_eq!(objects(&folder(&desk)).len(), 0);
    desk.close().await;
}

#[tokio::test]
async fn a_damaged_or_lost_file_is_an_error_and_never_other_bytes() {
    let desk = desk("").await;
    desk.handles(&with_files("Invoice", &[("a.txt", "text/plain", "as it was")])).await;
    let bea = desk.logs_in("Bea").await;
    let path = file(&bea, 1001, 0).await;
    assert_eq!(bea.read(&path).await.text().trim(), "as it was");
    let object = objects(&folder(&desk)).pop().expect("an object");
    std::fs::write(&object, "as it is").expect("damage");
    assert_eq!(bea.read(&path).await.problem(), "500: something went wrong on our side; it has been logged");
    let said = desk.expects_errors().join("\n");
    assert!(said.contains("gives other bytes for") && said.contains("restore it from a backup"), "{said}");
    std::fs::remove_file(&object).expect("loss");
    assert_eq!(bea.read(&path).await.status, 500);
    let said = desk.expects_errors().join("\n");
    assert!(said.contains("has no object") && said.contains("restore it from a backup"), "{said}");
    desk.close().await;
}

#[tokio::test]
async fn while_the_store_is_away_mail_waits_and_uploads_are_refused() {
    let desk = desk("").await;
    let (store, aside) = (folder(&desk), data_dir(&desk.user).join("aside"));
    std::fs::rename(&store, &aside).expect("away");
    std::fs::write(&store, "no folder").expect("a file in its place");
    desk.handles(&with_files("Invoice", &[("a.txt", "text/plain", "kept")])).await;
    assert_eq!(desk.fates().await, ["waiting"]);
    assert_eq!(desk.tickets().await, 0);
    let row = sqlx::query("SELECT last_error FROM jobs WHERE kind = 'ingest'").fetch_one(&desk.db).await;
    let error: String = row.expect("a job").get(0);
    assert!(
        error.contains("the store of attachments (folder ") && error.contains("cannot take a file"),
        "{error}"
    );
    let bea = desk.logs_in("Bea").await;
    let refused = bea.ask(&Method::POST, "/api/uploads").body("x").send().await;
    assert_eq!(refused.problem(), "503: files cannot be stored or read at the moment: try again later");
    assert_eq!(desk.count("SELECT count(*) FROM uploads").await, 0);
    // A mail without files does not wait.
    desk.handles(&mail(ADA, "Question", "How much is it?")).await;
    assert_eq!(desk.fates().await, ["waiting", "ticketed"]);

    std::fs::remove_file(&store).expect("the file");
    std::fs::rename(&aside, &store).expect("back");
    desk.later(TimeDelta::minutes(20)).await;
    assert_eq!(desk.fates().await, ["ticketed", "ticketed"]);
    let bea = desk.logs_in("Bea").await;
    let path = file(&bea, 1002, 0).await;
    assert_eq!(bea.read(&path).await.text().trim(), "kept");
    // What the attempts began is swept.
    desk.later(TimeDelta::hours(25)).await;
    sweeps(&desk).await;
    nothing_is_loose(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn what_nothing_refers_to_is_removed_after_a_day_and_what_something_does_stays() {
    let desk = desk("").await;
    desk.handles(&with_files("Invoice", &[("a.txt", "text/plain", "wanted")])).await;
    let bea = desk.logs_in("Bea").await;
    assert_eq!(sends(&bea, "b.txt", b"never used").await, 201);
    desk.later(TimeDelta::hours(23)).await;
    sweeps(&desk).await;
    assert_eq!(objects(&folder(&desk)).len(), 2, "not yet");
    desk.later(TimeDelta::hours(2)).await;
    sweeps(&desk).await;
    assert_eq!(objects(&folder(&desk)).len(), 1);
    nothing_is_loose(&desk).await;
    let bea = desk.logs_in("Bea").await;
    let path = file(&bea, 1001, 0).await;
    assert_eq!(bea.read(&path).await.text().trim(), "wanted");
    desk.close().await;
}

#[tokio::test]
async fn contents_in_the_database_are_read_and_moved_to_the_store() {
    let desk = desk("").await;
    desk.handles(&with_files("Invoice", &[("a.txt", "text/plain", "of old")])).await;
    // As the version before left them.
    let content = std::fs::read(objects(&folder(&desk)).pop().expect("an object")).expect("its content");
    std::fs::remove_dir_all(folder(&desk)).expect("the store");
    let old = sqlx::query("UPDATE blobs SET content = $1, object = NULL").bind(&content);
    old.execute(&desk.db).await.expect("an old row");
    let bea = desk.logs_in("Bea").await;
    let path = file(&bea, 1001, 0).await;
    assert_eq!(bea.read(&path).await.bytes, content);
    // A copy that comes now needs nothing written.
    desk.handles(&with_files("Invoice again", &[("b.txt", "text/plain", "of old")])).await;
    assert_eq!(objects(&folder(&desk)).len(), 0);
    sweeps(&desk).await;
    assert_eq!(
        desk.count("SELECT count(*) FROM blobs WHERE content IS NULL AND object IS NOT NULL").await,
        1
    );
    nothing_is_loose(&desk).await;
    assert_eq!(bea.read(&path).await.bytes, content);
    desk.close().await;
}

/// Contents become unwanted and are wanted again at the same moment: whoever kept one can read it.
#[tokio::test]
async fn a_sweep_takes_nothing_from_who_keeps_the_same_content_meanwhile() {
    let desk = desk("").await;
    let files = &desk.app.stages.files;
    let contents: Vec<Content> = (0..8).map(|n| Content::new(format!("content {n}"))).collect();
    for round in 0..25 {
        let now = desk.clock.now();
        files.keep(&contents, now).await.expect("kept");
        let later = now + TimeDelta::hours(25);
        desk.clock.advance(TimeDelta::hours(25));
        let (swept, again, once_more) =
            tokio::join!(files.sweep(later), files.keep(&contents, later), files.keep(&contents, later));
        swept.expect("swept");
        again.expect("kept");
        once_more.expect("kept");
        for content in &contents {
            let read = files.read(content.sha256).await;
            assert_eq!(read.expect("kept a moment ago"), content.bytes, "round {round}");
        }
    }
    desk.clock.advance(TimeDelta::hours(50));
    files.sweep(desk.clock.now()).await.expect("swept");
    files.sweep(desk.clock.now()).await.expect("swept");
    assert_eq!(objects(&folder(&desk)).len(), 0, "nothing leaks");
    assert_eq!(
        desk.count("SELECT (SELECT count(*) FROM blobs) + (SELECT count(*) FROM loose_objects)").await,
        0
    );
    desk.close().await;
}

/// One that froze after it announced its writing, or after it wrote, is not believed a day later.
#[tokio::test]
async fn who_writes_too_late_begins_anew() {
    let desk = desk("").await;
    let files = &desk.app.stages.files;
    let content = Content::new("late");
    // Its announcement was swept: by then it is at most a loose object.
    let before = desk.clock.now() - TimeDelta::hours(30);
    sqlx::query("INSERT INTO loose_objects (sha256, since) VALUES ($1, $2)")
        .bind(content.sha256.to_vec())
        .bind(before)
        .execute(&desk.db)
        .await
        .expect("an announcement");
    let swept = files.sweep(desk.clock.now()).await.expect("swept");
    assert_eq!((swept.removed, swept.moved, swept.unfinished), (1, 0, false));
    files.keep(std::slice::from_ref(&content), desk.clock.now()).await.expect("kept");
    assert_eq!(files.read(content.sha256).await.expect("its bytes"), content.bytes);
    nothing_is_loose(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn what_the_limits_leave_out_is_said_to_staff() {
    let desk = desk("[attachments]\nmax_bytes = 20\nmax_count = 2\n").await;
    let long = "far more than twenty bytes of text";
    desk.handles(&with_files(
        "Invoice",
        &[
            ("one.txt", "text/plain", "1"),
            ("film\u{202e}4pm.exe", "video/mp4", long),
            ("two.txt", "text/plain", "2"),
            ("three.txt", "text/plain", "3"),
            ("four.txt", "text/plain", "4"),
        ],
    ))
    .await;
    let bea = desk.logs_in("Bea").await;
    let messages = bea.read("/api/tickets/1001/messages").await.with(200);
    let names: Vec<&str> = messages
        .pointer("/messages/0/attachments")
        .and_then(Value::as_array)
        .expect("files")
        .iter()
        .filter_map(|file| file.get("filename").and_then(Value::as_str))
        .collect();
    assert_eq!(names, ["one.txt", "two.txt"]);
    let problems = messages.pointer("/messages/0/problems").and_then(Value::as_str).expect("problems");
    insta::assert_snapshot!(problems, @"1 file was left out, larger than 20 bytes (attachments.max_bytes): film4pm.exe; 2 files were left out, more than the 2 that are taken (attachments.max_count): three.txt, four.txt");
    let notice = desk.last_mail_to("bea@example.org");
    assert!(notice.contains("2 files were left out"), "{notice}");
    assert_eq!(sends(&bea, "large.txt", long.as_bytes()).await, 413);
    assert_eq!(sends(&bea, "small.txt", b"twenty bytes of text").await, 201, "just so many");
    assert_eq!(desk.count("SELECT count(*) FROM blobs").await, 3, "nothing is kept of what is left out");
    let three = json!({"body": "Here they are.", "attachments": [1, 2, 3]});
    let refused = bea.posts("/api/tickets/1001/messages", &three).await.problem();
    insta::assert_snapshot!(refused, @"400: a message takes at most 2 files");
    let ticket = json!({"subject": "Files", "body": "Here they are.", "attachments": [1, 2, 3]});
    assert_eq!(bea.posts("/api/tickets", &ticket).await.problem(), refused);
    desk.close().await;
}

#[tokio::test]
async fn doctor_writes_reads_and_deletes_a_file() {
    let place = tempfile::tempdir().expect("a folder");
    let config =
        ticketd::config::Attachments { path: Some(place.path().join("files")), ..Default::default() };
    let store = ticketd::store::Store::open(&config, place.path()).expect("a store");
    let said = store.probe().await.expect("a sound store");
    assert_eq!(
        said.replace(place.path().to_str().expect("a path"), "F"),
        "folder F/files takes, gives and deletes files"
    );
    assert_eq!(objects(&place.path().join("files")).len(), 0);
}

/// What is in a ticket, as its API shows it.
async fn message(api: &Api, query: &str) -> Value {
    let messages = api.read(&format!("/api/tickets/1001/messages{query}")).await.with(200);
    messages.pointer("/messages/0").cloned().unwrap_or(json!(null))
}
