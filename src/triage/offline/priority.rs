//! How soon a ticket wants an answer, by explicit rules: text alone hardly tells it, so a rule must be able to name the
//! words it went by. Rules raise; without one the priority is medium. Negated and planned things don't count.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::text::{self, Word};
use crate::tickets::Priority;

/// What a phrase tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// No time pressure, by the customer's own words.
    Calm,
    /// Something is down, lost or broken into: urgent by itself.
    Incident,
    /// Someone can't work, or money is at stake.
    Blocked,
    /// The customer says that it is urgent.
    Hurry,
    /// Many are affected: nothing by itself, urgent together with trouble.
    Scope,
    /// Something goes wrong, as in most tickets: nothing by itself.
    Trouble,
}

/// Phrases by sign, in one string a language, separated by `;`. A `*` stands for any end of a word.
const RULES: &[(Sign, &[&str])] = &[
    (
        Sign::Calm,
        &[
            "not urgent; no rush; no hurry; not in a hurry; when you have time; whenever you have time; \
             when you get a chance; when possible; at your convenience; low priority; nice to have; would be nice; \
             minor issue; cosmetic; typo; typos; feature request; just curious; just wondering; small suggestion; \
             no need to reply; not critical; can wait; just a question; just a quick question",
            "nicht dringend; nicht eilig; keine eile; eilt nicht; hat zeit; wenn sie zeit haben; bei gelegenheit; \
             niedrige priorität; wäre schön; tippfehler; schönheitsfehler; nur eine frage; kein notfall",
            "pas urgent; pas d'urgence; rien d'urgent; pas pressé; quand vous aurez le temps; \
             quand vous avez le temps; faible priorité; priorité basse; faute de frappe; simple question; ce serait bien",
            "no es urgente; no urgente; sin prisa; sin urgencia; cuando pueda; cuando puedan; cuando tenga tiempo; \
             cuando tengan tiempo; baja prioridad; prioridad baja; errata; solo una pregunta; estaría bien",
            "non urgente; non è urgente; senza fretta; nessuna fretta; quando avete tempo; quando ha tempo; \
             bassa priorità; refuso; solo una domanda",
            "não é urgente; não urgente; sem pressa; sem urgência; quando puder; quando puderem; quando tiver tempo; \
             baixa prioridade; erro de digitação; só uma pergunta; apenas uma pergunta",
            "niet dringend; geen haast; niet urgent; als u tijd heeft; als je tijd hebt; lage prioriteit; typefout; \
             alleen een vraag",
        ],
    ),
    (
        Sign::Incident,
        &[
            "outage; outages; is down; are down; went down; gone down; completely down; down for everyone; \
             production down; server down; servers down; site down; website down; system down; systems down; \
             service down; network down; data loss; lost all data; lost all our data; lost our data; lost data; \
             data is gone; data was deleted; database was deleted; deleted the production; data breach; \
             security breach; security incident; data leak; leaked data; breached; hacked; ransomware; malware; \
             compromised; unauthorized access; unauthorised access; phishing attack; ddos; under attack; \
             system failure; total failure; service unavailable; service is unavailable; \
             everything is down; nothing works; nobody can work; no one can work; cannot start production; \
             data corruption; corrupted data; zero day; rce; remote code execution; emergency; life threatening",
            "totalausfall; systemausfall; serverausfall; netzausfall; netzwerkausfall; dienstausfall; ausfall; \
             ausgefallen; datenverlust; daten verloren; daten gelöscht; daten sind weg; datenleck; datenpanne; \
             datenschutzverletzung; sicherheitsvorfall; sicherheitsverletzung; sicherheitslücke; gehackt; \
             schadsoftware; verschlüsselungstrojaner; trojaner; unbefugter zugriff; unbefugten zugriff; \
             nichts geht mehr; niemand kann arbeiten; steht still; stillstand; notfall; cyberangriff",
            "panne générale; panne totale; hors service; en panne; est tombé; perte de données; \
             données perdues; données supprimées; fuite de données; violation de données; piraté; piratée; piratage; \
             incident de sécurité; faille de sécurité; rançongiciel; accès non autorisé; \
             plus rien ne fonctionne; rien ne marche; rien ne fonctionne; personne ne peut travailler; cyberattaque; \
             service indisponible; urgence absolue",
            "caída del servicio; caída del sistema; está caído; está caída; se cayó; interrupción del servicio; \
             fuera de servicio; pérdida de datos; datos perdidos; fuga de datos; \
             violación de datos; filtración de datos; brecha de seguridad; incidente de seguridad; hackeado; \
             hackeada; hackearon; acceso no autorizado; nada funciona; nadie puede trabajar; ciberataque; emergencia",
            "perdita di dati; dati persi; violazione dei dati; violazione dei dati; violazione della sicherezza; \
             incidente di sicurezza; hackerato; hackerata; accesso non autorizzato; fuori servizio; è giù; \
             non funziona nulla; non funziona più niente; nessuno può lavorare; interruzione del servizio; emergenza",
            "fora do ar; está fora; queda do sistema; queda do serviço; caiu; perda de dados; dados perdidos; \
             vazamento de dados; violação de dados; incidente de segurança; falha de segurança; hackeado; hackeada; \
             invadido; acesso não autorizado; nada funciona; ninguém consegue trabalhar; interrupção do serviço; \
             ciberataque; emergência",
            "grote storing; landelijke storing; ligt eruit; ligt plat; gegevensverlies; dataverlies; data kwijt; datalek; gehackt; \
             beveiligingsincident; ongeautoriseerde toegang; niets werkt; niemand kan werken; noodgeval; \
             buiten werking; cyberaanval",
        ],
    ),
    (
        Sign::Blocked,
        &[
            "critical; critically; severe; severely; blocker; blocks us; blocking us; blocking our; we are blocked; \
             i am blocked; locked out; can't work; cannot work; unable to work; can not work; \
             can't log in; cannot log in; can't login; cannot login; unable to log in; unable to login; \
             can't access; cannot access; stops us; standstill; \
             charged twice; double charged; charged two times; fraud; fraudulent; stolen; money is gone; \
             vulnerability; vulnerabilities; legal action; lawyer; losing money; losing customers; lost revenue; \
             significant disruption; major disruption; disrupting operations",
            "kritisch*; schwerwiegend*; blockiert uns; ausgesperrt; kann nicht arbeiten; können nicht arbeiten; \
             nicht arbeiten; nicht einloggen; nicht anmelden; kein zugriff; keinen zugriff; doppelt abgebucht; \
             doppelt belastet; betrug; gestohlen; rechtsanwalt; anwalt; umsatzverlust; umsatzausfall",
            "critique; critiques; grave; bloquant; bloquante; bloqués; bloqué; ne peux pas travailler; \
             ne pouvons pas travailler; impossible de travailler; impossible de se connecter; \
             impossible de me connecter; débité deux fois; fraude; volé; volée; avocat",
            "crítico; crítica; críticos; críticas; grave; bloqueados; bloqueado; no puedo trabajar; \
             no podemos trabajar; no puedo iniciar sesión; no puedo acceder; no podemos acceder; cobrado dos veces; \
             fraude; robado; robada; robo; abogado",
            "critico; critica; grave; bloccati; bloccato; non posso lavorare; non possiamo lavorare; \
             non riesco ad accedere; addebitato due volte; frode; rubato; rubata; avvocato",
            "crítico; crítica; críticos; críticas; grave; bloqueado; não consigo trabalhar; \
             não conseguimos trabalhar; não consigo acessar; não conseguimos acessar; cobrado duas vezes; fraude; \
             roubado; roubada; advogado",
            "kritiek; kritieke; ernstig; ernstige; kan niet werken; kunnen niet werken; kan niet inloggen; \
             buitengesloten; geen toegang; dubbel afgeschreven; fraude; gestolen; advocaat",
        ],
    ),
    (
        Sign::Hurry,
        &[
            "urgent; urgently; urgency; asap; a s a p; as soon as possible; immediately; immediate attention; \
             immediate action; immediate help; immediate assistance; immediate support; right away; \
             without delay; time sensitive; time critical; top priority; highest priority; high priority; \
             deadline; deadlines; by tomorrow; by today; by tonight; by end of day; by eod; by the end of the day; \
             due today; due tomorrow; within the hour; prompt attention",
            "dringend*; eilig*; eilt; sofort; sofortig*; umgehend; unverzüglich; schnellstmöglich; \
             so schnell wie möglich; so bald wie möglich; baldmöglichst; asap; höchste priorität; hohe priorität; \
             hohen priorität; frist; deadline; bis heute; bis morgen; spätestens morgen; spätestens heute; dringlich*",
            "urgent; urgente; urgents; urgence; d'urgence; immédiatement; immédiate; tout de suite; dès que possible; \
             au plus vite; au plus tôt; le plus rapidement possible; le plus vite possible; dans les plus brefs délais; \
             sans délai; haute priorité; prioritaire; date limite; avant demain; asap",
            "urgente; urgentes; urgencia; urgentemente; inmediatamente; inmediata; inmediato; de inmediato; \
             lo antes posible; cuanto antes; lo más pronto posible; alta prioridad; máxima prioridad; fecha límite; \
             antes de mañana; para mañana; sin demora; asap",
            "urgente; urgenti; urgenza; urgentemente; immediatamente; immediata; immediato; subito; \
             il prima possibile; al più presto; quanto prima; alta priorità; massima priorità; scadenza; \
             entro domani; entro oggi; asap",
            "urgente; urgentes; urgência; urgentemente; imediatamente; imediata; imediato; de imediato; \
             o mais rápido possível; o mais breve possível; quanto antes; o quanto antes; assim que possível; \
             alta prioridade; prazo; até amanhã; até hoje; asap",
            "dringend; dringende; urgent; urgente; spoed; spoedig; onmiddellijk; direct hulp; zo snel mogelijk; \
             zsm; z s m; per direct; hoge prioriteit; deadline; voor morgen; uiterlijk vandaag; uiterlijk morgen",
        ],
    ),
    (
        Sign::Scope,
        &[
            "all users; all our users; all of our users; every user; all customers; all our customers; \
             all clients; everyone; everybody; nobody; no one; whole company; entire company; whole team; entire team; \
             entire office; whole office; all employees; all staff; company wide; multiple users; many users; \
             production; prod; live system; across the organization; all devices; entire system",
            "alle benutzer; alle nutzer; alle kunden; alle mitarbeiter; alle kollegen; niemand; keiner; \
             ganze firma; gesamte firma; gesamtes team; ganze abteilung; unternehmensweit; alle systeme; \
             produktion; produktivsystem; produktionssystem; viele benutzer; mehrere benutzer",
            "tous les utilisateurs; tous nos utilisateurs; tous les clients; tous nos clients; tout le monde; personne; \
             toute l'entreprise; toute l'équipe; tous les employés; production; en production",
            "todos los usuarios; todos nuestros usuarios; todos los clientes; todos nuestros clientes; nadie; \
             toda la empresa; todo el equipo; todos los empleados; producción; en producción",
            "tutti gli utenti; tutti i clienti; tutti i nostri clienti; nessuno; tutta l'azienda; tutto il team; produzione",
            "todos os usuários; todos os utilizadores; todos os clientes; todos os nossos clientes; ninguém; \
             toda a empresa; toda a equipe; todos os funcionários; produção; em produção",
            "alle gebruikers; alle klanten; iedereen; niemand; hele bedrijf; hele team; alle medewerkers; productie",
        ],
    ),
    (
        Sign::Trouble,
        &[
            "down; not working; doesn't work; does not work; stopped working; broken; fails; failing; failure; failed; \
             failures; crash*; error; errors; can't; cannot; unable; unavailable; inaccessible; unreachable; \
             interruption; disruption; disruptions; timeouts; 500; 503; stuck; frozen",
            "funktioniert nicht; funktionieren nicht; geht nicht; kaputt; fehler; fehlgeschlagen; abgestürzt; \
             abstürze; nicht erreichbar; nicht verfügbar; störung; störungen; unterbrechung; unterbrechungen; \
             kann nicht; können nicht",
            "ne fonctionne pas; ne fonctionne plus; ne marche pas; ne marche plus; erreur; erreurs; panne; plantage; \
             indisponible; inaccessible; interruption; ne peut; ne peuvent; impossible",
            "no funciona; no funcionan; dejó de funcionar; error; errores; fallo; fallos; falla; no disponible; \
             inaccesible; interrupción; interrupciones; no puede; no pueden",
            "non funziona; non funzionano; errore; errori; guasto; non disponibile; inaccessibile; interruzione; \
             non riesce; non riescono; non può; non possono",
            "não funciona; não funcionam; parou de funcionar; erro; erros; falha; falhas; indisponível; inacessível; \
             interrupção; interrupções; não consegue; não conseguem",
            "werkt niet; werken niet; doet het niet; kapot; fout; fouten; mislukt; niet bereikbaar; onbereikbaar; \
             niet beschikbaar; kan niet; kunnen niet",
        ],
    ),
];

