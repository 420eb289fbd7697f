-- A file of a message names a content that is kept: until now nothing but the order of statements said so, and a file that was
-- entered while a sweep looked could lose its content. An upload has such a reference already.
--
-- A process of the version before keeps a content before it refers to it, too, and goes on as it did.

ALTER TABLE attachments
    ADD CONSTRAINT attachments_blob FOREIGN KEY (sha256) REFERENCES blobs (sha256) NOT VALID;
ALTER TABLE attachments VALIDATE CONSTRAINT attachments_blob;
