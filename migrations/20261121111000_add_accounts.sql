-- Accounts: mails about them, second factors, sign-in by others (module people).
CREATE TABLE account_letters (
    id            BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT account_letters_pk PRIMARY KEY,
    kind          TEXT        NOT NULL CONSTRAINT account_letters_kind_known CHECK (kind IN ('confirm', 'exists', 'reset', 'changed', 'link')),
    address       TEXT        NOT NULL,
    person_id     BIGINT      CONSTRAINT account_letters_person REFERENCES persons (id) ON DELETE CASCADE,
    name          TEXT,
    password_hash TEXT,
    issuer        TEXT,
    subject       TEXT,
    created_at    TIMESTAMPTZ NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL,
    tries         INT         NOT NULL DEFAULT 0,
    used_at       TIMESTAMPTZ,
    sent_at       TIMESTAMPTZ,
    CONSTRAINT account_letters_confirm_whole CHECK (kind <> 'confirm' OR name IS NOT NULL),
    CONSTRAINT account_letters_link_whole CHECK (kind <> 'link' OR (person_id IS NOT NULL AND issuer IS NOT NULL AND subject IS NOT NULL))
);
COMMENT ON TABLE account_letters IS 'Mails about accounts, most with a link that is good once. What the link proves itself by is derived from a key and this row, and stored nowhere.';
COMMENT ON COLUMN account_letters.kind IS 'confirm: this address signed up; exists: it signed up and has an account already; reset: choose a new password; changed: the password was changed; link: another''s sign-in is to be added to the account';
COMMENT ON COLUMN account_letters.person_id IS 'whose account it is about; NULL: nobody''s yet (confirm), or nobody has one and nothing is mailed (exists, reset): a row is written all the same, so that the answer takes as long';
COMMENT ON COLUMN account_letters.name IS 'confirm: the name chosen at sign-up';
COMMENT ON COLUMN account_letters.password_hash IS 'confirm: of the password chosen at sign-up, argon2id; it becomes a credential when the address is confirmed, and is gone when the letter is used';
COMMENT ON COLUMN account_letters.issuer IS 'link: with subject, the identity that is to be added';
COMMENT ON COLUMN account_letters.tries IS 'wrong passwords typed with this letter''s link';
CREATE INDEX account_letters_of_address ON account_letters (address, created_at);
CREATE INDEX account_letters_of_person ON account_letters (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX account_letters_expiring ON account_letters (expires_at);

CREATE TABLE second_factors (
    person_id    BIGINT      NOT NULL CONSTRAINT second_factors_pk PRIMARY KEY CONSTRAINT second_factors_person REFERENCES persons (id) ON DELETE CASCADE,
    secret       BYTEA       NOT NULL CONSTRAINT second_factors_secret_length CHECK (octet_length(secret) = 20),
    created_at   TIMESTAMPTZ NOT NULL,
    confirmed_at TIMESTAMPTZ,
    last_step    BIGINT      NOT NULL DEFAULT 0,
    wrong        INT         NOT NULL DEFAULT 0,
    wrong_since  TIMESTAMPTZ
);
COMMENT ON TABLE second_factors IS 'Codes by an app (TOTP, RFC 6238), asked for after the password.';
COMMENT ON COLUMN second_factors.secret IS 'shared with the app: it cannot be a hash, for codes are made from it';
COMMENT ON COLUMN second_factors.confirmed_at IS 'when a first code was typed; NULL: offered, and not asked for yet';
COMMENT ON COLUMN second_factors.last_step IS 'the 30 s of the newest code that was taken: neither it nor an older one is taken again';
COMMENT ON COLUMN second_factors.wrong IS 'wrong codes since wrong_since: after some, none is looked at for a while';

CREATE TABLE recovery_codes (
    person_id BIGINT NOT NULL CONSTRAINT recovery_codes_person REFERENCES second_factors (person_id) ON UPDATE CASCADE ON DELETE CASCADE,
    code_hash BYTEA  NOT NULL CONSTRAINT recovery_codes_length CHECK (octet_length(code_hash) = 32),
    used_at   TIMESTAMPTZ,
    CONSTRAINT recovery_codes_pk PRIMARY KEY (person_id, code_hash)
);
COMMENT ON TABLE recovery_codes IS 'In place of the app when it is lost; each is good once.';
COMMENT ON COLUMN recovery_codes.code_hash IS 'SHA-256 of 80 random bits';

CREATE TABLE external_identities (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT external_identities_pk PRIMARY KEY,
    person_id    BIGINT      NOT NULL CONSTRAINT external_identities_person REFERENCES persons (id) ON DELETE CASCADE,
    issuer       TEXT        NOT NULL,
    subject      TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT external_identities_subject_once UNIQUE (issuer, subject)
);
COMMENT ON TABLE external_identities IS 'Whom another vouches for (OpenID Connect).';
COMMENT ON COLUMN external_identities.subject IS 'the provider''s own key for the person: addresses change hands there, this does not';
CREATE INDEX external_identities_of_person ON external_identities (person_id);

CREATE TABLE oidc_logins (
    state_hash    BYTEA       NOT NULL CONSTRAINT oidc_logins_pk PRIMARY KEY CONSTRAINT oidc_logins_state_length CHECK (octet_length(state_hash) = 32),
    browser_hash  BYTEA       NOT NULL CONSTRAINT oidc_logins_browser_length CHECK (octet_length(browser_hash) = 32),
    nonce         TEXT        NOT NULL,
    pkce_verifier TEXT        NOT NULL,
    return_to     TEXT        NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE oidc_logins IS 'Sign-ins at a provider that were begun and have not come back. Taking one removes it.';
COMMENT ON COLUMN oidc_logins.state_hash IS 'SHA-256 of the state that the provider hands back';
COMMENT ON COLUMN oidc_logins.browser_hash IS 'SHA-256 of a cookie: only the browser that began may finish';
COMMENT ON COLUMN oidc_logins.return_to IS 'the path to go to afterwards';
CREATE INDEX oidc_logins_expiring ON oidc_logins (expires_at);
