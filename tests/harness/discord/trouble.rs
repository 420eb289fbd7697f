//! What can go wrong between a program and Discord's API, on order.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::json;

/// What happens to a request instead of a good answer.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// 429 of the route; wait for this many seconds.
    Limited(f64),
    /// 429 of the whole bot.
    LimitedGlobally(f64),
    /// 429 by Cloudflare: no JSON.
    LimitedByCloudflare(u32),
    /// A page of HTML with this status, as the servers in front send it.
    Html(u16),
    /// 403 with this code (50001 missing access, 50013 missing permissions).
    Forbidden(u64),
    /// Any status with any of Discord's codes.
    Refused(u16, u64),
    /// It is never answered.
    Hang,
    /// The connection breaks before anything is done.
    DropBefore,
    /// It is done, and then the connection breaks.
    DropAfter,
    /// It is done, and never answered.
    HangAfter,
}

/// The troubles to come.
#[derive(Debug, Default)]
pub struct Troubles {
    orders: Vec<Order>,
}

#[derive(Debug)]
struct Order {
    left: usize,
    method: String,
    part: String,
    trouble: Trouble,
}

impl Troubles {
    /// The next `count` requests with this method, whose path contains `part`, meet it.
    pub fn add(&mut self, count: usize, method: &str, part: &str, trouble: Trouble) {
        let (method, part) = (method.to_owned(), part.to_owned());
        self.orders.push(Order { left: count, method, part, trouble });
    }

    pub fn meet(&mut self, method: &str, path: &str) -> Option<Trouble> {
        let hit = |order: &&mut Order| order.method == method && path.contains(&order.part);
        let order = self.orders.iter_mut().find(hit)?;
        let trouble = order.trouble;
        order.left = order.left.saturating_sub(1);
        self.orders.retain(|order| order.left > 0);
        Some(trouble)
    }

    /// Troubles that were ordered and not met yet.
    pub fn left(&self) -> usize {
        self.orders.iter().map(|order| order.left).sum()
    }

    pub fn clear(&mut self) {
        self.orders.clear();
    }
}

impl Trouble {
    /// Whether the request is done all the same.
    pub fn comes_after(self) -> bool {
        matches!(self, Self::DropAfter | Self::HangAfter)
    }

    /// The answer, where there is one.
    pub fn answer(self) -> Option<Response<Body>> {
        let limited = |seconds: f64, global: bool| {
            let message = "You are being rate limited.";
            let body = json!({"message": message, "retry_after": seconds, "global": global});
            let scope = if global { "global" } else { "user" };
            let mut answer = Response::builder()
                .status(StatusCode::TOO_MANY_REQUESTS)
                .header(header::CONTENT_TYPE, "application/json")
                .header("retry-after", seconds.to_string())
                .header("x-ratelimit-scope", scope);
            if global {
                answer = answer.header("x-ratelimit-global", "true");
            } else {
                answer = answer
                    .header("x-ratelimit-limit", "5")
                    .header("x-ratelimit-remaining", "0")
                    .header("x-ratelimit-reset-after", seconds.to_string())
                    .header("x-ratelimit-bucket", "fake");
            }
            answer.body(Body::from(body.to_string()))
        };
        let html = |status: u16| {
            Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "text/html")
                .body(Body::from("<html><head><title>cloudflare</title></head><body>oops</body></html>"))
        };
        let refused = |status: u16, code: u64| {
            let body = json!({"message": "refused by the test", "code": code});
            Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
        };
        let answer = match self {
            Self::Limited(seconds) => limited(seconds, false),
            Self::LimitedGlobally(seconds) => limited(seconds, true),
            Self::LimitedByCloudflare(seconds) => html(429).map(|mut answer| {
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                answer
            }),
            Self::Html(status) => html(status),
            Self::Forbidden(code) => refused(403, code),
            Self::Refused(status, code) => refused(status, code),
            Self::Hang | Self::DropBefore | Self::DropAfter | Self::HangAfter => return None,
        };
        Some(answer.expect("a status and headers that can be"))
    }
}
