//! What mails show, and what they must not do.

use super::*;

#[test]
fn dangerous_html_is_made_safe() {
    let cases = [
        ("<p>Hi<script>alert(1)</script>", "<p>Hi</p>"),
        ("<a href=\"javascript:alert(1)\">x</a>", "<a rel=\"noopener noreferrer nofollow\">x</a>"),
        ("<img src=https://t.example/p.gif alt=a>", "<img alt=\"a\">"),
        ("<img src=\"cid:1@x\">", "<img src=\"cid:1@x\">"),
        ("<a href=\"data:text/html,x\">x</a>", "<a rel=\"noopener noreferrer nofollow\">x</a>"),
        ("<b onclick=x>1 < 2</b>", "<b>1 &lt; 2</b>"),
        ("<!-- a --><i>x", "<i>x</i>"),
        ("<style>p{}", ""),
        ("<form action=x><input></form>", ""),
    ];
    for (html, want) in cases {
        assert_eq!(clean(html), want, "{html}");
    }
}

#[test]
fn html_becomes_text() {
    let cases = [
        ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree"),
        ("a &amp; b&nbsp;&lt;c&gt; &eacute;", "a & b <c> é"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "1 2\n3"),
        ("<blockquote type=cite>old<div>er</div></blockquote>new", "> old\n> er\n\nnew"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<ul><li>x<li>y</ul>", "x\ny"),
    ];
    for (html, want) in cases {
        assert_eq!(to_text(html), want, "{html}");
    }
}

#[test]
fn hostile_nesting_is_flat_and_fast() {
    let cases = [
        "<div>".repeat(200_000),
        "</div>".repeat(200_000),
        "<b>".repeat(100_000) + &"<p>".repeat(100_000),
        (0..20_000).fold(String::new(), |out, n| out + "<font size=" + &n.to_string() + ">")
            + &"<p>x".repeat(20_000),
        "<table><tr><td>".repeat(50_000),
        "<a b='".repeat(50_000),
        "&".repeat(50_000),
        "x&amp;".repeat(50_000),
        "<!--".repeat(50_000),
        "<script></".repeat(50_000),
    ];
    for html in cases {
        let html = format!("start{html}");
        assert!(clean(&html).starts_with("start"));
        assert!(to_text(&html).starts_with("start"));
    }
}

#[test]
fn pictures_from_the_net_are_kept_apart_and_shown_only_where_that_is_wanted() {
    let own = BTreeMap::from([("logo 1@x".to_owned(), "/api/tickets/1001/attachments/7".to_owned())]);
    let seen = |html: &str, remote: bool| {
        let shown = show(&keep(html), own.clone(), remote);
        format!("{}{}", shown.html, if shown.has_remote_images { " (remote)" } else { "" })
    };
    let net = "<p>a <img src=\"https://t.example/p.gif?a=1&b=2\" alt=\"x > y\" onload=x> b";
    insta::assert_snapshot!(keep(net), @r#"<p>a <img src="remote:https://t.example/p.gif?a=1&amp;b=2" alt="x &gt; y"> b</p>"#);
    insta::assert_snapshot!(seen(net, false), @r#"<p>a <img alt="x &gt; y"> b</p> (remote)"#);
    insta::assert_snapshot!(seen(net, true), @r#"<p>a <img src="https://t.example/p.gif?a=1&amp;b=2" alt="x &gt; y" referrerpolicy="no-referrer"> b</p> (remote)"#);
    insta::assert_snapshot!(seen("<img src='CID:logo%201@x'><img src=\"cid:other@x\" alt=gone>", false), @r#"<img src="/api/tickets/1001/attachments/7"><img alt="gone">"#);
    insta::assert_snapshot!(seen("<img src=\"data:image/png;base64,AA==\"><img src=\"data:image/svg+xml,x\">", true), @r#"<img src="data:image/png;base64,AA==" referrerpolicy="no-referrer"><img referrerpolicy="no-referrer">"#);
    // The sender's own use of what marks a kept address.
    insta::assert_snapshot!(seen("<img src=\"remote:https://t.example/\"><img src=\"remote:javascript:x\">", false), @"<img><img> (remote)");
    // Two addresses, none of which is a right one or one of them hidden behind the other.
    insta::assert_snapshot!(seen("<img data-remote-src=\"javascript:x\" src=\"//t.example/x\">", true), @r#"<img referrerpolicy="no-referrer">"#);
    insta::assert_snapshot!(seen("<img data-remote-src=\"https://a.example/\" src=\"cid:logo 1@x\">", false), @r#"<img src="/api/tickets/1001/attachments/7">"#);
    insta::assert_snapshot!(seen("<img src=\"https:t.example/\"><img src=\"\thttps://t.example/\" srcset=\"https://t.example/ 2x\" style=\"background:url(https://t.example/)\"><table background=\"https://t.example/\"></table>", false), @"<img><img><table></table> (remote)");
    // Text that looks like a picture is text.
    insta::assert_snapshot!(seen("&lt;img src=\"https://t.example/\"> <i title='<img src=\"https://t.example/\">'>x</i>", true), @r#"&lt;img src="https://t.example/"&gt; <i title="&lt;img src=&quot;https://t.example/&quot;&gt;">x</i>"#);
    insta::assert_snapshot!(seen("<a href=\"https://x.example/?<img src=\">x</a><img alt='\" src=\"https://t.example' src='https://u.example/'>", true), @r#"<a href="https://x.example/?&lt;img src=" rel="noopener noreferrer nofollow">x</a><img alt="&quot; src=&quot;https://t.example" src="https://u.example/" referrerpolicy="no-referrer"> (remote)"#);
}

#[test]
fn space_around_an_address_is_not_shown() {
    insta::assert_snapshot!(clean("<img src=\"&Tab;data:image/png;base64,AA==\"><a href=' https://x.example/\n'>x</a>"), @r#"<img src="data:image/png;base64,AA=="><a href="https://x.example/" rel="noopener noreferrer nofollow">x</a>"#);
}

#[test]
fn an_attribute_that_a_value_spells_is_no_attribute() {
    let seen = |html: &str, remote: bool| show(&keep(html), BTreeMap::new(), remote).html;
    let script = "<img alt=\"x data-remote-src=\" title=\"y onerror=alert(1) z\">";
    insta::assert_snapshot!(seen(script, false), @r#"<img alt="x data-remote-src=" title="y onerror=alert(1) z">"#);
    insta::assert_snapshot!(seen(script, true), @r#"<img alt="x data-remote-src=" title="y onerror=alert(1) z" referrerpolicy="no-referrer">"#);
    let beacon = "<img alt=\"x src=\" title=\"x src=\" src=\"https://evil.example/p.gif\">";
    insta::assert_snapshot!(seen(beacon, false), @r#"<img alt="x src=" title="x src=">"#);
    insta::assert_snapshot!(seen(beacon, true), @r#"<img alt="x src=" title="x src=" src="https://evil.example/p.gif" referrerpolicy="no-referrer">"#);
    // Kept by a version that marked addresses otherwise, or by nobody who looked.
    insta::assert_snapshot!(show(beacon, BTreeMap::new(), false).html, @r#"<img alt="x src=" title="x src=">"#);
    insta::assert_snapshot!(show("<img data-remote-src=\"https://evil.example/p.gif\" onerror=x>", BTreeMap::new(), true).html, @r#"<img referrerpolicy="no-referrer">"#);
}

/// What a browser reads in HTML without raw text: each start tag's name and its attributes.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    use html5ever::tendril::StrTendril;
    use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};

    #[derive(Default)]
    struct Tags(std::cell::RefCell<Vec<Tag>>);
    impl TokenSink for Tags {
        type Handle = ();
        fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
            match token {
                Token::TagToken(tag) if tag.kind == TagKind::StartTag => self.0.borrow_mut().push(tag),
                _ => {}
            }
            TokenSinkResult::Continue
        }
    }

    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Tags::default(), html5ever::tokenizer::TokenizerOpts::default());
    let _done = tokenizer.feed(&input);
    assert!(input.is_empty());
    tokenizer.end();
    let read = tokenizer.sink.0.take();
    let pairs = |tag: &Tag| {
        tag.attrs.iter().map(|attr| (attr.name.local.to_string(), attr.value.to_string())).collect()
    };
    read.iter().map(|tag| (tag.name.to_string(), pairs(tag))).collect()
}

/// Fails where shown HTML has an element, an attribute or an address that is not known to be harmless.
fn assert_harmless(shown: &str, remote_images: bool, sent: &str) {
    for (element, attributes) in tags(shown) {
        assert!(
            ["img", "p", "a", "i", "br", "wbr", "table", "tbody", "tr", "td"].contains(&element.as_str()),
            "<{element}> of {sent:?}"
        );
        for (name, value) in attributes {
            // A scheme is read in any case (RFC 3986 §3.1).
            let value = value.to_ascii_lowercase();
            let on_net = value.starts_with("https://");
            let fine = match (element.as_str(), name.as_str()) {
                ("img", "src") => {
                    value == "/own"
                        || value.starts_with("cid:")
                        || value.starts_with("data:image/png")
                        || remote_images && on_net
                }
                ("img", "referrerpolicy") => remote_images && value == "no-referrer",
                ("img", "alt") | (_, "title") => true,
                ("a", "href") => on_net,
                ("a", "rel") => value == "noopener noreferrer nofollow",
                _ => false,
            };
            assert!(fine, "<{element} {name}={value:?}> of {sent:?}: {shown}");
        }
    }
}

#[test]
fn whatever_is_sent_no_picture_loads_from_the_net_by_itself_and_nothing_runs() {
    let pieces = [
        "<img ",
        "<img src=\"",
        "src=",
        "\"",
        "'",
        "https://t.example/",
        "HTTPS://t.example/",
        "//t.example/",
        "remote:",
        "cid:a",
        "data:image/png;base64,AA==",
        "data:text/html,",
        "javascript:x",
        "\t",
        " ",
        ">",
        "<",
        "data-remote-src=",
        "alt=",
        "alt=\"x src=\" ",
        "alt=\"x > src=\" ",
        "title=\"x data-remote-src=\" ",
        "title='x src=\"remote:' ",
        "title=\"y onerror=alert(1) z\" ",
        "onerror=x ",
        "<svg>",
        "<math><mtext>",
        "<p title=",
        "&quot;",
        "&lt;",
        "&Tab;",
        "=",
        "/",
        "<a href=",
        "<i>",
        "<!--",
        "<style>",
        "<title>",
        "<textarea>",
        "<table background=",
        "<td>",
        "style=\"background:url(https://t.example/)\" ",
        "srcset=",
        "<picture><source srcset=",
    ];
    let own = BTreeMap::from([("a".to_owned(), "/own".to_owned())]);
    let config = proptest::test_runner::Config { cases: 400, ..Default::default() };
    proptest::proptest!(config, |(picks in proptest::collection::vec(0..pieces.len(), 0..30), remote: bool)| {
        let sent: String = picks.iter().filter_map(|at| pieces.get(*at).copied()).collect();
        let kept = keep(&sent);
        assert_harmless(&clean(&sent), false, &sent);
        assert_harmless(&show(&kept, own.clone(), remote).html, remote, &sent);
        // What an older version kept, or none, is shown by the same rules.
        assert_harmless(&show(&sent, own.clone(), remote).html, remote, &sent);
        for (element, attributes) in tags(&kept) {
            let loads = |value: &str| value.starts_with("http") || value.starts_with('/');
            assert!(!attributes.iter().any(|(name, value)| element == "img" && name == "src" && loads(value)));
        }
    });
}
