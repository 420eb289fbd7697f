//! Answers to surveys: by the link in the mail, without a log-in. The link is signed for one ticket and its requester.

use axum::Json;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ids::{PersonId, TicketId};
use crate::tickets::csat::{self, Rating};
use crate::tickets::{TicketError, transcript};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault, Problem};
use crate::web::request::{Input, Named};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(form, submit)).routes(routes!(rate))
}

fn signed(state: &Shared, token: &str) -> Result<(TicketId, PersonId), Error> {
    state.signer.read_rating(token).ok_or(Error::NotFound)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// From 1 (not at all content) to 5 (fully).
    #[schema(minimum = 1, maximum = 5)]
    score: i32,
    /// Cut after 2000 characters.
    #[serde(default)]
    comment: String,
}

async fn keep(state: &Shared, token: &str, answer: &Answer) -> Result<Rating, Error> {
    let (ticket, person) = signed(state, token)?;
    if !(1..=5).contains(&answer.score) {
        let detail = "a score is from 1 to 5".to_owned();
        return Err(Error::Invalid(vec![Fault { field: "score".to_owned(), detail }]));
    }
    let mut tx = state.db.begin().await?;
    let rating = csat::answer(&mut tx, ticket, person, answer.score, &answer.comment, state.clock.now());
    let rating = match rating.await {
        Err(TicketError::RatingClosed) => return Err(Error::Conflict(TicketError::RatingClosed.to_string())),
        rating => rating?,
    };
    tx.commit().await?;
    Ok(rating)
}

/// Answers a survey, or changes the answer within 14 days.
#[utoipa::path(
    post,
    path = "/api/csat/{token}",
    tag = "tickets",
    params(("token" = String, Path, description = "What stands behind `/rate/` in the link of the survey")),
    request_body = Answer,
    responses(
        (status = 200, description = "The answer as it is kept", body = Rating),
        (status = 409, description = "It can no longer be changed", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn rate(
    State(state): State<Shared>,
    Named(token): Named<String>,
    Input { value: body, .. }: Input<Answer>,
) -> Result<Json<Rating>, Error> {
    keep(&state, &token, &body).await.map(Json)
}

/// The page that the link of a survey leads to. Looking at it does nothing: mail programs and scanners look at links.
#[utoipa::path(
    get,
    path = "/rate/{token}",
    tag = "tickets",
    params(("token" = String, Path, description = "From the link of the survey")),
    responses(
        (status = 200, description = "A page with a form", body = String, content_type = "text/html"),
        (status = 404, description = "A page: the link is not good",
         content((String = "text/html"), (Problem = "application/problem+json"))),
    )
)]
async fn form(State(state): State<Shared>, Named(token): Named<String>) -> Result<Response, Error> {
    let Ok((ticket, _)) = signed(&state, &token) else { return Ok(no_such_link()) };
    let Some((subject, rating)) = csat::asked(&state.db, ticket).await? else { return Ok(no_such_link()) };
    Ok(page(StatusCode::OK, &question(ticket, &subject, rating.as_ref())))
}

/// Answers a survey from its page.
#[utoipa::path(
    post,
    path = "/rate/{token}",
    tag = "tickets",
    params(("token" = String, Path, description = "From the link of the survey")),
    request_body(content = Answer, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A page that says thanks", body = String, content_type = "text/html"),
        (status = 400, description = "A page: what is wrong", body = String, content_type = "text/html"),
        (status = 404, description = "A page: the link is not good",
         content((String = "text/html"), (Problem = "application/problem+json"))),
        (status = 409, description = "A page: the answer can no longer be changed", body = String, content_type = "text/html"),
    )
)]
async fn submit(
    State(state): State<Shared>,
    Named(token): Named<String>,
    answer: Result<Form<Answer>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Error> {
    let Ok(Form(answer)) = answer else {
        let text = "<h1>Please choose a number</h1><p>Go back, and choose how content you were.</p>";
        return Ok(page(StatusCode::BAD_REQUEST, text));
    };
    match keep(&state, &token, &answer).await {
        Ok(_) => Ok(page(
            StatusCode::OK,
            "<h1>Thank you</h1><p>Your answer is kept. You can change it for two weeks, by the same link.</p>",
        )),
        Err(Error::NotFound) => Ok(no_such_link()),
        Err(Error::Conflict(_)) => Ok(page(
            StatusCode::CONFLICT,
            "<h1>Too late</h1><p>Your answer can no longer be changed. To tell us something, answer our last mail.</p>",
        )),
        Err(Error::Invalid(_)) => {
            let text = "<h1>Please choose a number</h1><p>Go back, and choose one from 1 to 5.</p>";
            Ok(page(StatusCode::BAD_REQUEST, text))
        }
        Err(error) => Err(error),
    }
}

fn no_such_link() -> Response {
    let text =
        "<h1>This link is not good</h1><p>It may have been cut by your mail program: copy all of it.</p>";
    page(StatusCode::NOT_FOUND, text)
}

/// The form goes to where the page came from; nothing is loaded, and nothing is run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>How content are you?</title>
<style>
:root { color-scheme: light dark; }
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 0 auto; padding: 1.5rem; overflow-wrap: anywhere; }
fieldset { border: 0; padding: 0; margin: 1rem 0; }
label.score { display: block; padding: .6rem 0; }
input[type=radio] { width: 1.3rem; height: 1.3rem; vertical-align: middle; }
textarea { width: 100%; min-height: 7rem; font: inherit; box-sizing: border-box; }
button { font: inherit; padding: .7rem 1.4rem; }
</style>
</head>
<body>
<main>
"#;

fn page(status: StatusCode, body: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, format!("{HEAD}{body}\n</main>\n</body>\n</html>\n")).into_response()
}

const SCORES: [(i32, &str); 5] =
    [(5, "fully content"), (4, "content"), (3, "so-so"), (2, "not content"), (1, "not at all content")];

fn question(ticket: TicketId, subject: &str, rating: Option<&Rating>) -> String {
    let escape = transcript::escape;
    let mut text = format!(
        "<h1>How content are you?</h1>\n<p>Ticket #{ticket}: {}</p>\n<form method=\"post\">\n<fieldset>\n\
         <legend>With what we did you are</legend>\n",
        escape(subject)
    );
    for (score, word) in SCORES {
        let checked = if rating.is_some_and(|r| r.score == score) { " checked" } else { "" };
        text.push_str(&format!(
            "<label class=\"score\"><input type=\"radio\" name=\"score\" value=\"{score}\" required{checked}> {score}: {word}</label>\n"
        ));
    }
    text.push_str(&format!(
        "</fieldset>\n<p><label>What should we know? (optional)<br><textarea name=\"comment\" maxlength=\"{}\">{}</textarea></label></p>\n\
         <p><button>Send</button></p>\n</form>",
        csat::LONGEST_COMMENT,
        rating.map(|r| escape(&r.comment)).unwrap_or_default()
    ));
    text
}
