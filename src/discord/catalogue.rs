//! The commands that people see in Discord, as Discord wants them defined
//! (<https://docs.discord.com/developers/interactions/application-commands>).
//!
//! Who may use a command is not said here: ticketd decides at each call, by the person's role.

use serde_json::{Value, json};

use super::card::PRIORITIES;
use super::message::{LONGEST_OPTION, MOST_OPTIONS, cut};

/// The message commands, by their names in the menu of a message.
pub const MAKE_A_TICKET: &str = "Make a ticket of this";
pub const SEND_TO_CUSTOMER: &str = "Send to customer";

/// What staff can set a ticket to.
pub const STATUSES: [&str; 4] = ["open", "pending", "resolved", "closed"];
/// Discord's limit for a text option.
const LONGEST_TEXT: u16 = 6000;

/// All commands of the server; the whole list replaces what was there.
pub fn commands(categories: &[String]) -> Vec<Value> {
    let mut commands = vec![ticket(categories), link()];
    commands.extend(handling());
    commands.extend(writing());
    commands.extend(judging(categories));
    commands.push(command(
        "away",
        "Say whether you take tickets",
        &[subcommand("on", "You get no new tickets", &[]), subcommand("off", "You are back", &[])],
    ));
    commands.push(command("stats", "How the desk is doing", &[]));
    commands.push(command("panel", "Post the panel with the button \"Open a ticket\" here", &[]));
    commands.extend([MAKE_A_TICKET, SEND_TO_CUSTOMER].map(|name| json!({ "name": name, "type": 3 })));
    commands
}

fn ticket(categories: &[String]) -> Value {
    command(
        "ticket",
        "Ask for help, and see your tickets",
        &[
            subcommand("new", "Open a ticket", &[category(categories, false)]),
            subcommand("list", "Your open tickets", &[]),
            subcommand("show", "How a ticket stands", &[which_ticket()]),
            subcommand("close", "Close a ticket: it is done", &[which_ticket()]),
            subcommand("reopen", "Open a closed ticket again", &[which_ticket()]),
            subcommand("transcript", "The whole conversation as a file", &[which_ticket()]),
        ],
    )
}

fn link() -> Value {
    command(
        "link",
        "Link your mail address, so that your tickets by mail are yours here, too",
        &[
            text("email", "Your mail address: a code is sent to it", false, 254),
            text("code", "The code from the mail", false, 32),
        ],
    )
}

fn handling() -> Vec<Value> {
    let priorities = PRIORITIES.map(|level| (level.to_owned(), level.to_owned()));
    let statuses = STATUSES.map(|status| (status.to_owned(), status.to_owned()));
    vec![
        command("claim", "Staff: take a ticket", &[which_ticket()]),
        command("release", "Staff: give a ticket back, so that someone else gets it", &[which_ticket()]),
        command(
            "assign",
            "Staff: give a ticket to someone",
            &[looked_up("person", "Who gets it", true), which_ticket()],
        ),
        command(
            "priority",
            "Staff: set how urgent a ticket is",
            &[choice("level", "How urgent", true, &priorities), which_ticket()],
        ),
        command(
            "status",
            "Staff: set whose turn it is",
            &[choice("status", "Whose turn", true, &statuses), which_ticket()],
        ),
    ]
}

fn writing() -> Vec<Value> {
    vec![
        command(
            "note",
            "Staff: write a note that only staff see",
            &[text("text", "The note", true, LONGEST_TEXT), which_ticket()],
        ),
        command(
            "reply",
            "Staff: answer the requester",
            &[text("text", "The answer", true, LONGEST_TEXT), which_ticket()],
        ),
        command(
            "snippet",
            "Staff: texts for answers that recur",
            &[
                subcommand(
                    "use",
                    "Answer the requester with a snippet",
                    &[looked_up("name", "Which snippet", true), which_ticket()],
                ),
                subcommand("list", "All snippets", &[]),
                subcommand(
                    "save",
                    "Keep a snippet, or replace one",
                    &[text("name", "A short name", true, 64), text("text", "The text", true, LONGEST_TEXT)],
                ),
                subcommand("remove", "Remove a snippet", &[looked_up("name", "Which snippet", true)]),
            ],
        ),
    ]
}

fn judging(categories: &[String]) -> Vec<Value> {
    vec![
        command(
            "triage",
            "Staff: what a ticket was judged to be",
            &[
                subcommand("show", "The judgement, and who made it", &[which_ticket()]),
                subcommand("again", "Judge it again", &[which_ticket()]),
                subcommand("category", "Correct the category", &[category(categories, true), which_ticket()]),
                subcommand(
                    "skills",
                    "Correct the skills it takes",
                    &[looked_up("skills", "Skills, separated by commas", true), which_ticket()],
                ),
            ],
        ),
        command(
            "skills",
            "Staff: what you are good at",
            &[
                subcommand(
                    "show",
                    "Someone's skills; yours, if you name nobody",
                    &[looked_up("person", "Whose", false)],
                ),
                subcommand(
                    "propose",
                    "Propose a skill of yours; an admin confirms it",
                    &[
                        looked_up("skill", "Which skill", true),
                        json!({ "type": 4, "name": "level", "description": "From 1 (some) to 5 (expert)", "required": false,
                        "min_value": 1, "max_value": 5 }),
                    ],
                ),
            ],
        ),
    ]
}

