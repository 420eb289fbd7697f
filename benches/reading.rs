//! How fast mail is read: parsed, classified, cut to what is new, its HTML cleaned. First mails as they come, on one
//! core; then the worst inputs that somebody thought of, up to the size that is taken in, each with its time and the
//! memory it took at its peak.
//!
//! `cargo bench --bench reading`; `TICKETD_CORPUS` names a folder of mails to read as well, and `TICKETD_WORST` a part of
//! the name of the worst inputs to measure.

#![expect(clippy::print_stdout, reason = "a measurement says what it measured")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ticketd::mail::{classify, html, parse, reply};

/// Counts what is allocated and not yet given back.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one passes everything on")]
// SAFETY: every call goes to the system's allocator as it came; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The size of the largest mail that is taken in by default.
const LARGEST: usize = 25 * 1024 * 1024;
/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(1);
/// No input of a megabyte or more may take more memory than so many times its size.
const MOST_MEMORY: f64 = 4.0;

fn main() {
    let own: Vec<Vec<u8>> = (0..3000).map(usual).collect();
    println!("usual mails, made up      {}", rate(&own));
    if let Some(folder) = option("TICKETD_CORPUS") {
        let mut mails = Vec::new();
        collect(Path::new(&folder), &mut mails);
        println!("mails of TICKETD_CORPUS   {}", rate(&mails));
    }
    let wanted = option("TICKETD_WORST").unwrap_or_default();
    println!("\n{:44} {:>9} {:>9} {:>8}", "worst inputs", "size", "time", "memory");
    let mut over = 0;
    for (name, make) in WORST.iter().filter(|(name, _)| name.contains(&wanted)) {
        over += usize::from(!measure(name, &make()));
    }
    println!("{over} over the limits of {LONGEST:?} and {MOST_MEMORY} times the size");
}

#[expect(clippy::disallowed_methods, reason = "a measurement's size")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn collect(folder: &Path, mails: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, mails);
        } else if path.extension().is_some_and(|end| end == "eml") {
            mails.extend(std::fs::read(&path).ok());
        }
    }
}

/// What is done with every mail that comes in.
fn read(raw: &[u8]) {
    let mail = parse::parse(raw);
    black_box(classify::classify(&mail));
    black_box(reply::visible(&mail));
    black_box(mail.html.as_deref().map(html::clean));
}

fn rate(mails: &[Vec<u8>]) -> String {
    // The first reading compiles the patterns.
    mails.iter().take(50).for_each(|mail| read(mail));
    let mut times: Vec<Duration> = mails
        .iter()
        .map(|mail| {
            let begun = Instant::now();
            read(mail);
            begun.elapsed()
        })
        .collect();
    let whole: Duration = times.iter().sum();
    times.sort();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied();
    let count = f64::from(u32::try_from(mails.len()).unwrap_or(u32::MAX));
    format!(
        "{:6.0} /s on one core ({} mails; half take up to {:.2?}, 99 of 100 up to {:.2?}, the slowest {:.2?})",
        count / whole.as_secs_f64(),
        mails.len(),
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        times.last().copied().unwrap_or_default()
    )
}

/// Prints time and peak memory of one input; whether they are within the limits.
fn measure(name: &str, raw: &[u8]) -> bool {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let begun = Instant::now();
    read(raw);
    let took = begun.elapsed();
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    let size = |bytes: usize| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    let times = size(peak) / size(raw.len());
    let is_good = took <= LONGEST && (times <= MOST_MEMORY || raw.len() < 1024 * 1024);
    println!(
        "{name:44} {:6.1} MB {:6.0} ms {times:5.1} ×{}",
        size(raw.len()) / 1_048_576.0,
        took.as_secs_f64() * 1000.0,
        if is_good { "" } else { "   over" }
    );
    is_good
}

const HEAD: &str = "From: Ann <ann@example.org>\r\nTo: support@example.net\r\nSubject: Re: Invoice\r\n\
                    Message-ID: <1@example.org>\r\nIn-Reply-To: <0@example.net>\r\nMIME-Version: 1.0\r\n";

fn mail(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut raw = format!("{HEAD}{fields}\r\n").into_bytes();
    raw.extend_from_slice(body);
    raw
}

fn plain(body: &str) -> Vec<u8> {
    mail("Content-Type: text/plain; charset=utf-8\r\n", body.as_bytes())
}

fn markup(body: &str) -> Vec<u8> {
    mail("Content-Type: text/html; charset=utf-8\r\n", body.as_bytes())
}

fn mixed(parts: &str) -> Vec<u8> {
    mail("Content-Type: multipart/mixed; boundary=b\r\n", parts.as_bytes())
}

