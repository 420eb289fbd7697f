//! What of files and of HTML mail a browser gets to see.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, desk, message};
use crate::harness::mail::mail;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

#[tokio::test]
async fn only_pictures_are_shown_and_all_else_is_saved() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    desk.handles(&mail(ADA, "Invoice", "See the invoice.")).await;
    let files: [(&str, &str, &[u8]); 7] = [
        ("photo.png", "image/png", PNG),
        ("page.html", "text/html", b"<script>alert(1)</script>"),
        ("drawing.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("liar.png", "image/png", b"<html><script>alert(1)</script>"),
        ("feed.xml", "application/xml", b"<?xml-stylesheet href='x'?>"),
        ("bill.pdf", "application/pdf", b"%PDF-1.7"),
        ("../a%22%0D%0AX-Evil:%20y.png", "image/png", PNG),
    ];
    let mut ids = Vec::new();
    for (name, kind, content) in files {
        let path = format!("/api/uploads?filename={name}");
        let sent = bea.ask(&Method::POST, &path).header("content-type", kind).body(content).send().await;
        ids.push(sent.with(201).pointer("/id").cloned().expect("an id"));
    }
    let note = json!({"body": "Look.", "visibility": "internal", "attachments": ids});
    bea.posts("/api/tickets/1001/messages", &note).await.with(201);
    desk.settle().await;
    let messages = bea.read("/api/tickets/1001/messages").await.with(200);
    let mut seen = Vec::new();
    for (nth, (_, _, content)) in files.iter().enumerate() {
        let id = messages.pointer(&format!("/messages/1/attachments/{nth}/id")).and_then(Value::as_i64);
        let got = bea.read(&format!("/api/tickets/1001/attachments/{}", id.expect("a file"))).await;
        assert_eq!((got.status, got.bytes.as_slice()), (200, *content));
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("x-evil"), "");
        assert_eq!(
            got.header("content-security-policy"),
            "default-src 'none'; sandbox; frame-ancestors 'none'"
        );
        seen.push(format!("{}: {}", got.header("content-type"), got.header("content-disposition")));
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    image/png: inline; filename="photo.png"; filename*=UTF-8''photo.png
    application/octet-stream: attachment; filename="page.html"; filename*=UTF-8''page.html
    application/octet-stream: attachment; filename="drawing.svg"; filename*=UTF-8''drawing.svg
    application/octet-stream: attachment; filename="liar.png"; filename*=UTF-8''liar.png
    application/octet-stream: attachment; filename="feed.xml"; filename*=UTF-8''feed.xml
    application/pdf: attachment; filename="bill.pdf"; filename*=UTF-8''bill.pdf
    image/png: inline; filename="a_ X-Evil_ y.png"; filename*=UTF-8''a%22%20X-Evil%3A%20y.png
    "#);
    desk.close().await;
}

#[tokio::test]
async fn pictures_of_a_mail_are_its_attachments_and_those_from_the_net_wait_to_be_wanted() {
    let desk = desk("").await;
    let body = "--b\nContent-Type: text/html\n\n\
        <p onclick=x>Look: <img src=\"cid:logo%2Ba@x\" alt=logo><img src=\"https://spy.example/p.gif?a=1&b=2\">\
        <img src=\"cid:nobody@x\"><script>alert(1)</script></p>\n\
        --b\nContent-Type: image/png\nContent-ID: <logo+a@x>\nContent-Disposition: inline; filename=logo.png\n\
        Content-Transfer-Encoding: base64\n\niVBORw0KGgoAAAANSUhEUg==\n--b--\n";
    desk.handles(&mail(ADA, "Invoice", body).with("Content-Type", "multipart/related; boundary=b")).await;
    let bea = desk.logs_in("Bea").await;
    let html =
        |message: &Value| message.pointer("/html").and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown = message(&bea, "").await;
    assert_eq!(shown.pointer("/remote_images"), Some(&json!(true)));
    insta::assert_snapshot!(html(&shown).trim(), @r#"<p>Look: <img src="/api/tickets/1001/attachments/1" alt="logo"><img><img></p>"#);
    insta::assert_snapshot!(html(&message(&bea, "?remote_images=true").await).trim(), @r#"<p>Look: <img src="/api/tickets/1001/attachments/1" alt="logo" referrerpolicy="no-referrer"><img src="https://spy.example/p.gif?a=1&amp;b=2" referrerpolicy="no-referrer"><img referrerpolicy="no-referrer"></p>"#);
    let detail = bea.read("/api/tickets/1001").await.with(200);
    assert_eq!(detail.pointer("/messages/0/html"), shown.pointer("/html"));
    let logo = bea.read("/api/tickets/1001/attachments/1").await;
    assert_eq!((logo.status, logo.header("content-type")), (200, "image/png"));
    assert!(logo.header("content-disposition").starts_with("inline;"));

    desk.handles(&mail(ADA, "Plain", "No HTML.")).await;
    let plain = bea.read("/api/tickets/1002/messages").await.with(200);
    assert_eq!(plain.pointer("/messages/0/html"), Some(&Value::Null));
    assert_eq!(plain.pointer("/messages/0/remote_images"), Some(&json!(false)));
    desk.close().await;
}
