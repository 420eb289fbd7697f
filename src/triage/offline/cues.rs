//! What the form of a title gives away without naming it: a question doesn't say "question", a wish doesn't say
//! "feature". Speaks only for labels that have such a word among their names.

use super::text::Word;

/// A hint at a word that isn't there.
pub(super) struct Cue {
    /// The word of [`super::concepts`] that it counts as.
    pub(super) stands_for: &'static str,
    /// What a note says it was.
    pub(super) shown_as: &'static str,
    pub(super) weight: f32,
}

const ASKING: &[&str] = &[
    "how", "what", "why", "where", "when", "which", "who", "can", "could", "is", "are", "does", "do",
    "should", "wie", "was", "warum", "wo", "wann", "welche", "welcher", "wer", "kann", "gibt", "comment",
    "pourquoi", "où", "quand", "quel", "quelle", "cómo", "qué", "dónde", "cuándo", "cuál", "come", "perché",
    "dove", "quando", "como", "onde", "qual", "hoe", "wat", "waarom", "waar",
];

const WISHING: &[&str] = &[
    "add",
    "adding",
    "allow",
    "support",
    "feature",
    "implement",
    "make",
    "provide",
    "enable",
    "improve",
    "request",
    "suggestion",
    "proposal",
    "consider",
    "introduce",
    "expose",
    "extend",
    "option",
    "ability",
    "wunsch",
    "vorschlag",
    "suggestion",
    "souhait",
    "sugerencia",
    "sugestão",
    "suggerimento",
    "voorstel",
];

/// The cues of a title.
pub(super) fn of(title: &str, words: &[Word]) -> Vec<Cue> {
    let first = words.first().map_or("", |word| word.lower.as_str());
    let mut cues = Vec::new();
    if title.trim_end().ends_with(['?', '？']) || ASKING.contains(&first) {
        cues.push(Cue { stands_for: "question", shown_as: "asks", weight: 4.0 });
    }
    if WISHING.contains(&first) {
        cues.push(Cue { stands_for: "feature", shown_as: "wishes", weight: 2.0 });
    }
    cues
}
