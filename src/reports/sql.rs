//! The statements of the reports. Each finds the day of a moment among the bounds of the range (`$1`), takes the day's name
//! from the list beside it (`$2`), and gives the totals as rows without a day, after the others.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{
    AccuracyRow, CategoryRow, DeliveriesRow, GeminiFailuresRow, GeminiRow, ModeratorRow, Range, RoutingRow,
    SatisfactionRow, SkillGapRow, SkillRow, TicketsRow, TimesRow,
};

/// Tickets that were active when the range begins: those that are now, less what came since, and what left since back.
pub(super) async fn backlog(db: &PgPool, begins: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM reported_tickets WHERE status IN ('new', 'open', 'pending'))
                  - (SELECT count(*) FROM reported_tickets WHERE created_at >= $1)
                  + (SELECT count(*) FILTER (WHERE was AND NOT is_now) - count(*) FILTER (WHERE is_now AND NOT was)
                     FROM (SELECT e.data->>'from' IN ('new', 'open', 'pending') AS was,
                                  e.data->>'to' IN ('new', 'open', 'pending') AS is_now
                           FROM ticket_events e JOIN reported_tickets t ON t.id = e.ticket_id
                           WHERE e.kind = 'status' AND e.at >= $1) AS moves) AS "backlog!""#,
        begins
    )
    .fetch_one(db)
    .await
}

