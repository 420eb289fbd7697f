//! Who gets a ticket, and why: skills, load and cap; an admin where nobody fits; nobody over the cap, ever.

use chrono::TimeDelta;
use futures_util::future::join_all;
use proptest::prelude::{Strategy, prop};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sqlx::Row;
use ticketd::assign::{self, Candidate};
use ticketd::ids::PersonId;
use ticketd::people::{self, NewStaff, Role, StaffMember};
use ticketd::queue::{self, Claimed};

use crate::harness::desk::Desk;
use crate::harness::mail::{Mail, mail, text};

const ADA: &str = "Ada <ada@example.net>";

/// A mail that wants the skill `billing`.
fn bill(number: usize) -> Mail {
    mail(ADA, &format!("Invoice {number}"), "My invoice was charged twice, I want a refund.")
}

async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk
}

/// Outcome, reason and assignee of the last assignment of a ticket, as an admin reads it.
async fn told(desk: &Desk, ticket: i64) -> String {
    let row = sqlx::query(
        "SELECT a.outcome || ': ' || a.reason FROM assignments a WHERE a.ticket_id = $1 ORDER BY a.id DESC LIMIT 1",
    );
    row.bind(ticket).fetch_one(&desk.db).await.expect("an assignment").get(0)
}

async fn assignee(desk: &Desk, ticket: i64) -> Option<String> {
    let row = sqlx::query(
        "SELECT p.name FROM tickets t LEFT JOIN persons p ON p.id = t.assignee_id WHERE t.id = $1",
    );
    row.bind(ticket).fetch_one(&desk.db).await.expect("the ticket").get(0)
}

async fn assignees(desk: &Desk) -> Vec<Option<String>> {
    let rows =
        sqlx::query("SELECT p.name FROM tickets t LEFT JOIN persons p ON p.id = t.assignee_id ORDER BY t.id");
    rows.fetch_all(&desk.db).await.expect("the tickets").iter().map(|r| r.get(0)).collect()
}

/// Does everything that is due but assignments; those are held.
async fn all_but_assignments(desk: &Desk) -> Vec<Claimed> {
    let mut held = Vec::new();
    while let Some(job) = queue::claim(&desk.db, desk.clock.now(), 1).await.expect("the queue").pop() {
        if job.kind.name == "assign" {
            held.push(job);
        } else {
            assert!(desk.app.stages.run(&job).await, "{job:?} failed");
        }
    }
    held
}

/// Takes in so many mails, up to their assignments.
async fn tickets_to_assign(desk: &Desk, count: usize) -> Vec<Claimed> {
    for number in 0..count {
        desk.gets(&bill(number)).await;
    }
    desk.fetches().await;
    let held = all_but_assignments(desk).await;
    assert_eq!(held.len(), count);
    held
}

async fn resolves(desk: &Desk, name: &str, ticket: i64) {
    let path = format!("/api/tickets/{ticket}/messages");
    let (status, said) =
        desk.logs_in(name).await.post(&path, &json!({"body": "Done.", "resolve": true})).await;
    assert_eq!(status, 201, "{said}");
    desk.settle().await;
    desk.later(TimeDelta::seconds(10)).await;
}

#[tokio::test]
async fn where_no_moderator_fits_an_admin_gets_it_and_reads_why() {
    let desk = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(told(&desk, 1001).await, @"fallback: Dora, an admin, because there is no moderator");
    let notice = text(&desk.last_mail_to("dora@example.org"));
    assert!(notice.contains("Why you:   Dora, an admin, because there is no moderator"), "{notice}");
    desk.close().await;

    let desk = self::desk().await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[("billing", 5)]).await;
    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(told(&desk, 1001).await, @"fallback: Dora, an admin, because no moderator has billing");
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], Some(0), false).await;
    desk.hires_with("Cem", Role::Moderator, &[("billing", 5)], None, true).await;
    desk.handles(&bill(2)).await;
    insta::assert_snapshot!(told(&desk, 1002).await, @"fallback: Dora, an admin, because all who have billing are away or at their cap (Cem was away; Bea was at cap)");
    assert_eq!(desk.mails_to("nik@example.org").len() + desk.mails_to("bea@example.org").len(), 0);
    desk.close().await;

    let desk = self::desk().await;
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], None, true).await;
    desk.hires_with("Cem", Role::Moderator, &[("billing", 1)], None, true).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.hires_with("Eli", Role::Admin, &[], None, true).await;
    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(told(&desk, 1001).await, @"fallback: Dora, an admin, because all who have billing are away (Bea and Cem were away)");
    desk.handles(&mail(ADA, "Hm", "Wobble flummox.")).await;
    insta::assert_snapshot!(told(&desk, 1002).await, @"fallback: Dora, an admin, because no required skill was recognized");
    desk.close().await;

    let desk = self::desk().await;
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], Some(1), false).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    desk.handles(&bill(2)).await;
    insta::assert_snapshot!(told(&desk, 1001).await, @"matched: Bea: 1 of 1 skill (billing), 0 of 1 open");
    insta::assert_snapshot!(told(&desk, 1002).await, @"fallback: Dora, an admin, because all who have billing are at their cap (Bea was at cap)");
    desk.close().await;
}

