//! What was done, and notices in threads.

use super::{count, said};

/// To the requester who opened a ticket; `thread` is where it goes on.
pub fn ticket_opened(ticket: i64, thread: Option<u64>) -> String {
    match thread {
        Some(thread) => {
            format!("This is ticket #{ticket}. It goes on in <#{thread}>; only you and our staff see it.")
        }
        None => format!("This is ticket #{ticket}. You get a thread of your own for it in a moment."),
    }
}

pub fn ticket_made_of_message(ticket: i64) -> String {
    format!("This is ticket #{ticket} now. Its author is the requester.")
}

/// The answer waits so many seconds before it leaves.
pub fn sent_with_undo(ticket: i64, seconds: i64) -> String {
    format!(
        "Your answer to #{ticket} leaves in {}. Until then you can take it back.",
        count(seconds.unsigned_abs(), "second")
    )
}

pub fn sent(ticket: i64) -> String {
    format!("Your answer to #{ticket} is on its way.")
}

pub fn undone(ticket: i64) -> String {
    format!("Taken back: that answer to #{ticket} was not sent.")
}

pub fn claimed(ticket: i64) -> String {
    format!("#{ticket} is yours.")
}

pub fn released(ticket: i64) -> String {
    format!("You gave #{ticket} back. Nobody has it until somebody claims it or is given it.")
}

pub fn assigned(ticket: i64, name: &str) -> String {
    format!("#{ticket} is assigned to {}.", said(name))
}

pub fn priority_set(ticket: i64, priority: &str) -> String {
    format!("#{ticket} has priority {} now.", said(priority))
}

pub fn status_set(ticket: i64, status: &str) -> String {
    format!("#{ticket} is {} now.", said(status))
}

pub fn resolved(ticket: i64) -> String {
    format!("#{ticket} is resolved. An answer of the requester reopens it.")
}

pub fn closed(ticket: i64) -> String {
    format!("#{ticket} is closed. `/ticket reopen` opens it again.")
}

pub fn reopened(ticket: i64) -> String {
    format!("#{ticket} is open again.")
}

pub fn category_set(ticket: i64, category: &str) -> String {
    format!(
        "#{ticket} is about {} now. Thank you: corrections make the next judgement better.",
        said(&category.replace('_', " "))
    )
}

pub fn skills_set(ticket: i64, skills: &[String]) -> String {
    match skills {
        [] => format!("#{ticket} takes no special skills now."),
        skills => format!("#{ticket} takes {} now.", said(&skills.join(", "))),
    }
}

pub fn judged_again(ticket: i64) -> String {
    format!("#{ticket} is being judged again. The card shows the outcome.")
}

pub fn note_kept(ticket: i64) -> String {
    format!("Noted on #{ticket}. Only staff see it.")
}

pub fn panel_posted() -> String {
    "The panel is posted. Pin it, so that people find it.".to_owned()
}

pub fn snippet_saved(name: &str) -> String {
    format!("The snippet {} is saved.", said(name))
}

pub fn snippet_removed(name: &str) -> String {
    format!("The snippet {} is removed.", said(name))
}

pub fn away_on() -> String {
    "You get no new tickets until `/away off`. Those you have stay yours.".to_owned()
}

pub fn away_off() -> String {
    "Welcome back. You get new tickets again.".to_owned()
}

pub fn skill_proposed(skill: &str) -> String {
    format!("You proposed {}. It counts once an admin has confirmed it.", said(skill))
}

/// An admin's word counts at once.
pub fn skill_entered(skill: &str) -> String {
    format!("{} counts from now on.", said(skill))
}

/// Behind [`sent_with_undo`], where a message had files that were not sent.
pub fn files_stay_inside(files: usize) -> String {
    let files = count(u64::try_from(files).unwrap_or(u64::MAX), "file");
    format!("Only the text: {files} of that message stayed inside.")
}

pub fn transcript_attached(ticket: i64) -> String {
    format!("The conversation of #{ticket}, as a file you can open in a browser.")
}

/// The same whether the address is known or not: who uses which address is nobody's business.
pub fn link_code_sent(minutes: u32) -> String {
    format!(
        "I sent a code to that address. It is good for {}: type it here as `/link code:`. Look among the spam, too.",
        count(minutes.into(), "minute")
    )
}

pub fn linked(address: &str) -> String {
    format!("Done: {} is yours here, too. `/ticket list` shows the tickets of both.", said(address))
}

/// The subject of the mail with the code. The code is not in it: subjects show on locked screens.
pub fn link_mail_subject() -> String {
    "Link your address to Discord".to_owned()
}

/// The mail with the code.
pub fn link_mail(code: &str, discord_name: &str, minutes: u32) -> String {
    format!(
        "Hello,\n\n\
         the Discord account “{}” asks to be linked to this mail address. If that is you, type this in Discord:\n\n    \
         /link code:{code}\n\n\
         The code is good for {}, and once. If it was not you, do nothing: without the code nothing happens.\n",
        super::super::text::one_line(discord_name),
        count(minutes.into(), "minute")
    )
}

