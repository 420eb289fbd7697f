//! What is expected of every operation: whom it is for, what is sent, and what who is allowed gets.
//!
//! In paths and bodies `{…}` and `$…` stand for things that are made fresh for every request: see `things.rs`.

/// Whom an operation is for (semantics: People and rights).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Anyone,
    LoggedIn,
    Staff,
    Admin,
    /// A ticket, by whoever sees it: its requester, and staff whom it concerns.
    TicketOfRequester,
    /// A ticket, by staff whom it concerns.
    TicketForStaff,
    /// A ticket, by admins.
    TicketForAdmin,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `METHOD /path`, as the document has it.
    pub operation: &'static str,
    pub rule: Rule,
    /// The status for who is allowed.
    pub success: u16,
    pub body: Option<&'static str>,
    /// Does not end by itself.
    pub streams: bool,
}

const fn row(operation: &'static str, rule: Rule, success: u16, body: &'static str) -> Row {
    let body = if body.is_empty() { None } else { Some(body) };
    Row { operation, rule, success, body, streams: false }
}

impl Row {
    pub fn media_type(&self) -> &'static str {
        match self.operation {
            "POST /api/uploads" => "application/octet-stream",
            "POST /rate/{token}" | "POST /account/confirm" | "POST /account/reset" | "POST /account/link" => {
                "application/x-www-form-urlencoded"
            }
            _ => "application/json",
        }
    }
}

/// The table.
pub fn all() -> Vec<Row> {
    let mut rows = about();
    rows.extend(accounts());
    rows.extend(tickets());
    rows.extend(admin());
    rows
}

fn about() -> Vec<Row> {
    use Rule::Anyone;
    vec![
        row("GET /", Anyone, 200, ""),
        row("GET /healthz", Anyone, 200, ""),
        // Nobody reads this desk's mailbox all the time, so it is not ready.
        row("GET /readyz", Anyone, 503, ""),
        // The recorder belongs to the daemon, not to a desk of the tests.
        row("GET /metrics", Anyone, 404, ""),
        row("GET /api/openapi.json", Anyone, 200, ""),
    ]
}