fn command(name: &str, description: &str, options: &[Value]) -> Value {
    json!({ "name": name, "type": 1, "description": description, "options": options })
}

fn subcommand(name: &str, description: &str, options: &[Value]) -> Value {
    json!({ "type": 1, "name": name, "description": description, "options": options })
}

fn text(name: &str, description: &str, required: bool, max_length: u16) -> Value {
    json!({ "type": 3, "name": name, "description": description, "required": required, "max_length": max_length })
}

/// A text that ticketd completes while it is typed.
fn looked_up(name: &str, description: &str, required: bool) -> Value {
    json!({ "type": 3, "name": name, "description": description, "required": required, "autocomplete": true })
}

fn which_ticket() -> Value {
    looked_up("ticket", "Which ticket; left out: the one of this thread", false)
}

fn choice(name: &str, description: &str, required: bool, choices: &[(String, String)]) -> Value {
    let choices: Vec<Value> = choices
        .iter()
        .take(MOST_OPTIONS)
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    json!({ "type": 3, "name": name, "description": description, "required": required, "choices": choices })
}

fn category(categories: &[String], required: bool) -> Value {
    let fits = categories.iter().filter(|name| !name.is_empty() && name.chars().count() <= LONGEST_OPTION);
    let choices: Vec<(String, String)> =
        fits.map(|name| (cut(&name.replace('_', " "), LONGEST_OPTION), name.clone())).collect();
    choice("category", "What it is about", required, &choices)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<Value> {
        commands(&crate::config::Triage::default().categories)
    }

    /// Every command as people type it.
    fn usage(command: &Value, before: &str, lines: &mut Vec<String>) {
        let name = format!("{before}{}", command["name"].as_str().unwrap());
        let options = command["options"].as_array().cloned().unwrap_or_default();
        if options.first().is_some_and(|option| option["type"] == 1) {
            for option in &options {
                usage(option, &format!("{name} "), lines);
            }
            return;
        }
        let mut line = name;
        for option in &options {
            let (open, close) = if option["required"] == true { (' ', "") } else { ('[', "]") };
            line += &format!(
                "{}{}{close}",
                if open == '[' { " [" } else { " " },
                option["name"].as_str().unwrap()
            );
        }
        lines.push(line);
    }

    #[test]
    fn the_commands() {
        let mut lines = Vec::new();
        for command in &all() {
            usage(command, if command["type"] == 1 { "/" } else { "message: " }, &mut lines);
        }
        insta::assert_snapshot!(lines.join("\n"), @"
        /ticket new [category]
        /ticket list
        /ticket show [ticket]
        /ticket close [ticket]
        /ticket reopen [ticket]
        /ticket transcript [ticket]
        /link [email] [code]
        /claim [ticket]
        /release [ticket]
        /assign person [ticket]
        /priority level [ticket]
        /status status [ticket]
        /note text [ticket]
        /reply text [ticket]
        /snippet use name [ticket]
        /snippet list
        /snippet save name text
        /snippet remove name
        /triage show [ticket]
        /triage again [ticket]
        /triage category category [ticket]
        /triage skills skills [ticket]
        /skills show [person]
        /skills propose skill [level]
        /away on
        /away off
        /stats
        /panel
        message: Make a ticket of this
        message: Send to customer
        ");
    }

    fn check(thing: &Value, is_message_command: bool) {
        let name = thing["name"].as_str().unwrap();
        assert!((1..=32).contains(&name.chars().count()), "{name}");
        if is_message_command {
            assert!(thing.get("description").is_none() && thing.get("options").is_none());
            return;
        }
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_')), "{name}");
        let description = thing["description"].as_str().unwrap();
        assert!((1..=100).contains(&description.chars().count()), "{description}");
        let options = thing["options"].as_array().cloned().unwrap_or_default();
        assert!(options.len() <= 25);
        let names: BTreeSet<&str> = options.iter().map(|option| option["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), options.len(), "{name}");
        let required: Vec<bool> = options.iter().map(|option| option["required"] == true).collect();
        assert!(required.is_sorted_by(|a, b| a >= b), "{name}: required options come first");
        for option in &options {
            assert!(option["max_length"].as_u64().is_none_or(|most| (1..=6000).contains(&most)));
            let choices = option["choices"].as_array().cloned().unwrap_or_default();
            assert!(choices.len() <= 25 && (choices.is_empty() || option.get("autocomplete").is_none()));
            for choice in choices {
                for key in ["name", "value"] {
                    assert!((1..=100).contains(&choice[key].as_str().unwrap().chars().count()));
                }
            }
            check(option, false);
        }
    }

    #[test]
    fn discord_takes_them() {
        let many: Vec<String> = (0..40).map(|n| format!("{n}{}", "c".repeat(n * 4))).collect();
        for commands in [all(), commands(&many)] {
            assert!(commands.iter().filter(|command| command["type"] == 1).count() <= 100);
            assert!(commands.iter().filter(|command| command["type"] == 3).count() <= 5);
            let names: BTreeSet<&str> =
                commands.iter().map(|command| command["name"].as_str().unwrap()).collect();
            assert_eq!(names.len(), commands.len());
            for command in &commands {
                check(command, command["type"] == 3);
                assert!(command.to_string().chars().count() <= 8000);
            }
        }
    }
}
