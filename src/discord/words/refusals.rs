//! What can't be done, and what can be done instead.

use super::{count, said};

pub fn not_in_this_guild() -> String {
    "I work in one server only, and this is not it. Ask me there.".to_owned()
}

pub fn not_staff() -> String {
    "Only staff can do this. If you are staff, ask an admin for the role in this server, or link your staff address with `/link`."
        .to_owned()
}

pub fn not_admin() -> String {
    "Only admins can do this. Ask one of them.".to_owned()
}

/// A ticket of somebody else's; also said where there is no such ticket, so that nobody can find out which numbers exist.
pub fn not_yours(ticket: i64) -> String {
    format!("#{ticket} is not one of your tickets. `/ticket list` shows yours.")
}

pub fn unknown_ticket(written: &str) -> String {
    format!(
        "There is no ticket {}. Type a number such as 1042, or choose one from the list while you type.",
        said(written)
    )
}

pub fn no_ticket_here() -> String {
    "This is not the thread of a ticket. Say which one with the option `ticket`, or do it in the ticket's thread."
        .to_owned()
}

pub fn unknown_person(written: &str) -> String {
    format!(
        "I know nobody on the staff called {}. Choose someone from the list while you type.",
        said(written)
    )
}

pub fn unknown_skill(written: &str) -> String {
    format!(
        "There is no skill called {}. Choose one from the list while you type; admins add new ones.",
        said(written)
    )
}

pub fn unknown_category(written: &str) -> String {
    format!("There is no category called {}. Choose one from the list.", said(written))
}

pub fn unknown_snippet(written: &str) -> String {
    format!("There is no snippet called {}. `/snippet list` shows all of them.", said(written))
}

pub fn unknown_command() -> String {
    "I don't know this command any more. Reload Discord (Ctrl+R) and try again.".to_owned()
}

/// A button or form that is not ours, or no longer.
pub fn outdated_button() -> String {
    "This button is out of date. Use the newest message in the thread, or a command.".to_owned()
}

pub fn too_many_open(open: u64, limit: u32) -> String {
    format!(
        "You have {}, and {limit} is the limit. Write into one of their threads, or close one with `/ticket close`.",
        count(open, "open ticket")
    )
}

/// Seconds until the next ticket may be opened.
pub fn cooldown(seconds: u64) -> String {
    format!(
        "You opened a ticket a moment ago. Wait {}, or write what you want to add into its thread.",
        count(seconds.max(1), "second")
    )
}

pub fn account_too_young(days: u32) -> String {
    format!(
        "Your Discord account is younger than {}. Until then ask in the public channels, or write us a mail.",
        count(days.into(), "day")
    )
}

pub fn blocked() -> String {
    "You can't open tickets here. If you think that is a mistake, ask a moderator of this server.".to_owned()
}

pub fn nothing_written() -> String {
    "There was no text in it. Write something, and send it again.".to_owned()
}

pub fn sent_on_before() -> String {
    "This message was sent to the customer already. Use `/reply` to send something else.".to_owned()
}

pub fn text_too_long(limit: usize) -> String {
    format!("That is too long: {limit} characters are the limit. Send the rest in a second message.")
}

pub fn ticket_is_closed(ticket: i64) -> String {
    format!("#{ticket} is closed. Reopen it first, with `/ticket reopen` or the button on its card.")
}

pub fn ticket_is_open(ticket: i64) -> String {
    format!("#{ticket} is open already.")
}

/// Somebody else was faster.
pub fn already_taken(ticket: i64, by: &str) -> String {
    format!("#{ticket} is {}'s already. Talk to them, or use `/assign` to move it.", said(by))
}

/// More tickets than somebody may hold at once.
pub fn at_cap(name: &str, cap: i64) -> String {
    format!("{} has {cap} open tickets, and may not have more. Resolve or release one first.", said(name))
}

/// The matter goes on elsewhere.
pub fn merged_into(ticket: i64, into: i64) -> String {
    format!("#{ticket} was merged into #{into}. Go on there.")
}

pub fn already_yours(ticket: i64) -> String {
    format!("#{ticket} is yours already.")
}

pub fn not_assigned_to_you(ticket: i64) -> String {
    format!("#{ticket} is not assigned to you, so you can't give it back. `/assign` moves it to someone.")
}

pub fn at_capacity(name: &str, open: i64, cap: i32) -> String {
    format!("{} has {open} of {cap} open tickets and can't take more. Choose someone else.", said(name))
}

/// Somebody changed the ticket between the look and the click.
pub fn changed_meanwhile(ticket: i64) -> String {
    format!("Somebody else changed #{ticket} just now. Look at it again, then decide.")
}

pub fn too_late_to_undo() -> String {
    "Too late: the answer has left already. Send another one to put it right.".to_owned()
}

pub fn already_undone() -> String {
    "That answer was taken back already; it was not sent.".to_owned()
}

