//! Which fields of a ticket each reader gets: staff more than its requester, and nobody a field that is not named here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::world::{Actor, World};

/// Every field, as `a.b[].c`.
fn fields(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    found.insert(path.clone());
                    walk(value, &path, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, &format!("{path}[]"), found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

fn lines<'a>(fields: impl IntoIterator<Item = &'a String>) -> String {
    fields.into_iter().cloned().collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_requester_sees_what_the_table_of_rights_says_and_staff_sees_more() {
    let world = World::build().await;
    let ticket = world.ticket().await;
    for path in ["", "/messages", "/transcript"] {
        let path = format!("/api/tickets/{ticket}{path}");
        let (owner, staff) = (world.get(&path, Actor::Owner).await, world.get(&path, Actor::Assignee).await);
        for secret in ["Angry.", "Dear Ada", "Bea fits", "bea@example.org", "candidates"] {
            assert!(!owner.to_string().contains(secret), "{path} tells the requester `{secret}`");
        }
        let notes = |value: &Value| value.to_string().matches("Said.").count();
        assert!(notes(&owner) < notes(&staff), "{path}: the note is for staff");
    }
    let path = format!("/api/tickets/{ticket}");
    let (owner, staff) =
        (fields(&world.get(&path, Actor::Owner).await), fields(&world.get(&path, Actor::Assignee).await));
    assert_eq!(owner.difference(&staff).count(), 0, "staff sees all that its requester sees");
    insta::assert_snapshot!(lines(&owner), @r"
    assignee_id
    assignee_name
    assignment_outcome
    category
    channel
    closed_at
    created_at
    deadline_at
    first_response_at
    follow_up_of
    language
    merged_from
    merged_into
    messages
    messages[].attachments
    messages[].attachments[].content_type
    messages[].attachments[].filename
    messages[].attachments[].id
    messages[].attachments[].inline
    messages[].attachments[].size
    messages[].author_address
    messages[].author_id
    messages[].author_name
    messages[].body
    messages[].channel
    messages[].created_at
    messages[].deleted_at
    messages[].edited_at
    messages[].html
    messages[].id
    messages[].kind
    messages[].problems
    messages[].remote_images
    messages[].reply_to
    messages[].sender_class
    messages[].sent_at
    messages[].unverified
    messages[].visible
    messages[].withdrawn
    number
    participants
    participants[].address
    participants[].name
    participants[].part
    participants[].person_id
    priority
    rating
    related_to
    requester_id
    requester_name
    required_skills
    resolved_at
    split_from
    status
    subject
    tags
    updated_at
    version
    ");
    insta::assert_snapshot!(lines(staff.difference(&owner)), @r"
    deliveries
    followers
    triage
    triage.at
    triage.category
    triage.confidence
    triage.engine
    triage.fallback_reason
    triage.language
    triage.model
    triage.notes
    triage.priority
    triage.prompt_version
    triage.skills
    triage.suggested_reply
    triage.took_ms
    ");
    world.close().await;
}
