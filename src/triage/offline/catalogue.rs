//! The cold scorer: which labels of a catalogue a text speaks for, without a single past ticket.
//!
//! BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) over name, aliases and description of
//! each label, plus a bonus where a whole name or alias occurs. Knows nothing about tickets or stages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::text::{self, Stems, Word};
use crate::triage::question::Label;

#[derive(Clone, Debug)]
pub struct Knobs {
    pub k1: f32,
    pub b: f32,
    pub name: f32,
    pub alias: f32,
    pub description: f32,
    pub name_phrase: f32,
    pub alias_phrase: f32,
    pub title: f32,
    pub qtf: f32,
    pub body_phrase: f32,
}
impl Default for Knobs {
    fn default() -> Self {
        Self {
            k1: 1.2,
            b: 0.75,
            name: 3.0,
            alias: 2.0,
            description: 1.0,
            name_phrase: 2.5,
            alias_phrase: 1.5,
            title: 2.0,
            qtf: 1.0,
            body_phrase: 1.0,
        }
    }
}

/// A catalogue made ready for scoring.
#[derive(Debug)]
pub struct Catalogue {
    labels: Vec<Label>,
    /// Of the catalogue itself: what a short ticket is taken to be written in.
    language: &'static str,
    /// One index per language that tickets came in: both sides must be stemmed alike.
    indexes: Mutex<BTreeMap<&'static str, Arc<Index>>>,
    knobs: Knobs,
}

/// A label's standing in a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    pub slug: String,
    /// 0 when nothing in the text speaks for the label; comparable within one ranking only.
    pub score: f32,
    /// The ticket's words that spoke for it, the strongest first.
    pub words: Vec<String>,
}

#[derive(Debug, Default)]
struct Index {
    /// Term to the labels that have it, with its weight there.
    postings: BTreeMap<String, Vec<(usize, f32)>>,
    /// First term of a phrase to the phrases that begin with it.
    phrases: BTreeMap<String, Vec<Phrase>>,
    lengths: Vec<f32>,
    mean_length: f32,
}

#[derive(Debug)]
struct Phrase {
    label: usize,
    terms: Vec<String>,
    bonus: f32,
}

impl Catalogue {
    pub fn new(labels: &[Label]) -> Self {
        Self::with_knobs(labels, Knobs::default())
    }
    pub fn with_knobs(labels: &[Label], knobs: Knobs) -> Self {
        let mut all = String::new();
        for label in labels {
            all.push_str(&label.name);
            all.push_str(". ");
            all.push_str(&label.description);
            all.push('\n');
        }
        let language = text::language(&all).unwrap_or("en");
        Self { labels: labels.to_vec(), language, indexes: Mutex::default(), knobs }
    }

    /// All labels, best first; equals stay in the catalogue's order, but a catch-all label goes before others that
    /// nothing speaks for.
    pub fn rank(&self, title: &str, body: &str) -> Vec<Ranked> {
        let title_words = text::words(title);
        let body_words = text::words(body);
        let language = text::language(&format!("{title}\n{body}"))
            .or_else(|| text::likely_language(&[title_words.as_slice(), body_words.as_slice()].concat()))
            .unwrap_or(self.language);
        let index = self.index(language);
        let stems = Stems::of(language);

        let mut scores: Vec<Tally> = self.labels.iter().map(|_| Tally::default()).collect();
        let mut wanted: BTreeMap<String, (f32, String)> = BTreeMap::new();
        for (words, weight, phrase_weight) in
            [(&title_words, self.knobs.title, 1.0), (&body_words, 1.0, self.knobs.body_phrase)]
        {
            let terms: Vec<String> = words.iter().map(|word| term(word, &stems)).collect();
            for (word, term) in words.iter().zip(&terms) {
                wanted.entry(term.clone()).or_insert_with(|| (0.0, word.lower.clone())).0 += weight;
            }
            index.add_phrases(&terms, phrase_weight, &mut scores);
        }
        for (term, (count, word)) in &wanted {
            index.add_term(term, word, count.powf(self.knobs.qtf), &self.knobs, &mut scores);
        }
        self.sorted(scores)
    }

    /// How often a ranking like this one has the right label first, between 0 and 1; 0 when nothing speaks for any.
    pub fn confidence(&self, ranked: &[Ranked]) -> f32 {
        super::confidence::of(ranked)
    }

    fn sorted(&self, scores: Vec<Tally>) -> Vec<Ranked> {
        let mut ranked: Vec<(bool, Ranked)> = self
            .labels
            .iter()
            .zip(scores)
            .map(|(label, tally)| (is_catch_all(label), tally.ranked(&label.slug)))
            .collect();
        ranked
            .sort_by(|(a_rest, a), (b_rest, b)| b.score.total_cmp(&a.score).then_with(|| b_rest.cmp(a_rest)));
        ranked.into_iter().map(|(_, ranked)| ranked).collect()
    }

    fn index(&self, language: &'static str) -> Arc<Index> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = indexes
            .entry(language)
            .or_insert_with(|| Arc::new(Index::new(&self.labels, language, self.language, &self.knobs)));
        Arc::clone(index)
    }
}

