//! The house rules that a compiler does not check, read from the source text: imports point one way, SQL stays with its
//! owner, every file says what it is for, tests neither sleep nor are skipped. A finding names file and line.

mod faults;
mod limits;
mod rust_text;
mod schema_names;

use std::path::Path;

use rust_text::{TEXT, Token, tokens};

/// The layers, lowest first, and whether the modules of a layer may name each other. ARCHITECTURE.md explains them.
const LAYERS: &[(&[&str], Siblings)] = &[
    (&["clock", "ids", "config", "database", "mail", "discord", "crash", "store"], Siblings::Friends),
    (&["queue", "alarms", "audit", "oauth", "people", "settings", "files"], Siblings::Friends),
    (&["tickets"], Siblings::Friends),
    (&["ingest", "triage", "assign", "deliver", "reports"], Siblings::Strangers),
    (&["sources", "worker", "schedule", "web"], Siblings::Strangers),
    (&["app", "cli", "demo", "main", "lib"], Siblings::Friends),
];

/// Files beside the owners' `sql.rs` that speak SQL, because what they do is no owner's: connecting, migrating, locking.
const SQL_FILES: &[&str] = &["src/database.rs", "src/sources/lock.rs"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

const LONGEST: usize = 600;
/// Files that may be longer than [`LONGEST`] lines, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[derive(Clone, Copy, PartialEq)]
enum Siblings {
    Friends,
    Strangers,
}

#[test]
fn the_source_keeps_the_rules() {
    let sources = rust_files("src");
    assert!(sources.len() > 1, "the source is not where this test looks for it");
    let findings: Vec<String> =
        sources.iter().flat_map(|(path, text)| check_source(path, text, LONG_FILES)).collect();
    assert!(findings.is_empty(), "{}", list(&findings));
}

#[test]
fn the_tests_keep_the_rules() {
    let findings: Vec<String> =
        rust_files("tests").iter().flat_map(|(path, text)| check_test(path, text, LONG_FILES)).collect();
    assert!(findings.is_empty(), "{}", list(&findings));
}

/// Every `.rs` file below a folder of the package, as (path from the package's root, text), sorted.
pub(crate) fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, files: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("list a source folder") {
            let path = entry.expect("list a source folder").path();
            if path.is_dir() {
                walk(&path, root, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("read a source file");
                let name = path.strip_prefix(root).expect("a path below the root").to_string_lossy();
                files.push((name.into_owned(), text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(folder), root, &mut files);
    files.sort();
    files
}

fn list(findings: &[String]) -> String {
    format!("{} finding(s):\n  {}", findings.len(), findings.join("\n  "))
}

// ---- the rules

fn check_source(path: &str, text: &str, long_files: &[(&str, &str)]) -> Vec<String> {
    let tokens = tokens(text);
    let mut findings = Findings::of(path);
    let module = top_module(path);

    let is_architecture = module == "lib" && text.starts_with("#![doc = include_str!(");
    if !text.starts_with("//!") && !is_architecture {
        findings.add(1, "the first line is not a `//!` line that says what the file is for");
    }
    check_length(path, text, long_files, &mut findings);

    match place(module) {
        None => findings.add(1, format!("module `{module}` has no place in the layer table")),
        Some(from) => {
            for (line, name) in root_names(&tokens, module_depth(path)) {
                if let Some(fault) = import_fault(module, from, &name) {
                    findings.add(line, fault);
                }
            }
        }
    }
    for (at, name, line) in module_declarations(&tokens) {
        if EMPTY_NAMES.contains(&name) {
            findings.add(line, format!("a module named `{name}` says nothing about what is inside"));
        }
        if module == "lib" && place(name).is_none() {
            findings.add(line, format!("module `{name}` has no place in the layer table"));
        }
        if name == "sql" && at.checked_sub(1).is_some_and(|before| is_visibility_end(&tokens, before)) {
            findings.add(line, "an owner's `sql` is private to it");
        }
    }
    if module == "lib" {
        for (at, token) in tokens.iter().enumerate() {
            if token.is("use") && at.checked_sub(1).is_some_and(|before| is_visibility_end(&tokens, before)) {
                findings.add(token.line, "a re-export at the crate root hides where a thing lives");
            }
        }
    }
    if !path.ends_with("/sql.rs") && !SQL_FILES.contains(&path) {
        for (line, what) in sql(&tokens) {
            findings.add(line, format!("SQL (`{what}`) outside an owner's `sql.rs`"));
        }
    }
    findings.lines
}

fn check_test(path: &str, text: &str, long_files: &[(&str, &str)]) -> Vec<String> {
    let tokens = tokens(text);
    let mut findings = Findings::of(path);
    check_length(path, text, long_files, &mut findings);
    for (at, token) in tokens.iter().enumerate() {
        if follows(&tokens, at, &["#", "[", "ignore"]) {
            findings.add(token.line, "a test is skipped (`#[ignore]`)");
        }
        for clock in ["thread", "time"] {
            if token.is(clock) && members(&tokens, at).iter().any(|(_, name)| name == "sleep") {
                findings.add(token.line, "a test sleeps: wait for the thing itself");
            }
        }
    }
    findings.lines
}

fn check_length(path: &str, text: &str, long_files: &[(&str, &str)], findings: &mut Findings) {
    let lines = text.lines().count();
    let excused = long_files.iter().any(|(file, _)| *file == path);
    if lines > LONGEST && !excused {
        findings.add(LONGEST + 1, format!("{lines} lines: is it one room, or two?"));
    }
    if lines <= LONGEST && excused {
        findings.add(1, "no longer over the limit: take it off the list of exceptions");
    }
}

/// Why a module may not name another one, if so.
fn import_fault(module: &str, from: usize, name: &str) -> Option<String> {
    if name == "*" {
        return Some("imports the whole crate root: name what is meant".to_owned());
    }
    let Some(to) = place(name) else {
        return Some(format!("`{name}` at the crate root has no place in the layer table"));
    };
    let siblings = LAYERS.get(from).map(|(_, siblings)| *siblings);
    if to > from {
        let (from, to) = (from + 1, to + 1);
        Some(format!("upward: `{module}` (layer {from}) names `{name}` (layer {to})"))
    } else if to == from && name != module && siblings == Some(Siblings::Strangers) {
        Some(format!("sideways: `{module}` and `{name}` (layer {}) may not know each other", from + 1))
    } else {
        None
    }
}

/// The layer of a top-level module, counted from 0.
fn place(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(modules, _)| modules.contains(&module))
}

/// `src/mail/reply.rs` belongs to `mail`, `src/clock.rs` to `clock`.
fn top_module(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// How many `super` lead from a file to the crate root.
fn module_depth(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    if matches!(inside, "lib.rs" | "main.rs") {
        return 0;
    }
    inside.split('/').count() - usize::from(inside.ends_with("/mod.rs"))
}

/// Every name that code takes from the crate root, by `crate::name`, `crate::{name, …}` or enough `super::`.
fn root_names(tokens: &[Token], depth: usize) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut blocks = Vec::new(); // of the open braces: does it belong to an inline module?
    for (at, token) in tokens.iter().enumerate() {
        if token.is("{") {
            let before = at.checked_sub(2).and_then(|before| tokens.get(before));
            blocks.push(before.is_some_and(|before| before.is("mod")));
        } else if token.is("}") {
            blocks.pop();
        } else if matches!(token.text.as_str(), "crate" | "super") && starts_path(tokens, at) {
            let inline = blocks.iter().filter(|is_module| **is_module).count();
            path_heads(tokens, at, depth + inline, &mut names);
        }
    }
    names
}

/// Whether the token begins a path, and is not in the middle of one or of a group (which its beginning has read).
fn starts_path(tokens: &[Token], at: usize) -> bool {
    let leads_on = tokens.get(at + 1).is_some_and(|next| next.is("::"));
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    leads_on && !before.is_some_and(|before| before.is("::"))
}

/// Walks one path, or tree of a `use`, that begins in the module `depth` below the root; notes what it takes from the root.
fn path_heads(tokens: &[Token], at: usize, depth: usize, names: &mut Vec<(usize, String)>) {
    let Some(token) = tokens.get(at) else { return };
    let leads_on = tokens.get(at + 1).is_some_and(|next| next.is("::"));
    match token.text.as_str() {
        "crate" if leads_on => path_heads(tokens, at + 2, 0, names),
        "super" if leads_on && depth > 0 => path_heads(tokens, at + 2, depth - 1, names),
        "self" if leads_on => path_heads(tokens, at + 2, depth, names),
        "{" => {
            for element in group_elements(tokens, at) {
                path_heads(tokens, element, depth, names);
            }
        }
        "self" | "super" | "crate" => {}
        name if depth == 0 && !is_macro_call(tokens, at) => names.push((token.line, name.to_owned())),
        _ => {}
    }
}

/// `crate::name!`: a macro is exported to the root wherever it lives.
fn is_macro_call(tokens: &[Token], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.is("!"))
}

/// Where each element of the group that opens at `open` begins.
fn group_elements(tokens: &[Token], open: usize) -> Vec<usize> {
    let mut elements = Vec::new();
    let mut nested = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => nested += 1,
            "}" => nested -= 1,
            _ => {}
        }
        let opened = at == open || (nested == 1 && token.is(","));
        if opened && tokens.get(at + 1).is_some_and(|next| !next.is("}")) {
            elements.push(at + 1);
        }
        if nested == 0 {
            break;
        }
    }
    elements
}

