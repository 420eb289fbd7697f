-- There are more kinds of alarms (module alarms).
COMMENT ON COLUMN alarms.kind IS 'what sort of trouble; the program knows which there are (alarms::KINDS)';
COMMENT ON COLUMN alarms.subject IS 'with what: the name of a mailbox, a kind of job, a machine';
