//! What an answer other than 200 means: HTTP status and `google.rpc.Status` in, [`GeminiError`] out. Pure.
//!
//! Sources: <https://ai.google.dev/gemini-api/docs/troubleshooting>, <https://google.aip.dev/193> (error details).
//! Everything in the body may be missing, and none of it gets into an error's text.

use std::time::Duration;

use serde_json::Value;

use super::GeminiError;

/// Reads a refusal. `retry_after` is the header of that name, used where the body names no delay.
pub(super) fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> GeminiError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = body.get("error").unwrap_or(&Value::Null);
    match status {
        429 => busy(error, retry_after),
        400 | 401 | 403 | 404 => GeminiError::Refused { status, reason: reason(status, error) },
        _ => GeminiError::Unavailable { reason: format!("it answered with HTTP status {status}") },
    }
}

/// Whether the same request may fare better in a moment.
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 500 | 502 | 503 | 504)
}

fn details<'a>(error: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    details.filter(move |detail| {
        detail.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(kind))
    })
}

fn busy(error: &Value, header: Option<&str>) -> GeminiError {
    let told = details(error, "google.rpc.RetryInfo")
        .find_map(|detail| duration(detail.get("retryDelay")?.as_str()?))
        .or_else(|| header.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs));
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let mut per_day = message.contains("limit: 0");
    for failure in details(error, "google.rpc.QuotaFailure") {
        for violation in failure.get("violations").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| violation.get(name).and_then(Value::as_str).unwrap_or_default();
            // A limit of 0 means that this key may not use this model at all: waiting a minute is no use either.
            per_day |= text("quotaId").contains("PerDay") || text("quotaValue") == "0";
        }
    }
    GeminiError::Busy { retry_after: told, per_day }
}

/// `google.protobuf.Duration` as JSON: seconds with an optional fraction and an `s`.
fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Words for the person who has to put it right.
fn reason(status: u16, error: &Value) -> String {
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let named = |name: &str| {
        details(error, "google.rpc.ErrorInfo")
            .any(|detail| detail.get("reason").and_then(Value::as_str) == Some(name))
    };
    let state = error.get("status").and_then(Value::as_str).unwrap_or_default();
    let words = match (status, state) {
        // A wrong key is a 400, and only the details say so.
        (400, _) if named("API_KEY_INVALID") || message.contains("API key not valid") => {
            "the API key is not valid: check api_key_file in [gemini]"
        }
        (400, _) if named("API_KEY_EXPIRED") || message.contains("API key expired") => {
            "the API key has expired: make a new one and put it into api_key_file"
        }
        (400, "FAILED_PRECONDITION") => {
            "Gemini is not offered to this project from here: check the region, or turn billing on"
        }
        (400, _) => "it takes the request for invalid: check model and thinking_level in [gemini]",
        (401, _) => "the API key was not accepted: check api_key_file in [gemini]",
        (403, _) => "the API key may not use this API: it is missing, blocked as leaked, or restricted",
        (404, _) => "the model is unknown: check model in [gemini]",
        _ => "it refused the request",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(status: u16, body: &Value) -> GeminiError {
        read(status, None, body.to_string().as_bytes())
    }

    #[test]
    fn durations() {
        let cases = [
            ("47s", Some(Duration::from_secs(47))),
            ("45.578s", Some(Duration::from_millis(45_578))),
            ("7200s", Some(Duration::from_hours(2))),
            ("-1s", None),
            ("1e30s", None),
            ("NaNs", None),
            ("47", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn quotas() {
        let quota = |id: &str, value: &str| {
            json!({"error": {"details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
                 "violations": [{"quotaId": id, "quotaValue": value}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "47s"},
            ]}})
        };
        let told = Some(Duration::from_secs(47));
        let minute = read_json(429, &quota("GenerateRequestsPerMinutePerProjectPerModel", "10"));
        assert!(matches!(minute, GeminiError::Busy { retry_after, per_day: false } if retry_after == told));
        let day = read_json(429, &quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20"));
        assert!(matches!(day, GeminiError::Busy { per_day: true, .. }));
        let none = read_json(429, &quota("GenerateRequestsPerMinutePerProjectPerModel", "0"));
        assert!(matches!(none, GeminiError::Busy { per_day: true, .. }));
        for body in
            [json!({"error": {"message": "Resource has been exhausted (e.g. check quota)."}}), json!([])]
        {
            let bare = read_json(429, &body);
            assert!(matches!(bare, GeminiError::Busy { retry_after: None, per_day: false }));
        }
        let header = read(429, Some("12"), b"");
        let told = Some(Duration::from_secs(12));
        assert!(matches!(header, GeminiError::Busy { retry_after, .. } if retry_after == told));
    }

    #[test]
    fn refusals_have_words_and_none_of_the_body() {
        let key = json!({"error": {"code": 400, "message": "API key not valid. SECRET", "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}});
        let text = read_json(400, &key).to_string();
        assert!(text.contains("API key is not valid") && !text.contains("SECRET"), "{text}");
        let region = json!({"error": {"status": "FAILED_PRECONDITION"}});
        assert!(read_json(400, &region).to_string().contains("region"));
        assert!(read_json(404, &Value::Null).to_string().contains("model is unknown"));
        assert!(matches!(read(502, None, b"<html>"), GeminiError::Unavailable { .. }));
    }
}
