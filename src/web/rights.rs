//! Who may do what: one table with a row for every operation, enforced before a handler runs. What a person may do to one
//! ticket follows from what they see ([`Caller::sight`]): what is out of sight is not there.
//!
//! A route without a row answers nobody, and fails the tests.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tracing::Instrument as _;

use super::State as Shared;
use super::error::Error;
use super::request::Caller;
use crate::config::{Config, RequireSecondFactor};
use crate::people::Role;
use crate::people::access::{self, By};

/// Whom an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever asks, logged in or not.
    Anyone,
    /// Whoever is logged in; which things they get to see is the handler's to say.
    Person,
    /// Moderators and admins.
    Staff,
    Admin,
}

impl Access {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Person => "person",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }

    fn allows(self, role: Role) -> bool {
        match self {
            Self::Anyone | Self::Person => true,
            Self::Staff => role.is_staff(),
            Self::Admin => role == Role::Admin,
        }
    }
}

/// What an API token may be used for. It never gives more than its person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `tickets:read`
    TicketsRead,
    /// `tickets:write`
    TicketsWrite,
    /// `reports:read`
    ReportsRead,
    /// `admin:read`
    AdminRead,
    /// `admin:write`
    AdminWrite,
    /// Not by API token at all: a person's own account.
    Never,
}

impl Scope {
    /// Every scope that a token can have.
    pub const ALL: [Self; 5] =
        [Self::TicketsRead, Self::TicketsWrite, Self::ReportsRead, Self::AdminRead, Self::AdminWrite];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TicketsRead => "tickets:read",
            Self::TicketsWrite => "tickets:write",
            Self::ReportsRead => "reports:read",
            Self::AdminRead => "admin:read",
            Self::AdminWrite => "admin:write",
            Self::Never => "",
        }
    }
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub method: &'static str,
    /// As the router has it: `/api/tickets/{number}`.
    pub path: &'static str,
    pub access: Access,
    pub scope: Scope,
}

const fn row(method: &'static str, path: &'static str, access: Access, scope: Scope) -> Row {
    Row { method, path, access, scope }
}

