-- Which mails of a folder are not to be in the ledger, so that one that is missing there can be told from them.
ALTER TABLE mailboxes ADD COLUMN left_alone_through BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN mailboxes.left_alone_through IS
  'every UID up to this one, under this UIDVALIDITY, lay there before the first look and has no row in the ledger';

-- Where reading began with new mail only, it began before the first mail of the ledger.
UPDATE mailboxes m
SET left_alone_through = COALESCE(
  (SELECT min(i.uid) - 1 FROM inbound i
   WHERE i.mailbox = m.name AND i.account = m.account_number AND i.uidvalidity = m.uidvalidity),
  m.last_uid)
WHERE m.left_alone_until IS NOT NULL AND m.uidvalidity IS NOT NULL;
