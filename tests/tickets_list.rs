//! Lists of tickets by the API: what a filter shows, whose tickets they are, page by page, and how many there are.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketd::ids::TicketId;
use ticketd::people::Role;
use ticketd::tickets;

use crate::harness::desk::{Api, Desk, Plan};

/// Bea is person 1, Nik 2, Dora 3, Ada 4, Eve 5. Of sixty tickets every fifth is in each status.
async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.registers("Ada").await;
    desk.registers("Eve").await;
    let made = "
        INSERT INTO tickets (subject, status, priority, category, channel, requester_id, assignee_id, deadline_at, created_at,
                             updated_at, closed_at)
        SELECT 'Ticket ' || n, (ARRAY['new', 'open', 'pending', 'resolved', 'closed'])[1 + n % 5],
               (ARRAY['low', 'medium', 'high', 'urgent'])[1 + n % 4], (ARRAY['billing', 'bug', 'other'])[1 + n % 3],
               (ARRAY['email', 'web', 'discord'])[1 + n % 3], 4 + n % 2,
               CASE WHEN n % 5 = 0 THEN NULL ELSE 1 + n % 2 END,
               CASE WHEN n % 6 = 1 THEN TIMESTAMPTZ '2026-11-21T09:00:00Z' + (n - 30) * interval '1 hour' END,
               TIMESTAMPTZ '2026-11-21T09:00:00Z' - (60 - n) * interval '1 day',
               TIMESTAMPTZ '2026-11-21T09:00:00Z' - (n * 7 % 60) * interval '1 hour', NULL
        FROM generate_series(0, 59) AS n;
        INSERT INTO ticket_skills SELECT id, 1 + id % 2 FROM tickets WHERE id % 4 < 3;
        INSERT INTO ticket_tags SELECT id, 'vip' FROM tickets WHERE id % 9 = 0";
    sqlx::raw_sql(made).execute(&desk.db).await.expect("tickets");
    desk
}

fn numbers(page: &Value) -> Vec<i64> {
    let list = page.pointer("/tickets").and_then(Value::as_array).expect("tickets");
    list.iter().map(|t| t.pointer("/number").and_then(Value::as_i64).expect("a number")).collect()
}

async fn list(api: &Api, query: &str) -> Vec<i64> {
    numbers(&api.read(&format!("/api/tickets?limit=100&{query}")).await.with(200))
}

/// What the database itself says.
async fn selected(desk: &Desk, condition: &str) -> Vec<i64> {
    let text = format!("SELECT id FROM tickets t WHERE {condition} ORDER BY id DESC");
    sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&desk.db).await.expect("tickets")
}

