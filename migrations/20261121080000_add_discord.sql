-- Discord: where a ticket is shown there, what was said there, who is who.

-- People: a role may come from an admin or from a Discord role; the greater one counts.
ALTER TABLE persons RENAME COLUMN role TO granted_role;
ALTER TABLE persons
    ADD COLUMN discord_role TEXT CONSTRAINT persons_discord_role_known CHECK (discord_role IN ('moderator', 'admin')),
    ADD COLUMN merged_into  BIGINT CONSTRAINT persons_merged_into REFERENCES persons (id),
    ADD COLUMN role TEXT NOT NULL GENERATED ALWAYS AS (
        CASE WHEN 'admin' IN (granted_role, COALESCE(discord_role, 'user')) THEN 'admin'
             WHEN 'moderator' IN (granted_role, COALESCE(discord_role, 'user')) THEN 'moderator'
             ELSE 'user' END) STORED;
COMMENT ON COLUMN persons.granted_role IS 'what an admin made of this person';
COMMENT ON COLUMN persons.discord_role IS 'by the mapped role in Discord, as it was at the last action there';
COMMENT ON COLUMN persons.role IS 'the greater of the two: what counts';
COMMENT ON COLUMN persons.merged_into IS 'the same person, known by an address that has since been linked; this row is history';
DROP INDEX persons_staff;
CREATE INDEX persons_staff ON persons (role) WHERE role <> 'user';

CREATE TABLE link_codes (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT link_codes_pk PRIMARY KEY,
    person_id  BIGINT      NOT NULL CONSTRAINT link_codes_person REFERENCES persons (id) ON DELETE CASCADE,
    address    TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    tries      INT         NOT NULL DEFAULT 0,
    used_at    TIMESTAMPTZ,
    sent_at    TIMESTAMPTZ
);
COMMENT ON TABLE link_codes IS 'Codes mailed to an address, to be typed into Discord: proof on both sides. The code itself is derived from the signing key and this row, and stored nowhere.';
CREATE INDEX link_codes_of_person ON link_codes (person_id, id);
CREATE INDEX link_codes_of_address ON link_codes (address, created_at);

