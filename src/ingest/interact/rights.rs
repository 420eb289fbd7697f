//! Who may ask for what. Pure; asked anew at every command, click and form, because a client sends what it likes.

use chrono::{DateTime, TimeDelta, Utc};

use super::order::Needs;
use crate::config::Discord as Settings;
use crate::discord::created_at;
use crate::discord::request::Request;
use crate::discord::words;
use crate::ids::PersonId;
use crate::people::{Person, Role};
use crate::tickets::read::Sight;

/// Nothing happens: for the ledger, and for the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// One of few, without anything of what was asked.
    pub(super) reason: &'static str,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn new(reason: &'static str, words: impl Into<String>) -> Self {
        Self { reason, words: words.into() }
    }
}

/// What can be said without looking anybody up: the server is ours, and the person is not blocked.
pub(super) fn gate(settings: &Settings, request: &Request) -> Result<(), Refusal> {
    if request.guild != Some(settings.guild_id) {
        return Err(Refusal::new("it was asked in another server", words::not_in_this_guild()));
    }
    if request.user.is_bot {
        return Err(Refusal::new("a bot asked", words::not_for_bots()));
    }
    if settings.blocked.contains(&request.user.id) {
        return Err(Refusal::new("the person is blocked", words::blocked()));
    }
    Ok(())
}

/// Whether the person may ask for such a thing at all.
pub(super) fn may(person: &Person, needs: Needs) -> Result<(), Refusal> {
    if !person.active {
        return Err(Refusal::new("the person is not active", words::inactive()));
    }
    match (needs, person.role) {
        (Needs::Anyone, _) | (Needs::Staff, Role::Moderator | Role::Admin) | (Needs::Admin, Role::Admin) => {
            Ok(())
        }
        (Needs::Staff, Role::User) => Err(Refusal::new("it is for staff", words::not_staff())),
        (Needs::Admin, Role::User | Role::Moderator) => {
            Err(Refusal::new("it is for admins", words::not_admin()))
        }
    }
}

/// Whose tickets a person sees, besides those that they take part in.
pub(super) fn sight(role: Role, person: PersonId, moderators_see_all: bool) -> Sight {
    match role {
        Role::Admin => Sight::All,
        Role::Moderator if moderators_see_all => Sight::All,
        Role::Moderator => Sight::Moderator(person),
        Role::User => Sight::Requester(person),
    }
}

/// Whether an account is old enough to open tickets: the user's id says when it was made.
pub(super) fn old_enough(settings: &Settings, user: u64, now: DateTime<Utc>) -> Result<(), Refusal> {
    let days = settings.min_account_age_days;
    if now - created_at(user) >= TimeDelta::days(days.into()) {
        return Ok(());
    }
    Err(Refusal::new("the account is too young", words::account_too_young(days)))
}

/// Whether a person may open one more ticket: `open` are not done yet, the newest was opened at `last`.
pub(super) fn within_limits(
    settings: &Settings,
    open: i64,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let (open, most) = (open.unsigned_abs(), settings.max_open_tickets);
    if most > 0 && open >= most.into() {
        return Err(Refusal::new("too many open tickets", words::too_many_open(open, most)));
    }
    let from = last.map(|last| last + TimeDelta::seconds(settings.cooldown_seconds.into()));
    match from.filter(|from| now < *from) {
        Some(from) => {
            let seconds = (from - now).num_milliseconds().unsigned_abs().div_ceil(1000);
            Err(Refusal::new("the last ticket is too recent", words::cooldown(seconds)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discord::first_id_at;
    use crate::discord::request::{User, What};

    fn settings() -> Settings {
        Settings { guild_id: 1, blocked: vec![66], min_account_age_days: 7, ..Settings::default() }
    }

    fn request(guild: Option<u64>, user: u64, is_bot: bool) -> Request {
        Request {
            id: 9,
            token: String::new(),
            guild,
            channel: 2,
            user: User { id: user, name: "Ada".to_owned(), roles: Vec::new(), is_bot },
            what: What::Command { path: vec!["stats".to_owned()], options: [].into() },
        }
    }

    fn person(role: Role, active: bool) -> Person {
        Person { id: PersonId(3), name: "Ada".to_owned(), role, active, email: None, discord: Some(5) }
    }

    #[test]
    fn the_gate_is_open_in_our_server_for_people_who_are_not_blocked() {
        let reason =
            |guild, user, is_bot| gate(&settings(), &request(guild, user, is_bot)).err().map(|r| r.reason);
        assert_eq!(reason(Some(1), 5, false), None);
        assert_eq!(reason(Some(2), 5, false), Some("it was asked in another server"));
        assert_eq!(reason(None, 5, false), Some("it was asked in another server"));
        assert_eq!(reason(Some(1), 66, false), Some("the person is blocked"));
        assert_eq!(reason(Some(1), 5, true), Some("a bot asked"));
    }

    #[test]
    fn a_role_opens_what_it_opens_and_no_more() {
        let mut table = String::new();
        for needs in [Needs::Anyone, Needs::Staff, Needs::Admin] {
            for role in [Role::User, Role::Moderator, Role::Admin] {
                let may = may(&person(role, true), needs).is_ok();
                table.push_str(&format!("{needs:?} {} {may}\n", role.as_str()));
                assert!(
                    super::may(&person(role, false), needs).is_err(),
                    "whoever was switched off may nothing"
                );
            }
        }
        assert_eq!(
            table,
            "Anyone user true\nAnyone moderator true\nAnyone admin true\n\
             Staff user false\nStaff moderator true\nStaff admin true\n\
             Admin user false\nAdmin moderator false\nAdmin admin true\n"
        );
    }

    #[test]
    fn a_user_sees_their_own_and_a_moderator_what_the_configuration_says() {
        let me = PersonId(3);
        assert_eq!(sight(Role::User, me, true), Sight::Requester(me));
        assert_eq!(sight(Role::Moderator, me, true), Sight::All);
        assert_eq!(sight(Role::Moderator, me, false), Sight::Moderator(me));
        assert_eq!(sight(Role::Admin, me, false), Sight::All);
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let now: DateTime<Utc> = "2026-11-21T09:00:00Z".parse().unwrap();
        let settings = settings();
        let age = |days| old_enough(&settings, first_id_at(now - TimeDelta::days(days)), now).is_ok();
        assert_eq!((age(6), age(7)), (false, true));
        let opened =
            |open, seconds| within_limits(&settings, open, Some(now - TimeDelta::seconds(seconds)), now);
        assert!(opened(4, 60).is_ok());
        assert_eq!(opened(5, 60).unwrap_err().reason, "too many open tickets");
        assert_eq!(opened(4, 59).unwrap_err().reason, "the last ticket is too recent");
        assert!(within_limits(&settings, 0, None, now).is_ok());
        let unlimited = Settings { max_open_tickets: 0, cooldown_seconds: 0, ..settings };
        assert!(within_limits(&unlimited, 99, Some(now), now).is_ok());
    }
}
