//! Signing up: both the mail's reader and the password's chooser must be the same person.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::{self, NewStaff, Role};

use super::{
    PASSWORD, account, desk, desk_with, entries, log_is_clean, logs_in, me, signs_up, token_mailed_to, whose,
};
use crate::harness::mail::{header, mail, text};
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "ada@example.net";

#[tokio::test]
async fn who_wrote_before_signs_up_confirms_and_finds_their_tickets() {
    let (desk, browser) = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&mail("ada@example.net", "Refund", "I want a refund.")).await;
    let before = whose(&desk, ADA).await;
    let answer = signs_up(&browser, " Ada@Example.NET", PASSWORD).await;
    assert_eq!(answer.status, 202);
    insta::assert_snapshot!(answer.text("/detail"), @"a mail was sent to this address if it can be used here: it says how it goes on");
    assert_eq!(logs_in(&browser, ADA, PASSWORD).await.status, 401, "nothing is there before it is confirmed");
    desk.settle().await;
    let sent = desk.mails_to(ADA).pop().expect("a mail");
    let raw = sent.text();
    let headers = ["From", "To", "Subject", "Auto-Submitted", "Reply-To"];
    let headers = headers.map(|name| header(&raw, name).unwrap_or_default());
    insta::assert_debug_snapshot!(headers, @r#"
    [
        "Support <support@example.org>",
        "ada@example.net",
        "Confirm your account",
        "auto-generated",
        "support@example.org",
    ]
    "#);
    assert_eq!(sent.mail_from, "<>", "nothing answers it");
    assert!(!text(&raw).contains("Lovelace"), "it holds no text of whoever asked");
    assert!(header(&raw, "Message-ID").is_some_and(|id| id.starts_with("<a1.")), "of its own kind");

    let token = token_mailed_to(&desk, ADA, "confirm");
    let confirm = json!({"token": token, "password": PASSWORD});
    assert_eq!(browser.post("/api/auth/signup/confirm", &confirm).await.status, 204);
    let again = browser.post("/api/auth/signup/confirm", &confirm).await;
    insta::assert_snapshot!(again.problem(), @"400: token: this link is not good any more: ask for another one");
    let ada = logs_in(&browser, ADA, PASSWORD).await;
    let ada = browser.with(&ada.text("/access_token"));
    let me = me(&ada).await;
    assert_eq!(
        (&me["name"], &me["role"], &me["email"]),
        (&json!("Ada Lovelace"), &json!("user"), &json!(ADA))
    );
    assert_eq!(whose(&desk, ADA).await, before, "the same person");
    assert_eq!(ada.get("/api/tickets").await.at("/tickets/0/subject"), json!("Refund"));
    let unproven =
        "SELECT count(*) FROM identities WHERE address = 'ada@example.net' AND verified_at IS NULL";
    assert_eq!(desk.count(unproven).await, 0);
    let kept = "SELECT count(*) FROM account_letters WHERE password_hash IS NOT NULL";
    assert_eq!(desk.count(kept).await, 0, "the letter forgets the password");
    assert_eq!(entries(&desk).await, ["account.confirmed person:2 {}"]);
    let (_, signature) = token.split_once('.').expect("a signature");
    log_is_clean(&desk, &[signature, ADA, "Lovelace", PASSWORD]);
    desk.close().await;
}

#[tokio::test]
async fn a_link_alone_opens_nothing_so_nobody_confirms_what_another_signed_up_for() {
    let (desk, browser) = desk().await;
    // Eve signs up with Ada's address and a password that Eve knows. Ada clicks, and types her own.
    assert_eq!(signs_up(&browser, ADA, "a password of Eve's").await.status, 202);
    desk.settle().await;
    let eves = token_mailed_to(&desk, ADA, "confirm");
    let page = browser.get(&format!("/account/confirm?token={eves}")).await;
    insta::assert_snapshot!(page.page(), @"200: Confirm your account Type the password that you chose when you signed up. Password Confirm");
    assert_eq!(whose(&desk, ADA).await, None, "looking at the page does nothing");
    let type_in = async |password: &str| {
        browser
            .post("/api/auth/signup/confirm", &json!({"token": eves, "password": password}))
            .await
            .problem()
    };
    insta::assert_snapshot!(type_in("Ada's own password").await, @"400: password: that is not the password that was chosen when this address signed up (tries left: 4)");
    for left in [3, 2, 1, 0] {
        assert!(type_in("a guess").await.ends_with(&format!("(tries left: {left})")));
    }
    insta::assert_snapshot!(type_in("a password of Eve's").await, @"400: token: this link is not good any more: ask for another one");
    assert_eq!(whose(&desk, ADA).await, None, "nobody has an account");

    // Ada signs up herself: that is another letter, with her password.
    let ada = account(&desk, &browser, ADA).await;
    assert_eq!(me(&ada).await["email"], json!(ADA));
    assert_eq!(logs_in(&browser, ADA, "a password of Eve's").await.status, 401);
    desk.close().await;
}

