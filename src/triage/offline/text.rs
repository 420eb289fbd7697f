//! Text to terms: words, languages, stems. The same on both sides, so that a ticket and a label meet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use whatlang::{Lang, detect};

use super::stopwords::STOP_WORDS;

/// Shorter texts are guessed wrongly too often: "printer broken" is Esperanto to whatlang.
const MIN_CHARS_FOR_LANGUAGE: usize = 40;
/// And more than this only takes time.
const MAX_CHARS_FOR_LANGUAGE: usize = 2_000;

/// ISO 639-3 of whatlang to ISO 639-1 of the world.
const CODES: &[(Lang, &str)] = &[
    (Lang::Afr, "af"),
    (Lang::Aka, "ak"),
    (Lang::Amh, "am"),
    (Lang::Ara, "ar"),
    (Lang::Aze, "az"),
    (Lang::Bel, "be"),
    (Lang::Ben, "bn"),
    (Lang::Bul, "bg"),
    (Lang::Cat, "ca"),
    (Lang::Ces, "cs"),
    (Lang::Cmn, "zh"),
    (Lang::Cym, "cy"),
    (Lang::Dan, "da"),
    (Lang::Deu, "de"),
    (Lang::Ell, "el"),
    (Lang::Eng, "en"),
    (Lang::Epo, "eo"),
    (Lang::Est, "et"),
    (Lang::Fin, "fi"),
    (Lang::Fra, "fr"),
    (Lang::Guj, "gu"),
    (Lang::Heb, "he"),
    (Lang::Hin, "hi"),
    (Lang::Hrv, "hr"),
    (Lang::Hun, "hu"),
    (Lang::Hye, "hy"),
    (Lang::Ind, "id"),
    (Lang::Ita, "it"),
    (Lang::Jav, "jv"),
    (Lang::Jpn, "ja"),
    (Lang::Kan, "kn"),
    (Lang::Kat, "ka"),
    (Lang::Khm, "km"),
    (Lang::Kor, "ko"),
    (Lang::Lat, "la"),
    (Lang::Lav, "lv"),
    (Lang::Lit, "lt"),
    (Lang::Mal, "ml"),
    (Lang::Mar, "mr"),
    (Lang::Mkd, "mk"),
    (Lang::Mya, "my"),
    (Lang::Nep, "ne"),
    (Lang::Nld, "nl"),
    (Lang::Nob, "no"),
    (Lang::Ori, "or"),
    (Lang::Pan, "pa"),
    (Lang::Pes, "fa"),
    (Lang::Pol, "pl"),
    (Lang::Por, "pt"),
    (Lang::Ron, "ro"),
    (Lang::Rus, "ru"),
    (Lang::Sin, "si"),
    (Lang::Slk, "sk"),
    (Lang::Slv, "sl"),
    (Lang::Sna, "sn"),
    (Lang::Spa, "es"),
    (Lang::Srp, "sr"),
    (Lang::Swe, "sv"),
    (Lang::Tam, "ta"),
    (Lang::Tel, "te"),
    (Lang::Tgl, "tl"),
    (Lang::Tha, "th"),
    (Lang::Tuk, "tk"),
    (Lang::Tur, "tr"),
    (Lang::Ukr, "uk"),
    (Lang::Urd, "ur"),
    (Lang::Uzb, "uz"),
    (Lang::Vie, "vi"),
    (Lang::Yid, "yi"),
    (Lang::Zul, "zu"),
];

static STOPS: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
    STOP_WORDS.iter().map(|(language, words)| (*language, words.split_whitespace().collect())).collect()
});

/// The language of a text as ISO 639-1, where it can be told reliably.
pub(super) fn language(text: &str) -> Option<&'static str> {
    text.chars().nth(MIN_CHARS_FOR_LANGUAGE - 1)?;
    let end = text.char_indices().nth(MAX_CHARS_FOR_LANGUAGE).map(|(end, _)| end);
    let found =
        detect(end.and_then(|end| text.get(..end)).unwrap_or(text)).filter(whatlang::Info::is_reliable)?;
    CODES.iter().find(|(lang, _)| *lang == found.lang()).map(|(_, code)| *code)
}

