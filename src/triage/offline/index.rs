//! The words of a catalogue in one language, ready to be looked up: BM25 postings, whole names, shared concepts.
//! Knows labels by their place only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use super::concepts::CONCEPTS;
use super::text::{self, Stems, Word};
use crate::triage::question::Label;

/// BM25's saturation and length normalisation. Labels differ in length by how talkative their author was, which says
/// little: hence a small `B`.
const K1: f32 = 1.2;
const B: f32 = 0.3;
/// How much a word counts by where it stands in the catalogue.
const NAME: f32 = 3.0;
const ALIAS: f32 = 2.0;
const DESCRIPTION: f32 = 1.0;
/// A name or alias that occurs as a whole counts once more, and half as much again for each further word of it.
const PHRASE: f32 = 2.5;
const PHRASE_GROWTH: f32 = 0.5;
/// Indirect ways to a term count less than the term: by meaning, by a part of the word, by its beginning, in a compound,
/// one letter away.
const CONCEPT: f32 = 0.6;
const PART: f32 = 0.9;
const BEGINNING: f32 = 0.4;
const COMPOUND: f32 = 0.6;
const TYPO: f32 = 0.6;
/// Shorter stems begin or end too many words by chance.
const MIN_STEM: usize = 4;
const MIN_COMPOUND: usize = 7;
const MIN_TYPO: usize = 6;

/// Stem to the places of its concepts.
type Concepts = BTreeMap<String, Vec<usize>>;

/// Words wanted by a text: term to its weight and the word it came from.
pub(super) type Wanted = BTreeMap<String, (f32, String)>;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Term to the labels that have it, with its weight there.
    postings: BTreeMap<String, Vec<(usize, f32)>>,
    /// Concept to the labels that have a word for it in their name or aliases.
    meanings: BTreeMap<usize, Vec<(usize, f32)>>,
    concepts: Arc<Concepts>,
    /// First term of a phrase to the phrases that begin with it.
    phrases: BTreeMap<String, Vec<Phrase>>,
    /// By label, relative to the mean.
    lengths: Vec<f32>,
}

#[derive(Debug)]
struct Phrase {
    label: usize,
    terms: Vec<String>,
    bonus: f32,
}

/// What speaks for a label so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) score: f32,
    pub(super) words: BTreeMap<String, f32>,
}

impl Tally {
    fn add(&mut self, word: &str, score: f32) {
        self.score += score;
        *self.words.entry(word.to_owned()).or_default() += score;
    }
}

/// A label's words while the index is made.
#[derive(Default)]
struct Weights {
    terms: BTreeMap<String, f32>,
    meanings: BTreeMap<usize, f32>,
}

impl Index {
    /// `language` is the tickets' one, `own_language` the catalogue's.
    pub(super) fn new(labels: &[Label], language: &'static str, own_language: &str) -> Self {
        let stems = Stems::of(language);
        let languages = [language, own_language, "en"];
        let mut index = Self { concepts: concepts(language, &stems), ..Self::default() };
        for (at, label) in labels.iter().enumerate() {
            let mut weights = Weights::default();
            for word in text::words(&label.description) {
                if !is_stop_word(&word, &languages) {
                    *weights.terms.entry(stems.stem(&word.lower)).or_default() += DESCRIPTION;
                }
            }
            index.weigh(&label.name, NAME, &languages, &stems, &mut weights);
            for alias in &label.aliases {
                // A word of a longer alias tells less than one that is the whole alias.
                let weight = ALIAS / count(text::words(alias).len().max(1));
                index.weigh(alias, weight, &languages, &stems, &mut weights);
            }
            index.add_names(at, label, &stems);
            index.lengths.push(weights.terms.values().sum());
            for (term, weight) in weights.terms {
                index.postings.entry(term).or_default().push((at, weight));
            }
            for (concept, weight) in weights.meanings {
                index.meanings.entry(concept).or_default().push((at, weight));
            }
        }
        let mean = (index.lengths.iter().sum::<f32>() / count(labels.len().max(1))).max(1.0);
        for length in &mut index.lengths {
            *length /= mean;
        }
        index
    }

    fn weigh(&self, name: &str, weight: f32, languages: &[&str], stems: &Stems, weights: &mut Weights) {
        let words = text::words(name);
        // An alias may be in any language, and "base de datos" is not about "de".
        let foreign = words.len() > 1;
        for word in &words {
            if is_stop_word(word, languages)
                || (foreign && !word.acronym && text::is_any_stop_word(&word.lower))
            {
                continue;
            }
            let term = stems.stem(&word.lower);
            for concept in self.concepts.get(&term).into_iter().flatten() {
                *weights.meanings.entry(*concept).or_default() += weight;
            }
            *weights.terms.entry(term).or_default() += weight;
        }
    }

    /// Whole names keep their stop words: "how to" is an alias.
    fn add_names(&mut self, label: usize, named: &Label, stems: &Stems) {
        let mut seen = BTreeSet::new();
        for name in std::iter::once(&named.name).chain(&named.aliases) {
            let terms: Vec<String> = text::words(name).iter().map(|word| stems.stem(&word.lower)).collect();
            let Some(first) = terms.first().cloned() else { continue };
            if seen.insert(terms.clone()) {
                let bonus = PHRASE * (1.0 + PHRASE_GROWTH * count(terms.len() - 1));
                self.phrases.entry(first).or_default().push(Phrase { label, terms, bonus });
            }
        }
    }

