//! The stream of events: everybody sees what is theirs, nothing is missed, and it ends when it must.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use ticketd::ids::{PersonId, TicketId};
use ticketd::people::{self, Role, access};
use ticketd::tickets::actions::{self, Act};
use ticketd::tickets::{self, Channel, Priority, StaffMessage};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::desk::{Api, Desk, Plan, STAFF_PASSWORD};
use crate::harness::mail::mail;
use crate::harness::members::by_mail;
use crate::harness::wait::PATIENCE;

const ADA: &str = "Ada <ada@example.org>";
const EVE: &str = "Eve <eve@example.org>";

/// Bea and Nik are moderators, Dora is an admin; Ada has ticket #1001 (Bea's), Eve has #1002 (Nik's); the feed is read.
struct Stage {
    desk: Desk,
    stop: CancellationToken,
    _feed: JoinSet<()>,
}

async fn stage(more: &str) -> Stage {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.handles(&mail(EVE, "Router", "My router and its firewall are broken.")).await;
    for name in ["ada", "eve"] {
        let person = by_mail(&desk, &format!("{name}@example.org")).await.expect("a person").id;
        let password = people::set_password(&desk.db, person, STAFF_PASSWORD.into(), desk.clock.now());
        password.await.expect("a password");
    }
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    let (feed, db, token) = (desk.app.feed(), desk.db.clone(), stop.clone());
    running.spawn(async move { feed.run(&db, &token).await });
    Stage { desk, stop, _feed: running }
}

impl Stage {
    async fn person(&self, name: &str) -> PersonId {
        by_mail(&self.desk, &format!("{name}@example.org")).await.expect("a person").id
    }

    async fn notes(&self, ticket: i64) {
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        self.notes_in(&mut tx, ticket).await;
        tx.commit().await.expect("a commit");
    }

    async fn notes_in(&self, tx: &mut ticketd::queue::Tx, ticket: i64) {
        let ticket = tickets::lock(tx, TicketId(ticket)).await.expect("a ticket");
        let author = ticket.assignee.expect("somebody");
        let message =
            StaffMessage { author, channel: Channel::Web, text: "a remark", inbound: None, uploads: &[] };
        tickets::note(tx, &ticket, &message, self.desk.clock.now()).await.expect("a note");
    }

    async fn sets(&self, ticket: i64, priority: Priority) {
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        let ticket = tickets::lock(&mut tx, TicketId(ticket)).await.expect("a ticket");
        let by = ticket.assignee.expect("somebody");
        let act = Act { by, channel: Channel::Web, now: self.desk.clock.now() };
        actions::set_priority(&mut tx, &ticket, priority, act).await.expect("a change");
        tx.commit().await.expect("a commit");
    }

    async fn closes(self) {
        self.stop.cancel();
        self.desk.close().await;
    }
}

/// One stream, as a browser reads it.
struct Stream {
    answer: reqwest::Response,
    text: String,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    Event {
        id: Option<String>,
        name: Option<String>,
        data: Value,
    },
    /// A comment, with the id that it moves on to.
    Beat {
        id: Option<String>,
    },
    End,
}

async fn try_open(api: &Api, last: Option<&str>) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let token = api.token.as_deref().expect("a token");
    let mut request = client.get(format!("{}/api/events", api.base)).bearer_auth(token);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.expect("an answer")
}

impl Stream {
    async fn open(api: &Api, last: Option<&str>) -> Self {
        let answer = try_open(api, last).await;
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(header("cache-control").as_deref(), Some("no-cache"));
        let mut stream = Self { answer, text: String::new() };
        // It begins at once, or a proxy would wait for it.
        assert_eq!(stream.next().await, Came::Beat { id: None });
        stream
    }

