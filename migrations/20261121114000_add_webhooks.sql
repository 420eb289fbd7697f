-- Who outside is told of what happens to tickets, the stream of events, and the ground for reports.

-- Webhooks (module tickets).
CREATE TABLE webhooks (
    id              BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT webhooks_pk PRIMARY KEY,
    name            TEXT        NOT NULL CONSTRAINT webhooks_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    url             TEXT        NOT NULL CONSTRAINT webhooks_url_shape CHECK (url ~ '^https?://' AND char_length(url) <= 2000),
    secret          TEXT        NOT NULL,
    previous_secret TEXT,
    previous_until  TIMESTAMPTZ,
    kinds           TEXT[]      NOT NULL DEFAULT '{}',
    active          BOOLEAN     NOT NULL DEFAULT TRUE,
    created_by      BIGINT      CONSTRAINT webhooks_created_by REFERENCES persons (id),
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,
    failing_since   TIMESTAMPTZ,
    last_error      TEXT,
    unanswered      INT         NOT NULL DEFAULT 0,
    held_until      TIMESTAMPTZ
);
COMMENT ON TABLE webhooks IS 'Servers that are told of events, by signed POST.';
COMMENT ON COLUMN webhooks.url IS 'may hold a secret of the receiver''s: for admins only, and never logged';
COMMENT ON COLUMN webhooks.secret IS 'signs what is sent, so it is stored as it is; shown once, when it is made';
COMMENT ON COLUMN webhooks.previous_secret IS 'signs as well until previous_until, so that a receiver has time to change it';
COMMENT ON COLUMN webhooks.kinds IS 'which events it wants; empty: all';
COMMENT ON COLUMN webhooks.failing_since IS 'when the first send after the last good one failed; after three days it is switched off';
COMMENT ON COLUMN webhooks.last_error IS 'why the last send failed, or why it was switched off';
COMMENT ON COLUMN webhooks.unanswered IS 'sends in a row that got no answer at all: each takes a place for seconds';
COMMENT ON COLUMN webhooks.held_until IS 'not tried before: nothing answered there';

CREATE TABLE webhook_deliveries (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT webhook_deliveries_pk PRIMARY KEY,
    webhook_id BIGINT      NOT NULL CONSTRAINT webhook_deliveries_webhook REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id   BIGINT      CONSTRAINT webhook_deliveries_event REFERENCES ticket_events (id) ON DELETE CASCADE,
    state      TEXT        NOT NULL DEFAULT 'waiting' CONSTRAINT webhook_deliveries_state_known CHECK (state IN ('waiting', 'sent', 'failed', 'cancelled')),
    since      TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    sent_at    TIMESTAMPTZ,
    CONSTRAINT webhook_deliveries_once UNIQUE (event_id, webhook_id)
);
COMMENT ON TABLE webhook_deliveries IS 'One event on its way to one webhook.';
COMMENT ON COLUMN webhook_deliveries.event_id IS 'NULL: a ping, which an admin asked for';
COMMENT ON COLUMN webhook_deliveries.since IS 'from when its day of attempts is counted: created, or put back to work by a person';
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (created_at);

CREATE TABLE webhook_attempts (
    id          BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT webhook_attempts_pk PRIMARY KEY,
    delivery_id BIGINT      NOT NULL CONSTRAINT webhook_attempts_delivery REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    at          TIMESTAMPTZ NOT NULL,
    status      INT,
    took_ms     INT         NOT NULL,
    error       TEXT
);
COMMENT ON COLUMN webhook_attempts.status IS 'of the HTTP answer; NULL: there was none';
COMMENT ON COLUMN webhook_attempts.error IS 'why it did not arrive, in our words; nothing of the answer''s body';
CREATE INDEX webhook_attempts_of_delivery ON webhook_attempts (delivery_id, id);

-- The stream of events. Ids are given before the commit, so the largest id seen says nothing about smaller ones that commit
-- later; transaction ids below every running transaction's do.
ALTER TABLE ticket_events ADD COLUMN xid XID8 NOT NULL DEFAULT pg_current_xact_id();
COMMENT ON COLUMN ticket_events.xid IS 'the transaction that entered it: the order of the stream of events is (xid, id)';
CREATE INDEX ticket_events_stream ON ticket_events (xid, id);

-- Reports.
CREATE VIEW reported_tickets AS
    SELECT id, status, priority, category, channel, requester_id, assignee_id, category_set, priority_set, skills_set,
           created_at, first_response_at, resolved_at
    FROM tickets WHERE deleted_at IS NULL;
COMMENT ON VIEW reported_tickets IS 'The tickets that reports count: the one place for a condition that leaves some out.';
CREATE INDEX tickets_first_response ON tickets (first_response_at) WHERE first_response_at IS NOT NULL;
CREATE INDEX tickets_resolution ON tickets (resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX ticket_events_status ON ticket_events (at) WHERE kind = 'status';
CREATE INDEX csat_answers_answered ON csat_answers (answered_at);
-- What is written once, in the order of time: a range of blocks is enough, and costs an insert nothing.
CREATE INDEX triages_at ON triages USING brin (at) WITH (autosummarize = on);
CREATE INDEX assignments_at ON assignments USING brin (at) WITH (autosummarize = on);
CREATE INDEX messages_created ON messages USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX deliveries_created ON deliveries USING brin (created_at) WITH (autosummarize = on);
