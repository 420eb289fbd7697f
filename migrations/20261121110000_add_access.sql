-- Who is let in by HTTP, what admins did, and the ground for reports.

-- People: log-ins and tokens for machines.
CREATE TABLE sessions (
    id            BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT sessions_pk PRIMARY KEY,
    person_id     BIGINT      NOT NULL CONSTRAINT sessions_person REFERENCES persons (id) ON DELETE CASCADE,
    method        TEXT        NOT NULL CONSTRAINT sessions_method_known CHECK (method IN ('password', 'totp', 'oidc')),
    user_agent    TEXT        NOT NULL DEFAULT '',
    created_at    TIMESTAMPTZ NOT NULL,
    last_used_at  TIMESTAMPTZ NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL,
    revoked_at    TIMESTAMPTZ
);
COMMENT ON TABLE sessions IS 'One log-in of one person: a family of refresh tokens, which ends as a whole.';
COMMENT ON COLUMN sessions.method IS 'how the person proved who they are: password; password and second factor; another''s sign-in';
COMMENT ON COLUMN sessions.last_used_at IS 'when it was last refreshed';
CREATE INDEX sessions_of_person ON sessions (person_id, id);
CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    token_hash BYTEA       NOT NULL CONSTRAINT refresh_tokens_pk PRIMARY KEY CONSTRAINT refresh_tokens_length CHECK (octet_length(token_hash) = 32),
    session_id BIGINT      NOT NULL CONSTRAINT refresh_tokens_session REFERENCES sessions (id) ON DELETE CASCADE,
    issued_at  TIMESTAMPTZ NOT NULL,
    used_at    TIMESTAMPTZ
);
COMMENT ON TABLE refresh_tokens IS 'Each is good for one use; one that is shown twice was stolen, and ends its session.';
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of 256 random bits: nobody can log in with what the database holds';
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);

-- Log-ins are ended one by one now.
ALTER TABLE credentials DROP COLUMN generation;

CREATE TABLE api_tokens (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT api_tokens_pk PRIMARY KEY,
    person_id    BIGINT      NOT NULL CONSTRAINT api_tokens_person REFERENCES persons (id) ON DELETE CASCADE,
    name         TEXT        NOT NULL,
    token_hash   BYTEA       NOT NULL CONSTRAINT api_tokens_hash_once UNIQUE CONSTRAINT api_tokens_length CHECK (octet_length(token_hash) = 32),
    hint         TEXT        NOT NULL,
    scopes       TEXT[]      NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ
);
COMMENT ON TABLE api_tokens IS 'What a program shows instead of a person: the person''s rights, less what the scopes leave out.';
COMMENT ON COLUMN api_tokens.hint IS 'the last four characters, to tell tokens apart';
CREATE INDEX api_tokens_of_person ON api_tokens (person_id, id);

-- What admins did, and what happened to accounts (module audit).
CREATE TABLE audit_log (
    seq       BIGINT      NOT NULL CONSTRAINT audit_log_pk PRIMARY KEY CONSTRAINT audit_log_seq_positive CHECK (seq > 0),
    at        TIMESTAMPTZ NOT NULL,
    actor_id  BIGINT,
    token_id  BIGINT,
    channel   TEXT        NOT NULL,
    action    TEXT        NOT NULL,
    subject   TEXT        NOT NULL,
    data      JSONB       NOT NULL DEFAULT '{}',
    hash      BYTEA       NOT NULL CONSTRAINT audit_log_hash_length CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE audit_log IS 'Append-only. Entries are numbered without gaps, and each hash covers the entry and the hash before it: what is changed or removed shows.';
COMMENT ON COLUMN audit_log.actor_id IS 'the person (no foreign key: history outlives people); NULL: a command on the server, or nobody known';
COMMENT ON COLUMN audit_log.token_id IS 'the API token it was done with';
COMMENT ON COLUMN audit_log.subject IS 'what it was done to: kind:id';
CREATE INDEX audit_log_of_actor ON audit_log (actor_id, seq);
CREATE INDEX audit_log_of_subject ON audit_log (subject, seq);

CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Requests that must not be done twice (module web).
CREATE TABLE idempotency_keys (
    person_id    BIGINT      NOT NULL CONSTRAINT idempotency_keys_person REFERENCES persons (id) ON DELETE CASCADE,
    key          TEXT        NOT NULL,
    request_hash BYTEA       NOT NULL,
    status       INT         NOT NULL,
    body         TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    CONSTRAINT idempotency_keys_pk PRIMARY KEY (person_id, key)
);
COMMENT ON TABLE idempotency_keys IS 'Answers of requests that carried a key, stored in the transaction that did what was asked: the same key again gets the same answer, and nothing is done.';
CREATE INDEX idempotency_keys_old ON idempotency_keys (created_at);

-- Tickets: what reports ask for again and again.
ALTER TABLE tickets ADD COLUMN first_response_at TIMESTAMPTZ;
COMMENT ON COLUMN tickets.first_response_at IS 'when staff first answered';
UPDATE tickets t SET first_response_at = m.at
FROM (SELECT ticket_id, min(created_at) AS at FROM messages WHERE kind = 'outbound' AND author_id IS NOT NULL AND withdrawn_at IS NULL GROUP BY 1) AS m
WHERE m.ticket_id = t.id;

CREATE TABLE csat_answers (
    ticket_id   BIGINT      NOT NULL CONSTRAINT csat_answers_pk PRIMARY KEY CONSTRAINT csat_answers_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    score       INT         NOT NULL CONSTRAINT csat_answers_score_range CHECK (score BETWEEN 1 AND 5),
    comment     TEXT        NOT NULL DEFAULT '',
    answered_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE csat_answers IS 'How content requesters were with what became of their tickets: 1 (not at all) to 5 (fully).';
