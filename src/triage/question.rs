//! What an engine is asked about a ticket and what it may answer: plain data, no engine's own words.

use crate::tickets::Priority;

/// One entry of the live catalogue: a category or a skill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The stable key that judgements and rows carry.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// Other words for the same thing, in any language.
    pub aliases: Vec<String>,
    /// One or two sentences that say what belongs here.
    pub description: String,
}

/// A ticket as an engine sees it: no address, no name, no attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub subject: String,
    /// The visible body: quotes and signature are cut already.
    pub body: String,
    pub categories: Vec<Label>,
    pub skills: Vec<Label>,
}

/// Who judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Gemini,
    Offline,
}

impl Engine {
    /// The word in the database, in logs and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Offline => "offline",
        }
    }
}

/// What an engine thinks of a ticket. Every slug in it is one of the question's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub category: Option<String>,
    pub priority: Option<Priority>,
    /// ISO 639-1, lower case.
    pub language: Option<String>,
    /// Slugs, the most wanted first, at most [`MAX_SKILLS`].
    pub skills: Vec<String>,
    /// A line or two for staff.
    pub notes: Option<String>,
    /// For staff only: nothing that a model wrote reaches a customer unless a person sent it.
    pub suggested_reply: Option<String>,
    /// 0 to 1: how often a judgement like this one is right.
    pub confidence: f32,
    pub engine: Engine,
    pub model: String,
    pub prompt_version: String,
    /// Fields of the answer that failed validation and were left out.
    pub discarded: Vec<String>,
    pub tokens_in: Option<i32>,
    pub tokens_out: Option<i32>,
}

/// More required skills than this leave nobody who has them all.
pub const MAX_SKILLS: usize = 3;
