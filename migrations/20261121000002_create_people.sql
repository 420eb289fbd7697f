-- Persons, what they are called by, what they can do (module people).
CREATE TABLE persons (
    id               BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT persons_pk PRIMARY KEY,
    name             TEXT        NOT NULL,
    role             TEXT        NOT NULL DEFAULT 'user' CONSTRAINT persons_role_known CHECK (role IN ('user', 'moderator', 'admin')),
    active           BOOLEAN     NOT NULL DEFAULT TRUE,
    away             BOOLEAN     NOT NULL DEFAULT FALSE,
    cap              INT         CONSTRAINT persons_cap_positive CHECK (cap >= 0),
    last_assigned_at TIMESTAMPTZ,
    created_at       TIMESTAMPTZ NOT NULL
);
COMMENT ON COLUMN persons.cap IS 'open tickets this person may hold at once; NULL: assignment.cap_default';
COMMENT ON COLUMN persons.last_assigned_at IS 'ties between equally fit moderators go to whoever was assigned longest ago';
CREATE INDEX persons_staff ON persons (role) WHERE role <> 'user';

CREATE TABLE identities (
    id          BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT identities_pk PRIMARY KEY,
    person_id   BIGINT      NOT NULL CONSTRAINT identities_person REFERENCES persons (id),
    channel     TEXT        NOT NULL CONSTRAINT identities_channel_known CHECK (channel IN ('email', 'discord')),
    address     TEXT        NOT NULL,
    verified_at TIMESTAMPTZ,
    created_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT identities_address_once UNIQUE (channel, address)
);
COMMENT ON COLUMN identities.address IS 'canonical: an email address in lower case, or a Discord user id';
COMMENT ON COLUMN identities.verified_at IS 'when the person proved to own the address; mail alone proves nothing';
CREATE INDEX identities_of_person ON identities (person_id);

CREATE TABLE skills (
    id          BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT skills_pk PRIMARY KEY,
    slug        TEXT        NOT NULL CONSTRAINT skills_slug_once UNIQUE CONSTRAINT skills_slug_shape CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    name        TEXT        NOT NULL,
    aliases     TEXT[]      NOT NULL DEFAULT '{}',
    description TEXT        NOT NULL DEFAULT '',
    created_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE person_skills (
    person_id BIGINT NOT NULL CONSTRAINT person_skills_person REFERENCES persons (id) ON DELETE CASCADE,
    skill_id  BIGINT NOT NULL CONSTRAINT person_skills_skill REFERENCES skills (id) ON DELETE CASCADE,
    level     INT    NOT NULL CONSTRAINT person_skills_level_range CHECK (level BETWEEN 1 AND 5),
    confirmed BOOLEAN NOT NULL DEFAULT TRUE,
    CONSTRAINT person_skills_pk PRIMARY KEY (person_id, skill_id)
);
COMMENT ON COLUMN person_skills.confirmed IS 'a moderator proposes, an admin confirms; only confirmed skills count for assignment';

CREATE TABLE credentials (
    person_id     BIGINT      NOT NULL CONSTRAINT credentials_pk PRIMARY KEY CONSTRAINT credentials_person REFERENCES persons (id) ON DELETE CASCADE,
    password_hash TEXT        NOT NULL,
    generation    INT         NOT NULL DEFAULT 1,
    updated_at    TIMESTAMPTZ NOT NULL
);
COMMENT ON COLUMN credentials.password_hash IS 'argon2id, PHC string';
COMMENT ON COLUMN credentials.generation IS 'carried in every access token: raising it revokes them all';

CREATE TABLE signing_keys (
    id         INT         GENERATED ALWAYS AS IDENTITY CONSTRAINT signing_keys_pk PRIMARY KEY,
    secret     BYTEA       NOT NULL CONSTRAINT signing_keys_length CHECK (octet_length(secret) = 32),
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE signing_keys IS 'Used where auth.secret_file is not configured: shared by all processes, part of every backup, so that addresses signed before a restore stay valid. The newest signs, all verify.';
