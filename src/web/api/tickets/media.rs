//! Which files a browser may show by itself. Pure.

/// Pictures that hold nothing but pixels: their media types, and how their bytes begin.
const PICTURES: [(&str, &[u8]); 4] = [
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("image/webp", b"RIFF"),
];

/// The media type of what may be shown in a page: a picture that was said to be one and is one. Never what a browser runs,
/// such as HTML, SVG or other XML, whatever its sender calls it.
pub(super) fn picture(said: &str, content: &[u8]) -> Option<&'static str> {
    let said = if matches!(said, "image/jpg" | "image/pjpeg") { "image/jpeg" } else { said };
    if !PICTURES.iter().any(|(kind, _)| *kind == said) {
        return None;
    }
    let (kind, _) = PICTURES.iter().find(|(_, start)| content.starts_with(start))?;
    let is_webp = || content.get(8..12) == Some(b"WEBP");
    (*kind != "image/webp" || is_webp()).then_some(*kind)
}

/// The media type of what is saved: as its sender says, but none that a browser would run or take for a picture.
pub(super) fn harmless(said: &str) -> &str {
    let runs = ["html", "xml", "svg", "script", "xsl", "mathml", "image/", "multipart/", "message/"];
    if runs.iter().any(|part| said.contains(part)) && !said.contains("openxmlformats") {
        "application/octet-stream"
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_that_are_pictures_are_shown() {
        let webp = b"RIFF\x10\0\0\0WEBPVP8 ";
        let cases: [(&str, &[u8], Option<&str>); 11] = [
            ("image/png", b"\x89PNG\r\n\x1a\n...", Some("image/png")),
            ("image/jpg", b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            ("image/gif", b"GIF89a", Some("image/gif")),
            ("image/webp", webp, Some("image/webp")),
            ("image/webp", b"RIFF\x10\0\0\0WAVE", None),
            // The wrong name, but a picture.
            ("image/png", b"GIF89a", Some("image/gif")),
            ("image/png", b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
            ("image/svg+xml", b"<svg/>", None),
            ("image/svg+xml", b"\x89PNG\r\n\x1a\n", None),
            ("text/html", b"GIF89a<script>", None),
            ("image/png", b"", None),
        ];
        for (said, content, shown) in cases {
            assert_eq!(picture(said, content), shown, "{said}");
        }
    }

    #[test]
    fn what_a_browser_would_run_is_only_bytes() {
        for said in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "text/javascript",
            "image/png",
        ] {
            assert_eq!(harmless(said), "application/octet-stream");
        }
        for said in [
            "application/pdf",
            "text/plain",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ] {
            assert_eq!(harmless(said), said);
        }
    }
}
