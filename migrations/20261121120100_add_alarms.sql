-- What somebody must look after, and who was told (module alarms).
CREATE TABLE alarms (
    id           BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT alarms_pk PRIMARY KEY,
    kind         TEXT        NOT NULL,
    subject      TEXT        NOT NULL,
    reason       TEXT        NOT NULL,
    raised_at    TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    told_at      TIMESTAMPTZ,
    cleared_at   TIMESTAMPTZ
);
COMMENT ON TABLE alarms IS 'Trouble that goes on until it is cleared; admins are told when it begins and when it is over.';
COMMENT ON COLUMN alarms.kind IS 'what sort of trouble: mailbox, oauth; the program knows which there are';
COMMENT ON COLUMN alarms.subject IS 'with what: of both kinds the name of a mailbox';
COMMENT ON COLUMN alarms.reason IS 'why, and what to do about it, in our words; as it was last seen';
COMMENT ON COLUMN alarms.told_at IS 'when the last one of those who are to know was told that it began';
CREATE UNIQUE INDEX alarms_open_once ON alarms (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alarms_newest ON alarms (raised_at);

CREATE TABLE alarm_notices (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT alarm_notices_pk PRIMARY KEY,
    alarm_id   BIGINT      NOT NULL CONSTRAINT alarm_notices_alarm REFERENCES alarms (id) ON DELETE CASCADE,
    phase      TEXT        NOT NULL CONSTRAINT alarm_notices_phase_known CHECK (phase IN ('raised', 'cleared')),
    channel    TEXT        NOT NULL CONSTRAINT alarm_notices_channel_known CHECK (channel IN ('email', 'discord')),
    address    TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    told_at    TIMESTAMPTZ,
    error      TEXT,
    CONSTRAINT alarm_notices_once UNIQUE (alarm_id, phase, channel, address)
);
COMMENT ON TABLE alarm_notices IS 'One telling of one alarm to one reader, so that a channel that fails is tried again by itself.';
COMMENT ON COLUMN alarm_notices.address IS 'a mail address, or the id of a channel in Discord';
COMMENT ON COLUMN alarm_notices.error IS 'why it was refused for good; with told_at NULL and no error it is still to be told';
