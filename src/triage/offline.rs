//! The engine that needs nobody: rules and a word index over the live catalogue, in about a millisecond.
//!
//! It is deterministic, keeps nothing between tickets, and would rather say nothing than guess. Knows neither the
//! database nor the network.

pub mod catalogue;
mod confidence;
mod priority;
mod stopwords;
mod text;

pub use catalogue::{Catalogue, Ranked};

use crate::triage::question::{Engine, Judgement, Label, MAX_SKILLS, Question};

/// Stored as the prompt version of offline judgements. Raise it when the same ticket may come out differently.
pub const VERSION: &str = "offline-1";
const MODEL: &str = "catalogue";

/// A label is named next to the best one when it has at least this share of its score.
const RUNNER_UP_SHARE: f32 = 0.6;
/// Below this score nothing in the text speaks for a label: a single common word of a description is no evidence.
const MIN_EVIDENCE: f32 = 1.0;
/// More of a body than this tells nothing more and costs time.
const MAX_BODY_CHARS: usize = 20_000;

/// Judges a ticket by its words and the catalogue alone.
pub fn judge(question: &Question) -> Judgement {
    let body = head(&question.body, MAX_BODY_CHARS);
    let subject = head(&question.subject, MAX_BODY_CHARS);
    let skills = Catalogue::new(&question.skills).rank(subject, body);
    let categories = Catalogue::new(&question.categories).rank(subject, body);
    let mut words = text::words(subject);
    words.extend(text::words(body));
    let urgency = priority::judge(&words);

    let wanted = wanted(&skills);
    let category = categories.first().filter(|best| best.score >= MIN_EVIDENCE);
    // Routing goes by skills; without a catalogue of skills the category is all there is to be sure of.
    let decisive = if question.skills.is_empty() { &categories } else { &skills };
    let confidence = confidence::of(decisive);
    let notes = notes(&wanted, category, &urgency);
    Judgement {
        category: category.map(|best| best.slug.clone()).or_else(|| other(&question.categories)),
        priority: Some(urgency.priority),
        language: text::language(&format!("{subject}\n{body}")).map(str::to_owned),
        skills: wanted.iter().map(|ranked| ranked.slug.clone()).collect(),
        notes,
        suggested_reply: None,
        confidence,
        engine: Engine::Offline,
        model: MODEL.to_owned(),
        prompt_version: VERSION.to_owned(),
        discarded: Vec::new(),
        tokens_in: None,
        tokens_out: None,
    }
}

/// The labels that the text speaks for: none when nothing does, at most three.
fn wanted(ranked: &[Ranked]) -> Vec<&Ranked> {
    let best = ranked.first().map_or(0.0, |best| best.score);
    let least = MIN_EVIDENCE.max(best * RUNNER_UP_SHARE);
    ranked.iter().take_while(|ranked| ranked.score >= least).take(MAX_SKILLS).collect()
}

fn other(categories: &[Label]) -> Option<String> {
    categories.iter().find(|label| label.slug == "other").map(|label| label.slug.clone())
}

/// What decided, for staff. The words are the customer's, stripped to letters and digits by the word splitter.
fn notes(skills: &[&Ranked], category: Option<&Ranked>, urgency: &priority::Urgency) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    let deciding = |ranked: &Ranked| {
        let words: Vec<&str> = ranked.words.iter().take(3).map(String::as_str).collect();
        format!("{} ({})", ranked.slug, words.join(", "))
    };
    let mut labels: Vec<String> = skills.iter().map(|ranked| deciding(ranked)).collect();
    labels.extend(category.map(deciding));
    if !labels.is_empty() {
        lines.push(format!("By its words: {}.", labels.join("; ")));
    }
    if !urgency.because.is_empty() {
        let quoted: Vec<String> = urgency.because.iter().map(|phrase| format!("\"{phrase}\"")).collect();
        lines.push(format!("Priority {} because of {}.", urgency.priority.as_str(), quoted.join(", ")));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn head(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
