//! What a button, menu or form of ours carries: `<action>[.<handle>[.<number>]]`.
//!
//! It comes back from people's own programs, so it says what was meant and gives no right to it.

use std::fmt;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Claim,
    Release,
    Reply,
    Resolve,
    Reopen,
    Reassign,
    Priority,
    /// Takes back an answer that has not left; the number names it.
    Undo,
    /// Makes a broken thread anew.
    Repair,
    /// The panel's button; of no ticket.
    OpenTicket,
    /// The form behind Reply.
    ReplyModal,
    /// The form behind `/ticket new` and the panel; the number is the category's place in the configuration, counted from 0.
    NewTicketModal,
    /// A message of the staff thread goes to the requester; the number is the message.
    SendToCustomer,
    /// The menu behind Reassign.
    AssignTo,
    /// The menu behind Priority.
    SetPriority,
}

const ACTIONS: [(Action, &str); 15] = [
    (Action::Claim, "claim"),
    (Action::Release, "release"),
    (Action::Reply, "reply"),
    (Action::Resolve, "resolve"),
    (Action::Reopen, "reopen"),
    (Action::Reassign, "reassign"),
    (Action::Priority, "priority"),
    (Action::Undo, "undo"),
    (Action::Repair, "repair"),
    (Action::OpenTicket, "open-ticket"),
    (Action::ReplyModal, "reply-form"),
    (Action::NewTicketModal, "new-ticket-form"),
    (Action::SendToCustomer, "send-to-customer"),
    (Action::AssignTo, "assign-to"),
    (Action::SetPriority, "set-priority"),
];

impl Action {
    /// Every action there is.
    pub fn all() -> impl Iterator<Item = Self> {
        ACTIONS.into_iter().map(|(action, _)| action)
    }
}

/// Stands where there is a number and no handle.
const NO_HANDLE: &str = "-";
/// Leaves room for the longest action and number within Discord's 100 characters.
const LONGEST_HANDLE: usize = 60;

/// A custom id, read or to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomId {
    pub action: Action,
    /// The opaque name of a ticket's thread.
    pub handle: Option<String>,
    pub number: Option<u64>,
}

impl CustomId {
    /// Of no ticket.
    pub fn new(action: Action) -> Self {
        Self { action, handle: None, number: None }
    }

    /// Of the ticket with this handle: letters, digits, `_` and `-`.
    pub fn of(action: Action, handle: &str) -> Self {
        Self { action, handle: Some(handle.to_owned()), number: None }
    }

    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// `None` for whatever we did not write.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let name = parts.next()?;
        let (action, _) = ACTIONS.iter().find(|(_, known)| *known == name)?;
        let (handle, number, rest) = (parts.next(), parts.next(), parts.next());
        let handle = match handle {
            Some(NO_HANDLE) if number.is_some() => None,
            Some(handle) if is_handle(handle) => Some(handle.to_owned()),
            None => None,
            Some(_) => return None,
        };
        let number = match number {
            Some(digits) => Some(digits.parse::<u64>().ok().filter(|number| number.to_string() == digits)?),
            None => None,
        };
        rest.is_none().then_some(Self { action: *action, handle, number })
    }
}

fn is_handle(text: &str) -> bool {
    (1..=LONGEST_HANDLE).contains(&text.len())
        && text != NO_HANDLE
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl fmt::Display for CustomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ACTIONS.iter().find(|(action, _)| *action == self.action).map_or("", |(_, name)| *name);
        f.write_str(name)?;
        match (&self.handle, self.number) {
            (Some(handle), None) => write!(f, ".{handle}"),
            (Some(handle), Some(number)) => write!(f, ".{handle}.{number}"),
            (None, Some(number)) => write!(f, ".{NO_HANDLE}.{number}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_we_write_reads_well() {
        let shown = [
            CustomId::of(Action::Claim, "x7Fq_2-a"),
            CustomId::of(Action::Undo, "x7Fq").number(42),
            CustomId::new(Action::NewTicketModal).number(3),
            CustomId::new(Action::OpenTicket),
        ];
        let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        claim.x7Fq_2-a
        undo.x7Fq.42
        new-ticket-form.-.3
        open-ticket
        ");
    }

    #[test]
    fn what_we_did_not_write_is_nothing() {
        for hostile in [
            "",
            ".",
            "claim.",
            "claim..",
            "claim.-",
            "Claim.x",
            "claim.x.",
            "claim.x.-1",
            "claim.x.+1",
            "claim.x.01",
            "claim.x.1.2",
            "claim.x y",
            "claim.x\n",
            "claim.é",
            "drop.x",
            "claim.x.99999999999999999999",
            "undo.-.",
        ] {
            assert_eq!(CustomId::parse(hostile), None, "{hostile:?}");
        }
        assert_eq!(CustomId::parse(&format!("claim.{}", "x".repeat(61))), None);
    }

    fn ours() -> impl Strategy<Value = CustomId> {
        let action = (0..ACTIONS.len()).prop_map(|place| ACTIONS[place].0);
        let handle = proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_-]{0,59}");
        (action, handle, proptest::option::of(any::<u64>())).prop_map(|(action, handle, number)| CustomId {
            action,
            handle,
            number,
        })
    }

    proptest! {
        #[test]
        fn ours_come_back_and_fit(id in ours()) {
            let text = id.to_string();
            prop_assert!(text.len() <= 100);
            prop_assert_eq!(CustomId::parse(&text), Some(id));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "([a-z-]{0,20}(\\.[A-Za-z0-9_+-]{0,12}){0,4}|\\PC{0,120})") {
            if let Some(id) = CustomId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