pub fn not_a_customers_ticket(ticket: i64) -> String {
    format!("#{ticket} has nobody to send this to: it has no requester with an address or a Discord account.")
}

/// The message command on a message that is not one in a ticket's staff thread.
pub fn not_in_a_staff_thread() -> String {
    "\"Send to customer\" works on messages in a ticket's staff thread. Elsewhere, use \"Make a ticket of this\"."
        .to_owned()
}

pub fn message_of_a_machine() -> String {
    "That message was not written by a person, so no ticket can be made of it.".to_owned()
}

pub fn already_a_ticket(ticket: i64) -> String {
    format!("That message is ticket #{ticket} already.")
}

pub fn link_not_an_address(written: &str) -> String {
    format!("{} is not a mail address. Write it like `/link email:you@example.org`.", said(written))
}

pub fn link_nothing_given() -> String {
    "First `/link email:you@example.org`; I mail you a code. Then `/link code:` with that code.".to_owned()
}

/// Also said where the code exists for somebody else.
pub fn link_code_wrong(tries_left: u32) -> String {
    match tries_left {
        0 => link_too_many_tries(),
        left => {
            format!("That is not the code I sent you. Check it and try again; you have {} left.", tries(left))
        }
    }
}

fn tries(left: u32) -> String {
    if left == 1 { "one try".to_owned() } else { format!("{left} tries") }
}

pub fn link_code_expired() -> String {
    "That code has expired. Ask for a new one with `/link email:` and your address.".to_owned()
}

pub fn link_code_used() -> String {
    "That code was used already. Ask for a new one with `/link email:` and your address, if you still need it.".to_owned()
}

pub fn link_too_many_tries() -> String {
    "Too many wrong codes: that code is void. Ask for a new one with `/link email:` and your address."
        .to_owned()
}

pub fn link_too_many_codes() -> String {
    "I sent you several codes lately. Use the newest one, or wait an hour before you ask for another."
        .to_owned()
}

pub fn already_linked(address: &str) -> String {
    format!("{} is linked to your account already. There is nothing more to do.", said(address))
}

pub fn not_for_bots() -> String {
    "Only people can do this.".to_owned()
}

/// An admin switched the account off.
pub fn inactive() -> String {
    "Your account was switched off here. Ask an admin to switch it on again.".to_owned()
}

/// Discord was taken out of the configuration, and this bot still answers.
pub fn switched_off() -> String {
    "Tickets are switched off here at the moment. Try again later, or write us a mail.".to_owned()
}

/// What a closed ticket is called upon again for, too late.
pub fn closed_too_long(ticket: i64, days: i64) -> String {
    format!(
        "#{ticket} was closed more than {} ago. Open a new one with `/ticket new`, and name this one in it.",
        count(days.unsigned_abs(), "day")
    )
}

pub fn wrong_status(ticket: i64, status: &str) -> String {
    format!("#{ticket} is {}: that can't be done to it now. `/status` changes that.", said(status))
}

pub fn nobody_has(ticket: i64) -> String {
    format!("Nobody has #{ticket}. `/claim` takes it.")
}

/// The message that a ticket is to be made of is in one.
pub fn already_in_a_ticket() -> String {
    "That message is in a ticket already. Go on in its thread.".to_owned()
}

pub fn nothing_broken(ticket: i64) -> String {
    format!("The threads of #{ticket} are in order: there is nothing to mend.")
}

/// Discord has to be asked first, and does not answer.
pub fn discord_is_silent() -> String {
    "Discord does not answer me at the moment. Nothing was done; try again in a minute.".to_owned()
}

/// Discord takes no file this large.
pub fn transcript_too_large(ticket: i64) -> String {
    format!("The conversation of #{ticket} is too large for a file in Discord. Ask staff to send it to you.")
}

pub fn may_not_write_here() -> String {
    "I may not write in this channel. Give my role View Channel and Send Messages here, then try again."
        .to_owned()
}

pub fn link_own_address() -> String {
    "That is our own address. Give the one that you write to us from.".to_owned()
}

/// What a person of the desk said about themselves or a snippet can't be kept; `why` is a sentence without capital and stop.
pub fn not_kept(why: &str) -> String {
    format!("That was not kept: {why}.")
}

/// Mail is not configured, so codes can't be sent.
pub fn link_without_mail() -> String {
    "This desk has no mailbox, so there is nothing to link.".to_owned()
}

/// The database does not answer.
pub fn not_stored() -> String {
    "We could not store this. Nothing was done; try again in a minute.".to_owned()
}

