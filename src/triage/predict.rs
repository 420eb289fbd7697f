//! `ticketd triage predict`: the offline engine as a filter, tickets as JSON lines in, ranked labels out.

use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::triage::offline::Catalogue;
use crate::triage::question::Label;

#[derive(Deserialize)]
struct Entry {
    label: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    description: Option<String>,
    /// Aliases in further languages; catalogues may list them apart.
    #[serde(default)]
    aliases_i18n: Vec<String>,
}

#[derive(Deserialize)]
struct Ticket {
    /// Given back as it came.
    id: Value,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Serialize)]
struct Prediction<'a> {
    id: Value,
    labels: Vec<&'a str>,
    confidence: f32,
}

/// Reads a ticket a line and answers each at once, so that it can sit in a pipe.
///
/// Fails on the first line that is no ticket, and names it.
pub fn run(catalogue: &str, input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    let catalogue = Catalogue::new(&labels(catalogue)?);
    for (number, line) in (1_usize..).zip(input.lines()) {
        let line = line.with_context(|| format!("could not read line {number}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let ticket: Ticket =
            serde_json::from_str(&line).with_context(|| format!("line {number} is not a ticket"))?;
        let ranked = catalogue
            .rank(ticket.title.as_deref().unwrap_or_default(), ticket.body.as_deref().unwrap_or_default());
        let prediction = Prediction {
            id: ticket.id,
            labels: ranked.iter().map(|ranked| ranked.slug.as_str()).collect(),
            confidence: catalogue.confidence(&ranked),
        };
        serde_json::to_writer(&mut output, &prediction)
            .with_context(|| format!("could not write the answer to line {number}"))?;
        output.write_all(b"\n").and_then(|()| output.flush()).context("could not write the answers")?;
    }
    Ok(())
}

fn labels(catalogue: &str) -> anyhow::Result<Vec<Label>> {
    let entries: Vec<Entry> =
        serde_json::from_str(catalogue).context("the catalogue is not a JSON list of labels")?;
    if entries.is_empty() {
        bail!("the catalogue is empty");
    }
    let mut labels: Vec<Label> = Vec::new();
    for (number, entry) in (1_usize..).zip(entries) {
        if entry.label.trim().is_empty() {
            bail!("entry {number} of the catalogue has no label");
        }
        if labels.iter().any(|label| label.slug == entry.label) {
            bail!("entry {number} of the catalogue has the label of an earlier one");
        }
        labels.push(Label {
            name: entry.name.unwrap_or_else(|| entry.label.clone()),
            slug: entry.label,
            aliases: entry.aliases.into_iter().chain(entry.aliases_i18n).collect(),
            description: entry.description.unwrap_or_default(),
        });
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = r#"[
        {"label": "billing", "name": "Billing", "aliases": ["invoice", "Rechnung"], "description": "Invoices and refunds."},
        {"label": "printing", "name": "Printers", "aliases": ["printer"], "aliases_i18n": ["Drucker"]}
    ]"#;

    fn predict(input: &str) -> anyhow::Result<Vec<Value>> {
        let mut output = Vec::new();
        run(CATALOGUE, input.as_bytes(), &mut output)?;
        Ok(String::from_utf8(output)?.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn every_ticket_gets_a_line_with_all_labels_ranked() {
        let input = concat!(
            r#"{"id": "a", "title": "Drucker kaputt", "body": ""}"#,
            "\n\n",
            r#"{"id": 7, "title": "My invoice is wrong"}"#,
            "\n",
            r#"{"id": null, "title": "", "body": null}"#,
        );
        let answers = predict(input).unwrap();
        assert_eq!(answers[0]["labels"], serde_json::json!(["printing", "billing"]));
        assert_eq!(answers[1]["id"], 7);
        assert_eq!(answers[1]["labels"][0], "billing");
        assert_eq!(answers[2]["labels"].as_array().unwrap().len(), 2);
        assert_eq!(answers[2]["confidence"], 0.0, "nothing speaks for anything");
    }

    #[test]
    fn bad_input_is_named_by_its_line() {
        let error = predict("{\"id\": 1}\nnonsense").unwrap_err();
        assert!(format!("{error:#}").starts_with("line 2 is not a ticket: "), "{error:#}");
        let catalogue = |text: &str| format!("{:#}", run(text, &b""[..], Vec::new()).unwrap_err());
        assert!(catalogue("{}").contains("not a JSON list"));
        assert!(catalogue("[]").contains("empty"));
        assert!(catalogue(r#"[{"label": "a"}, {"label": "a"}]"#).contains("entry 2"));
    }
}
