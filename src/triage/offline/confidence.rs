//! How often a ranking like this one is right.

use super::Ranked;

/// Between 0 and 1; 0 when nothing speaks for any label.
pub(super) fn of(ranked: &[Ranked]) -> f32 {
    let best = ranked.first().map_or(0.0, |first| first.score);
    let next = ranked.get(1).map_or(0.0, |second| second.score);
    if best <= 0.0 {
        return 0.0;
    }
    let margin = (best - next) / best;
    1.0 / (1.0 + (-(2.0 * margin + 0.5 * best.ln() - 1.0)).exp())
}
