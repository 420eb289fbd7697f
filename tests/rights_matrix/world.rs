//! A desk with everybody on it, and fresh things for every request, so that what one does leaves the next untouched.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ticketd::ids::PersonId;
use ticketd::people::{self, Role, access};
use ticketd::web::auth::AccessTokens;

use super::json_or_text;
use super::rows::Row;
use crate::harness::desk::{Desk, Plan, STAFF_PASSWORD};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Nobody,
    /// A user who has nothing to do with the ticket.
    Other,
    /// The ticket's requester.
    Owner,
    /// A moderator who neither has the ticket nor a skill of it, where moderators see only what concerns them.
    Unrelated,
    Assignee,
    Admin,
}

impl Actor {
    pub const ALL: [Self; 6] =
        [Self::Nobody, Self::Other, Self::Owner, Self::Unrelated, Self::Assignee, Self::Admin];
}

pub struct World {
    pub desk: Desk,
    pub document: Value,
    pub ada: PersonId,
    pub eve: PersonId,
    pub bea: PersonId,
    pub dora: PersonId,
    base: String,
    people: BTreeMap<Actor, PersonId>,
    tokens: BTreeMap<Actor, String>,
    client: reqwest::Client,
}

impl World {
    pub async fn build() -> Self {
        let more = "[assignment]\nmoderators_see_all = false\ncap_default = 10000\n[limits]\nrequests_per_address = 0\n\
                    log_ins_per_address = 0\nletters_per_address = 0\ntickets_per_person = 0\nlog_ins_per_account = 0\n\
                    [webhooks]\nallowed_networks = [\"127.0.0.0/8\"]\n";
        let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
        desk.knows_skills().await;
        let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
        let nik = desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
        let dora = desk.hires("Dora", Role::Admin, &[]).await;
        let base = desk.logs_in("Dora").await.base;
        let mut world = Self {
            document: serde_json::to_value(ticketd::web::document()).expect("JSON"),
            ada: PersonId(0),
            eve: PersonId(0),
            bea,
            dora,
            base,
            people: BTreeMap::new(),
            tokens: BTreeMap::new(),
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            desk,
        };
        world.ada = world.person("Ada").await;
        world.eve = world.person("Eve").await;
        world.people = BTreeMap::from([
            (Actor::Other, world.eve),
            (Actor::Owner, world.ada),
            (Actor::Unrelated, nik),
            (Actor::Assignee, bea),
            (Actor::Admin, dora),
        ]);
        for actor in Actor::ALL {
            if let Some(token) = world.fresh_token(actor).await {
                world.tokens.insert(actor, token);
            }
        }
        world
    }

    pub fn token(&self, actor: Actor) -> Option<&str> {
        self.tokens.get(&actor).map(String::as_str)
    }

    /// A log-in of their own, for what ends it.
    pub async fn fresh_token(&self, actor: Actor) -> Option<String> {
        let person = *self.people.get(&actor)?;
        let session = self.session(person, self.desk.clock.now() + TimeDelta::days(1)).await;
        Some(self.issue(person, session).await)
    }

    /// Somebody with a verified address, as after a sign-up.
    pub async fn person(&self, name: &str) -> PersonId {
        let now = self.desk.clock.now();
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        let address = format!("{}@example.net", name.to_lowercase());
        let person = people::by_address(&mut tx, &address, name, now).await.expect("a person");
        sqlx::query("UPDATE identities SET verified_at = $2 WHERE person_id = $1")
            .bind(person)
            .bind(now)
            .execute(&mut *tx)
            .await
            .expect("verified");
        tx.commit().await.expect("a commit");
        people::set_password(&self.desk.db, person, STAFF_PASSWORD.into(), now).await.expect("a password");
        person
    }

    pub async fn session(&self, person: PersonId, ends: DateTime<Utc>) -> i64 {
        let now = self.desk.clock.now();
        let mut tx = self.desk.db.begin().await.expect("a transaction");
        let session = access::begin_session(&mut tx, person, "totp", "test", ends, now).await;
        tx.commit().await.expect("a commit");
        session.expect("a session")
    }

    async fn issue(&self, person: PersonId, session: i64) -> String {
        let now = self.desk.clock.now();
        let masters = people::signing_keys(&self.desk.db, now).await.expect("keys");
        AccessTokens::new(&masters, 15).issue(person, session, now).expect("a token")
    }

    /// A token of the admin with every scope but this one.
    pub async fn api_token(&self, but: Option<&str>) -> String {
        let all = ticketd::web::rights::Scope::ALL.map(ticketd::web::rights::Scope::as_str);
        let scopes: Vec<&str> = all.into_iter().filter(|scope| Some(*scope) != but).collect();
        self.api_token_of(&scopes).await
    }