/// The language whose stop words a text has most of: good enough to choose a stemmer for a short text by, and for
/// nothing else. None when there is no majority.
pub(super) fn likely_language(words: &[Word]) -> Option<&'static str> {
    let mut best: Option<(&'static str, usize)> = None;
    let mut second = 0;
    for (language, stops) in STOPS.iter() {
        let count = words.iter().filter(|word| stops.contains(word.lower.as_str())).count();
        if count > best.map_or(0, |(_, most)| most) {
            second = best.map_or(0, |(_, most)| most);
            best = Some((language, count));
        } else {
            second = second.max(count);
        }
    }
    best.filter(|(_, count)| *count > second).map(|(language, _)| language)
}

pub(super) fn is_stop_word(language: &str, word: &str) -> bool {
    STOPS.get(language).is_some_and(|words| words.contains(word))
}

/// Whether a word is a stop word anywhere.
pub(super) fn is_any_stop_word(word: &str) -> bool {
    STOPS.values().any(|words| words.contains(word))
}

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) lower: String,
    /// Two to five capitals amid smaller letters, as in "IT" or "VPN": then it is no stop word.
    pub(super) acronym: bool,
    /// What it is put together from, lower case: `wp_query`, `DocumentRoot`, `qt4`. Empty for plain words.
    pub(super) parts: Vec<String>,
    /// Whether a sentence or line ends before it.
    pub(super) begins: bool,
}

/// Splits a text into words: letters and digits, with `+` and `#` after them (`c++`, `c#`) and apostrophes within.
pub(super) fn words(text: &str) -> Vec<Word> {
    let shouted = is_shouted(text);
    let mut words = Vec::new();
    let mut current = String::new();
    let mut begins = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = if c == '\u{2019}' { '\'' } else { c };
        let inside = c.is_alphanumeric()
            || c == '_'
            || (!current.is_empty()
                && (c == '+' || c == '#')
                && !chars.peek().is_some_and(|c| c.is_alphanumeric()))
            || (!current.is_empty() && c == '\'' && is_clitic(chars.clone()));
        if inside {
            current.push(c);
            continue;
        }
        finish(&mut current, &mut begins, shouted, &mut words);
        let ends_sentence = matches!(c, '.' | '!' | '?' | ';' | ':' | '。' | '！' | '？')
            && chars.peek().is_none_or(|next| next.is_whitespace());
        begins |= ends_sentence || c == '\n' || c == '。';
    }
    finish(&mut current, &mut begins, shouted, &mut words);
    words
}

/// Whether what follows an apostrophe belongs to the word before it ("don't"); in "l'accès" it is a word of its own.
fn is_clitic(rest: impl Iterator<Item = char>) -> bool {
    (1..=2).contains(&rest.take_while(|c| c.is_alphabetic()).take(3).count())
}

fn finish(current: &mut String, begins: &mut bool, shouted: bool, words: &mut Vec<Word>) {
    if current.is_empty() {
        return;
    }
    let word = std::mem::take(current);
    let count = word.chars().count();
    let parts = parts(&word);
    let acronym = !shouted && (2..=5).contains(&count) && word.chars().all(char::is_uppercase);
    words.push(Word { lower: word.to_lowercase(), parts, acronym, begins: *begins });
    *begins = false;
}

