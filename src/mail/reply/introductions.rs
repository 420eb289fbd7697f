//! Introductions as mail programs of many kinds and languages write them, each with the cited mail marked, unmarked where
//! the line alone is enough, and wrapped where programs wrap.

use super::tests::reply;

/// Those that are known without marks below them.
const INTRODUCTIONS: &[&str] = &[
    "On Mon, 2 Feb 2026 at 10:00, X Y <x@y.example> wrote:",
    "El lun, 2 de feb. de 2026 10:00 a. m., X Y <x@y.example> escribió:",
    "X Y <x@y.example> escreveu no dia segunda, 2/02/2026 à(s) 10:00:",
    "man. 2. feb. 2026 kl. 10:00 skrev X Y <x@y.example>:",
    "po 2. 2. 2026 o 10:00 X Y <x@y.example> napísal(a):",
    "На пн, 2.02.2026 г. в 10:00 X Y <x@y.example> написа:",
    "пон, 2. феб 2026. у 10:00 X Y <x@y.example> је написао/ла:",
    "pon, 2. velj 2026. u 10:00 X Y <x@y.example> napisao je:",
    "V V pon., 2. feb. 2026 ob 10:00 je oseba X Y <x@y.example> napisala:",
    "2026-02-02, pr, 10:00 X Y <x@y.example> rašė:",
    "pirmd., 2026. g. 2. febr., plkst. 10:00 — lietotājs X Y (<x@y.example>) rakstīja:",
    "Kuupäev E, 2. veebruar 2026 kell 10:00 kirjutas X Y <x@y.example>:",
    "\u{202b}בתאריך יום ב׳, 2 בפבר׳ 2026 ב-10:00 מאת \u{202a}X Y\u{202c}\u{200f} <\u{202a}x@y.example\u{202c}\u{200f}>:\u{202c}",
    "في الاثنين، 2 فبراير 2026 في 10:00 ص تمت كتابة ما يلي بواسطة X Y <x@y.example>:",
    "در تاریخ دوشنبه ۲ فوریه ۲۰۲۶، ۱۰:۰۰ X Y <x@y.example> نوشت:",
    "ในวันที่ จ. 2 ก.พ. 2026 เวลา 10:00 X Y <x@y.example> เขียนว่า:",
    "Pada tanggal Sen, 2 Feb 2026 pukul 10.00 X Y <x@y.example> menulis:",
    "Pada Isn, 2 Feb 2026, 10:00 X Y <x@y.example> menulis:",
    "X Y <x@y.example> 于2026年2月2日周一 10:00写道：",
    "X Y <x@y.example> 於 2026年2月2日 週一 上午10:00寫道：",
    "सोम, 2 फ़र॰ 2026 को 10:00 am बजे को X Y <x@y.example> ने लिखा:",
    "Missatge de X Y <x@y.example> del dia dl., 2 de febr. 2026 a les 10:00:",
    "O luns, 2 feb 2026 ás 10:00, X Y (<x@y.example>) escribiu:",
    "Þann mán., 2. feb. 2026 kl. 10:00 skrifaði X Y <x@y.example>:",
    "X Y <x@y.example>(e)k hau idatzi zuen (2026 ots. 2, al. (10:00)):",
    "On Feb 2, 2026, at 10:00 AM, X Y <x@y.example> wrote:",
    "Il giorno 2 feb 2026, alle ore 10:00, X Y <x@y.example> ha scritto:",
    "Op 2 feb. 2026 om 10:00 heeft X Y <x@y.example> het volgende geschreven:",
    "2 feb. 2026 kl. 10:00 skrev X Y <x@y.example>:",
    "X Y <x@y.example> kirjoitti 2.2.2026 kello 10.00:",
    "Wiadomość napisana przez X Y <x@y.example> w dniu 2 lut 2026, o godz. 10:00:",
    "Dnia 2 lut 2026 o godz. 10:00 X Y <x@y.example> napisał(a):",
    "W dniu 2 lut 2026, o godz. 10:00, użytkownik X Y <x@y.example> napisał:",
    "2. 2. 2026 v 10:00, X Y <x@y.example>:",
    "No dia 2 de fev. de 2026, às 10:00, X Y <x@y.example> escreveu:",
    "A 02/02/2026, às 10:00, X Y <x@y.example> escreveu:",
    "2 февр. 2026 г., в 10:00, X Y <x@y.example> написал(а):",
    "X Y <x@y.example> şunları yazdı (2 Şub 2026 10:00):",
    "2026/02/02 10:00、X Y <x@y.example>のメール:",
    "在 2026年2月2日，10:00，X Y <x@y.example> 写道：",
    "2026. 2. 2. 오전 10:00, X Y <x@y.example> 작성:",
    "2026. febr. 2. dátummal, 10:00 időpontban X Y <x@y.example> írta:",
    "Pe 2 feb. 2026, la 10:00, X Y <x@y.example> a scris:",
    "ב-2 בפבר׳ 2026, בשעה 10:00,\u{200f} X Y <x@y.example> כתב/ה:",
    "في ٢ فبراير ٢٠٢٦ م، الساعة ١٠:٠٠ ص، كتب/كتبت X Y <x@y.example>:",
    "On 2/2/26 10:00 AM, X Y wrote:",
    "Am 02.02.26 um 10:00 schrieb X Y:",
    "Le 02/02/2026 à 10:00, X Y a écrit :",
    "El 2/2/26 a las 10:00, X Y escribió:",
    "Il 02/02/2026 10:00, X Y ha scritto:",
    "Op 02-02-2026 om 10:00 schreef X Y:",
    "Den 2026-02-02 kl. 10:00, skrev X Y:",
    "På 02.02.2026 10:00, skrev X Y:",
    "Dne 02. 02. 26 v 10:00 X Y napsal(a):",
    "Dňa 2. 2. 2026 o 10:00 X Y napísal(a):",
    "2026. 02. 02. 10:00 keltezéssel, X Y írta:",
    "Pe 02.02.2026 10:00, X Y a scris:",
    "02.02.26 10:00, X Y пише:",
    "На 2.02.26 г. в 10:00 ч., X Y написа:",
    "Em 02/02/2026 10:00, X Y escreveu:",
    "Às 10:00 de 02/02/2026, X Y escreveu:",
    "2.02.2026 10:00 tarihinde X Y yazdı:",
    "Στις 2/2/2026 10:00 π.μ., ο/η X Y έγραψε:",
    "On 2026/02/02 10:00, X Y wrote:",
    "在 2026/2/2 10:00, X Y 写道:",
    "X Y 於 2026/2/2 10:00 寫道:",
    "2026-02-02 오전 10:00에 X Y 이(가) 쓴 글:",
    "El 2/2/26 a les 10:00, X Y ha escrit:",
    "2026-02-02 10:00, X Y rašė:",
    "Dne 2. 02. 2026 ob 10:00 je X Y napisal(a):",
    "Dana 2.2.2026. u 10:00, X Y je napisao/la:",
    "02.02.2026 10:00 X Y kirjutas:",
    "Pada 02/02/2026 10:00, X Y menulis:",
    "Vào 02/02/2026 10:00, X Y đã viết:",
    "בתאריך 02/02/2026 10:00, X Y כתב:",
    "On Monday, February 2, 2026 at 10:00:00 AM GMT+1, X Y <x@y.example> wrote:",
    "Am Montag, 2. Februar 2026 um 10:00:00 MEZ hat X Y <x@y.example> Folgendes geschrieben:",
    "Le lundi 2 février 2026 à 10:00:00 UTC+1, X Y <x@y.example> a écrit :",
    "El lunes, 2 de febrero de 2026, 10:00:00 CET, X Y <x@y.example> escribió:",
    "Em segunda-feira, 2 de fevereiro de 2026 10:00:00 BRT, X Y <x@y.example> escreveu:",
    "On Monday, February 2nd, 2026 at 10:00 AM, X Y <x@y.example> wrote:",
    "2. Feb. 2026, 10:00 von x@y.example:",
    "Feb 2, 2026, 10:00 by x@y.example:",
    "On Mon, Feb 2, 2026, at 10:00 AM, X Y wrote:",
    "---- On Mon, 02 Feb 2026 10:00:00 +0100 X Y <x@y.example> wrote ----",
    "02.02.2026, 10:00, \"X Y\" <x@y.example>:",
    "10:00, 2 февраля 2026 г., X Y <x@y.example>:",
    "Понедельник, 2 февраля 2026, 10:00 +03:00 от X Y <x@y.example>:",
    "Am 02.02.26, 10:00, X Y <x@y.example> schrieb:",
    "X Y <x@y.example> wrote on 02/02/2026 10:00:00 AM:",
    "X Y <x@y.example> schrieb am 02.02.2026 10:00:00:",
    "Monday, February 2, 2026, 10:00:00 AM, you wrote:",
    "On Mon, 2 Feb 2026, X Y wrote:",
    "On Mon, Feb 02, 2026 at 10:00:00AM +0100, X Y wrote:",
    "On Monday, 2 February 2026 10:00:00 CET X Y wrote:",
    "Am Montag, 2. Februar 2026, 10:00:00 CET schrieb X Y:",
    "On Mon, 2026-02-02 at 10:00 +0000, X Y wrote:",
    "Am Montag, dem 02.02.2026 um 10:00 +0100 schrieb X Y:",
    "El lun, 02-02-2026 a las 10:00 +0100, X Y escribió:",
    "Il giorno lun, 02/02/2026 alle 10.00 +0100, X Y ha scritto:",
    "在 2026-02-02 10:00:00，\"X Y\" <x@y.example> 写道：",
    "At 2026-02-02 10:00:00, \"X Y\" <x@y.example> wrote:",
    "Dnia 2 lutego 2026 10:00 X Y <x@y.example> napisał(a):",
    "W dniu 2026-02-02 10:00:00 użytkownik X Y <x@y.example> napisał:",
    "X Y <x@y.example> írta 2026. február 2. 10:00 -kor:",
    "Il 02/02/2026 10:00 X Y <x@y.example> ha scritto:",
    "On 2026-02-02 10:00, X Y wrote:",
    "Am 2026-02-02 10:00, schrieb X Y:",
    "On Feb 2 2026, at 10:00 am, X Y <x@y.example> wrote:",
    "On 2 Feb 2026 at 10:00 +0100, X Y <x@y.example>, wrote:",
    "Am 2. Feb. 2026, 10:00 +0100 schrieb X Y <x@y.example>:",
    "On 2 February 2026 at 10:00:00, X Y (x@y.example) wrote:",
    "Am 2. Februar 2026 10:00:00 MEZ schrieb X Y <x@y.example>:",
    "On February 2, 2026 10:00:00 AM GMT+01:00, X Y <x@y.example> wrote:",
    "On Feb 2, 2026, 10:00 AM, at 10:00 AM, X Y <x@y.example> wrote:",
    "On Mon, Feb 02, 2026 at 10:00 AM, X Y < x@y.example > wrote:",
    "X Y <x@y.example> hat am 02.02.2026 10:00 CET geschrieben:",
    "On 02/02/2026 10:00 CET X Y <x@y.example> wrote:",
    "Op 02-02-2026 10:00 CET schreef X Y <x@y.example>:",
    "Op maandag 2 februari 2026 schreef X Y <x@y.example>:",
    "Den måndag 2 februari 2026 skrev X Y <x@y.example>:",
    "Il giorno lunedì 2 febbraio 2026, X Y <x@y.example> ha scritto:",
    "Le lun. 2 févr. 2026, 10:00, X Y <x@y.example> a écrit :",
];

