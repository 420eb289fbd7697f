//! Mail as it should not be: it is kept and read as well as it can be, it breaks nothing, and the next one goes on.

use std::fmt::Write;

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use sqlx::Row;
use ticketd::ingest;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{header, mail, text};

const ADA: &str = "Ada <ada@example.net>";
const BEA: &str = "Bea <bea@example.org>";

async fn desk() -> Desk {
    desk_with("").await
}

async fn desk_with(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.hires_with("Bea", Role::Admin, &[], Some(1000), false).await;
    desk
}

/// The next person's mail, after all that, is a ticket like any other.
async fn the_next_mail_goes_on(desk: &Desk) {
    let before = desk.mails_to("zoe@example.net").len();
    desk.handles(&mail("Zoe <zoe@example.net>", "Question", &format!("When do you open ({before})?"))).await;
    assert_eq!(desk.fates().await.last().map(String::as_str), Some("ticketed"));
    assert_eq!(desk.mails_to("zoe@example.net").len(), before + 1);
}

/// A multipart mail of these parts, each with its header.
fn parts(list: &[&str]) -> Vec<u8> {
    let body: String = list.iter().fold(String::new(), |body, part| body + "--b\n" + part + "\n");
    mail(ADA, "Files", &(body + "--b--\n")).with("Content-Type", "multipart/mixed; boundary=b").raw()
}

#[tokio::test]
async fn nul_bytes_in_header_and_body_are_no_obstacle() {
    let desk = desk().await;
    let raw = b"From: \"A\0da\" <ada@example.net>\r\nTo: support@example.org\r\nCc: \"B\0b\" <bob@example.net>\r\n\
        Subject: Pri\0nter =?utf-8?q?on=00fire?=\r\nMessage-ID: <1\0@client.example>\r\n\
        References: <0\0@client.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nIt is\0 on=00 fire.\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<p title='\0'>It\0 is &#0; out.</p>\r\n\
        --b\r\nContent-Type: image/p\0ng; name=\"a\0b.png\"\r\nContent-ID: <\0@x>\r\n\r\n\0\0\0\r\n--b--\r\n";
    // An IMAP server takes them out; a Maildir does not.
    ingest::receive_file(&desk.db, &desk.clock, "support", "1.M1P1.mx", raw.to_vec()).await.unwrap();
    desk.settle().await;
    Dovecot::shared().deliver(&desk.user, "INBOX", [&raw.map(|b| if b == b'1' { b'2' } else { b })[..]]);
    desk.fetches().await;
    desk.settle().await;
    assert_eq!(desk.fates().await, ["ticketed", "ticketed"]);
    let message = desk.conversation(1001).await.remove(0);
    assert!(message.visible.contains("It is on fire."), "{message:?}");
    assert_eq!(message.author_name.as_deref(), Some("A da"));
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    assert!(text(&desk.last_mail_to("bob@example.net")).starts_with("Take the stairs."));
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn line_ends_hidden_in_words_make_no_header_of_ours() {
    let desk = desk().await;
    let bcc = "=0D=0ABcc:_victim@example.com=0D=0A=0D=0AHello_victim";
    let hostile =
        mail(&format!("=?utf-8?q?Ada{bcc}?= <ada@example.net>"), &format!("=?utf-8?q?Printer{bcc}?="), "x")
            .with("Message-ID", "<1@client.example\r\n Bcc:\r\n victim@example.com>")
            .with("References", "<0@client.example>\r\n <=?utf-8?q?x=0D=0ABcc:_victim@example.com?=>")
            .with("Reply-To", &format!("=?utf-8?q?Office{bcc}?= <ada@example.net>"))
            .with("Cc", "\"=?utf-8?b?Qm9iDQpCY2M6IHZpY3RpbUBleGFtcGxlLmNvbQ==?=\" <bob@example.net>");
    desk.handles(&hostile).await;
    // Staff's files and Ada's name go out with the answer.
    let body = "--b\nContent-Type: text/plain\n\nTake the stairs.\n\
        --b\nContent-Type: image/png; name=\"=?utf-8?q?a=0D=0ABcc:_victim@example.com?=\"\n\nx\n--b--\n";
    let answer = mail(BEA, "", body).with("Content-Type", "multipart/mixed; boundary=b");
    desk.handles(&answer.answering(&desk.last_mail_to("bea@example.org"))).await;

    let sent = desk.sink.mails();
    assert_eq!(sent.len(), 4, "acknowledgement, notice, and the answer to Ada and Bob");
    for mail in sent {
        let raw = mail.text();
        assert!(!mail.rcpt_to.iter().any(|to| to.contains("victim")), "{raw}");
        assert_eq!(header(&raw, "Bcc"), None, "{raw}");
        let starts = raw
            .lines()
            .any(|line| line.trim_start().to_lowercase().starts_with("bcc:") && !line.starts_with(' '));
        assert!(!starts, "{raw}");
        assert!(!text(&raw).starts_with("Hello victim"), "{raw}");
        assert!(header(&raw, "Message-ID").is_some() && header(&raw, "X-Ticketd-Loop").is_some(), "{raw}");
    }
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn five_thousand_references_are_as_good_as_twenty() {
    let desk = desk().await;
    let ids: Vec<String> = (0..5000).map(|n| format!("<{n}.long-id-of-a-list@client.example>")).collect();
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("References", &ids.join("\r\n "))).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    let references = header(&acknowledgement, "References").unwrap();
    assert!(references.len() < 2000, "{}", references.len());
    assert!(references.starts_with(&ids[0]), "the root stays: {references}");
    // The root and the newest ancestors still lead here.
    for id in [&ids[0], &ids[4999], &ids[4990]] {
        desk.handles(&mail(ADA, "More", &format!("About {id}.")).with("In-Reply-To", id)).await;
    }
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended", "appended"]);
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn three_hundred_copies_make_no_mailing_list_of_us() {
    let desk = desk().await;
    let copies: Vec<String> = (0..300).map(|n| format!("P{n} <p{n}@example.com>")).collect();
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("Cc", &copies.join(",\r\n "))).await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    assert_eq!(desk.sink.mails().len(), 2, "only Ada and staff hear of it");
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 2);
    assert_eq!(desk.sink.mails().len(), 2 + 21, "Ada and the first twenty");
    desk.close().await;
}