#[tokio::test]
async fn a_ticket_that_nobody_can_get_is_alarmed_and_the_first_hire_gets_it() {
    let desk = desk().await;
    desk.handles(&bill(1)).await;
    let errors = desk.expects_errors();
    assert!(errors.len() == 1 && errors[0].contains("ticketd admin create"), "{errors:?}");
    insta::assert_snapshot!(told(&desk, 1001).await, @"unassigned: nobody: there is no moderator, and there is no admin");
    assert_eq!(desk.count("SELECT count(*) FROM tickets WHERE status = 'new'").await, 1);
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "the customer is acknowledged all the same");

    // An admin comes, by the command that the alarm names.
    let password = "a long password".into();
    let now = desk.clock.now();
    people::create_admin(&desk.db, "dora@example.org", "Dora", password, now).await.expect("an admin");
    desk.settle().await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Dora"));
    assert_eq!(desk.count("SELECT count(*) FROM tickets WHERE status = 'open'").await, 1);
    // Then someone who fits.
    desk.hires("Bea", Role::Moderator, &[("billing", 3)]).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Bea"));
    let notice = text(&desk.last_mail_to("bea@example.org"));
    assert!(notice.contains("Ticket #1001 is yours"), "{notice}");
    assert_eq!(desk.mails_to("dora@example.org").len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn when_a_place_gets_free_untouched_tickets_move_there_and_touched_ones_stay() {
    let desk = desk().await;
    let bea = desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], Some(1), false).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    for number in 1..=4 {
        desk.handles(&bill(number)).await;
    }
    let names = |list: [&str; 4]| list.map(|name| Some(name.to_owned())).to_vec();
    assert_eq!(assignees(&desk).await, names(["Bea", "Dora", "Dora", "Dora"]));

    // Dora answers the second: it is hers now.
    let dora = desk.logs_in("Dora").await;
    let (status, _) = dora.post("/api/tickets/1002/messages", &json!({"body": "Which invoice?"})).await;
    assert_eq!(status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    resolves(&desk, "Bea", 1001).await;
    assert_eq!(
        assignees(&desk).await,
        names(["Bea", "Dora", "Bea", "Dora"]),
        "one place, one ticket, the oldest"
    );
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("Ticket #1003 is yours"));

    // A note is work, too; and a customer's own second mail is not.
    let (status, _) =
        dora.post("/api/tickets/1004/messages", &json!({"body": "Odd.", "visibility": "internal"})).await;
    assert_eq!(status, 201);
    desk.handles(&bill(5)).await;
    let answer = mail(ADA, "", "Any news?").answering(&desk.last_mail_to("ada@example.net"));
    desk.handles(&answer).await;
    assert_eq!(assignee(&desk, 1005).await.as_deref(), Some("Dora"));

    people::set_away(&desk.db, bea, true, desk.clock.now()).await.expect("away");
    resolves(&desk, "Bea", 1003).await;
    assert_eq!(assignee(&desk, 1005).await.as_deref(), Some("Dora"), "Bea is away");
    people::set_away(&desk.db, bea, false, desk.clock.now()).await.expect("back");
    desk.settle().await;
    assert_eq!(assignee(&desk, 1005).await.as_deref(), Some("Bea"));
    assert_eq!(assignee(&desk, 1004).await.as_deref(), Some("Dora"));
    assert_eq!(assignee(&desk, 1002).await.as_deref(), Some("Dora"));
    desk.close().await;
}

