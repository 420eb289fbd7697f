//! A long text in several messages: cut at line ends, code blocks kept whole or closed and opened again.

/// Beyond so many messages a text is better sent as a file.
pub const MOST_PARTS: usize = 5;

/// Below it there is no room for a code block's frame.
const SMALLEST: usize = 80;
const FENCE: &str = "```";
/// A longer word behind a fence is no language.
const LONGEST_LANGUAGE: usize = 20;
/// `\n` and the closing fence.
const CLOSING: usize = 4;

/// The text in parts of at most `limit` characters (code points). Parts that would show nothing are left out, because Discord
/// refuses empty messages.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    let parts = pieces(text, limit.max(SMALLEST)).into_iter().filter(|piece| !piece.body.trim().is_empty());
    parts.map(|piece| format!("{}{}{}", piece.opening, piece.body, piece.closing)).collect()
}

/// A part: what was written, and the frame that was added to it.
#[derive(Debug, Default)]
struct Piece {
    opening: String,
    body: String,
    closing: &'static str,
}

/// Whether a code block is open, and in which language.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fence(Option<String>);

struct Splitter {
    limit: usize,
    done: Vec<Piece>,
    opening: String,
    body: String,
    /// Characters in opening and body.
    length: usize,
    fence: Fence,
}

fn pieces(text: &str, limit: usize) -> Vec<Piece> {
    let mut splitter = Splitter {
        limit,
        done: Vec::new(),
        opening: String::new(),
        body: String::new(),
        length: 0,
        fence: Fence::default(),
    };
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        if splitter.fence.0.is_none() {
            splitter.make_room_for_block(rest, line);
        }
        splitter.add(line);
        rest = rest.strip_prefix(line).unwrap_or_default();
    }
    splitter.flush();
    splitter.done
}

impl Splitter {
    /// Where a code block begins that fits into one part but not into the rest of this one, a new part begins.
    fn make_room_for_block(&mut self, rest: &str, line: &str) {
        let mut fence = self.fence.after(line);
        if fence.0.is_none() || self.body.is_empty() {
            return;
        }
        let mut length = line.chars().count();
        let mut lines = rest.split_inclusive('\n').skip(1);
        while fence.0.is_some() && length <= self.limit {
            let Some(line) = lines.next() else { break };
            length += line.trim_end_matches('\n').chars().count() + 1;
            fence = fence.after(line);
        }
        // The last line's end may stand beyond the limit: Discord takes it away.
        let length = length - 1;
        if fence.0.is_none() && length <= self.limit && self.length + length > self.limit {
            self.flush();
        }
    }

    fn add(&mut self, line: &str) {
        let mut rest = line;
        while !rest.is_empty() {
            if self.fits(rest) {
                self.push(rest);
                return;
            }
            if !self.body.is_empty() {
                self.flush();
                continue;
            }
            let head = self.head(rest);
            self.push(head);
            self.flush();
            rest = rest.strip_prefix(head).unwrap_or_default();
        }
    }

    fn fits(&self, text: &str) -> bool {
        let closing = if self.fence.after(text).0.is_some() { CLOSING } else { 0 };
        self.length + text.chars().count() + closing <= self.limit
    }

    fn push(&mut self, text: &str) {
        self.body.push_str(text);
        self.length += text.chars().count();
        self.fence = self.fence.after(text);
    }

    fn flush(&mut self) {
        let body = std::mem::take(&mut self.body);
        let opening = std::mem::take(&mut self.opening);
        if !body.is_empty() {
            let closing = match (&self.fence.0, body.ends_with('\n')) {
                (None, _) => "",
                (Some(_), true) => FENCE,
                (Some(_), false) => "\n```",
            };
            self.done.push(Piece { opening, body, closing });
        }
        self.opening =
            self.fence.0.as_ref().map_or_else(String::new, |language| format!("{FENCE}{language}\n"));
        self.length = self.opening.chars().count();
    }

    /// As much of a line that is too long as a part holds: up to a space, if there is one not too far ahead.
    fn head<'a>(&self, line: &'a str) -> &'a str {
        let room = self.limit.saturating_sub(self.length + CLOSING).max(1);
        let ends: Vec<usize> = line.char_indices().skip(1).map(|(at, _)| at).take(room).collect();
        let at = |place: usize| line.get(..place).unwrap_or(line);
        let is_good = |place: &&usize| {
            let (head, tail) = (at(**place), line.get(**place..).unwrap_or_default());
            // Not within a fence, and not between a backslash and what it takes the meaning from.
            let backslashes = head.len() - head.trim_end_matches('\\').len();
            backslashes % 2 == 0 && !(head.ends_with('`') && tail.starts_with('`'))
        };
        let last_half = || ends.iter().skip(room / 2).rev();
        let at_space = last_half().find(|place| at(**place).ends_with(' ') && is_good(place));
        let place = at_space.or_else(|| last_half().find(is_good)).or(ends.last());
        place.map_or(line, |place| at(*place))
    }
}

