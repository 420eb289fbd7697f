//! The table of faults in ARCHITECTURE.md: each row names what shows it, a test or a crash point, and that is there.

use std::collections::BTreeSet;

/// The rows of the table of faults, each as its cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let section = text.lines().skip_while(|line| !line.starts_with("## 7 "));
    let section = section.skip(1).take_while(|line| !line.starts_with("## "));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section.filter(|line| line.starts_with("| ")).skip(2).map(cells).collect()
}

/// What stands between backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every test of the suite as `module::name`, by the file it is in.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in super::rust_files("tests") {
        let module = path.trim_start_matches("tests/").trim_end_matches(".rs").replace('/', "::");
        let mut is_test = false;
        for line in text.lines() {
            let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
            if let Some(name) = name.filter(|_| is_test) {
                let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.insert(format!("{module}::{name}"));
            }
            is_test = line.starts_with("#[")
                && (is_test || line.starts_with("#[test") || line.starts_with("#[tokio::test"));
        }
    }
    found
}

fn crash_points() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in super::rust_files("src") {
        for call in text.split("crash::point(\"").skip(1) {
            found.extend(call.split('"').next().map(str::to_owned));
        }
    }
    found
}

/// What is wrong with a table, by rows.
fn faults(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for row in rows(text) {
        let [fault, happens, seen, heals, shown] = row.as_slice() else {
            findings.push(format!("a row has {} cells instead of 5: {row:?}", row.len()));
            continue;
        };
        if [fault, happens, seen, heals].iter().any(|cell| cell.is_empty()) {
            findings.push(format!("an empty cell: {fault}"));
        }
        let shown = names(shown);
        if shown.is_empty() {
            findings.push(format!("no test: {fault}"));
        }
        let missing = shown.into_iter().filter(|name| !known.contains(name));
        findings.extend(missing.map(|name| format!("there is no test or crash point `{name}`: {fault}")));
    }
    findings
}

#[test]
fn every_fault_in_the_table_has_a_test() {
    let text = include_str!("../../ARCHITECTURE.md");
    assert!(rows(text).len() > 20, "the table of faults is not where this test looks for it");
    let known: BTreeSet<String> = tests().union(&crash_points()).cloned().collect();
    assert!(known.len() > 300, "the tests are not where this test looks for them");
    let findings = faults(text, &known);
    assert!(findings.is_empty(), "{}", super::list(&findings));
}

#[test]
fn a_row_without_a_test_is_found() {
    let known = BTreeSet::from(["outages::it_heals".to_owned(), "a.b".to_owned()]);
    let table = |row: &str| {
        format!(
            "## 7 Faults\n\n| fault | a | b | c | test |\n| --- | --- | --- | --- | --- |\n{row}\n\n## 8 More\n| x |"
        )
    };
    let found = |row: &str| faults(&table(row), &known);
    assert_eq!(found("| x | y | z | w | `a.b`, `outages::it_heals` |"), [""; 0]);
    assert_eq!(found("| x | y | z | w | by hand |"), ["no test: x"]);
    assert_eq!(found("| x | y | z | w | `a.c` |"), ["there is no test or crash point `a.c`: x"]);
    assert_eq!(found("| x | y | | w | `a.b` |"), ["an empty cell: x"]);
    assert_eq!(found("| x | y |").len(), 1);
}
