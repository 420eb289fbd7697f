//! The one transition table: whose turn is it?

use serde::{Deserialize, Serialize};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody has it.
    New,
    /// Staff's turn.
    Open,
    /// The requester's turn.
    Pending,
    Resolved,
    /// History.
    Closed,
}

/// What can move a status. A machine's judgement is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    Assigned,
    StaffReplied,
    RequesterReplied,
    Resolved,
    /// `close_after_days` without a word.
    TimePassed,
}

impl Status {
    pub const ALL: [Self; 5] = [Self::New, Self::Open, Self::Pending, Self::Resolved, Self::Closed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether the ticket counts towards its assignee's cap.
    pub fn is_active(self) -> bool {
        matches!(self, Self::New | Self::Open | Self::Pending)
    }
}

/// The status after `happening`; `None`: it cannot happen to a ticket in this status.
///
/// A reply to a closed ticket comes here only while it may be reopened; later it opens a follow-up.
pub fn next(status: Status, happening: Happening) -> Option<Status> {
    use Happening::{Assigned, RequesterReplied, StaffReplied, TimePassed};
    use Status::{Closed, New, Open, Pending, Resolved};
    match (status, happening) {
        (New | Open, Assigned) | (Open | Pending | Resolved | Closed, RequesterReplied) => Some(Open),
        (Pending, Assigned) | (New | Open | Pending | Resolved, StaffReplied) => Some(Pending),
        (New, RequesterReplied) => Some(New),
        (Resolved, Assigned) | (New | Open | Pending | Resolved, Happening::Resolved) => Some(Resolved),
        (Resolved, TimePassed) => Some(Closed),
        (Closed, Assigned | StaffReplied | Happening::Resolved | TimePassed)
        | (New | Open | Pending, TimePassed) => None,
    }
}

/// Whether staff may put a ticket from one status into another by their word. `new` says that nobody has it.
pub(super) fn may_set(from: Status, to: Status, is_assigned: bool) -> bool {
    from != to && (to != Status::New || !is_assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_may_set_any_status_but_call_new_what_somebody_has() {
        assert!(may_set(Status::Closed, Status::Open, true));
        assert!(may_set(Status::Open, Status::New, false));
        assert!(!may_set(Status::Open, Status::New, true));
        assert!(!may_set(Status::Open, Status::Open, true));
    }

    #[test]
    fn the_table_of_transitions() {
        use std::fmt::Write;
        let happenings = [
            Happening::Assigned,
            Happening::StaffReplied,
            Happening::RequesterReplied,
            Happening::Resolved,
            Happening::TimePassed,
        ];
        let mut table = format!("{:10}", "");
        for happening in happenings {
            write!(table, "{:18}", format!("{happening:?}")).unwrap();
        }
        for status in Status::ALL {
            write!(table, "\n{:10}", status.as_str()).unwrap();
            for happening in happenings {
                write!(table, "{:18}", next(status, happening).map_or("-", Status::as_str)).unwrap();
            }
        }
        let table: Vec<&str> = table.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(table.join("\n"), @r"
                  Assigned          StaffReplied      RequesterReplied  Resolved          TimePassed
        new       open              pending           new               resolved          -
        open      open              pending           open              resolved          -
        pending   pending           pending           open              resolved          -
        resolved  resolved          pending           open              resolved          closed
        closed    -                 -                 open              -                 -
        ");
    }
}