#[tokio::test]
async fn every_filter_shows_what_it_says_and_all_of_it() {
    let desk = desk("").await;
    let dora = desk.logs_in("Dora").await;
    let now = "TIMESTAMPTZ '2026-11-21T09:00:00Z'";
    let active = "status IN ('new', 'open', 'pending')";
    let skill = |id: i64| {
        format!("EXISTS (SELECT FROM ticket_skills s WHERE s.ticket_id = t.id AND s.skill_id = {id})")
    };
    let tag = "EXISTS (SELECT FROM ticket_tags g WHERE g.ticket_id = t.id AND g.tag = 'vip')".to_owned();
    let cases = [
        ("", "TRUE".to_owned()),
        ("status=open", "status = 'open'".to_owned()),
        ("status=new,open,open", "status IN ('new', 'open')".to_owned()),
        ("priority=urgent", "priority = 'urgent'".to_owned()),
        ("category=bug", "category = 'bug'".to_owned()),
        (
            "category=bug&status=closed,resolved",
            "category = 'bug' AND status IN ('closed', 'resolved')".to_owned(),
        ),
        ("skill=billing", skill(1)),
        ("skill=networking&status=open", format!("{} AND status = 'open'", skill(2))),
        ("skill=cooking", "FALSE".to_owned()),
        ("assignee=none", "assignee_id IS NULL".to_owned()),
        ("assignee=1", "assignee_id = 1".to_owned()),
        ("assignee=1&status=open", "assignee_id = 1 AND status = 'open'".to_owned()),
        ("assignee=me", "FALSE".to_owned()),
        ("requester=4", "requester_id = 4".to_owned()),
        ("tag=vip", tag.clone()),
        ("tag=vip&channel=web", format!("{tag} AND channel = 'web'")),
        ("channel=discord", "channel = 'discord'".to_owned()),
        ("overdue=true", format!("deadline_at < {now} AND {active}")),
        ("created_since=2026-11-01T00:00:00Z", "created_at >= '2026-11-01T00:00:00Z'".to_owned()),
        ("updated_since=2026-11-20T09:00:00Z", "updated_at >= '2026-11-20T09:00:00Z'".to_owned()),
        ("deleted=true", "FALSE".to_owned()),
    ];
    for (query, condition) in cases {
        let expected = selected(&desk, &condition).await;
        assert_eq!(list(&dora, query).await, expected, "{query}");
        let mut oldest = expected;
        oldest.reverse();
        assert_eq!(list(&dora, &format!("{query}&sort=oldest")).await, oldest, "{query}, oldest first");
    }
    let bea = desk.logs_in("Bea").await;
    assert_eq!(list(&bea, "assignee=me").await, selected(&desk, "assignee_id = 1").await);
    desk.close().await;
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_whatever_happens_between_them() {
    let desk = desk("").await;
    let dora = desk.logs_in("Dora").await;
    for query in ["", "sort=oldest", "sort=updated", "status=new,closed", "assignee=none&sort=oldest"] {
        let whole = list(&dora, query).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = dora.read(&format!("/api/tickets?limit=7&{query}{cursor}")).await.with(200);
            seen.extend(numbers(&page));
            match page.pointer("/next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, whole, "{query}");
    }
    let first = dora.read("/api/tickets?limit=7").await.with(200);
    let cursor = first.pointer("/next_cursor").and_then(Value::as_str).expect("more").to_owned();
    let opened = "INSERT INTO tickets (subject, channel, requester_id, created_at, updated_at)
                  VALUES ('Meanwhile', 'web', 4, now(), now())";
    sqlx::query(opened).execute(&desk.db).await.expect("a ticket");
    let second = dora.read(&format!("/api/tickets?limit=7&cursor={cursor}")).await.with(200);
    assert_eq!(numbers(&second), [1053, 1052, 1051, 1050, 1049, 1048, 1047]);
    assert_eq!(
        dora.read("/api/tickets").await.with(200).pointer("/tickets").and_then(Value::as_array).map(Vec::len),
        Some(25)
    );

    for wrong in [
        format!("cursor={cursor}&status=open"),
        format!("cursor={cursor}&sort=oldest"),
        "cursor=b1001".into(),
    ] {
        let answer = dora.read(&format!("/api/tickets?{wrong}")).await;
        assert_eq!(answer.problem(), "400: cursor is not one that was given out for this list", "{wrong}");
    }
    desk.close().await;
}

#[tokio::test]
async fn a_wrong_filter_is_told_what_is_wrong_with_it() {
    let desk = desk("").await;
    let dora = desk.logs_in("Dora").await;
    let told = async |query: &str| dora.read(&format!("/api/tickets?{query}")).await.problem();
    insta::assert_snapshot!(told("status=open,done").await, @"400: `done` is no status: new, open, pending, resolved, closed");
    insta::assert_snapshot!(told("priority=asap").await, @"400: `asap` is no priority: low, medium, high, urgent");
    insta::assert_snapshot!(told("channel=fax").await, @"400: `fax` is no channel: email, discord, web");
    insta::assert_snapshot!(told("assignee=Bea").await, @"400: assignee is `me`, `none` or a person's id");
    insta::assert_snapshot!(told("requester=Ada").await, @"400: requester is `me` or a person's id");
    insta::assert_snapshot!(told("tag=V%20I%20P").await, @"400: `V I P` is no tag");
    insta::assert_snapshot!(told("sort=relevance").await, @"400: `relevance` is no way to sort this list: newest, oldest, updated");
    insta::assert_snapshot!(told("sort=updated&q=printer").await, @"400: `updated` is no way to sort this list: relevance, newest");
    insta::assert_snapshot!(told("limit=101").await, @"400: limit is from 1 to 100");
    insta::assert_snapshot!(told("created_since=%2B200000-01-01T00:00:00Z").await, @"400: a time is between the years 1970 and 9999");
    desk.close().await;
}

#[tokio::test]
async fn each_sees_their_own_part_of_the_list_and_of_the_counts() {
    let desk = desk("[assignment]\nmoderators_see_all = false\n").await;
    let counted = |numbers: &[i64]| numbers.len();
    let total = async |api: &Api| api.read("/api/tickets/summary").await.with(200);
    let (ada, bea, dora) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await, desk.logs_in("Dora").await);
    let own = list(&ada, "").await;
    assert_eq!(own, selected(&desk, "requester_id = 4").await);
    assert_eq!(list(&ada, "requester=5").await, Vec::<i64>::new(), "others' are not there");
    assert_eq!(
        list(&ada, "requester=me&status=open").await,
        selected(&desk, "requester_id = 4 AND status = 'open'").await
    );
    let skill = "EXISTS (SELECT FROM ticket_skills s WHERE s.ticket_id = t.id AND s.skill_id = 1)";
    let concerns_bea = selected(&desk, &format!("assignee_id IS NULL OR assignee_id = 1 OR {skill}")).await;
    assert_eq!(list(&bea, "").await, concerns_bea);
    for (api, all) in [(&ada, own), (&bea, concerns_bea), (&dora, selected(&desk, "TRUE").await)] {
        let counts = total(api).await;
        assert_eq!(counts.pointer("/total"), Some(&json!(counted(&all))), "{counts}");
    }
    for query in ["tag=vip", "assignee=none", "deleted=true"] {
        let refused = ada.read(&format!("/api/tickets?{query}")).await;
        assert_eq!(refused.problem(), "403: your role does not allow that", "{query}");
    }
    assert_eq!(bea.read("/api/tickets?deleted=true").await.status, 403);
    assert_eq!(ada.nobody().read("/api/tickets").await.status, 401);
    let shown = ada.read("/api/tickets?limit=100").await.text();
    assert!(!shown.contains("vip") && !shown.contains("\"assignment_outcome\":\""), "{shown}");
    desk.close().await;
}

#[tokio::test]
async fn the_counts_follow_every_change_and_the_sweep_leaves_them() {
    let desk = desk("").await;
    let dora = desk.logs_in("Dora").await;
    let counts = async || dora.read("/api/tickets/summary").await.with(200);
    assert_eq!(
        counts().await,
        json!({"new": 12, "open": 12, "pending": 12, "resolved": 12, "closed": 12, "total": 60})
    );
    dora.patches("/api/tickets/1001", &json!({"status": "resolved"})).await.with(200);
    dora.deletes("/api/tickets/1002").await.with(204);
    let after = json!({"new": 11, "open": 11, "pending": 12, "resolved": 13, "closed": 12, "total": 59});
    assert_eq!(counts().await, after);
    assert_eq!(list(&dora, "deleted=true").await, [1002]);
    let mut tx = desk.db.begin().await.expect("a transaction");
    tickets::uploads::sweep(&mut tx, desk.clock.now()).await.expect("swept");
    tx.commit().await.expect("a commit");
    assert_eq!(desk.count("SELECT count(*) FROM ticket_counts").await, 5, "one row each again");
    assert_eq!(counts().await, after);
    dora.does("/api/tickets/1002/restore").await.with(200);
    assert_eq!(counts().await.pointer("/total"), Some(&json!(60)));
    assert_eq!(desk.ticket(1002).await.number, TicketId(1002));
    desk.later(TimeDelta::seconds(1)).await;
    desk.close().await;
}
