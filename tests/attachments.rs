//! Files by web: sent first, named by a message, read by whoever may read it, and gone where nobody needs them.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use ticketd::people::Role;
use ticketd::{queue, tickets};

use crate::harness::ask::Answer;
use crate::harness::desk::{Api, Desk, Plan};

async fn desk() -> (Desk, Api, Api) {
    let more = "[limits]\ntickets_per_person = 0\n".to_owned();
    let desk = Desk::with(Plan { more, ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.registers("Ada").await;
    desk.registers("Eve").await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    (desk, ada, bea)
}

async fn sends(api: &Api, name: &str, kind: &str, content: &[u8]) -> Answer {
    let path = reqwest::Url::parse_with_params("http://x/api/uploads", [("filename", name)]).expect("a path");
    let path = format!("{}?{}", path.path(), path.query().unwrap_or_default());
    api.ask(&Method::POST, &path).header("content-type", kind).body(content).send().await
}

fn id(body: &Value) -> i64 {
    body.pointer("/id").and_then(Value::as_i64).expect("an id")
}

async fn opens(desk: &Desk, api: &Api, files: &[i64]) {
    let body = json!({"subject": "Invoice", "body": "See the invoice.", "attachments": files});
    api.posts("/api/tickets", &body).await.with(201);
    desk.settle().await;
}

#[tokio::test]
async fn a_file_goes_with_its_message_and_along_by_mail() {
    let (desk, ada, bea) = desk().await;
    let sent =
        sends(&ada, "../../etc/in\u{202e}voice.pdf", "Application/PDF; x=y", b"%PDF adas").await.with(201);
    assert_eq!(sent.pointer("/filename"), Some(&json!("invoice.pdf")));
    assert_eq!(
        (sent.pointer("/content_type"), sent.pointer("/size")),
        (Some(&json!("application/pdf")), Some(&json!(9)))
    );
    opens(&desk, &ada, &[id(&sent)]).await;
    let detail = bea.read("/api/tickets/1001").await.with(200);
    let file = detail.pointer("/messages/0/attachments/0/id").and_then(Value::as_i64).expect("a file");
    let path = format!("/api/tickets/1001/attachments/{file}");
    let read = bea.read(&path).await;
    assert_eq!((read.status, read.bytes.as_slice()), (200, b"%PDF adas".as_slice()));
    assert_eq!(
        read.header("content-disposition"),
        "attachment; filename=\"invoice.pdf\"; filename*=UTF-8''invoice.pdf"
    );
    assert_eq!(read.header("content-type"), "application/pdf");
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert!(read.header("content-security-policy").contains("sandbox"));
    assert_eq!(ada.read(&path).await.status, 200);
    assert_eq!(desk.logs_in("Eve").await.read(&path).await.status, 404);
    assert_eq!(ada.read("/api/tickets/1001/attachments/999").await.status, 404);

    let reply = sends(&bea, "answer.txt", "text/plain", b"as promised").await.with(201);
    let body = json!({"body": "Here it is.", "attachments": [id(&reply)]});
    bea.posts("/api/tickets/1001/messages", &body).await.with(201);
    let again = bea.posts("/api/tickets/1001/messages", &body).await;
    assert_eq!(again.status, 400, "a file goes with one message: {}", again.text());
    desk.later(TimeDelta::seconds(10)).await;
    let mail = desk.last_mail_to("ada@example.org");
    let parsed = ticketd::mail::parse::parse(mail.as_bytes());
    let files: Vec<_> =
        parsed.attachments.iter().map(|a| (a.filename.as_deref(), a.content.as_slice())).collect();
    assert_eq!(files, [(Some("answer.txt"), b"as promised".as_slice())]);
    desk.close().await;
}

#[tokio::test]
async fn the_files_of_a_note_are_for_staff_and_others_files_are_not_ours_to_send() {
    let (desk, ada, bea) = desk().await;
    opens(&desk, &ada, &[]).await;
    let secret = sends(&bea, "margin.txt", "text/plain", b"secret").await.with(201);
    let stolen =
        ada.posts("/api/tickets/1001/messages", &json!({"body": "Mine", "attachments": [id(&secret)]})).await;
    assert_eq!(stolen.status, 400, "{}", stolen.text());
    assert_eq!(desk.conversation(1001).await.len(), 1, "nothing was written");
    let note = json!({"body": "Look.", "visibility": "internal", "attachments": [id(&secret)]});
    bea.posts("/api/tickets/1001/messages", &note).await.with(201);
    let messages = bea.read("/api/tickets/1001/messages").await.with(200);
    let file = messages.pointer("/messages/1/attachments/0/id").and_then(Value::as_i64).expect("a file");
    let path = format!("/api/tickets/1001/attachments/{file}");
    assert_eq!(bea.read(&path).await.status, 200);
    assert_eq!(ada.read(&path).await.status, 404);
    // Nor by way of another ticket.
    opens(&desk, &ada, &[]).await;
    assert_eq!(ada.read(&format!("/api/tickets/1002/attachments/{file}")).await.status, 404);
    assert_eq!(bea.read(&format!("/api/tickets/1002/attachments/{file}")).await.status, 404);
    desk.close().await;
}

#[tokio::test]
async fn what_is_too_large_or_too_many_is_refused() {
    let (desk, ada, _) = desk().await;
    let large = vec![b'x'; tickets::uploads::LARGEST];
    let largest = id(&sends(&ada, "large", "text/plain", &large).await.with(201));
    let larger = sends(&ada, "larger", "text/plain", &[large.as_slice(), b"x"].concat()).await;
    assert_eq!(larger.problem(), "413: the request has more bytes than are taken");
    let mut small = 0;
    for n in 0..39 {
        small = id(&sends(&ada, "small", "", format!("{n}").as_bytes()).await.with(201));
    }
    let more = sends(&ada, "small", "", b"x").await;
    assert_eq!(
        more.problem(),
        "409: too many files of yours wait to be sent: use or wait, they are removed after a day"
    );
    assert_eq!(ada.nobody().ask(&Method::POST, "/api/uploads").body("x").send().await.status, 401);
    let files: Vec<i64> = (1..=21).collect();
    let many = ada.posts("/api/tickets", &json!({"subject": "x", "body": "x", "attachments": files})).await;
    assert_eq!(many.problem(), "400: a message takes at most 20 files");
    let both = json!({"subject": "x", "body": "x", "attachments": [largest, small]});
    let together = ada.posts("/api/tickets", &both).await;
    assert_eq!(together.problem(), "400: the files of one message have at most 26214400 bytes together");
    // They still wait for a message that takes them.
    opens(&desk, &ada, &[largest]).await;
    opens(&desk, &ada, &[small]).await;
    desk.close().await;
}

#[tokio::test]
async fn what_no_message_names_within_a_day_is_gone_and_what_one_names_stays() {
    let (desk, ada, _) = desk().await;
    let used = sends(&ada, "a.txt", "text/plain", b"the same").await.with(201);
    let unused = sends(&ada, "b.txt", "text/plain", b"the same").await.with(201);
    sends(&ada, "c.txt", "text/plain", b"another").await.with(201);
    opens(&desk, &ada, &[id(&used)]).await;
    assert_eq!(desk.count("SELECT count(*) FROM blobs").await, 2);
    let mut tx = desk.db.begin().await.expect("a transaction");
    let in_a_day = desk.clock.now() + TimeDelta::hours(24);
    queue::enqueue(&mut tx, &queue::SWEEP, 0, desk.clock.now()).await.expect("a job");
    queue::enqueue(&mut tx, &queue::SWEEP, 1, in_a_day + TimeDelta::seconds(1)).await.expect("a job");
    queue::enqueue(&mut tx, &queue::SWEEP_FILES, 0, in_a_day + TimeDelta::seconds(2)).await.expect("a job");
    tx.commit().await.expect("a commit");
    desk.settle().await;
    assert_eq!(desk.count("SELECT count(*) FROM uploads").await, 2, "not yet");
    desk.later(TimeDelta::hours(25)).await;
    assert_eq!(desk.count("SELECT count(*) FROM uploads").await, 0);
    assert_eq!(desk.count("SELECT count(*) FROM blobs").await, 1, "the content that a message has stays");
    let ada = desk.logs_in("Ada").await;
    let late =
        ada.posts("/api/tickets/1001/messages", &json!({"body": "x", "attachments": [id(&unused)]})).await;
    assert_eq!(late.status, 400);
    assert_eq!(ada.read("/api/tickets/1001/attachments/1").await.bytes, b"the same");
    desk.close().await;
}
