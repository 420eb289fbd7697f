//! Reports, as JSON and as CSV.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::reports::{self, Name, Range, Report};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(report))
}

/// Where no first day is asked for: so many days, the last one included.
const USUAL: u64 = 30;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReportQuery {
    /// The first day, as 2026-11-01; left out: 30 days are covered.
    from: Option<NaiveDate>,
    /// The last day; left out: today.
    to: Option<NaiveDate>,
    /// Whose days they are: a time zone such as Europe/Berlin; left out: UTC.
    tz: Option<String>,
    /// Left out: as `Accept` has it.
    #[param(inline)]
    format: Option<Format>,
}

/// one report over a range of days.
///
/// As CSV the totals are the last lines, with `total` in place of a day; cells that a spreadsheet would take for formulas
/// begin with an apostrophe.
#[utoipa::path(
    get,
    path = "/api/admin/reports/{name}",
    tag = "reports",
    params(("name" = Name, Path, description = "Which report"), ReportQuery),
    responses((
        status = 200,
        description = "Rows by day, and totals over the range",
        content((Report = "application/json"), (String = "text/csv"))
    ))
)]
async fn report(
    State(state): State<Shared>,
    Named(name): Named<Name>,
    Params(query): Params<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let range = range(&query, state.clock.now().date_naive())?;
    let format = query.format.unwrap_or_else(|| wanted(&headers));
    let report = reports::report(&state.reports, name, &range, state.clock.now()).await?;
    if format == Format::Json {
        return Ok(Json(report).into_response());
    }
    let name = format!("{}-{}-{}.csv", name.as_str(), range.from(), range.to());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, report.csv()?).into_response())
}

fn range(query: &ReportQuery, today: NaiveDate) -> Result<Range, Error> {
    let to = query.to.unwrap_or(today);
    let from = query.from.or_else(|| to.checked_sub_days(Days::new(USUAL - 1))).unwrap_or(to);
    let zone = query.tz.as_deref().unwrap_or("UTC");
    Range::new(from, to, zone).map_err(|error| Error::BadRequest(error.to_string()))
}

/// CSV for who asks for it by name and not for JSON.
fn wanted(headers: &HeaderMap) -> Format {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let accepts =
        |kind: &str| accepted.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == kind);
    if accepts("text/csv") && !accepts("application/json") { Format::Csv } else { Format::Json }
}