/// As often as it fits into the largest mail.
fn full(text: &str) -> String {
    text.repeat((LARGEST - 1024) / text.len())
}

/// A usual mail: the sorts that a help desk gets, in turn.
fn usual(number: usize) -> Vec<u8> {
    let written =
        "I still wait for the parcel of my order, which was announced for Tuesday. ".repeat(number % 12 + 1);
    let cited = "> We have sent it on Monday, it should arrive in two days.\r\n".repeat(number % 40 + 3);
    let block =
        "<p>We have sent it on <b>Monday</b>, it should arrive in two days.</p>".repeat(number % 40 + 3);
    let html = format!(
        "<html><body><div dir=\"ltr\">{written}<br></div><div class=\"gmail_quote\"><div class=\"gmail_attr\">On Mon, Feb \
         2, 2026 at 10:00 AM Support &lt;support@example.net&gt; wrote:<br></div><blockquote class=\"gmail_quote\" \
         style=\"margin:0\">{block}</blockquote></div></body></html>"
    );
    let text = format!(
        "{written}\r\n\r\nOn Mon, Feb 2, 2026 at 10:00 AM Support <support@example.net> wrote:\r\n{cited}\r\n-- \r\nAnn\r\n"
    );
    let file =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA\r\n".repeat(400);
    match number % 5 {
        0 | 1 => plain(&text),
        2 => markup(&html),
        3 => mixed(&format!(
            "--b\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\n{text}\r\n\
             --a\r\nContent-Type: text/html\r\n\r\n{html}\r\n--a--\r\n--b\r\nContent-Type: image/png; name=\"a.png\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{file}--b--\r\n"
        )),
        _ => mail(
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\
             Auto-Submitted: auto-replied\r\n",
            "Sch=F6nen Tag, ich bin bis Montag nicht im B=FCro.\r\n".repeat(8).as_bytes(),
        ),
    }
}

type Make = fn() -> Vec<u8>;