#[tokio::test]
async fn names_of_files_are_made_safe() {
    let desk = desk().await;
    let long = "x".repeat(5000) + ".txt";
    let names = [
        "../../etc/passwd",
        "/etc/shadow",
        "C:\\Windows\\system32\\evil.exe",
        "..",
        ".",
        "",
        "a/b\\c.txt",
        &long,
        "invoice\u{202e}fdp.exe",
        "con\ttrol\u{7}.txt",
        "Ünïcödé 文件.pdf",
    ];
    let list: Vec<String> = names
        .iter()
        .map(|name| {
            let encoded = name.bytes().fold(String::new(), |mut text, byte| {
                write!(text, "%{byte:02X}").expect("text grows");
                text
            });
            format!("Content-Type: application/x-thing\nContent-Disposition: attachment; filename*=utf-8''{encoded}\n\nx")
        })
        .collect();
    desk.handles_raw(&parts(&list.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let message = desk.conversation(1001).await.remove(0);
    assert_eq!(message.attachments.len(), names.len(), "a strange name loses no file");
    let safe: Vec<_> = message.attachments.iter().map(|file| file.filename.clone()).collect();
    for name in safe.iter().flatten() {
        assert!(name.len() <= 255 && !matches!(name.as_str(), "" | "." | ".."), "{name:?}");
        assert!(!name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '\u{202e}')), "{name:?}");
    }
    assert_eq!(safe[0].as_deref(), Some("passwd"));
    assert_eq!(safe[2].as_deref(), Some("evil.exe"));
    assert_eq!(safe[10].as_deref(), Some("Ünïcödé 文件.pdf"));
    desk.close().await;
}