/// What is sent here is well-formed; where it cannot be done (a token that was not mailed), the answer is the one for that.
fn accounts() -> Vec<Row> {
    use Rule::{Anyone, LoggedIn, Staff};
    const LOG_IN: &str = r#"{"email": "nobody@example.net", "password": "correct horse battery"}"#;
    const SIGN_UP: &str =
        r#"{"email": "$NAME@example.net", "name": "Gil", "password": "correct horse battery"}"#;
    const LETTER: &str = r#"{"token": "tdl_1.AAAAAAAAAAAAAAAAAAAAAA", "password": "correct horse battery"}"#;
    const PASSWORDS: &str = r#"{"current": "not my password", "new": "another horse battery"}"#;
    const PROOF: &str = r#"{"password": "not my password", "code": "000000"}"#;
    const TOKEN: &str = r#"{"name": "$NAME", "scopes": ["tickets:read"]}"#;
    vec![
        row("POST /api/auth/login", Anyone, 401, LOG_IN),
        row("POST /api/auth/refresh", Anyone, 401, r#"{"refresh_token": "tdr_none"}"#),
        row("POST /api/auth/logout", Anyone, 204, r#"{"refresh_token": "tdr_none"}"#),
        row("POST /api/auth/signup", Anyone, 202, SIGN_UP),
        row("POST /api/auth/signup/confirm", Anyone, 400, LETTER),
        row("POST /api/auth/password/reset", Anyone, 202, r#"{"email": "$NAME@example.net"}"#),
        row("POST /api/auth/password/reset/confirm", Anyone, 400, LETTER),
        // No provider is configured here: see tests/oidc.rs.
        row("GET /api/auth/oidc/start", Anyone, 404, ""),
        row("GET /api/auth/oidc/callback", Anyone, 404, ""),
        row("POST /api/auth/oidc/link", Anyone, 400, LETTER),
        row("GET /api/auth/me", LoggedIn, 200, ""),
        row("PATCH /api/auth/me", LoggedIn, 200, r#"{"name": "$NAME"}"#),
        row("PUT /api/auth/me/password", LoggedIn, 400, PASSWORDS),
        row("GET /api/auth/me/skills", Staff, 200, ""),
        row("PUT /api/auth/me/skills", Staff, 200, r#"{"skills": [{"slug": "billing", "level": 5}]}"#),
        row("GET /api/auth/me/sessions", LoggedIn, 200, ""),
        row("DELETE /api/auth/me/sessions", LoggedIn, 200, ""),
        row("DELETE /api/auth/me/sessions/{id}", LoggedIn, 404, ""),
        row("GET /api/auth/me/tokens", LoggedIn, 200, ""),
        row("POST /api/auth/me/tokens", LoggedIn, 201, TOKEN),
        row("DELETE /api/auth/me/tokens/{id}", LoggedIn, 404, ""),
        row("GET /api/auth/me/second-factor", LoggedIn, 200, ""),
        row("POST /api/auth/me/second-factor", LoggedIn, 201, r#"{"password": "correct horse battery"}"#),
        row("POST /api/auth/me/second-factor/confirm", LoggedIn, 400, r#"{"code": "000000"}"#),
        row("POST /api/auth/me/second-factor/disable", LoggedIn, 400, PROOF),
        row("POST /api/auth/me/second-factor/recovery-codes", LoggedIn, 400, PROOF),
    ]
}

fn tickets() -> Vec<Row> {
    use Rule::{Anyone, LoggedIn, Staff, TicketForAdmin, TicketForStaff, TicketOfRequester};
    const OPEN: &str = r#"{"subject": "Refund", "body": "I want a refund of my invoice."}"#;
    const SAY: &str = r#"{"body": "And another thing."}"#;
    const GIVE: &str = r#"{"assignee_id": $DORA, "force": true}"#;
    let mut rows = vec![
        row("GET /api/tickets", LoggedIn, 200, ""),
        row("POST /api/tickets", LoggedIn, 201, OPEN),
        row("GET /api/tickets/summary", LoggedIn, 200, ""),
        row("GET /api/tickets/{number}", TicketOfRequester, 200, ""),
        row("PATCH /api/tickets/{number}", TicketForStaff, 200, r#"{"priority": "high"}"#),
        row("DELETE /api/tickets/{number}", TicketForAdmin, 204, ""),
        row("POST /api/tickets/{number}/restore", TicketForAdmin, 200, ""),
        row("GET /api/tickets/{number}/messages", TicketOfRequester, 200, ""),
        row("POST /api/tickets/{number}/messages", TicketOfRequester, 201, SAY),
        row("DELETE /api/tickets/{number}/messages/{id}", TicketForStaff, 204, ""),
        row("GET /api/tickets/{number}/events", TicketForStaff, 200, ""),
        row("GET /api/tickets/{number}/attachments/{id}", TicketOfRequester, 200, ""),
        row("GET /api/tickets/{number}/transcript", TicketOfRequester, 200, ""),
        row("GET /api/tickets/{number}/assignment", TicketForStaff, 200, ""),
        row("PUT /api/tickets/{number}/assignment", TicketForStaff, 200, GIVE),
        // It is prepared so that nobody has it, and then every moderator sees it.
        row("POST /api/tickets/{number}/claim", Staff, 200, ""),
        row("POST /api/tickets/{number}/release", TicketForStaff, 200, ""),
        row("GET /api/tickets/{number}/triage", TicketForStaff, 200, ""),
        row("POST /api/tickets/{number}/triage", TicketForStaff, 202, ""),
        row("PATCH /api/tickets/{number}/triage", TicketForStaff, 200, r#"{"category": "bug"}"#),
        row("POST /api/tickets/{number}/merge", TicketForStaff, 200, r#"{"into": $TICKET}"#),
        row("POST /api/tickets/{number}/split", TicketForStaff, 201, r#"{"message_id": $MESSAGE}"#),
        row("GET /api/tickets/{number}/participants", TicketForStaff, 200, ""),
        row(
            "POST /api/tickets/{number}/participants",
            TicketForStaff,
            201,
            r#"{"email": "$NAME@example.net"}"#,
        ),
        row("DELETE /api/tickets/{number}/participants/{person}", TicketForStaff, 204, ""),
        row("GET /api/tickets/{number}/followers", TicketForStaff, 200, ""),
        row("PUT /api/tickets/{number}/followers/me", TicketForStaff, 204, ""),
        row("DELETE /api/tickets/{number}/followers/me", TicketForStaff, 204, ""),
        row("POST /api/tickets/{number}/close", TicketOfRequester, 200, ""),
        row("POST /api/tickets/{number}/reopen", TicketOfRequester, 200, ""),
        row("POST /api/uploads", LoggedIn, 201, "a file"),
        row("GET /rate/{token}", Anyone, 200, ""),
        row("POST /rate/{token}", Anyone, 200, "score=5&comment=Good"),
        row("POST /api/csat/{token}", Anyone, 200, r#"{"score": 5}"#),
    ];
    let mut events = row("GET /api/events", LoggedIn, 200, "");
    events.streams = true;
    rows.push(events);
    rows
}

fn admin() -> Vec<Row> {
    let mut rows = people();
    rows.extend(catalogue());
    rows.extend(operation());
    rows
}

fn people() -> Vec<Row> {
    use Rule::Admin;
    const PERSON: &str = r#"{"name": "Gil", "email": "$NAME@example.net", "role": "user"}"#;
    const PERIOD: &str = r#"{"from": "2026-12-01T00:00:00Z", "until": "2026-12-08T00:00:00Z"}"#;
    const HOURS: &str = r#"{"time_zone": "Europe/Berlin", "intervals": [{"weekday": "monday", "from": "09:00", "until": "17:00"}]}"#;
    vec![
        row("GET /api/admin/people", Admin, 200, ""),
        row("POST /api/admin/people", Admin, 201, PERSON),
        row("GET /api/admin/people/{id}", Admin, 200, ""),
        row("PATCH /api/admin/people/{id}", Admin, 200, r#"{"away": true}"#),
        row("DELETE /api/admin/people/{id}", Admin, 204, ""),
        row("DELETE /api/admin/people/{id}/sessions", Admin, 200, ""),
        row("DELETE /api/admin/people/{id}/second-factor", Admin, 409, ""),
        row("GET /api/admin/people/{id}/skills", Admin, 200, ""),
        row(
            "PUT /api/admin/people/{id}/skills",
            Admin,
            200,
            r#"{"skills": [{"slug": "billing", "level": 3}]}"#,
        ),
        row("PUT /api/admin/people/{id}/skills/{slug}", Admin, 200, r#"{"level": 3}"#),
        row("DELETE /api/admin/people/{id}/skills/{slug}", Admin, 204, ""),
        row("POST /api/admin/people/{id}/skills/{slug}/confirm", Admin, 200, ""),
        row("GET /api/admin/people/{id}/away", Admin, 200, ""),
        row("POST /api/admin/people/{id}/away", Admin, 201, PERIOD),
        row("DELETE /api/admin/people/{id}/away/{period}", Admin, 204, ""),
        row("GET /api/admin/people/{id}/hours", Admin, 200, ""),
        row("PUT /api/admin/people/{id}/hours", Admin, 200, HOURS),
        row("DELETE /api/admin/people/{id}/hours", Admin, 204, ""),
        row("GET /api/admin/tokens", Admin, 200, ""),
        row("POST /api/admin/tokens", Admin, 201, r#"{"name": "$NAME", "scopes": ["tickets:read"]}"#),
        row("DELETE /api/admin/tokens/{id}", Admin, 204, ""),
    ]
}

fn catalogue() -> Vec<Row> {
    use Rule::{Admin, Staff};
    vec![
        row("GET /api/admin/proposals", Admin, 200, ""),
        row("GET /api/admin/skills", Admin, 200, ""),
        row("POST /api/admin/skills", Admin, 201, r#"{"slug": "$NAME", "name": "Skill $NAME"}"#),
        row("GET /api/admin/skills/{slug}", Admin, 200, ""),
        row("PATCH /api/admin/skills/{slug}", Admin, 200, r#"{"description": "What it is about"}"#),
        row("DELETE /api/admin/skills/{slug}", Admin, 204, ""),
        row("GET /api/admin/snippets", Staff, 200, ""),
        row("GET /api/admin/snippets/{name}", Staff, 200, ""),
        row("PUT /api/admin/snippets/{name}", Admin, 200, r#"{"body": "Hello"}"#),
        row("DELETE /api/admin/snippets/{name}", Admin, 204, ""),
        row("GET /api/admin/settings", Admin, 200, ""),
        row("GET /api/admin/settings/{key}", Admin, 200, ""),
        row("PUT /api/admin/settings/{key}", Admin, 200, r#"{"value": 9}"#),
        row("DELETE /api/admin/settings/{key}", Admin, 200, ""),
    ]
}

fn operation() -> Vec<Row> {
    use Rule::Admin;
    const WEBHOOK: &str = r#"{"name": "$NAME", "url": "https://127.0.0.1:9/in"}"#;
    vec![
        row("GET /api/admin/dashboard", Admin, 200, ""),
        row("GET /api/admin/mailboxes", Admin, 200, ""),
        row("POST /api/admin/mailboxes/{name}/retry", Admin, 204, ""),
        row("GET /api/admin/alarms", Admin, 200, ""),
        row("GET /api/admin/jobs", Admin, 200, ""),
        row("POST /api/admin/jobs/retry", Admin, 200, r#"{"kind": "deliver"}"#),
        row("POST /api/admin/jobs/cancel", Admin, 200, r#"{"kind": "sweep"}"#),
        row("GET /api/admin/jobs/{id}", Admin, 200, ""),
        row("POST /api/admin/jobs/{id}/retry", Admin, 204, ""),
        row("POST /api/admin/jobs/{id}/cancel", Admin, 204, ""),
        row("GET /api/admin/deliveries", Admin, 200, ""),
        row("POST /api/admin/deliveries/retry", Admin, 200, r#"{"ids": [999999]}"#),
        row("POST /api/admin/deliveries/cancel", Admin, 200, r#"{"state": "failed"}"#),
        row("GET /api/admin/deliveries/{id}", Admin, 200, ""),
        row("POST /api/admin/deliveries/{id}/retry", Admin, 204, ""),
        row("POST /api/admin/deliveries/{id}/cancel", Admin, 204, ""),
        row("GET /api/admin/loop-breakers", Admin, 200, ""),
        row("DELETE /api/admin/loop-breakers/{id}", Admin, 204, ""),
        row("GET /api/admin/ledger", Admin, 200, ""),
        row("GET /api/admin/ledger/{id}", Admin, 200, ""),
        row("GET /api/admin/ledger/{id}/raw", Admin, 200, ""),
        row("POST /api/admin/ledger/{id}/replay", Admin, 204, ""),
        row("GET /api/admin/audit", Admin, 200, ""),
        row("GET /api/admin/audit/verify", Admin, 200, ""),
        row("GET /api/admin/reports/{name}", Admin, 200, ""),
        row("GET /api/admin/webhooks", Admin, 200, ""),
        row("POST /api/admin/webhooks", Admin, 201, WEBHOOK),
        row("GET /api/admin/webhooks/{id}", Admin, 200, ""),
        row("PATCH /api/admin/webhooks/{id}", Admin, 200, r#"{"active": false}"#),
        row("DELETE /api/admin/webhooks/{id}", Admin, 204, ""),
        row("POST /api/admin/webhooks/{id}/rotate", Admin, 200, ""),
        row("POST /api/admin/webhooks/{id}/ping", Admin, 202, ""),
        row("GET /api/admin/webhooks/{id}/deliveries", Admin, 200, ""),
        row("POST /api/admin/webhooks/deliveries/{id}/retry", Admin, 204, ""),
        row("POST /api/admin/webhooks/deliveries/{id}/cancel", Admin, 204, ""),
    ]
}