/// What follows `name::`, one name or the names of a group, with their lines.
fn members(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    if !tokens.get(at + 1).is_some_and(|next| next.is("::")) {
        return Vec::new();
    }
    let heads = match tokens.get(at + 2) {
        Some(open) if open.is("{") => group_elements(tokens, at + 2),
        _ => vec![at + 2],
    };
    heads.iter().filter_map(|head| tokens.get(*head)).map(|token| (token.line, token.text.clone())).collect()
}

/// `mod name`, as (place of `mod`, name, line).
fn module_declarations(tokens: &[Token]) -> Vec<(usize, &str, usize)> {
    let words = tokens.iter().enumerate().filter(|(_, token)| token.is("mod"));
    words.filter_map(|(at, _)| tokens.get(at + 1).map(|name| (at, name.text.as_str(), name.line))).collect()
}

/// Whether the token ends `pub` or `pub(…)`.
fn is_visibility_end(tokens: &[Token], at: usize) -> bool {
    let opens_with_pub = |open: usize| follows(tokens, open, &["pub", "("]);
    match tokens.get(at) {
        Some(token) if token.is("pub") => true,
        Some(token) if token.is(")") => (2..=6).any(|back| at.checked_sub(back).is_some_and(opens_with_pub)),
        _ => false,
    }
}