    /// Adds a word of a text to what is wanted: its term if the catalogue has it, or else what comes near it.
    pub(super) fn want(&self, wanted: &mut Wanted, word: &Word, term: &str, weight: f32, stems: &Stems) {
        let mut add = |term: &str, weight: f32| {
            wanted.entry(term.to_owned()).or_insert_with(|| (0.0, word.lower.clone())).0 += weight;
        };
        if self.postings.contains_key(term) || self.concepts.contains_key(term) {
            add(term, weight);
        }
        if self.postings.contains_key(term) {
            return;
        }
        for part in word.parts.iter().map(|part| stems.stem(part)) {
            if self.postings.contains_key(&part) {
                add(&part, weight * PART);
            }
        }
        for (other, nearness) in self.near(term) {
            add(other, weight * nearness);
        }
    }

    /// Terms of the catalogue that an unknown term may stand for, with what they then count.
    fn near<'a>(&'a self, term: &'a str) -> impl Iterator<Item = (&'a str, f32)> {
        let length = term.chars().count();
        let from = |start: &'a str| {
            let after = self.postings.range::<str, _>((Bound::Included(start), Bound::Unbounded));
            after.map(|(other, _)| other.as_str()).take_while(move |other| other.starts_with(start))
        };
        let longer = from(term).filter(move |_| length >= MIN_STEM).map(|other| (other, BEGINNING));
        let all = self.postings.keys().map(String::as_str).filter(move |_| length >= MIN_COMPOUND);
        let within = all
            .filter(|other| other.len() >= MIN_STEM && (term.starts_with(other) || term.ends_with(other)))
            .map(|other| (other, COMPOUND));
        // "contract" is no misspelt "contact": a word that means something of its own is spelt as meant.
        let misspelt = length >= MIN_TYPO && !self.concepts.contains_key(term);
        let initial = term.chars().next().and_then(|c| term.get(..c.len_utf8())).unwrap_or(term);
        let mistyped = from(initial)
            .filter(move |other| misspelt && other.len().abs_diff(term.len()) <= 1)
            .filter(move |other| strsim::osa_distance(term, other) == 1)
            .map(|other| (other, TYPO));
        longer.chain(within).chain(mistyped)
    }

    /// BM25 of one wanted term; labels without the term itself are reached by its concepts.
    pub(super) fn add_term(&self, term: &str, word: &str, weight: f32, tallies: &mut [Tally]) {
        let exact: &[(usize, f32)] = self.postings.get(term).map_or(&[], Vec::as_slice);
        self.add_postings(exact, &[], word, weight, tallies);
        for concept in self.concepts.get(term).into_iter().flatten() {
            let near: &[(usize, f32)] = self.meanings.get(concept).map_or(&[], Vec::as_slice);
            self.add_postings(near, exact, word, weight * CONCEPT, tallies);
        }
    }

    fn add_postings(
        &self,
        postings: &[(usize, f32)],
        except: &[(usize, f32)],
        word: &str,
        weight: f32,
        tallies: &mut [Tally],
    ) {
        let rarity = rarity(self.lengths.len(), postings.len());
        for (label, found) in postings {
            if except.iter().any(|(other, _)| other == label) {
                continue;
            }
            let length = self.lengths.get(*label).copied().unwrap_or(1.0);
            let saturated = found * (K1 + 1.0) / (found + K1 * (1.0 - B + B * length));
            if let Some(tally) = tallies.get_mut(*label) {
                tally.add(word, weight * rarity * saturated);
            }
        }
    }

    /// The bonus of each name and alias that occurs in a text, once.
    pub(super) fn add_phrases(&self, words: &[Word], terms: &[String], tallies: &mut [Tally]) {
        let mut seen = BTreeSet::new();
        for (at, first) in terms.iter().enumerate() {
            for phrase in self.phrases.get(first).into_iter().flatten() {
                let there = terms.get(at..).is_some_and(|rest| rest.starts_with(&phrase.terms));
                if there
                    && seen.insert((phrase.label, &phrase.terms))
                    && let Some(tally) = tallies.get_mut(phrase.label)
                {
                    let words = words.iter().skip(at).take(phrase.terms.len());
                    let words: Vec<&str> = words.map(|word| word.lower.as_str()).collect();
                    tally.add(&words.join(" "), phrase.bonus);
                }
            }
        }
    }
}

/// BM25's weight of a word that `having` of `all` labels have.
pub(super) fn rarity(all: usize, having: usize) -> f32 {
    let (all, having) = (count(all), count(having));
    (1.0 + ((all - having + 0.5) / (having + 0.5)).max(0.0)).ln()
}

fn is_stop_word(word: &Word, languages: &[&str]) -> bool {
    !word.acronym && languages.iter().any(|language| text::is_stop_word(language, &word.lower))
}

/// The concepts as one language stems them: wrong for most of their words, but wrong on both sides alike. Made once,
/// because an index is made for each ticket.
fn concepts(language: &'static str, stems: &Stems) -> Arc<Concepts> {
    static MADE: Mutex<BTreeMap<&'static str, Arc<Concepts>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(made.entry(language).or_insert_with(|| {
        let mut concepts = Concepts::new();
        for (at, words) in CONCEPTS.iter().enumerate() {
            for word in words.split_whitespace() {
                let places = concepts.entry(stems.stem(word)).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
        }
        Arc::new(concepts)
    }))
}

#[expect(clippy::cast_precision_loss, reason = "labels and words of a name: some hundreds")]
fn count(number: usize) -> f32 {
    number as f32
}
