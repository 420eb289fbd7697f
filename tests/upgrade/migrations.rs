//! Expand first, contract a version later: what a migration newer than the version before may not do, read from its text.

use std::path::Path;

/// Statements that a program of the version before bears all the same, each with the reason.
const BORNE: [(&str, &str, &str); 1] = [(
    "20261121180000_reference_contents.sql",
    "ADD CONSTRAINT attachments_blob",
    "it keeps a content before it refers to it, and in one transaction",
)];

/// Words of a statement that takes something away from a running program, or refuses what it writes.
const CONTRACTING: [&str; 12] = [
    "DROP TABLE",
    "DROP COLUMN",
    "DROP VIEW",
    "DROP FUNCTION",
    "DROP TYPE",
    "DROP DEFAULT",
    "RENAME ",
    "SET NOT NULL",
    " TYPE ",
    "ADD CONSTRAINT",
    "CREATE UNIQUE INDEX",
    "TRUNCATE",
];

/// A migration that contracts says in a comment `-- Contracts: what version X stopped using`, and notes which migration a program
/// must know from then on, so that an older one refuses to start.
fn contracts(text: &str, version: &str) -> Result<bool, String> {
    if !text.lines().any(|line| line.starts_with("-- Contracts: ")) {
        return Ok(false);
    }
    let noted = text.contains("COMMENT ON TABLE _sqlx_migrations IS 'needs ");
    noted.then_some(true).ok_or_else(|| {
        format!("{version} contracts, and does not note COMMENT ON TABLE _sqlx_migrations IS 'needs NUMBER'")
    })
}

/// What of a migration breaks a running program of the version before.
fn breaking(file: &str, text: &str) -> Vec<String> {
    match contracts(text, file) {
        Ok(true) => return Vec::new(),
        Ok(false) => {}
        Err(fault) => return vec![fault],
    }
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut findings = Vec::new();
    let statements: Vec<&str> = code.split(';').map(str::trim).collect();
    let is_new = |table: &str| statements.iter().any(|s| s.starts_with(&format!("CREATE TABLE {table} ")));
    for statement in &statements {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let table = match words.as_slice() {
            ["ALTER", "TABLE", "ONLY", table, ..]
            | ["ALTER", "TABLE", table, ..]
            | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => Some(*table),
            _ => None,
        };
        if words.first() == Some(&"COMMENT") || table.is_some_and(is_new) {
            continue;
        }
        let is_borne = BORNE.iter().any(|(of, part, _)| *of == file && statement.contains(part));
        // Within a new table, a function's body or a check, these words take nothing away.
        let changes = ["ALTER", "DROP", "TRUNCATE"].contains(words.first().unwrap_or(&""))
            || statement.starts_with("CREATE UNIQUE INDEX");
        if let Some(words) =
            CONTRACTING.iter().find(|words| changes && !is_borne && statement.contains(**words))
        {
            findings.push(format!("{file}: `{}` in: {statement}", words.trim()));
        }
        for column in statement.split("ADD COLUMN").skip(1).filter(|_| changes) {
            let column = column.split(", ADD ").next().unwrap_or(column);
            if column.contains("NOT NULL") && !column.contains("DEFAULT") && !column.contains("GENERATED") {
                findings.push(format!("{file}: a new column without a default:{column}"));
            }
        }
    }
    findings
}

#[test]
fn a_migration_only_expands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut findings = Vec::new();
    let mut newer = 0;
    for entry in std::fs::read_dir(folder).expect("the migrations").flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let version: i64 = file.split('_').next().and_then(|number| number.parse().ok()).expect("a number");
        if version > super::kept() {
            newer += 1;
            findings.extend(breaking(&file, &std::fs::read_to_string(entry.path()).expect("a migration")));
        }
    }
    assert!(newer > 0, "renew what is kept of the version before: tests/upgrade/keep");
    assert!(
        findings.is_empty(),
        "a running program of the version before breaks; expand now, and contract a version later:\n{}",
        findings.join("\n")
    );
}

#[test]
fn what_takes_something_away_is_found() {
    let found = |text: &str| breaking("1_x.sql", text).len();
    for harmless in [
        "CREATE TABLE a (b TEXT NOT NULL); ALTER TABLE a ADD CONSTRAINT c CHECK (b <> ''); CREATE UNIQUE INDEX d ON a (b);",
        "ALTER TABLE t ADD COLUMN c TEXT; ALTER TABLE t ADD COLUMN d INT NOT NULL DEFAULT 0;",
        "-- DROP TABLE t\nCREATE INDEX i ON t (c); COMMENT ON TABLE t IS 'RENAME it';",
        "ALTER TABLE t ALTER COLUMN c DROP NOT NULL; ALTER TABLE t DROP CONSTRAINT narrow;",
        "-- Contracts: what version 2 stopped using\nDROP TABLE t; COMMENT ON TABLE _sqlx_migrations IS 'needs 7';",
    ] {
        assert_eq!(found(harmless), 0, "{harmless}");
    }
    for breaking in [
        "DROP TABLE t",
        "ALTER TABLE t DROP COLUMN c",
        "ALTER TABLE t RENAME COLUMN c TO d",
        "ALTER TABLE t ALTER COLUMN c SET NOT NULL",
        "ALTER TABLE t ALTER COLUMN c TYPE INT",
        "ALTER TABLE t ADD COLUMN c INT NOT NULL",
        "ALTER TABLE t ADD COLUMN c INT DEFAULT 0, ADD COLUMN d INT NOT NULL",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0)",
        "CREATE UNIQUE INDEX i ON t (c)",
        "-- Contracts: what version 2 stopped using\nDROP TABLE t",
    ] {
        assert_eq!(found(breaking), 1, "{breaking}");
    }
}
