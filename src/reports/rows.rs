//! The rows of the reports. Times are in seconds unless a name says otherwise; what cannot be said (the median of nothing)
//! is null.

use chrono::NaiveDate;
use serde::Serialize;

use super::Daily;

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident($row:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })),* $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
            pub struct $row {
                /// Null: the whole range.
                pub day: Option<NaiveDate>,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Daily for $row {
                fn day(&self) -> Option<NaiveDate> {
                    self.day
                }
            }

            impl From<Option<NaiveDate>> for $row {
                fn from(day: Option<NaiveDate>) -> Self {
                    Self { day, ..Self::default() }
                }
            }
        )*

        /// The rows of one report.
        #[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
        #[serde(untagged)]
        #[schema(as = ReportRows)]
        pub enum Rows {
            $($name(Vec<$row>),)*
        }

        impl Rows {
            /// One row of this kind with nothing in it, for the names of its columns.
            pub(super) fn blank(&self) -> Self {
                match self {
                    $(Self::$name(_) => Self::$name(vec![$row::default()]),)*
                }
            }

            pub(super) fn write(&self, sheet: &mut csv::Writer<Vec<u8>>) -> csv::Result<()> {
                match self {
                    $(Self::$name(rows) => rows.iter().try_for_each(|row| sheet.serialize(row)),)*
                }
            }
        }
    };
}

rows! {
    Tickets(TicketsRow {
        created: i64,
        /// How often a ticket became resolved, or was closed without.
        resolved: i64,
        closed: i64,
        /// How often one that was resolved or closed was opened again.
        reopened: i64,
        /// Tickets that were new, open or pending at the end of the day, or are so now; null: the day has not begun.
        backlog: Option<i64>,
        /// How often one ceased to be active.
        #[serde(skip)]
        left: i64,
    }),
    Times(TimesRow {
        /// Tickets that staff answered first on that day.
        first_responses: i64,
        first_response_median: Option<i64>,
        first_response_p90: Option<i64>,
        /// Tickets that were resolved on that day and are so still.
        resolutions: i64,
        resolution_median: Option<i64>,
        resolution_p90: Option<i64>,
    }),
    Moderators(ModeratorRow {
        person_id: i64,
        name: String,
        /// Tickets that were given to them.
        assigned: i64,
        /// Answers they wrote.
        replied: i64,
        /// Tickets of theirs that were resolved and are so still.
        resolved: i64,
        /// Of the tickets that they answered first.
        first_response_median: Option<i64>,
        /// Active tickets they have now; in the totals only.
        open_now: Option<i64>,
    }),
    Skills(SkillRow {
        skill: String,
        created: i64,
        resolved: i64,
        first_response_median: Option<i64>,
        resolution_median: Option<i64>,
    }),
    Categories(CategoryRow {
        /// Null: the ticket has none.
        category: Option<String>,
        created: i64,
        resolved: i64,
        first_response_median: Option<i64>,
        resolution_median: Option<i64>,
    }),
    /// The first automatic choice for each ticket.
    Routing(RoutingRow {
        decided: i64,
        matched: i64,
        fallback: i64,
        unassigned: i64,
        /// The share for which no moderator was found.
        fallback_rate: Option<f64>,
    }),
    SkillGaps(SkillGapRow {
        skill: String,
        /// Created with this skill required.
        tickets: i64,
        /// How many of them are active now.
        open_now: i64,
    }),
    /// The last judgement on each ticket that staff has dealt with since.
    Accuracy(AccuracyRow {
        engine: String,
        /// `category`, `priority` or `skills`.
        field: String,
        judged: i64,
        /// A person set something else.
        corrected: i64,
        /// The share that nobody corrected.
        accuracy: Option<f64>,
    }),
    Gemini(GeminiRow {
        /// Judgements that Gemini was asked for.
        asked: i64,
        judged: i64,
        failed: i64,
        /// Judgements that it was not asked for, because of earlier failures or the budget.
        not_asked: i64,
        latency_median_ms: Option<i64>,
        latency_p90_ms: Option<i64>,
        tokens_in: i64,
        tokens_out: i64,
    }),
    GeminiFailures(GeminiFailuresRow {
        /// `busy`, `refused`, `blocked`, `unusable`, `unavailable`, `open` (not asked after failures), `budget` or `other`.
        reason: String,
        judgements: i64,
    }),
    /// What was to be sent, by the day it was written, as it stands now.
    Deliveries(DeliveriesRow {
        channel: String,
        created: i64,
        sent: i64,
        waiting: i64,
        delayed: i64,
        failed: i64,
        bounced: i64,
        suppressed: i64,
        cancelled: i64,
    }),
    Satisfaction(SatisfactionRow {
        answers: i64,
        mean: Option<f64>,
        score_1: i64,
        score_2: i64,
        score_3: i64,
        score_4: i64,
        score_5: i64,
    }),
}
