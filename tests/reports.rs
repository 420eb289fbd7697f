//! Reports say what happened. Each number here was counted by hand from the story that the test tells.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, Row};
use ticketd::ids::{PersonId, TicketId};
use ticketd::people::{self, Role};
use ticketd::reports::{self, Name, Range, Report};
use ticketd::tickets::actions::{self, Act};
use ticketd::tickets::{self, Channel, Priority, StaffMessage};

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::gemini::{Answer, FakeGemini, KEY};
use crate::harness::mail::mail;
use crate::harness::postgres;
use crate::harness::wait::until;

/// Bea knows billing, Nik networks, nobody knows printers but Dora, who is an admin.
struct Story {
    desk: Desk,
    bea: PersonId,
    nik: PersonId,
    dora: PersonId,
    _gemini: FakeGemini,
}

/// What Gemini says of a ticket.
fn judged(category: &str, skill: &str) -> Answer {
    Answer::Judge(json!({"category": category, "priority": "medium", "language": "en", "skills": [skill],
        "notes": "", "suggested_reply": "", "confidence": 0.9}))
}

async fn begin(answers: Vec<Answer>) -> Story {
    let fake = FakeGemini::start().await;
    fake.script(answers);
    let more = format!("[gemini]\nbase_url = \"{}\"\napi_key = \"{KEY}\"\n", fake.base_url());
    let mut desk = Desk::with(Plan { more, ..Plan::default() }).await;
    desk.knows_skills().await;
    let printing = "[[skill]]\nslug = \"printing\"\nname = \"Printers\"\naliases = [\"printer\"]\n";
    people::import_skills(&desk.db, printing, desk.clock.now()).await.expect("a skill");
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let nik = desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    let dora = desk.hires("Dora", Role::Admin, &[("printing", 5)]).await;
    desk.asks(&fake, KEY, Duration::from_secs(20));
    Story { desk, bea, nik, dora, _gemini: fake }
}

impl Story {
    /// It is that time, and what was due before has happened.
    async fn at(&self, time: &str) {
        let time: DateTime<Utc> = time.parse().expect("a time");
        self.desk.later(time - self.desk.clock.now()).await;
    }

    async fn asks(&self, subject: &str) {
        self.desk.handles(&mail("Ada <ada@example.net>", subject, "Please help.")).await;
    }

    async fn act<T>(
        &self,
        ticket: i64,
        by: PersonId,
        change: impl AsyncFnOnce(
            &mut ticketd::queue::Tx,
            &tickets::Locked,
            Act,
        ) -> Result<T, tickets::TicketError>,
    ) -> T {
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        let ticket = tickets::lock(&mut tx, TicketId(ticket)).await.expect("a ticket");
        let act = Act { by, channel: Channel::Web, now: self.desk.clock.now() };
        let done = change(&mut tx, &ticket, act).await.expect("a change");
        tx.commit().await.expect("a commit");
        done
    }

    async fn answers(&self, ticket: i64, by: PersonId) -> ticketd::ids::MessageId {
        self.act(ticket, by, async |tx, ticket, act| {
            let message = StaffMessage {
                author: by,
                channel: Channel::Web,
                text: "Done.",
                inbound: None,
                uploads: &[],
            };
            tickets::reply(tx, ticket, &message, act.now + TimeDelta::seconds(10), act.now).await
        })
        .await
    }

    async fn resolves(&self, ticket: i64, by: PersonId) {
        self.act(ticket, by, async |tx, ticket, act| {
            tickets::resolve(tx, ticket, by, Channel::Web, act.now).await
        })
        .await;
    }

    async fn report_in(&self, name: Name, from: &str, to: &str, zone: &str) -> Report {
        let day = |text: &str| text.parse().expect("a day");
        let range = Range::new(day(from), day(to), zone).expect("a range");
        reports::report(&self.desk.db, name, &range, self.desk.clock.now()).await.expect("a report")
    }

    /// As a sheet, from the 21st to the 24th.
    async fn sheet(&self, name: Name) -> String {
        self.report_in(name, "2026-11-21", "2026-11-24", "UTC").await.csv().expect("a sheet")
    }
}

