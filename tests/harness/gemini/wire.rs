//! What the real Gemini refuses in a request, with the words it does so in: unknown fields, wrong types, schemas
//! outside its OpenAPI subset, settings a model doesn't take. Pure.
//!
//! Field lists after google/ai/generativelanguage/v1beta in googleapis f8291d2b89 (2026-08-22), as far as a ticket
//! daemon could come to use them; the rest is unknown here, which errs on the strict side.

use serde_json::{Map, Value};

/// What a field may hold.
enum Kind {
    Text,
    Number,
    Integer,
    Flag,
    Any,
    Word(&'static [&'static str]),
    Message(Message),
    List(&'static Kind),
    Mapped(&'static Kind),
}

/// Fields by their JSON names.
type Message = &'static [(&'static str, Kind)];

static REQUEST: Message = &[
    ("contents", Kind::List(&Kind::Message(CONTENT))),
    ("systemInstruction", Kind::Message(CONTENT)),
    ("generationConfig", Kind::Message(GENERATION)),
    ("safetySettings", Kind::List(&Kind::Message(SAFETY))),
    ("tools", Kind::Any),
    ("toolConfig", Kind::Any),
    ("cachedContent", Kind::Text),
];

const CONTENT: Message = &[("role", Kind::Text), ("parts", Kind::List(&Kind::Message(PART)))];

const PART: Message = &[
    ("text", Kind::Text),
    ("thought", Kind::Flag),
    ("thoughtSignature", Kind::Text),
    ("inlineData", Kind::Any),
    ("fileData", Kind::Any),
    ("functionCall", Kind::Any),
    ("functionResponse", Kind::Any),
];

const GENERATION: Message = &[
    ("candidateCount", Kind::Integer),
    ("stopSequences", Kind::List(&Kind::Text)),
    ("maxOutputTokens", Kind::Integer),
    ("temperature", Kind::Number),
    ("topP", Kind::Number),
    ("topK", Kind::Integer),
    ("seed", Kind::Integer),
    ("responseMimeType", Kind::Text),
    ("responseSchema", Kind::Message(SCHEMA)),
    ("responseJsonSchema", Kind::Any),
    ("presencePenalty", Kind::Number),
    ("frequencyPenalty", Kind::Number),
    ("responseLogprobs", Kind::Flag),
    ("logprobs", Kind::Integer),
    ("responseModalities", Kind::List(&Kind::Text)),
    ("thinkingConfig", Kind::Message(THINKING)),
];

const THINKING: Message = &[
    ("includeThoughts", Kind::Flag),
    ("thinkingBudget", Kind::Integer),
    ("thinkingLevel", Kind::Word(&["MINIMAL", "LOW", "MEDIUM", "HIGH"])),
];

const SAFETY: Message = &[
    (
        "category",
        Kind::Word(&[
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
        ]),
    ),
    (
        "threshold",
        Kind::Word(&[
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ]),
    ),
];

const TYPES: &[&str] = &["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"];

/// The keywords of `responseSchema`: no `additionalProperties`, `$ref`, `const` or `oneOf` among them. Schemas within
/// are checked by [`schema`], which walks them itself.
const SCHEMA: Message = &[
    ("type", Kind::Word(TYPES)),
    ("format", Kind::Text),
    ("title", Kind::Text),
    ("description", Kind::Text),
    ("nullable", Kind::Flag),
    ("enum", Kind::List(&Kind::Text)),
    ("items", Kind::Any),
    ("minItems", Kind::Integer),
    ("maxItems", Kind::Integer),
    ("properties", Kind::Mapped(&Kind::Any)),
    ("required", Kind::List(&Kind::Text)),
    ("minProperties", Kind::Integer),
    ("maxProperties", Kind::Integer),
    ("minimum", Kind::Number),
    ("maximum", Kind::Number),
    ("minLength", Kind::Integer),
    ("maxLength", Kind::Integer),
    ("pattern", Kind::Text),
    ("example", Kind::Any),
    ("anyOf", Kind::List(&Kind::Any)),
    ("propertyOrdering", Kind::List(&Kind::Text)),
    ("default", Kind::Any),
];

/// The message of the 400 that a body deserves, if it does.
pub(super) fn complaint(model: &str, body: &Value) -> Option<String> {
    check(body, &Kind::Message(REQUEST), "").err().or_else(|| sense(model, body).err())
}

/// Types and names, as the JSON reader of protobuf sees them.
fn check(value: &Value, kind: &Kind, at: &str) -> Result<(), String> {
    let wrong = |name: &str| Err(format!("Invalid value at '{at}' ({name}), {value}"));
    match kind {
        Kind::Any => Ok(()),
        Kind::Text if value.is_string() => Ok(()),
        Kind::Text => wrong("TYPE_STRING"),
        Kind::Number if value.is_number() => Ok(()),
        Kind::Number => wrong("TYPE_DOUBLE"),
        Kind::Integer if value.is_i64() => Ok(()),
        Kind::Integer => wrong("TYPE_INT32"),
        Kind::Flag if value.is_boolean() => Ok(()),
        Kind::Flag => wrong("TYPE_BOOL"),
        Kind::Word(words) => {
            let known =
                value.as_str().is_some_and(|word| words.contains(&word.to_ascii_uppercase().as_str()));
            if known { Ok(()) } else { wrong("TYPE_ENUM") }
        }
        Kind::List(item) => {
            let Some(items) = value.as_array() else { return wrong("repeated field") };
            items
                .iter()
                .enumerate()
                .try_for_each(|(number, value)| check(value, item, &format!("{at}[{number}]")))
        }
        Kind::Mapped(item) => {
            let Some(items) = value.as_object() else { return wrong("map field") };
            items.iter().try_for_each(|(key, value)| check(value, item, &format!("{at}.{key}")))
        }
        Kind::Message(fields) => {
            let Some(given) = value.as_object() else { return wrong("message") };
            given.iter().try_for_each(|(name, value)| field(name, value, fields, at))
        }
    }
}

