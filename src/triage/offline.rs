//! The engine that needs nobody: rules and a word index over the live catalogue, in about a millisecond.
//!
//! It is deterministic, learns nothing from one ticket for the next, and would rather say nothing than guess. Knows
//! neither the database nor the network.

mod catalogue;
mod concepts;
mod confidence;
mod cues;
mod index;
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
/// The most that a judgement without any skill claims.
const UNSURE: f32 = 0.1;
/// More of a body than this tells nothing more and costs time.
const MAX_BODY_CHARS: usize = 20_000;

/// Judges a ticket by its words and the catalogue alone.
pub fn judge(question: &Question) -> Judgement {
    let body = head(&question.body, MAX_BODY_CHARS);
    let subject = head(&question.subject, MAX_BODY_CHARS);
    let (skill_catalogue, category_catalogue) =
        (Catalogue::shared(&question.skills), Catalogue::shared(&question.categories));
    let skills = skill_catalogue.rank(subject, body);
    let categories = category_catalogue.rank(subject, body);
    let mut words = text::words(subject);
    words.extend(text::words(body));
    let urgency = priority::judge(&words);

    let wanted = wanted(&skills, skill_catalogue.least_evidence());
    let category = categories.first().filter(|best| best.score >= category_catalogue.least_evidence());
    // Routing goes by skills; without a catalogue of skills the category is all there is to be sure of.
    let decisive = if question.skills.is_empty() { &categories } else { &skills };
    let confidence = confidence::of(decisive);
    // Too little evidence to name a label is too little to be sure of anything.
    let confidence =
        if !question.skills.is_empty() && wanted.is_empty() { confidence.min(UNSURE) } else { confidence };
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
fn wanted(ranked: &[Ranked], least_evidence: f32) -> Vec<&Ranked> {
    let best = ranked.first().map_or(0.0, |best| best.score);
    let least = least_evidence.max(best * RUNNER_UP_SHARE);
    ranked.iter().take_while(|ranked| ranked.score >= least).take(MAX_SKILLS).collect()
}

fn other(categories: &[Label]) -> Option<String> {
    categories.iter().find(|label| label.slug == "other").map(|label| label.slug.clone())
}

/// What decided, for staff. The words are the customer's, stripped to letters and digits by the word splitter.
fn notes(skills: &[&Ranked], category: Option<&Ranked>, urgency: &priority::Urgency) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
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

/// A label with its three strongest words; a word that a phrase beside it has already is left out.
fn deciding(ranked: &Ranked) -> String {
    let told = |word: &str| {
        ranked.words.iter().any(|other| other != word && other.split(' ').any(|part| part == word))
    };
    let words: Vec<&str> =
        ranked.words.iter().map(String::as_str).filter(|word| !told(word)).take(3).collect();
    format!("{} ({})", ranked.slug, words.join(", "))
}

fn head(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tickets::Priority;

    fn label(slug: &str, name: &str, aliases: &[&str], description: &str) -> Label {
        Label {
            slug: slug.into(),
            name: name.into(),
            aliases: aliases.iter().map(|&alias| alias.into()).collect(),
            description: description.into(),
        }
    }

    fn question(subject: &str, body: &str) -> Question {
        Question {
            subject: subject.into(),
            body: body.into(),
            categories: vec![
                label("billing", "Billing", &["invoice", "refund"], "Invoices, payments and subscriptions."),
                label("bug", "Bug", &["error", "crash"], "Something does not work as it should."),
                label("question", "Question", &["how to"], "How something is done."),
                label("other", "Other", &[], "Anything else."),
            ],
            skills: vec![
                label(
                    "rust",
                    "Rust",
                    &["cargo", "borrow checker"],
                    "The language, its compiler and libraries.",
                ),
                label("postgres", "PostgreSQL", &["postgres", "sql"], "Queries, indexes and migrations."),
                label("email", "E-mail", &["smtp", "imap", "spf"], "Delivery of mail, spam and bounces."),
                label(
                    "it",
                    "IT department",
                    &["IT", "hardware"],
                    "Laptops, printers and the office network.",
                ),
                label(
                    "invoices",
                    "Invoices",
                    &["invoice", "Rechnung"],
                    "Wrong amounts, addresses and taxes.",
                ),
            ],
        }
    }

    #[test]
    fn a_ticket_is_judged_by_its_words() {
        let judgement = judge(&question(
            "The borrow checker crashes cargo",
            "Since the update our build has been failing, and we need it as soon as possible.",
        ));
        assert_eq!(judgement.category.as_deref(), Some("bug"));
        assert_eq!(judgement.skills, ["rust"]);
        assert_eq!(judgement.priority, Some(Priority::High));
        assert_eq!(judgement.language.as_deref(), Some("en"));
        assert_eq!(judgement.suggested_reply, None);
        assert_eq!((judgement.engine, judgement.prompt_version.as_str()), (Engine::Offline, VERSION));
        let notes = judgement.notes.unwrap();
        assert_eq!(
            notes,
            "By its words: rust (cargo, borrow checker); bug (crashes).\n\
             Priority high because of \"as soon as possible\"."
        );
        assert!(judgement.confidence > 0.6, "{}", judgement.confidence);
    }

    #[test]
    fn nothing_is_better_than_a_guess() {
        for (subject, body) in
            [("", ""), ("Hello", "Please call me back, thanks!"), ("???", "\u{0}\u{202e} 1234 !!")]
        {
            let judgement = judge(&question(subject, body));
            assert_eq!(judgement.skills, [""; 0], "{subject}");
            assert!(judgement.confidence <= UNSURE, "{subject}: {}", judgement.confidence);
        }
        let judgement = judge(&question("Hello", "Please call me back, thanks!"));
        assert_eq!(judgement.category.as_deref(), Some("other"));
        assert_eq!((judgement.priority, judgement.notes), (Some(Priority::Medium), None));
        let bare = judge(&Question { subject: "SQL".into(), ..Question::default() });
        assert_eq!((bare.category, bare.skills.len(), bare.confidence), (None, 0, 0.0));
    }

    #[test]
    fn customers_and_catalogue_need_not_share_a_language_or_a_form() {
        let cases = [
            ("Meine Rechnungen stimmen nicht", "invoices"),
            ("Rechnungsfehler im März", "invoices"),
            ("Ma facture est fausse", "invoices"),
            ("La factura tiene un error", "invoices"),
            ("A minha fatura está errada", "invoices"),
            ("Drucker und Laptops im Büronetzwerk", "it"),
            ("Who in IT can help with my screen?", "it"),
            ("PostgresQuery fails in run_sql_file", "postgres"),
            ("SMTP4DEV and imap", "email"),
            ("My hardwrae is broken", "it"),
        ];
        for (subject, skill) in cases {
            let judgement = judge(&question(subject, ""));
            assert_eq!(judgement.skills.first().map(String::as_str), Some(skill), "{subject}: {judgement:?}");
        }
    }

    #[test]
    fn two_skills_are_named_when_both_are_wanted() {
        let judgement =
            judge(&question("Rust service can't reach PostgreSQL", "cargo run, then an sql error"));
        assert_eq!(judgement.skills, ["rust", "postgres"]);
    }

    #[test]
    fn the_same_ticket_is_judged_the_same_every_time() {
        let question =
            question("Invoice of the IT department", "The sql migration of invoices and smtp in Rust broke.");
        let first = judge(&question);
        for _ in 0..20 {
            assert_eq!(judge(&question), first);
        }
    }
}