/// Splits at underscores, before an inner capital, and between letters and digits; digits alone are no part.
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before: Option<char> = None;
    for c in word.chars() {
        let seam = before.is_some_and(|before| {
            (before.is_lowercase() && c.is_uppercase()) || (before.is_alphabetic() != c.is_alphabetic())
        });
        if seam {
            parts.push(String::new());
        }
        if let (Some(part), true) = (parts.last_mut(), c.is_alphabetic()) {
            part.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    let lower = word.to_lowercase();
    parts.retain(|part| part.chars().count() > 1 && *part != lower);
    parts
}

/// Text mostly in capitals, in which capitals mark nothing.
fn is_shouted(text: &str) -> bool {
    let (mut upper, mut lower) = (0_usize, 0_usize);
    for c in text.chars().take(2_000) {
        upper += usize::from(c.is_uppercase());
        lower += usize::from(c.is_lowercase());
    }
    upper > 5 && upper > lower
}

/// Stems as the language does; languages without a stemmer keep their words.
pub(super) struct Stems(Option<Stemmer>);

impl Stems {
    pub(super) fn of(language: &str) -> Self {
        Self(algorithm(language).map(Stemmer::create))
    }

    pub(super) fn stem(&self, word: &str) -> String {
        match &self.0 {
            Some(stemmer) if word.chars().all(char::is_alphabetic) => stemmer.stem(word).into_owned(),
            Some(stemmer) => stemmer.stem(word.split('\'').next().unwrap_or(word)).into_owned(),
            None => word.to_owned(),
        }
    }
}

fn algorithm(language: &str) -> Option<Algorithm> {
    Some(match language {
        "ar" => Algorithm::Arabic,
        "da" => Algorithm::Danish,
        "de" => Algorithm::German,
        "el" => Algorithm::Greek,
        "en" => Algorithm::English,
        "es" => Algorithm::Spanish,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "nl" => Algorithm::Dutch,
        "no" => Algorithm::Norwegian,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "sv" => Algorithm::Swedish,
        "ta" => Algorithm::Tamil,
        "tr" => Algorithm::Turkish,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.lower).collect()
    }

    #[test]
    fn words_of_all_kinds() {
        let cases: [(&str, &[&str]); 7] = [
            ("C++ and C#, svn+ssh", &["c++", "and", "c#", "svn", "ssh"]),
            ("I can't; l\u{2019}accès d'urgence", &["i", "can't", "l", "accès", "d", "urgence"]),
            ("dell'azienda o'clock", &["dell", "azienda", "o", "clock"]),
            ("ÄRGER mit Straße", &["ärger", "mit", "straße"]),
            ("wp_query top-up e.g. 3.5", &["wp_query", "top", "up", "e", "g", "3", "5"]),
            ("", &[]),
            ("'+#'", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(lower(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_acronyms_and_beginnings() {
        let parts = |text: &str| words(text).first().map(|word| word.parts.clone()).unwrap_or_default();
        assert_eq!(parts("wp_query"), ["wp", "query"]);
        assert_eq!(parts("DocumentRoot2"), ["document", "root"]);
        assert_eq!(parts("qt4"), ["qt"]);
        assert_eq!(parts("plain"), [""; 0]);
        let acronyms = |text: &str| words(text).iter().filter(|word| word.acronym).count();
        assert_eq!(acronyms("the IT and its VPN"), 2);
        assert_eq!(acronyms("HELP IT IS BROKEN"), 0, "shouting marks nothing");
        let begins: Vec<bool> = words("One two. Three v1.2\nfour").iter().map(|word| word.begins).collect();
        assert_eq!(begins, [true, false, true, false, false, true]);
    }

    #[test]
    fn a_language_is_told_only_when_it_can_be() {
        assert_eq!(language("printer broken"), None);
        assert_eq!(
            language("Der Drucker im zweiten Stock druckt seit gestern nicht mehr richtig"),
            Some("de")
        );
        assert_eq!(
            language("Bonjour, nous ne pouvons plus ouvrir nos factures depuis la mise à jour"),
            Some("fr")
        );
        assert_eq!(likely_language(&words("meine Rechnung ist falsch")), Some("de"));
        assert_eq!(likely_language(&words("xyz 123")), None);
    }
}
