-- The spine: account, people, rooms, the log and what is projected from it.
-- Times are milliseconds since 1970-01-01T00:00:00Z. Names of constraints and indexes equal those on PostgreSQL.

CREATE TABLE accounts (
    id INTEGER NOT NULL CONSTRAINT accounts_pkey PRIMARY KEY CONSTRAINT accounts_single CHECK (id = 1),
    name TEXT NOT NULL CONSTRAINT accounts_name_not_blank CHECK (name <> ''),
    join_code TEXT NOT NULL CONSTRAINT accounts_join_code_not_blank CHECK (join_code <> ''),
    settings TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id INTEGER NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    name TEXT NOT NULL CONSTRAINT users_name_not_blank CHECK (name <> ''),
    role TEXT NOT NULL
        CONSTRAINT users_role_known CHECK (role IN ('admin', 'member', 'guest', 'bot', 'assistant')),
    status TEXT NOT NULL DEFAULT 'active'
        CONSTRAINT users_status_known CHECK (status IN ('active', 'deactivated', 'banned')),
    email TEXT,
    password_hash TEXT,
    last_seen_at INTEGER,
    created_at INTEGER NOT NULL,
    CONSTRAINT users_email_with_password CHECK ((email IS NULL) = (password_hash IS NULL)),
    CONSTRAINT users_bots_without_password CHECK (role NOT IN ('bot', 'assistant') OR email IS NULL)
) STRICT;
CREATE UNIQUE INDEX users_email ON users (email) WHERE email IS NOT NULL;

CREATE TABLE sessions (
    id INTEGER NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
    token_hash BLOB NOT NULL CONSTRAINT sessions_token_hash_size CHECK (length(token_hash) = 32),
    user_id INTEGER NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id),
    device TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX sessions_token_hash ON sessions (token_hash);
CREATE INDEX sessions_user_id ON sessions (user_id, id);