#[tokio::test]
async fn who_gains_the_skill_gets_what_waits_for_it() {
    let desk = desk().await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Dora"));
    desk.hires("Nik", Role::Moderator, &[("networking", 5), ("billing", 1)]).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Nik"));
    insta::assert_snapshot!(told(&desk, 1001).await, @"matched: Nik: 1 of 1 skill (billing), 0 of 10 open");
    desk.close().await;
}

#[tokio::test]
async fn an_admin_who_answers_just_before_the_second_look_keeps_the_ticket() {
    let desk = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    let dora = desk.logs_in("Dora").await;
    // Bea comes; the second look is entered, and has not happened yet.
    let now = desk.clock.now();
    let bea = NewStaff {
        name: "Bea".into(),
        email: "bea@example.org".into(),
        role: Role::Moderator,
        cap: None,
        away: false,
        skills: vec![("billing".into(), 5)],
    };
    people::save_staff(&desk.db, &bea, now).await.expect("Bea");
    let held = all_but_assignments(&desk).await;
    assert_eq!(held.len(), 1);
    let (status, _) = dora.post("/api/tickets/1001/messages", &json!({"body": "Coming up."})).await;
    assert_eq!(status, 201);
    assert!(desk.app.stages.run(&held[0]).await);
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Dora"));
    desk.later(TimeDelta::seconds(10)).await;
    assert_eq!(desk.mails_to("bea@example.org").len(), 0);
    desk.close().await;
}

#[tokio::test]
async fn two_workers_that_race_for_one_place_do_not_both_get_it() {
    let desk = desk().await;
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], Some(1), false).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    for round in 0..5 {
        let held = tickets_to_assign(&desk, 2).await;
        let done = join_all(held.iter().map(|job| desk.app.stages.run(job))).await;
        assert_eq!(done, [true, true], "round {round}");
        desk.settle().await;
        let open = desk.count(
            "SELECT count(*) FROM tickets t JOIN persons p ON p.id = assignee_id
                               WHERE p.name = 'Bea' AND status IN ('new', 'open', 'pending')",
        );
        assert_eq!(open.await, 1, "round {round}");
        let resolved = sqlx::query(
            "UPDATE tickets SET status = 'resolved', resolved_at = updated_at, assignee_set = TRUE",
        );
        resolved.execute(&desk.db).await.expect("resolved");
    }
    assert_eq!(desk.count("SELECT count(*) FROM tickets WHERE assignee_id IS NULL").await, 0);
    assert_eq!(desk.count("SELECT count(*) FROM assignments WHERE outcome = 'matched'").await, 5);
    desk.close().await;
}

/// The same job held by two workers, because the first was slow and its lease ran out.
#[tokio::test]
async fn a_worker_that_comes_late_assigns_nothing() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let slow = tickets_to_assign(&desk, 1).await;
    desk.clock.advance(TimeDelta::minutes(2));
    let quick = all_but_assignments(&desk).await;
    let done = join_all(slow.iter().chain(&quick).map(|job| desk.app.stages.run(job))).await;
    assert_eq!(done, [false, true]);
    desk.settle().await;
    assert_eq!(desk.count("SELECT count(*) FROM assignments").await, 1);
    assert_eq!(desk.mails_to("bea@example.org").len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn eight_workers_over_many_tickets_never_push_anyone_over_the_cap() {
    for seed in 0..4_u32 {
        let desk = desk().await;
        let caps: Vec<i32> = (0..3).map(|n| i32::try_from((seed * 7 + n * 5) % 5).expect("small")).collect();
        for (number, cap) in caps.iter().enumerate() {
            let name = format!("Mo{number}");
            let level = 1 + i32::try_from(number).expect("small");
            desk.hires_with(&name, Role::Moderator, &[("billing", level)], Some(*cap), false).await;
        }
        desk.hires("Dora", Role::Admin, &[]).await;
        let held = tickets_to_assign(&desk, 16).await;
        for batch in held.chunks(8) {
            let done = join_all(batch.iter().map(|job| desk.app.stages.run(job))).await;
            assert!(done.iter().all(|done| *done), "seed {seed}: {done:?}");
            let over = desk.count(
                "SELECT count(*) FROM (
                SELECT p.cap, count(*) AS load FROM tickets t JOIN persons p ON p.id = t.assignee_id
                WHERE p.role = 'moderator' GROUP BY p.id) l WHERE load > cap",
            );
            assert_eq!(over.await, 0, "seed {seed}, caps {caps:?}");
        }
        let filled = desk.count(
            "SELECT count(*) FROM tickets t JOIN persons p ON p.id = t.assignee_id
                                 WHERE p.role = 'moderator'",
        );
        assert_eq!(filled.await, i64::from(caps.iter().sum::<i32>()), "seed {seed}: free places were left");
        assert_eq!(desk.count("SELECT count(*) FROM tickets WHERE assignee_id IS NULL").await, 0);
        desk.settle().await;
        desk.close().await;
    }
}

