//! What is cut and what is kept, as tables.

use super::visible;
use crate::mail::parse::{Mail, parse};

fn mail(kind: &str, subject: &str, body: &str) -> Mail {
    let header = "From: ann@example.org\nTo: support@example.net\nContent-Transfer-Encoding: 8bit\n";
    parse(
        format!("{header}Subject: {subject}\nContent-Type: text/{kind}; charset=utf-8\n\n{body}").as_bytes(),
    )
}

pub(super) fn reply(body: &str) -> String {
    visible(&mail("plain", "Re: x", body))
}

#[test]
fn introductions_in_many_languages() {
    let introductions = [
        "On Mon, Feb 2, 2026 at 10:00 AM Desk <desk@example.net> wrote:",
        "On 2 Feb 2026, at 10:00, Desk wrote:",
        "Desk <desk@example.net> wrote:",
        "Am 02.02.2026 um 10:00 schrieb Desk:",
        "Am Mo., 2. Feb. 2026 um 10:00 Uhr schrieb Desk <desk@example.net>:",
        "Le lun. 2 févr. 2026 à 10:00, Desk <desk@example.net> a écrit :",
        "El lun, 2 feb 2026 a las 10:00, Desk (<desk@example.net>) escribió:",
        "Em seg., 2 de fev. de 2026 às 10:00, Desk <desk@example.net> escreveu:",
        "Il giorno lun 2 feb 2026 alle ore 10:00 Desk <desk@example.net> ha scritto:",
        "Op ma 2 feb 2026 om 10:00 schreef Desk <desk@example.net>:",
        "Den mån 2 feb. 2026 kl 10:00 skrev Desk <desk@example.net>:",
        "Den man. 2. feb. 2026 kl. 10.00 skrev Desk <desk@example.net>:",
        "ma 2. helmik. 2026 klo 10.00 Desk (desk@example.net) kirjoitti:",
        "W dniu 02.02.2026 o 10:00, Desk pisze:",
        "pon., 2 lut 2026 o 10:00 Desk <desk@example.net> napisał(a):",
        "po 2. 2. 2026 v 10:00 odesílatel Desk <desk@example.net> napsal:",
        "Desk <desk@example.net> ezt írta (időpont: 2026. febr. 2., H, 10:00):",
        "пн, 2 февр. 2026 г. в 10:00, Desk <desk@example.net>:",
        "02.02.2026 10:00, Desk пишет:",
        "пн, 2 лют. 2026 р. о 10:00 Desk <desk@example.net> пише:",
        "Desk <desk@example.net>, 2 Şub 2026 Pzt, 10:00 tarihinde şunu yazdı:",
        "Στις Δευ 2 Φεβ 2026 στις 10:00 π.μ., ο χρήστης Desk <desk@example.net> έγραψε:",
        "2026年2月2日(月) 10:00 Desk <desk@example.net>:",
        "2026年2月2日 10:00、Desk <desk@example.net>のメール:",
        "2026年2月2日 10:00，Desk <desk@example.net> 写道：",
        "2026년 2월 2일 (월) 오전 10:00, Desk <desk@example.net>님이 작성:",
        "Vào Th 2, 2 thg 2, 2026 vào lúc 10:00 Desk <desk@example.net> đã viết:",
        "El dl., 2 de febr. 2026, 10:00, Desk <desk@example.net> va escriure:",
        "În lun., 2 feb. 2026 la 10:00, Desk <desk@example.net> a scris:",
    ];
    for line in introductions {
        assert_eq!(reply(&format!("Thank you.\n\n{line}\n\n> It is done.\n> Bye\n")), "Thank you.", "{line}");
        assert_eq!(
            reply(&format!("Thank you.\n\n{line}\n\nIt is done.\n")),
            "Thank you.",
            "unmarked: {line}"
        );
    }
}

#[test]
fn wrapped_introductions() {
    let cases = [
        "On Mon, Feb 2, 2026 at 10:00 AM Some Very Long Name <\nsome.very.long.name@example.net> wrote:",
        "On Mon, Feb 2, 2026 at 10:00 AM Some Very Long Name\n<some.very.long.name@example.net>\nwrote:",
        "Le lun. 2 févr. 2026 à 10:00,\nDesk <desk@example.net> a\nécrit :",
    ];
    for line in cases {
        assert_eq!(reply(&format!("Yes.\n\n{line}\n> It is done.\n")), "Yes.", "{line}");
    }
}