/// Words that take the weight from what follows: it isn't so, it is planned, or it is to be prevented.
const DAMPERS: &[&str] = &[
    "no",
    "not",
    "never",
    "without",
    "isn't",
    "wasn't",
    "aren't",
    "don't",
    "doesn't",
    "didn't",
    "nothing",
    "neither",
    "planned",
    "scheduled",
    "prevent",
    "preventing",
    "prevents",
    "avoid",
    "avoiding",
    "against",
    "if",
    "kein",
    "keine",
    "keinen",
    "keiner",
    "keinem",
    "nicht",
    "ohne",
    "nie",
    "geplante",
    "geplanter",
    "geplanten",
    "vermeiden",
    "falls",
    "gegen",
    "pas",
    "sans",
    "aucun",
    "aucune",
    "jamais",
    "éviter",
    "prévu",
    "prévue",
    "contre",
    "si",
    "ne",
    "sin",
    "ningún",
    "ninguna",
    "nunca",
    "evitar",
    "contra",
    "planificada",
    "programada",
    "non",
    "senza",
    "nessun",
    "nessuna",
    "mai",
    "evitare",
    "contro",
    "se",
    "não",
    "sem",
    "nenhum",
    "nenhuma",
    "niet",
    "geen",
    "zonder",
    "nooit",
    "voorkomen",
    "tegen",
    "gepland",
    "geplande",
    "als",
];

