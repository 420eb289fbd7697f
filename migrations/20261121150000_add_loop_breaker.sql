-- How much automatic mail may still leave, and how fast domains are written to. A process of the version before counts
-- acknowledgements of the last hour by itself and knows nothing of these tables.
CREATE TABLE loop_buckets (
    id         BIGINT           GENERATED ALWAYS AS IDENTITY CONSTRAINT loop_buckets_id_unique UNIQUE,
    scope      TEXT             NOT NULL CONSTRAINT loop_buckets_scope CHECK (scope IN ('ticket', 'notices', 'address', 'domain')),
    subject    TEXT             NOT NULL,
    tokens     DOUBLE PRECISION NOT NULL,
    filled_at  TIMESTAMPTZ      NOT NULL,
    tripped_at TIMESTAMPTZ,
    ticket_id  BIGINT           CONSTRAINT loop_buckets_ticket REFERENCES tickets (id),
    CONSTRAINT loop_buckets_pk PRIMARY KEY (scope, subject)
);
CREATE INDEX loop_buckets_by_trip ON loop_buckets (id) WHERE tripped_at IS NOT NULL;
CREATE INDEX loop_buckets_by_ticket ON loop_buckets (ticket_id) WHERE ticket_id IS NOT NULL;
COMMENT ON TABLE loop_buckets IS 'Token buckets of the loop breaker: each automatic mail takes a token from each bucket that it falls into.';
COMMENT ON COLUMN loop_buckets.subject IS 'Ticket number, ticket and recipient of notices, address, or domain.';
COMMENT ON COLUMN loop_buckets.tokens IS 'What was in it at filled_at; it fills evenly, within an hour.';
COMMENT ON COLUMN loop_buckets.tripped_at IS 'Since when mail is held back; NULL: it is not.';
COMMENT ON COLUMN loop_buckets.ticket_id IS 'The ticket whose mail was the first to be held back.';

CREATE TABLE domain_paces (
    domain     TEXT        NOT NULL CONSTRAINT domain_paces_pk PRIMARY KEY,
    next_at    TIMESTAMPTZ NOT NULL,
    held_until TIMESTAMPTZ,
    reason     TEXT
);
COMMENT ON TABLE domain_paces IS 'How fast the addresses of a domain are written to.';
COMMENT ON COLUMN domain_paces.next_at IS 'When a mail would leave if mails left evenly: the theoretical arrival time of GCRA.';
COMMENT ON COLUMN domain_paces.held_until IS 'The domain asked to be left alone until then.';
COMMENT ON COLUMN domain_paces.reason IS 'In which words.';
