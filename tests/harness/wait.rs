//! Waiting for what has no event of its own. The one place that asks again and again.

use std::time::Duration;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// Waits until it holds; a test whose patience ends fails with `what`.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(within(PATIENCE, holds).await, "this did not come to pass within {PATIENCE:?}: {what}");
}

/// Whether it comes to hold within this time.
pub async fn within(limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let mut step = tokio::time::interval(STEP);
    step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let asking = async {
        while !holds().await {
            step.tick().await;
        }
    };
    tokio::time::timeout(limit, asking).await.is_ok()
}
