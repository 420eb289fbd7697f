-- A thread that was broken or archived for a while was not heard: what was said in it is read before anything else of it is
-- kept.

ALTER TABLE discord_threads ADD COLUMN read_on BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN discord_threads.read_on IS 'for a while nothing was heard of it (it was broken, or archived): it is read on before anything else of it is kept';
CREATE INDEX discord_threads_to_read_on ON discord_threads (id) WHERE read_on;
UPDATE discord_threads SET read_on = TRUE WHERE broken IS NOT NULL;
