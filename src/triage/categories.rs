//! What the default categories are called in tickets: an admin configures a name, people write in their own words.

use std::sync::LazyLock;

use serde::Deserialize;

use super::question::Label;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    category: Vec<Category>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    slug: String,
    aliases: Vec<String>,
    description: String,
}

/// The file is part of the program, and a test reads it; were it broken, categories would be known by name alone.
static KNOWN: LazyLock<Vec<Category>> = LazyLock::new(|| {
    toml::from_str::<Known>(include_str!("categories.toml")).map(|known| known.category).unwrap_or_default()
});

/// A category as the engines take it; one of an admin's own has only its name.
pub(super) fn label(slug: &str) -> Label {
    let known = KNOWN.iter().find(|category| category.slug == slug);
    Label {
        slug: slug.to_owned(),
        name: slug.replace(['_', '-'], " "),
        aliases: known.map(|k| k.aliases.clone()).unwrap_or_default(),
        description: known.map(|k| k.description.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_category_has_words() {
        for slug in crate::config::Triage::default().categories {
            assert!(!label(&slug).description.is_empty(), "{slug}");
        }
        assert_eq!(label("press_inquiry").name, "press inquiry");
    }
}