/// Where code speaks SQL: sqlx's query functions, macros and builder, or a text given straight to an executor.
fn sql(tokens: &[Token]) -> Vec<(usize, String)> {
    const EXECUTORS: &[&str] = &["execute", "fetch", "fetch_all", "fetch_one", "fetch_optional", "prepare"];
    let is_query = |name: &str| name == "query" || name.starts_with("query_") || name == "raw_sql";
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        let is_method = follows(tokens, at.saturating_sub(1), &["."]);
        if token.is("sqlx") {
            found.extend(members(tokens, at).into_iter().filter(|(_, name)| is_query(name)));
        } else if matches!(token.text.as_str(), "QueryBuilder" | "AssertSqlSafe")
            || (is_query(&token.text) && next.is_some_and(|next| next.is("!")))
        {
            found.push((token.line, token.text.clone()));
        } else if is_method
            && EXECUTORS.contains(&token.text.as_str())
            && next.is_some_and(|next| next.is("("))
            && tokens.get(at + 2).is_some_and(|argument| argument.is(TEXT))
        {
            found.push((token.line, format!(".{}(\"…\")", token.text)));
        }
    }
    found.dedup(); // `sqlx::query!` is both a path and a macro
    found
}

fn follows(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    words.iter().zip(at..).all(|(word, at)| tokens.get(at).is_some_and(|token| token.is(word)))
}

struct Findings {
    path: String,
    lines: Vec<String>,
}

impl Findings {
    fn of(path: &str) -> Self {
        Self { path: path.to_owned(), lines: Vec::new() }
    }

    fn add(&mut self, line: usize, what: impl std::fmt::Display) {
        self.lines.push(format!("{}:{line}: {what}", self.path));
    }
}

// ---- the rules are themselves checked: each one fires, and not on what only looks like it

mod checker {
    use super::{LONGEST, check_source, check_test};

    /// What the checker says of a source file with this code under a proper first line, so code begins on line 2.
    fn source(path: &str, code: &str) -> Vec<String> {
        check_source(path, &format!("//! A file.\n{code}\n"), &[])
    }

    fn finds(path: &str, code: &str, place: &str, words: &str) {
        let findings = source(path, code);
        let found = findings
            .iter()
            .any(|finding| finding.starts_with(&format!("{path}:{place}: ")) && finding.contains(words));
        assert!(found, "`{code}` in {path}: wanted line {place} with `{words}`, got {findings:?}");
    }