/// How far before a phrase a damper is looked for, within the sentence.
const REACH: usize = 3;

/// A priority and the words that raised or lowered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Urgency {
    pub(super) priority: Priority,
    pub(super) because: Vec<String>,
}

/// Judges title and body together: `words` is one after the other.
pub(super) fn judge(words: &[Word]) -> Urgency {
    let found = signs(words);
    let has = |sign: Sign| found.iter().any(|(other, _)| *other == sign);
    let because = |wanted: &[Sign]| -> Vec<String> {
        let mut phrases: Vec<String> = Vec::new();
        for (sign, phrase) in &found {
            if wanted.contains(sign) && !phrases.contains(phrase) {
                phrases.push(phrase.clone());
            }
        }
        phrases.truncate(3);
        phrases
    };
    let pressed = has(Sign::Blocked) || has(Sign::Hurry);
    if has(Sign::Incident) {
        return Urgency { priority: Priority::Urgent, because: because(&[Sign::Incident]) };
    }
    if has(Sign::Scope) && (has(Sign::Blocked) || (has(Sign::Hurry) && has(Sign::Trouble))) {
        let because = because(&[Sign::Scope, Sign::Blocked, Sign::Hurry]);
        return Urgency { priority: Priority::Urgent, because };
    }
    if has(Sign::Blocked) && has(Sign::Hurry) {
        return Urgency { priority: Priority::Urgent, because: because(&[Sign::Blocked, Sign::Hurry]) };
    }
    if pressed || (has(Sign::Scope) && has(Sign::Trouble) && !has(Sign::Calm)) {
        let because = because(&[Sign::Blocked, Sign::Hurry, Sign::Scope]);
        return Urgency { priority: Priority::High, because };
    }
    if has(Sign::Calm) {
        return Urgency { priority: Priority::Low, because: because(&[Sign::Calm]) };
    }
    Urgency { priority: Priority::Medium, because: Vec::new() }
}

