//! Commands that staff write on the first lines of a mail: `#note`, `#resolve`, `#assign bea`, `#priority high`. Pure.
//!
//! A first line that looks like a command and is none is an error and not text: a misspelt `#note` must not reach the
//! customer.

use crate::tickets::{Priority, Status};

/// One thing to be done, beside what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// What is written stays inside.
    Note,
    Resolve,
    SetStatus(Status),
    SetPriority(Priority),
    Claim,
    Release,
    /// To somebody: a name, its beginning, or an address.
    Assign(String),
    /// The mail is a customer's, who is to have the ticket.
    Forward,
}

/// A mail's commands, and what is left of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) commands: Vec<Command>,
    pub(super) text: String,
}

/// What can be written, for those who wrote something else.
const KNOWN: &str = "#note, #resolve, #status open|pending|resolved, #priority low|medium|high|urgent, #assign NAME, #claim, #release";
/// More than this many lines of commands are no commands.
const MOST: usize = 10;

impl Orders {
    /// Reads them. The error says what is wrong and what can be written.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut commands: Vec<Command> = Vec::new();
        let mut rest = text;
        loop {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            // Blank lines stand above the commands, between them, and above the text.
            if line.trim().is_empty() && !rest.is_empty() {
                rest = after;
                continue;
            }
            let Some(words) = command_line(line) else { break };
            if commands.len() == MOST {
                return Err(format!("more than {MOST} commands at once"));
            }
            let command = command(words)?;
            let repeats = |known: &Command| std::mem::discriminant(known) == std::mem::discriminant(&command);
            if commands.iter().any(repeats) {
                return Err(format!("`#{words}` repeats a command"));
            }
            commands.push(command);
            rest = after;
        }
        let text = if commands.is_empty() { text } else { rest };
        Ok(Self { commands, text: text.trim_end().to_owned() })
    }

    pub(super) fn has(&self, command: &Command) -> bool {
        self.commands.contains(command)
    }
}

/// Whether a mail's first line is `#fwd`, whatever else is in it.
pub(super) fn is_forward(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).and_then(command_line);
    first.is_some_and(|words| command(words) == Ok(Command::Forward))
}

/// Whether the commands of a mail may change who has a ticket: then assignments take turns, which begins before anything
/// is locked.
pub(super) fn may_assign(text: &str) -> bool {
    let first = |words: &str| words.split_whitespace().next().unwrap_or_default().to_lowercase();
    // Any line: the answer may stand below the quoted notice.
    let mut words = text.lines().filter_map(command_line).map(first);
    words.any(|word| matches!(word.as_str(), "assign" | "claim" | "release"))
}

/// `#word` at the start of a line. `# Title` is a heading, `#1042` a ticket.
fn command_line(line: &str) -> Option<&str> {
    let words = line.trim().strip_prefix('#')?;
    words.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(words)
}