    fn passes(path: &str, code: &str) {
        let findings = source(path, code);
        assert!(findings.is_empty(), "`{code}` in {path}: {findings:?}");
    }

    #[test]
    fn an_upward_name_is_found_however_it_is_written() {
        finds(
            "src/mail/reply.rs",
            "use crate::tickets::Ticket;",
            "2",
            "upward: `mail` (layer 1) names `tickets` (layer 3)",
        );
        finds("src/queue/mod.rs", "\nfn f() { crate::ingest::open() }", "3", "names `ingest`");
        finds(
            "src/tickets/mod.rs",
            "use crate::{clock::Clock, deliver::{self, words}};",
            "2",
            "names `deliver`",
        );
        finds("src/tickets/mod.rs", "use crate::{\n  clock,\n  web,\n};", "4", "names `web`");
        finds("src/config.rs", "use super::app;", "2", "names `app`");
        finds("src/mail/reply.rs", "use super::super::people::Person;", "2", "names `people`");
        finds("src/mail/reply.rs", "use super::{parse, super::people};", "2", "names `people`");
        finds(
            "src/mail/reply.rs",
            "mod tests { use super::super::super::queue::Job; }",
            "2",
            "names `queue`",
        );
        finds("src/worker.rs", "pub(in crate::cli) fn f() {}", "2", "names `cli`");
        finds("src/people/mod.rs", "impl From<crate::tickets::Id> for X {}", "2", "names `tickets`");
        finds("src/web/mod.rs", "use crate::r#app::App;", "2", "names `app`");
    }

    #[test]
    fn a_sideways_name_is_found_between_stages_and_between_edges() {
        finds(
            "src/ingest/mod.rs",
            "use crate::triage::predict;",
            "2",
            "sideways: `ingest` and `triage` (layer 4)",
        );
        finds("src/assign/rank.rs", "use super::super::deliver;", "2", "sideways: `assign` and `deliver`");
        finds(
            "src/schedule.rs",
            "use crate::worker::Worker;",
            "2",
            "sideways: `schedule` and `worker` (layer 5)",
        );
    }

    #[test]
    fn a_downward_name_and_ones_own_module_are_fine() {
        passes(
            "src/ingest/mod.rs",
            "use crate::{mail, tickets::Ticket, ingest::open, queue::{Claimed, Done}};",
        );
        passes("src/clock.rs", "use crate::ids::TicketId;");
        passes("src/people/mod.rs", "use crate::queue::Job;");
        passes("src/cli.rs", "use crate::{app::App, demo};");
        passes("src/main.rs", "fn main() { ticketd::cli::run() }");
        passes("src/config.rs", "mod tests { use super::app; }"); // its own function named `app`
        passes("src/mail/reply.rs", "use super::deliver;"); // mail::deliver
        passes("src/mail/mod.rs", "pub(crate) fn f() { self::web::g(); std::crate_name(); crate::told!(x) }");
    }

    #[test]
    fn comments_and_texts_are_not_code() {
        passes(
            "src/clock.rs",
            "// use crate::web;\n/* crate::web /* crate::app */ sqlx::query */\n//! [`crate::tickets`]",
        );
        passes(
            "src/clock.rs",
            r##"fn f<'a>(x: &'a str) -> char { g("crate::web \" sqlx::query!"); h(r#"" crate::web"#); '"' }"##,
        );
        finds("src/clock.rs", "fn f() { g('\\'', b'\"', \"a\\\\\"); }\nuse crate::web;", "3", "names `web`");
    }

    #[test]
    fn a_glob_or_an_unknown_name_at_the_crate_root_is_found() {
        finds("src/mail/mod.rs", "use crate::*;", "2", "whole crate root");
        finds("src/clock.rs", "use super::*;", "2", "whole crate root");
        finds("src/clock.rs", "use crate::Odd;", "2", "`Odd` at the crate root");
        passes("src/clock.rs", "mod tests { use super::*; }");
    }

    #[test]
    fn a_module_without_a_place_is_found() {
        finds("src/billing.rs", "", "1", "`billing` has no place");
        finds("src/billing/prices.rs", "", "1", "`billing` has no place");
        finds("src/lib.rs", "pub mod clock;\nmod billing {}", "3", "`billing` has no place");
    }

