//! Headers of mail that was copied into an answer: "From: … Sent: … To: … Subject: …", and the lines above them.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::mail::html_text::{Line, Mark};

/// How far a header block may reach: lines that belong to no field of it are few.
const MAX_SPAN: usize = 14;
/// A field name is at most so long, in bytes.
const MAX_NAME: usize = 48;

/// Which field a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    From,
    /// A date that is called "sent".
    Sent,
    Date,
    To,
    Subject,
    Other,
}

const FROM: &str = "from, von, de, da, van, från, fra, lähettäjä, od, от, від, від кого, от кого, feladó, expéditeur, \
     remitente, remetente, mittente, afzender, avsändare, afsender, odesílatel, odosielateľ, kimden, \
     gönderen, από, 发件人, 寄件者, 寄件人, 差出人, 送信者, 보낸 사람, 보낸사람, từ, người gửi, de la, dari, מאת, من, \
     pošiljatelj, šalje, saatja, nuo, no, จาก, ad";
const SENT: &str = "sent, message du, sent on, gesendet, gesendet am, envoyé, envoyé le, date d'envoi, enviado, enviado \
     el, enviada em, enviado em, enviada, fecha de envío, inviato, inviato il, data di invio, verzonden, \
     verzonden op, skickat, sendt, lähetetty, wysłano, wysłane, data wysłania, odesláno, odoslané, \
     отправлено, дата отправки, надіслано, küldve, elküldve, trimis, gönderildi, gönderme tarihi, εστάλη, \
     στάλθηκε, 发送时间, 发送日期, 寄件日期, 傳送時間, 送信日時, 보낸 날짜, đã gửi, dikirim, נשלח, تاريخ الإرسال, poslano, \
     saadetud";
const DATE: &str = "date, datum, fecha, data, dato, päivämäärä, päiväys, dátum, дата, tarih, ημερομηνία, 日期, 日付, 날짜, \
     ngày, tanggal, תאריך, التاريخ, วันที่, kuupäev, time";
const TO: &str = "to, an, à, a, para, aan, till, til, vastaanottaja, do, komu, кому, címzett, către, kime, alıcı, \
     προς, 收件人, 收件者, 宛先, 받는 사람, 받는사람, đến, tới, kepada, אל, إلى, za, kellele, destinataire, destinatario, \
     destinatário, ถึง, per, prima";
const SUBJECT: &str = "subject, betreff, objet, sujet, asunto, assunto, oggetto, onderwerp, ämne, emne, aihe, otsikko, \
     temat, předmět, predmet, тема, tárgy, subiect, konu, θέμα, 主题, 主旨, 件名, 제목, chủ đề, subjek, perihal, \
     נושא, الموضوع, teema, เรื่อง, assumpte, naslov";
const OTHER: &str = "cc, bcc, reply-to, reply to, antwort an, antwoord aan, répondre à, responder a, rispondi a, kopie, \
     kopia, copie, copie à, cópia, kopi, kopio, копия, копія, másolat, 抄送, 副本, 참조, attachments, anlagen, \
     importance, priority, priorität, organization, message-id, sent by, on behalf of, wichtigkeit, \
     priorité, importancia, pièces jointes, categories, resent-from, svar till, bilgi";

/// Words of the line that stands above a copied mail.
const DIVIDER: &str = "original message, originalmessage, original appointment, original email, reply message, replied \
     message, forwarded message, forwarded by, begin forwarded message, ursprüngliche nachricht, \
     originalnachricht, original-nachricht, weitergeleitete nachricht, ursprünglicher termin, message \
     d'origine, message original, message initial, message transféré, courriel original, mensaje \
     original, mensaje reenviado, mensagem original, mensagem encaminhada, messaggio originale, messaggio \
     inoltrato, oorspronkelijk bericht, origineel bericht, doorgestuurd bericht, ursprungligt meddelande, \
     originalmeddelande, vidarebefordrat meddelande, oprindelig meddelelse, opprinnelig melding, original \
     meddelelse, videresendt, alkuperäinen viesti, edelleenlähetetty viesti, wiadomość oryginalna, \
     oryginalna wiadomość, przekazana wiadomość, wiadomość przekazana, původní zpráva, původní e-mail, \
     přeposlaná zpráva, pôvodná správa, eredeti üzenet, továbbított üzenet, mesaj original, mesaj \
     redirecționat, исходное сообщение, оригинальное сообщение, пересылаемое сообщение, пересланное \
     сообщение, оригінальне повідомлення, переслане повідомлення, orijinal mesaj, özgün ileti, \
     yönlendirilen ileti, iletilen mesaj, αρχικό μήνυμα, προωθημένο μήνυμα, 原始邮件, 原始郵件, 邮件原件, 转发的邮件, \
     轉寄的郵件, 回复的原邮件, 元のメッセージ, 転送メッセージ, 원본 메시지, 전달된 메시지, thư gốc, tin nhắn gốc, pesan asli, הודעה מקורית, \
     הודעה שהועברה, الرسالة الأصلية, missatge original, izvorna poruka, originalna poruka, izvirno \
     sporočilo, algne teade, vorherige antworten, previous replies, réponses précédentes, respuestas \
     anteriores, respostas anteriores, risposte precedenti, vorige antwoorden";

