-- Durable work: the outbox of every change (module queue).
CREATE TABLE jobs (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT jobs_pk PRIMARY KEY,
    kind       TEXT        NOT NULL,
    subject    BIGINT      NOT NULL,
    attempt    INT         NOT NULL DEFAULT 0,
    run_at     TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    last_error TEXT,
    failed_at  TIMESTAMPTZ
);
COMMENT ON TABLE jobs IS 'Work to be done. There is no running state: a claimed job is one whose run_at lies a lease ahead.';
COMMENT ON COLUMN jobs.subject IS 'id of the row the job is about; what row that is follows from kind';
COMMENT ON COLUMN jobs.attempt IS 'how often it was claimed; the fence: only the worker that holds this number may finish it';
COMMENT ON COLUMN jobs.failed_at IS 'set when attempts ran out or the job can never succeed: the dead-letter list';
-- An unstarted job absorbs a duplicate, a started one does not: it may already have read the old state.
CREATE UNIQUE INDEX jobs_unstarted_once ON jobs (kind, subject) WHERE attempt = 0 AND failed_at IS NULL;
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE failed_at IS NULL;
CREATE INDEX jobs_failed ON jobs (failed_at) WHERE failed_at IS NOT NULL;