    #[test]
    fn sql_away_from_its_owner_is_found() {
        for code in [
            "fn f() { sqlx::query(\"SELECT 1\") }",
            "fn f() { sqlx::query!(\"SELECT 1\") }",
            "fn f() { query!(\"SELECT 1\") }",
            "fn f() { query_as!(Row, \"SELECT 1\") }",
            "fn f() { query_scalar!(\"SELECT 1\") }",
            "use sqlx::query_as;",
            "use sqlx::{PgPool, query_scalar};",
            "fn f() { QueryBuilder::new(\"SELECT\") }",
            "fn f() { sqlx::raw_sql(\"SELECT 1\") }",
            "fn f() { pool.execute(\"SELECT 1\") }",
        ] {
            finds("src/tickets/mod.rs", code, "2", "SQL (`");
            passes("src/tickets/sql.rs", code);
            passes("src/database.rs", code);
            passes("src/sources/lock.rs", code);
        }
        assert_eq!(source("src/tickets/mod.rs", "fn f() { sqlx::query!(\"SELECT 1\") }").len(), 1);
        passes(
            "src/web/mod.rs",
            "use sqlx::PgPool; fn f() { client.get(url).query(&[(1, 2)]); query(); uri.query() }",
        );
        finds("src/tickets/mod.rs", "pub(crate) mod sql;", "2", "private");
        finds("src/tickets/mod.rs", "pub mod sql;", "2", "private");
        passes("src/tickets/mod.rs", "mod sql;");
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_found() {
        let findings = check_source("src/clock.rs", "use std::time::Duration;\n//! Time.\n", &[]);
        assert!(
            findings.iter().any(|finding| finding.starts_with("src/clock.rs:1: the first line")),
            "{findings:?}"
        );
        let architecture = "#![doc = include_str!(\"../ARCHITECTURE.md\")]\n";
        assert!(check_source("src/lib.rs", architecture, &[]).is_empty());
        assert_eq!(check_source("src/clock.rs", architecture, &[]).len(), 1);
    }

    #[test]
    fn a_re_export_at_the_crate_root_is_found() {
        finds("src/lib.rs", "pub mod clock;\npub use clock::Clock;", "3", "re-export");
        finds("src/lib.rs", "pub(crate) use clock::Clock;", "2", "re-export");
        passes("src/lib.rs", "pub mod clock;\nuse clock::Clock;");
        passes("src/mail/mod.rs", "pub use parse::Parsed;");
    }

    #[test]
    fn a_module_with_an_empty_name_is_found() {
        finds("src/lib.rs", "pub mod util;", "2", "`util` says nothing");
        finds("src/mail/mod.rs", "mod helpers;", "2", "`helpers` says nothing");
        finds("src/web/mod.rs", "pub(crate) mod common { }", "2", "`common` says nothing");
        finds("src/tickets/mod.rs", "pub mod manager;", "2", "`manager` says nothing");
    }

    #[test]
    fn a_long_file_is_found_unless_its_reason_is_written_down() {
        let long = format!("//! Long.\n{}", "\n".repeat(LONGEST));
        let excuse = [("src/clock.rs", "a table")];
        assert_eq!(
            check_source("src/clock.rs", &long, &[]),
            ["src/clock.rs:601: 601 lines: is it one room, or two?"]
        );
        assert!(check_source("src/clock.rs", &long, &excuse).is_empty());
        assert_eq!(check_source("src/clock.rs", "//! Short.", &excuse).len(), 1);
        assert_eq!(check_test("tests/api.rs", &long, &[]).len(), 1);
    }

    #[test]
    fn a_test_that_is_skipped_or_sleeps_is_found() {
        for code in [
            "#[test]\n#[ignore]\nfn f() {}",
            "\n#[ignore = \"slow\"]",
            "\nstd::thread::sleep(d);",
            "\ntokio::time::sleep(d).await;",
            "\nuse std::thread::{self, sleep};",
            "\nuse tokio::time::{Instant, sleep};",
        ] {
            let findings = check_test("tests/api.rs", code, &[]);
            assert!(
                findings.len() == 1 && findings.iter().all(|finding| finding.starts_with("tests/api.rs:2: ")),
                "{code}: {findings:?}"
            );
        }
        let fine = "// #[ignore] time::sleep(\nfn f() { g(\"thread::sleep\"); tokio::time::timeout(d, wait()); thread::spawn(f); }";
        assert!(check_test("tests/api.rs", fine, &[]).is_empty());
    }
}
