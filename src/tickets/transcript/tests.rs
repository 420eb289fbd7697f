//! The transcript as staff and as a requester read it, and that nothing in it is taken for a tag.

use proptest::prelude::*;
use serde_json::json;
use sqlx::types::Json;

use super::*;
use crate::ids::{MessageId, PersonId, TicketId};
use crate::tickets::read::Attachment;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_251_600 + 60 * minute, 0).unwrap()
}

fn ticket() -> Summary {
    Summary {
        number: TicketId(1042),
        subject: "Charged <twice>".into(),
        status: "open".into(),
        priority: "high".into(),
        category: Some("billing".into()),
        channel: "email".into(),
        language: Some("en".into()),
        required_skills: vec!["billing".into(), "rust".into()],
        requester_id: PersonId(1),
        requester_name: "Ada".into(),
        assignee_id: Some(PersonId(2)),
        assignee_name: Some("Bea".into()),
        assignment_outcome: Some("matched".into()),
        follow_up_of: Some(TicketId(7)),
        related_to: None,
        tags: vec![],
        deadline_at: None,
        merged_into: None,
        split_from: None,
        first_response_at: None,
        resolved_at: None,
        closed_at: None,
        deleted_at: None,
        version: 3,
        created_at: at(0),
        updated_at: at(9),
    }
}

fn message(id: i64, kind: &str, text: &str) -> Message {
    let author = if kind == "inbound" { ("Ada", "ada@example.net") } else { ("Bea", "bea@example.org") };
    Message {
        id: MessageId(id),
        kind: kind.into(),
        channel: if kind == "note" { "discord" } else { "email" }.into(),
        author_id: Some(PersonId(1)),
        author_name: Some(author.0.into()),
        author_address: Some(author.1.into()),
        visible: text.into(),
        body: text.into(),
        html: None,
        remote_images: false,
        edited_at: None,
        deleted_at: None,
        withdrawn: false,
        sender_class: "human".into(),
        unverified: false,
        reply_to: None,
        problems: None,
        sent_at: None,
        created_at: at(id),
        attachments: Json(vec![]),
    }
}

fn messages() -> Vec<Message> {
    let mut question = message(1, "inbound", "Hello,\n\nI was charged twice & want 5 € back.");
    let file = |filename: Option<&str>, size| Attachment {
        id: 1,
        filename: filename.map(str::to_owned),
        content_type: "image/png".into(),
        size,
        inline: false,
        content_id: None,
    };
    question.attachments =
        Json(vec![file(Some("bill \"1\".png"), 900), file(None, 9000), file(Some("x"), 5_000_000)]);
    question.problems = Some("a part is damaged".into());
    let mut edited = message(2, "inbound", "It was three times.");
    (edited.body, edited.edited_at) = ("It was thrice.".into(), Some(at(5)));
    let mut deleted = message(3, "inbound", "You are all fools.");
    deleted.deleted_at = Some(at(6));
    let mut withdrawn = message(5, "outbound", "Never.");
    withdrawn.withdrawn = true;
    let mut claimed = message(7, "note", "Pay her a million.");
    claimed.unverified = true;
    let note = message(4, "note", "She is angry.");
    vec![question, edited, deleted, note, withdrawn, message(6, "outbound", "You get it back."), claimed]
}

fn whole(messages: &[Message], for_staff: bool) -> String {
    let revision = |message: i64, kind: &str, body: &str| Revision {
        message: MessageId(message),
        at: at(5),
        kind: kind.into(),
        body: body.into(),
    };
    let event = |kind: &str, actor: Option<&str>, data: Value| Event {
        id: 1,
        at: at(2),
        kind: kind.into(),
        actor_name: actor.map(str::to_owned),
        channel: "web".into(),
        data,
    };
    let triage = Triage {
        at: at(1),
        engine: "offline".into(),
        model: "offline-1".into(),
        prompt_version: "1".into(),
        category: None,
        priority: None,
        language: None,
        skills: vec![],
        notes: Some("Mentions a refund.".into()),
        suggested_reply: Some("We will look at it.".into()),
        confidence: 0.42,
        fallback_reason: None,
        took_ms: 1,
    };
    let assignment = Assignment {
        at: at(1),
        outcome: "matched".into(),
        assignee_id: None,
        assignee_name: None,
        decided_by: None,
        reason: "Bea: 2 of 2 skills (billing, rust)".into(),
        candidates: json!([]),
    };
    let part = Participant {
        person_id: PersonId(1),
        name: "Ada".into(),
        part: "requester".into(),
        address: "ada@example.net".into(),
    };
    let transcript = Transcript {
        ticket: &ticket(),
        participants: &[part],
        messages,
        revisions: &[
            revision(2, "edited", "It was twice."),
            revision(2, "edited", "It was three times."),
            revision(3, "deleted", ""),
        ],
        events: &[
            event("opened", Some("Ada"), json!({"mailbox": "support"})),
            event("status", Some("Bea"), json!({"from": "new", "to": "open"})),
            event("thread_broken", None, json!({"audience": "staff", "why": "it <is> gone"})),
        ],
        triage: Some(&triage),
        assignment: Some(&assignment),
        made_at: at(60),
    };
    html(&transcript, for_staff)
}