CREATE TABLE bot_keys (
    id INTEGER NOT NULL CONSTRAINT bot_keys_pkey PRIMARY KEY,
    user_id INTEGER NOT NULL CONSTRAINT bot_keys_user_id_fkey REFERENCES users (id),
    key_hash BLOB NOT NULL CONSTRAINT bot_keys_key_hash_size CHECK (length(key_hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX bot_keys_key_hash ON bot_keys (key_hash);
CREATE INDEX bot_keys_user_id ON bot_keys (user_id, id);

CREATE TABLE rooms (
    id INTEGER NOT NULL CONSTRAINT rooms_pkey PRIMARY KEY,
    kind TEXT NOT NULL
        CONSTRAINT rooms_kind_known CHECK (kind IN ('open', 'closed', 'direct', 'inbox', 'commons')),
    name TEXT,
    direct_key TEXT,
    owner_id INTEGER CONSTRAINT rooms_owner_id_fkey REFERENCES users (id),
    created_by INTEGER CONSTRAINT rooms_created_by_fkey REFERENCES users (id),
    created_at INTEGER NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0 CONSTRAINT rooms_last_seq_not_negative CHECK (last_seq >= 0),
    deleted_at INTEGER,
    deleted_by INTEGER CONSTRAINT rooms_deleted_by_fkey REFERENCES users (id),
    CONSTRAINT rooms_name_of_open_and_closed CHECK ((kind IN ('open', 'closed')) = (name IS NOT NULL)),
    CONSTRAINT rooms_key_of_direct CHECK ((kind = 'direct') = (direct_key IS NOT NULL)),
    CONSTRAINT rooms_owner_of_inbox CHECK ((kind = 'inbox') = (owner_id IS NOT NULL)),
    CONSTRAINT rooms_deleted_together CHECK ((deleted_at IS NULL) = (deleted_by IS NULL)),
    CONSTRAINT rooms_only_open_and_closed_deleted CHECK (deleted_at IS NULL OR kind IN ('open', 'closed'))
) STRICT;
CREATE UNIQUE INDEX rooms_one_commons ON rooms (kind) WHERE kind = 'commons';
CREATE UNIQUE INDEX rooms_one_inbox ON rooms (owner_id) WHERE owner_id IS NOT NULL;
CREATE UNIQUE INDEX rooms_one_direct ON rooms (direct_key) WHERE direct_key IS NOT NULL;

-- Who was added by name. Members of open rooms and of the commons have no row, guests apart.
CREATE TABLE memberships (
    room_id INTEGER NOT NULL CONSTRAINT memberships_room_id_fkey REFERENCES rooms (id),
    user_id INTEGER NOT NULL CONSTRAINT memberships_user_id_fkey REFERENCES users (id),
    added_by INTEGER CONSTRAINT memberships_added_by_fkey REFERENCES users (id),
    created_at INTEGER NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_user_id ON memberships (user_id, room_id);

-- The log. Ids are given in the order of commit, seqs per room without a hole.
CREATE TABLE events (
    id INTEGER NOT NULL CONSTRAINT events_pkey PRIMARY KEY CONSTRAINT events_id_positive CHECK (id > 0),
    room_id INTEGER NOT NULL CONSTRAINT events_room_id_fkey REFERENCES rooms (id),
    seq INTEGER NOT NULL CONSTRAINT events_seq_positive CHECK (seq > 0),
    kind TEXT NOT NULL,
    actor_id INTEGER CONSTRAINT events_actor_id_fkey REFERENCES users (id),
    payload TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_room_id_seq ON events (room_id, seq);

CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;
CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;

CREATE TABLE log_head (
    id INTEGER NOT NULL CONSTRAINT log_head_pkey PRIMARY KEY CONSTRAINT log_head_single CHECK (id = 1),
    epoch BLOB NOT NULL CONSTRAINT log_head_epoch_size CHECK (length(epoch) = 16),
    last_id INTEGER NOT NULL CONSTRAINT log_head_last_id_not_negative CHECK (last_id >= 0)
) STRICT;

-- A message's id is the id of the event that posted it. `digest` is the SHA-256 of the first body, so that a
-- repeated post is recognised after an edit.
CREATE TABLE messages (
    id INTEGER NOT NULL CONSTRAINT messages_pkey PRIMARY KEY
        CONSTRAINT messages_id_fkey REFERENCES events (id),
    room_id INTEGER NOT NULL CONSTRAINT messages_room_id_fkey REFERENCES rooms (id),
    seq INTEGER NOT NULL CONSTRAINT messages_seq_positive CHECK (seq > 0),
    author_id INTEGER NOT NULL CONSTRAINT messages_author_id_fkey REFERENCES users (id),
    client_message_id BLOB NOT NULL
        CONSTRAINT messages_client_message_id_size CHECK (length(client_message_id) = 16),
    digest BLOB NOT NULL CONSTRAINT messages_digest_size CHECK (length(digest) = 32),
    body TEXT NOT NULL CONSTRAINT messages_body_not_blank CHECK (body <> ''),
    version INTEGER NOT NULL DEFAULT 1 CONSTRAINT messages_version_positive CHECK (version > 0),
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    edited_by INTEGER CONSTRAINT messages_edited_by_fkey REFERENCES users (id),
    edit_event_id INTEGER CONSTRAINT messages_edit_event_id_fkey REFERENCES events (id),
    deleted_at INTEGER,
    deleted_by INTEGER CONSTRAINT messages_deleted_by_fkey REFERENCES users (id),
    CONSTRAINT messages_edited_together CHECK (
        (version > 1) = (edited_at IS NOT NULL)
        AND (version > 1) = (edited_by IS NOT NULL)
        AND (version > 1) = (edit_event_id IS NOT NULL)
    ),
    CONSTRAINT messages_deleted_together CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX messages_client_message_id ON messages (room_id, author_id, client_message_id);
CREATE INDEX messages_history ON messages (room_id, id) WHERE deleted_at IS NULL;
CREATE INDEX messages_unread ON messages (room_id, seq, author_id) WHERE deleted_at IS NULL;

-- The words of messages that are not deleted.
CREATE VIRTUAL TABLE search USING fts5 (
    body, content = 'messages', content_rowid = 'id', tokenize = 'porter unicode61'
);
CREATE TRIGGER messages_search_insert AFTER INSERT ON messages WHEN new.deleted_at IS NULL
BEGIN
    INSERT INTO search (rowid, body) VALUES (new.id, new.body);
END;
CREATE TRIGGER messages_search_update AFTER UPDATE OF body, deleted_at ON messages WHEN old.deleted_at IS NULL
BEGIN
    INSERT INTO search (search, rowid, body) VALUES ('delete', old.id, old.body);
    INSERT INTO search (rowid, body) SELECT new.id, new.body WHERE new.deleted_at IS NULL;
END;
CREATE TRIGGER messages_search_delete AFTER DELETE ON messages WHEN old.deleted_at IS NULL
BEGIN
    INSERT INTO search (search, rowid, body) VALUES ('delete', old.id, old.body);
END;

CREATE TABLE read_marks (
    user_id INTEGER NOT NULL CONSTRAINT read_marks_user_id_fkey REFERENCES users (id),
    room_id INTEGER NOT NULL CONSTRAINT read_marks_room_id_fkey REFERENCES rooms (id),
    seq INTEGER NOT NULL CONSTRAINT read_marks_seq_positive CHECK (seq > 0),
    updated_at INTEGER NOT NULL,
    CONSTRAINT read_marks_pkey PRIMARY KEY (user_id, room_id)
) STRICT, WITHOUT ROWID;

-- What a committed event causes outside, delivered at least once.
CREATE TABLE outbox (
    id INTEGER NOT NULL CONSTRAINT outbox_pkey PRIMARY KEY,
    event_id INTEGER NOT NULL CONSTRAINT outbox_event_id_fkey REFERENCES events (id),
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CONSTRAINT outbox_attempts_not_negative CHECK (attempts >= 0),
    next_attempt_at INTEGER NOT NULL,
    lease_until INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt_at, id);
CREATE INDEX outbox_event_id ON outbox (event_id);
