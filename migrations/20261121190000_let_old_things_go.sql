-- What was kept long enough goes ([retention]): raw messages, and tickets with all that belongs to them.
--
-- A process of the version before goes on beside this one: it reads no bytes of what was handled, and nothing changes for it
-- until this version removes something.

CREATE INDEX inbound_of_ticket ON inbound (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX tickets_closed ON tickets (closed_at) WHERE status = 'closed' AND merged_into IS NULL;

-- Whoever removes a row looks for what refers to it: once a row, and without these through the whole table each time.
CREATE INDEX inbound_of_raw ON inbound (raw_sha256) WHERE raw_sha256 IS NOT NULL;
CREATE INDEX tickets_following_up ON tickets (follow_up_of) WHERE follow_up_of IS NOT NULL;
CREATE INDEX tickets_related ON tickets (related_to) WHERE related_to IS NOT NULL;
CREATE INDEX tickets_split ON tickets (split_from) WHERE split_from IS NOT NULL;
CREATE INDEX deliveries_answering ON deliveries (answers_id) WHERE answers_id IS NOT NULL;
CREATE INDEX messages_of_origin ON messages (origin_thread) WHERE origin_thread IS NOT NULL;
CREATE INDEX deliveries_of_thread ON deliveries (thread_id) WHERE thread_id IS NOT NULL;

-- Last, because it keeps others from reading the ledger until all of this is committed.
ALTER TABLE inbound ADD COLUMN raw_removed_at TIMESTAMPTZ;
COMMENT ON COLUMN inbound.raw_removed_at IS 'when the bytes were removed, because they were kept long enough; the row stays, so that the same mail is known again';
CREATE INDEX inbound_expiring ON inbound (handled_at)
    WHERE raw_removed_at IS NULL AND (raw_sha256 IS NOT NULL OR source = 'discord');