pub(super) async fn tickets(db: &PgPool, range: &Range) -> sqlx::Result<Vec<TicketsRow>> {
    sqlx::query_as!(
        TicketsRow,
        r#"WITH facts AS (
             SELECT width_bucket(created_at, $1::TIMESTAMPTZ[]) AS n, NULL AS was, NULL AS is_now
             FROM reported_tickets WHERE created_at >= $3 AND created_at < $4
             UNION ALL
             SELECT width_bucket(e.at, $1::TIMESTAMPTZ[]), e.data->>'from', e.data->>'to'
             FROM ticket_events e JOIN reported_tickets t ON t.id = e.ticket_id
             WHERE e.kind = 'status' AND e.at >= $3 AND e.at < $4
           )
           SELECT d.day AS "day?", count(*) FILTER (WHERE f.n IS NOT NULL AND is_now IS NULL) AS "created!",
                  count(*) FILTER (WHERE is_now = 'resolved' OR is_now = 'closed' AND was <> 'resolved') AS "resolved!",
                  count(*) FILTER (WHERE is_now = 'closed') AS "closed!",
                  count(*) FILTER (WHERE was IN ('resolved', 'closed') AND is_now IN ('new', 'open', 'pending')) AS "reopened!",
                  NULL::BIGINT AS backlog,
                  count(*) FILTER (WHERE was IN ('new', 'open', 'pending') AND is_now IN ('resolved', 'closed')) AS "left!"
           FROM unnest($2::DATE[]) WITH ORDINALITY AS d (day, n) LEFT JOIN facts f ON f.n = d.n
           GROUP BY d.n, d.day ORDER BY d.n"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn times(db: &PgPool, range: &Range) -> sqlx::Result<Vec<TimesRow>> {
    sqlx::query_as!(
        TimesRow,
        r#"WITH facts AS (
             SELECT width_bucket(first_response_at, $1::TIMESTAMPTZ[]) AS n,
                    extract(epoch FROM first_response_at - created_at)::FLOAT8 AS response, NULL::FLOAT8 AS resolution
             FROM reported_tickets WHERE first_response_at >= $3 AND first_response_at < $4
             UNION ALL
             SELECT width_bucket(resolved_at, $1::TIMESTAMPTZ[]), NULL, extract(epoch FROM resolved_at - created_at)::FLOAT8
             FROM reported_tickets WHERE resolved_at >= $3 AND resolved_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, count(response) AS "first_responses!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY response)::BIGINT AS first_response_median,
                  percentile_cont(0.9) WITHIN GROUP (ORDER BY response)::BIGINT AS first_response_p90,
                  count(resolution) AS "resolutions!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY resolution)::BIGINT AS resolution_median,
                  percentile_cont(0.9) WITHIN GROUP (ORDER BY resolution)::BIGINT AS resolution_p90
           FROM facts GROUP BY GROUPING SETS ((n), ()) ORDER BY n NULLS LAST"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

/// Everybody on staff is in the totals, whatever they did.
pub(super) async fn moderators(db: &PgPool, range: &Range) -> sqlx::Result<Vec<ModeratorRow>> {
    sqlx::query_as!(
        ModeratorRow,
        r#"WITH facts AS (
             SELECT a.assignee_id AS person, width_bucket(a.at, $1::TIMESTAMPTZ[]) AS n, a.ticket_id AS assigned,
                    NULL::BIGINT AS replied, NULL::BIGINT AS resolved, NULL::FLOAT8 AS response
             FROM assignments a JOIN reported_tickets t ON t.id = a.ticket_id
             WHERE a.at >= $3 AND a.at < $4 AND a.assignee_id IS NOT NULL
             UNION ALL
             SELECT m.author_id, width_bucket(m.created_at, $1::TIMESTAMPTZ[]), NULL, m.id, NULL,
                    CASE WHEN m.created_at = t.first_response_at
                         THEN extract(epoch FROM m.created_at - t.created_at)::FLOAT8 END
             FROM messages m JOIN reported_tickets t ON t.id = m.ticket_id
             WHERE m.created_at >= $3 AND m.created_at < $4 AND m.kind = 'outbound' AND m.author_id IS NOT NULL
               AND m.withdrawn_at IS NULL
             UNION ALL
             SELECT assignee_id, width_bucket(resolved_at, $1::TIMESTAMPTZ[]), NULL, NULL, id, NULL
             FROM reported_tickets WHERE resolved_at >= $3 AND resolved_at < $4 AND assignee_id IS NOT NULL
             UNION ALL
             SELECT id, NULL, NULL, NULL, NULL, NULL FROM persons WHERE active AND role <> 'user'
           ), sums AS (
             SELECT person, n, GROUPING(n) = 1 AS is_total, count(DISTINCT assigned) AS assigned, count(replied) AS replied,
                    count(resolved) AS resolved, percentile_cont(0.5) WITHIN GROUP (ORDER BY response)::BIGINT AS response
             FROM facts GROUP BY GROUPING SETS ((person, n), (person)) HAVING GROUPING(n) = 1 OR n IS NOT NULL
           )
           SELECT ($2::DATE[])[s.n] AS day, p.id AS "person_id!", p.name AS "name!", s.assigned AS "assigned!",
                  s.replied AS "replied!", s.resolved AS "resolved!", s.response AS first_response_median,
                  CASE WHEN s.is_total THEN (SELECT count(*) FROM reported_tickets t
                                             WHERE t.assignee_id = p.id AND t.status IN ('new', 'open', 'pending')) END AS open_now
           FROM sums s JOIN persons p ON p.id = s.person ORDER BY s.n NULLS LAST, p.name, p.id"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn skills(db: &PgPool, range: &Range) -> sqlx::Result<Vec<SkillRow>> {
    sqlx::query_as!(
        SkillRow,
        r#"WITH facts AS (
             SELECT width_bucket(created_at, $1::TIMESTAMPTZ[]) AS n, id, TRUE AS created, NULL::FLOAT8 AS response,
                    NULL::FLOAT8 AS resolution
             FROM reported_tickets WHERE created_at >= $3 AND created_at < $4
             UNION ALL
             SELECT width_bucket(first_response_at, $1::TIMESTAMPTZ[]), id, NULL,
                    extract(epoch FROM first_response_at - created_at)::FLOAT8, NULL
             FROM reported_tickets WHERE first_response_at >= $3 AND first_response_at < $4
             UNION ALL
             SELECT width_bucket(resolved_at, $1::TIMESTAMPTZ[]), id, NULL, NULL,
                    extract(epoch FROM resolved_at - created_at)::FLOAT8
             FROM reported_tickets WHERE resolved_at >= $3 AND resolved_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, s.slug AS "skill!", count(created) AS "created!", count(resolution) AS "resolved!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY response)::BIGINT AS first_response_median,
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY resolution)::BIGINT AS resolution_median
           FROM facts JOIN ticket_skills ts ON ts.ticket_id = facts.id JOIN skills s ON s.id = ts.skill_id
           GROUP BY GROUPING SETS ((s.slug, n), (s.slug)) ORDER BY n NULLS LAST, s.slug"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn categories(db: &PgPool, range: &Range) -> sqlx::Result<Vec<CategoryRow>> {
    sqlx::query_as!(
        CategoryRow,
        r#"WITH facts AS (
             SELECT width_bucket(created_at, $1::TIMESTAMPTZ[]) AS n, category, TRUE AS created, NULL::FLOAT8 AS response,
                    NULL::FLOAT8 AS resolution
             FROM reported_tickets WHERE created_at >= $3 AND created_at < $4
             UNION ALL
             SELECT width_bucket(first_response_at, $1::TIMESTAMPTZ[]), category, NULL,
                    extract(epoch FROM first_response_at - created_at)::FLOAT8, NULL
             FROM reported_tickets WHERE first_response_at >= $3 AND first_response_at < $4
             UNION ALL
             SELECT width_bucket(resolved_at, $1::TIMESTAMPTZ[]), category, NULL, NULL,
                    extract(epoch FROM resolved_at - created_at)::FLOAT8
             FROM reported_tickets WHERE resolved_at >= $3 AND resolved_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, category, count(created) AS "created!", count(resolution) AS "resolved!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY response)::BIGINT AS first_response_median,
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY resolution)::BIGINT AS resolution_median
           FROM facts GROUP BY GROUPING SETS ((category, n), (category)) ORDER BY n NULLS LAST, category NULLS LAST"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

/// Tickets that nobody fits are looked at again and again: the first choice for each counts.
pub(super) async fn routing(db: &PgPool, range: &Range) -> sqlx::Result<Vec<RoutingRow>> {
    sqlx::query_as!(
        RoutingRow,
        r#"WITH decided AS (
             SELECT width_bucket(a.at, $1::TIMESTAMPTZ[]) AS n, a.outcome
             FROM assignments a JOIN reported_tickets t ON t.id = a.ticket_id
             WHERE a.at >= $3 AND a.at < $4 AND a.decided_by IS NULL
               AND NOT EXISTS (SELECT FROM assignments b WHERE b.ticket_id = a.ticket_id AND b.decided_by IS NULL AND b.id < a.id)
           )
           SELECT ($2::DATE[])[n] AS day, count(*) AS "decided!", count(*) FILTER (WHERE outcome = 'matched') AS "matched!",
                  count(*) FILTER (WHERE outcome = 'fallback') AS "fallback!",
                  count(*) FILTER (WHERE outcome = 'unassigned') AS "unassigned!",
                  round(avg((outcome <> 'matched')::INT), 4)::FLOAT8 AS fallback_rate
           FROM decided GROUP BY GROUPING SETS ((n), ()) ORDER BY n NULLS LAST"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn skill_gaps(db: &PgPool, range: &Range) -> sqlx::Result<Vec<SkillGapRow>> {
    sqlx::query_as!(
        SkillGapRow,
        r#"WITH gaps AS (
             SELECT s.id, s.slug FROM skills s
             WHERE NOT EXISTS (SELECT FROM person_skills ps JOIN persons p ON p.id = ps.person_id
                               WHERE ps.skill_id = s.id AND ps.confirmed AND p.active AND p.role = 'moderator')
           ), needed AS (
             SELECT width_bucket(t.created_at, $1::TIMESTAMPTZ[]) AS n, g.slug, t.status
             FROM gaps g JOIN ticket_skills ts ON ts.skill_id = g.id JOIN reported_tickets t ON t.id = ts.ticket_id
             WHERE t.created_at >= $3 AND t.created_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, slug AS "skill!", count(*) AS "tickets!",
                  count(*) FILTER (WHERE status IN ('new', 'open', 'pending')) AS "open_now!"
           FROM needed GROUP BY GROUPING SETS ((slug, n), (slug)) ORDER BY n NULLS LAST, slug"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

/// Whoever dealt with a ticket could have corrected it: what nobody dealt with says nothing about its judgement.
pub(super) async fn accuracy(db: &PgPool, range: &Range) -> sqlx::Result<Vec<AccuracyRow>> {
    sqlx::query_as!(
        AccuracyRow,
        r#"WITH judged AS (
             SELECT width_bucket(g.at, $1::TIMESTAMPTZ[]) AS n, g.engine, g.category, g.priority, g.skills, t.id,
                    t.category_set AND t.category IS DISTINCT FROM g.category AS category_corrected,
                    t.priority_set AND t.priority IS DISTINCT FROM g.priority AS priority_corrected, t.skills_set
             FROM triages g JOIN reported_tickets t ON t.id = g.ticket_id
             WHERE g.at >= $3 AND g.at < $4
               AND NOT EXISTS (SELECT FROM triages later WHERE later.ticket_id = g.ticket_id AND later.id > g.id)
               AND (t.first_response_at IS NOT NULL OR t.resolved_at IS NOT NULL
                    OR t.category_set OR t.priority_set OR t.skills_set)
           ), facts AS (
             SELECT n, engine, 'category' AS field, category_corrected AS corrected FROM judged WHERE category IS NOT NULL
             UNION ALL
             SELECT n, engine, 'priority', priority_corrected FROM judged WHERE priority IS NOT NULL
             UNION ALL
             SELECT n, engine, 'skills',
                    CASE WHEN skills_set THEN ARRAY(SELECT s FROM unnest(skills) AS s ORDER BY s) <> ARRAY(
                           SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                           WHERE ts.ticket_id = judged.id ORDER BY s.slug)
                         ELSE FALSE END
             FROM judged
           )
           SELECT ($2::DATE[])[n] AS day, engine AS "engine!", field AS "field!", count(*) AS "judged!",
                  count(*) FILTER (WHERE corrected) AS "corrected!",
                  round(avg((NOT corrected)::INT), 4)::FLOAT8 AS accuracy
           FROM facts GROUP BY GROUPING SETS ((engine, field, n), (engine, field)) ORDER BY n NULLS LAST, engine, field"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

/// The texts are those of `triage::gemini::GeminiError`, and of the budget; they hold times and status codes.
pub(super) async fn gemini(db: &PgPool, range: &Range) -> sqlx::Result<Vec<GeminiRow>> {
    sqlx::query_as!(
        GeminiRow,
        r#"WITH judged AS (
             SELECT width_bucket(g.at, $1::TIMESTAMPTZ[]) AS n, g.engine = 'gemini' AS is_judged,
                    g.fallback_reason LIKE 'Gemini is not asked%' OR g.fallback_reason LIKE 'the daily token budget%' AS is_left_out,
                    g.took_ms, g.tokens_in, g.tokens_out
             FROM triages g JOIN reported_tickets t ON t.id = g.ticket_id
             WHERE g.at >= $3 AND g.at < $4 AND (g.engine = 'gemini' OR g.fallback_reason IS NOT NULL)
           )
           SELECT ($2::DATE[])[n] AS day, count(*) FILTER (WHERE is_judged OR NOT is_left_out) AS "asked!",
                  count(*) FILTER (WHERE is_judged) AS "judged!",
                  count(*) FILTER (WHERE NOT is_judged AND NOT is_left_out) AS "failed!",
                  count(*) FILTER (WHERE NOT is_judged AND is_left_out) AS "not_asked!",
                  (percentile_cont(0.5) WITHIN GROUP (ORDER BY took_ms) FILTER (WHERE is_judged))::BIGINT AS latency_median_ms,
                  (percentile_cont(0.9) WITHIN GROUP (ORDER BY took_ms) FILTER (WHERE is_judged))::BIGINT AS latency_p90_ms,
                  COALESCE(sum(tokens_in), 0) AS "tokens_in!", COALESCE(sum(tokens_out), 0) AS "tokens_out!"
           FROM judged GROUP BY GROUPING SETS ((n), ()) ORDER BY n NULLS LAST"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn gemini_failures(db: &PgPool, range: &Range) -> sqlx::Result<Vec<GeminiFailuresRow>> {
    sqlx::query_as!(
        GeminiFailuresRow,
        r#"WITH failures AS (
             SELECT width_bucket(g.at, $1::TIMESTAMPTZ[]) AS n,
                    CASE WHEN g.fallback_reason LIKE 'Gemini is busy%' THEN 'busy'
                         WHEN g.fallback_reason LIKE 'Gemini refused%' THEN 'refused'
                         WHEN g.fallback_reason LIKE 'Gemini gave no judgement%' THEN 'blocked'
                         WHEN g.fallback_reason LIKE 'Gemini gave no usable%' THEN 'unusable'
                         WHEN g.fallback_reason LIKE 'Gemini can''t be reached%' THEN 'unavailable'
                         WHEN g.fallback_reason LIKE 'Gemini is not asked%' THEN 'open'
                         WHEN g.fallback_reason LIKE 'the daily token budget%' THEN 'budget'
                         ELSE 'other' END AS reason
             FROM triages g JOIN reported_tickets t ON t.id = g.ticket_id
             WHERE g.at >= $3 AND g.at < $4 AND g.fallback_reason IS NOT NULL
           )
           SELECT ($2::DATE[])[n] AS day, reason AS "reason!", count(*) AS "judgements!"
           FROM failures GROUP BY GROUPING SETS ((reason, n), (reason)) ORDER BY n NULLS LAST, reason"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn deliveries(db: &PgPool, range: &Range) -> sqlx::Result<Vec<DeliveriesRow>> {
    sqlx::query_as!(
        DeliveriesRow,
        r#"WITH made AS (
             SELECT width_bucket(d.created_at, $1::TIMESTAMPTZ[]) AS n, d.channel, d.state
             FROM deliveries d JOIN reported_tickets t ON t.id = d.ticket_id
             WHERE d.created_at >= $3 AND d.created_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, channel AS "channel!", count(*) AS "created!",
                  count(*) FILTER (WHERE state = 'sent') AS "sent!",
                  count(*) FILTER (WHERE state = 'waiting') AS "waiting!",
                  count(*) FILTER (WHERE state = 'delayed') AS "delayed!",
                  count(*) FILTER (WHERE state = 'failed') AS "failed!",
                  count(*) FILTER (WHERE state = 'bounced') AS "bounced!",
                  count(*) FILTER (WHERE state = 'suppressed') AS "suppressed!",
                  count(*) FILTER (WHERE state = 'cancelled') AS "cancelled!"
           FROM made GROUP BY GROUPING SETS ((channel, n), (channel)) ORDER BY n NULLS LAST, channel"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}

pub(super) async fn satisfaction(db: &PgPool, range: &Range) -> sqlx::Result<Vec<SatisfactionRow>> {
    sqlx::query_as!(
        SatisfactionRow,
        r#"WITH answers AS (
             SELECT width_bucket(c.answered_at, $1::TIMESTAMPTZ[]) AS n, c.score
             FROM csat_answers c JOIN reported_tickets t ON t.id = c.ticket_id
             WHERE c.answered_at >= $3 AND c.answered_at < $4
           )
           SELECT ($2::DATE[])[n] AS day, count(*) AS "answers!", round(avg(score), 2)::FLOAT8 AS mean,
                  count(*) FILTER (WHERE score = 1) AS "score_1!", count(*) FILTER (WHERE score = 2) AS "score_2!",
                  count(*) FILTER (WHERE score = 3) AS "score_3!", count(*) FILTER (WHERE score = 4) AS "score_4!",
                  count(*) FILTER (WHERE score = 5) AS "score_5!"
           FROM answers GROUP BY GROUPING SETS ((n), ()) ORDER BY n NULLS LAST"#,
        range.bounds(),
        range.days(),
        range.begins(),
        range.ends()
    )
    .fetch_all(db)
    .await
}
