//! The answer within three seconds: a form, a refusal that needs nothing looked up, or "I'm working on it".

use crate::config::Config;
use crate::discord::api::{Answer, Message};
use crate::discord::card;
use crate::discord::created_at;
use crate::discord::custom_id::{Action, CustomId};
use crate::discord::request::{Request, What};
use crate::discord::words;

use super::rights;

/// What the gateway answers at once. Only after a deferral ([`Answer::Defer`]) there is something for the stage to do.
///
/// Pure: a form must be the first answer, so nothing may be looked up before it. Rights are looked at when it is sent.
pub fn first_answer(config: &Config, request: &Request) -> Answer {
    let Some(settings) = &config.discord else { return said(words::switched_off()) };
    if let Err(refusal) = rights::gate(settings, request) {
        return match request.what {
            What::Autocomplete { .. } => Answer::Choices(Vec::new()),
            _ => said(refusal.words),
        };
    }
    let new_ticket = |category: Option<usize>| {
        // The interaction's id says when it was; whoever is staff is let in when they type it, not here.
        let is_staff = [settings.staff_roles.moderator, settings.staff_roles.admin]
            .into_iter()
            .flatten()
            .any(|role| request.user.roles.contains(&role));
        match rights::old_enough(settings, request.user.id, created_at(request.id)) {
            Err(refusal) if !is_staff => said(refusal.words),
            _ => Answer::Modal(card::new_ticket_form(category)),
        }
    };
    match &request.what {
        What::Command { path, .. } if path.iter().map(String::as_str).eq(["ticket", "new"]) => {
            let given = request.what.option("category");
            let categories = &config.triage.categories;
            new_ticket(given.and_then(|given| categories.iter().position(|known| known == given)))
        }
        What::Button { custom_id, .. } => match CustomId::parse(custom_id) {
            Some(CustomId { action: Action::OpenTicket, .. }) => new_ticket(None),
            Some(CustomId { action: Action::Reply, handle: Some(handle), .. }) => {
                Answer::Modal(card::reply_form(&handle, ""))
            }
            _ => Answer::Defer { ephemeral: true },
        },
        What::Autocomplete { .. } => Answer::Choices(Vec::new()),
        What::Command { .. } | What::MessageCommand { .. } | What::Select { .. } | What::Modal { .. } => {
            Answer::Defer { ephemeral: true }
        }
    }
}

fn said(words: impl Into<String>) -> Answer {
    Answer::Message(Message::text(words).ephemeral())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::discord::request::{User, Value};

    fn config() -> Config {
        let text = "[discord]\ntoken = \"t\"\nguild_id = \"1000\"\nsupport_channel_id = \"2000\"\n\
                    staff_channel_id = \"3000\"\nblocked = [66]\nmin_account_age_days = 7\n\
                    staff_roles = { moderator = \"44\" }\n\
                    [triage]\ncategories = [\"technical\", \"billing\"]\n";
        Config::parse(text, BTreeMap::new()).unwrap()
    }

    fn asks(guild: u64, user: u64, roles: &[u64], what: What) -> Answer {
        let request = Request {
            id: 1_400_000_000_000_000_000,
            token: String::new(),
            guild: Some(guild),
            channel: 2,
            user: User { id: user, name: "Ada".to_owned(), roles: roles.to_vec(), is_bot: false },
            what,
        };
        first_answer(&config(), &request)
    }

    fn command(path: &[&str], options: &[(&str, &str)]) -> What {
        let text = |text: &str| Value::Text(text.to_owned());
        What::Command {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        }
    }

    fn button(custom_id: &str) -> What {
        What::Button { custom_id: custom_id.to_owned(), message: 7 }
    }

    #[test]
    fn forms_come_at_once_and_all_else_is_deferred_for_one_pair_of_eyes() {
        let defer = Answer::Defer { ephemeral: true };
        let form = |category| Answer::Modal(card::new_ticket_form(category));
        assert_eq!(asks(1000, 5, &[], command(&["ticket", "new"], &[])), form(None));
        assert_eq!(
            asks(1000, 5, &[], command(&["ticket", "new"], &[("category", "billing")])),
            form(Some(1))
        );
        assert_eq!(asks(1000, 5, &[], command(&["ticket", "new"], &[("category", "gone")])), form(None));
        assert_eq!(asks(1000, 5, &[], button("open-ticket")), form(None));
        assert_eq!(asks(1000, 5, &[], button("reply.h")), Answer::Modal(card::reply_form("h", "")));
        for what in [command(&["ticket", "list"], &[]), button("claim.h"), button("reply"), button("odd")] {
            assert_eq!(asks(1000, 5, &[], what.clone()), defer, "{what:?}");
        }
    }

    #[test]
    fn who_is_not_let_in_hears_so_at_once() {
        let list = || command(&["ticket", "list"], &[]);
        assert_eq!(asks(1001, 5, &[], list()), said(words::not_in_this_guild()));
        assert_eq!(asks(1000, 66, &[], button("claim.h")), said(words::blocked()));
        let typing = What::Autocomplete {
            path: vec![],
            options: [].into(),
            focused: "ticket".into(),
            typed: "1".into(),
        };
        assert_eq!(asks(1001, 5, &[], typing), Answer::Choices(Vec::new()));
        // An account made at the moment of the interaction.
        let young = 1_400_000_000_000_000_000;
        assert!(matches!(asks(1000, young, &[], command(&["ticket", "new"], &[])), Answer::Message(_)));
        assert!(matches!(asks(1000, young, &[44], button("open-ticket")), Answer::Modal(_)));
    }
}
