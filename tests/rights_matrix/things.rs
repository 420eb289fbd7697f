//! What stands for `{…}` in a path and for `$…` in a body: things that are made fresh for every request.

use serde_json::json;
use ticketd::ids::TicketId;

use super::rows::Row;
use super::world::{Actor, World};

impl World {
    /// The path of an operation, with fresh things in place of its parameters.
    pub async fn fill(&self, row: &Row) -> String {
        let path = row.operation.split(' ').nth(1).expect("a path").to_owned();
        let path = self.fill_ticket(row.operation, path).await;
        let path = self.fill_person(row.operation, path).await;
        let path = self.fill_catalogue(row.operation, path).await;
        let path = self.fill_rest(path).await;
        assert!(!path.contains('{'), "{path}: nothing stands for its parameters");
        path
    }

    async fn fill_ticket(&self, operation: &str, path: String) -> String {
        if path.contains("{token}") {
            let ticket = self.ticket().await;
            self.runs("UPDATE tickets SET status = 'resolved', resolved_at = now() WHERE id = $1", ticket)
                .await;
            return path.replace("{token}", &self.desk.app.signer.rating(TicketId(ticket), self.ada));
        }
        if !path.contains("{number}") {
            return path;
        }
        let number = self.ticket().await;
        let mut path = path.replace("{number}", &number.to_string());
        let (_, action) = operation.split_once("{number}").expect("a number");
        match action {
            "/claim" => {
                self.runs("UPDATE tickets SET assignee_id = NULL, status = 'new' WHERE id = $1", number)
                    .await;
            }
            "/restore" => self.runs("UPDATE tickets SET deleted_at = now() WHERE id = $1", number).await,
            "/reopen" => {
                self.runs(
                    "UPDATE tickets SET status = 'resolved', resolved_at = now() WHERE id = $1",
                    number,
                )
                .await;
            }
            "/messages/{id}" => {
                let message = self.says(number).await;
                path = path.replace("{id}", &message.to_string());
            }
            "/attachments/{id}" => {
                path =
                    path.replace("{id}", &self.number("SELECT max(id) FROM attachments").await.to_string());
            }
            "/participants/{person}" => {
                let join = "INSERT INTO participants (ticket_id, person_id, part, address, joined_at)
                            SELECT $1, person_id, 'cc', address, now() FROM identities WHERE address = 'eve@example.net'";
                self.runs(join, number).await;
                path = path.replace("{person}", &self.eve.to_string());
            }
            _ => {}
        }
        path
    }

    /// An answer that has not left yet.
    async fn says(&self, number: i64) -> i64 {
        let path = format!("/api/tickets/{number}/messages");
        let body = json!({"body": "Done."});
        let (status, answer) = self.post(&path, &body, Actor::Admin).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_i64().expect("an id")
    }

    async fn fill_person(&self, operation: &str, mut path: String) -> String {
        if !path.starts_with("/api/admin/people/{id}") {
            return path;
        }
        let person = self.number("INSERT INTO persons (name, granted_role, created_at) VALUES ('Gil', 'moderator', now()) RETURNING id").await;
        path = path.replace("{id}", &person.to_string());
        if path.contains("/skills/{slug}") {
            let sql = if operation.ends_with("/confirm") {
                "INSERT INTO person_skills (person_id, skill_id, level, confirmed) SELECT $1, id, 3, FALSE FROM skills WHERE slug = 'billing'"
            } else {
                "INSERT INTO person_skills (person_id, skill_id, level) SELECT $1, id, 3 FROM skills WHERE slug = 'billing'"
            };
            self.runs(sql, person).await;
            path = path.replace("{slug}", "billing");
        }
        if path.contains("{period}") {
            let sql = "INSERT INTO away_periods (person_id, from_at, until_at, created_at)
                       VALUES ($1, now(), now() + interval '1 day', now())";
            self.runs(sql, person).await;
            path =
                path.replace("{period}", &self.number("SELECT max(id) FROM away_periods").await.to_string());
        }
        if path.ends_with("/hours") {
            let sql =
                "INSERT INTO working_hours (person_id, time_zone, updated_at) VALUES ($1, 'UTC', now())";
            self.runs(sql, person).await;
        }
        path
    }