#[tokio::test]
async fn equals_take_turns() {
    let desk = desk().await;
    for name in ["Bea", "Cem", "Dan"] {
        desk.hires(name, Role::Moderator, &[("billing", 3)]).await;
    }
    for number in 1..=6 {
        desk.handles(&bill(number)).await;
        desk.clock.advance(TimeDelta::minutes(1));
    }
    let turns: Vec<_> = assignees(&desk).await.into_iter().flatten().collect();
    assert_eq!(turns, ["Bea", "Cem", "Dan", "Bea", "Cem", "Dan"]);
    // Equal loads again, and Cem was the last to get one: it is not his turn.
    for (ticket, name) in
        [(1002, "Cem"), (1005, "Cem"), (1001, "Bea"), (1004, "Bea"), (1003, "Dan"), (1006, "Dan")]
    {
        resolves(&desk, name, ticket).await;
    }
    sqlx::query("UPDATE persons SET last_assigned_at = $1 WHERE name = 'Cem'")
        .bind(desk.clock.now())
        .execute(&desk.db)
        .await
        .expect("Cem");
    desk.handles(&bill(7)).await;
    assert_eq!(assignee(&desk, 1007).await.as_deref(), Some("Bea"), "longest ago");
    desk.close().await;
}

#[tokio::test]
async fn the_decision_names_everyone_with_their_verdict() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[("billing", 2), ("networking", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires_with("Uma", Role::Moderator, &[("billing", 5)], None, true).await;
    desk.hires_with("Val", Role::Moderator, &[("billing", 5)], Some(0), false).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    let (status, told) = desk.logs_in("Dora").await.get("/api/tickets/1001/assignment").await;
    assert_eq!(status, 200);
    assert_eq!(told["reason"], "Bea: 1 of 1 skill (billing), 0 of 10 open; Uma was away; Val was at cap");
    let candidates = told["candidates"].as_array().expect("candidates");
    let mut verdicts: Vec<String> =
        candidates.iter().map(|c| format!("{} {}", c["name"], c["verdict"])).collect();
    verdicts.sort();
    let expected = ["Bea chosen", "Cem outscored", "Dora fallback", "Nik no_skill", "Uma away", "Val at_cap"];
    assert_eq!(verdicts.join(", ").replace('"', ""), expected.join(", "));
    for candidate in candidates {
        let parts = ["person_id", "role", "skills", "coverage", "load", "cap", "score"];
        assert!(
            parts.iter().all(|part| candidate.get(part).is_some_and(|v| *v != Value::Null)),
            "{candidate}"
        );
    }
    assert_eq!(candidates[0]["skills"], json!([["billing", 5]]));
    desk.close().await;
}

#[tokio::test]
async fn a_customers_answer_finds_somebody_although_the_assignee_left() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[("billing", 1)]).await;
    desk.handles(&bill(1)).await;
    let bea = desk.logs_in("Bea").await;
    let (status, _) = bea.post("/api/tickets/1001/messages", &json!({"body": "Which invoice?"})).await;
    assert_eq!(status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    sqlx::query("UPDATE persons SET active = FALSE WHERE name = 'Bea'")
        .execute(&desk.db)
        .await
        .expect("Bea leaves");
    desk.handles(&mail(ADA, "", "Number 7.").answering(&desk.last_mail_to("ada@example.net"))).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Cem"));
    assert!(text(&desk.last_mail_to("cem@example.org")).contains("| Number 7."));
    desk.close().await;
}

