//! `ticketd doctor` where everything is broken at once: it names each thing, and says what to do about it.

use crate::harness::certificates::EXPIRED_HOST;
use crate::harness::desk::fresh_user;
use crate::harness::discord::{Discord, TOKEN};
use crate::harness::dovecot::{Dovecot, PASSWORD};
use crate::harness::gemini::FakeGemini;
use crate::harness::postgres;
use crate::harness::program::{ClosedPort, Place, run};
use crate::harness::smtp::SmtpSink;
use crate::harness::token_server::TokenServer;

/// One `[[mailbox]]`, named after what is wrong with it.
fn mailbox(name: &str, imap: &str, smtp: &str) -> String {
    format!(
        "[[mailbox]]\nname = \"{name}\"\naddress = \"{name}@example.org\"\nauthserv_id = \"mx.example.org\"\n\
         [mailbox.imap]\nuser = \"{name}\"\n{imap}\n[mailbox.smtp]\n{smtp}\n"
    )
}

#[tokio::test]
async fn doctor_names_everything_that_is_broken_and_says_what_to_do() {
    let (place, dovecot, sink, expired) =
        (Place::new(), Dovecot::shared(), SmtpSink::start(), SmtpSink::expired());
    let (nobody, gemini, discord) = (ClosedPort::take(), FakeGemini::start().await, Discord::start().await);
    let tokens = TokenServer::start(&fresh_user()).await;
    tokens.revokes_grant();
    let ca = format!("ca_file = \"{}\"", dovecot.ca_file().display());
    let imap = |host: &str, port: u16, login: &str| {
        format!("host = \"{host}\"\nport = {port}\ntls = \"implicit\"\n{ca}\n{login}")
    };
    let smtp = |host: &str, sink: &SmtpSink, port: u16| {
        let ca = sink.ca_file();
        format!("host = \"{host}\"\nport = {port}\ntls = \"starttls\"\nca_file = \"{}\"", ca.display())
    };
    let good = smtp("localhost", &sink, sink.port());
    let (password, port) = (format!("password = \"{PASSWORD}\""), dovecot.imaps_port());
    let mailboxes = [
        mailbox("password", &imap("localhost", port, "password = \"wrong\""), &good),
        mailbox(
            "certificate",
            &imap(EXPIRED_HOST, port, &password),
            &smtp(EXPIRED_HOST, &expired, expired.port()),
        ),
        mailbox("folder", &imap("localhost", port, &format!("{password}\nfolder = \"Suport\"")), &good),
        mailbox("port", &imap("localhost", nobody.port, &password), &smtp("localhost", &sink, nobody.port)),
        mailbox("grant", &imap("localhost", port, &tokens.section("")), &good),
    ];
    let all = mailboxes.concat();
    let rest = format!(
        "[alarms]\ndisk_free_percent = 1\n[database]\nurl = \"{}\"\n[gemini]\nbase_url = \"{}\"\napi_key = \"AIza-dead\"\n",
        postgres::fresh_url().await,
        gemini.base_url()
    );
    let text = |discord: &str| format!("data_dir = \"data\"\n{all}\n{rest}\n{discord}");
    let (imaps, closed, over, smtp_port) =
        (port.to_string(), nobody.port.to_string(), expired.port().to_string(), sink.port().to_string());
    let changing = [(imaps.as_str(), "IMAPS"), (&closed, "CLOSED"), (&over, "EXPIRED"), (&smtp_port, "SMTP")];
    let wrong = async |discord: &str| {
        let config = place.config(&text(discord));
        let ran = run(&["doctor", "--config", &config], "").await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:?}");
        let said = place.redact(&ran.out, &changing);
        // What the libraries say behind it has the time in it.
        let ours =
            |line: &str| line.split_once(" (Connection error").map_or(line, |(ours, _)| ours).to_owned();
        said.lines().filter(|line| line.starts_with("FAIL")).map(ours).collect::<Vec<_>>()
    };
    let said = wrong(&discord.config().replace(TOKEN, &format!("{TOKEN}x"))).await;
    insta::assert_snapshot!(said.join("\n"), @"
    FAIL  mailbox password imap: the server refused login for the user of mailbox password: check imap.user and imap.password_file (with two-factor authentication it takes an app password); it said: [AUTHENTICATIONFAILED] Authentication failed.
    FAIL  mailbox certificate imap: the certificate of 127.0.0.2:IMAPS expired on 2001-01-01: the server needs a new one (no option accepts an expired one)
    FAIL  mailbox certificate smtp: smtp 127.0.0.2:EXPIRED: the server's certificate has expired: the server needs a new one
    FAIL  mailbox folder imap: there is no folder `Suport`: set imap.folder to one of: INBOX
    FAIL  mailbox port imap: localhost:CLOSED refuses connections: check imap.port (993 for implicit TLS, 143 for starttls) and whether the server runs
    FAIL  mailbox port smtp: smtp localhost:CLOSED: nothing listens there: check smtp.host and smtp.port
    FAIL  mailbox grant imap oauth: the token server refuses the refresh token of mailbox grant (invalid_grant): it was revoked or has expired: put a new one into oauth.refresh_token_file
    FAIL  mailbox grant imap: the token server refuses the refresh token of mailbox grant (invalid_grant): it was revoked or has expired: put a new one into oauth.refresh_token_file
    FAIL  gemini: Gemini refused the request with HTTP status 400: the API key is not valid: check api_key_file in [gemini]
    FAIL  discord token: Discord does not accept the bot's token (401: Unauthorized: HTTP 401, code 0): renew it in the developer portal, page Bot
    ");
    discord.message_content(false);
    let said = wrong(&discord.config()).await;
    let discord: Vec<String> = said.into_iter().filter(|line| line.contains("discord")).collect();
    insta::assert_snapshot!(discord.join("\n"), @"FAIL  discord intents: switch on Message Content Intent: https://discord.com/developers/applications/1100000000000000009/bot, Privileged Gateway Intents; without it the bot reads empty messages, and Discord closes its connection");
}

#[tokio::test]
async fn doctor_notes_that_nobody_vouches_for_who_wrote_a_mail() {
    let place = Place::new();
    let text =
        mailbox("support", "host = \"imap.example.org\"\npassword = \"x\"", "host = \"smtp.example.org\"");
    for (text, notes) in [(text.replace("authserv_id", "# "), 1), (text, 0)] {
        let ran = run(&["doctor", "--offline", "--config", &place.config(&text)], "").await;
        assert_eq!(ran.code, Some(0), "a note is no failure: {ran:?}");
        assert_eq!(
            ran.out.lines().filter(|line| line.starts_with("note  mailbox support: authserv_id")).count(),
            notes
        );
    }
}
