//! The mails of a run, all from one seed: who writes what, who answers whom, what comes twice.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// One mail, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Text that is in no other mail.
    pub(super) marker: String,
    pub(super) from: String,
    /// The number of the mail that began the thread.
    pub(super) thread: usize,
    /// A machine's mail becomes a ticket too, but is not answered.
    pub(super) human: bool,
    pub(super) raw: Vec<u8>,
    id: Option<String>,
    references: Vec<String>,
}

/// The mails of a run, and the order in which they are delivered.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) letters: Vec<Letter>,
    /// What is delivered, byte for byte: every mail, and some of them again.
    pub(super) bags: Vec<Vec<u8>>,
}

impl Post {
    /// One in four answers an earlier mail, one in ten has no Message-ID, one in fifteen is a machine's, and one in twenty
    /// is delivered again. Neighbours may overtake each other.
    pub(super) fn write(count: usize, chance: &mut StdRng) -> Self {
        let mut letters: Vec<Letter> = Vec::new();
        for number in 0..count {
            let answered = letters.iter().filter(|letter| letter.human && letter.id.is_some());
            let answered: Vec<&Letter> = answered.collect();
            let letter = match answered.get(chance.random_range(0..answered.len().max(1))) {
                Some(parent) if chance.random_ratio(1, 4) => answer(number, parent, chance),
                _ => open(number, chance),
            };
            letters.push(letter);
        }
        let mut bags: Vec<Vec<u8>> = Vec::new();
        for letter in &letters {
            bags.push(letter.raw.clone());
            if chance.random_ratio(1, 20) {
                // By another way: the fields that mail servers add differ.
                let again = [b"Received: from elsewhere.example\r\n", letter.raw.as_slice()].concat();
                let at = chance.random_range(0..=bags.len());
                bags.insert(at, again);
            }
        }
        for start in 0..bags.len() {
            let end = (start + 3).min(bags.len());
            if chance.random_ratio(1, 5)
                && let Some(neighbours) = bags.get_mut(start..end)
            {
                neighbours.shuffle(chance);
            }
        }
        Self { letters, bags }
    }

    /// How many deliveries were of a mail that had been delivered before.
    pub(super) fn redelivered(&self) -> usize {
        self.bags.len() - self.letters.len()
    }
}

fn open(number: usize, chance: &mut StdRng) -> Letter {
    let human = !chance.random_ratio(1, 15);
    let id = (!chance.random_ratio(1, 10)).then(|| new_id(number, chance));
    let from = if human { format!("p{number}@client.example") } else { format!("m{number}@machine.example") };
    Letter::write(number, number, from, human, id, Vec::new(), chance)
}

fn answer(number: usize, parent: &Letter, chance: &mut StdRng) -> Letter {
    let references = parent.references.iter().chain(&parent.id).cloned().collect();
    let id = Some(new_id(number, chance));
    Letter::write(number, parent.thread, parent.from.clone(), true, id, references, chance)
}

fn new_id(number: usize, chance: &mut StdRng) -> String {
    format!("<{number}.{:08x}@client.example>", chance.next_u32())
}

impl Letter {
    fn write(
        number: usize,
        thread: usize,
        from: String,
        human: bool,
        id: Option<String>,
        references: Vec<String>,
        chance: &mut StdRng,
    ) -> Self {
        use std::fmt::Write;
        let marker = format!("marker-{number}-{:08x}", chance.next_u32());
        let mut text = format!(
            "From: P <{from}>\r\nTo: support@example.org\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\n\
             Subject: {}Invoice {thread}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n",
            if references.is_empty() { "" } else { "Re: " },
        );
        if let Some(id) = &id {
            write!(text, "Message-ID: {id}\r\n").expect("a String takes all");
        }
        if let Some(parent) = references.last() {
            let all = references.join(" ");
            write!(text, "In-Reply-To: {parent}\r\nReferences: {all}\r\n").expect("a String takes all");
        }
        if !human {
            text.push_str("Auto-Submitted: auto-generated\r\n");
        }
        write!(text, "\r\nThe refund of my invoice is missing ({marker}).\r\n").expect("a String takes all");
        Self { marker, from, thread, human, raw: text.into_bytes(), id, references }
    }
}