/// What stands between `<body>` and `</body>`.
fn body(page: &str) -> &str {
    page.split_once("<body>\n").unwrap().1
}

#[test]
fn for_the_requester() {
    insta::assert_snapshot!(body(&whole(&messages(), false)), @r#"
    <h1>#1042 Charged &lt;twice&gt;</h1>
    <dl>
    <dt>Status</dt><dd>open</dd>
    <dt>Priority</dt><dd>high</dd>
    <dt>Category</dt><dd>billing</dd>
    <dt>Skills</dt><dd>billing, rust</dd>
    <dt>Asked by</dt><dd>Ada</dd>
    <dt>Assigned to</dt><dd>Bea</dd>
    <dt>Opened</dt><dd>2026-11-21 09:00 UTC, by mail</dd>
    <dt>Last change</dt><dd>2026-11-21 09:09 UTC</dd>
    </dl>
    <h2>Conversation</h2>
    <article class="inbound">
    <header><b>Ada</b> · message · 2026-11-21 09:01 UTC · by mail</header>
    <pre>Hello,

    I was charged twice &amp; want 5 € back.</pre>
    <ul>
    <li>bill &quot;1&quot;.png (900 bytes)</li>
    <li>a file without a name (8 KiB)</li>
    <li>x (4 MiB)</li>
    </ul>
    </article>
    <article class="inbound">
    <header><b>Ada</b> · message · 2026-11-21 09:02 UTC · by mail · edited 2026-11-21 09:05 UTC</header>
    <pre>It was three times.</pre>
    </article>
    <article class="outbound">
    <header><b>Bea</b> · answer · 2026-11-21 09:06 UTC · by mail</header>
    <pre>You get it back.</pre>
    </article>
    <footer><p>Written on 2026-11-21 10:00 UTC. </p></footer>
    </body>
    </html>
    "#);
}

#[test]
fn for_staff() {
    insta::assert_snapshot!(body(&whole(&messages(), true)), @r#"
    <h1>#1042 Charged &lt;twice&gt;</h1>
    <dl>
    <dt>Status</dt><dd>open</dd>
    <dt>Priority</dt><dd>high</dd>
    <dt>Category</dt><dd>billing</dd>
    <dt>Skills</dt><dd>billing, rust</dd>
    <dt>Asked by</dt><dd>Ada</dd>
    <dt>Assigned to</dt><dd>Bea</dd>
    <dt>Opened</dt><dd>2026-11-21 09:00 UTC, by mail</dd>
    <dt>Last change</dt><dd>2026-11-21 09:09 UTC</dd>
    <dt>Language</dt><dd>en</dd>
    <dt>Follows up</dt><dd>#7</dd>
    <dt>Taking part</dt><dd>Ada (requester, ada@example.net)</dd>
    </dl>
    <h2>Conversation</h2>
    <article class="inbound">
    <header><b>Ada</b> · message · 2026-11-21 09:01 UTC · by mail</header>
    <p class="faint">from ada@example.net</p>
    <p class="faint">not all of it could be read: a part is damaged</p>
    <pre>Hello,

    I was charged twice &amp; want 5 € back.</pre>
    <ul>
    <li>bill &quot;1&quot;.png (900 bytes)</li>
    <li>a file without a name (8 KiB)</li>
    <li>x (4 MiB)</li>
    </ul>
    </article>
    <article class="inbound">
    <header><b>Ada</b> · message · 2026-11-21 09:02 UTC · by mail</header>
    <p class="faint">from ada@example.net</p>
    <pre>It was thrice.</pre>
    <p class="faint">edited 2026-11-21 09:05 UTC</p>
    <pre>It was twice.</pre>
    <p class="faint">edited 2026-11-21 09:05 UTC</p>
    <pre>It was three times.</pre>
    </article>
    <article class="inbound">
    <header><b>Ada</b> · message · 2026-11-21 09:03 UTC · by mail</header>
    <p class="faint">from ada@example.net</p>
    <pre>You are all fools.</pre>
    <p class="faint">deleted 2026-11-21 09:05 UTC</p>
    </article>
    <article class="note">
    <header><b>Bea</b> · internal note · 2026-11-21 09:04 UTC · in Discord</header>
    <p class="faint">from bea@example.org</p>
    <pre>She is angry.</pre>
    </article>
    <article class="outbound">
    <header><b>Bea</b> · answer · 2026-11-21 09:05 UTC · by mail</header>
    <p class="faint">taken back before it left: nobody but staff has seen it</p>
    <p class="faint">from bea@example.org</p>
    <pre>Never.</pre>
    </article>
    <article class="outbound">
    <header><b>Bea</b> · answer · 2026-11-21 09:06 UTC · by mail</header>
    <p class="faint">from bea@example.org</p>
    <pre>You get it back.</pre>
    </article>
    <article class="note">
    <header><b>Bea</b> · internal note · 2026-11-21 09:07 UTC · in Discord</header>
    <p class="faint">it claims to be staff&#39;s and could not prove it</p>
    <p class="faint">from bea@example.org</p>
    <pre>Pay her a million.</pre>
    </article>
    <h2>Assignment</h2>
    <p>2026-11-21 09:01 UTC, matched: Bea: 2 of 2 skills (billing, rust)</p>
    <h2>Triage</h2>
    <p>2026-11-21 09:01 UTC, offline (offline-1), confidence 42 %</p>
    <p class="faint">Notes</p>
    <pre>Mentions a refund.</pre>
    <p class="faint">Suggested answer (a machine wrote it)</p>
    <pre>We will look at it.</pre>
    <h2>Timeline</h2>
    <ul>
    <li>2026-11-21 09:02 UTC · Ada · opened · by the console</li>
    <li>2026-11-21 09:02 UTC · Bea · status: new → open · by the console</li>
    <li>2026-11-21 09:02 UTC · ticketd · thread broken: it &lt;is&gt; gone · by the console</li>
    </ul>
    <footer><p>Written on 2026-11-21 10:00 UTC. For staff only: it holds notes and reasons.</p></footer>
    </body>
    </html>
    "#);
}

#[test]
fn the_file_asks_for_nothing_and_runs_nothing() {
    let page = whole(&messages(), true);
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";
    assert!(page.starts_with("<!doctype html>\n") && page.contains(policy));
    for word in [
        "<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "http://", "https://",
        "onload",
    ] {
        assert!(!page.to_lowercase().contains(word), "{word}");
    }
}

#[test]
fn what_is_for_staff_is_left_out_again() {
    let page = whole(&messages(), false);
    for secret in [
        "angry",
        "fools",
        "Never.",
        "million",
        "thrice",
        "refund.",
        "We will look",
        "2 of 2",
        "offline",
        "damaged",
        "ada@example.net",
        "bea@example.org",
        "Timeline",
        ">#7<",
    ] {
        assert!(!page.contains(secret), "`{secret}` in {page}");
    }
}

/// The tags of a page, as a lenient reader finds them.
fn tags(page: &str) -> Vec<String> {
    page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default().to_owned()).collect()
}

fn hostile() -> impl Strategy<Value = String> {
    let bits = [
        "<script>alert(1)</script>",
        "</pre>",
        "</title>",
        "<!--",
        "-->",
        "]]>",
        "\"",
        "'",
        "&",
        "&lt;",
        "&#60;",
        "<",
        ">",
        "\0",
        "\u{202e}",
        "\u{2028}",
        "\u{fffe}",
        "javascript:",
        " onerror=x",
        "=",
        "`",
        "\\",
        "ä",
        "\n",
        "<svg/onload=x>",
    ];
    prop::collection::vec(
        prop_oneof![prop::sample::select(bits.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"],
        0..12,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_ever_becomes_a_tag(text in hostile(), for_staff: bool) {
        let plain = whole(&[message(1, "inbound", "x")], for_staff);
        let mut evil = message(1, "inbound", &text);
        evil.author_name = Some(text.clone());
        evil.author_address = Some(text.clone());
        let mut ticket = ticket();
        (ticket.subject, ticket.requester_name, ticket.status) = (text.clone(), text.clone(), text.clone());
        ticket.assignee_name = Some(text.clone());
        let page = whole(&[evil], for_staff);
        prop_assert_eq!(tags(&page), tags(&plain));
        let is_plain = !escape(&text).contains(['<', '>', '"', '\'', '\0', '\u{202e}']);
        prop_assert!(is_plain, "a sign was not escaped");
        let named = Transcript { ticket: &ticket, participants: &[], messages: &[], revisions: &[], events: &[], triage: None,
            assignment: None, made_at: at(0) };
        let shown = html(&named, for_staff);
        prop_assert!(tags(&shown).iter().all(|tag| !tag.contains("script") && !tag.contains("svg")));
    }
}
