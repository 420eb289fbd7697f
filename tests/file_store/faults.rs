//! What fails for one file fails for that one: the others are kept, sent and swept, and people hear of it.

use super::*;

/// What lies where a content's folder would be keeps it from being written.
fn block(folder: &Path, content: &Content) -> PathBuf {
    let place = folder.join(format!("{:02x}", content.sha256[0]));
    std::fs::write(&place, "no folder").expect("a file in its place");
    place
}

#[tokio::test]
async fn what_is_written_before_an_error_is_kept_and_the_next_attempt_goes_on_there() {
    let desk = desk("").await;
    let files = &desk.app.stages.files;
    let mut contents: Vec<Content> = (0..30).map(|n| Content::new(format!("content {n}"))).collect();
    contents.sort_by_key(|content| content.sha256);
    // Written last: in the order of their hashes.
    let last = contents.pop().expect("a content");
    contents.retain(|content| content.sha256[0] != last.sha256[0]);
    let many = contents.len();
    contents.push(last.clone());
    let blocked = block(&folder(&desk), &last);
    let error = files.keep(&contents, desk.clock.now()).await.expect_err("one cannot be written");
    assert!(error.may_pass(), "{error}");
    let kept = desk.count("SELECT count(*) FROM blobs").await;
    assert!(usize::try_from(kept).is_ok_and(|kept| kept + 4 > many), "{kept} of {many}");
    let first = desk.count("SELECT max(object) FROM blobs").await;

    std::fs::remove_file(blocked).expect("the file");
    files.keep(&contents, desk.clock.now()).await.expect("kept");
    assert_eq!(files.read(last.sha256).await.expect("its bytes"), last.bytes);
    let old =
        sqlx::query("SELECT count(*) FROM blobs WHERE object <= $1").bind(first).fetch_one(&desk.db).await;
    assert_eq!(old.expect("a count").get::<i64, _>(0), kept, "none was written again");
    desk.close().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_is_an_error_and_the_others_are_deleted() {
    let desk = desk("").await;
    let files = &desk.app.stages.files;
    let contents: Vec<Content> = (0..5).map(|n| Content::new(format!("content {n}"))).collect();
    files.keep(&contents, desk.clock.now()).await.expect("kept");
    let mut there = objects(&folder(&desk));
    there.sort();
    let stuck = there.swap_remove(0);
    std::fs::remove_file(&stuck).expect("an object");
    std::fs::create_dir_all(stuck.join("x")).expect("a folder in its place");
    desk.clock.advance(TimeDelta::hours(25));
    let error = files.sweep(desk.clock.now()).await.expect_err("one cannot be deleted");
    assert!(error.to_string().contains("cannot delete a file"), "{error}");
    assert_eq!(objects(&folder(&desk)), Vec::<PathBuf>::new(), "the others are gone");
    assert_eq!(desk.count("SELECT count(*) FROM loose_objects").await, 1);

    std::fs::remove_dir_all(&stuck).expect("the folder");
    let swept = files.sweep(desk.clock.now()).await.expect("swept");
    assert_eq!(swept.removed, 1);
    nothing_is_loose(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn a_reply_whose_file_is_lost_fails_at_once_and_is_said() {
    let desk = desk("").await;
    desk.handles(&mail(ADA, "Invoice", "Please send me my invoice.")).await;
    let bea = desk.logs_in("Bea").await;
    let path = "/api/uploads?filename=invoice.txt";
    let sent = bea.ask(&Method::POST, path).body("the invoice").send().await.with(201);
    let body = json!({"body": "Here it is.", "attachments": [sent.pointer("/id")]});
    bea.posts("/api/tickets/1001/messages", &body).await.with(201);
    let object = objects(&folder(&desk)).pop().expect("an object");
    let aside = folder(&desk).with_file_name("aside");
    std::fs::rename(&object, &aside).expect("loss");
    let before = desk.mails_to("ada@example.net").len();
    desk.later(TimeDelta::seconds(10)).await;
    let said = desk.expects_errors().join("\n");
    assert!(said.contains("has no object"), "{said}");
    let failed = "SELECT count(*) FROM deliveries WHERE kind = 'reply' AND state = 'failed'";
    assert_eq!(desk.count(failed).await, 1);
    assert_eq!(
        desk.count("SELECT count(*) FROM jobs WHERE kind = 'deliver' AND failed_at IS NOT NULL").await,
        1
    );
    let events = bea.read("/api/tickets/1001/events").await.with(200).to_string();
    assert!(events.contains("a file of it cannot be read: the store of attachments"), "{events}");
    assert_eq!(desk.mails_to("ada@example.net").len(), before);

    // Brought back from the backup, and tried again by a person.
    std::fs::rename(&aside, &object).expect("back");
    let job = desk.count("SELECT id FROM jobs WHERE kind = 'deliver' AND failed_at IS NOT NULL").await;
    desk.logs_in("Dora").await.posts(&format!("/api/admin/jobs/{job}/retry"), &json!({})).await;
    desk.settle().await;
    let mail = desk.last_mail_to("ada@example.net");
    assert!(mail.contains("the invoice"), "{mail}");
    desk.close().await;
}

#[tokio::test]
async fn a_content_that_a_message_is_about_to_have_is_not_swept() {
    let desk = desk("").await;
    desk.handles(&mail(ADA, "Invoice", "Please send me my invoice.")).await;
    let files = &desk.app.stages.files;
    let content = Content::new("the invoice");
    files.keep(std::slice::from_ref(&content), desk.clock.now()).await.expect("kept");
    let attach = "INSERT INTO attachments (message_id, content_type, size, sha256) SELECT min(id), 'text/plain', 1, $1 FROM messages";
    let mut tx = desk.db.begin().await.expect("a transaction");
    sqlx::query(attach).bind(content.sha256.to_vec()).execute(&mut *tx).await.expect("an attachment");
    desk.clock.advance(TimeDelta::hours(25));
    files.sweep(desk.clock.now()).await.expect("swept");
    tx.commit().await.expect("a commit");
    assert_eq!(files.read(content.sha256).await.expect("its bytes"), content.bytes);

    let unknown =
        sqlx::query(attach).bind(vec![7_u8; 32]).execute(&desk.db).await.expect_err("nobody kept it");
    let constraint = unknown.as_database_error().and_then(|error| error.constraint().map(str::to_owned));
    assert_eq!(constraint.as_deref(), Some("attachments_blob"));
    desk.close().await;
}
