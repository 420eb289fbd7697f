//! The Gemini client against a Gemini that behaves as the real one does, at its worst too.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use ticketd::tickets::Priority;
use ticketd::triage::gemini::{Gemini, GeminiError, Settings};
use ticketd::triage::question::{Engine, Judgement, Label, Question};

use crate::harness::gemini::{Answer, FakeGemini, KEY, MODEL};

fn settings(fake: &FakeGemini) -> Settings {
    Settings {
        base_url: fake.base_url().to_owned(),
        model: MODEL.to_owned(),
        thinking_level: None,
        api_key: SecretString::from(KEY),
        timeout: Duration::from_secs(10),
    }
}

fn client(settings: Settings) -> Gemini {
    Gemini::new(settings).expect("the settings are good").with_backoff(Duration::from_millis(1))
}

/// A time of day that is far from Google's midnight.
fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().expect("a date")
}

fn question() -> Question {
    let label = |slug: &str, name: &str| Label {
        slug: slug.to_owned(),
        name: name.to_owned(),
        aliases: vec![format!("{name}s")],
        description: format!("About {name}"),
    };
    Question {
        subject: "Invoice 12 is wrong".to_owned(),
        body: "Please mail ada@example.org the right one".to_owned(),
        categories: vec![label("billing", "Invoice"), label("other", "Other")],
        skills: vec![label("invoices", "Invoice"), label("rust", "Crab")],
    }
}

fn good() -> Value {
    json!({"category": "billing", "priority": "high", "language": "en", "skills": ["invoices"],
        "notes": "Wants a corrected invoice.", "suggested_reply": "We are looking into it.", "confidence": 0.9})
}

async fn ask(gemini: &Gemini) -> Result<Judgement, GeminiError> {
    gemini.judge(noon(), &question(), "b0undary").await
}

