-- Tickets and everything that can happen to one (module tickets).
CREATE TABLE tickets (
    id             BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 1001) CONSTRAINT tickets_pk PRIMARY KEY,
    subject        TEXT        NOT NULL,
    status         TEXT        NOT NULL DEFAULT 'new' CONSTRAINT tickets_status_known CHECK (status IN ('new', 'open', 'pending', 'resolved', 'closed')),
    priority       TEXT        NOT NULL DEFAULT 'medium' CONSTRAINT tickets_priority_known CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    category       TEXT,
    language       TEXT,
    channel        TEXT        NOT NULL CONSTRAINT tickets_channel_known CHECK (channel IN ('email', 'discord', 'web')),
    mailbox        TEXT,
    requester_id   BIGINT      NOT NULL CONSTRAINT tickets_requester REFERENCES persons (id),
    assignee_id    BIGINT      CONSTRAINT tickets_assignee REFERENCES persons (id),
    category_set   BOOLEAN     NOT NULL DEFAULT FALSE,
    priority_set   BOOLEAN     NOT NULL DEFAULT FALSE,
    skills_set     BOOLEAN     NOT NULL DEFAULT FALSE,
    assignee_set   BOOLEAN     NOT NULL DEFAULT FALSE,
    assignment_outcome TEXT    CONSTRAINT tickets_outcome_known CHECK (assignment_outcome IN ('matched', 'fallback', 'unassigned', 'manual')),
    follow_up_of   BIGINT      CONSTRAINT tickets_follow_up_of REFERENCES tickets (id),
    related_to     BIGINT      CONSTRAINT tickets_related_to REFERENCES tickets (id),
    version        BIGINT      NOT NULL DEFAULT 1,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    resolved_at    TIMESTAMPTZ,
    closed_at      TIMESTAMPTZ
);
COMMENT ON COLUMN tickets.id IS 'the public number (#1042)';
COMMENT ON COLUMN tickets.status IS 'whose turn it is: nobody has it, staff, requester, done, history';
COMMENT ON COLUMN tickets.mailbox IS 'name of the configured mailbox that answers are sent from';
COMMENT ON COLUMN tickets.category_set IS 'a person set this field: no automatic result may change it (likewise priority_set, skills_set, assignee_set)';
COMMENT ON COLUMN tickets.related_to IS 'possibly related: the mail named this ticket in its subject but could not prove to belong to it';
COMMENT ON COLUMN tickets.version IS 'grows with every change: the ETag';
CREATE INDEX tickets_load ON tickets (assignee_id) WHERE status IN ('new', 'open', 'pending');
CREATE INDEX tickets_waiting ON tickets (id) WHERE assignment_outcome IN ('fallback', 'unassigned') AND status IN ('new', 'open');
CREATE INDEX tickets_resolved ON tickets (resolved_at) WHERE status = 'resolved';
CREATE INDEX tickets_of_requester ON tickets (requester_id);

CREATE TABLE ticket_skills (
    ticket_id BIGINT NOT NULL CONSTRAINT ticket_skills_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    skill_id  BIGINT NOT NULL CONSTRAINT ticket_skills_skill REFERENCES skills (id) ON DELETE CASCADE,
    CONSTRAINT ticket_skills_pk PRIMARY KEY (ticket_id, skill_id)
);

CREATE TABLE participants (
    ticket_id BIGINT      NOT NULL CONSTRAINT participants_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    person_id BIGINT      NOT NULL CONSTRAINT participants_person REFERENCES persons (id),
    part      TEXT        NOT NULL CONSTRAINT participants_part_known CHECK (part IN ('requester', 'cc', 'joined')),
    address   TEXT        NOT NULL,
    joined_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT participants_pk PRIMARY KEY (ticket_id, person_id)
);
COMMENT ON COLUMN participants.part IS 'joined: wrote into the thread without having been addressed by it (a colleague who was forwarded the mail); shown as such';
COMMENT ON COLUMN participants.address IS 'where mail for this participant goes: From, or Reply-To where the sender gave one';

