-- When staff is at work (module people), and what admins change while ticketd runs (module settings).

CREATE TABLE away_periods (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT away_periods_pk PRIMARY KEY,
    person_id  BIGINT      NOT NULL CONSTRAINT away_periods_person REFERENCES persons (id) ON DELETE CASCADE,
    from_at    TIMESTAMPTZ NOT NULL,
    until_at   TIMESTAMPTZ NOT NULL,
    note       TEXT        NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT away_periods_order CHECK (from_at < until_at)
);
COMMENT ON TABLE away_periods IS 'When a person takes no part in the assignment, beside persons.away. Periods may overlap.';
COMMENT ON COLUMN away_periods.until_at IS 'the first moment at which the person is back';
CREATE INDEX away_periods_of_person ON away_periods (person_id, until_at);
CREATE INDEX away_periods_ending ON away_periods (until_at);

CREATE TABLE working_hours (
    person_id  BIGINT      NOT NULL CONSTRAINT working_hours_pk PRIMARY KEY CONSTRAINT working_hours_person REFERENCES persons (id) ON DELETE CASCADE,
    time_zone  TEXT        NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE working_hours IS 'Who works at certain hours; whoever is not listed is always at work.';
COMMENT ON COLUMN working_hours.time_zone IS 'IANA name: the hours are by the clock on the wall there';

CREATE TABLE working_intervals (
    person_id BIGINT   NOT NULL CONSTRAINT working_intervals_hours REFERENCES working_hours (person_id) ON DELETE CASCADE ON UPDATE CASCADE,
    weekday   INT      NOT NULL CONSTRAINT working_intervals_weekday_range CHECK (weekday BETWEEN 1 AND 7),
    begins    INT      NOT NULL,
    ends      INT      NOT NULL,
    CONSTRAINT working_intervals_pk PRIMARY KEY (person_id, weekday, begins),
    CONSTRAINT working_intervals_order CHECK (0 <= begins AND begins < ends AND ends <= 1440)
);
COMMENT ON COLUMN working_intervals.weekday IS '1: Monday, to 7: Sunday';
COMMENT ON COLUMN working_intervals.begins IS 'minutes after midnight by the clock on the wall';
COMMENT ON COLUMN working_intervals.ends IS 'minutes after midnight, exclusive; 1440: to the end of the day';

CREATE TABLE settings (
    key        TEXT        NOT NULL CONSTRAINT settings_pk PRIMARY KEY,
    value      JSONB       NOT NULL,
    updated_by BIGINT      CONSTRAINT settings_updated_by REFERENCES persons (id),
    updated_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE settings IS 'What an admin set otherwise than the configuration file has it; a key that is not here is as in the file.';
COMMENT ON COLUMN settings.key IS 'as in the file: section.key';

CREATE INDEX jobs_of_kind ON jobs (kind, id);
CREATE INDEX inbound_of_mailbox ON inbound (mailbox, id);