#[tokio::test]
async fn towers_of_html_and_of_parts_fall_over_nothing() {
    let desk = desk().await;
    let divs = format!("{}It is on fire.{}", "<div>".repeat(20_000), "</div>".repeat(20_000));
    desk.handles(&mail(ADA, "Divs", &divs).with("Content-Type", "text/html")).await;
    let quotes = format!("{}It is on fire.", "<blockquote><table><tr><td>".repeat(8_000));
    desk.handles(&mail(ADA, "Quotes", &quotes).with("Content-Type", "text/html")).await;
    let tower: String = (0..2000).fold(String::new(), |tower, n| {
        tower + &format!("--b{n}\nContent-Type: multipart/mixed; boundary=b{}\n\n", n + 1)
    });
    desk.handles(&mail(ADA, "Tower", &tower).with("Content-Type", "multipart/mixed; boundary=b0")).await;
    let letters = "Content-Type: message/rfc822\n\n".repeat(3000);
    desk.handles(&mail(ADA, "Letters", &letters).with("Content-Type", "message/rfc822")).await;
    let fields: Vec<String> = (0..20_000).map(|n| format!("X-{n}: y\r\n")).collect();
    desk.handles_raw(&[fields.concat().as_bytes(), &mail(ADA, "Fields", "It is on fire.").raw()].concat())
        .await;
    assert_eq!(desk.fates().await.len(), 5);
    assert!(desk.fates().await.iter().all(|fate| fate == "ticketed"), "{:?}", desk.fates().await);
    assert!(desk.conversation(1001).await[0].visible.contains("It is on fire."));
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn what_a_mail_says_of_its_characters_may_be_wrong() {
    let desk = desk().await;
    let latin = |charset: &str, bytes: &[u8]| {
        let head = mail("=?x-bogus?q?Ren=E9?= <rene@example.net>", "=?utf-8?q?Fa=E7ade?=", "")
            .with("Content-Type", &format!("text/plain; charset={charset}"))
            .with("Content-Transfer-Encoding", "8bit");
        [&head.raw()[..], bytes].concat()
    };
    let cases: [(&str, &[u8], &str); 5] = [
        ("x-bogus", b"Das L\xf6schen der T\xfcr.", "Das Löschen der Tür."),
        ("utf-8", b"Das L\xf6schen der T\xfcr.", "Das Löschen der Tür."),
        ("us-ascii", "Das Löschen der Tür.".as_bytes(), "Das Löschen der Tür."),
        ("\"\"", "Das Löschen der Tür.".as_bytes(), "Das Löschen der Tür."),
        ("iso-8859-1", b"Das L\xf6schen der T\xfcr.", "Das Löschen der Tür."),
    ];
    for (number, (charset, bytes, wanted)) in (1001..).zip(cases) {
        desk.handles_raw(&latin(charset, bytes)).await;
        let message = desk.conversation(number).await.remove(0);
        assert_eq!(message.visible.trim(), wanted, "{charset}");
    }
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn a_mail_of_nothing_is_kept() {
    let desk = desk().await;
    // A file of no bytes, as a full disk leaves one; a header and no more; a body and no more.
    for (number, raw) in
        [&b""[..], b"\r\n", b"Hello, is there anybody?\r\n", b"From: Ada <ada@example.net>\r\n"]
            .iter()
            .enumerate()
    {
        let name = format!("{number}.M1P1.mx");
        ingest::receive_file(&desk.db, &desk.clock, "support", &name, raw.to_vec()).await.unwrap();
        desk.settle().await;
    }
    let only_header = mail(ADA, "Only a subject", "").raw();
    Dovecot::shared().deliver(&desk.user, "INBOX", [b"", &only_header[..]]);
    desk.fetches().await;
    desk.settle().await;
    assert!(
        desk.fates().await.iter().all(|fate| fate == "ticketed" || fate == "duplicate"),
        "{:?}",
        desk.fates().await
    );
    assert_eq!(desk.mails_to("ada@example.net").len(), 2);
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn mails_without_an_author_are_tickets_of_nobody_and_never_meet() {
    let desk = desk().await;
    let anonymous = |subject: &str| mail("", subject, &format!("{subject}: it is on fire.")).without("From");
    desk.handles(&anonymous("Printer")).await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    assert_eq!(desk.sink.mails().len(), 1, "the notice; there is nobody to acknowledge it to");
    // Another mail of nobody's knows the number, as anybody may.
    desk.handles(&anonymous("[#1001] Printer")).await;
    desk.handles(&mail("no address at all", "[#1001] Scanner", "Me too.")).await;
    assert_eq!(desk.fates().await, ["ticketed", "ticketed", "ticketed"]);

    // An answer has nowhere to go, and says so instead of being tried for ever.
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Who are you?", false).await;
    let delivery = desk.deliveries(1001).await.pop().unwrap();
    assert_eq!((delivery.kind.as_str(), delivery.state.as_str()), ("reply", "failed"));
    assert!(desk.events(1001).await.iter().any(|e| e.kind == "delivery" && e.data["state"] == "failed"));
    assert_eq!(desk.expects_errors().len(), 1, "it is on the list of dead letters");
    sqlx::raw_sql("DELETE FROM jobs WHERE failed_at IS NOT NULL").execute(&desk.db).await.unwrap();
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn a_file_arrives_byte_for_byte_and_leaves_byte_for_byte() {
    let desk = desk().await;
    let content: Vec<u8> =
        (0..200_000_u32).map(|n| u8::try_from((n % 251) * (n % 241) % 256).unwrap_or_default()).collect();
    let attached = |from: &str| {
        let body = lettre::message::MultiPart::mixed()
            .singlepart(lettre::message::SinglePart::plain("It is attached.".to_owned()))
            .singlepart(
                lettre::message::Attachment::new("photo.bin".to_owned())
                    .body(content.clone(), "application/octet-stream".parse().unwrap()),
            );
        let whole = String::from_utf8(body.formatted()).unwrap();
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default();
        let boundary = head.split("boundary=").nth(1).unwrap().lines().next().unwrap();
        let kind = kind.split(';').next().unwrap();
        mail(from, "Photo", &body.replace('\r', ""))
            .with("Content-Type", &format!("{kind}; boundary={boundary}"))
    };
    desk.handles(&attached(ADA)).await;
    let stored = sqlx::query("SELECT a.sha256, a.size FROM attachments a JOIN blobs b USING (sha256)");
    let stored = stored.fetch_one(&desk.db).await.unwrap();
    assert_eq!(stored.get::<Vec<u8>, _>(0), Sha256::digest(&content).to_vec());
    let kept = desk.app.stages.files.read(Sha256::digest(&content).into()).await.unwrap();
    assert!(kept == content, "another content under the same name");
    assert_eq!(stored.get::<i64, _>(1), 200_000);

    desk.handles(&attached(BEA).answering(&desk.last_mail_to("bea@example.org"))).await;
    let answer = ticketd::mail::parse::parse(&desk.mails_to("ada@example.net").pop().unwrap().raw);
    let [file] = answer.attachments.as_slice() else { panic!("{:?}", answer.attachments.len()) };
    assert_eq!(file.filename.as_deref(), Some("photo.bin"));
    assert!(file.content == content, "the file was changed on its way out");
    assert_eq!(desk.count("SELECT count(*) FROM blobs").await, 1, "each content is kept once");
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_cannot_be_stored_is_put_aside_and_the_next_goes_on() {
    let desk = desk().await;
    // Stands for whatever the database will not take one day.
    let refuse = "ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (subject <> 'Poison')";
    sqlx::raw_sql(refuse).execute(&desk.db).await.unwrap();
    desk.gets(&mail(ADA, "Poison", "Drink this.")).await;
    the_next_mail_goes_on(&desk).await;
    assert_eq!(desk.fates().await, ["waiting", "ticketed"]);
    for _ in 0..4 {
        desk.later(TimeDelta::minutes(1)).await;
    }
    assert_eq!(desk.fates().await, ["quarantined", "ticketed"]);
    let errors = desk.expects_errors();
    assert!(errors.len() == 1 && errors[0].contains("in quarantine"), "{errors:?}");
    assert_eq!(desk.count("SELECT count(*) FROM raw_mails").await, 2, "its bytes are kept");

    // Bytes that are gone are no reason to try for ever either.
    desk.gets(&mail(ADA, "Lost", "Gone.")).await;
    desk.fetches().await;
    let lose = "UPDATE inbound SET raw_sha256 = NULL WHERE fate IS NULL";
    sqlx::raw_sql(lose).execute(&desk.db).await.unwrap();
    desk.settle().await;
    assert_eq!(desk.fates().await, ["quarantined", "ticketed", "quarantined"]);
    assert_eq!(desk.expects_errors().len(), 1);
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_takes_the_process_down_each_time_is_put_aside() {
    let desk = desk().await;
    desk.gets(&mail(ADA, "Poison", "Drink this.")).await;
    desk.fetches().await;
    // As if ten processes had claimed it and died.
    sqlx::raw_sql("UPDATE jobs SET attempt = 10 WHERE kind = 'ingest'").execute(&desk.db).await.unwrap();
    desk.settle().await;
    assert_eq!(desk.fates().await, ["quarantined"]);
    assert_eq!(desk.expects_errors().len(), 1);
    the_next_mail_goes_on(&desk).await;

    // Any other job that does so ends on the dead-letter list.
    let endless = "INSERT INTO jobs (kind, subject, attempt, run_at, created_at)
                   VALUES ('reassign', 0, 20, '2026-11-21T00:00Z', '2026-11-21T00:00Z')";
    sqlx::raw_sql(endless).execute(&desk.db).await.unwrap();
    desk.settle().await;
    let dead = "DELETE FROM jobs WHERE failed_at IS NOT NULL AND last_error LIKE 'it was begun 20 times%'";
    assert_eq!(sqlx::raw_sql(dead).execute(&desk.db).await.unwrap().rows_affected(), 1);
    assert_eq!(desk.expects_errors().len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn a_database_without_room_keeps_mail_waiting_and_puts_none_aside() {
    let desk = desk().await;
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
                CREATE TRIGGER full_disk BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION full_disk()";
    sqlx::raw_sql(full).execute(&desk.db).await.unwrap();
    desk.gets(&mail(ADA, "Printer", "It is on fire.")).await;
    desk.fetches().await;
    for _ in 0..15 {
        desk.later(TimeDelta::minutes(20)).await;
    }
    assert_eq!(desk.fates().await, ["waiting"]);
    sqlx::raw_sql("DROP TRIGGER full_disk ON messages").execute(&desk.db).await.unwrap();
    desk.later(TimeDelta::minutes(20)).await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    desk.close().await;
}

#[tokio::test]
async fn of_a_mail_that_is_too_large_the_start_is_kept_and_staff_is_told() {
    let desk = desk_with("[mail]\nmax_message_bytes = 60000").await;
    let file = "QUJD".repeat(18) + "\n";
    let large = |id: &str| {
        let first = "Content-Type: text/plain\n\nThe log is attached.".to_owned();
        let second = format!(
            "Content-Type: text/plain; name=log.txt\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n\n{}",
            file.repeat(4000)
        );
        String::from_utf8(parts(&[&first, &second])).unwrap().replace("Files", id)
    };
    desk.handles_raw(large("By IMAP").as_bytes()).await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    let message = desk.conversation(1001).await.remove(0);
    assert_eq!(message.visible.trim(), "The log is attached.");
    assert_eq!(message.attachments.len(), 1);
    assert!(message.attachments[0].size < 60_000);
    let reason = desk.reasons().await.remove(0);
    assert!(reason.contains("only its first 60000 bytes"), "{reason}");
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("only its first 60000 bytes"), "{told}");
    assert!(!told.contains("QUJD"));
    assert_eq!(desk.mails_to("ada@example.net").len(), 1);
    the_next_mail_goes_on(&desk).await;
    desk.close().await;
}