    pub async fn api_token_of(&self, scopes: &[&str]) -> String {
        let now = self.desk.clock.now();
        let token = format!("tdk_{}", self.fresh("token").await);
        sqlx::query(
            "INSERT INTO api_tokens (person_id, name, token_hash, hint, scopes, created_at, expires_at)
             VALUES ($1, 'test', $2, 'test', $3, $4, $5)",
        )
        .bind(self.dora)
        .bind(Sha256::digest(token.as_bytes()).to_vec())
        .bind(scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
        .bind(now)
        .bind(now + TimeDelta::days(1))
        .execute(&self.desk.db)
        .await
        .expect("a token");
        token
    }

    /// A name that nothing else has.
    pub async fn fresh(&self, kind: &str) -> String {
        let n: i64 = sqlx::query_scalar("SELECT nextval(pg_get_serial_sequence('api_tokens', 'id'))")
            .fetch_one(&self.desk.db)
            .await
            .expect("a number");
        format!("{kind}-{n}")
    }

    /// A ticket of Ada's that Bea has, with a note, an answer and a file; what it requires only Bea can.
    pub async fn ticket(&self) -> i64 {
        sqlx::query_scalar(
            "WITH t AS (
               INSERT INTO tickets (subject, status, channel, mailbox, requester_id, assignee_id, assignment_outcome, created_at,
                                    updated_at)
               VALUES ('Refund', 'open', 'email', 'support', $1, $2, 'matched', $3, $3) RETURNING id
             ), p AS (
               INSERT INTO participants (ticket_id, person_id, part, address, joined_at)
               SELECT id, $1, 'requester', 'ada@example.net', $3 FROM t
             ), m AS (
               INSERT INTO messages (ticket_id, kind, channel, author_id, body, visible, created_at)
               SELECT id, k.kind, 'email', k.author, 'Said.', 'Said.', $3
               FROM t, (VALUES ('inbound', $1), ('note', $2)) AS k (kind, author) RETURNING id, kind
             ), b AS (
               INSERT INTO blobs (sha256, content) VALUES (sha256('file'), 'file') ON CONFLICT DO NOTHING
             ), a AS (
               INSERT INTO attachments (message_id, filename, content_type, size, sha256)
               SELECT id, 'file.txt', 'text/plain', 4, sha256('file') FROM m WHERE kind = 'inbound'
             ), s AS (
               INSERT INTO ticket_skills (ticket_id, skill_id)
               SELECT t.id, k.id FROM t, skills k WHERE k.slug = 'billing'
             ), r AS (
               INSERT INTO triages (ticket_id, at, engine, model, prompt_version, category, notes, suggested_reply, confidence, took_ms)
               SELECT id, $3, 'offline', 'offline', '1', 'billing', 'Angry.', 'Dear Ada', 0.5, 1 FROM t
             ), c AS (
               INSERT INTO assignments (ticket_id, at, outcome, assignee_id, reason) SELECT id, $3, 'matched', $2, 'Bea fits' FROM t
             )
             SELECT id FROM t",
        )
        .bind(self.ada)
        .bind(self.bea)
        .bind(self.desk.clock.now())
        .fetch_one(&self.desk.db)
        .await
        .expect("a ticket")
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.desk.db).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The answer to one request.
    pub async fn ask(&self, row: &Row, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = self.client.request(row.method(), format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = row.body {
            let body = self.write(body).await;
            request = request.header("content-type", row.media_type()).body(body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        if row.streams {
            // It does not end by itself.
            return (status, json!(null));
        }
        (status, json_or_text(answer.text().await.expect("a body")))
    }

    /// A JSON body by somebody, outside the table.
    pub async fn post(&self, path: &str, body: &Value, actor: Actor) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let answer =
            request.bearer_auth(self.token(actor).unwrap_or_default()).send().await.expect("an answer");
        (answer.status().as_u16(), json_or_text(answer.text().await.expect("a body")))
    }

    pub async fn get(&self, path: &str, actor: Actor) -> Value {
        let request = self.client.get(format!("{}{path}", self.base));
        let answer =
            request.bearer_auth(self.token(actor).unwrap_or_default()).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        json_or_text(answer.text().await.expect("a body"))
    }

    /// What follows from hundreds of requests is not the point here.
    pub async fn close(self) {
        sqlx::query("DELETE FROM jobs").execute(&self.desk.db).await.expect("an empty queue");
        self.desk.close().await;
    }
}