fn command(words: &str) -> Result<Command, String> {
    let (name, argument) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let argument = argument.trim();
    let lower = argument.to_lowercase();
    let (command, takes) = match name.to_lowercase().as_str() {
        "note" => (Command::Note, ""),
        "resolve" | "resolved" => (Command::Resolve, ""),
        "claim" => (Command::Claim, ""),
        "release" => (Command::Release, ""),
        "fwd" | "forward" => (Command::Forward, ""),
        "assign" if lower == "me" => (Command::Claim, argument),
        "assign" if !argument.is_empty() => (Command::Assign(argument.to_owned()), argument),
        "assign" => return Err("`#assign` needs the name or address of whom to give it to".to_owned()),
        "priority" => match Priority::parse(&lower) {
            Some(priority) => (Command::SetPriority(priority), argument),
            None => return Err(format!("`#priority {argument}`: it is low, medium, high or urgent")),
        },
        "status" => match Status::parse(&lower) {
            Some(Status::Resolved) => (Command::Resolve, argument),
            Some(status @ (Status::Open | Status::Pending)) => (Command::SetStatus(status), argument),
            _ => return Err(format!("`#status {argument}`: it is open, pending or resolved")),
        },
        _ => return Err(format!("`#{words}` is no command: there are {KNOWN}")),
    };
    if takes == argument {
        Ok(command)
    } else {
        Err(format!("`#{words}`: `#{name}` stands alone on its line"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Command>, String), String> {
        Orders::read(text).map(|orders| (orders.commands, orders.text))
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_stays_as_it_is_below_the_commands(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..20),
            more in "\\PC{0,20}",
        ) {
            let text = pieces.concat() + &more;
            match Orders::read(&text) {
                Ok(orders) => {
                    proptest::prop_assert!(text.trim_end().ends_with(&orders.text), "{:?}", orders.text);
                    proptest::prop_assert!(orders.commands.len() <= MOST);
                    // Nothing that looks like a command leaves as the first line.
                    let first = orders.text.lines().find(|line| !line.trim().is_empty());
                    proptest::prop_assert!(first.and_then(command_line).is_none(), "{:?}", orders.text);
                }
                Err(error) => proptest::prop_assert!(!error.contains('\n'), "{error:?}"),
            }
            let _forward = is_forward(&text);
        }
    }

    const PIECES: &[&str] = &[
        "#note",
        "#resolve",
        "#status ",
        "#priority ",
        "#assign ",
        "#claim",
        "#fwd",
        "#",
        "##",
        "high",
        "open",
        "bea",
        " ",
        "\t",
        "\n",
        "\r\n",
        "> ",
        "Hello",
        "\u{a0}",
        "\u{200b}",
        "\u{feff}",
        "ＮＯＴＥ",
        "#nöte",
    ];

    #[test]
    fn commands_stand_above_the_text() {
        for (text, commands, rest) in [
            ("Hello", vec![], "Hello"),
            ("", vec![], ""),
            ("\n\nHello\n", vec![], "\n\nHello"),
            ("#note\nHe is rude.", vec![Command::Note], "He is rude."),
            ("\n #Note \n\nHe is rude.\n#resolve", vec![Command::Note], "He is rude.\n#resolve"),
            ("#resolve", vec![Command::Resolve], ""),
            (
                "#resolve\n\n#priority High\nDone.",
                vec![Command::Resolve, Command::SetPriority(Priority::High)],
                "Done.",
            ),
            ("#assign Bea Example\n", vec![Command::Assign("Bea Example".into())], ""),
            ("#assign me", vec![Command::Claim], ""),
            ("#status pending\n#release", vec![Command::SetStatus(Status::Pending), Command::Release], ""),
            ("#status Resolved", vec![Command::Resolve], ""),
            ("# Title\n#note", vec![], "# Title\n#note"),
            ("#1042 is the same", vec![], "#1042 is the same"),
            ("##note", vec![], "##note"),
            ("#fwd", vec![Command::Forward], ""),
        ] {
            assert_eq!(read(text), Ok((commands, rest.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_command_and_is_none_is_an_error() {
        for (text, why) in [
            ("#nite\nHe is rude.", "`#nite` is no command"),
            ("#note he is rude", "stands alone"),
            ("#note\n#note\nx", "repeats"),
            ("#priority\nx", "low, medium, high or urgent"),
            ("#priority now", "low, medium, high or urgent"),
            ("#status closed", "open, pending or resolved"),
            ("#status new", "open, pending or resolved"),
            ("#assign", "needs the name"),
            ("#resolve now", "stands alone"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_asked_before_the_ticket_is_known() {
        assert!(is_forward("\n#FWD\nSee below") && is_forward("#fwd"));
        assert!(!is_forward("See below\n#fwd") && !is_forward("#fwd this") && !is_forward(""));
        assert!(may_assign("#note\n\n#claim\nx") && may_assign("#assign bea"));
        assert!(
            may_assign("> --- the notice ---\n#claim") && !may_assign("Hello") && !may_assign("#note\nx")
        );
    }
}
