//! Crash points: named places between two steps where a test can have the process die.
//!
//! In a release build they are nothing (the `fail` crate's `failpoints` feature is on in test builds only).

/// Dies here, as a `kill -9` would, if `FAILPOINTS` says `NAME=1*return`.
pub fn point(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
    // Without the feature the macro is empty.
    let _ = name;
}
