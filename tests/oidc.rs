//! Sign-in by another: a browser goes to a provider and comes back. Nobody gets into an account by an address alone, and
//! nothing that the provider did not sign is believed.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::{self, NewStaff, Role};

use crate::accounts::{
    NO_LIMITS, PASSWORD, account, entries, log_is_clean, logs_in, me, token_mailed_to, whose,
};
use crate::harness::browser::{Answer, Browser};
use crate::harness::desk::{Desk, Plan};
use crate::harness::mail::mail;
use crate::harness::oidc::{FakeProvider, Lie};

const ADA: &str = "ada@example.net";

async fn desk_with(more: &str) -> (Desk, Browser, FakeProvider) {
    let provider = FakeProvider::start().await;
    let more = format!("{NO_LIMITS}{}", provider.section(more));
    let desk = Desk::with(Plan { more, ..Plan::default() }).await;
    let browser = Browser::of(&desk).await;
    (desk, browser, provider)
}

async fn desk() -> (Desk, Browser, FakeProvider) {
    desk_with("").await
}

/// Goes to the provider; the path that it leads back to.
async fn goes(browser: &Browser, provider: &FakeProvider, return_to: &str) -> String {
    let start = browser.get(&format!("/api/auth/oidc/start?return_to={return_to}")).await;
    let back = provider.visit(start.location()).await;
    let path = back.strip_prefix("http://127.0.0.1:8080").expect("the address that the provider was told");
    path.to_owned()
}

/// There and back.
async fn signs_in(browser: &Browser, provider: &FakeProvider) -> Answer {
    let back = goes(browser, provider, "/tickets").await;
    browser.get(&back).await
}

/// An access token for the page that the browser came to.
async fn with_token(browser: &Browser) -> Browser {
    let answer = browser.post_empty("/api/auth/refresh", "same-origin").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    browser.with(&answer.text("/access_token"))
}

#[tokio::test]
async fn who_is_new_signs_in_and_is_known_by_the_providers_key_from_then_on() {
    let (desk, browser, provider) = desk().await;
    provider.signs_in("sub-1", "Ada@Example.NET");
    let back = signs_in(&browser, &provider).await;
    assert_eq!(back.location(), "/tickets");
    let cookies: Vec<_> = back.headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()).collect();
    assert!(cookies[0].contains("Path=/api/auth; SameSite=Strict; HttpOnly"), "{cookies:?}");
    assert_eq!(browser.cookie("ticketd_oidc"), None, "the sign-in's cookie goes");
    let ada = with_token(&browser).await;
    let known = me(&ada).await;
    assert_eq!(
        (&known["name"], &known["role"], &known["email"]),
        (&json!("Ada Lovelace"), &json!("user"), &json!(ADA))
    );
    assert_eq!(
        (&known["has_password"], &known["signs_in_by"][0]["issuer"]),
        (&json!(false), &json!(provider.issuer()))
    );
    assert_eq!(ada.get("/api/auth/me/sessions").await.at("/0/method"), json!("oidc"));

    // Addresses change hands, keys do not.
    provider.signs_in("sub-1", "lovelace@example.net");
    let again = browser.another();
    assert_eq!(signs_in(&again, &provider).await.status, 303);
    assert_eq!(me(&with_token(&again).await).await["id"], known["id"]);
    assert_eq!(whose(&desk, "lovelace@example.net").await, None);
    assert_eq!(provider.faults(), Vec::<String>::new());
    assert_eq!(
        entries(&desk).await,
        [format!("account.linked person:1 {}", json!({"issuer": provider.issuer()}))]
    );
    log_is_clean(&desk, &["sub-1", "Lovelace", "ada@", "tdr_", "code-"]);
    desk.close().await;
}

