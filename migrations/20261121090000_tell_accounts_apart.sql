-- Whose mails a mailbox's cursor counts, and what was left alone there (module ingest).
ALTER TABLE mailboxes
    ADD COLUMN account          TEXT,
    ADD COLUMN account_number   INT NOT NULL DEFAULT 0,
    ADD COLUMN left_alone_until TIMESTAMPTZ;
COMMENT ON COLUMN mailboxes.account IS 'user, server and folder that the cursor was read from; another one under the same name is read anew';
COMMENT ON COLUMN mailboxes.account_number IS 'counts the accounts that this name stood for';
COMMENT ON COLUMN mailboxes.left_alone_until IS 'with start = "new": mail that the server had before then is left alone, whatever UID it gets';

ALTER TABLE inbound
    ADD COLUMN account INT NOT NULL DEFAULT 0,
    DROP CONSTRAINT inbound_uid_once,
    ADD CONSTRAINT inbound_uid_once UNIQUE (mailbox, account, uidvalidity, uid);
COMMENT ON COLUMN inbound.account IS 'mailboxes.account_number when it was read: two accounts may number alike';