const WORST: &[(&str, Make)] = &[
    ("flat text", || plain(&full("It is a long text of many lines, and none of them ends soon.\r\n"))),
    ("one line", || plain(&full("word "))),
    ("one word", || plain(&full("x"))),
    ("line feeds", || plain(&full("\n"))),
    ("CR LF", || plain(&full("\r\n"))),
    ("cited lines", || plain(&full("> cited\r\n"))),
    ("cited line of marks", || plain(&full(">"))),
    ("many lines under the limit of the cutter", || plain(&"> a\nb\n".repeat(9_900))),
    ("introductions", || plain(&full("On Mon, Feb 2, 2026 at 10:00 AM Ann <a@example.org> wrote:\n"))),
    ("introductions, a megabyte", || plain(&"On Mon, Feb 2, 2026, Ann wrote\n".repeat(19_000))),
    ("almost introductions, a megabyte", || plain(&"On Mon 2 <a@example.org\n".repeat(19_900))),
    ("header blocks, a megabyte", || plain(&"From: a\nTo: b\n".repeat(9_900))),
    ("addresses without end, a megabyte", || plain(&"a@a.".repeat(250_000))),
    ("notification of addresses", || {
        let raw = plain(&full("<a@example.org>: user unknown 550 5.1.1\n"));
        [b"From: MAILER-DAEMON@example.org\r\nReturn-Path: <>\r\n".as_slice(), &raw].concat()
    }),
    ("spaces and colons", || plain(&full(" :"))),
    ("not UTF-8", || mail("Content-Type: text/plain\r\n", &[0xe4, 0xf6, 0x20].repeat(LARGEST / 3 - 1024))),
    ("wrong character set", || {
        mail("Content-Type: text/plain; charset=utf-8\r\n", &[0xe4, 0xf6, 0x20].repeat(LARGEST / 3 - 1024))
    }),
    ("ISO-2022-JP", || {
        mail("Content-Type: text/plain; charset=iso-2022-jp\r\n", full("\u{1b}$B$3$s\u{1b}(B").as_bytes())
    }),
    ("UTF-7", || mail("Content-Type: text/plain; charset=utf-7\r\n", full("+AOQ-").as_bytes())),
    ("quoted-printable", || {
        mail(
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            full("=C3=A4").as_bytes(),
        )
    }),
    ("soft line breaks", || {
        mail(
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            full("=\r\n").as_bytes(),
        )
    }),
    ("base64 text", || {
        mail("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n", full("QUJDRAo=").as_bytes())
    }),
    ("uuencode", || {
        let body = format!(
            "begin 644 a\n{}`\nend\n",
            full("M0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T0V%T\n")
        );
        mail("Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n", body.as_bytes())
    }),
    ("base64 file", || {
        let line = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk=\r\n";
        let file = full(line);
        mixed(&format!(
            "--b\r\n\r\nSee it.\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}--b--"
        ))
    }),
    ("tiny parts", || mixed(&full("--b\n\nx\n"))),
    ("tiny files", || mixed(&full("--b\nContent-Type: a/b\n\nx\n"))),
    ("delimiters", || mixed(&full("--b\n"))),
    ("almost delimiters", || mixed(&full("--bb\n"))),
    ("parts that are not closed", || {
        (0..200_000)
            .fold(String::new(), |out, n| {
                out + &format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")
            })
            .into_bytes()
    }),
    ("delimiters of many multiparts", || {
        let open = (0..60).fold(String::new(), |out, n| {
            out + &format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")
        });
        format!("{open}\n{}", full("--no such delimiter is open here\n")).into_bytes()
    }),
    ("mails in mails", || full("Content-Type: message/rfc822\n\n").into_bytes()),
    ("digest", || {
        mail("Content-Type: multipart/digest; boundary=b\r\n", full("--b\n\nSubject: x\n\ny\n").as_bytes())
    }),
    ("header fields", || full("A: b\n").into_bytes()),
    ("one folded field", || format!("Subject: x\n{}", full(" folded\n")).into_bytes()),
    ("References", || format!("References: {}\n\nx", full("<1@example.org>\n ")).into_bytes()),
    ("References in many fields", || format!("{}\n\nx", full("References: <1@example.org>\n")).into_bytes()),
    ("addresses", || format!("To: {}\n\nx", full("Ann <a@example.org>, ")).into_bytes()),
    ("To fields", || format!("{}\n\nx", full("To: Ann <a@example.org>\n")).into_bytes()),
    ("brackets in From", || format!("From: {}\n\nx", "(".repeat(250_000)).into_bytes()),
    ("encoded words", || format!("Subject: {}\n\nx", full("=?utf-8?q?=C3=A4?= ")).into_bytes()),
    ("broken encoded words", || format!("Subject: {}\n\nx", "=?utf-8?q?".repeat(25_000)).into_bytes()),
    ("parameters", || format!("Content-Type: text/plain{}\n\nx", "; a*0=b".repeat(30_000)).into_bytes()),
    ("continued file name", || {
        let name = (0..20_000).fold(String::new(), |out, n| out + &format!("; filename*{n}=x"));
        format!("Content-Type: a/b\nContent-Disposition: attachment{name}\n\nx").into_bytes()
    }),
    ("20,000 nested divs", || markup(&("<div>".repeat(20_000) + "x"))),
    ("nested divs", || markup(&full("<div>"))),
    ("nested and closed", || markup(&("<div>".repeat(1_000_000) + &"</div>".repeat(1_000_000)))),
    ("links", || markup(&full("<a href=\"https://example.org/\">x"))),
    ("<a", || markup(&full("<a "))),
    ("<", || markup(&full("<"))),
    ("end tags", || markup(&full("</p>"))),
    ("stray end tags under open ones", || markup(&("<div>".repeat(140) + &full("</b></i></span>")))),
    ("formatting that is never closed", || markup(&full("<b><i><p>"))),
    ("table", || markup(&format!("<table>{}", full("<tr><td>cell</td><td>cell</td></tr>")))),
    ("nested tables", || markup(&full("<table><tr><td>"))),
    ("block quotations", || markup(&full("<blockquote>x"))),
    ("entities", || markup(&full("&amp;&lt;&nbsp;"))),
    ("ampersands", || markup(&full("&"))),
    ("style sheet", || markup(&format!("<style>{}</style>x", full("p { color: red }\n")))),
    ("style attributes", || markup(&full("<p style=\"color:red;margin:0\">x</p>"))),
    ("attributes", || markup(&format!("<p {}>x", full("a=b ")))),
    ("comments", || markup(&full("<!-- x -->"))),
    ("comment without end", || markup(&full("<!--"))),
    ("scripts", || markup(&full("<script>x</script>"))),
    ("script without end", || markup(&full("<script></"))),
    ("quotes in tags", || markup(&full("<p a=\"<p a='"))),
    ("data picture", || markup(&format!("<img src=\"data:image/png;base64,{}\">x", full("QUJD")))),
    ("many data pictures", || {
        markup(&format!("<img src=\"data:image/png;base64,{}\">x", "QUJD".repeat(20_000)).repeat(300))
    }),
    ("preformatted", || markup(&format!("<pre>{}", full("x\n")))),
    ("line breaks", || markup(&full("<br>"))),
    ("HTML as one word", || markup(&full("x"))),
    ("title without end", || markup(&full("<title>"))),
    ("NUL", || plain(&full("\0"))),
];
