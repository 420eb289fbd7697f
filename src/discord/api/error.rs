//! What Discord answers when it does not do what it was asked, sorted by what is to be done about it.
//!
//! Codes: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#json>.

use std::time::Duration;

use serde_json::Value;

/// Why a call did not do what it was to do. One readable line each; none holds a token or an address of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The token is wrong or was renewed: every further call counts against us, so stop.
    #[error("Discord does not accept the bot's token ({0}): renew it in the developer portal, page Bot")]
    Unauthorized(Refusal),
    /// The bot may not see or do this there; asking again is no use before somebody changes its rights.
    #[error("the bot lacks a right in Discord ({0})")]
    Forbidden(Refusal),
    /// The channel, thread, message or person is not there any more.
    #[error("it is not in Discord any more ({0})")]
    Gone(Refusal),
    /// The thread is archived: unarchive it first.
    #[error("the thread is archived ({0})")]
    Archived(Refusal),
    #[error("the thread is locked ({0})")]
    Locked(Refusal),
    /// The interaction or its token has run out: write to the channel instead.
    #[error("too late to answer this interaction ({0})")]
    TooLate(Refusal),
    /// Discord does not take what we sent: a fault of ours.
    #[error("Discord refuses the request ({0})")]
    Invalid(Refusal),
    #[error("too many requests: Discord wants {} s of quiet", .0.as_secs_f64().ceil())]
    RateLimited(Duration),
    /// Discord, or something on the way to it, is out of order.
    #[error("Discord is out of order (HTTP {0})")]
    Server(u16),
    /// No answer, or none in time.
    #[error("Discord can't be reached: {0}")]
    Unreachable(String),
}

/// What Discord said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// Discord's own number; 0 where it gave none.
    pub code: i64,
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: HTTP {}, code {}", self.message, self.status, self.code)
    }
}

impl ApiError {
    /// Sorts an answer other than success. `message` is `None` where the body was not Discord's JSON.
    pub(super) fn sort(status: u16, code: i64, message: Option<String>) -> Self {
        let Some(message) = message else {
            return match status {
                401 => Self::Unauthorized(Refusal { status, code: 0, message: "Unauthorized".to_owned() }),
                429 => Self::RateLimited(Duration::from_secs(1)),
                // A gateway's or a proxy's page: that a thread is gone is for Discord alone to say.
                _ => Self::Server(status),
            };
        };
        let refusal = Refusal { status, code, message };
        match (status, code) {
            // Unknown interaction; unknown webhook (the answer comes before its deferral); invalid webhook token (after 15 min).
            (_, 10_062 | 10_015 | 50_027) => Self::TooLate(refusal),
            (_, 50_083) => Self::Archived(refusal),
            (_, 160_005) => Self::Locked(refusal),
            (401, _) => Self::Unauthorized(refusal),
            (403, _) => Self::Forbidden(refusal),
            (404, _) => Self::Gone(refusal),
            (429, _) => Self::RateLimited(Duration::from_secs(1)),
            (500.., _) => Self::Server(status),
            _ => Self::Invalid(refusal),
        }
    }

    /// Discord's own number, 0 where there is none.
    pub fn code(&self) -> i64 {
        self.refusal().map_or(0, |refusal| refusal.code)
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unauthorized(refusal)
            | Self::Forbidden(refusal)
            | Self::Gone(refusal)
            | Self::Archived(refusal)
            | Self::Locked(refusal)
            | Self::TooLate(refusal)
            | Self::Invalid(refusal) => Some(refusal),
            Self::RateLimited(_) | Self::Server(_) | Self::Unreachable(_) => None,
        }
    }

    /// Whether the same call may well succeed later. Repeat it only where doing it twice does no harm: a post with a nonce, an
    /// edit, a deletion.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::RateLimited(_) | Self::Server(_) | Self::Unreachable(_))
    }

    /// Whether it may have been done all the same, although no answer says so.
    pub fn may_be_done(&self) -> bool {
        match self {
            // A page of something on the way, which let nothing through.
            Self::Server(status) => !(300..500).contains(status),
            Self::Unreachable(_) => true,
            _ => false,
        }
    }

    /// Whether the thread can't be written to before a person acts: not there, or not for us.
    pub fn breaks_thread(&self) -> bool {
        match self {
            Self::Forbidden(_) => true,
            // A message (10008) or a person (10013) that is gone leaves the thread.
            Self::Gone(refusal) => !matches!(refusal.code, 10_007 | 10_008 | 10_013),
            _ => false,
        }
    }

    /// How long to wait at least before the call is repeated.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait) => Some(*wait),
            _ => None,
        }
    }
}

