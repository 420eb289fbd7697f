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
        r"(?i)^(get|download|try) (outlook|bluemail|spark|mail) (for|on) [^.,;]{2,30}(<?https?:\S*>?)?\.?$",
        r"(?i)^(sent from|get) (my )?(outlook|mail|yahoo mail|samsung|iphone|ipad|android)\b.{0,60}(<?https?:\S*>?)\.?$",
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
    let own = |line: &&Line| line.mark == Mark::Plain;
    let begins = lines.iter().enumerate().rev().find(|(at, line)| {
        let after = lines
            .get(at + 1..)
            .unwrap_or_default()
            .iter()
            .filter(own)
            .filter(|line| !line.text.trim().is_empty());
        let count = after.count();
        own(line) && count > 0 && count <= limit(&line.text, lines.get(at + 1))
    });
    // The first delimiter counts where several signatures follow each other.
    if let Some((at, _)) = begins {
        let has_text =
            lines.get(..at).unwrap_or_default().iter().any(|line| own(&line) && !line.text.trim().is_empty());
        if has_text {
            for (index, line) in lines.iter().enumerate().skip(at) {
                if own(&line) {
                    mark(index);
                }
            }
        }
    }
    let written =
        lines.iter().filter(own).filter(|line| !line.text.trim().is_empty() && !is_added(&line.text)).count();
    if written == 0 {
        return;
    }
    for (at, line) in lines.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| lines.get(before));
        let after = lines.get(at + 1);
        // In a paragraph of its own, or at the very end.
        let stands_alone = is_gap(before) || is_gap(after);
        if own(&line) && stands_alone && is_added(&line.text) {
            mark(at);
        }
    }
}

fn is_gap(line: Option<&Line>) -> bool {
    line.is_none_or(|line| line.text.trim().is_empty() || line.mark != Mark::Plain)
}

/// How many lines a signature after this delimiter may have; 0 if it is none (RFC 3676 §4.3).
fn limit(text: &str, next: Option<&Line>) -> usize {
    match text.trim() {
        // Trailing white space was cut before, so `-- ` and `--` look the same here; a blank line below `--` makes
        // it a rule.
        "--" if next.is_some_and(|next| !next.text.trim().is_empty()) => MAX_LINES,
        "--" | "—" | "––" => MAX_LINES_BARE,
        _ => 0,
    }
}

fn is_added(text: &str) -> bool {
    let text = text.trim().trim_matches(['*', '_', '[', ']', '(', ')']).trim();
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
            ("Sent the parcel yesterday", false),
            ("The parcel was sent from Berlin", false),
        ];
        for (text, want) in cases {
            assert_eq!(is_added(text), want, "{text}");
        }
    }
}
