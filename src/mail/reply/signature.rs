//! Signatures: the block after `-- `, and the lines that phones and mail services add.

use std::sync::LazyLock;

use regex::RegexSet;

use crate::mail::html_text::{Line, Mark};

/// A block after `-- ` may have so many lines. (The custom is four; companies add their notices.)
const MAX_LINES: usize = 20;
/// After a mere `--`, which could be anything, fewer.
const MAX_LINES_BARE: usize = 10;

/// Lines that programs add, in their languages. The whole line must be one.
static ADDED: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"(?i)^sent (from|via|with|using|by) [^.,;!?]{2,60}\.?$",
        // With the name of a device or program it may go on: "please excuse typos".
        r"(?i)^(\S+ |sent )?(from|via|with|using|by) (my |a |an |the )?.{0,24}\b(cell|phone|mobile|mobile device|iphone|ipad|ipod|android|galaxy|samsung|htc|blackberry|windows|tablet|smartphone|outlook|handheld)\b.{0,80}$",
        r"(?i)^(get|download|try|sent from) (my )?\[?(outlook|bluemail|spark|mail|yahoo mail)\b.{0,20}(\]\(https?:\S*\)|<?https?:\S*>?)?( for .{2,20})?\.?$",
        r"(?i)^(von (meinem|mein) .{2,40}|gesendet (von|mit|aus) .{2,50}|diese nachricht wurde von meinem .{2,60})( gesendet| geschickt)?\.?$",
        r"(?i)^(envoyé (de|depuis|à partir de|avec) |télécharger outlook).{2,60}$",
        r"(?i)^(enviado (desde|de|do|a partir do|con|com) |obtener outlook|obter o outlook).{2,60}$",
        r"(?i)^(inviato (da|dal|con|tramite) |scarica outlook|ottieni outlook).{2,60}$",
        r"(?i)^(verzonden (vanaf|met|van) |verstuurd (vanaf|met) |outlook voor ).{2,60}$",
        r"(?i)^(skickat från|sendt fra|sendt fra min|hämta outlook|hent outlook) .{2,60}$",
        r"(?i)^(lähetetty|hanki outlook) .{2,60}$|^lähetetty iphonesta$",
        r"(?i)^(wysłane? (z|za pomocą)|pobierz outlook) .{2,60}$",
        r"(?i)^(odesláno|odoslané|poslané|posláno) (z|zo|pomocí) .{2,60}$",
        r"(?i)^(отправлено (с|из)|надіслано (з|із)|изпратено от|послато са) .{2,60}$",
        r"(?i)^.{0,20}(iphone|ipad|android|samsung|outlook|huawei|xiaomi).{0,24}(küldve|gönderildi|küldtem|gesendet|poslano|saadetud|발송|보냄|から送信|发送|發送)\.?$",
        r"^(发自|發自|从我的|從我的|寄件自|来自|使用).{1,40}(iPhone|iPad|手机|手機|邮箱|郵箱|Mail|Outlook|发送|傳送|寄出)?$",
        r"(?i)^.{1,20}から送信$|^나의 .{1,20}에서 보냄$|^(gửi|đã gửi) từ .{2,40}$|^(dikirim dari|trimis de pe|trimis din|στάλθηκε από|enviat des) .{2,40}$|^(נשלח מ|أُ?رسلت? من).{1,40}$",
    ])
    .unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
});