    async fn next(&mut self) -> Came {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                return read(&message);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something comes");
            let Ok(Some(chunk)) = chunk else { return Came::End };
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event, whatever beats come before it, as `#ticket type`.
    async fn told(&mut self) -> String {
        let (data, _) = self.event().await;
        format!("#{} {}", data["ticket"]["number"], data["type"].as_str().unwrap_or_default())
    }

    async fn event(&mut self) -> (Value, String) {
        loop {
            match self.next().await {
                Came::Event { id, name: None, data } => return (data, id.expect("an id")),
                Came::Beat { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next thing that is no mere sign of life.
    async fn news(&mut self) -> Came {
        loop {
            match self.next().await {
                Came::Beat { .. } => {}
                other => return other,
            }
        }
    }
}

fn read(message: &str) -> Came {
    let field = |name: &str| {
        let value = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim_start().to_owned())
    };
    match field("data") {
        Some(data) => {
            let data = serde_json::from_str(&data).expect("JSON");
            Came::Event { id: field("id"), name: field("event"), data }
        }
        None => Came::Beat { id: field("id") },
    }
}

fn reset() -> Came {
    Came::Event { id: None, name: Some("reset".to_owned()), data: serde_json::json!({}) }
}

#[tokio::test]
async fn everybody_is_told_what_they_may_see() {
    let stage = stage("").await;
    let ada = stage.desk.logs_in("Ada").await;
    let dora = stage.desk.logs_in("Dora").await;
    let (mut adas, mut doras) = (Stream::open(&ada, None).await, Stream::open(&dora, None).await);
    stage.notes(1001).await;
    stage.sets(1002, Priority::Urgent).await;
    stage.sets(1001, Priority::High).await;
    assert_eq!(
        [doras.told().await, doras.told().await, doras.told().await],
        ["#1001 note", "#1002 priority", "#1001 priority"]
    );
    let (seen, id) = adas.event().await;
    assert_eq!(seen["id"].to_string(), id);
    let mut seen = seen;
    (seen["id"], seen["ticket"]["version"]) = (Value::Null, Value::Null);
    insta::assert_json_snapshot!(seen, @r#"
    {
      "actor_id": null,
      "channel": "web",
      "created_at": "2026-11-21T09:00:00Z",
      "data": {
        "to": "high"
      },
      "id": null,
      "ticket": {
        "assignee_id": 1,
        "category": "billing",
        "number": 1001,
        "priority": "high",
        "requester_id": 4,
        "skills": [
          "billing"
        ],
        "status": "open",
        "subject": "Refund",
        "version": null
      },
      "type": "priority"
    }
    "#);
    stage.closes().await;
}

#[tokio::test]
async fn a_moderator_who_does_not_see_all_is_told_of_theirs() {
    let stage = stage("[assignment]\nmoderators_see_all = false\n").await;
    let bea = stage.desk.logs_in("Bea").await;
    let mut beas = Stream::open(&bea, None).await;
    stage.notes(1002).await;
    stage.notes(1001).await;
    assert_eq!(beas.told().await, "#1001 note");
    // What nobody has is everybody's.
    let mut tx = stage.desk.db.begin().await.expect("a transaction");
    let ticket = tickets::lock(&mut tx, TicketId(1002)).await.expect("a ticket");
    let nik = stage.person("nik").await;
    let act = Act { by: nik, channel: Channel::Web, now: stage.desk.clock.now() };
    actions::release(&mut tx, &ticket, act).await.expect("a change");
    tx.commit().await.expect("a commit");
    assert_eq!(beas.told().await, "#1002 assigned");
    stage.desk.settle().await;
    stage.closes().await;
}

#[tokio::test]
async fn who_comes_again_is_told_what_happened_meanwhile() {
    let stage = stage("").await;
    let dora = stage.desk.logs_in("Dora").await;
    let mut stream = Stream::open(&dora, None).await;
    stage.notes(1001).await;
    let (_, last) = stream.event().await;
    drop(stream);
    stage.notes(1002).await;
    stage.sets(1001, Priority::Low).await;
    let mut stream = Stream::open(&dora, Some(&last)).await;
    assert_eq!([stream.told().await, stream.told().await], ["#1002 note", "#1001 priority"]);
    stage.notes(1001).await;
    assert_eq!(stream.told().await, "#1001 note", "and what happens now, once");
    stage.sets(1002, Priority::Low).await;
    assert_eq!(stream.told().await, "#1002 priority");
    // To a requester the same, of what is theirs.
    let ada = stage.desk.logs_in("Ada").await;
    let mut stream = Stream::open(&ada, Some(&last)).await;
    assert_eq!(stream.told().await, "#1001 priority");
    stage.closes().await;
}

#[tokio::test]
async fn who_comes_from_nowhere_or_from_far_away_is_told_so() {
    let stage = stage("").await;
    let dora = stage.desk.logs_in("Dora").await;
    for unknown in ["999999", "-1", "abc", "99999999999999999999999"] {
        let mut stream = Stream::open(&dora, Some(unknown)).await;
        assert_eq!(stream.news().await, reset(), "{unknown}");
    }
    let mut stream = Stream::open(&dora, None).await;
    stage.notes(1001).await;
    let (_, last) = stream.event().await;
    drop(stream);
    many(&stage, 10_000).await;
    let mut stream = Stream::open(&dora, Some(&last)).await;
    for _ in 0..10_000 {
        assert_eq!(stream.told().await, "#1001 sent_on");
    }
    drop(stream);
    many(&stage, 1).await;
    let mut stream = Stream::open(&dora, Some(&last)).await;
    while stream.news().await != reset() {}
    stage.notes(1002).await;
    assert_eq!(stream.told().await, "#1002 note", "and goes on with what happens now");
    stage.closes().await;
}

/// Many events at once.
async fn many(stage: &Stage, count: i32) {
    let insert = sqlx::query(
        "INSERT INTO ticket_events (ticket_id, at, kind, channel) SELECT 1001, now(), 'sent_on', 'web' FROM generate_series(1, $1)",
    );
    insert.bind(count).execute(&stage.desk.db).await.expect("events");
}

/// Ids are given before the commit: the smaller id may come second.
#[tokio::test]
async fn an_event_that_commits_late_is_not_missed() {
    let stage = stage("").await;
    let dora = stage.desk.logs_in("Dora").await;
    let mut stream = Stream::open(&dora, None).await;
    let mut slow = stage.desk.db.begin().await.expect("a transaction");
    stage.notes_in(&mut slow, 1001).await;
    stage.notes(1002).await;
    // Another stream, which reads from the database and not from the feed, has seen neither.
    let mut other = Stream::open(&dora, None).await;
    slow.commit().await.expect("a commit");
    let (first, second) = (stream.event().await, stream.event().await);
    let numbers = |event: &(Value, String)| (event.0["ticket"]["number"].clone(), event.1.clone());
    assert_eq!((numbers(&first).0, numbers(&second).0), (1001.into(), 1002.into()));
    assert_eq!((other.event().await.1, other.event().await.1), (first.1.clone(), second.1.clone()));
    let mut again = Stream::open(&dora, Some(&first.1)).await;
    assert_eq!(again.event().await.1, second.1);
    stage.closes().await;
}

#[tokio::test]
async fn a_stream_shows_that_it_lives_and_how_far_it_is() {
    let stage = stage("").await;
    let ada = stage.desk.logs_in("Ada").await;
    let mut stream = Stream::open(&ada, None).await;
    stage.desk.clock.advance(TimeDelta::seconds(15));
    assert_eq!(stream.next().await, Came::Beat { id: None });
    // What is none of hers moves the mark all the same.
    stage.notes(1002).await;
    let passed = stage.desk.count("SELECT max(id) FROM ticket_events").await.to_string();
    let mut beats = Vec::new();
    while beats.last() != Some(&Came::Beat { id: Some(passed.clone()) }) {
        assert!(beats.len() < 50, "{beats:?}");
        stage.desk.clock.advance(TimeDelta::seconds(15));
        beats.push(stream.next().await);
    }
    stage.sets(1001, Priority::Low).await;
    assert_eq!(Stream::open(&ada, Some(&passed)).await.told().await, "#1001 priority");
    stage.closes().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_its_token_and_the_process() {
    let stage = stage("").await;
    let (dora, bea, nik) =
        (stage.desk.logs_in("Dora").await, stage.desk.logs_in("Bea").await, stage.desk.logs_in("Nik").await);
    let mut doras = Stream::open(&dora, None).await;
    let (mut beas, mut niks) = (Stream::open(&bea, None).await, Stream::open(&nik, None).await);
    let mut tx = stage.desk.db.begin().await.expect("a transaction");
    let person = stage.person("bea").await;
    access::end_sessions(&mut tx, person, None, stage.desk.clock.now()).await.expect("the sessions");
    tx.commit().await.expect("a commit");
    stage.desk.clock.advance(TimeDelta::seconds(30));
    assert_eq!(beas.news().await, Came::End, "the session was ended");
    stage.notes(1001).await;
    assert_eq!(niks.told().await, "#1001 note", "others go on");
    assert_eq!(doras.told().await, "#1001 note");
    stage.desk.clock.advance(TimeDelta::minutes(15));
    assert_eq!(niks.news().await, Came::End, "the token expired");
    assert_eq!(doras.news().await, Came::End);
    let dora = stage.desk.logs_in("Dora").await;
    let mut last = Stream::open(&dora, None).await;
    stage.stop.cancel();
    assert_eq!(last.news().await, Came::End, "the process stops");
    stage.closes().await;
}

#[tokio::test]
async fn a_person_has_five_streams_at_most() {
    let stage = stage("").await;
    let (dora, bea) = (stage.desk.logs_in("Dora").await, stage.desk.logs_in("Bea").await);
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::open(&dora, None).await);
    }
    let refused = try_open(&dora, None).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "30");
    Stream::open(&bea, None).await;
    streams.pop();
    // The server sees that it was left when it next writes.
    let came_back = async {
        loop {
            stage.desk.clock.advance(TimeDelta::seconds(15));
            let answer = try_open(&dora, None).await;
            if answer.status() == 200 {
                return;
            }
            for stream in &mut streams {
                stream.next().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), came_back).await.expect("a place is free again");
    drop(streams);
    stage.closes().await;
}

/// A reader that cannot keep up gets everything all the same, at its own pace.
#[tokio::test]
async fn a_slow_reader_misses_nothing() {
    let stage = stage("").await;
    let long = sqlx::query("UPDATE tickets SET subject = repeat('x', 2000) WHERE id = 1001");
    long.execute(&stage.desk.db).await.expect("a subject");
    let dora = stage.desk.logs_in("Dora").await;
    let mut slow = Stream::open(&dora, None).await;
    let mut quick = Stream::open(&dora, None).await;
    // About 20 MB, more than all buffers on the way hold, and more events than the feed keeps.
    many(&stage, 9_000).await;
    let mut ids = Vec::new();
    for _ in 0..9_000 {
        ids.push(quick.event().await.1);
    }
    let mut late = Vec::new();
    for _ in 0..9_000 {
        late.push(slow.event().await.1);
    }
    assert_eq!(ids, late);
    stage.closes().await;
}

#[tokio::test]
async fn a_restored_history_is_not_told_again() {
    let stage = stage("").await;
    // As after a restore: these transactions were counted by another server, which had counted further.
    let restored = sqlx::query("UPDATE ticket_events SET xid = ((xid::TEXT)::BIGINT + 1000000)::TEXT::XID8");
    restored.execute(&stage.desk.db).await.expect("a history");
    let last = stage.desk.count("SELECT min(id) FROM ticket_events").await.to_string();
    let events = stage.desk.count("SELECT count(*) FROM ticket_events").await;
    ticketd::tickets::feed::adopt_restored(&stage.desk.db).await.expect("the history");
    let dora = stage.desk.logs_in("Dora").await;
    let mut stream = Stream::open(&dora, None).await;
    stage.notes(1001).await;
    assert_eq!(stream.told().await, "#1001 note", "only what is new");
    let mut all = Stream::open(&dora, Some(&last)).await;
    let mut ids = Vec::new();
    for _ in 0..events {
        ids.push(all.event().await.1.parse::<i64>().expect("a number"));
    }
    assert!(ids.is_sorted(), "{ids:?}");
    stage.closes().await;
}