/// Discord's JSON of an error: its code and one line, with what it says of each field. `None`: not Discord's.
pub(super) fn read_body(body: &[u8]) -> Option<(i64, String)> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let message = json.get("message")?.as_str()?.to_owned();
    let code = json.get("code").and_then(Value::as_i64).unwrap_or(0);
    let mut faults = Vec::new();
    collect(json.get("errors").unwrap_or(&Value::Null), &mut String::new(), &mut faults);
    Some((code, one_line(message, &faults)))
}

/// `Invalid Form Body (content: must be 2000 or fewer in length)`.
pub(super) fn one_line(message: String, faults: &[String]) -> String {
    if faults.is_empty() { message } else { format!("{message} ({})", faults.join(", ")) }
}

fn collect(errors: &Value, path: &mut String, faults: &mut Vec<String>) {
    let Value::Object(fields) = errors else { return };
    for (name, inner) in fields {
        if let ("_errors", Value::Array(list)) = (name.as_str(), inner) {
            let texts = list.iter().filter_map(|fault| fault.get("message")?.as_str());
            faults.extend(texts.take(5).map(|text| format!("{path}: {text}")));
            continue;
        }
        let before = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        collect(inner, path, faults);
        path.truncate(before);
    }
}

/// What went wrong on the way, without the address: it may hold an interaction's token.
pub(super) fn unreachable(error: reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Unreachable("no answer in time".to_owned());
    }
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    // Some add where to read about it; a line of ours has no address in it.
    let text = deepest.to_string();
    let line = text.split(": http").next().unwrap_or_default();
    ApiError::Unreachable(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, body: &str) -> ApiError {
        match read_body(body.as_bytes()) {
            Some((code, message)) => ApiError::sort(status, code, Some(message)),
            None => ApiError::sort(status, 0, None),
        }
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let answers = [
            (401, r#"{"message": "401: Unauthorized", "code": 0}"#),
            (403, r#"{"message": "Missing Access", "code": 50001}"#),
            (404, r#"{"message": "Unknown Channel", "code": 10003}"#),
            (404, r#"{"message": "Unknown interaction", "code": 10062}"#),
            (401, r#"{"message": "Invalid Webhook Token", "code": 50027}"#),
            (400, r#"{"message": "Thread is archived", "code": 50083}"#),
            (400, r#"{"message": "This thread is locked", "code": 160005}"#),
            (
                400,
                r#"{"message": "Invalid Form Body", "code": 50035, "errors": {"embeds": {"0": {"title": {"_errors":
                [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 256 or fewer in length."}]}}}}}"#,
            ),
            (500, "<html>Internal Server Error</html>"),
            (404, "<html>nginx</html>"),
            (429, "<html>Cloudflare</html>"),
        ];
        let lines: Vec<String> =
            answers.iter().map(|(status, body)| sorted(*status, body).to_string()).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        Discord does not accept the bot's token (401: Unauthorized: HTTP 401, code 0): renew it in the developer portal, page Bot
        the bot lacks a right in Discord (Missing Access: HTTP 403, code 50001)
        it is not in Discord any more (Unknown Channel: HTTP 404, code 10003)
        too late to answer this interaction (Unknown interaction: HTTP 404, code 10062)
        too late to answer this interaction (Invalid Webhook Token: HTTP 401, code 50027)
        the thread is archived (Thread is archived: HTTP 400, code 50083)
        the thread is locked (This thread is locked: HTTP 400, code 160005)
        Discord refuses the request (Invalid Form Body (embeds.0.title: Must be 256 or fewer in length.): HTTP 400, code 50035)
        Discord is out of order (HTTP 500)
        Discord is out of order (HTTP 404)
        too many requests: Discord wants 1 s of quiet
        ");
    }

    #[test]
    fn what_may_be_repeated_and_what_breaks_a_thread() {
        let gone = |code| sorted(404, &format!(r#"{{"message": "Unknown", "code": {code}}}"#));
        assert!(gone(10_003).breaks_thread() && !gone(10_003).is_temporary());
        assert!(!gone(10_008).breaks_thread() && !gone(10_013).breaks_thread());
        assert!(sorted(403, r#"{"message": "Missing Permissions", "code": 50013}"#).breaks_thread());
        let server = sorted(502, "");
        assert!(server.is_temporary() && server.may_be_done() && !server.breaks_thread());
        let limited = ApiError::RateLimited(Duration::from_millis(300));
        assert!(limited.is_temporary() && !limited.may_be_done());
        assert_eq!(limited.to_string(), "too many requests: Discord wants 1 s of quiet");
    }
}