    async fn fill_catalogue(&self, operation: &str, path: String) -> String {
        let name = self.fresh("thing").await;
        if path == "/api/admin/skills/{slug}" {
            self.runs_with("INSERT INTO skills (slug, name, created_at) VALUES ($1, $1, now())", &name).await;
            return path.replace("{slug}", &name);
        }
        if path == "/api/admin/snippets/{name}" {
            self.runs_with(
                "INSERT INTO snippets (name, body, updated_at) VALUES ($1, 'Hello', now())",
                &name,
            )
            .await;
            return path.replace("{name}", &name);
        }
        if operation.contains("/mailboxes/") {
            return path.replace("{name}", "support");
        }
        if operation.contains("/reports/") {
            return path.replace("{name}", "tickets");
        }
        path.replace("{key}", "assignment.cap_default")
    }

    async fn fill_rest(&self, path: String) -> String {
        let sql = match path.as_str() {
            "/api/admin/tokens/{id}" => {
                self.api_token_of(&[]).await;
                "SELECT max(id) FROM api_tokens"
            }
            p if p.starts_with("/api/admin/jobs/{id}") => {
                "INSERT INTO jobs (kind, subject, attempt, run_at, created_at, failed_at, last_error)
                 SELECT 'reassign', 900000 + count(*), 3, now(), now(), now(), 'it broke' FROM jobs RETURNING id"
            }
            p if p.starts_with("/api/admin/deliveries/{id}") => {
                let ticket = self.ticket().await;
                let sql = "INSERT INTO deliveries (ticket_id, kind, channel, recipient_id, address, state, created_at)
                           SELECT $1, 'acknowledgement', 'email', requester_id, 'ada@example.net', $2, now()
                           FROM tickets WHERE id = $1";
                let state = if p.ends_with("/cancel") { "waiting" } else { "failed" };
                sqlx::query(sql).bind(ticket).bind(state).execute(&self.desk.db).await.expect("a delivery");
                "SELECT max(id) FROM deliveries"
            }
            "/api/admin/loop-breakers/{id}" => {
                let name = self.fresh("bucket").await;
                let sql = "INSERT INTO loop_buckets (scope, subject, tokens, filled_at, tripped_at)
                           VALUES ('address', $1, 0, now(), now())";
                self.runs_with(sql, &name).await;
                "SELECT max(id) FROM loop_buckets"
            }
            p if p.starts_with("/api/admin/ledger/{id}") => {
                let name = self.fresh("mail").await;
                self.runs_with("INSERT INTO raw_mails (sha256, content) VALUES (sha256($1::BYTEA), $1::BYTEA)", &name).await;
                let sql = "INSERT INTO inbound (source, mailbox, name, raw_sha256, received_at, handled_at, fate, reason)
                           VALUES ('pipe', 'support', $1, sha256($1::BYTEA), now(), now(), 'quarantined', 'unreadable')";
                self.runs_with(sql, &name).await;
                "SELECT max(id) FROM inbound"
            }
            p if p.starts_with("/api/admin/webhooks/deliveries/{id}") => {
                "WITH w AS (INSERT INTO webhooks (name, url, secret, created_at, updated_at)
                            VALUES ('w', 'https://127.0.0.1:9/', 'whsec_AAAA', now(), now()) RETURNING id)
                 INSERT INTO webhook_deliveries (webhook_id, state, since, created_at)
                 SELECT id, 'failed', now(), now() FROM w RETURNING id"
            }
            p if p.starts_with("/api/admin/webhooks/{id}") => {
                "INSERT INTO webhooks (name, url, secret, created_at, updated_at)
                 VALUES ('w', 'https://127.0.0.1:9/', 'whsec_AAAA', now(), now()) RETURNING id"
            }
            _ => return path.replace("{id}", "999999"),
        };
        path.replace("{id}", &self.number(sql).await.to_string())
    }

    /// A body with fresh things in place of `$…`.
    pub async fn write(&self, template: &str) -> String {
        let mut body = template.replace("$DORA", &self.dora.to_string());
        if body.contains("$NAME") {
            body = body.replace("$NAME", &self.fresh("name").await);
        }
        if body.contains("$MESSAGE") {
            let newest = self.number("SELECT max(id) FROM messages WHERE kind = 'inbound'").await;
            body = body.replace("$MESSAGE", &newest.to_string());
        }
        if body.contains("$TICKET") {
            body = body.replace("$TICKET", &self.ticket().await.to_string());
        }
        body
    }

    async fn runs(&self, sql: &'static str, id: i64) {
        sqlx::query(sql).bind(id).execute(&self.desk.db).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    async fn runs_with(&self, sql: &'static str, text: &str) {
        sqlx::query(sql).bind(text).execute(&self.desk.db).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}