/// Three days of a desk: #1001 is Bea's, #1002 Nik's, #1003 nobody's but Dora's.
async fn three_days() -> Story {
    let story = begin(vec![
        judged("billing", "billing"),
        judged("technical", "networking"),
        judged("other", "printing"),
    ])
    .await;
    story.asks("Refund").await; // 21st, 09:00
    story.asks("Router").await;
    story.at("2026-11-21T09:10:00Z").await;
    story.answers(1001, story.bea).await; // after 600 s
    story.at("2026-11-21T09:30:00Z").await;
    story.answers(1002, story.nik).await; // after 1800 s
    story.answers(1002, story.nik).await;
    story.at("2026-11-21T10:00:00Z").await;
    story.resolves(1001, story.bea).await;

    story.at("2026-11-22T09:00:00Z").await;
    story.asks("Printer").await;
    story.act(1001, story.bea, async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    story
        .act(1002, story.nik, async |tx, ticket, act| {
            actions::set_priority(tx, ticket, Priority::Urgent, act).await
        })
        .await;
    story.at("2026-11-22T10:00:00Z").await;
    story.resolves(1002, story.nik).await; // after 25 h

    story.at("2026-11-23T09:00:00Z").await;
    story.resolves(1001, story.bea).await; // after 48 h
    story.act(1002, story.nik, async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    story.desk.settle().await;
    story
}

#[tokio::test]
async fn tickets_come_and_go_by_days_and_what_is_left_adds_up() {
    let story = three_days().await;
    assert_snapshot!(story.sheet(Name::Tickets).await, @"
    day,created,resolved,closed,reopened,backlog
    2026-11-21,2,1,0,0,1
    2026-11-22,1,1,0,1,2
    2026-11-23,0,1,1,0,1
    2026-11-24,0,0,0,0,
    total,3,3,1,1,1
    ");
    let later = story.report_in(Name::Tickets, "2026-11-22", "2026-11-22", "UTC").await;
    assert_snapshot!(later.csv().expect("a sheet"), @"
    day,created,resolved,closed,reopened,backlog
    2026-11-22,1,1,0,1,2
    total,1,1,0,1,2
    ");
    let before = story.report_in(Name::Tickets, "2026-11-20", "2026-11-20", "UTC").await;
    assert!(before.csv().expect("a sheet").ends_with("2026-11-20,0,0,0,0,0\ntotal,0,0,0,0,0\n"));
    // In Honolulu the first day's morning was the evening before: #1001 was resolved and opened again on one day, and #1002 was
    // resolved on the next.
    let elsewhere = story.report_in(Name::Tickets, "2026-11-20", "2026-11-21", "Pacific/Honolulu").await;
    assert_snapshot!(elsewhere.csv().expect("a sheet"), @"
    day,created,resolved,closed,reopened,backlog
    2026-11-20,2,0,0,0,2
    2026-11-21,1,1,0,1,3
    total,3,1,0,1,3
    ");
    story.desk.close().await;
}

#[tokio::test]
async fn times_are_counted_from_the_opening_to_the_first_answer_and_the_last_resolution() {
    let story = three_days().await;
    // 600 and 1800 s: the median lies between, nine tenths at 1680. 90,000 s (25 h) and 172,800 s (48 h).
    assert_snapshot!(story.sheet(Name::Times).await, @"
    day,first_responses,first_response_median,first_response_p90,resolutions,resolution_median,resolution_p90
    2026-11-21,2,1200,1680,0,,
    2026-11-22,0,,,1,90000,90000
    2026-11-23,0,,,1,172800,172800
    2026-11-24,0,,,0,,
    total,2,1200,1680,2,131400,164520
    ");
    // An answer that is taken back before it leaves was none.
    story.at("2026-11-23T09:00:30Z").await;
    let answer = story.answers(1003, story.dora).await;
    assert!(story.sheet(Name::Times).await.contains("2026-11-23,1,"));
    story.act(1003, story.dora, async |tx, ticket, act| actions::undo(tx, ticket, answer, act).await).await;
    assert!(story.sheet(Name::Times).await.contains("2026-11-23,0,"));
    story.desk.settle().await;
    story.desk.close().await;
}

#[tokio::test]
async fn everybody_on_staff_is_in_the_report_of_moderators() {
    let story = three_days().await;
    assert_snapshot!(story.sheet(Name::Moderators).await, @"
    day,person_id,name,assigned,replied,resolved,first_response_median,open_now
    2026-11-21,1,Bea,1,1,0,600,
    2026-11-21,2,Nik,1,2,0,1800,
    2026-11-22,3,Dora,1,0,0,,
    2026-11-22,2,Nik,0,0,1,,
    2026-11-23,1,Bea,0,0,1,,
    total,1,Bea,1,1,1,600,0
    total,3,Dora,1,0,0,,1
    total,2,Nik,1,2,1,1800,0
    ");
    story.desk.close().await;
}

#[tokio::test]
async fn skills_and_categories_say_where_the_work_is_and_which_skill_is_missing() {
    let story = three_days().await;
    assert_snapshot!(story.sheet(Name::Skills).await, @"
    day,skill,created,resolved,first_response_median,resolution_median
    2026-11-21,billing,1,0,600,
    2026-11-21,networking,1,0,1800,
    2026-11-22,networking,0,1,,90000
    2026-11-22,printing,1,0,,
    2026-11-23,billing,0,1,,172800
    total,billing,1,1,600,172800
    total,networking,1,1,1800,90000
    total,printing,1,0,,
    ");
    assert_snapshot!(story.sheet(Name::Categories).await, @"
    day,category,created,resolved,first_response_median,resolution_median
    2026-11-21,billing,1,0,600,
    2026-11-21,technical,1,0,1800,
    2026-11-22,other,1,0,,
    2026-11-22,technical,0,1,,90000
    2026-11-23,billing,0,1,,172800
    total,billing,1,1,600,172800
    total,other,1,0,,
    total,technical,1,1,1800,90000
    ");
    assert_snapshot!(story.sheet(Name::SkillGaps).await, @"
    day,skill,tickets,open_now
    2026-11-22,printing,1,1
    total,printing,1,1
    ");
    assert_snapshot!(story.sheet(Name::Routing).await, @"
    day,decided,matched,fallback,unassigned,fallback_rate
    2026-11-21,2,2,0,0,0.0
    2026-11-22,1,0,1,0,1.0
    2026-11-23,0,0,0,0,
    2026-11-24,0,0,0,0,
    total,3,2,1,0,0.3333
    ");
    story.desk.close().await;
}

#[tokio::test]
async fn a_judgement_is_right_where_staff_dealt_with_the_ticket_and_let_it_be() {
    let story = three_days().await;
    // #1003 has not been dealt with; of #1002 Nik changed the priority.
    assert_snapshot!(story.sheet(Name::Accuracy).await, @"
    day,engine,field,judged,corrected,accuracy
    2026-11-21,gemini,category,2,0,1.0
    2026-11-21,gemini,priority,2,1,0.5
    2026-11-21,gemini,skills,2,0,1.0
    total,gemini,category,2,0,1.0
    total,gemini,priority,2,1,0.5
    total,gemini,skills,2,0,1.0
    ");
    // Dora sets what is set already, and one skill more.
    story
        .act(1003, story.dora, async |tx, ticket, act| actions::set_category(tx, ticket, "other", act).await)
        .await;
    let both = ["networking".to_owned(), "printing".to_owned()];
    story
        .act(1003, story.dora, async |tx, ticket, act| actions::set_skills(tx, ticket, &both, act).await)
        .await;
    let sheet = story.sheet(Name::Accuracy).await;
    let totals: Vec<_> = sheet.lines().filter(|line| line.starts_with("total")).collect();
    assert_eq!(
        totals,
        [
            "total,gemini,category,3,0,1.0",
            "total,gemini,priority,3,1,0.6667",
            "total,gemini,skills,3,1,0.6667",
        ]
    );
    story.desk.settle().await;
    story.desk.close().await;
}

#[tokio::test]
async fn gemini_is_accounted_for_with_what_it_cost_and_why_it_failed() {
    let answers = vec![judged("billing", "billing"), Answer::Blocked, Answer::Safety];
    let story = begin(answers).await;
    for subject in ["One", "Two", "Three"] {
        story.asks(subject).await;
    }
    let report = story.report_in(Name::Gemini, "2026-11-21", "2026-11-21", "UTC").await;
    let report = serde_json::to_value(report).expect("JSON");
    let mut total = report["totals"][0].clone();
    assert!(total["latency_median_ms"].is_i64() && total["latency_p90_ms"].is_i64(), "{total}");
    (total["latency_median_ms"], total["latency_p90_ms"]) = (Value::Null, Value::Null);
    // 59 tokens go in each time, 9 come out of the one judgement.
    let tokens = (total["tokens_in"].take(), total["tokens_out"].take());
    assert_eq!(
        total,
        json!({"day": null, "asked": 3, "judged": 1, "failed": 2, "not_asked": 0,
        "latency_median_ms": null, "latency_p90_ms": null, "tokens_in": null, "tokens_out": null})
    );
    let sum = story.desk.count("SELECT sum(tokens_in) FROM triages").await;
    assert_eq!(tokens.0, json!(sum));
    assert!(sum >= 59, "{sum}");
    assert_snapshot!(story.sheet(Name::GeminiFailures).await, @"
    day,reason,judgements
    2026-11-21,blocked,2
    total,blocked,2
    ");
    story.desk.close().await;
}

/// The reasons are told apart by the words that Gemini's client uses.
#[test]
fn every_reason_of_geminis_client_is_known_to_the_report() {
    use ticketd::triage::gemini::GeminiError as E;
    let statements = include_str!("../src/reports/sql.rs");
    let (reason, until) = (String::new, DateTime::<Utc>::UNIX_EPOCH);
    for error in [
        E::Busy { retry_after: None, per_day: false },
        E::Refused { status: 400, reason: reason() },
        E::Blocked { reason: reason(), tokens_in: None, tokens_out: None },
        E::Unusable { reason: reason(), tokens_in: None, tokens_out: None },
        E::Unavailable { reason: reason() },
        E::Open { until },
    ] {
        let said = error.to_string().replace('\'', "''");
        let patterns = statements.split("LIKE '").skip(1).filter_map(|rest| rest.split_once("%'"));
        assert!(patterns.clone().any(|(words, _)| said.starts_with(words)), "{said}");
    }
}

#[tokio::test]
async fn what_was_sent_and_how_content_people_were() {
    let story = three_days().await;
    // 21st: two acknowledgements, two notices, three answers. 22nd: an acknowledgement, a notice.
    assert_snapshot!(story.sheet(Name::Deliveries).await, @"
    day,channel,created,sent,waiting,delayed,failed,bounced,suppressed,cancelled
    2026-11-21,email,7,7,0,0,0,0,0,0
    2026-11-22,email,2,2,0,0,0,0,0,0
    total,email,9,9,0,0,0,0,0,0
    ");
    let insert = "INSERT INTO csat_answers (ticket_id, score, answered_at) VALUES (1001, 5, '2026-11-23T10:00Z'), (1002, 2, '2026-11-23T11:00Z')";
    sqlx::query(insert).execute(&story.desk.db).await.expect("answers");
    assert_snapshot!(story.sheet(Name::Satisfaction).await, @"
    day,answers,mean,score_1,score_2,score_3,score_4,score_5
    2026-11-21,0,,0,0,0,0,0
    2026-11-22,0,,0,0,0,0,0
    2026-11-23,2,3.5,0,1,0,0,1
    2026-11-24,0,,0,0,0,0,0
    total,2,3.5,0,1,0,0,1
    ");
    story.desk.close().await;
}

#[tokio::test]
async fn what_was_deleted_is_in_no_report() {
    let story = three_days().await;
    let delete = sqlx::query("UPDATE tickets SET deleted_at = now()");
    delete.execute(&story.desk.db).await.expect("a change");
    for name in Name::ALL {
        let report = story.report_in(name, "2026-11-21", "2026-11-23", "UTC").await;
        let totals = serde_json::to_value(&report.totals).expect("JSON");
        let counts = totals.as_array().expect("rows").iter().flat_map(|row| row.as_object().expect("a row"));
        let counted: Vec<_> = counts
            .filter(|(key, value)| *key != "person_id" && value.as_f64().is_some_and(|n| n > 0.0))
            .collect();
        assert!(counted.is_empty(), "{name:?}: {counted:?}");
    }
    story.desk.close().await;
}

async fn get(api: &Api, path: &str, accept: Option<&str>) -> (u16, String, String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("{}/api/admin/reports/{path}", api.base));
    if let Some(token) = &api.token {
        request = request.bearer_auth(token);
    }
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let answer = request.send().await.expect("an answer");
    let header =
        |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let kind = format!("{} {}", header("content-type"), header("content-disposition"));
    (answer.status().as_u16(), kind.trim().to_owned(), answer.text().await.expect("a body"))
}

#[tokio::test]
async fn an_admin_reads_reports_as_json_or_as_a_sheet() {
    let story = begin(vec![judged("billing", "billing")]).await;
    story.asks("Refund").await;
    let dora = story.desk.logs_in("Dora").await;
    let (status, kind, body) =
        get(&dora, "tickets?from=2026-11-20&to=2026-11-21&tz=Europe/Berlin", None).await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    let report: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        report,
        json!({
            "name": "tickets", "from": "2026-11-20", "to": "2026-11-21", "time_zone": "Europe/Berlin",
            "rows": [
                {"day": "2026-11-20", "created": 0, "resolved": 0, "closed": 0, "reopened": 0, "backlog": 0},
                {"day": "2026-11-21", "created": 1, "resolved": 0, "closed": 0, "reopened": 0, "backlog": 1},
            ],
            "totals": [{"day": null, "created": 1, "resolved": 0, "closed": 0, "reopened": 0, "backlog": 1}],
        })
    );
    let sheet = "text/csv; charset=utf-8 attachment; filename=\"tickets-2026-10-23-2026-11-21.csv\"";
    for (path, accept) in [
        ("tickets", Some("text/csv")),
        ("tickets?format=csv", None),
        ("tickets?format=csv", Some("application/json")),
    ] {
        let (status, kind, body) = get(&dora, path, accept).await;
        assert_eq!((status, kind.as_str(), body.lines().count()), (200, sheet, 32), "{path} {accept:?}");
    }
    assert_eq!(get(&dora, "tickets", Some("text/csv, application/json")).await.1, "application/json");
    for name in Name::ALL {
        assert_eq!(get(&dora, name.as_str(), None).await.0, 200, "{name:?}");
        let (status, _, body) = get(&dora, &format!("{}?format=csv", name.as_str()), None).await;
        assert!(status == 200 && body.starts_with("day,"), "{name:?}: {body}");
    }
    let mut told = Vec::new();
    for wrong in [
        "nothing",
        "tickets?from=2026-11-22&to=2026-11-21",
        "tickets?from=2020-01-01&to=2026-01-01",
        "tickets?tz=Mars",
        "tickets?from=yesterday",
        "tickets?format=pdf",
        "tickets?form=csv",
        "tickets?to=-262143-01-01",
    ] {
        let (status, _, body) = get(&dora, wrong, None).await;
        let detail = serde_json::from_str::<Value>(&body).expect("a problem")["detail"].clone();
        told.push(format!("{status} {}", detail.as_str().unwrap_or_default()));
    }
    assert_snapshot!(told.join("\n"), @"
    404 there is nothing here, or nothing that you may see
    400 the last day lies before the first: turn them round
    400 a report covers 366 days at most: ask for several
    400 there is no time zone `Mars`: name one as Europe/Berlin
    400 Failed to deserialize query string: from: input contains invalid characters
    400 Failed to deserialize query string: format: unknown variant `pdf`, expected `json` or `csv`
    400 Failed to deserialize query string: form: unknown field `form`, expected one of `from`, `to`, `tz`, `format`
    400 there are reports from the year 1970 to the year 9999: choose other days
    ");
    let bea = story.desk.logs_in("Bea").await;
    assert_eq!(get(&bea, "tickets", None).await.0, 403);
    story.desk.close().await;
}

#[tokio::test]
async fn reports_are_read_from_the_replica_and_wait_for_nothing_else() {
    let primary = postgres::private().await;
    let folder = std::env::temp_dir().join(format!("ticketd-pg-replica-{}", std::process::id()));
    let mut replica = primary.replicate(&folder).expect("a replica");
    let db = PgPoolOptions::new().connect_with(primary.options("postgres")).await.expect("a pool");
    let more = format!("[database]\nreports_url = \"{}\"\n", postgres::url_of(&replica.options("postgres")));
    let desk = Desk::with(Plan { db: Some(db.clone()), more, ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let dora = desk.logs_in("Dora").await;
    let follows = PgPoolOptions::new().connect_with(replica.options("postgres")).await.expect("a pool");
    let has = async |count: i64| {
        let tickets = sqlx::query("SELECT count(*) FROM tickets").fetch_one(&follows).await;
        tickets.is_ok_and(|row| row.get::<i64, _>(0) == count)
    };
    let opened = async || {
        let report = dora.read("/api/admin/reports/tickets?from=2026-11-21&to=2026-11-21").await.with(200);
        report.pointer("/totals/0/created").cloned()
    };

    desk.handles(&mail("Ada <ada@example.net>", "Refund", "Please help.")).await;
    until("the replica has the ticket", async || has(1).await).await;
    assert_eq!(opened().await, Some(json!(1)));

    follows.execute("SELECT pg_wal_replay_pause()").await.expect("it stands still");
    desk.handles(&mail("Ada <ada@example.net>", "Router", "Please help.")).await;
    assert_eq!(desk.tickets().await, 2);
    assert_eq!(opened().await, Some(json!(1)), "as old as the replica");
    follows.execute("SELECT pg_wal_replay_resume()").await.expect("it follows again");
    until("the replica has both", async || has(2).await).await;
    assert_eq!(opened().await, Some(json!(2)));

    replica.halt().expect("it is away");
    let refused = dora.read("/api/admin/reports/tickets").await;
    assert_snapshot!(refused.problem(), @"503: the database cannot be used at the moment: try again later");
    assert_eq!(dora.read("/api/tickets").await.status, 200, "everything else goes on");
    assert_eq!(desk.expects_errors().len(), 1, "and the log says so");
    desk.close().await;
}