/// Those that are known only with marks below them: sentences look like them.
const MARKED: &[&str] = &[
    "X Y kirjoitti 2.2.2026 klo 10.00:",
    "X Y <x@y.example> writes:",
    "Quoting X Y <x@y.example>:",
    "Zitat von X Y <x@y.example>:",
    "Citando X Y <x@y.example>:",
    "X Y <x@y.example> escribió:",
    "X Y <x@y.example> a écrit :",
    "X Y a écrit :",
    "X Y wrote:",
    "X Y schrieb:",
    "X Y さんは書きました:",
    "In article <1@y.example>, X Y wrote:",
    "* X Y <x@y.example> [2026-02-02 10:00]:",
];

const MAIL: &str = "It is done. Please have a look at it.\n\nBye";

fn cited() -> String {
    MAIL.lines().fold(String::new(), |out, line| out + "> " + line + "\n")
}

#[test]
fn an_introduction_goes_with_the_mail_that_it_introduces() {
    for line in INTRODUCTIONS.iter().chain(MARKED) {
        assert_eq!(reply(&format!("Thank you.\n\n{line}\n\n{}", cited())), "Thank you.", "{line}");
    }
    for line in INTRODUCTIONS {
        assert_eq!(reply(&format!("Thank you.\n\n{line}\n\n{MAIL}\n")), "Thank you.", "unmarked: {line}");
    }
}

