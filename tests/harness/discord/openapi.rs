//! Discord's own description of its API, and whether a request keeps to it.
//!
//! `openapi.json` is made by `trim_openapi.py` from the whole description and holds the operations that ticketd may
//! use; a request that is none of these is a fault, too. A property that the description lacks is a fault as well:
//! Discord would silently pass over it, and over what it was to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Value, json};

const DESCRIPTION: &str = include_str!("openapi.json");

/// A call of one of the described operations.
#[derive(Clone, Debug)]
pub struct Found {
    /// `create_message`.
    pub operation: String,
    pub parameters: BTreeMap<String, String>,
    /// It can be called without the bot's token.
    pub is_open: bool,
    description: Arc<Value>,
}

/// Something wrong in a request: where, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// `/components/0/type`, or a parameter's name.
    pub at: String,
    pub what: String,
}

impl Fault {
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into() }
    }
}

struct Described {
    template: Vec<String>,
    method: String,
    description: Arc<Value>,
}

/// The operation that a request calls; where two fit, the one with more fixed words.
pub fn find(method: &str, path: &str) -> Option<Found> {
    let segments: Vec<&str> = path.split('/').collect();
    let fitting = described().iter().filter(|operation| {
        let mut pairs = operation.template.iter().zip(&segments);
        operation.method == method
            && operation.template.len() == segments.len()
            && pairs.all(|(word, segment)| is_parameter(word) || word == segment)
    });
    let fixed = |operation: &&Described| operation.template.iter().filter(|word| !is_parameter(word)).count();
    let operation = fitting.max_by_key(fixed)?;
    let pairs = operation.template.iter().zip(&segments).filter(|(word, _)| is_parameter(word));
    let parameters =
        pairs.map(|(word, segment)| (word.trim_matches(['{', '}']).to_owned(), (*segment).to_owned()));
    let description = Arc::clone(&operation.description);
    Some(Found {
        operation: text(&description, "operationId"),
        parameters: parameters.collect(),
        is_open: description.get("open") == Some(&json!(true)),
        description,
    })
}

impl Found {
    /// What the request has wrong in its path, its query and its body.
    pub fn faults(&self, query: &BTreeMap<String, String>, body: Option<&Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let described = self.description.get("parameters").and_then(Value::as_array);
        let described: Vec<&Value> = described.into_iter().flatten().collect();
        for (name, value) in self.parameters.iter().chain(query) {
            let Some(parameter) = described.iter().find(|parameter| text(parameter, "name") == *name) else {
                faults.push(Fault::new(name, "no such parameter"));
                continue;
            };
            let schema = parameter.get("schema").cloned().unwrap_or_default();
            // In a query everything is text.
            let as_json = serde_json::from_str(value).ok().filter(|_| text(&schema, "type") != "string");
            let is_snowflake = schema.get("$ref").is_some();
            let value = as_json.filter(|_| !is_snowflake).unwrap_or_else(|| json!(value));
            let key = format!("{name} {schema}");
            faults.extend(check(&key, &schema, &value).into_iter().map(|fault| Fault::new(name, fault.what)));
        }
        match (self.description.get("requestBody"), body) {
            (Some(schema), Some(body)) => faults.extend(check(&self.operation, schema, body)),
            (Some(_), None) => faults.push(Fault::new("", "a body is missing")),
            // serenity sends some empty bodies, which nobody minds.
            (None, Some(body)) if *body != json!({}) && !body.is_null() => {
                faults.push(Fault::new("", "a body, where none is read"));
            }
            (None, _) => {}
        }
        faults
    }
}

fn described() -> &'static [Described] {
    static DESCRIBED: OnceLock<Vec<Described>> = OnceLock::new();
    DESCRIBED.get_or_init(|| {
        let mut list = Vec::new();
        for (path, item) in whole().get("paths").and_then(Value::as_object).into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                list.push(Described {
                    template: path.split('/').map(str::to_owned).collect(),
                    method: method.to_uppercase(),
                    description: Arc::new(operation.clone()),
                });
            }
        }
        list
    })
}

fn whole() -> &'static Value {
    static WHOLE: OnceLock<Value> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let mut whole: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
        let schemas = whole.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
        for (name, schema) in schemas.into_iter().flatten() {
            be_strict(schema);
            be_lenient(name, schema);
        }
        whole
    })
}

/// No other properties than the described ones, unless they say nothing: serenity has one struct for options of all
/// types, and sends what does not belong to a type as null, false or an empty list.
fn be_strict(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut()
        && schema.contains_key("properties")
    {
        schema.entry("additionalProperties").or_insert(json!({"enum": [null, false, []]}));
    }
}

/// What serenity sends beside the description, and Discord takes.
fn be_lenient(name: &str, schema: &mut Value) {
    let mut allow = |property: &str, with: Value| {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(property.to_owned(), with);
        }
    };
    match name {
        "ApplicationCommandUpdateRequest" => {
            allow("nsfw", json!({"type": ["boolean", "null"]}));
            // The description says integer, the documentation says text, and serenity sends text.
            allow("default_member_permissions", json!({"type": ["string", "null"], "pattern": "^[0-9]+$"}));
        }
        // The number of an upload of this request.
        "MessageAttachmentRequest" => {
            allow(
                "id",
                json!({"anyOf": [{"$ref": "#/components/schemas/SnowflakeType"}, {"type": "integer"}]}),
            );
        }
        _ => {}
    }
}

/// Checks by a schema; compiled once per `key`.
fn check(key: &str, schema: &Value, value: &Value) -> Vec<Fault> {
    static COMPILED: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let known = COMPILED.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
    let validator = known.unwrap_or_else(|| {
        let components = whole().get("components").cloned().unwrap_or_default();
        let schema = json!({"allOf": [schema], "components": components});
        let options = jsonschema::options().with_draft(Draft::Draft202012);
        let validator = Arc::new(options.build(&schema).expect("the description has good schemas"));
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.insert(key.to_owned(), Arc::clone(&validator));
        validator
    });
    validator.iter_errors(value).map(|error| explain(&error)).collect()
}

/// Of a choice of schemas, the one is meant that fits furthest.
fn explain(error: &ValidationError<'_>) -> Fault {
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } =
        error.kind()
    {
        let deepest = |errors: &Vec<ValidationError<'_>>| {
            let is_about_type =
                |error: &ValidationError<'_>| error.instance_path().as_str().ends_with("/type");
            let depth = errors.iter().map(|error| explain(error).at.matches('/').count()).max();
            (!errors.iter().any(is_about_type), depth)
        };
        let best = context.iter().max_by_key(|errors| deepest(errors));
        if let Some(error) = best.and_then(|errors| errors.first()) {
            return explain(error);
        }
    }
    let what: String = error.to_string().chars().take(300).collect();
    Fault::new(error.instance_path().as_str(), what)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is_parameter(word: &str) -> bool {
    word.starts_with('{')
}