#[tokio::test]
async fn a_customers_answer_to_a_ticket_that_nobody_had_is_not_lost() {
    let desk = desk().await;
    let bea = desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], None, true).await;
    desk.handles(&bill(1)).await;
    assert_eq!(desk.expects_errors().len(), 1, "nobody can be given the ticket");
    // Bea looks in while she is away, and answers.
    let api = desk.logs_in("Bea").await;
    let (status, _) = api.post("/api/tickets/1001/messages", &json!({"body": "Which invoice?"})).await;
    assert_eq!(status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    people::set_away(&desk.db, bea, false, desk.clock.now()).await.expect("back");
    desk.settle().await;
    desk.handles(&mail(ADA, "", "Number 7.").answering(&desk.last_mail_to("ada@example.net"))).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Bea"));
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("| Number 7."));
    desk.close().await;
}

#[tokio::test]
async fn a_second_mail_before_the_judgement_does_not_hurry_the_assignment() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let first = bill(1);
    desk.gets(&first).await;
    let id = first.header("Message-ID").expect("an id").to_owned();
    desk.gets(&mail(ADA, "Re: Invoice 1", "And hurry.").with("In-Reply-To", &id)).await;
    desk.fetches().await;
    desk.settle().await;
    assert_eq!(desk.tickets().await, 1);
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Bea"));
    assert_eq!(desk.count("SELECT count(*) FROM assignments").await, 1);
    desk.close().await;
}

/// A moderator or admin of any kind.
type Anyone = (Role, bool, i64, i64, Option<i64>, Vec<(usize, i32)>);

fn anyone() -> impl Strategy<Value = Anyone> {
    (
        prop::sample::select(vec![Role::Moderator, Role::Moderator, Role::Moderator, Role::Admin]),
        prop::bool::weighted(0.2),
        0..4_i64,
        0..4_i64,
        prop::option::of(0..3_i64),
        prop::collection::btree_map(0..3_usize, 1..=5_i32, 0..3).prop_map(|m| m.into_iter().collect()),
    )
}

#[test]
fn the_same_input_gives_the_same_choice_in_any_order_and_it_fits() {
    const SKILLS: [&str; 3] = ["billing", "networking", "rust"];
    let staff = prop::collection::vec(anyone(), 0..7);
    let input = (staff, prop::sample::subsequence(SKILLS.to_vec(), 0..=3), 0..7_usize);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(2000) });
    runner
        .run(&input, |(staff, required, turn)| {
            let mut candidates: Vec<Candidate> = (1..)
                .zip(staff)
                .map(|(id, (role, away, load, cap, last, skills))| Candidate {
                    load,
                    cap,
                    member: StaffMember {
                        id: PersonId(id),
                        name: format!("P{id}"),
                        role,
                        away,
                        at_work: id % 3 != 0,
                        cap: None,
                        last_assigned_at: last.and_then(|at| chrono::DateTime::from_timestamp(at, 0)),
                        skills: skills.into_iter().map(|(s, level)| (SKILLS[s].to_owned(), level)).collect(),
                    },
                })
                .collect();
            let required: Vec<String> = required.into_iter().map(str::to_owned).collect();
            let choice = assign::choose(&required, &candidates);
            assert_eq!(choice.judged.len(), candidates.len(), "everyone is kept");
            let fits = |c: &Candidate| {
                c.member.role == Role::Moderator
                    && !c.member.away
                    && c.load < c.cap
                    && c.member.skills.iter().any(|(slug, _)| required.contains(slug))
            };
            let chosen = candidates.iter().find(|c| Some(c.member.id) == choice.assignee);
            match chosen {
                Some(chosen) if chosen.member.role == Role::Moderator => {
                    let is_better = |c: &&Candidate| fits(c) && c.member.at_work;
                    let better = candidates.iter().find(is_better);
                    assert!(fits(chosen) && (chosen.member.at_work || better.is_none()), "{choice:?}");
                }
                Some(_admin) => assert!(!candidates.iter().any(fits), "{choice:?}"),
                None => assert!(!candidates.iter().any(|c| c.member.role == Role::Admin || fits(c))),
            }
            let count = candidates.len().max(1);
            candidates.rotate_left(turn % count);
            let again = assign::choose(&required, &candidates);
            assert_eq!((again.assignee, again.outcome), (choice.assignee, choice.outcome));
            Ok(())
        })
        .expect("the choice depends on its input alone");
}