#[test]
fn sentences_are_no_introductions() {
    let cases = [
        "On your machine you can run:\n\n  telnet 127.0.0.1 25\n\nIt works.",
        "One outstanding question I had:\n\nWhen I run it, nothing happens.",
        "Here is what I wrote:\n\nDear all",
        "The manual, page 12, says:\n\nTurn it off.",
        "Sent from my desk, this should be readable.\nBye",
        "Date: Monday\nTime: 7:00\nPlace: here\n\nPlease come.",
        "From: Berlin\nIs that right?",
        "Sent from Berlin to Munich\n\nthe parcel is lost.",
        "Le 3 mai 2026 à 10:00 le serveur a écrit dans le journal :\n\nERROR 1\n\nQue faire ?",
        "It fails - see below -\n-- verbose does not help\nmore and\nmore",
        "a\n---\nb",
        "Two questions.\n--\nDoes it work on Linux, and where is it kept there?\n--\nAnd what does it cost?",
        "From: Berlin\nTo: Hamburg\nDate: 3 May 2026\nPlease book this.",
        "List:\n- one\n- two\n-- three\n-- four",
    ];
    for body in cases {
        assert_eq!(reply(body), body, "{body}");
    }
}

#[test]
fn header_blocks_end_the_reply() {
    let cases = [
        "From: Desk <desk@example.net>\nSent: Monday, February 2, 2026 10:00\nTo: Ann\nSubject: x",
        "*From:* Desk <desk@example.net>\n*Sent:* Monday\n*To:* Ann\n*Subject:* x",
        "Von: Desk\nGesendet: Montag, 2. Februar 2026\nAn: Ann\nBetreff: x",
        "De : Desk <desk@example.net>\nEnvoyé : lundi\nÀ : Ann\nObjet : x",
        "De: Desk\nEnviado el: lunes\nPara: Ann\nAsunto: x",
        "Da: Desk\nInviato: lunedì\nA: Ann\nOggetto: x",
        "Van: Desk\nVerzonden: maandag\nAan: Ann\nOnderwerp: x",
        "Från: Desk\nSkickat: måndag\nTill: Ann\nÄmne: x",
        "Od: Desk\nWysłano: poniedziałek\nDo: Ann\nTemat: x",
        "От: Desk\nОтправлено: понедельник\nКому: Ann\nТема: x",
        "发件人: Desk\n发送时间: 2026年2月2日\n收件人: Ann\n主题: x",
        "差出人: Desk\n送信日時: 2026年2月2日\n宛先: Ann\n件名: x",
        "-----Original Message-----\nFrom: Desk\nSubject: x",
        "-----Ursprüngliche Nachricht-----\nVon: Desk",
        "________________________________\nFrom: Desk\nSent: Monday\nTo: Ann",
        "---------- Forwarded message ---------\nFrom: Desk",
        "##- Please type your reply above this line -##\nold",
    ];
    for block in cases {
        assert_eq!(reply(&format!("Thank you.\n\n{block}\n\nIt is done.\n")), "Thank you.", "{block}");
    }
}

#[test]
fn where_the_answer_stands() {
    let cases = [
        // below, with and without introduction
        ("On 2 Feb 2026, at 10:00, Desk wrote:\n\n> Done?\n\nYes.", "Yes."),
        ("> Done?\n\nYes.", "> Done?\n\nYes."),
        (
            "Hi Bea,\nOn 2 Feb 2026, at 10:00, Desk wrote:\n> Done?\n\nYes, it was\ndone on\nMonday by\nme.",
            "Hi Bea,\n\nYes, it was\ndone on\nMonday by\nme.",
        ),
        // in between: the questions stay
        ("> Done?\n\nYes.\n\n> Paid?\n\nNo.", "> Done?\n\nYes.\n\n> Paid?\n\nNo."),
        (
            "Hi,\n\nOn 2 Feb 2026, at 10:00, Desk wrote:\n> Done?\nYes.\n> Paid?\nNo.\n> Bye",
            "Hi,\n\n> Done?\nYes.\n> Paid?\nNo.",
        ),
        // around
        (
            "Yes.\n\nOn 2 Feb 2026, at 10:00, Desk wrote:\n\n> Done?\n\nRegards, Ann",
            "Yes.\n\n\n\nRegards, Ann",
        ),
        // wrapped on the way
        (
            "Yes.\n\nOn 2 Feb 2026, at 10:00, Desk wrote:\n> A long line that the program of the writer broke in two because\nit was too long\n> End",
            "Yes.",
        ),
        ("Yes--- On Mon, Feb 2, 2026 at 10:00, Desk wrote:\n> Done?", "Yes"),
        // nothing of one's own
        ("> Done?", "> Done?"),
        ("On 2 Feb 2026, at 10:00, Desk wrote:\n> Done?", "On 2 Feb 2026, at 10:00, Desk wrote:\n> Done?"),
    ];
    for (body, want) in cases {
        assert_eq!(reply(body), want, "{body}");
    }
}

