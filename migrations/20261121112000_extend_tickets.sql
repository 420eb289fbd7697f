-- Tickets over HTTP: deleting, merging, splitting, tags, deadlines, followers, uploads, search, and lists that stay quick with
-- a million tickets.

ALTER TABLE tickets
    ADD COLUMN skills      TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN tags        TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN deadline_at TIMESTAMPTZ,
    ADD COLUMN merged_into BIGINT CONSTRAINT tickets_merged_into REFERENCES tickets (id) CONSTRAINT tickets_merged_elsewhere CHECK (merged_into <> id),
    ADD COLUMN split_from  BIGINT CONSTRAINT tickets_split_from REFERENCES tickets (id),
    ADD COLUMN deleted_at  TIMESTAMPTZ,
    ADD COLUMN deleted_by  BIGINT CONSTRAINT tickets_deleted_by REFERENCES persons (id),
    ADD CONSTRAINT tickets_merged_is_closed CHECK (merged_into IS NULL OR status = 'closed');
COMMENT ON COLUMN tickets.skills IS 'slugs of ticket_skills in order, kept by triggers: a list asks for nothing else (likewise tags)';
COMMENT ON COLUMN tickets.deadline_at IS 'a promise to the requester; overdue once it has passed while the ticket is active';
COMMENT ON COLUMN tickets.merged_into IS 'the ticket that takes what is said here from now on; never itself merged: pointers are kept one step long';
COMMENT ON COLUMN tickets.split_from IS 'the ticket that the first message was taken from';
COMMENT ON COLUMN tickets.deleted_at IS 'an admin took it out of sight: it is in no list, and mail to it opens a new ticket; it can be restored';

-- The ticket that takes what is said to a ticket now; NULL: it was deleted, or there is none.
CREATE FUNCTION ticket_now(ticket BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT g.id FROM tickets t JOIN tickets g ON g.id = COALESCE(t.merged_into, t.id)
    WHERE t.id = ticket AND t.deleted_at IS NULL AND g.deleted_at IS NULL
$$;

-- Whether a ticket, or the one it was merged into, was deleted. What another transaction has just entered is not visible here
-- and counts as there: its Message-IDs stay its own.
CREATE FUNCTION ticket_is_deleted(ticket BIGINT) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM tickets t JOIN tickets g ON g.id = COALESCE(t.merged_into, t.id)
                   WHERE t.id = ticket AND (t.deleted_at IS NOT NULL OR g.deleted_at IS NOT NULL))
$$;

ALTER TABLE messages ADD COLUMN leaves_at TIMESTAMPTZ;
COMMENT ON COLUMN messages.leaves_at IS 'of an answer by staff: until then it can be taken back, and nobody else is shown it';

