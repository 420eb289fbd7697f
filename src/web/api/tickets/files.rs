//! Files: sent first, then named by the message they go with.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{media, seen};
use crate::files;
use crate::ids::{AttachmentId, TicketId, UploadId};
use crate::tickets::TicketError;
use crate::tickets::uploads::{self, Upload};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    let upload = OpenApiRouter::new().routes(routes!(upload));
    upload
        .layer(DefaultBodyLimit::max(uploads::LARGEST))
        .merge(OpenApiRouter::new().routes(routes!(download)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// What the file is called.
    filename: Option<String>,
}

/// The bytes of a file, of any media type.
struct Content {
    bytes: Bytes,
    once: Once,
    /// Held until the file is stored.
    _place: OwnedSemaphorePermit,
}

impl FromRequest<Shared> for Content {
    type Rejection = Error;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Error> {
        let once = Once::of(&request)?;
        if let Some(caller) = request.extensions().get::<Caller>() {
            state.limits.ticket(caller.person)?;
        }
        let place = state.limits.upload().await?;
        let bytes = Bytes::from_request(request, state).await?;
        Ok(Self { once: once.with(&bytes), bytes, _place: place })
    }
}

/// Takes a file of at most 25 MB, as the body of the request. A new ticket or a message names it within a day; then it is
/// removed.
#[utoipa::path(
    post,
    path = "/api/uploads",
    tag = "tickets",
    params(UploadQuery),
    request_body(content = String, content_type = "*/*", description = "The file; `Content-Type` says what it is"),
    responses(
        (status = 201, description = "It waits for its message", body = Upload),
        (status = 503, description = "Files cannot be stored at the moment", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn upload(
    State(state): State<Shared>,
    caller: Caller,
    Params(query): Params<UploadQuery>,
    headers: HeaderMap,
    Content { bytes, once, _place }: Content,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if bytes.len() > state.config.attachments.max_bytes {
        return Err(Error::TooLarge);
    }
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    uploads::may_send(&mut tx, caller.person).await?;
    tx.commit().await?;
    let content = files::Content::new(bytes);
    state.files.keep(std::slice::from_ref(&content), now).await?;
    let mut tx = state.db.begin().await?;
    let kept = uploads::take(&mut tx, caller.person, query.filename.as_deref(), kind, &content, now).await?;
    once.commit(tx, &state, &caller, StatusCode::CREATED, &kept).await
}

/// Whether so many files may go with one message. Limits of the daemon's own ([`uploads::MOST_FILES`],
/// [`uploads::LARGEST`]) hold besides.
pub(super) fn may_go(state: &Shared, files: &[UploadId]) -> Result<(), Error> {
    let most = state.config.attachments.max_count;
    if files.len() > most { Err(TicketError::TooManyFiles(most).into()) } else { Ok(()) }
}

/// Whatever is in a file, it is not run as a page of ours.
const SANDBOX: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// Reads a file of the conversation. Files of notes are for staff. Pictures (PNG, JPEG, GIF, WebP) may be shown in a page; all
/// else is to be saved.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/attachments/{id}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("id" = i64, Path, description = "The attachment"),
    ),
    responses(
        (status = 200, description = "The file", body = String, content_type = "*/*"),
        (status = 503, description = "Files cannot be read at the moment", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn download(
    State(state): State<Shared>,
    caller: Caller,
    Named((number, id)): Named<(TicketId, AttachmentId)>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    let file = uploads::attachment(&state.db, number, id, caller.is_staff(), state.clock.now()).await?;
    let file = file.ok_or(Error::NotFound)?;
    let content = state.files.read(file.sha256).await?;
    let said = uploads::media_type(&file.content_type);
    let picture = media::picture(&said, &content);
    let shown = if picture.is_some() { "inline" } else { "attachment" };
    let name = file.filename.as_deref().unwrap_or("attachment");
    let headers = [
        (header::CONTENT_TYPE, picture.unwrap_or_else(|| media::harmless(&said)).to_owned()),
        (header::CONTENT_DISPOSITION, disposition(shown, name)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, SANDBOX.to_owned()),
    ];
    Ok((headers, content).into_response())
}

/// RFC 6266: a name that everybody reads, and behind it the right one in UTF-8 (RFC 8187).
fn disposition(shown: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " .-_()".contains(c) { c } else { '_' })
        .collect();
    let mut exact = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{shown}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        insta::assert_snapshot!(disposition("attachment", "bill (1).pdf"), @r#"attachment; filename="bill (1).pdf"; filename*=UTF-8''bill%20%281%29.pdf"#);
        insta::assert_snapshot!(disposition("inline", "Lösung\".exe\r\nX: y"), @r#"inline; filename="L_sung_.exe__X_ y"; filename*=UTF-8''L%C3%B6sung%22.exe%0D%0AX%3A%20y"#);
    }
}