/// What programs put above their own mails so that answers can be told from them.
const WRITE_ABOVE: &str = "reply above this line, your reply above this line, write above this line, type above this line, \
     respond above this line, reply above the line, oberhalb dieser zeile, oberhalb dieser linie, über \
     dieser zeile, au-dessus de cette ligne, por encima de esta línea, encima de esta línea, acima desta \
     linha, sopra questa riga, boven deze regel, boven deze lijn, ovanför denna rad, over denne linje, \
     over denne linjen, powyżej tej linii, выше этой строки, 请在此行上方回复";

static FIELDS: LazyLock<HashMap<&'static str, Field>> = LazyLock::new(|| {
    let sorts = [
        (OTHER, Field::Other),
        (SUBJECT, Field::Subject),
        (TO, Field::To),
        (DATE, Field::Date),
        (SENT, Field::Sent),
        (FROM, Field::From),
    ];
    sorts.iter().flat_map(|(names, field)| names.split(", ").map(|name| (name, *field))).collect()
});

/// A line of nothing but `-`, `_`, `=`, `*`, `~` or `#`.
pub fn is_rule(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    // A mark that a tracking extension leaves.
    if text == "\u{1427}" {
        return true;
    }
    text.chars().count() >= 3
        && text.chars().all(|c| matches!(c, '-' | '_' | '=' | '*' | '~' | '#' | '+' | '—' | '–' | '─'))
}

/// Whether the line says that a copied mail begins, or that the answer ends above it.
pub fn is_divider(text: &str) -> bool {
    if text.len() > 240 {
        return false;
    }
    let lower = text.to_lowercase();
    if WRITE_ABOVE.split(", ").any(|words| lower.contains(words)) {
        return true;
    }
    let trimmed = lower.trim();
    let bare = trimmed.trim_matches(|c: char| {
        matches!(c, '-' | '_' | '=' | '*' | '—' | '–' | '─' | '>' | '<' | '#') || c.is_whitespace()
    });
    let bare = bare.trim_end_matches([':', '：']).trim_end();
    // QQ Mail says only this, between many dashes.
    if bare == "original" && trimmed.starts_with("-----") {
        return true;
    }
    let decorated = trimmed.starts_with(['-', '_', '=', '*', '—', '–', '─', '#'])
        || trimmed.ends_with([':', '：', '-', '—']);
    decorated
        && DIVIDER.split(", ").any(|words| bare == words || bare.strip_prefix(words).is_some_and(is_by_line))
}

/// How Novell's program begins the mail that is answered, which it does not mark: `>>> Ann <ann@example.org> 02/02/26 10:00 >>>`,
/// or `>>> On 2/2/2026 at 10:00, in message <…>, Ann wrote:`.
pub fn is_arrowed(text: &str) -> bool {
    let Some(inner) = text.trim().strip_prefix(">>> ").filter(|inner| !inner.starts_with('>')) else {
        return false;
    };
    let has_date = inner.chars().filter(char::is_ascii_digit).count() >= 4;
    text.len() < 300 && has_date && (inner.ends_with(">>>") || inner.contains('@') && inner.ends_with(':'))
}

/// "Forwarded by Ann on 2 Feb": a name and a date may follow.
fn is_by_line(rest: &str) -> bool {
    rest.starts_with(' ') && rest.len() < 120 && rest.chars().any(|c| c.is_ascii_digit())
}

