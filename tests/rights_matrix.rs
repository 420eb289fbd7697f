//! Every operation of the API, asked by everybody: nobody, another user, the owner, a moderator who has nothing to do with it,
//! the assignee and an admin, and with tokens that are not good. Status and visible fields follow the table of
//! [`rows`]; an operation without a row fails.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

mod fields;
mod forged;
mod rows;
mod things;
mod world;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use rows::{Row, Rule};
use world::{Actor, World};

/// The operations of the document, as `METHOD /path`.
fn described() -> BTreeSet<String> {
    let document = serde_json::to_value(ticketd::web::document()).expect("JSON");
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys().filter(|key| *key != "parameters") {
            all.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    all
}

#[test]
fn every_operation_of_the_document_has_a_row_and_every_row_an_operation() {
    let rows: BTreeSet<String> = rows::all().iter().map(|row| row.operation.to_owned()).collect();
    let described = described();
    let without_row: Vec<_> = described.difference(&rows).collect();
    let without_operation: Vec<_> = rows.difference(&described).collect();
    assert!(without_row.is_empty(), "say who may do these: {without_row:#?}");
    assert!(without_operation.is_empty(), "these are gone: {without_operation:#?}");
}

/// What an actor is to be told.
fn expected(row: &Row, actor: Actor) -> u16 {
    let refused = if actor == Actor::Nobody { 401 } else { 403 };
    let is_allowed = match row.rule {
        Rule::Anyone => true,
        Rule::LoggedIn => actor != Actor::Nobody,
        Rule::Staff => matches!(actor, Actor::Unrelated | Actor::Assignee | Actor::Admin),
        Rule::Admin | Rule::TicketForAdmin => actor == Actor::Admin,
        // What is out of sight is not there.
        Rule::TicketOfRequester => match actor {
            Actor::Nobody => false,
            Actor::Other | Actor::Unrelated => return 404,
            Actor::Owner | Actor::Assignee | Actor::Admin => true,
        },
        Rule::TicketForStaff => match actor {
            Actor::Nobody | Actor::Other | Actor::Owner => false,
            Actor::Unrelated => return 404,
            Actor::Assignee | Actor::Admin => true,
        },
    };
    if is_allowed { row.success } else { refused }
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let world = World::build().await;
    let mut wrong = Vec::new();
    for row in rows::all() {
        for actor in Actor::ALL {
            let path = world.fill(&row).await;
            let own = if row.ends_log_in() { world.fresh_token(actor).await } else { None };
            let (status, body) = world.ask(&row, &path, own.as_deref().or(world.token(actor))).await;
            let wanted = expected(&row, actor);
            if status != wanted {
                let body = body.to_string();
                wrong.push(format!(
                    "{} as {actor:?}: {status} instead of {wanted}: {body:.300}",
                    row.operation
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
    world.close().await;
}

/// A program may do what its scopes say, and never more than its person.
#[tokio::test]
async fn an_api_token_does_what_its_scope_says() {
    let world = World::build().await;
    let mut wrong = Vec::new();
    for row in rows::all() {
        let rights = &world.document["paths"][row.path()][row.method().as_str().to_lowercase()]["x-rights"];
        if rights["for"] == "anyone" {
            continue;
        }
        let scope = rights["api_token_scope"].as_str();
        let path = world.fill(&row).await;
        let with_all_but = world.api_token(scope).await;
        let (status, _) = world.ask(&row, &path, Some(&with_all_but)).await;
        if status != 403 {
            wrong.push(format!("{} without {scope:?}: {status}", row.operation));
        }
        if let Some(scope) = scope {
            let with_it = world.api_token_of(&[scope]).await;
            let (status, body) = world.ask(&row, &path, Some(&with_it)).await;
            if status != row.success {
                wrong.push(format!("{} with {scope}: {status}: {:.200}", row.operation, body.to_string()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.close().await;
}

impl Row {
    fn ends_log_in(&self) -> bool {
        self.operation == "POST /api/auth/logout"
    }

    fn method(&self) -> Method {
        let method = self.operation.split(' ').next().unwrap_or_default();
        method.parse().expect("a method")
    }

    fn path(&self) -> &'static str {
        self.operation.split(' ').nth(1).expect("a path")
    }
}

/// JSON that is empty where a body is not JSON.
fn json_or_text(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