CREATE TABLE ticket_tags (
    ticket_id BIGINT NOT NULL CONSTRAINT ticket_tags_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    tag       TEXT   NOT NULL CONSTRAINT ticket_tags_shape CHECK (tag ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    CONSTRAINT ticket_tags_pk PRIMARY KEY (ticket_id, tag)
);
COMMENT ON TABLE ticket_tags IS 'Words that staff sort tickets by.';
CREATE INDEX ticket_tags_by_tag ON ticket_tags (tag, ticket_id);

CREATE TABLE followers (
    ticket_id BIGINT      NOT NULL CONSTRAINT followers_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    person_id BIGINT      NOT NULL CONSTRAINT followers_person REFERENCES persons (id),
    since     TIMESTAMPTZ NOT NULL,
    CONSTRAINT followers_pk PRIMARY KEY (ticket_id, person_id)
);
COMMENT ON TABLE followers IS 'Staff who are told of new messages like the assignee.';
CREATE INDEX followers_of_person ON followers (person_id);

CREATE TABLE uploads (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT uploads_pk PRIMARY KEY,
    person_id    BIGINT      NOT NULL CONSTRAINT uploads_person REFERENCES persons (id) ON DELETE CASCADE,
    sha256       BYTEA       NOT NULL CONSTRAINT uploads_blob REFERENCES blobs (sha256),
    filename     TEXT,
    content_type TEXT        NOT NULL,
    size         BIGINT      NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE uploads IS 'Files that wait for the message they go with; one that is used becomes an attachment, one that is not is swept after a day.';
CREATE INDEX uploads_of_person ON uploads (person_id, id);
CREATE INDEX uploads_by_age ON uploads (created_at);
CREATE INDEX uploads_by_blob ON uploads (sha256);
CREATE INDEX attachments_by_blob ON attachments (sha256);

CREATE TABLE ticket_settings (
    one    BOOLEAN NOT NULL DEFAULT TRUE CONSTRAINT ticket_settings_pk PRIMARY KEY CONSTRAINT ticket_settings_one CHECK (one),
    survey BOOLEAN NOT NULL
);
COMMENT ON TABLE ticket_settings IS 'What of the configuration a change of a ticket must know; written at start.';
COMMENT ON COLUMN ticket_settings.survey IS 'mail.survey: requesters are asked how content they are when staff resolves';

ALTER TABLE deliveries
    DROP CONSTRAINT deliveries_kind_known,
    ADD CONSTRAINT deliveries_kind_known CHECK (kind IN ('acknowledgement', 'notice', 'reply', 'relay', 'survey'));
CREATE UNIQUE INDEX deliveries_survey_once ON deliveries (ticket_id) WHERE kind = 'survey';

-- Lists. Every index ends in the id, which is the order of the list: a page is read from one place of one index.
DROP INDEX tickets_of_requester;
CREATE INDEX tickets_by_requester ON tickets (requester_id, id);
CREATE INDEX tickets_by_status ON tickets (status, id);
CREATE INDEX tickets_by_priority ON tickets (priority, id);
CREATE INDEX tickets_by_category ON tickets (category, id);
CREATE INDEX tickets_by_channel ON tickets (channel, id);
CREATE INDEX tickets_by_assignee ON tickets (assignee_id, status, id);
CREATE INDEX tickets_of_nobody ON tickets (status, id) WHERE assignee_id IS NULL;
CREATE INDEX tickets_by_change ON tickets (updated_at, id);
CREATE INDEX tickets_by_creation ON tickets (created_at, id);
CREATE INDEX tickets_with_deadline ON tickets (id) WHERE deadline_at IS NOT NULL AND status IN ('new', 'open', 'pending');
CREATE INDEX tickets_deleted ON tickets (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX tickets_merged ON tickets (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX ticket_skills_by_skill ON ticket_skills (skill_id, ticket_id);

CREATE FUNCTION show_skills() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tickets t SET skills = ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                                        WHERE ts.ticket_id = t.id ORDER BY s.slug)
    WHERE t.id IN (SELECT ticket_id FROM changed);
    RETURN NULL;
END $$;
CREATE FUNCTION show_renamed_skill() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tickets t SET skills = ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                                        WHERE ts.ticket_id = t.id ORDER BY s.slug)
    WHERE t.id IN (SELECT ticket_id FROM ticket_skills WHERE skill_id = NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION show_tags() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tickets t SET tags = ARRAY(SELECT g.tag FROM ticket_tags g WHERE g.ticket_id = t.id ORDER BY g.tag)
    WHERE t.id IN (SELECT ticket_id FROM changed);
    RETURN NULL;
END $$;
CREATE TRIGGER ticket_skills_come AFTER INSERT ON ticket_skills REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION show_skills();
CREATE TRIGGER ticket_skills_go AFTER DELETE ON ticket_skills REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION show_skills();
CREATE TRIGGER skills_renamed AFTER UPDATE OF slug ON skills FOR EACH ROW
    WHEN (OLD.slug <> NEW.slug) EXECUTE FUNCTION show_renamed_skill();
CREATE TRIGGER ticket_tags_come AFTER INSERT ON ticket_tags REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION show_tags();
CREATE TRIGGER ticket_tags_go AFTER DELETE ON ticket_tags REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION show_tags();
UPDATE tickets t SET skills = ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                                    WHERE ts.ticket_id = t.id ORDER BY s.slug)
WHERE EXISTS (SELECT FROM ticket_skills ts WHERE ts.ticket_id = t.id);

-- Counts by status, for everybody's summary and for metrics: counting a million rows takes a tenth of a second. Every change is
-- a row of its own, so that no transaction waits for another's count; the sweep adds them up.
CREATE TABLE ticket_counts (
    status TEXT   NOT NULL,
    n      BIGINT NOT NULL
);
COMMENT ON TABLE ticket_counts IS 'The sum of n by status is the number of tickets that are not deleted.';

CREATE FUNCTION count_tickets_in() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_counts SELECT status, count(*) FROM come WHERE deleted_at IS NULL GROUP BY status;
    RETURN NULL;
END $$;
CREATE FUNCTION count_tickets_out() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_counts SELECT status, -count(*) FROM gone WHERE deleted_at IS NULL GROUP BY status;
    RETURN NULL;
END $$;
CREATE FUNCTION count_ticket_moved() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_counts
    SELECT s, n FROM (VALUES (OLD.status, -1, OLD.deleted_at), (NEW.status, 1, NEW.deleted_at)) AS v (s, n, deleted)
    WHERE deleted IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER tickets_counted_in AFTER INSERT ON tickets REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION count_tickets_in();
CREATE TRIGGER tickets_counted_out AFTER DELETE ON tickets REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION count_tickets_out();
CREATE TRIGGER tickets_counted_again AFTER UPDATE OF status, deleted_at ON tickets FOR EACH ROW
    WHEN ((OLD.status, OLD.deleted_at IS NULL) IS DISTINCT FROM (NEW.status, NEW.deleted_at IS NULL))
    EXECUTE FUNCTION count_ticket_moved();
INSERT INTO ticket_counts SELECT status, count(*) FROM tickets GROUP BY status;

-- Full text. An error here would lose a mail, so everything is bounded: a tsvector holds 1 MB, and so many characters of so
-- many messages make a third of that at most; what goes wrong all the same is left out of the search.
CREATE TABLE ticket_search (
    ticket_id   BIGINT   NOT NULL CONSTRAINT ticket_search_pk PRIMARY KEY CONSTRAINT ticket_search_ticket REFERENCES tickets (id) ON DELETE CASCADE,
    public_text TSVECTOR NOT NULL,
    all_text    TSVECTOR NOT NULL,
    bytes       INT      NOT NULL
);
COMMENT ON TABLE ticket_search IS 'What a ticket is found by; kept by triggers on tickets, messages and message_revisions. A deleted one has no row.';
COMMENT ON COLUMN ticket_search.all_text IS 'with words that no text holds for the blocks of numbers that the ticket is in: the newest that fit are found without looking at all that fit';
COMMENT ON COLUMN ticket_search.public_text IS 'what its requester may read: no notes, nothing withdrawn or deleted';
COMMENT ON COLUMN ticket_search.bytes IS 'length of the texts so far: later messages of a very long ticket are not found';

-- The words of a text; none where they cannot be had.
CREATE FUNCTION search_words(said TEXT) RETURNS TSVECTOR LANGUAGE plpgsql IMMUTABLE SET client_min_messages = 'warning' AS $$
BEGIN
    RETURN to_tsvector('english', left(said, 20000));
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN '';
END $$;
-- Both; the first alone where both are too many.
CREATE FUNCTION search_joined(a TSVECTOR, b TSVECTOR) RETURNS TSVECTOR LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN a || b;
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN a;
END $$;

-- The blocks of 1024, 8192, 65536 and 524288 numbers that a ticket is in, as words.
CREATE FUNCTION search_blocks(ticket BIGINT) RETURNS TSVECTOR LANGUAGE sql IMMUTABLE AS $$
    SELECT array_to_tsvector(ARRAY['#a' || (ticket >> 10), '#b' || (ticket >> 13), '#c' || (ticket >> 16), '#d' || (ticket >> 19)])
$$;

CREATE FUNCTION search_ticket_again(ticket BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    said   RECORD;
    public TSVECTOR;
    whole  TSVECTOR;
    used   INT := 0;
BEGIN
    SELECT setweight(search_words(subject), 'A') INTO public FROM tickets WHERE id = ticket AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    whole := public || search_blocks(ticket);
    FOR said IN
        SELECT m.visible, m.kind = 'note' OR m.withdrawn_at IS NOT NULL OR COALESCE(r.kind = 'deleted', FALSE) AS hidden,
               CASE WHEN r.kind = 'edited' THEN r.body END AS edited
        FROM messages m
        LEFT JOIN LATERAL (SELECT kind, body FROM message_revisions WHERE message_id = m.id ORDER BY id DESC LIMIT 1) r ON TRUE
        WHERE m.ticket_id = ticket ORDER BY m.id
    LOOP
        EXIT WHEN used > 100000;
        used := used + least(octet_length(said.visible), 80000);
        whole := search_joined(whole, search_words(said.visible));
        IF said.edited IS NOT NULL THEN
            used := used + least(octet_length(said.edited), 80000);
            whole := search_joined(whole, search_words(said.edited));
        END IF;
        IF NOT said.hidden THEN
            public := search_joined(public, search_words(COALESCE(said.edited, said.visible)));
        END IF;
    END LOOP;
    INSERT INTO ticket_search (ticket_id, public_text, all_text, bytes) VALUES (ticket, public, whole, used)
    ON CONFLICT (ticket_id) DO UPDATE
    SET public_text = excluded.public_text, all_text = excluded.all_text, bytes = excluded.bytes;
END $$;

CREATE FUNCTION search_new_ticket() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    words TSVECTOR := setweight(search_words(NEW.subject), 'A');
BEGIN
    INSERT INTO ticket_search (ticket_id, public_text, all_text, bytes) VALUES (NEW.id, words, words || search_blocks(NEW.id), 0)
    ON CONFLICT (ticket_id) DO NOTHING;
    RETURN NULL;
END $$;
CREATE FUNCTION search_new_message() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    words TSVECTOR := search_words(NEW.visible);
BEGIN
    UPDATE ticket_search
    SET all_text = search_joined(all_text, words), bytes = bytes + least(octet_length(NEW.visible), 80000),
        public_text = CASE WHEN NEW.kind = 'note' THEN public_text ELSE search_joined(public_text, words) END
    WHERE ticket_id = NEW.ticket_id AND bytes <= 100000;
    RETURN NULL;
END $$;
CREATE FUNCTION search_changed_ticket() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.deleted_at IS NOT NULL THEN
        DELETE FROM ticket_search WHERE ticket_id = NEW.id;
    END IF;
    PERFORM search_ticket_again(NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION search_changed_message() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_ticket_again(NEW.ticket_id);
    RETURN NULL;
END $$;
CREATE FUNCTION search_revised_message() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_ticket_again(m.ticket_id) FROM messages m WHERE m.id = NEW.message_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tickets_searched AFTER INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION search_new_ticket();
CREATE TRIGGER tickets_searched_again AFTER UPDATE OF subject, deleted_at ON tickets FOR EACH ROW
    WHEN (OLD.subject <> NEW.subject OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at) EXECUTE FUNCTION search_changed_ticket();
CREATE TRIGGER messages_searched AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION search_new_message();
CREATE TRIGGER messages_searched_again AFTER UPDATE OF withdrawn_at ON messages FOR EACH ROW
    WHEN (OLD.withdrawn_at IS DISTINCT FROM NEW.withdrawn_at) EXECUTE FUNCTION search_changed_message();
CREATE TRIGGER message_revisions_searched AFTER INSERT ON message_revisions FOR EACH ROW EXECUTE FUNCTION search_revised_message();

DO $$ BEGIN PERFORM search_ticket_again(id) FROM tickets; END $$;
-- What waits to be sorted into the index is read by every search: little of it.
CREATE INDEX ticket_search_words ON ticket_search USING gin (all_text) WITH (gin_pending_list_limit = 256);