#[test]
fn signatures() {
    let cases = [
        ("Yes.\n\n-- \nAnn\nExample Ltd", "Yes."),
        ("Yes.\n\n--\nAnn", "Yes."),
        (
            "Yes.\n\n-- \nAnn asks: is a signature of more than sixty characters in its first line one?",
            "Yes.",
        ),
        ("Yes.\n\nSent from my iPhone", "Yes."),
        ("Yes.\n\nVon meinem iPhone gesendet", "Yes."),
        ("Yes.\n\nEnvoyé de mon iPhone", "Yes."),
        ("Yes.\n\nGet Outlook for iOS<https://aka.ms/x>", "Yes."),
        ("Yes.\n\n从我的 iPhone 发送", "Yes."),
        ("Yes.\n\nSent from my iPhone\n\nOn 2 Feb 2026, at 10:00, Desk wrote:\n> Done?", "Yes."),
        ("Yes.\n\n-- \nAnn\n\nOn 2 Feb 2026, at 10:00, Desk wrote:\n> Done?", "Yes."),
    ];
    for (body, want) in cases {
        assert_eq!(reply(body), want, "{body}");
    }
}

#[test]
fn first_mails_and_forwards_stay_whole() {
    let body = "Please see:\n\nFrom: A <a@example.org>\nSent: Monday\nTo: B\nSubject: x\n\nHello";
    assert_eq!(visible(&mail("plain", "Question", body)), body);
    assert_eq!(visible(&mail("plain", "Fwd: x", body)), body);
    assert_eq!(reply(body), "Please see:");
}

#[test]
fn html_quotes_of_the_mail_programs() {
    let cases = [
        // Gmail
        "Yes.<div class=\"gmail_quote\"><div class=\"gmail_attr\">On x:<br></div><blockquote class=\"gmail_quote\">old</blockquote></div>",
        "Yes.<div class=\"gmail_quote\">On Monday someone:<div>old</div></div>",
        // Outlook
        "<p>Yes.</p><hr><div id=\"divRplyFwdMsg\"><b>From:</b> D<br></div><div>old</div>",
        "<div>Yes.</div><div style=\"border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm\"><p>Lähettäjä: D</p></div><p>old</p>",
        // Apple Mail, Thunderbird
        "Yes.<blockquote type=\"cite\"><div>On 2 Feb 2026, at 10:00, D wrote:</div>old</blockquote>",
        "Yes.<div class=\"moz-cite-prefix\">D kirjutas:</div><blockquote type=\"cite\">old</blockquote>",
        // Yahoo, Proton
        "<div>Yes.</div><div class=\"yahoo_quoted\"><div>On Monday, D wrote:</div>old</div>",
        "<div>Yes.</div><div class=\"protonmail_quote\">On Monday, D wrote:<blockquote>old</blockquote></div>",
        // none of them
        "<p>Yes.</p><p>On 2 Feb 2026, at 10:00, D wrote:</p><blockquote>old</blockquote>",
    ];
    for html in cases {
        assert_eq!(visible(&mail("html", "Re: x", html)), "Yes.", "{html}");
    }
    let indented =
        "<p>See:</p><blockquote style=\"margin:0 0 0 40px;border:none;padding:0px\">mine</blockquote>";
    assert_eq!(visible(&mail("html", "Re: x", indented)), "See:\n\nmine");
}
