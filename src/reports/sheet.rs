//! Reports as CSV (RFC 4180), safe to be opened in a spreadsheet.

use anyhow::Context;
use csv::{ReaderBuilder, StringRecord, Writer};

use super::Rows;

pub(super) fn write(rows: &Rows, totals: &Rows) -> anyhow::Result<String> {
    let names = records(&rows.blank())?.into_iter().take(1);
    let body = records(rows)?.into_iter().skip(1).map(|record| record.iter().map(harmless).collect());
    let totals = records(totals)?.into_iter().skip(1).map(|record| {
        let rest = record.iter().skip(1);
        std::iter::once("total").chain(rest).map(harmless).collect::<StringRecord>()
    });
    let mut sheet = Writer::from_writer(Vec::new());
    names.chain(body).chain(totals).try_for_each(|record| sheet.write_record(&record))?;
    finish(sheet)
}

/// A line of names, then the rows; nothing where there are no rows.
fn records(rows: &Rows) -> anyhow::Result<Vec<StringRecord>> {
    let mut sheet = Writer::from_writer(Vec::new());
    rows.write(&mut sheet)?;
    let text = finish(sheet)?;
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    Ok(reader.records().collect::<csv::Result<_>>()?)
}

fn finish(sheet: Writer<Vec<u8>>) -> anyhow::Result<String> {
    let bytes = sheet.into_inner().map_err(csv::IntoInnerError::into_error).context("write a sheet")?;
    Ok(String::from_utf8(bytes)?)
}

/// A spreadsheet takes a cell that begins with one of these for a formula, and would do what a name tells it to
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::{ModeratorRow, SkillGapRow};

    #[test]
    fn a_sheet_has_names_rows_and_totals_and_no_formulas() {
        let row = |day: Option<&str>, name: &str| ModeratorRow {
            day: day.map(|day| day.parse().unwrap()),
            person_id: 7,
            name: name.to_owned(),
            replied: 2,
            ..ModeratorRow::default()
        };
        let rows = Rows::Moderators(vec![
            row(Some("2026-11-21"), "=HYPERLINK(\"http://x\")"),
            row(Some("2026-11-22"), "a, b"),
        ]);
        let totals = Rows::Moderators(vec![
            row(None, "@SUM(A1)"),
            row(None, "-1+1"),
            row(None, "\tx"),
            row(None, "Bea"),
        ]);
        insta::assert_snapshot!(write(&rows, &totals).unwrap(), @r#"
        day,person_id,name,assigned,replied,resolved,first_response_median,open_now
        2026-11-21,7,"'=HYPERLINK(""http://x"")",0,2,0,,
        2026-11-22,7,"a, b",0,2,0,,
        total,7,'@SUM(A1),0,2,0,,
        total,7,'-1+1,0,2,0,,
        total,7,'	x,0,2,0,,
        total,7,Bea,0,2,0,,
        "#);
    }

    #[test]
    fn a_sheet_of_nothing_has_names() {
        let sheet = write(&Rows::SkillGaps(vec![]), &Rows::SkillGaps(vec![])).unwrap();
        assert_eq!(sheet, "day,skill,tickets,open_now\n");
        let total = SkillGapRow { skill: "rust".to_owned(), tickets: 1, ..SkillGapRow::default() };
        let sheet = write(&Rows::SkillGaps(vec![]), &Rows::SkillGaps(vec![total])).unwrap();
        assert_eq!(sheet, "day,skill,tickets,open_now\ntotal,rust,1,0\n");
    }
}