CREATE TABLE snippets (
    name       TEXT        NOT NULL CONSTRAINT snippets_pk PRIMARY KEY CONSTRAINT snippets_name_shape CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    body       TEXT        NOT NULL CONSTRAINT snippets_body_filled CHECK (body <> ''),
    updated_by BIGINT      CONSTRAINT snippets_updated_by REFERENCES persons (id),
    updated_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE snippets IS 'Answers that are written often.';

-- The server that tickets are shown in.
CREATE TABLE discord_guild (
    one                BOOLEAN NOT NULL DEFAULT TRUE CONSTRAINT discord_guild_pk PRIMARY KEY CONSTRAINT discord_guild_one CHECK (one),
    guild_id           BIGINT  NOT NULL,
    support_channel_id BIGINT  NOT NULL,
    staff_channel_id   BIGINT  NOT NULL
);
COMMENT ON TABLE discord_guild IS 'One row where Discord is configured, none where it is not: whether a change of a ticket must be shown there.';

CREATE TABLE discord_threads (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT discord_threads_pk PRIMARY KEY,
    ticket_id  BIGINT      NOT NULL CONSTRAINT discord_threads_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    audience   TEXT        NOT NULL CONSTRAINT discord_threads_audience_known CHECK (audience IN ('staff', 'requester')),
    handle     TEXT        NOT NULL CONSTRAINT discord_threads_handle_once UNIQUE,
    channel_id BIGINT      CONSTRAINT discord_threads_channel_once UNIQUE,
    card_id    BIGINT,
    card_hash  BYTEA,
    members    BIGINT[]    NOT NULL DEFAULT '{}',
    begun_at   TIMESTAMPTZ,
    archived   BOOLEAN     NOT NULL DEFAULT FALSE,
    broken     TEXT,
    last_seen  BIGINT      NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT discord_threads_audience_once UNIQUE (ticket_id, audience)
);
COMMENT ON TABLE discord_threads IS 'Where a ticket is shown in Discord: to staff always, to its requester where it was opened there.';
COMMENT ON COLUMN discord_threads.handle IS 'random; stands for the ticket in what a client of Discord sends back';
COMMENT ON COLUMN discord_threads.channel_id IS 'the thread; NULL: not made yet';
COMMENT ON COLUMN discord_threads.card_id IS 'the message that shows the facts';
COMMENT ON COLUMN discord_threads.members IS 'Discord users that were added to it';
COMMENT ON COLUMN discord_threads.begun_at IS 'making it was begun: look for it before making it again';
COMMENT ON COLUMN discord_threads.archived IS 'archived and locked by us';
COMMENT ON COLUMN discord_threads.broken IS 'why nothing can be shown there any more; NULL: all is well';
COMMENT ON COLUMN discord_threads.last_seen IS 'the newest message of it in the ledger: reading goes on after it';

-- Who takes part, and how he is reached: one person may do so by mail and in Discord.
ALTER TABLE participants
    ADD COLUMN channel TEXT NOT NULL DEFAULT 'email' CONSTRAINT participants_channel_known CHECK (channel IN ('email', 'discord')),
    DROP CONSTRAINT participants_pk,
    ADD CONSTRAINT participants_pk PRIMARY KEY (ticket_id, person_id, channel);
COMMENT ON COLUMN participants.address IS 'where what is said goes: From, or Reply-To where the sender gave one; a Discord user id';

ALTER TABLE messages
    ADD COLUMN discord_id    BIGINT CONSTRAINT messages_discord_once UNIQUE,
    ADD COLUMN origin_thread BIGINT CONSTRAINT messages_origin_thread REFERENCES discord_threads (id) ON DELETE SET NULL,
    ADD COLUMN withdrawn_at  TIMESTAMPTZ;
COMMENT ON TABLE messages IS 'The conversation; immutable. Later edits and deletions are in message_revisions.';
COMMENT ON COLUMN messages.discord_id IS 'the message in Discord that it was read from';
COMMENT ON COLUMN messages.origin_thread IS 'where it was written, and so need not be shown';
COMMENT ON COLUMN messages.withdrawn_at IS 'taken back before it left';

CREATE TABLE message_revisions (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT message_revisions_pk PRIMARY KEY,
    message_id BIGINT      NOT NULL CONSTRAINT message_revisions_message REFERENCES messages (id) ON DELETE CASCADE,
    at         TIMESTAMPTZ NOT NULL,
    kind       TEXT        NOT NULL CONSTRAINT message_revisions_kind_known CHECK (kind IN ('edited', 'deleted')),
    body       TEXT        NOT NULL DEFAULT '',
    inbound_id BIGINT      CONSTRAINT message_revisions_inbound_once UNIQUE
);
COMMENT ON TABLE message_revisions IS 'What its author made of a message later; the newest one is what people see.';
CREATE INDEX message_revisions_of_message ON message_revisions (message_id, id);

-- A relay: a message on its way into a thread.
ALTER TABLE deliveries
    ALTER COLUMN recipient_id DROP NOT NULL,
    ADD COLUMN thread_id  BIGINT CONSTRAINT deliveries_thread REFERENCES discord_threads (id) ON DELETE CASCADE,
    ADD COLUMN due_at     TIMESTAMPTZ,
    ADD COLUMN refresh_at TIMESTAMPTZ,
    DROP CONSTRAINT deliveries_kind_known,
    ADD CONSTRAINT deliveries_kind_known CHECK (kind IN ('acknowledgement', 'notice', 'reply', 'relay')),
    ADD CONSTRAINT deliveries_target CHECK ((kind = 'relay') = (thread_id IS NOT NULL) AND (kind = 'relay') = (recipient_id IS NULL));
COMMENT ON COLUMN deliveries.due_at IS 'of a relay: not before; NULL: at once';
COMMENT ON COLUMN deliveries.refresh_at IS 'of a relay that was posted: when it must be shown anew, because its message was revised or can no longer be taken back';
CREATE UNIQUE INDEX deliveries_relay_once ON deliveries (message_id, thread_id) WHERE kind = 'relay';
CREATE INDEX deliveries_relays_waiting ON deliveries (thread_id, id) WHERE kind = 'relay' AND state = 'waiting';
CREATE INDEX deliveries_relays_stale ON deliveries (thread_id, refresh_at) WHERE refresh_at IS NOT NULL;
CREATE INDEX deliveries_of_message ON deliveries (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE delivery_posts (
    delivery_id BIGINT NOT NULL CONSTRAINT delivery_posts_delivery REFERENCES deliveries (id) ON DELETE CASCADE,
    position    INT    NOT NULL,
    message_id  BIGINT NOT NULL,
    CONSTRAINT delivery_posts_pk PRIMARY KEY (delivery_id, position)
);
COMMENT ON TABLE delivery_posts IS 'The messages in Discord that a relay became: a long one is several.';

-- The ledger takes in interactions and messages.
ALTER TABLE inbound
    DROP CONSTRAINT inbound_source_known,
    ADD CONSTRAINT inbound_source_known CHECK (source IN ('imap', 'maildir', 'pipe', 'demo', 'discord'));
COMMENT ON COLUMN inbound.name IS 'what tells this copy from others where there is no UID: the unique file name in a Maildir; in Discord the kind and id of what happened';

CREATE TABLE discord_payloads (
    inbound_id BIGINT NOT NULL CONSTRAINT discord_payloads_pk PRIMARY KEY CONSTRAINT discord_payloads_inbound REFERENCES inbound (id),
    kind       TEXT   NOT NULL CONSTRAINT discord_payloads_kind_known CHECK (kind IN ('interaction', 'message', 'edit', 'deletion')),
    thread_id  BIGINT,
    message_id BIGINT,
    payload    JSONB  NOT NULL,
    token      TEXT
);
COMMENT ON TABLE discord_payloads IS 'What came in by Discord, before it was looked at.';
COMMENT ON COLUMN discord_payloads.thread_id IS 'the row of discord_threads it was said in (owned by tickets, so no foreign key)';
COMMENT ON COLUMN discord_payloads.token IS 'answers an interaction for a quarter of an hour; removed once it was handled';
CREATE INDEX discord_payloads_of_thread ON discord_payloads (thread_id, message_id) WHERE thread_id IS NOT NULL;

-- Jobs on one thread take turns.
CREATE INDEX jobs_started_in_turn ON jobs (kind, subject) WHERE kind IN ('hear', 'mirror') AND attempt > 0 AND failed_at IS NULL;
CREATE INDEX delivery_posts_of_message ON delivery_posts (message_id);