/// The signs in a text with the phrases as they stand there. At each word the longest phrase wins, so that "not urgent"
/// is not also "urgent".
fn signs(words: &[Word]) -> Vec<(Sign, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((sign, length)) = longest(rest) else {
            at += 1;
            continue;
        };
        if sign == Sign::Calm || sign == Sign::Trouble || !is_damped(words, at) {
            let phrase: Vec<&str> = rest.iter().take(length).map(|word| word.lower.as_str()).collect();
            found.push((sign, phrase.join(" ")));
        }
        at += length;
    }
    found
}

fn longest(rest: &[Word]) -> Option<(Sign, usize)> {
    let first = rest.first()?;
    let named = PHRASES.by_first_word.get(first.lower.as_str()).into_iter().flatten();
    named
        .chain(&PHRASES.open)
        .filter(|(_, phrase)| {
            phrase.len() <= rest.len()
                && phrase.iter().zip(rest).all(|(pattern, word)| pattern.fits(&word.lower))
        })
        .map(|(sign, phrase)| (*sign, phrase.len()))
        // Of two of the same length the graver one, which the order of the signs does not say.
        .max_by_key(|(sign, length)| (*length, *sign == Sign::Incident, *sign == Sign::Blocked))
}

/// A word of a phrase; `open` means that more letters may follow.
#[derive(Debug)]
struct Pattern {
    start: String,
    open: bool,
}