#[tokio::test]
async fn who_only_wrote_finds_their_tickets_and_may_choose_a_password_later() {
    let (desk, browser, provider) = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund.")).await;
    let before = whose(&desk, ADA).await;
    provider.signs_in("sub-1", ADA);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    let ada = with_token(&browser).await;
    assert_eq!(json!(before), me(&ada).await["id"]);
    assert_eq!(ada.get("/api/tickets").await.at("/tickets/0/subject"), json!("Refund"));
    let change = ada.put("/api/auth/me/password", &json!({"current": "", "new": PASSWORD})).await;
    insta::assert_snapshot!(change.problem(), @"409: there is no password to change: ask for a link to choose one, by POST /api/auth/password/reset");
    assert_eq!(browser.post("/api/auth/password/reset", &json!({"email": ADA})).await.status, 202);
    desk.settle().await;
    let token = token_mailed_to(&desk, ADA, "reset");
    let reset = json!({"token": token, "password": PASSWORD});
    assert_eq!(browser.post("/api/auth/password/reset/confirm", &reset).await.status, 204);
    assert_eq!(logs_in(&browser, ADA, PASSWORD).await.status, 200);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn an_account_with_the_same_address_is_linked_by_its_owners_mail_only() {
    let (desk, browser, provider) = desk().await;
    account(&desk, &browser, ADA).await;
    provider.signs_in("sub-1", ADA);
    let page = signs_in(&browser, &provider).await;
    insta::assert_snapshot!(page.page(), @"200: Is this account yours? There is an account with your mail address already. Open the link that was just mailed to you, or type the password of that account here. Then you can sign in by Example. Password of the account Code by your app, if the account asks for one Add this way to sign in");
    assert_eq!(browser.cookie("ticketd_refresh"), None, "nobody is logged in");
    assert_eq!(desk.count("SELECT count(*) FROM external_identities").await, 0);
    desk.settle().await;
    let token = token_mailed_to(&desk, ADA, "link");
    let shown = browser.get(&format!("/account/link?token={token}")).await;
    insta::assert_snapshot!(shown.page(), @"200: A new way to sign in You signed in by another service with the mail address of your account. Add this way to sign in to your account? Code by your app, if your account asks for one Add it");
    assert_eq!(desk.count("SELECT count(*) FROM external_identities").await, 0, "looking at it does nothing");
    let handed = token_in(&page);
    assert_ne!(handed, token, "the browser is not handed what was mailed");
    let as_mailed = browser.submit("/account/link", &[("token", &handed), ("code", "")]).await;
    assert_eq!(as_mailed.status, 403, "what the browser was handed needs the password");
    let linked = browser.submit("/account/link", &[("token", &token), ("code", "")]).await;
    insta::assert_snapshot!(linked.page(), @"200: It is added You can sign in that way from now on. Sign in by Example again");
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    assert_eq!(me(&with_token(&browser).await).await["has_password"], json!(true));
    assert_eq!(browser.submit("/account/link", &[("token", &token)]).await.status, 403, "good once");
    desk.close().await;
}

/// The token in the form of a page.
fn token_in(page: &Answer) -> String {
    let (_, rest) = page.body.split_once("name=\"token\" value=\"").expect("a token");
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_account_is_linked_by_its_password_too_and_by_nothing_less() {
    let (desk, browser, provider) = desk().await;
    account(&desk, &browser, ADA).await;
    provider.signs_in("sub-1", ADA);
    let token = token_in(&signs_in(&browser, &provider).await);
    let link = async |password: &str| {
        browser.post("/api/auth/oidc/link", &json!({"token": token, "password": password})).await
    };
    insta::assert_snapshot!(link("wrong password").await.problem(), @"400: password: that is not the password of the account (tries left: 4)");
    let page = browser.submit("/account/link", &[("token", &token), ("password", "wrong password")]).await;
    insta::assert_snapshot!(page.page(), @"400: Is this account yours? That is not the password of the account (tries left: 3). Try once more. Password of the account Code by your app, if the account asks for one Add this way to sign in");
    let second = "INSERT INTO second_factors (person_id, secret, created_at, confirmed_at)
                  SELECT id, decode(repeat('00', 20), 'hex'), created_at, created_at FROM persons";
    sqlx::query(second).execute(&desk.db).await.expect("a second factor");
    let asked = link(PASSWORD).await;
    assert_eq!(asked.at("/type"), json!("/problems/second-factor"), "{}", asked.body);
    desk.settle().await;
    let mailed = token_mailed_to(&desk, ADA, "link");
    let page = browser.submit("/account/link", &[("token", &mailed)]).await;
    insta::assert_snapshot!(page.page(), @"400: A new way to sign in Your account asks for a code by your app: type it as well, or a recovery code. You signed in by another service with the mail address of your account. Add this way to sign in to your account? Code by your app, if your account asks for one Add it");
    sqlx::query("DELETE FROM second_factors").execute(&desk.db).await.expect("none");
    assert_eq!(link(PASSWORD).await.status, 204);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    desk.close().await;
}

#[tokio::test]
async fn staff_and_who_was_switched_off_are_never_taken_over() {
    let (desk, browser, provider) = desk().await;
    let staff = NewStaff {
        name: "Nik".to_owned(),
        email: "nik@example.org".to_owned(),
        role: Role::Admin,
        cap: None,
        away: false,
        skills: Vec::new(),
    };
    people::save_staff(&desk.db, &staff, desk.clock.now()).await.expect("staff");
    desk.settle().await;
    provider.signs_in("sub-nik", "nik@example.org");
    assert_eq!(signs_in(&browser, &provider).await.status, 200, "a page, no log-in");
    desk.settle().await;
    let token = token_mailed_to(&desk, "nik@example.org", "link");
    assert_eq!(browser.submit("/account/link", &[("token", &token)]).await.status, 200);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    let nik = with_token(&browser).await;
    assert_eq!(me(&nik).await["role"], json!("admin"));

    sqlx::query("UPDATE persons SET active = FALSE").execute(&desk.db).await.expect("off");
    let off = signs_in(&browser, &provider).await;
    insta::assert_snapshot!(off.page(), @"403: Not signed in This account was switched off: ask an admin. Sign in by Example again");
    assert_eq!(nik.get("/api/auth/me").await.status, 401);
    provider.signs_in("sub-other", "nik@example.org");
    assert_eq!(signs_in(&browser, &provider).await.status, 403);
    desk.close().await;
}

#[tokio::test]
async fn what_the_provider_did_not_sign_for_us_and_now_is_not_believed() {
    let (desk, browser, provider) = desk().await;
    provider.signs_in("sub-1", ADA);
    for lie in [
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::Issuer,
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Expired,
        Lie::FromTheFuture,
        Lie::AlgNone,
        Lie::AlgHmac,
        Lie::ForeignKey,
        Lie::Tampered,
        Lie::NoIdToken,
    ] {
        provider.lies(Some(lie));
        let refused = signs_in(&browser, &provider).await;
        assert_eq!(
            refused.page(),
            "403: Not signed in Example sent an answer that we cannot believe. It was logged. Sign in by Example again",
            "{lie:?}"
        );
        assert_eq!(browser.cookie("ticketd_refresh"), None, "{lie:?}");
    }
    assert_eq!(desk.count("SELECT count(*) FROM persons").await, 0);
    provider.lies(None);
    assert_eq!(signs_in(&browser, &provider).await.status, 303, "the truth is");
    log_is_clean(&desk, &["sub-1", ADA, "eyJ"]);
    desk.close().await;
}

#[tokio::test]
async fn an_address_that_is_not_checked_not_told_or_not_ours_to_let_in_is_refused() {
    let (desk, browser, provider) = desk_with("allowed_domains = [\"Example.org\"]").await;
    let person =
        |email: &str, verified: bool| json!({"sub": "s", "email": email, "email_verified": verified});
    let refused = async |person: serde_json::Value| {
        provider.is_signed_in(person);
        let page = signs_in(&browser, &provider).await.page();
        page.replace(" Sign in by Example again", "")
    };
    insta::assert_snapshot!(refused(person("ada@example.org", false)).await, @"403: Not signed in Example has not checked that your mail address is yours: confirm it there, and sign in again.");
    insta::assert_snapshot!(refused(json!({"sub": "s", "email": "ada@example.org"})).await, @"403: Not signed in Example has not checked that your mail address is yours: confirm it there, and sign in again.");
    insta::assert_snapshot!(refused(json!({"sub": "s", "email_verified": true})).await, @"403: Not signed in Example did not tell us your mail address: allow it, and sign in again.");
    let foreign = "403: Not signed in Only people of certain organizations may sign in here, and your address is not in one of them.";
    assert_eq!(refused(person("ada@example.net", true)).await, foreign);
    assert_eq!(refused(person("ada@example.org.evil.example", true)).await, foreign);
    let hosted =
        json!({"sub": "s", "email": "ada@example.org", "email_verified": true, "hd": "evil.example"});
    assert_eq!(refused(hosted).await, foreign);
    assert_eq!(desk.count("SELECT count(*) FROM persons").await, 0);
    let own = json!({"sub": "s", "email": "ada@EXAMPLE.org", "email_verified": true, "hd": "example.ORG"});
    provider.is_signed_in(own);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    desk.close().await;
}

#[tokio::test]
async fn a_sign_in_comes_back_once_in_time_and_to_the_browser_it_began_in() {
    let (desk, browser, provider) = desk().await;
    provider.signs_in("sub-1", ADA);
    let sorry = "400: Sign in again This sign-in did not begin in this browser, was finished already, or took more than ten \
                 minutes. Sign in by Example again";
    let eves = browser.another();
    let back = goes(&eves, &provider, "/").await;
    assert_eq!(browser.get(&back).await.page(), sorry, "Eve has Ada's browser follow Eve's sign-in");
    assert!(!goes(&browser, &provider, "/").await.is_empty());
    assert_eq!(browser.get(&back).await.page(), sorry, "also while Ada signs in herself");

    let back = goes(&browser, &provider, "/").await;
    assert_eq!(browser.get(&back.replace("state=", "state=x")).await.page(), sorry);
    let back = goes(&browser, &provider, "/").await;
    let cookie = browser.cookie("ticketd_oidc").expect("a cookie");
    assert_eq!(browser.get(&back).await.location(), "/");
    browser.set_cookie("ticketd_oidc", &cookie);
    assert_eq!(browser.get(&back).await.page(), sorry, "a second time");

    let back = goes(&browser, &provider, "/").await;
    desk.clock.advance(TimeDelta::minutes(10));
    assert_eq!(browser.get(&back).await.page(), sorry, "too late");
    for odd in ["", "?", "?state=x", "?code=x", "?state=%00&code=%00", "?code=a&code=b", "?state=%ff"] {
        assert_eq!(browser.get(&format!("/api/auth/oidc/callback{odd}")).await.status, 400, "{odd}");
    }
    let back = goes(&browser, &provider, "/").await;
    let foreign = browser.get(&format!("{back}&iss=https://evil.example")).await;
    insta::assert_snapshot!(foreign.page(), @"400: Sign in again The answer came from another provider than the one that was asked. Sign in by Example again");
    desk.close().await;
}

#[tokio::test]
async fn nobody_is_led_to_another_server_afterwards() {
    let (desk, browser, provider) = desk().await;
    provider.signs_in("sub-1", ADA);
    for path in ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%09/evil.example", "x", ""] {
        let refused = browser.get(&format!("/api/auth/oidc/start?return_to={path}")).await;
        assert_eq!(refused.problem(), "400: return_to is a path on this server, such as /tickets", "{path}");
    }
    let back = goes(&browser, &provider, "/tickets/1042%3Fx=1").await;
    assert_eq!(browser.get(&back).await.location(), "/tickets/1042?x=1");
    desk.close().await;
}

#[tokio::test]
async fn a_provider_that_says_no_breaks_or_changes_its_keys_is_answered_readably() {
    let (desk, browser, provider) = desk().await;
    provider.breaks(true);
    let away = browser.get("/api/auth/oidc/start").await;
    insta::assert_snapshot!(away.page(), @"502: Not signed in Example does not answer as it should. Try again, or log in with your password. Sign in by Example again");
    provider.breaks(false);
    provider.is_denied();
    let denied = signs_in(&browser, &provider).await;
    insta::assert_snapshot!(denied.page(), @"403: Not signed in Example says that you did not allow it. Sign in by Example again");
    assert!(!denied.body.contains("<script"), "{}", denied.body);

    provider.signs_in("sub-1", ADA);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    assert_eq!(provider.keys_asked(), 1);
    provider.changes_keys();
    assert_eq!(signs_in(&browser, &provider).await.status, 303, "the new key is asked for");
    assert_eq!(provider.keys_asked(), 2);
    assert_eq!(signs_in(&browser, &provider).await.status, 303);
    assert_eq!(provider.keys_asked(), 2, "and kept");

    let back = goes(&browser, &provider, "/").await;
    provider.breaks(true);
    assert_eq!(browser.get(&back).await.status, 502);
    desk.close().await;

    let plain = Desk::open().await;
    let browser = Browser::of(&plain).await;
    for path in ["start", "callback?code=x&state=y"] {
        assert_eq!(
            browser.get(&format!("/api/auth/oidc/{path}")).await.status,
            404,
            "no provider is configured"
        );
    }
    plain.close().await;
}
