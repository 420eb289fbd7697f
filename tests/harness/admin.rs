//! What admins do, and what the audit log says of it.

use serde_json::Value;
use sqlx::Row;
use ticketd::audit::{self, Actor, Filter};
use ticketd::ids::PersonId;
use ticketd::people::Role;
use ticketd::queue::{self, Tx};

use super::desk::{Api, Desk};

/// A person at the web server.
pub fn by(person: PersonId) -> Actor {
    Actor { person: Some(person), token: None, channel: "web" }
}

/// Status and reason of an answer.
pub fn said((status, body): (u16, Value)) -> String {
    format!("{status}: {}", body.pointer("/detail").and_then(Value::as_str).unwrap_or_default())
}

impl Desk {
    /// The usual catalogue, and Dora, an admin who is logged in.
    pub async fn with_admin() -> (Self, Api) {
        let desk = Self::open().await;
        desk.knows_skills().await;
        desk.hires("Dora", Role::Admin, &[]).await;
        let api = desk.logs_in("Dora").await;
        (desk, api)
    }

    /// Enters due jobs of a kind, about whatever there is under these numbers.
    pub async fn enqueues(&self, kind: &'static queue::Kind, subjects: &[i64]) {
        let now = self.clock.now();
        let jobs: Vec<_> = subjects.iter().map(|subject| (kind, *subject, now)).collect();
        self.commits(async |tx| queue::enqueue_all(tx, &jobs, now).await).await.expect("jobs");
    }

    /// Does it in one transaction, which is committed where it succeeds.
    pub async fn commits<T, E>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>) -> Result<T, E> {
        let mut tx = self.db.begin().await.expect("a transaction");
        let done = work(&mut tx).await?;
        tx.commit().await.expect("a commit");
        Ok(done)
    }

    /// The audit log, oldest first: who, what, to what, and the details.
    pub async fn audited(&self) -> Vec<String> {
        let entries = audit::list(&self.db, &Filter::default(), 1000).await.expect("the log");
        let line = |e: audit::Entry| {
            let actor = e.actor_name.unwrap_or_else(|| "-".to_owned());
            format!("{actor} {} {} {}", e.action, e.subject, e.data)
        };
        entries.into_iter().rev().map(line).collect()
    }

    /// Why a ticket was given to whom it was given last.
    pub async fn reason(&self, ticket: i64) -> String {
        let row = sqlx::query(
            "SELECT outcome || ': ' || reason FROM assignments WHERE ticket_id = $1 ORDER BY id DESC LIMIT 1",
        );
        row.bind(ticket).fetch_one(&self.db).await.expect("an assignment").get(0)
    }

    /// Who has a ticket.
    pub async fn assignee(&self, ticket: i64) -> Option<String> {
        self.ticket(ticket).await.assignee_name
    }
}

/// The texts below these keys of a list, in one line each.
pub fn columns(list: &Value, keys: &[&str]) -> Vec<String> {
    let shown = |row: &Value, key: &str| match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| keys.iter().map(|key| shown(row, key)).collect::<Vec<_>>().join(" ")).collect()
}
