//! Text between mail and Discord: split to what a message holds, made harmless, and made plain.

mod escape;
mod plain;
mod split;

pub use escape::{escape, escape_within};
pub use plain::plain;
pub use split::{MOST_PARTS, split};

use super::message::cut;

/// Characters in a thread's name.
const LONGEST_NAME: usize = 100;

/// The name of a ticket's thread, by which it is also found again: `#1001 subject`.
pub fn thread_name(ticket: i64, subject: &str) -> String {
    cut(&format!("#{ticket} {}", one_line(subject)), LONGEST_NAME).trim_end().to_owned()
}

/// One line without control characters and what hides or turns text around.
pub fn one_line(text: &str) -> String {
    let visible: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !is_invisible(*c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that show nothing but change what others look like: marks of direction, zero widths, tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thread_is_named_by_number_and_subject() {
        assert_eq!(thread_name(1001, "Printer  on\r\nfire\u{0}\u{202e}!"), "#1001 Printer on fire !");
        assert_eq!(thread_name(1001, " \n "), "#1001");
        assert_eq!(thread_name(1, &"é".repeat(200)).chars().count(), 100);
    }

    proptest! {
        #[test]
        fn a_name_always_fits(ticket in any::<i64>(), subject in "\\PC*|(?s).{0,300}") {
            let name = thread_name(ticket, &subject);
            prop_assert!((1..=100).contains(&name.chars().count()));
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert_eq!(name.trim(), name.as_str());
        }
    }
}
