ALTER TABLE messages ADD COLUMN problems TEXT;
COMMENT ON COLUMN messages.problems IS 'what of the mail could not be read or was left out, in words for staff; NULL: nothing';