fn field(name: &str, value: &Value, fields: Message, at: &str) -> Result<(), String> {
    let known = fields.iter().find(|(camel, _)| *camel == name || snake(camel) == name);
    let Some((camel, kind)) = known else {
        let place = if at.is_empty() { String::new() } else { format!(" at '{at}'") };
        return Err(format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
        ));
    };
    let path = if at.is_empty() { snake(camel) } else { format!("{at}.{}", snake(camel)) };
    check(value, kind, &path)
}

/// What is well-formed and still refused.
fn sense(model: &str, body: &Value) -> Result<(), String> {
    let contents = get(body, "contents").and_then(Value::as_array);
    let Some(contents) = contents.filter(|contents| !contents.is_empty()) else {
        return Err("* GenerateContentRequest.contents: contents is not specified".into());
    };
    for content in contents {
        let role = get(content, "role").and_then(Value::as_str).unwrap_or("user");
        if !["user", "model"].contains(&role) {
            return Err("Please use a valid role: user, model.".into());
        }
        if get(content, "parts").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(
                "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.".into()
            );
        }
    }
    if contents.last().and_then(|last| get(last, "role")).is_some_and(|role| role == "model") {
        return Err("Please ensure that the last turn has the role user.".into());
    }
    let Some(config) = get(body, "generationConfig") else { return Ok(()) };
    if get(config, "presencePenalty").is_some() || get(config, "frequencyPenalty").is_some() {
        return Err("Penalty is not enabled for this model".into());
    }
    thinking(model, get(config, "thinkingConfig"))?;
    let Some(wanted) = get(config, "responseSchema") else { return Ok(()) };
    let mime = get(config, "responseMimeType").and_then(Value::as_str).unwrap_or_default();
    if get(config, "responseJsonSchema").is_some() {
        return Err("Only one of response_schema and response_json_schema may be set".into());
    }
    if !["application/json", "text/x.enum"].contains(&mime) {
        return Err(format!(
            "Response schema is only supported with response mime type: 'application/json', got '{mime}'"
        ));
    }
    schema(wanted, "generation_config.response_schema")
}

fn thinking(model: &str, config: Option<&Value>) -> Result<(), String> {
    let level = config.and_then(|config| get(config, "thinkingLevel")).and_then(Value::as_str);
    let budget = config.and_then(|config| get(config, "thinkingBudget"));
    match level {
        Some(_) if budget.is_some() => {
            Err("You can only set only one of thinking budget and thinking level.".into())
        }
        Some(_) if model.starts_with("gemini-2.5") => {
            Err("Thinking level is not supported for this model.".into())
        }
        Some(level)
            if level.eq_ignore_ascii_case("minimal")
                && ["gemini-3.7", "gemini-3.8"].iter().any(|new| model.starts_with(new)) =>
        {
            Err("Thinking level MINIMAL is not supported for this model.".into())
        }
        Some(_) | None => Ok(()),
    }
}

/// A schema and those within it.
fn schema(value: &Value, at: &str) -> Result<(), String> {
    check(value, &Kind::Message(SCHEMA), at)?;
    let request = format!("* GenerateContentRequest.{at}");
    let properties = get(value, "properties").and_then(Value::as_object);
    let kind = get(value, "type").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    if kind == "OBJECT" && properties.is_none_or(Map::is_empty) {
        return Err(format!("{request}.properties: should be non-empty for OBJECT type"));
    }
    if kind == "ARRAY" && get(value, "items").is_none() {
        return Err(format!("{request}.items: missing field."));
    }
    for (number, name) in list(value, "required").enumerate() {
        if !name.as_str().is_some_and(|name| properties.is_some_and(|all| all.contains_key(name))) {
            return Err(format!("{request}.required[{number}]: property is not defined"));
        }
    }
    for (number, word) in list(value, "enum").enumerate() {
        if word == "" {
            return Err(format!("{request}.enum[{number}]: cannot be empty"));
        }
    }
    if get(value, "enum").is_some() && list(value, "enum").next().is_none() {
        return Err(format!("{request}.enum: should be non-empty"));
    }
    for (name, inner) in properties.into_iter().flatten() {
        schema(inner, &format!("{at}.properties[{name}]"))?;
    }
    for (number, inner) in list(value, "anyOf").enumerate() {
        schema(inner, &format!("{at}.any_of[{number}]"))?;
    }
    get(value, "items").map_or(Ok(()), |items| schema(items, &format!("{at}.items")))
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    get(value, name).and_then(Value::as_array).into_iter().flatten()
}

/// A field by its JSON name, under either spelling.
pub(super) fn get<'a>(value: &'a Value, camel: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake(camel)))
}

fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
