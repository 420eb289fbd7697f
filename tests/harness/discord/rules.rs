//! Discord's limits that its description does not have: <https://discord.com/developers/docs/resources/message>,
//! `/components/reference` and `/interactions/application-commands`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::openapi::Fault;

/// What an operation's body has wrong beyond its schema.
pub fn faults(operation: &str, body: &Value, uploads: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    match operation {
        "create_message"
        | "update_message"
        | "execute_webhook"
        | "update_original_webhook_message"
        | "update_webhook_message" => message("", body, uploads, &mut faults),
        "create_thread" => {
            if let Some(first) = body.get("message") {
                message("/message", first, uploads, &mut faults);
            }
        }
        "create_interaction_response" => callback(body, uploads, &mut faults),
        "bulk_set_guild_application_commands" => commands(body, &mut faults),
        _ => {}
    }
    faults
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn message(at: &str, body: &Value, uploads: &[String], faults: &mut Vec<Fault>) {
    if text(body, "content").chars().count() > 2000 {
        faults.push(Fault::new(format!("{at}/content"), "Must be 2000 or fewer in length."));
    }
    embeds(at, body, faults);
    components(at, body, faults);
    if let Some(allowed) = body.get("allowed_mentions") {
        for kind in ["users", "roles"] {
            let parses = list(allowed, "parse").iter().any(|word| word.as_str() == Some(kind));
            if parses && !list(allowed, kind).is_empty() {
                let what = format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
                faults.push(Fault::new(format!("{at}/allowed_mentions"), what));
            }
        }
    }
    if uploads.len() > 10 {
        faults.push(Fault::new(format!("{at}/attachments"), "Must be 10 or fewer in length."));
    }
    for attachment in list(body, "attachments") {
        // A small number means an upload of this request, a snowflake a file that is there already.
        let id = attachment.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let is_upload = id.as_ref().is_some_and(|id| id.len() < 3);
        let wanted = format!("files[{}]", id.unwrap_or_default());
        if is_upload && !uploads.contains(&wanted) {
            faults.push(Fault::new(format!("{at}/attachments"), format!("{wanted} was not uploaded")));
        }
    }
    if body.get("nonce").is_none() && body.get("enforce_nonce") == Some(&Value::Bool(true)) {
        faults.push(Fault::new(format!("{at}/enforce_nonce"), "there is no nonce"));
    }
}

fn embeds(at: &str, body: &Value, faults: &mut Vec<Fault>) {
    let count = |value: &str| value.chars().count();
    let mut all = 0;
    for embed in list(body, "embeds") {
        all += count(text(embed, "title")) + count(text(embed, "description"));
        all += embed.get("footer").map_or(0, |footer| count(text(footer, "text")));
        all += embed.get("author").map_or(0, |author| count(text(author, "name")));
        for field in list(embed, "fields") {
            all += count(text(field, "name")) + count(text(field, "value"));
        }
    }
    if all > 6000 {
        let what = format!("Embed size exceeds maximum size of 6000: {all}");
        faults.push(Fault::new(format!("{at}/embeds"), what));
    }
}

fn components(at: &str, body: &Value, faults: &mut Vec<Fault>) {
    let is_new_kind = number(body, "flags") & super::world::COMPONENTS_V2 != 0;
    let rows = list(body, "components");
    if rows.len() > 5 && !is_new_kind {
        faults.push(Fault::new(format!("{at}/components"), "Must be between 1 and 5 in length."));
    }
    let mut ids = BTreeSet::new();
    for (row, components) in
        rows.iter().enumerate().map(|(row, components)| (row, list(components, "components")))
    {
        let at = format!("{at}/components/{row}/components");
        let selects = components.iter().filter(|one| number(one, "type") != 2).count();
        if selects > 0 && components.len() > 1 {
            faults.push(Fault::new(&at, "The row has no more room: a select fills it."));
        }
        for (place, component) in components.iter().enumerate() {
            let at = format!("{at}/{place}");
            let is_link = number(component, "type") == 2 && number(component, "style") == 5;
            let id = text(component, "custom_id");
            if is_link == component.get("url").is_none() {
                faults.push(Fault::new(format!("{at}/url"), "Links have one, and only links."));
            }
            if id.is_empty() != is_link {
                faults.push(Fault::new(format!("{at}/custom_id"), "Everything but a link has one."));
            } else if !is_link && !ids.insert(id) {
                faults
                    .push(Fault::new(format!("{at}/custom_id"), "Component custom id cannot be duplicated"));
            }
            if number(component, "type") == 2
                && text(component, "label").is_empty()
                && component.get("emoji").is_none()
            {
                faults.push(Fault::new(format!("{at}/label"), "A button has a label or an emoji."));
            }
            select(&at, component, faults);
        }
    }
}

fn select(at: &str, component: &Value, faults: &mut Vec<Fault>) {
    let mut values = BTreeSet::new();
    for option in list(component, "options") {
        if !values.insert(text(option, "value")) {
            let what = "The specified option value is already used";
            faults.push(Fault::new(format!("{at}/options"), what));
        }
    }
    let chosen = list(component, "options")
        .iter()
        .filter(|option| option.get("default") == Some(&true.into()))
        .count();
    let most = component.get("max_values").and_then(Value::as_u64).unwrap_or(1);
    if u64::try_from(chosen).is_ok_and(|chosen| chosen > most) {
        faults.push(Fault::new(format!("{at}/options"), "More defaults than max_values."));
    }
}

fn callback(body: &Value, uploads: &[String], faults: &mut Vec<Fault>) {
    let Some(data) = body.get("data").filter(|data| !data.is_null()) else {
        if matches!(number(body, "type"), 4 | 8 | 9) {
            faults.push(Fault::new("/data", "This field is required"));
        }
        return;
    };
    match number(body, "type") {
        9 => modal(data, faults),
        8 => {}
        _ => message("/data", data, uploads, faults),
    }
}

fn modal(data: &Value, faults: &mut Vec<Fault>) {
    let rows = list(data, "components");
    if rows.len() > 5 {
        faults.push(Fault::new("/data/components", "Must be between 1 and 5 in length."));
    }
    let mut ids = BTreeSet::new();
    for (row, components) in
        rows.iter().enumerate().map(|(row, components)| (row, list(components, "components")))
    {
        let at = format!("/data/components/{row}");
        if components.len() > 1 {
            faults.push(Fault::new(&at, "A row holds one text input."));
        }
        for input in components {
            if !ids.insert(text(input, "custom_id")) {
                faults.push(Fault::new(&at, "Component custom id cannot be duplicated"));
            }
            let longest = input.get("max_length").and_then(Value::as_u64).unwrap_or(4000);
            let value = u64::try_from(text(input, "value").chars().count()).unwrap_or(u64::MAX);
            if value > longest {
                faults.push(Fault::new(&at, "The value is longer than max_length."));
            }
        }
    }
}

fn commands(body: &Value, faults: &mut Vec<Fault>) {
    let mut names = BTreeSet::new();
    for (place, command) in body.as_array().into_iter().flatten().enumerate() {
        let at = format!("/{place}");
        let kind = command.get("type").and_then(Value::as_u64).unwrap_or(1);
        let (name, description) = (text(command, "name"), text(command, "description"));
        if !names.insert((kind, name)) {
            faults.push(Fault::new(&at, "Application command names must be unique"));
        }
        if kind == 1 {
            if !is_name(name) {
                faults.push(Fault::new(format!("{at}/name"), "Command name is invalid"));
            }
            if description.is_empty() {
                faults.push(Fault::new(format!("{at}/description"), "This field is required"));
            }
        } else if !description.is_empty() || !list(command, "options").is_empty() {
            faults.push(Fault::new(&at, "A context menu command has neither description nor options."));
        }
        options(&at, command, faults);
        if size(command) > 8000 {
            faults.push(Fault::new(&at, "The texts of a command may have 8000 characters in all."));
        }
    }
    for (kind, most) in [(1, 100), (2, 15), (3, 15)] {
        if names.iter().filter(|(one, _)| *one == kind).count() > most {
            faults.push(Fault::new("", format!("More than {most} commands of type {kind}.")));
        }
    }
}

fn options(at: &str, parent: &Value, faults: &mut Vec<Fault>) {
    let mut names = BTreeSet::new();
    let mut optional = false;
    let kinds: BTreeSet<bool> = list(parent, "options").iter().map(|one| number(one, "type") <= 2).collect();
    if kinds.len() > 1 {
        faults.push(Fault::new(format!("{at}/options"), "Subcommands and options do not mix."));
    }
    for (place, option) in list(parent, "options").into_iter().enumerate() {
        let at = format!("{at}/options/{place}");
        let required = option.get("required") == Some(&Value::Bool(true));
        if !is_name(text(option, "name")) {
            faults.push(Fault::new(format!("{at}/name"), "Option name is invalid"));
        }
        if !names.insert(text(option, "name")) {
            faults.push(Fault::new(&at, "Option names must be unique"));
        }
        if required && optional {
            faults.push(Fault::new(&at, "Required options must be placed before non-required options"));
        }
        optional |= !required;
        let choices = list(option, "choices");
        if option.get("autocomplete") == Some(&Value::Bool(true)) && !choices.is_empty() {
            faults.push(Fault::new(&at, "Choices and autocomplete exclude each other."));
        }
        let unique: BTreeSet<&str> = choices.iter().map(|choice| text(choice, "name")).collect();
        if unique.len() != choices.len() {
            faults.push(Fault::new(format!("{at}/choices"), "Option choice names must be unique"));
        }
        options(&at, option, faults);
    }
}

/// Names, descriptions and values, also of what is inside.
fn size(command: &Value) -> usize {
    let count = |value: &Value, key: &str| text(value, key).chars().count();
    let inside: usize = list(command, "options").into_iter().map(size).sum();
    let choices: usize =
        list(command, "choices").iter().map(|choice| count(choice, "name") + count(choice, "value")).sum();
    count(command, "name") + count(command, "description") + inside + choices
}

/// `^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$`, in lower case.
fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || "-_'".contains(letter);
    (1..=32).contains(&name.chars().count()) && name.chars().all(fits) && name == name.to_lowercase()
}