/// Every operation there is.
pub const TABLE: &[Row] = {
    use Access::{Admin, Anyone, Person, Staff};
    use Scope::{AdminRead, AdminWrite, Never, ReportsRead, TicketsRead, TicketsWrite};
    &[
        row("GET", "/", Anyone, Never),
        row("GET", "/healthz", Anyone, Never),
        row("GET", "/readyz", Anyone, Never),
        row("GET", "/metrics", Anyone, Never),
        row("GET", "/api/openapi.json", Anyone, Never),
        row("POST", "/api/auth/login", Anyone, Never),
        row("POST", "/api/auth/refresh", Anyone, Never),
        row("POST", "/api/auth/logout", Anyone, Never),
        row("POST", "/api/auth/signup", Anyone, Never),
        row("POST", "/api/auth/signup/confirm", Anyone, Never),
        row("POST", "/api/auth/password/reset", Anyone, Never),
        row("POST", "/api/auth/password/reset/confirm", Anyone, Never),
        row("GET", "/api/auth/oidc/start", Anyone, Never),
        row("GET", "/api/auth/oidc/callback", Anyone, Never),
        row("POST", "/api/auth/oidc/link", Anyone, Never),
        row("GET", "/api/auth/me", Person, Never),
        row("PATCH", "/api/auth/me", Person, Never),
        row("PUT", "/api/auth/me/password", Person, Never),
        row("GET", "/api/auth/me/skills", Staff, Never),
        row("PUT", "/api/auth/me/skills", Staff, Never),
        row("GET", "/api/auth/me/sessions", Person, Never),
        row("DELETE", "/api/auth/me/sessions", Person, Never),
        row("DELETE", "/api/auth/me/sessions/{id}", Person, Never),
        row("GET", "/api/auth/me/tokens", Person, Never),
        row("POST", "/api/auth/me/tokens", Person, Never),
        row("DELETE", "/api/auth/me/tokens/{id}", Person, Never),
        row("GET", "/api/auth/me/second-factor", Person, Never),
        row("POST", "/api/auth/me/second-factor", Person, Never),
        row("POST", "/api/auth/me/second-factor/confirm", Person, Never),
        row("POST", "/api/auth/me/second-factor/disable", Person, Never),
        row("POST", "/api/auth/me/second-factor/recovery-codes", Person, Never),
        row("GET", "/api/tickets", Person, TicketsRead),
        row("POST", "/api/tickets", Person, TicketsWrite),
        row("GET", "/api/tickets/summary", Person, TicketsRead),
        row("GET", "/api/tickets/{number}", Person, TicketsRead),
        row("PATCH", "/api/tickets/{number}", Staff, TicketsWrite),
        row("DELETE", "/api/tickets/{number}", Admin, TicketsWrite),
        row("GET", "/api/tickets/{number}/assignment", Staff, TicketsRead),
        row("PUT", "/api/tickets/{number}/assignment", Staff, TicketsWrite),
        row("GET", "/api/tickets/{number}/attachments/{id}", Person, TicketsRead),
        row("POST", "/api/tickets/{number}/claim", Staff, TicketsWrite),
        row("POST", "/api/tickets/{number}/close", Person, TicketsWrite),
        row("GET", "/api/tickets/{number}/events", Staff, TicketsRead),
        row("GET", "/api/tickets/{number}/followers", Staff, TicketsRead),
        row("PUT", "/api/tickets/{number}/followers/me", Staff, TicketsWrite),
        row("DELETE", "/api/tickets/{number}/followers/me", Staff, TicketsWrite),
        row("POST", "/api/tickets/{number}/merge", Staff, TicketsWrite),
        row("GET", "/api/tickets/{number}/messages", Person, TicketsRead),
        row("POST", "/api/tickets/{number}/messages", Person, TicketsWrite),
        row("DELETE", "/api/tickets/{number}/messages/{id}", Staff, TicketsWrite),
        row("GET", "/api/tickets/{number}/participants", Staff, TicketsRead),
        row("POST", "/api/tickets/{number}/participants", Staff, TicketsWrite),
        row("DELETE", "/api/tickets/{number}/participants/{person}", Staff, TicketsWrite),
        row("POST", "/api/tickets/{number}/release", Staff, TicketsWrite),
        row("POST", "/api/tickets/{number}/reopen", Person, TicketsWrite),
        row("POST", "/api/tickets/{number}/restore", Admin, TicketsWrite),
        row("POST", "/api/tickets/{number}/split", Staff, TicketsWrite),
        row("GET", "/api/tickets/{number}/transcript", Person, TicketsRead),
        row("GET", "/api/tickets/{number}/triage", Staff, TicketsRead),
        row("POST", "/api/tickets/{number}/triage", Staff, TicketsWrite),
        row("PATCH", "/api/tickets/{number}/triage", Staff, TicketsWrite),
        row("POST", "/api/uploads", Person, TicketsWrite),
        row("POST", "/api/csat/{token}", Anyone, Never),
        row("GET", "/rate/{token}", Anyone, Never),
        row("POST", "/rate/{token}", Anyone, Never),
        row("GET", "/api/admin/dashboard", Admin, AdminRead),
        row("GET", "/api/admin/people", Admin, AdminRead),
        row("POST", "/api/admin/people", Admin, AdminWrite),
        row("GET", "/api/admin/people/{id}", Admin, AdminRead),
        row("PATCH", "/api/admin/people/{id}", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}/sessions", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}/second-factor", Admin, AdminWrite),
        row("GET", "/api/admin/people/{id}/skills", Admin, AdminRead),
        row("PUT", "/api/admin/people/{id}/skills", Admin, AdminWrite),
        row("PUT", "/api/admin/people/{id}/skills/{slug}", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}/skills/{slug}", Admin, AdminWrite),
        row("POST", "/api/admin/people/{id}/skills/{slug}/confirm", Admin, AdminWrite),
        row("GET", "/api/admin/people/{id}/away", Admin, AdminRead),
        row("POST", "/api/admin/people/{id}/away", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}/away/{period}", Admin, AdminWrite),
        row("GET", "/api/admin/people/{id}/hours", Admin, AdminRead),
        row("PUT", "/api/admin/people/{id}/hours", Admin, AdminWrite),
        row("DELETE", "/api/admin/people/{id}/hours", Admin, AdminWrite),
        // Never by a token: one that makes tokens makes itself more than it was given.
        row("GET", "/api/admin/tokens", Admin, AdminRead),
        row("POST", "/api/admin/tokens", Admin, Never),
        row("DELETE", "/api/admin/tokens/{id}", Admin, AdminWrite),
        row("GET", "/api/admin/proposals", Admin, AdminRead),
        row("GET", "/api/admin/skills", Admin, AdminRead),
        row("POST", "/api/admin/skills", Admin, AdminWrite),
        row("GET", "/api/admin/skills/{slug}", Admin, AdminRead),
        row("PATCH", "/api/admin/skills/{slug}", Admin, AdminWrite),
        row("DELETE", "/api/admin/skills/{slug}", Admin, AdminWrite),
        row("GET", "/api/admin/snippets", Staff, TicketsRead),
        row("GET", "/api/admin/snippets/{name}", Staff, TicketsRead),
        row("PUT", "/api/admin/snippets/{name}", Admin, AdminWrite),
        row("DELETE", "/api/admin/snippets/{name}", Admin, AdminWrite),
        row("GET", "/api/admin/settings", Admin, AdminRead),
        row("GET", "/api/admin/settings/{key}", Admin, AdminRead),
        row("PUT", "/api/admin/settings/{key}", Admin, AdminWrite),
        row("DELETE", "/api/admin/settings/{key}", Admin, AdminWrite),
        row("GET", "/api/admin/mailboxes", Admin, AdminRead),
        row("POST", "/api/admin/mailboxes/{name}/retry", Admin, AdminWrite),
        row("GET", "/api/admin/alarms", Admin, AdminRead),
        row("GET", "/api/admin/jobs", Admin, AdminRead),
        row("POST", "/api/admin/jobs/retry", Admin, AdminWrite),
        row("POST", "/api/admin/jobs/cancel", Admin, AdminWrite),
        row("GET", "/api/admin/jobs/{id}", Admin, AdminRead),
        row("POST", "/api/admin/jobs/{id}/retry", Admin, AdminWrite),
        row("POST", "/api/admin/jobs/{id}/cancel", Admin, AdminWrite),
        row("GET", "/api/admin/deliveries", Admin, AdminRead),
        row("POST", "/api/admin/deliveries/retry", Admin, AdminWrite),
        row("POST", "/api/admin/deliveries/cancel", Admin, AdminWrite),
        row("GET", "/api/admin/deliveries/{id}", Admin, AdminRead),
        row("POST", "/api/admin/deliveries/{id}/retry", Admin, AdminWrite),
        row("POST", "/api/admin/deliveries/{id}/cancel", Admin, AdminWrite),
        row("GET", "/api/admin/loop-breakers", Admin, AdminRead),
        row("DELETE", "/api/admin/loop-breakers/{id}", Admin, AdminWrite),
        row("GET", "/api/admin/ledger", Admin, AdminRead),
        row("GET", "/api/admin/ledger/{id}", Admin, AdminRead),
        row("GET", "/api/admin/ledger/{id}/raw", Admin, AdminRead),
        row("POST", "/api/admin/ledger/{id}/replay", Admin, AdminWrite),
        row("GET", "/api/admin/audit", Admin, AdminRead),
        row("GET", "/api/admin/audit/verify", Admin, AdminRead),
        row("GET", "/api/events", Person, TicketsRead),
        row("GET", "/api/admin/reports/{name}", Admin, ReportsRead),
        row("GET", "/api/admin/webhooks", Admin, AdminRead),
        row("POST", "/api/admin/webhooks", Admin, AdminWrite),
        row("GET", "/api/admin/webhooks/{id}", Admin, AdminRead),
        row("PATCH", "/api/admin/webhooks/{id}", Admin, AdminWrite),
        row("DELETE", "/api/admin/webhooks/{id}", Admin, AdminWrite),
        row("POST", "/api/admin/webhooks/{id}/rotate", Admin, AdminWrite),
        row("POST", "/api/admin/webhooks/{id}/ping", Admin, AdminWrite),
        row("GET", "/api/admin/webhooks/{id}/deliveries", Admin, AdminRead),
        row("POST", "/api/admin/webhooks/deliveries/{id}/retry", Admin, AdminWrite),
        row("POST", "/api/admin/webhooks/deliveries/{id}/cancel", Admin, AdminWrite),
    ]
};

