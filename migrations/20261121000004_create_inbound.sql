-- The ledger of everything that ever arrived (module ingest).
CREATE TABLE mailboxes (
    name        TEXT        NOT NULL CONSTRAINT mailboxes_pk PRIMARY KEY,
    uidvalidity BIGINT,
    last_uid    BIGINT      NOT NULL DEFAULT 0,
    checked_at  TIMESTAMPTZ,
    failing_since TIMESTAMPTZ,
    last_error  TEXT
);
COMMENT ON TABLE mailboxes IS 'How far each configured mailbox was read, and how it fares.';
COMMENT ON COLUMN mailboxes.last_uid IS 'every UID up to this one is in the ledger, under this UIDVALIDITY';

CREATE TABLE raw_mails (
    sha256  BYTEA NOT NULL CONSTRAINT raw_mails_pk PRIMARY KEY CONSTRAINT raw_mails_sha256_length CHECK (octet_length(sha256) = 32),
    content BYTEA NOT NULL
);
COMMENT ON TABLE raw_mails IS 'The bytes as they came, each content kept once.';

CREATE TABLE inbound (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT inbound_pk PRIMARY KEY,
    source       TEXT        NOT NULL CONSTRAINT inbound_source_known CHECK (source IN ('imap', 'maildir', 'pipe', 'demo')),
    mailbox      TEXT        NOT NULL,
    uidvalidity  BIGINT,
    uid          BIGINT,
    name         TEXT,
    raw_sha256   BYTEA       CONSTRAINT inbound_raw REFERENCES raw_mails (sha256),
    fingerprint  BYTEA       CONSTRAINT inbound_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    received_at  TIMESTAMPTZ NOT NULL,
    handled_at   TIMESTAMPTZ,
    fate         TEXT        CONSTRAINT inbound_fate_known CHECK (fate IN ('ticketed', 'appended', 'suppressed', 'quarantined', 'duplicate')),
    reason       TEXT,
    ticket_id    BIGINT,
    duplicate_of BIGINT      CONSTRAINT inbound_duplicate_of REFERENCES inbound (id),
    acted        BOOLEAN     NOT NULL DEFAULT FALSE,
    CONSTRAINT inbound_uid_once UNIQUE (mailbox, uidvalidity, uid),
    CONSTRAINT inbound_name_once UNIQUE (source, mailbox, name)
);
COMMENT ON TABLE inbound IS 'One row for every mail that was ever seen, with its fate.';
COMMENT ON COLUMN inbound.name IS 'what tells this copy from others where there is no UID: the unique file name in a Maildir';
COMMENT ON COLUMN inbound.fingerprint IS 'the same for the same mail whichever way it came: Message-ID plus content';
COMMENT ON COLUMN inbound.fate IS 'NULL: not yet understood; a job is on it';
COMMENT ON COLUMN inbound.acted IS 'the configured after-action (seen, move, delete) has been done on the server';
CREATE INDEX inbound_unacted ON inbound (mailbox, uidvalidity, uid) WHERE NOT acted AND uid IS NOT NULL;
CREATE INDEX inbound_unhandled ON inbound (id) WHERE fate IS NULL;
CREATE INDEX inbound_quarantined ON inbound (id) WHERE fate = 'quarantined';
-- Two workers that hold copies of one mail meet here: one of them becomes the duplicate.
CREATE UNIQUE INDEX inbound_fingerprint_once ON inbound (fingerprint) WHERE fate IN ('ticketed', 'appended', 'suppressed');