/// The look that the schedule enters every 15 minutes.
async fn looks_again(desk: &Desk) {
    desk.clock.advance(TimeDelta::minutes(15));
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::REASSIGN, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a commit");
    desk.settle().await;
}

#[tokio::test]
async fn of_two_admins_one_keeps_what_fits_nobody() {
    let desk = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let eli = desk.hires("Eli", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    for _ in 0..3 {
        looks_again(&desk).await;
    }
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Dora"));
    assert_eq!(desk.mails_to("dora@example.org").len() + desk.mails_to("eli@example.org").len(), 1);
    // Who is away does not keep it from who is there.
    let dora = "UPDATE persons SET away = TRUE WHERE name = 'Dora'";
    sqlx::raw_sql(dora).execute(&desk.db).await.expect("Dora goes");
    looks_again(&desk).await;
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Eli"));
    people::set_away(&desk.db, eli, false, desk.clock.now()).await.expect("still there");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_ticket_that_still_nobody_can_get_is_alarmed_once() {
    let desk = desk().await;
    desk.handles(&bill(1)).await;
    assert_eq!(desk.expects_errors().len(), 1);
    let version = desk.count("SELECT version FROM tickets").await;
    for _ in 0..3 {
        looks_again(&desk).await;
    }
    assert_eq!(desk.expects_errors(), Vec::<String>::new());
    assert_eq!(desk.count("SELECT count(*) FROM assignments").await, 1);
    assert_eq!(desk.count("SELECT version FROM tickets").await, version, "nothing has changed");
    desk.close().await;
}

#[tokio::test]
async fn what_somebody_had_who_is_no_longer_staff_goes_to_who_fits() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[("billing", 1)]).await;
    desk.handles(&bill(1)).await;
    desk.handles(&bill(2)).await;
    let bea = desk.logs_in("Bea").await;
    let (status, _) = bea.post("/api/tickets/1001/messages", &json!({"body": "Which invoice?"})).await;
    assert_eq!(status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    let names = |name: &str| vec![Some(name.to_owned()); 2];
    assert_eq!(assignees(&desk).await, names("Bea"));
    desk.hires("Bea", Role::User, &[]).await;
    assert_eq!(assignees(&desk).await, names("Cem"));
    assert_eq!(desk.mails_to("cem@example.org").len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn however_many_wait_all_are_looked_at_again() {
    let desk = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&bill(1)).await;
    let many = "INSERT INTO tickets (subject, channel, requester_id, assignee_id, assignment_outcome, status, created_at, updated_at)
                SELECT subject, channel, requester_id, assignee_id, assignment_outcome, status, created_at, updated_at
                FROM tickets, generate_series(1, 700)";
    sqlx::raw_sql(many).execute(&desk.db).await.expect("many tickets");
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::REASSIGN, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a commit");
    let look = queue::claim(&desk.db, desk.clock.now(), 1).await.expect("the queue").pop().expect("the look");
    assert!(desk.app.stages.run(&look).await);
    assert_eq!(desk.count("SELECT count(*) FROM jobs WHERE kind = 'assign'").await, 701);
    sqlx::raw_sql("DELETE FROM jobs").execute(&desk.db).await.expect("no more work");
    desk.close().await;
}

#[tokio::test]
async fn a_ticket_whose_judgement_died_is_given_to_somebody_all_the_same() {
    let desk = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.gets(&bill(1)).await;
    desk.fetches().await;
    let ingest =
        queue::claim(&desk.db, desk.clock.now(), 1).await.expect("the queue").pop().expect("the mail");
    assert!(desk.app.stages.run(&ingest).await);
    sqlx::raw_sql("DELETE FROM jobs WHERE kind = 'triage'").execute(&desk.db).await.expect("no judgement");
    looks_again(&desk).await;
    assert_eq!(assignee(&desk, 1001).await, None, "its judgement may still come");
    for _ in 0..4 {
        looks_again(&desk).await;
    }
    assert_eq!(assignee(&desk, 1001).await.as_deref(), Some("Dora"));
    desk.close().await;
}