/// The row of an operation. HEAD is GET without the body.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Row> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    TABLE.iter().find(|row| row.path == path && row.method == method)
}

/// Lets the request through where the table allows it, with its [`Caller`] beside it.
pub(super) async fn enforce(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = path.ok_or(Error::NotFound)?;
    // No row: either the path does not take this method, or somebody forgot; nobody is let in.
    let Some(row) = find(request.method(), &path) else { return Err(Error::WrongMethod) };
    let span = tracing::info_span!("request", http.method = row.method, http.route = row.path);
    let_through(&state, row, request, next).instrument(span).await
}

async fn let_through(state: &Shared, row: &Row, mut request: Request, next: Next) -> Result<Response, Error> {
    if row.access != Access::Anyone {
        let caller = authenticate(state, request.headers()).await?;
        admit(row, &caller)?;
        if is_restricted(&state.config, &caller) && !OPEN_TO_RESTRICTED.contains(&(row.method, row.path)) {
            return Err(Error::SecondFactorRequired);
        }
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

/// Whether somebody may do nothing yet but set up a second factor.
pub(super) fn is_restricted(config: &Config, caller: &Caller) -> bool {
    let required = config.auth.require_second_factor == RequireSecondFactor::Staff;
    required && caller.is_staff() && !caller.second_factor
}

/// What it takes to set one up. API tokens are not in it: one of them would be a way round.
const OPEN_TO_RESTRICTED: [(&str, &str); 4] = [
    ("GET", "/api/auth/me"),
    ("GET", "/api/auth/me/second-factor"),
    ("POST", "/api/auth/me/second-factor"),
    ("POST", "/api/auth/me/second-factor/confirm"),
];

fn admit(row: &Row, caller: &Caller) -> Result<(), Error> {
    if !row.access.allows(caller.role) {
        return Err(Error::Forbidden);
    }
    match &caller.by {
        By::Session(_) => Ok(()),
        By::Token { scopes, .. } => {
            let has = row.scope != Scope::Never && scopes.iter().any(|s| s == row.scope.as_str());
            if has { Ok(()) } else { Err(Error::OutOfScope(row.scope.as_str())) }
        }
    }
}

/// What API tokens begin with, so that people and scanners for leaked secrets know them.
pub(super) const API_TOKEN_PREFIX: &str = "tdk_";

pub(super) async fn authenticate(state: &Shared, headers: &HeaderMap) -> Result<Caller, Error> {
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let (scheme, token) = value.and_then(|v| v.split_once(' ')).ok_or(Error::Unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::Unauthorized);
    }
    let (token, now) = (token.trim(), state.clock.now());
    let holder = if token.starts_with(API_TOKEN_PREFIX) {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        access::by_token(&state.db, &hash, now).await?
    } else {
        let session = state.tokens.read(token, now).ok_or(Error::Unauthorized)?;
        access::by_session(&state.db, session, now).await?
    };
    holder.ok_or(Error::Unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_open_to_the_restricted_is_there() {
        let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.method, row.path)).collect();
        assert!(OPEN_TO_RESTRICTED.iter().all(|open| rows.contains(open)));
    }

    #[test]
    fn every_operation_has_one_row() {
        let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.path, row.method)).collect();
        assert_eq!(rows.len(), TABLE.len(), "a row is there twice");
    }
}