/// A fault of ours; `trace` finds it in the log.
pub fn internal_error(trace: &str) -> String {
    format!(
        "Something went wrong on our side, and it was noted. Try again; if it happens again, tell an admin `{}`.",
        said(trace)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not() {
        let all =
            [not_in_this_guild(), not_staff(), not_admin(), not_yours(7), blocked(), account_too_young(7)];
        insta::assert_snapshot!(all.join("\n"), @"
        I work in one server only, and this is not it. Ask me there.
        Only staff can do this. If you are staff, ask an admin for the role in this server, or link your staff address with `/link`.
        Only admins can do this. Ask one of them.
        #7 is not one of your tickets. `/ticket list` shows yours.
        You can't open tickets here. If you think that is a mistake, ask a moderator of this server.
        Your Discord account is younger than 7 days. Until then ask in the public channels, or write us a mail.
        ");
    }

    #[test]
    fn what_is_not_there() {
        let all = [
            unknown_ticket("<b>"),
            no_ticket_here(),
            unknown_person("*Bea*"),
            unknown_skill("rust"),
            unknown_category("x"),
            unknown_snippet(""),
            unknown_command(),
            outdated_button(),
            not_in_a_staff_thread(),
            message_of_a_machine(),
            already_a_ticket(7),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        There is no ticket \<b\>. Type a number such as 1042, or choose one from the list while you type.
        This is not the thread of a ticket. Say which one with the option `ticket`, or do it in the ticket's thread.
        I know nobody on the staff called \*Bea\*. Choose someone from the list while you type.
        There is no skill called rust. Choose one from the list while you type; admins add new ones.
        There is no category called x. Choose one from the list.
        There is no snippet called ?. `/snippet list` shows all of them.
        I don't know this command any more. Reload Discord (Ctrl+R) and try again.
        This button is out of date. Use the newest message in the thread, or a command.
        "Send to customer" works on messages in a ticket's staff thread. Elsewhere, use "Make a ticket of this".
        That message was not written by a person, so no ticket can be made of it.
        That message is ticket #7 already.
        "#);
    }

    #[test]
    fn what_is_too_much() {
        let all = [
            too_many_open(5, 5),
            too_many_open(1, 1),
            cooldown(42),
            cooldown(0),
            text_too_long(6000),
            nothing_written(),
            at_capacity("Bea", 10, 10),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        You have 5 open tickets, and 5 is the limit. Write into one of their threads, or close one with `/ticket close`.
        You have 1 open ticket, and 1 is the limit. Write into one of their threads, or close one with `/ticket close`.
        You opened a ticket a moment ago. Wait 42 seconds, or write what you want to add into its thread.
        You opened a ticket a moment ago. Wait 1 second, or write what you want to add into its thread.
        That is too long: 6000 characters are the limit. Send the rest in a second message.
        There was no text in it. Write something, and send it again.
        Bea has 10 of 10 open tickets and can't take more. Choose someone else.
        ");
    }

    #[test]
    fn what_is_the_case_already() {
        let all = [
            ticket_is_closed(7),
            ticket_is_open(7),
            already_taken(7, "Cem"),
            already_yours(7),
            not_assigned_to_you(7),
            changed_meanwhile(7),
            too_late_to_undo(),
            already_undone(),
            not_a_customers_ticket(7),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        #7 is closed. Reopen it first, with `/ticket reopen` or the button on its card.
        #7 is open already.
        #7 is Cem's already. Talk to them, or use `/assign` to move it.
        #7 is yours already.
        #7 is not assigned to you, so you can't give it back. `/assign` moves it to someone.
        Somebody else changed #7 just now. Look at it again, then decide.
        Too late: the answer has left already. Send another one to put it right.
        That answer was taken back already; it was not sent.
        #7 has nobody to send this to: it has no requester with an address or a Discord account.
        ");
    }

    #[test]
    fn linking_that_failed() {
        let all = [
            link_nothing_given(),
            link_not_an_address("me"),
            link_code_wrong(4),
            link_code_wrong(1),
            link_code_wrong(0),
            link_code_expired(),
            link_code_used(),
            link_too_many_codes(),
            already_linked("a_b@example.org"),
            link_without_mail(),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        First `/link email:you@example.org`; I mail you a code. Then `/link code:` with that code.
        me is not a mail address. Write it like `/link email:you@example.org`.
        That is not the code I sent you. Check it and try again; you have 4 tries left.
        That is not the code I sent you. Check it and try again; you have one try left.
        Too many wrong codes: that code is void. Ask for a new one with `/link email:` and your address.
        That code has expired. Ask for a new one with `/link email:` and your address.
        That code was used already. Ask for a new one with `/link email:` and your address, if you still need it.
        I sent you several codes lately. Use the newest one, or wait an hour before you ask for another.
        a\_b@example.org is linked to your account already. There is nothing more to do.
        This desk has no mailbox, so there is nothing to link.
        ");
    }

    #[test]
    fn our_own_faults() {
        insta::assert_snapshot!([not_stored(), internal_error("3fa2")].join("\n"), @"
        We could not store this. Nothing was done; try again in a minute.
        Something went wrong on our side, and it was noted. Try again; if it happens again, tell an admin `3fa2`.
        ");
    }
}