#[tokio::test]
async fn the_answer_and_the_work_are_the_same_whoever_has_the_address() {
    let (desk, browser) = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    account(&desk, &browser, "account@example.net").await;
    desk.handles(&mail("wrote@example.net", "Refund", "I want a refund.")).await;
    desk.handles(&mail("off@example.net", "Refund", "I want a refund.")).await;
    let off = whose(&desk, "off@example.net").await.expect("a person");
    sqlx::query("UPDATE persons SET active = FALSE WHERE id = $1")
        .bind(off.0)
        .execute(&desk.db)
        .await
        .expect("off");
    let staff = NewStaff {
        name: "Nik".to_owned(),
        email: "staff@example.net".to_owned(),
        role: Role::Moderator,
        cap: None,
        away: false,
        skills: Vec::new(),
    };
    people::save_staff(&desk.db, &staff, desk.clock.now()).await.expect("staff");
    desk.clock.advance(TimeDelta::hours(2));
    desk.settle().await;
    let counts = async || {
        let letters = desk.count("SELECT count(*) FROM account_letters").await;
        (letters, desk.count("SELECT count(*) FROM jobs WHERE kind = 'account_letter'").await)
    };
    let mut seen = Vec::new();
    for who in ["nobody", "wrote", "account", "staff", "off"] {
        let email = format!("{who}@example.net");
        let (before, mails) = (counts().await, desk.mails_to(&email).len());
        let up = signs_up(&browser, &email, PASSWORD).await;
        let reset = browser.post("/api/auth/password/reset", &json!({"email": email})).await;
        let after = counts().await;
        assert_eq!((after.0 - before.0, after.1 - before.1), (2, 2), "{who}: the same work");
        seen.push((up.status, up.body, reset.status, reset.body));
        desk.settle().await;
        let subjects: Vec<_> = desk
            .mails_to(&email)
            .split_off(mails)
            .iter()
            .filter_map(|m| header(&m.text(), "Subject"))
            .collect();
        let expected: &[&str] = match who {
            "account" | "staff" => &["You have an account already", "Choose a new password"],
            "off" => &[],
            _ => &["Confirm your account"],
        };
        assert_eq!(subjects, expected, "{who}");
        let wrong = logs_in(&browser, &email, "not the password").await;
        assert_eq!(wrong.problem(), "401: address or password is wrong", "{who}");
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let failed =
        entries(&desk).await.into_iter().filter(|e| e.starts_with("login.failed")).collect::<Vec<_>>();
    assert_eq!(
        failed,
        [r#"login.failed person:2 {"wrong":"password"}"#],
        "of an existing account, without its address"
    );
    desk.close().await;
}

#[tokio::test]
async fn nobodys_inbox_is_filled_and_a_link_has_its_time() {
    let (desk, browser) = desk().await;
    for _ in 0..5 {
        assert_eq!(signs_up(&browser, ADA, PASSWORD).await.status, 202, "the answer does not tell");
    }
    desk.settle().await;
    assert_eq!(desk.mails_to(ADA).len(), 3);
    let token = token_mailed_to(&desk, ADA, "confirm");
    desk.clock.advance(TimeDelta::hours(24));
    let late = browser.post("/api/auth/signup/confirm", &json!({"token": token, "password": PASSWORD})).await;
    assert_eq!(late.problem(), "400: token: this link is not good any more: ask for another one");
    assert_eq!(signs_up(&browser, ADA, PASSWORD).await.status, 202);
    desk.settle().await;
    assert_eq!(desk.mails_to(ADA).len(), 4, "an hour later there is room again");
    for wrong in ["", "1", "1.", ".", "x.y", "9999999999999999999999.x", "4.AAAA"] {
        let refused =
            browser.post("/api/auth/signup/confirm", &json!({"token": wrong, "password": PASSWORD})).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
    desk.close().await;
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_before_anything_is_done() {
    let (desk, browser) = desk().await;
    let ask = async |email: &str, name: &str, password: &str| {
        let body = json!({"email": email, "name": name, "password": password});
        browser.post("/api/auth/signup", &body).await.problem()
    };
    insta::assert_snapshot!(ask("ada", "Ada", PASSWORD).await, @"400: email: that is not a mail address: write it as name@example.org");
    insta::assert_snapshot!(ask("Support+x@example.org", "Ada", PASSWORD).await, @"400: email: that is our own address: give yours");
    insta::assert_snapshot!(ask(ADA, " ", PASSWORD).await, @"400: name: a name has 1 to 100 characters, and no line ends");
    insta::assert_snapshot!(ask(ADA, "Ada\nBcc: x", PASSWORD).await, @"400: name: a name has 1 to 100 characters, and no line ends");
    insta::assert_snapshot!(ask(ADA, "Ada", "short").await, @"400: password: the password has 5 characters: take at least 10");
    assert_eq!(desk.count("SELECT count(*) FROM account_letters").await, 0);
    desk.close().await;

    let (desk, browser) = desk_with("[auth]\nsignup = false\n").await;
    insta::assert_snapshot!(signs_up(&browser, ADA, PASSWORD).await.problem(), @"403: nobody can sign up here by themselves: ask an admin for an account, or write us a mail");
    assert_eq!(desk.count("SELECT count(*) FROM account_letters").await, 0);
    desk.close().await;
}

#[tokio::test]
async fn an_account_that_came_about_meanwhile_is_not_taken_over() {
    let (desk, browser) = desk().await;
    assert_eq!(signs_up(&browser, ADA, PASSWORD).await.status, 202);
    desk.settle().await;
    let token = token_mailed_to(&desk, ADA, "confirm");
    let staff = NewStaff {
        name: "Ada".to_owned(),
        email: ADA.to_owned(),
        role: Role::Admin,
        cap: None,
        away: false,
        skills: Vec::new(),
    };
    people::save_staff(&desk.db, &staff, desk.clock.now()).await.expect("staff");
    desk.settle().await;
    let refused =
        browser.post("/api/auth/signup/confirm", &json!({"token": token, "password": PASSWORD})).await;
    insta::assert_snapshot!(refused.problem(), @"409: there is an account with this address already: log in, or ask for a link to choose another password");
    assert_eq!(logs_in(&browser, ADA, PASSWORD).await.status, 401);

    // Who was switched off does not come back that way.
    sqlx::query("UPDATE persons SET active = FALSE").execute(&desk.db).await.expect("off");
    let refused =
        browser.post("/api/auth/signup/confirm", &json!({"token": token, "password": PASSWORD})).await;
    insta::assert_snapshot!(refused.problem(), @"403: this account was switched off: ask an admin");
    desk.close().await;
}

#[tokio::test]
async fn the_pages_confirm_by_a_button_and_show_what_a_link_holds_as_text() {
    let (desk, browser) = desk().await;
    assert_eq!(signs_up(&browser, ADA, PASSWORD).await.status, 202);
    desk.settle().await;
    let token = token_mailed_to(&desk, ADA, "confirm");
    let wrong =
        browser.submit("/account/confirm", &[("token", &token), ("password", "wrong password")]).await;
    insta::assert_snapshot!(wrong.page(), @"400: Confirm your account That is not the password that was chosen when this address signed up (tries left: 4). Type the password that you chose when you signed up. Password Confirm");
    let right = browser.submit("/account/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    insta::assert_snapshot!(right.page(), @"200: Your account is ready Your address is confirmed. You can log in now.");
    let late = browser.submit("/account/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    insta::assert_snapshot!(late.page(), @"400: That did not work This link is not good any more: ask for another one.");
    for path in ["confirm", "reset", "link"] {
        let page =
            browser.get(&format!("/account/{path}?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")).await;
        assert_eq!(page.status, 200);
        assert!(!page.body.contains("<script"), "{}", page.body);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert_eq!(
            (page.header("referrer-policy"), page.header("cache-control")),
            ("no-referrer", "no-store")
        );
        let odd = browser.post(&format!("/account/{path}"), &json!({"token": 1})).await;
        assert!((400..500).contains(&odd.status), "{path}: {}", odd.status);
    }
    desk.close().await;
}

#[tokio::test]
async fn a_letter_that_could_not_leave_is_the_same_letter_later() {
    let (desk, browser) = desk().await;
    desk.sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned()));
    assert_eq!(signs_up(&browser, ADA, PASSWORD).await.status, 202);
    desk.settle().await;
    assert_eq!(desk.mails_to(ADA).len(), 0);
    desk.sink.behave(&Behaviour::Accept);
    desk.later(TimeDelta::minutes(5)).await;
    let raw = desk.last_mail_to(ADA);
    assert!(header(&raw, "Date").is_some_and(|date| date.contains("09:00:00")), "{raw}");
    let token = token_mailed_to(&desk, ADA, "confirm");
    let confirm = json!({"token": token, "password": PASSWORD});
    assert_eq!(browser.post("/api/auth/signup/confirm", &confirm).await.status, 204);

    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".to_owned()));
    assert_eq!(signs_up(&browser, "nobody@example.net", PASSWORD).await.status, 202);
    desk.settle().await;
    assert!(desk.log().iter().any(|line| line.contains("the letter 2 was not mailed")), "{:?}", desk.log());
    log_is_clean(&desk, &["nobody@example.net"]);
    desk.close().await;
}