/// In the staff channel, when a ticket's thread is gone or shut to the bot.
pub fn thread_broken(ticket: i64, reason: &str) -> String {
    format!(
        "The thread of #{ticket} is broken: {}. What is said there does not reach the ticket, and the ticket's news do not \
         reach it. Nothing is lost; mend the cause, then make a new thread.",
        said(reason)
    )
}

pub fn thread_repaired(ticket: i64) -> String {
    format!("#{ticket} gets a new thread in a moment.")
}

/// In a thread, before a text that others wrote on another way.
pub fn relayed(author: &str, way: &str) -> String {
    format!("**{}** wrote by {way}:", said(author))
}

/// In the staff thread, above an answer to the requester.
pub fn answered(author: &str) -> String {
    format!("**{}** answered the requester:", said(author))
}

/// In the staff thread, above a note from elsewhere.
pub fn noted(author: &str) -> String {
    format!("**{}** noted, for staff only:", said(author))
}

/// In place of a text that is sent as a file.
pub fn as_a_file() -> String {
    "The text is long; it is in the file.".to_owned()
}

/// Files that are not passed on, by name.
pub fn files_left_out(names: &[String], limit_bytes: usize) -> String {
    let names: Vec<String> = names.iter().map(|name| said(name)).collect();
    format!("Not passed on, because they are larger than {} MiB: {}.", limit_bytes >> 20, names.join(", "))
}

/// In a thread that is about to be archived.
pub fn thread_closes(ticket: i64) -> String {
    format!("#{ticket} is closed, and so is this thread. `/ticket reopen` opens both again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requesters_read() {
        let all = [
            ticket_opened(1001, Some(5)),
            ticket_opened(1001, None),
            closed(1001),
            reopened(1001),
            transcript_attached(1001),
            thread_closes(1001),
            link_code_sent(15),
            linked("a_b@example.org"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        This is ticket #1001. It goes on in <#5>; only you and our staff see it.
        This is ticket #1001. You get a thread of your own for it in a moment.
        #1001 is closed. `/ticket reopen` opens it again.
        #1001 is open again.
        The conversation of #1001, as a file you can open in a browser.
        #1001 is closed, and so is this thread. `/ticket reopen` opens both again.
        I sent a code to that address. It is good for 15 minutes: type it here as `/link code:`. Look among the spam, too.
        Done: a\_b@example.org is yours here, too. `/ticket list` shows the tickets of both.
        ");
    }

    #[test]
    fn what_staff_read_when_they_act() {
        let all = [
            claimed(1001),
            released(1001),
            assigned(1001, "Bea"),
            priority_set(1001, "high"),
            status_set(1001, "pending"),
            resolved(1001),
            note_kept(1001),
            sent_with_undo(1001, 10),
            sent(1001),
            undone(1001),
            category_set(1001, "feature_request"),
            skills_set(1001, &["rust".into(), "billing".into()]),
            skills_set(1001, &[]),
            judged_again(1001),
            ticket_made_of_message(1001),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        #1001 is yours.
        You gave #1001 back. Nobody has it until somebody claims it or is given it.
        #1001 is assigned to Bea.
        #1001 has priority high now.
        #1001 is pending now.
        #1001 is resolved. An answer of the requester reopens it.
        Noted on #1001. Only staff see it.
        Your answer to #1001 leaves in 10 seconds. Until then you can take it back.
        Your answer to #1001 is on its way.
        Taken back: that answer to #1001 was not sent.
        #1001 is about feature request now. Thank you: corrections make the next judgement better.
        #1001 takes rust, billing now.
        #1001 takes no special skills now.
        #1001 is being judged again. The card shows the outcome.
        This is ticket #1001 now. Its author is the requester.
        ");
    }

    #[test]
    fn what_staff_read_otherwise() {
        let all = [
            panel_posted(),
            snippet_saved("hi"),
            snippet_removed("hi"),
            away_on(),
            away_off(),
            skill_proposed("rust"),
            thread_broken(1001, "Missing Access"),
            thread_repaired(1001),
            relayed("Ada", "mail"),
            answered("Bea"),
            noted("Bea"),
            as_a_file(),
            files_left_out(&["a_b.zip".into()], 10 << 20),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        The panel is posted. Pin it, so that people find it.
        The snippet hi is saved.
        The snippet hi is removed.
        You get no new tickets until `/away off`. Those you have stay yours.
        Welcome back. You get new tickets again.
        You proposed rust. It counts once an admin has confirmed it.
        The thread of #1001 is broken: Missing Access. What is said there does not reach the ticket, and the ticket's news do not reach it. Nothing is lost; mend the cause, then make a new thread.
        #1001 gets a new thread in a moment.
        **Ada** wrote by mail:
        **Bea** answered the requester:
        **Bea** noted, for staff only:
        The text is long; it is in the file.
        Not passed on, because they are larger than 10 MiB: a\_b.zip.
        ");
    }

    #[test]
    fn the_mail_with_the_code() {
        insta::assert_snapshot!(format!("{}\n\n{}", link_mail_subject(), link_mail("K7QX-M2PD", "ada\n", 15)), @"
        Link your address to Discord

        Hello,

        the Discord account “ada” asks to be linked to this mail address. If that is you, type this in Discord:

            /link code:K7QX-M2PD

        The code is good for 15 minutes, and once. If it was not you, do nothing: without the code nothing happens.
        ");
    }
}