impl Pattern {
    fn fits(&self, word: &str) -> bool {
        if self.open { word.starts_with(&self.start) } else { word == self.start }
    }
}

#[derive(Default)]
struct Phrases {
    by_first_word: BTreeMap<String, Vec<(Sign, Vec<Pattern>)>>,
    /// Phrases whose first word is open: too few to look up.
    open: Vec<(Sign, Vec<Pattern>)>,
}

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let mut all = Phrases::default();
    for (sign, languages) in RULES {
        for phrase in languages.iter().flat_map(|phrases| phrases.split(';')) {
            let patterns: Vec<Pattern> = phrase.split_whitespace().flat_map(patterns).collect();
            match patterns.first() {
                Some(first) if first.open => all.open.push((*sign, patterns)),
                Some(first) => {
                    let first = first.start.clone();
                    all.by_first_word.entry(first).or_default().push((*sign, patterns));
                }
                None => {}
            }
        }
    }
    all
});

/// Split as a ticket's words are: "d'urgence" is two.
fn patterns(piece: &str) -> Vec<Pattern> {
    let open = piece.ends_with('*');
    text::words(piece).into_iter().map(|word| Pattern { start: word.lower, open }).collect()
}

fn is_damped(words: &[Word], at: usize) -> bool {
    let mut place = at;
    for _ in 0..REACH {
        if words.get(place).is_none_or(|word| word.begins) || place == 0 {
            return false;
        }
        place -= 1;
        if words.get(place).is_some_and(|word| DAMPERS.contains(&word.lower.as_str())) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Priority {
        judge(&text::words(text)).priority
    }

    #[test]
    fn rules_in_several_languages() {
        let cases = [
            ("The production server is down", Priority::Urgent),
            ("We had an outage and lost data", Priority::Urgent),
            ("I think my account was hacked", Priority::Urgent),
            ("All users are locked out", Priority::Urgent),
            ("Critical: please fix this immediately", Priority::Urgent),
            ("Please answer as soon as possible", Priority::High),
            ("I cannot log in since this morning", Priority::High),
            ("I was charged twice for my order", Priority::High),
            ("Where do I find my invoices?", Priority::Medium),
            ("The export button has an error", Priority::Medium),
            ("There is a typo on the start page", Priority::Low),
            ("This is not urgent, take your time", Priority::Low),
            ("No rush, just a question about colors", Priority::Low),
            ("Totalausfall, niemand kann arbeiten", Priority::Urgent),
            ("Bitte dringend um Hilfe", Priority::High),
            ("Das ist nicht dringend", Priority::Low),
            ("Perte de données sur le serveur", Priority::Urgent),
            ("Merci de répondre dès que possible", Priority::High),
            ("Ce n'est pas urgent", Priority::Low),
            ("El sistema está caído", Priority::Urgent),
            ("Necesito ayuda lo antes posible", Priority::High),
            ("No es urgente", Priority::Low),
            ("Nessuno può lavorare", Priority::Urgent),
            ("Il prima possibile, per favore", Priority::High),
            ("O site está fora do ar", Priority::Urgent),
            ("Não é urgente", Priority::Low),
            ("Er is een datalek", Priority::Urgent),
            ("Graag zo snel mogelijk", Priority::High),
            ("", Priority::Medium),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_negated_planned_or_prevented_does_not_raise() {
        let cases = [
            "There was no outage on our side",
            "How do I prevent data loss?",
            "When is the planned outage?",
            "Was passiert bei einer geplanten Wartung ohne Ausfall?",
            "Comment éviter une perte de données ?",
            "It isn't critical for us",
        ];
        for text in cases {
            assert!(of(text) <= Priority::Medium, "{text}");
        }
        // The sentence before has no say.
        assert_eq!(of("That did not help. Outage again!"), Priority::Urgent);
    }

    #[test]
    fn the_words_that_decided_are_told() {
        let urgency = judge(&text::words("Hello, our shop is down. It is down!"));
        assert_eq!(urgency.because, ["is down"]);
    }
}