/// Labels for what fits nowhere else, by the words such labels go by.
pub(super) fn is_catch_all(label: &Label) -> bool {
    const WORDS: [&str; 8] =
        ["other", "misc", "miscellaneous", "general", "various", "sonstiges", "allgemein", "autre"];
    let words = text::words(&format!("{} {}", label.slug, label.name));
    words.iter().any(|word| WORDS.contains(&word.lower.as_str()))
}

#[derive(Clone, Debug, Default)]
struct Tally {
    score: f32,
    words: BTreeMap<String, f32>,
}

impl Tally {
    fn add(&mut self, word: &str, score: f32) {
        self.score += score;
        *self.words.entry(word.to_owned()).or_default() += score;
    }

    fn ranked(self, slug: &str) -> Ranked {
        let mut words: Vec<(String, f32)> = self.words.into_iter().collect();
        words.sort_by(|a, b| b.1.total_cmp(&a.1));
        let words = words.into_iter().map(|(word, _)| word).collect();
        Ranked { slug: slug.to_owned(), score: self.score, words }
    }
}

/// The term of a word: its stem, or for an acronym its capitals, which no stop word has.
fn term(word: &Word, stems: &Stems) -> String {
    stems.stem(&word.lower)
}

impl Index {
    fn new(labels: &[Label], language: &str, own_language: &str, knobs: &Knobs) -> Self {
        let stems = Stems::of(language);
        let mut index = Self::default();
        for (at, label) in labels.iter().enumerate() {
            let mut weights: BTreeMap<String, f32> = BTreeMap::new();
            let fields = [(&label.name, knobs.name), (&label.description, knobs.description)];
            let aliases = label.aliases.iter().map(|alias| (alias, knobs.alias));
            for (field, weight) in fields.into_iter().chain(aliases) {
                for word in text::words(field) {
                    let stop = [language, own_language, "en"]
                        .iter()
                        .any(|language| text::is_stop_word(language, &word.lower));
                    if !stop {
                        *weights.entry(term(&word, &stems)).or_default() += weight;
                    }
                }
            }
            let names = std::iter::once((&label.name, knobs.name_phrase));
            let aliases = label.aliases.iter().map(|alias| (alias, knobs.alias_phrase));
            let mut seen = BTreeSet::new();
            for (phrase, bonus) in names.chain(aliases) {
                let terms: Vec<String> = text::words(phrase).iter().map(|word| term(word, &stems)).collect();
                if let Some(first) = terms.first()
                    && seen.insert(terms.clone())
                {
                    let phrase = Phrase { label: at, terms: terms.clone(), bonus };
                    index.phrases.entry(first.clone()).or_default().push(phrase);
                }
            }
            index.lengths.push(weights.values().sum());
            for (term, weight) in weights {
                index.postings.entry(term).or_default().push((at, weight));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a catalogue has some hundred labels")]
        let count = labels.len().max(1) as f32;
        index.mean_length = (index.lengths.iter().sum::<f32>() / count).max(1.0);
        index
    }

    fn add_term(&self, term: &str, word: &str, weight: f32, knobs: &Knobs, scores: &mut [Tally]) {
        let Some(postings) = self.postings.get(term) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a catalogue has some hundred labels")]
        let (count, having) = (self.lengths.len() as f32, postings.len() as f32);
        let rarity = (1.0 + (count - having + 0.5) / (having + 0.5)).ln();
        for (label, found) in postings {
            let length = self.lengths.get(*label).copied().unwrap_or_default() / self.mean_length;
            let saturated =
                found * (knobs.k1 + 1.0) / (found + knobs.k1 * (1.0 - knobs.b + knobs.b * length));
            if let Some(tally) = scores.get_mut(*label) {
                tally.add(word, weight * rarity * saturated);
            }
        }
    }

    fn add_phrases(&self, terms: &[String], weight: f32, scores: &mut [Tally]) {
        let mut seen = BTreeSet::new();
        for (at, first) in terms.iter().enumerate() {
            for phrase in self.phrases.get(first).into_iter().flatten() {
                let there = terms.get(at..).is_some_and(|rest| rest.starts_with(&phrase.terms));
                if there
                    && seen.insert((phrase.label, &phrase.terms))
                    && let Some(tally) = scores.get_mut(phrase.label)
                {
                    tally.add(&phrase.terms.join(" "), weight * phrase.bonus);
                }
            }
        }
    }
}
impl Knobs {
    pub fn set(&mut self, name: &str, value: f32) {
        match name {
            "k1" => self.k1 = value,
            "b" => self.b = value,
            "name" => self.name = value,
            "alias" => self.alias = value,
            "description" => self.description = value,
            "name_phrase" => self.name_phrase = value,
            "alias_phrase" => self.alias_phrase = value,
            "title" => self.title = value,
            "qtf" => self.qtf = value,
            "body_phrase" => self.body_phrase = value,
            _ => {}
        }
    }
}