/// Calls `mark` for each line that belongs to a signature.
pub fn mark(lines: &[Line], mark: &mut impl FnMut(usize)) {
    let own = |line: &Line| line.mark == Mark::Plain;
    let is_written = |line: &&Line| own(line) && !line.text.trim().is_empty();
    // The first delimiter counts where several signatures follow each other.
    let begins = lines.iter().enumerate().find(|(at, line)| {
        let after = lines.get(at + 1..).unwrap_or_default();
        let count = after.iter().filter(is_written).count();
        own(line) && count > 0 && count <= limit(&line.text, after)
    });
    if let Some((at, _)) = begins
        && lines.iter().take(at).any(|line| is_written(&line))
    {
        let block = lines.iter().enumerate().skip(at);
        block.filter(|(_, line)| own(line)).for_each(|(index, _)| mark(index));
    }
    mark_list_footer(lines, mark);
    // What stands above all that was written is no signature.
    let first = lines.iter().position(|line| is_written(&line) && !is_added(&line.text));
    let Some(first) = first else { return };
    for (at, line) in lines.iter().enumerate().skip(first) {
        let before = at.checked_sub(1).and_then(|before| lines.get(before));
        let after = lines.get(at + 1);
        // In a paragraph of its own, or at the very end.
        let is_edge = |line: Option<&Line>| is_gap(line) || line.is_some_and(|line| is_added(&line.text));
        let stands_alone = is_edge(before) || is_edge(after);
        if own(line) && stands_alone && is_added(&line.text) {
            mark(at);
        }
    }
}

/// What list servers put below a mail: a ruled line, the name of the list, its address.
fn mark_list_footer(lines: &[Line], mark: &mut impl FnMut(usize)) {
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.mark == Mark::Plain) {
        let next = lines.get(at + 1).map(|next| next.text.to_lowercase()).unwrap_or_default();
        // Mailman's rule is 47 long; programs that wrap lines leave less of it, down to two.
        let rule = line.text.trim();
        let is_rule = super::header::is_rule(rule) || rule == "__";
        if is_rule && next.trim_end().ends_with("mailing list") {
            let block = lines.iter().enumerate().skip(at).take(6);
            block.take_while(|(_, line)| !is_gap(Some(line))).for_each(|(index, _)| mark(index));
        }
    }
}

fn is_gap(line: Option<&Line>) -> bool {
    line.is_none_or(|line| line.text.trim().is_empty() || line.mark != Mark::Plain)
}

/// How many lines a signature after this delimiter may have; 0 if it is none. RFC 3676 §4.3 has a space at the end,
/// which gateways cut off; what follows a bare `--` must look like a signature.
fn limit(text: &str, after: &[Line]) -> usize {
    match text.trim_start() {
        "-- " => MAX_LINES,
        "--" | "—" | "––" if looks_like_one(after) => MAX_LINES_BARE,
        _ => 0,
    }
}

/// Short lines, nothing asked, and a name first.
fn looks_like_one(after: &[Line]) -> bool {
    let own = after.iter().filter(|line| line.mark == Mark::Plain);
    let mut lines = own.map(|line| line.text.trim()).filter(|text| !text.is_empty());
    let is_short = |text: &str, limit: usize| text.chars().count() <= limit && !text.ends_with('?');
    lines.next().is_some_and(|first| is_short(first, 60) && !first.ends_with([',', ':']))
        && lines.all(|text| is_short(text, 90))
}

fn is_added(text: &str) -> bool {
    let text = text.trim().trim_matches(['*', '_', '<', '>']);
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    text.len() < 160 && !text.is_empty() && ADDED.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_programs_add() {
        let cases = [
            ("Sent from my iPhone", true),
            ("Sent from Mail for Windows 10", true),
            ("*Sent from my phone*", true),
            ("Get Outlook for Android<https://aka.ms/x>", true),
            ("Gesendet mit der GMX Mail App", true),
            ("Enviado desde mi iPhone", true),
            ("Verzonden vanaf mijn iPad", true),
            ("Отправлено с iPhone", true),
            ("iPhoneから送信", true),
            ("나의 iPhone에서 보냄", true),
            ("Sent from my desk, this is text.", false),
            ("(sent from a phone)", true),
            ("Sent from my cell, please excuse any typos.", true),
            ("Get [Outlook for Android](https://aka.ms/x)", true),
            ("Sent the parcel yesterday", false),
            ("The parcel was sent from Berlin", false),
            ("Greetings from my family", false),
        ];
        for (text, want) in cases {
            assert_eq!(is_added(text), want, "{text}");
        }
    }
}
