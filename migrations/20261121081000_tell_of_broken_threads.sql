-- A thread that breaks is told of once, where staff see it.
ALTER TABLE discord_threads ADD COLUMN broken_told BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN discord_threads.broken_told IS 'staff were told in Discord that it is broken';
