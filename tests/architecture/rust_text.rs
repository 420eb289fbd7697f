//! Reads Rust as far as the rules of the house need it.

/// Stands for every literal text.
pub(super) const TEXT: &str = "\"\"";

pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// The code of a file: names, `::` and single signs. Comments are gone, and literals say nothing of their content.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(next) = reader.peek(0) {
        let line = reader.line;
        let after = reader.peek(1);
        let text = match next {
            _ if next.is_whitespace() => {
                reader.step();
                continue;
            }
            '/' if after == Some('/') => {
                reader.skip_while(|sign| sign != '\n');
                continue;
            }
            '/' if after == Some('*') => {
                reader.block_comment();
                continue;
            }
            '"' => reader.quoted('"'),
            '\'' if reader.peek(2) == Some('\'') || after == Some('\\') => reader.quoted('\''),
            '\'' => {
                reader.step(); // of a lifetime or label only its name is left
                continue;
            }
            ':' if after == Some(':') => reader.take(2),
            _ if next.is_alphanumeric() || next == '_' => {
                let word = reader.word();
                match (word.as_str(), reader.peek(0), reader.peek(1)) {
                    ("r" | "br" | "cr", Some('"'), _) | ("r" | "br" | "cr", Some('#'), Some('"' | '#')) => {
                        reader.raw()
                    }
                    ("b" | "c", Some(quote @ ('"' | '\'')), _) => reader.quoted(quote),
                    ("r", Some('#'), _) => {
                        reader.step(); // r#name
                        reader.word()
                    }
                    _ => word,
                }
            }
            _ => reader.take(1),
        };
        tokens.push(Token { line, text });
    }
    tokens
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Option<char> {
        let sign = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(sign == '\n');
        Some(sign)
    }

    fn take(&mut self, count: usize) -> String {
        (0..count).filter_map(|_| self.step()).collect()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.step();
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(sign) = self.peek(0).filter(|sign| sign.is_alphanumeric() || *sign == '_') {
            word.push(sign);
            self.step();
        }
        word
    }

    fn block_comment(&mut self) {
        let mut nested = 0_usize;
        while let Some(sign) = self.step() {
            match (sign, self.peek(0)) {
                ('/', Some('*')) => {
                    self.step();
                    nested += 1;
                }
                ('*', Some('/')) => {
                    self.step();
                    nested -= 1;
                    if nested == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        self.step();
        while let Some(sign) = self.step() {
            if sign == '\\' {
                self.step();
            } else if sign == quote {
                break;
            }
        }
        TEXT.to_owned()
    }

    fn raw(&mut self) -> String {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            self.step();
            hashes += 1;
        }
        self.step();
        while let Some(sign) = self.step() {
            if sign == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.take(hashes);
                break;
            }
        }
        TEXT.to_owned()
    }
}