CREATE TABLE messages (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT messages_pk PRIMARY KEY,
    ticket_id    BIGINT      NOT NULL CONSTRAINT messages_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    kind         TEXT        NOT NULL CONSTRAINT messages_kind_known CHECK (kind IN ('inbound', 'outbound', 'note')),
    channel      TEXT        NOT NULL CONSTRAINT messages_channel_known CHECK (channel IN ('email', 'discord', 'web')),
    author_id    BIGINT      CONSTRAINT messages_author REFERENCES persons (id),
    inbound_id   BIGINT      CONSTRAINT messages_inbound_once UNIQUE,
    rfc_id       TEXT,
    subject      TEXT,
    body         TEXT        NOT NULL,
    visible      TEXT        NOT NULL,
    html         TEXT,
    sender_class TEXT        NOT NULL DEFAULT 'human',
    unverified   BOOLEAN     NOT NULL DEFAULT FALSE,
    reply_to     TEXT,
    refs         TEXT[]      NOT NULL DEFAULT '{}',
    sent_at      TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE messages IS 'The conversation; immutable.';
COMMENT ON COLUMN messages.author_id IS 'NULL: ticketd itself';
COMMENT ON COLUMN messages.inbound_id IS 'the ledger row it was read from (owned by ingest, so no foreign key)';
COMMENT ON COLUMN messages.rfc_id IS 'Message-ID without <>, as the mail had it';
COMMENT ON COLUMN messages.visible IS 'what people see first: quote and signature cut; the whole is body';
COMMENT ON COLUMN messages.html IS 'cleaned for showing';
COMMENT ON COLUMN messages.sender_class IS 'human, auto_reply, bounce, list or feedback';
COMMENT ON COLUMN messages.unverified IS 'claims to come from staff but could not prove it';
COMMENT ON COLUMN messages.reply_to IS 'Reply-To, where it differs from From: answers go there, and people are shown it';
COMMENT ON COLUMN messages.refs IS 'In-Reply-To and References as the mail had them, oldest first, without <>';
CREATE INDEX messages_of_ticket ON messages (ticket_id, id);

CREATE TABLE attachments (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT attachments_pk PRIMARY KEY,
    message_id   BIGINT  NOT NULL CONSTRAINT attachments_message REFERENCES messages (id) ON DELETE CASCADE,
    filename     TEXT,
    content_type TEXT    NOT NULL,
    content_id   TEXT,
    inline       BOOLEAN NOT NULL DEFAULT FALSE,
    size         BIGINT  NOT NULL,
    sha256       BYTEA   NOT NULL CONSTRAINT attachments_sha256_length CHECK (octet_length(sha256) = 32)
);
COMMENT ON COLUMN attachments.filename IS 'made safe: no path, no control or bidi characters';
CREATE INDEX attachments_of_message ON attachments (message_id);

CREATE TABLE blobs (
    sha256  BYTEA NOT NULL CONSTRAINT blobs_pk PRIMARY KEY CONSTRAINT blobs_sha256_length CHECK (octet_length(sha256) = 32),
    content BYTEA NOT NULL
);
COMMENT ON TABLE blobs IS 'Contents of attachments, each kept once.';

CREATE TABLE thread_ids (
    id_hash   BYTEA  NOT NULL CONSTRAINT thread_ids_pk PRIMARY KEY CONSTRAINT thread_ids_hash_length CHECK (octet_length(id_hash) = 32),
    ticket_id BIGINT NOT NULL CONSTRAINT thread_ids_ticket REFERENCES tickets (id) ON DELETE CASCADE
);
COMMENT ON TABLE thread_ids IS 'Every Message-ID seen in a ticket, ancestors that were only named included; the first ticket that names one keeps it. SHA-256, because hostile ids exceed an index row.';
CREATE INDEX thread_ids_of_ticket ON thread_ids (ticket_id);

CREATE TABLE ticket_events (
    id        BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT ticket_events_pk PRIMARY KEY,
    ticket_id BIGINT      NOT NULL CONSTRAINT ticket_events_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    at        TIMESTAMPTZ NOT NULL,
    kind      TEXT        NOT NULL,
    actor_id  BIGINT      CONSTRAINT ticket_events_actor REFERENCES persons (id),
    channel   TEXT        NOT NULL,
    data      JSONB       NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE ticket_events IS 'The timeline: who did what, when, through which channel. History: read by people, consumed by nothing.';
COMMENT ON COLUMN ticket_events.actor_id IS 'NULL: ticketd itself';
CREATE INDEX ticket_events_of_ticket ON ticket_events (ticket_id, id);

CREATE TABLE triages (
    id              BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT triages_pk PRIMARY KEY,
    ticket_id       BIGINT      NOT NULL CONSTRAINT triages_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    at              TIMESTAMPTZ NOT NULL,
    engine          TEXT        NOT NULL CONSTRAINT triages_engine_known CHECK (engine IN ('gemini', 'offline')),
    model           TEXT        NOT NULL,
    prompt_version  TEXT        NOT NULL,
    category        TEXT,
    priority        TEXT,
    language        TEXT,
    skills          TEXT[]      NOT NULL DEFAULT '{}',
    notes           TEXT,
    suggested_reply TEXT,
    confidence      REAL        NOT NULL,
    discarded       TEXT[]      NOT NULL DEFAULT '{}',
    fallback_reason TEXT,
    tokens_in       INT,
    tokens_out      INT,
    took_ms         INT         NOT NULL
);
COMMENT ON COLUMN triages.discarded IS 'fields of the answer that failed validation and were thrown away';
COMMENT ON COLUMN triages.fallback_reason IS 'why the offline engine decided although Gemini is configured';
CREATE INDEX triages_of_ticket ON triages (ticket_id, id);

CREATE TABLE assignments (
    id          BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT assignments_pk PRIMARY KEY,
    ticket_id   BIGINT      NOT NULL CONSTRAINT assignments_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    at          TIMESTAMPTZ NOT NULL,
    outcome     TEXT        NOT NULL CONSTRAINT assignments_outcome_known CHECK (outcome IN ('matched', 'fallback', 'unassigned', 'manual')),
    assignee_id BIGINT      CONSTRAINT assignments_assignee REFERENCES persons (id),
    decided_by  BIGINT      CONSTRAINT assignments_decided_by REFERENCES persons (id),
    reason      TEXT        NOT NULL,
    candidates  JSONB       NOT NULL DEFAULT '[]'
);
COMMENT ON COLUMN assignments.decided_by IS 'NULL: the automatic assignment';
COMMENT ON COLUMN assignments.candidates IS 'every person looked at, with score parts and verdict';
CREATE INDEX assignments_of_ticket ON assignments (ticket_id, id);

CREATE TABLE deliveries (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT deliveries_pk PRIMARY KEY,
    ticket_id    BIGINT      NOT NULL CONSTRAINT deliveries_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    message_id   BIGINT      CONSTRAINT deliveries_message REFERENCES messages (id) ON DELETE CASCADE,
    answers_id   BIGINT      CONSTRAINT deliveries_answers REFERENCES messages (id) ON DELETE CASCADE,
    kind         TEXT        NOT NULL CONSTRAINT deliveries_kind_known CHECK (kind IN ('acknowledgement', 'notice', 'reply')),
    channel      TEXT        NOT NULL CONSTRAINT deliveries_channel_known CHECK (channel IN ('email', 'discord')),
    recipient_id BIGINT      NOT NULL CONSTRAINT deliveries_recipient REFERENCES persons (id),
    address      TEXT        NOT NULL,
    state        TEXT        NOT NULL DEFAULT 'waiting' CONSTRAINT deliveries_state_known CHECK (state IN ('waiting', 'sent', 'failed', 'cancelled', 'suppressed', 'delayed', 'bounced')),
    rfc_id       TEXT        CONSTRAINT deliveries_rfc_id_once UNIQUE,
    envelope_from TEXT,
    content      BYTEA,
    reason       TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    sent_at      TIMESTAMPTZ
);
COMMENT ON TABLE deliveries IS 'One outbound message to one recipient on one channel: the outbox.';
COMMENT ON COLUMN deliveries.message_id IS 'the message it carries; NULL for acknowledgements and notices';
COMMENT ON COLUMN deliveries.answers_id IS 'the inbound message it answers or announces';
COMMENT ON COLUMN deliveries.content IS 'the mail as it is sent, fixed with its Message-ID before the first attempt';
COMMENT ON COLUMN deliveries.reason IS 'why it failed, bounced, or was suppressed';
CREATE INDEX deliveries_of_ticket ON deliveries (ticket_id, id);
CREATE INDEX deliveries_unsent ON deliveries (id) WHERE state <> 'sent';
CREATE INDEX deliveries_automatic ON deliveries (address, created_at) WHERE kind = 'acknowledgement';
-- One acknowledgement per ticket, one notice per assignee and message, one copy of a reply per recipient, whoever asks twice.
CREATE UNIQUE INDEX deliveries_acknowledge_once ON deliveries (ticket_id) WHERE kind = 'acknowledgement';
CREATE UNIQUE INDEX deliveries_reply_once ON deliveries (message_id, recipient_id) WHERE kind = 'reply';

CREATE TABLE delivery_attempts (
    id          BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT delivery_attempts_pk PRIMARY KEY,
    delivery_id BIGINT      NOT NULL CONSTRAINT delivery_attempts_delivery REFERENCES deliveries (id) ON DELETE CASCADE,
    at          TIMESTAMPTZ NOT NULL,
    outcome     TEXT        NOT NULL CONSTRAINT delivery_attempts_outcome_known CHECK (outcome IN ('sent', 'temporary', 'permanent', 'network')),
    detail      TEXT        NOT NULL,
    took_ms     INT         NOT NULL
);
CREATE INDEX delivery_attempts_of_delivery ON delivery_attempts (delivery_id, id);
