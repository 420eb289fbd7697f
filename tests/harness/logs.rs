//! Catches what a test logs: errors, so that no failure passes unseen, and every line, for what may not be in any.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What was logged on this test's thread since it was made.
#[derive(Clone, Default)]
pub struct Errors {
    errors: Lines,
    all: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Errors {
    /// Listens on the calling thread until the guard is dropped. Tests run their tasks on one thread.
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(Catcher(self.clone())))
    }

    /// The errors, and forgets them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every line that an operator could see: ours at any level, other crates' from `info` on, spans included.
    pub fn lines(&self) -> Vec<String> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, metadata: &Metadata<'_>, text: Text) {
        if metadata.target().starts_with("ticketd") || *metadata.level() <= Level::INFO {
            let line = format!("{} {}: {}", metadata.level(), metadata.target(), text.0);
            self.all.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        if *metadata.level() == Level::ERROR {
            self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(text.0);
        }
    }
}

struct Catcher(Errors);

impl<S: Subscriber> Layer<S> for Catcher {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if *span.metadata().level() != Level::ERROR {
            let mut text = Text(String::new());
            span.record(&mut text);
            self.0.keep(span.metadata(), text);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.keep(event.metadata(), text);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        write!(self.0, "{}={value:?} ", field.name()).ok();
    }
}
