//! Where attachments are downloaded from: the fake's cdn.discordapp.com.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;

use super::lines::{Line, Lines};
use super::world::Id;
use super::{Shared, wire};

/// What makes an address good, and until when.
#[derive(Deserialize)]
struct Signed {
    ex: Option<String>,
    hm: Option<String>,
}

pub async fn serve(lines: Lines, shared: Shared) {
    let router = Router::new().route("/attachments/{channel}/{id}/{name}", get(file)).with_state(shared);
    axum::serve(lines, router.into_make_service_with_connect_info::<Line>()).await.ok();
}

async fn file(
    State(shared): State<Shared>,
    Path((channel, id, name)): Path<(Id, Id, String)>,
    Query(signed): Query<Signed>,
) -> Response {
    let world = shared.lock();
    let hex = |text: Option<String>| u64::from_str_radix(&text?, 16).ok();
    let until = hex(signed.ex).and_then(|until| i64::try_from(until).ok());
    let is_good = until.is_some_and(|until| {
        until > world.now().timestamp() && hex(signed.hm) == Some(wire::signature(id, until))
    });
    let file = world.files.get(&id).filter(|file| is_good && file.channel == channel && file.name == name);
    match file {
        Some(file) => ([(header::CONTENT_TYPE, file.kind.clone())], file.bytes.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "This content is no longer available.").into_response(),
    }
}
