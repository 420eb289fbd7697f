//! The cold scorer: which labels of a catalogue a text speaks for, without a single past ticket.
//!
//! BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) over name, aliases and
//! description of each label, with a bonus where a whole name or alias occurs. Knows nothing about tickets or stages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::index::{self, Index, Tally, Wanted};
use super::text::{self, Stems, Word};
use super::{confidence, cues};
use crate::triage::question::Label;

/// A word of the title counts as often as two of the body.
const TITLE: f32 = 2.0;
/// A word that is repeated counts a little less each time.
const REPETITION: f32 = 0.85;
/// Skills and categories, and those of before a change that is still being judged by.
const KEPT: usize = 4;

/// A catalogue made ready for scoring.
#[derive(Debug)]
pub struct Catalogue {
    labels: Vec<Label>,
    /// Of the catalogue itself: what a ticket is taken to be written in when nobody can tell.
    language: &'static str,
    /// One index per language that tickets came in: both sides must be stemmed alike.
    indexes: Mutex<BTreeMap<&'static str, Arc<Index>>>,
}

/// A label's standing in a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    pub slug: String,
    /// 0 when nothing in the text speaks for the label; comparable within one ranking only.
    pub score: f32,
    /// The words of the ticket that spoke for it, the strongest first.
    pub words: Vec<String>,
}

impl Catalogue {
    pub fn new(labels: &[Label]) -> Self {
        let sentences: Vec<String> =
            labels.iter().map(|label| format!("{}. {}\n", label.name, label.description)).collect();
        let language = text::language(&sentences.concat()).unwrap_or("en");
        Self { labels: labels.to_vec(), language, indexes: Mutex::default() }
    }

    /// The catalogue of these labels, made anew only when they change: making it takes longer than using it.
    pub(super) fn shared(labels: &[Label]) -> Arc<Self> {
        static MADE: Mutex<Vec<Arc<Catalogue>>> = Mutex::new(Vec::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.iter().find(|catalogue| catalogue.labels == labels) {
            return Arc::clone(known);
        }
        made.truncate(KEPT - 1);
        let new = Arc::new(Self::new(labels));
        made.insert(0, Arc::clone(&new));
        new
    }

    /// All labels, best first. Equals stay in the catalogue's order, but a catch-all goes before others that nothing
    /// speaks for.
    pub fn rank(&self, title: &str, body: &str) -> Vec<Ranked> {
        let (title_words, body_words) = (text::words(title), text::words(body));
        let language = text::language(&format!("{title}\n{body}"))
            .or_else(|| text::likely_language(&[title_words.as_slice(), &body_words].concat()))
            .unwrap_or(self.language);
        let index = self.index(language);
        let stems = Stems::of(language);

        let mut tallies = vec![Tally::default(); self.labels.len()];
        let mut wanted = Wanted::new();
        for (words, weight) in [(&title_words, TITLE), (&body_words, 1.0)] {
            let terms: Vec<String> = words.iter().map(|word| stems.stem(&word.lower)).collect();
            for (word, term) in words.iter().zip(&terms) {
                if word.acronym || !text::is_stop_word(language, &word.lower) {
                    index.want(&mut wanted, word, term, weight, &stems);
                }
            }
            index.add_phrases(words, &terms, &mut tallies);
        }
        for (term, (weight, word)) in &wanted {
            index.add_term(term, word, weight.powf(REPETITION), &mut tallies);
        }
        for cue in cues::of(title, &title_words) {
            index.add_term(&stems.stem(cue.stands_for), cue.shown_as, cue.weight, &mut tallies);
        }
        self.sorted(tallies)
    }

    /// How often a ranking like this one has the right label first, between 0 and 1; 0 when nothing speaks for any.
    pub fn confidence(&self, ranked: &[Ranked]) -> f32 {
        confidence::of(ranked)
    }

    /// The least score that is evidence. One word of a description is none, because descriptions are full of everyday
    /// words; one that stands in the title is, and so is any name or alias.
    pub fn least_evidence(&self) -> f32 {
        1.5 * index::rarity(self.labels.len(), 1)
    }

    fn index(&self, language: &'static str) -> Arc<Index> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = indexes
            .entry(language)
            .or_insert_with(|| Arc::new(Index::new(&self.labels, language, self.language)));
        Arc::clone(index)
    }

    fn sorted(&self, tallies: Vec<Tally>) -> Vec<Ranked> {
        let mut ranked: Vec<(bool, Ranked)> = self
            .labels
            .iter()
            .zip(tallies)
            .map(|(label, tally)| (is_catch_all(label), ranked(label, tally)))
            .collect();
        ranked.sort_by(|(a_catches, a), (b_catches, b)| {
            b.score.total_cmp(&a.score).then_with(|| b_catches.cmp(a_catches))
        });
        ranked.into_iter().map(|(_, ranked)| ranked).collect()
    }
}

fn ranked(label: &Label, tally: Tally) -> Ranked {
    let mut words: Vec<(String, f32)> = tally.words.into_iter().collect();
    words.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words = words.into_iter().map(|(word, _)| word).collect();
    Ranked { slug: label.slug.clone(), score: tally.score, words }
}

/// Labels for what fits nowhere else, by the words that such labels go by.
fn is_catch_all(label: &Label) -> bool {
    const WORDS: [&str; 12] = [
        "other",
        "misc",
        "miscellaneous",
        "general",
        "various",
        "sonstiges",
        "allgemein",
        "allgemeines",
        "autre",
        "divers",
        "otros",
        "overig",
    ];
    let has = |text: &str| text::words(text).iter().any(|Word { lower, .. }| WORDS.contains(&lower.as_str()));
    has(&label.slug) || has(&label.name)
}
