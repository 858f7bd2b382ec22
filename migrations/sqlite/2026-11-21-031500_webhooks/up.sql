-- Where bots are told of messages, and what became of what could not be delivered.

-- Apart from the user: the address may carry a secret.
CREATE TABLE webhooks (
    user_id INTEGER NOT NULL CONSTRAINT webhooks_pkey PRIMARY KEY
        CONSTRAINT webhooks_user_id_fkey REFERENCES users (id),
    url TEXT NOT NULL CONSTRAINT webhooks_url_not_blank CHECK (url <> ''),
    updated_at INTEGER NOT NULL
) STRICT;

-- A dead row is kept to be looked at; its next_attempt_at is the end of time.
ALTER TABLE outbox ADD COLUMN dead_at INTEGER;
ALTER TABLE outbox ADD COLUMN last_error TEXT;
CREATE INDEX outbox_dead ON outbox (dead_at, id) WHERE dead_at IS NOT NULL;
