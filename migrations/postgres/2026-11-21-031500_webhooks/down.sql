DROP INDEX outbox_dead;
ALTER TABLE outbox DROP COLUMN last_error;
ALTER TABLE outbox DROP COLUMN dead_at;
DROP TABLE webhooks;
