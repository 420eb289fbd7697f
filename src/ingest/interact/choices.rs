//! What is offered while somebody types an option: only what they may see.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::rights;
use crate::config::Config;
use crate::discord::request::{Request, What};
use crate::ids::PersonId;
use crate::ingest::discord::mapped_role;
use crate::people::{self, Role, snippets};
use crate::tickets::read::{self, Sight};

/// What Discord shows at once ([`MOST_OPTIONS`](crate::discord::message::MOST_OPTIONS)).
const MOST: i64 = 25;

/// What is offered: (what is shown, what is sent). Nothing for whoever may not see it, and where the database does not
/// answer. One look at who asks, and one at what there is.
pub async fn choices(
    db: &PgPool,
    config: &Config,
    request: &Request,
    now: DateTime<Utc>,
) -> Vec<(String, String)> {
    match offered(db, config, request, now).await {
        Ok(choices) => choices,
        Err(error) => {
            tracing::debug!(error = %error, "nothing can be offered");
            Vec::new()
        }
    }
}

async fn offered(
    db: &PgPool,
    config: &Config,
    request: &Request,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, String)>> {
    let (Some(settings), What::Autocomplete { focused, typed, .. }) = (&config.discord, &request.what) else {
        return Ok(Vec::new());
    };
    if rights::gate(settings, request).is_err() {
        return Ok(Vec::new());
    }
    let known = people::granted_by_discord(db, request.user.id).await?;
    if known.as_ref().is_some_and(|known| !known.active) {
        return Ok(Vec::new());
    }
    // Not the role of their last action: that may be lost since.
    let granted = known.as_ref().map_or(Role::User, |known| known.granted);
    let role = granted.max(mapped_role(settings, &request.user.roles).unwrap_or(Role::User));
    match focused.as_str() {
        "ticket" => {
            let person = known.map(|known| known.id);
            tickets(db, role, person, config.assignment.moderators_see_all, typed).await
        }
        _ if !role.is_staff() => Ok(Vec::new()),
        "person" => {
            let staff = people::find_staff(db, typed, MOST, now).await?;
            let shown = |away, name| if away { format!("{name} (away)") } else { name };
            Ok(staff.into_iter().map(|c| (shown(c.away, c.name), c.id.to_string())).collect())
        }
        "skill" => {
            let skills = people::find_skills(db, typed, MOST).await?;
            Ok(skills.into_iter().map(|s| (s.name, s.slug)).collect())
        }
        "skills" => {
            let (before, last) = last_of_list(typed);
            let skills = people::find_skills(db, last, MOST).await?;
            Ok(skills.into_iter().map(|s| with(before, &s.slug)).map(|list| (list.clone(), list)).collect())
        }
        "name" => {
            let snippets = snippets::find(db, typed, MOST).await?;
            Ok(snippets.into_iter().map(|s| (s.name.clone(), s.name)).collect())
        }
        _ => Ok(Vec::new()),
    }
}

async fn tickets(
    db: &PgPool,
    role: Role,
    person: Option<PersonId>,
    moderators_see_all: bool,
    typed: &str,
) -> sqlx::Result<Vec<(String, String)>> {
    let sight = match (person, role) {
        (Some(person), role) => rights::sight(role, person, moderators_see_all),
        // Nobody we know, with a staff role in Discord.
        (None, Role::Admin) => Sight::All,
        (None, Role::Moderator) if moderators_see_all => Sight::All,
        (None, Role::Moderator | Role::User) => return Ok(Vec::new()),
    };
    let tickets = read::search_numbers(db, sight, typed.trim().trim_start_matches('#'), MOST).await?;
    Ok(tickets.into_iter().map(|t| (format!("#{} {}", t.number, t.subject), t.number.to_string())).collect())
}

/// `rust, bil` is `rust` and what is being typed.
fn last_of_list(typed: &str) -> (&str, &str) {
    typed.rsplit_once(',').map_or(("", typed.trim()), |(before, last)| (before.trim(), last.trim()))
}

fn with(before: &str, slug: &str) -> String {
    if before.is_empty() { slug.to_owned() } else { format!("{before}, {slug}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_looked_for_as_are_shown() {
        assert_eq!(usize::try_from(MOST), Ok(crate::discord::message::MOST_OPTIONS));
    }

    #[test]
    fn the_last_of_a_list_is_completed() {
        assert_eq!(last_of_list("bil"), ("", "bil"));
        assert_eq!(last_of_list("rust, net , bil"), ("rust, net", "bil"));
        assert_eq!(last_of_list("rust,"), ("rust", ""));
        assert_eq!((with("", "rust"), with("rust", "net")), ("rust".to_owned(), "rust, net".to_owned()));
    }
}
