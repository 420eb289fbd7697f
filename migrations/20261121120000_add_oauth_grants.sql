-- Access to mailboxes by OAuth 2.0 (module oauth).
CREATE TABLE oauth_grants (
    grant_key      BYTEA       NOT NULL CONSTRAINT oauth_grants_pk PRIMARY KEY,
    mailbox        TEXT        NOT NULL,
    refresh_token  BYTEA,
    generation     INT         NOT NULL DEFAULT 0,
    held_until     TIMESTAMPTZ,
    refused_at     TIMESTAMPTZ,
    refused_with   BYTEA,
    refused_reason TEXT,
    renewed_at     TIMESTAMPTZ,
    created_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT oauth_grants_refusal_whole CHECK ((refused_at IS NULL) = (refused_with IS NULL) AND (refused_at IS NULL) = (refused_reason IS NULL))
);
COMMENT ON TABLE oauth_grants IS 'What was granted by the refresh token in a file, and what came of it.';
COMMENT ON COLUMN oauth_grants.grant_key IS 'SHA-256 over token URL, client, scope and the token in the file: another token in the file is another grant';
COMMENT ON COLUMN oauth_grants.mailbox IS 'who asked first, for people who read the table';
COMMENT ON COLUMN oauth_grants.refresh_token IS 'the newest one the server gave instead, encrypted; NULL: the one in the file still holds';
COMMENT ON COLUMN oauth_grants.generation IS 'counts renewals: what was read under one number is written under no other';
COMMENT ON COLUMN oauth_grants.held_until IS 'one process asks the token server at a time; until then nobody else does';
COMMENT ON COLUMN oauth_grants.refused_at IS 'when the server refused the grant: nobody asks again until something changes';
COMMENT ON COLUMN oauth_grants.refused_with IS 'a keyed hash of the client secret it was refused with: with another one it is tried again';
COMMENT ON COLUMN oauth_grants.refused_reason IS 'in our words, for people';