#[test]
fn an_introduction_is_wrapped_where_its_address_stands() {
    for line in INTRODUCTIONS {
        let Some((before, after)) = line.split_once("<x@") else { continue };
        for wrapped in [format!("{before}<\nx@{after}"), format!("{}\n<x@{after}", before.trim_end())] {
            assert_eq!(reply(&format!("Thank you.\n\n{wrapped}\n\n{}", cited())), "Thank you.", "{wrapped}");
        }
    }
}

#[test]
fn what_groupwise_does_not_mark_is_cut_off() {
    for line in [
        ">>> X Y <x@y.example> 02/02/2026 10:00 AM >>>",
        ">>> On 2/2/2026 at 10:00 AM, in message <1@y.example>, X Y <x@y.example> wrote:",
    ] {
        assert_eq!(reply(&format!("Thank you.\n\n{line}\n\n{MAIL}\n")), "Thank you.", "{line}");
    }
}

#[test]
fn sentences_with_an_address_and_a_date_stay() {
    for body in [
        "On 2 Feb 2026 at 10:00 I sent a mail to Ann <ann@example.org>:\n\nPlease call me.",
        "My mail of 02.02.2026 10:00 to Support <support@example.net> said:\n\nPlease call me.",
        "I paid on 2 Feb 2026.\nYour colleague Bo <bo@example.net> promised an answer by Monday:\n\nnothing came.",
        "The meeting is on 02.02.2026 at 10:00:\n\nplease come.",
    ] {
        assert_eq!(reply(body), body, "{body}");
    }
}
