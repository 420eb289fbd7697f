//! In the OpenAPI document a schema goes by its type's name alone: of two types of one name, one would be described as the
//! other.

use std::collections::BTreeMap;

/// The name under which each type of a file is described, with its line.
fn described(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut is_schema, mut given) = (false, None);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[derive(") {
            is_schema = line.contains("ToSchema");
            given = None;
        } else if let Some((_, name)) = line.split_once("schema(as = ") {
            given = Some(name.chars().take_while(char::is_ascii_alphanumeric).collect());
        }
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let name = words.iter().position(|word| matches!(*word, "struct" | "enum"));
        let is_item = !line.starts_with("//") && !line.starts_with('#');
        if let Some(name) = name.and_then(|place| words.get(place + 1)).filter(|_| is_item) {
            // A macro's types are named where it is used.
            if is_schema && !name.is_empty() {
                found.push((at + 1, given.take().unwrap_or_else(|| (*name).to_owned())));
            }
            is_schema = false;
        }
    }
    found
}

#[test]
fn each_schema_of_the_api_has_a_name_of_its_own() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in super::rust_files("src") {
        for (line, name) in described(&text) {
            places.entry(name).or_default().push(format!("{path}:{line}"));
        }
    }
    assert!(places.len() > 20, "the schemas are not where this test looks for them");
    let twice: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "give one of them another name, or `#[schema(as = …)]`: {twice:#?}");
}

#[test]
fn a_name_is_found_however_it_is_given() {
    let text = "#[derive(Serialize, ToSchema)]\n#[serde(deny_unknown_fields)]\npub struct Page<T> {\n}\n\
                #[derive(utoipa::ToSchema)]\n#[schema(as = Other)]\nenum Kind {\n}\n#[derive(Clone)]\nstruct Inner;\n";
    assert_eq!(described(text), [(3, "Page".to_owned()), (7, "Other".to_owned())]);
}
