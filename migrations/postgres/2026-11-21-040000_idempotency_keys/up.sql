-- Requests that were made with a key of the caller's own, and what came of them. `response` holds no secret; it is taken
-- away when it has expired, and the row stays a while to say so. Names equal those on SQLite.
CREATE TABLE idempotency_keys (
    user_id BIGINT NOT NULL CONSTRAINT idempotency_keys_user_id_fkey REFERENCES users (id),
    key_hash BYTEA NOT NULL CONSTRAINT idempotency_keys_key_hash_size CHECK (length(key_hash) = 32),
    route TEXT NOT NULL,
    request_digest BYTEA NOT NULL
        CONSTRAINT idempotency_keys_request_digest_size CHECK (length(request_digest) = 32),
    response TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    forget_at BIGINT NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key_hash)
);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at) WHERE response IS NOT NULL;
CREATE INDEX idempotency_keys_forget_at ON idempotency_keys (forget_at);