#[tokio::test]
async fn a_ticket_is_judged_and_the_request_has_nothing_that_gemini_refuses() {
    let fake = FakeGemini::start().await;
    fake.script(vec![Answer::Judge(good())]);
    let gemini = client(Settings { thinking_level: Some("minimal".into()), ..settings(&fake) });
    let judgement = ask(&gemini).await.unwrap();
    assert_eq!(judgement.category.as_deref(), Some("billing"));
    assert_eq!(judgement.priority, Some(Priority::High));
    assert_eq!(judgement.skills, ["invoices"]);
    assert_eq!((judgement.engine, judgement.model.as_str()), (Engine::Gemini, MODEL));
    assert_eq!((judgement.tokens_in, judgement.tokens_out), (Some(59), Some(9)));
    // A catalogue without entries is no empty enum, which would be refused.
    let bare = Question { subject: "x".into(), ..Question::default() };
    gemini.judge(noon(), &bare, "b").await.unwrap();
    assert_eq!(fake.refusals(), [""; 0]);
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_full_minute_says_when_to_come_back_and_nobody_asks_before() {
    let fake = FakeGemini::start().await;
    fake.script(vec![Answer::QuotaMinute { retry_delay: "45.578s" }]);
    let gemini = client(settings(&fake));
    let wait = Duration::from_millis(45_578);
    assert_eq!(ask(&gemini).await, Err(GeminiError::Busy { retry_after: Some(wait), per_day: false }));
    let GeminiError::Open { until } = ask(&gemini).await.unwrap_err() else {
        panic!("the circuit is closed")
    };
    assert!(until >= noon() + TimeDelta::milliseconds(45_578) && until < noon() + TimeDelta::seconds(56));
    assert_eq!(fake.requests().len(), 1);
    let judgement = gemini.judge(until, &question(), "b").await.unwrap();
    assert_eq!(judgement.engine, Engine::Gemini);
}

#[tokio::test]
async fn a_full_day_is_left_alone_until_google_s_midnight() {
    let fake = FakeGemini::start().await;
    fake.script(vec![Answer::QuotaDay]);
    let gemini = client(settings(&fake));
    assert!(matches!(ask(&gemini).await, Err(GeminiError::Busy { per_day: true, .. })));
    let reset: DateTime<Utc> = "2026-11-22T08:00:00Z".parse().unwrap();
    assert_eq!(ask(&gemini).await, Err(GeminiError::Open { until: reset }));
    assert!(gemini.judge(reset, &question(), "b").await.is_ok());
}

#[tokio::test]
async fn a_429_without_details_counts_as_a_failure_only() {
    let fake = FakeGemini::start().await;
    let bare = json!({"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).",
        "status": "RESOURCE_EXHAUSTED"}});
    fake.script(vec![Answer::Status(429, bare)]);
    let gemini = client(settings(&fake));
    assert_eq!(ask(&gemini).await, Err(GeminiError::Busy { retry_after: None, per_day: false }));
    assert!(ask(&gemini).await.is_ok());
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_within_the_call() {
    let internal =
        json!({"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}});
    for bad in [
        Answer::Status(500, internal),
        Answer::Status(503, json!({})),
        Answer::Html502,
        Answer::CutBody,
        Answer::Garbage,
    ] {
        let fake = FakeGemini::start().await;
        fake.script(vec![bad.clone(), Answer::Judge(good())]);
        let judgement = ask(&client(settings(&fake))).await.unwrap();
        assert_eq!(judgement.category.as_deref(), Some("billing"), "{bad:?}");
        assert_eq!(fake.requests().len(), 2, "{bad:?}");
    }
}

#[tokio::test]
async fn three_tries_are_enough() {
    let fake = FakeGemini::start().await;
    fake.otherwise(Answer::Status(503, json!({})));
    let error = ask(&client(settings(&fake))).await.unwrap_err();
    assert_eq!(error.to_string(), "Gemini can't be reached: it answered with HTTP status 503");
    assert_eq!(fake.requests().len(), 3);
}

#[tokio::test]
async fn neither_silence_nor_a_dripping_body_holds_a_call_past_its_deadline() {
    for bad in [Answer::Hang, Answer::Drip] {
        let fake = FakeGemini::start().await;
        fake.otherwise(bad.clone());
        let gemini = client(Settings { timeout: Duration::from_millis(250), ..settings(&fake) });
        let started = tokio::time::Instant::now();
        let error = ask(&gemini).await.unwrap_err();
        assert_eq!(error.to_string(), "Gemini can't be reached: no complete answer in time", "{bad:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{bad:?}");
        assert_eq!(fake.requests().len(), 1, "{bad:?}");
    }
}

#[tokio::test]
async fn an_answer_too_big_to_be_one_is_not_read_to_its_end() {
    let fake = FakeGemini::start().await;
    fake.script(vec![Answer::Big(3 << 20)]);
    let error = ask(&client(settings(&fake))).await.unwrap_err();
    assert_eq!(error.to_string(), "Gemini can't be reached: the answer is too big to be one");
}

#[tokio::test]
async fn an_unusable_answer_gets_one_repair_try_that_costs_what_it_costs() {
    let mut invented = good();
    invented["category"] = json!("whatever");
    for bad in [Answer::Text("Sure! Here it is".into()), Answer::MaxTokens, Answer::Judge(invented)] {
        let fake = FakeGemini::start().await;
        fake.script(vec![bad.clone(), Answer::Judge(good())]);
        let judgement = ask(&client(settings(&fake))).await.unwrap();
        assert_eq!(judgement.category.as_deref(), Some("billing"), "{bad:?}");
        assert!(judgement.discarded.is_empty(), "{bad:?}");
        assert_eq!((judgement.tokens_in, judgement.tokens_out), (Some(118), Some(18)), "{bad:?}");
        let requests = fake.requests();
        assert_eq!(requests.len(), 2, "{bad:?}");
        assert!(requests[1]["systemInstruction"].to_string().contains("was not accepted"), "{bad:?}");
    }
}

#[tokio::test]
async fn two_unusable_answers_are_the_end() {
    let fake = FakeGemini::start().await;
    fake.otherwise(Answer::Text("no".into()));
    let gemini = client(settings(&fake));
    let error = ask(&gemini).await.unwrap_err();
    assert_eq!(error.to_string(), "Gemini gave no usable judgement: it was not JSON");
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_half_good_answer_is_kept_when_its_repair_fails() {
    let mut half = good();
    half["category"] = json!("whatever");
    for second in
        [Answer::Text("no".into()), Answer::Safety, Answer::QuotaDay, Answer::Status(400, json!({}))]
    {
        let fake = FakeGemini::start().await;
        fake.script(vec![Answer::Judge(half.clone()), second.clone()]);
        let judgement = ask(&client(settings(&fake))).await.unwrap();
        assert_eq!(judgement.category, None, "{second:?}");
        assert_eq!(judgement.skills, ["invoices"], "{second:?}");
        assert_eq!(judgement.discarded, ["category"], "{second:?}");
    }
}

#[tokio::test]
async fn blocked_tickets_are_not_asked_about_again() {
    for (answer, reason) in [(Answer::Blocked, "PROHIBITED_CONTENT"), (Answer::Safety, "SAFETY")] {
        let fake = FakeGemini::start().await;
        fake.otherwise(answer);
        let gemini = client(settings(&fake));
        for _ in 0..5 {
            let error = ask(&gemini).await.unwrap_err();
            assert!(
                matches!(&error, GeminiError::Blocked { reason: said, tokens_in: Some(59), .. } if said == reason)
            );
        }
        assert_eq!(fake.requests().len(), 5, "a blocked ticket says nothing against the service");
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_in_words_without_the_key_and_opens_the_circuit_at_once() {
    let fake = FakeGemini::start().await;
    let gemini = client(Settings { api_key: SecretString::from("AIza-wrong"), ..settings(&fake) });
    let error = ask(&gemini).await.unwrap_err();
    assert!(matches!(error, GeminiError::Refused { status: 400, .. }));
    assert!(error.to_string().contains("the API key is not valid"), "{error}");
    for text in [format!("{error} {error:?}"), format!("{gemini:?}")] {
        assert!(!text.contains("AIza-wrong"), "{text}");
    }
    let GeminiError::Open { until } = ask(&gemini).await.unwrap_err() else {
        panic!("the circuit is closed")
    };
    assert!(until >= noon() + TimeDelta::minutes(5));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn an_unknown_model_is_a_readable_refusal() {
    let fake = FakeGemini::start().await;
    let gemini = client(Settings { model: "gemini-1.5-pro".into(), ..settings(&fake) });
    let error = ask(&gemini).await.unwrap_err();
    let words =
        "Gemini refused the request with HTTP status 404: the model is unknown: check model in [gemini]";
    assert_eq!(error.to_string(), words);
    assert_eq!(gemini.check().await.unwrap_err().to_string(), words);
}

#[tokio::test]
async fn a_thinking_level_that_the_model_does_not_take_is_hinted_at() {
    let fake = FakeGemini::start().await;
    let settings = Settings {
        model: "gemini-3.8-flash".into(),
        thinking_level: Some("minimal".into()),
        ..settings(&fake)
    };
    let error = ask(&client(settings)).await.unwrap_err();
    assert!(error.to_string().contains("thinking_level"), "{error}");
    assert_eq!(fake.refusals(), ["Thinking level MINIMAL is not supported for this model."]);
}

#[tokio::test]
async fn the_circuit_opens_after_three_failed_calls_and_one_good_one_closes_it() {
    let fake = FakeGemini::start().await;
    fake.otherwise(Answer::Status(503, json!({})));
    let gemini = client(settings(&fake));
    for _ in 0..3 {
        assert!(matches!(ask(&gemini).await, Err(GeminiError::Unavailable { .. })));
    }
    let GeminiError::Open { until } = ask(&gemini).await.unwrap_err() else {
        panic!("the circuit is closed")
    };
    assert_eq!(fake.requests().len(), 9);
    // Half open: one failure is enough to open it again, and for longer.
    assert!(matches!(gemini.judge(until, &question(), "b").await, Err(GeminiError::Unavailable { .. })));
    let error = gemini.judge(until, &question(), "b").await.unwrap_err();
    let GeminiError::Open { until: later } = error else { panic!("the circuit is closed") };
    assert!(later - until >= TimeDelta::seconds(60));
    fake.otherwise(Answer::Judge(good()));
    for _ in 0..3 {
        assert!(gemini.judge(later, &question(), "b").await.is_ok());
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let gone = settings(&FakeGemini::start().await);
    // The fake went with its handle, but its socket may outlive it for a moment: whatever comes, it is no judgement.
    let error = ask(&client(gone)).await.unwrap_err();
    assert!(matches!(error, GeminiError::Unavailable { .. }), "{error}");
    assert!(!format!("{error:?}").contains("127.0.0.1"), "{error:?}");
}

#[tokio::test]
async fn doctor_learns_the_model_s_name_or_what_is_wrong() {
    let fake = FakeGemini::start().await;
    assert_eq!(client(settings(&fake)).check().await.unwrap(), "Gemini of the tests");
    let wrong = client(Settings { api_key: SecretString::from("nope"), ..settings(&fake) });
    assert!(wrong.check().await.unwrap_err().to_string().contains("API key"));
}

#[test]
fn settings_that_can_not_work_are_refused_before_anything_is_sent() {
    let good = Settings {
        base_url: "https://generativelanguage.googleapis.com".into(),
        model: MODEL.into(),
        thinking_level: None,
        api_key: SecretString::from(KEY),
        timeout: Duration::from_secs(1),
    };
    let url = |base_url: &str| Settings { base_url: base_url.into(), ..good.clone() };
    let model = |model: &str| Settings { model: model.into(), ..good.clone() };
    let key = |key: &str| Settings { api_key: SecretString::from(key), ..good.clone() };
    let bad = [
        url("gemini"),
        url("ftp://x"),
        url("https://x/?key=1"),
        url("https://user:pass@x"),
        model(""),
        model("../../secrets"),
        model("a/b"),
        key(""),
        key("a\nb"),
    ];
    for settings in bad {
        let shown = format!("{settings:?}");
        let error = Gemini::new(settings).unwrap_err();
        assert!(format!("{error:#}").contains("[gemini]"), "{shown}: {error:#}");
    }
    assert!(Gemini::new(good).is_ok());
}

#[tokio::test]
async fn the_fake_refuses_what_the_real_one_refuses() {
    let fake = FakeGemini::start().await;
    let url = format!("{}/v1beta/models/{MODEL}:generateContent", fake.base_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let schema = |schema: Value| {
        json!({"contents": [{"parts": [{"text": "x"}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}})
    };
    let thinking = json!({"thinkingLevel": "low", "thinkingBudget": 0});
    let cases = [
        (json!({"content": []}), "Unknown name \"content\": Cannot find field."),
        (
            schema(json!({"type": "OBJECT", "additionalProperties": false})),
            "Unknown name \"additionalProperties\" at 'generation_config.response_schema'",
        ),
        (
            schema(json!({"type": "OBJECT", "properties": {"a": {"const": 1}}})),
            "Unknown name \"const\" at 'generation_config.response_schema.properties[a]'",
        ),
        (schema(json!({"type": "OBJECT"})), "should be non-empty for OBJECT type"),
        (schema(json!({"type": "ARRAY"})), "items: missing field"),
        (schema(json!({"type": "STRING", "enum": ["a", ""]})), "enum[1]: cannot be empty"),
        (
            schema(json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["b"]})),
            "required[0]: property is not defined",
        ),
        (
            json!({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"thinkingConfig": thinking}}),
            "only one of thinking budget",
        ),
        (json!({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}), "valid role"),
        (
            json!({"contents": [{"parts": [{"text": 1}]}]}),
            "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 1",
        ),
        (json!({}), "contents is not specified"),
    ];
    for (body, words) in cases {
        let response = http.post(&url).header("x-goog-api-key", KEY).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        let error: Value = response.json().await.unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let body = json!({"contents": [{"parts": [{"text": "x"}]}]});
    assert_eq!(http.post(&url).json(&body).send().await.unwrap().status(), 403);
    let in_query = format!("{url}?key={KEY}");
    assert_eq!(http.post(in_query).json(&body).send().await.unwrap().status(), 400);
    assert_eq!(http.post(&url).header("x-goog-api-key", KEY).json(&body).send().await.unwrap().status(), 200);
}