/// Whether a header block begins with the first of these lines: fields of at least three sorts, one of them the
/// author; two will do below a ruled line, and where they are an address and a date.
pub fn is_block(lines: &[Line], after_rule: bool) -> bool {
    let Some(first) = lines.first() else { return false };
    let Some(sort) = field(&first.text).filter(|sort| *sort != Field::Other) else { return false };
    let mut seen = vec![if sort == Field::Sent { Field::Date } else { sort }];
    let mut strangers = 0;
    let (mut has_address, mut has_number, mut is_sent) = (false, false, false);
    for (at, line) in lines.iter().take(MAX_SPAN).enumerate() {
        let found = field(&line.text);
        if line.mark == Mark::Cut || at > 0 && found.is_none() && strangers == 2 {
            break;
        }
        // A long value goes on in the next line, and some put blank lines between the fields; after two the mail
        // itself has begun.
        strangers = if found.is_some() { 0 } else { strangers + 1 };
        for sort in found.into_iter().chain(inner_fields(&line.text, found)) {
            let is_date = matches!(sort, Field::Sent | Field::Date);
            is_sent |= sort == Field::Sent;
            has_address |= sort == Field::From && line.text.contains('@');
            has_number |= is_date && line.text.chars().filter(char::is_ascii_digit).count() >= 3;
            let sort = if is_date { Field::Date } else { sort };
            if !seen.contains(&sort) {
                seen.push(sort);
            }
        }
    }
    let main = seen.iter().filter(|field| **field != Field::Other).count();
    // "From: Berlin, To: Hamburg, Date: 3 May" is a journey.
    let is_mail = after_rule || is_sent || seen.contains(&Field::Subject) || has_address;
    let is_sure = after_rule || seen.len() > 2 && seen.contains(&Field::Subject) || has_address && has_number;
    seen.contains(&Field::From) && (main >= 3 && is_mail || main == 2 && is_sure)
}

/// The header of a copied mail.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// As it stands there: `Ann <ann@example.org>`.
    pub from: String,
    pub subject: String,
    /// How many lines it takes.
    pub length: usize,
}

/// Reads a header block, where [`is_block`] found one.
pub fn read_block(lines: &[Line]) -> Block {
    let mut block = Block::default();
    let mut last = None;
    let text = |at: usize| lines.get(at).map(|line| bare(&line.text));
    let mut at = 0;
    while let Some(line) = text(at).filter(|_| at < MAX_SPAN) {
        let found = field(line);
        let next = (at + 1..at + 3).find_map(|at| text(at).filter(|line| !line.is_empty()));
        // Some put blank lines between the fields; a long value goes on in the next line.
        if line.is_empty() && next.is_none_or(|next| field(next).is_none()) {
            break;
        }
        let value = match found {
            Some(_) => line.split_once([':', '：']).map_or("", |(_, value)| value),
            None => line,
        };
        last = found.or(last);
        let target = match last {
            Some(Field::From) => &mut block.from,
            Some(Field::Subject) => &mut block.subject,
            Some(Field::Sent | Field::Date | Field::To | Field::Other) | None => {
                at += 1;
                continue;
            }
        };
        let value = value.trim_matches(|c: char| c.is_whitespace() || c == '*');
        if found.is_none() || target.is_empty() {
            target.push_str(if target.is_empty() { "" } else { " " });
            target.push_str(value);
        }
        at += 1;
    }
    block.length = at;
    block
}

/// Without the marks of a quote.
fn bare(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '|')).trim_end()
}

/// Further fields on a line that begins with the author, as HTML without line breaks gives them.
fn inner_fields(text: &str, first: Option<Field>) -> Vec<Field> {
    if first != Some(Field::From) || text.len() > 600 {
        return Vec::new();
    }
    let words: Vec<&str> = text.split_whitespace().skip(1).collect();
    words.iter().filter(|word| word.ends_with([':', '：'])).filter_map(|word| field(word)).collect()
}

/// The field at the start of a line: `From: x`, `*From:* x`, `Envoyé le :x`, `发件人：x`.
fn field(text: &str) -> Option<Field> {
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '>' | '|'));
    let colon = start.char_indices().take(MAX_NAME).find(|(_, c)| matches!(c, ':' | '：'))?.0;
    let name = start
        .get(..colon)?
        .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_'))
        .to_lowercase();
    let name = name.trim();
    FIELDS.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dividers() {
        let cases = [
            ("-----Original Message-----", true),
            ("---Original Message---", true),
            ("----- Original Message -----", true),
            ("Begin forwarded message:", true),
            ("------------------ Original ------------------", true),
            ("---------- Forwarded message ---------", true),
            ("----- Forwarded by Ann/Example on 02.02.2026 10:00 -----", true),
            ("## In replies all text above this line ##", false),
            ("--- Please reply above this line ---", true),
            ("I lost the original message", false),
            ("original message", false),
            ("---", false),
        ];
        for (text, want) in cases {
            assert_eq!(is_divider(text), want, "{text}");
        }
    }

    #[test]
    fn rules() {
        for (text, want) in [
            ("----", true),
            ("* * *", true),
            ("________", true),
            ("--", false),
            ("- a -", false),
            ("", false),
        ] {
            assert_eq!(is_rule(text), want, "{text}");
        }
    }
}