impl Fence {
    /// The state behind a piece of text: every fence in it opens or closes a block.
    fn after(&self, text: &str) -> Self {
        let mut open = self.0.clone();
        let mut parts = text.split(FENCE).skip(1).peekable();
        while let Some(behind) = parts.next() {
            open = match open {
                Some(_) => None,
                None => Some(if parts.peek().is_none() { language(behind) } else { String::new() }),
            };
        }
        Self(open)
    }
}

/// The word behind an opening fence, if it stands there alone.
fn language(behind: &str) -> String {
    let word = behind.strip_suffix('\n').unwrap_or(behind).trim_end_matches('\r');
    let is_language = behind.ends_with('\n')
        && word.chars().count() <= LONGEST_LANGUAGE
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.' | '#'));
    if is_language { word.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_texts_stay_whole_and_empty_ones_are_none() {
        assert_eq!(split("Hello,\n\nit is broken.", 2000), ["Hello,\n\nit is broken."]);
        assert!(split("", 2000).is_empty() && split(" \n\n", 2000).is_empty());
        assert_eq!(split(&"é".repeat(2000), 2000).len(), 1);
    }

    #[test]
    fn lines_stay_whole() {
        let line = format!("{}\n", "x".repeat(49));
        let parts = split(&line.repeat(5), 100);
        assert_eq!(parts.iter().map(|part| part.lines().count()).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn long_lines_break_at_spaces_and_never_inside_a_character() {
        let parts = split(&"🦀🦀🦀 ".repeat(100), 100);
        assert!(parts.iter().all(|part| part.ends_with("🦀 ")), "{parts:?}");
        assert_eq!(split(&"🦀".repeat(150), 100).iter().map(|p| p.chars().count()).max(), Some(96));
        assert!(split(&r"\*".repeat(100), 99).iter().all(|part| part.starts_with('\\')));
    }

    #[test]
    fn a_code_block_that_fits_is_kept_whole() {
        let block = format!("```rust\n{}```\n", "let x = 1;\n".repeat(5));
        let parts = split(&format!("{}\n{block}after", "x".repeat(60)), 100);
        assert_eq!(parts, ["x".repeat(60) + "\n", block + "after"]);
    }

    #[test]
    fn a_code_block_that_does_not_is_closed_and_opened_again() {
        let text = format!("see\n```rust\n{}```\nand so on", "let x = 1;\n".repeat(12));
        insta::assert_snapshot!(split(&text, 80).join("\n=== next message\n"), @"
        see
        ```rust
        let x = 1;
        let x = 1;
        let x = 1;
        let x = 1;
        let x = 1;
        ```
        === next message
        ```rust
        let x = 1;
        let x = 1;
        let x = 1;
        let x = 1;
        let x = 1;
        let x = 1;
        ```
        === next message
        ```rust
        let x = 1;
        ```
        and so on
        ");
    }

    #[test]
    fn blocks_open_and_close_within_lines_too() {
        assert_eq!(Fence::default().after("a ```b``` c"), Fence(None));
        assert_eq!(Fence::default().after("a ```b"), Fence(Some(String::new())));
        assert_eq!(Fence::default().after("```c++\n"), Fence(Some("c++".into())));
        assert_eq!(Fence::default().after("```let x\n"), Fence(Some(String::new())));
        assert_eq!(Fence(Some("rust".into())).after("x ```\n"), Fence(None));
    }

    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-zé🦀 ]{0,30}\n",
            "[a-z]{0,150}",
            Just("```".to_owned()),
            Just("```rust\n".to_owned()),
            Just("\n```\n".to_owned()),
            Just("\n".to_owned()),
            "[`\\\\ *]{1,5}",
            "\\PC{0,20}",
        ];
        proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_part_fits(text in texts(), limit in 80_usize..300) {
            let pieces = pieces(&text, limit);
            let joined: String = pieces.iter().map(|piece| piece.body.as_str()).collect();
            prop_assert_eq!(joined, text);
            for piece in &pieces {
                let whole = format!("{}{}{}", piece.opening, piece.body, piece.closing);
                prop_assert!(whole.chars().count() <= limit, "{} > {limit}", whole.chars().count());
            }
        }

        #[test]
        fn every_part_stands_alone(text in texts(), limit in 80_usize..300) {
            prop_assume!(!text.contains(&"`".repeat(30)));
            for part in split(&text, limit) {
                prop_assert!(!part.trim().is_empty());
                prop_assert_eq!(Fence::default().after(&part), Fence(None), "{:?}", part);
            }
        }
    }
}
