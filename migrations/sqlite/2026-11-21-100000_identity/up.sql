-- Who may come in, by what, and what they did. Names of constraints and indexes equal those on PostgreSQL.

ALTER TABLE users ADD COLUMN bio TEXT NOT NULL DEFAULT '';

-- `begun_by` is how the session came to be; one of 'tokens' is the family of an API client's tokens, and its own token nobody's.
ALTER TABLE sessions ADD COLUMN begun_by TEXT NOT NULL DEFAULT 'password'
    CONSTRAINT sessions_begun_by_known
    CHECK (begun_by IN ('password', 'setup', 'join', 'transfer', 'recovery', 'tokens'));
-- Where it was last used from.
ALTER TABLE sessions ADD COLUMN address TEXT;
CREATE INDEX sessions_expires_at ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    id INTEGER NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY,
    token_hash BLOB NOT NULL CONSTRAINT refresh_tokens_token_hash_size CHECK (length(token_hash) = 32),
    session_id INTEGER NOT NULL CONSTRAINT refresh_tokens_session_id_fkey REFERENCES sessions (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX refresh_tokens_token_hash ON refresh_tokens (token_hash);
CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id, id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- A link that signs in once: another device of the same user ('device'), or one who forgot the password ('recovery').
CREATE TABLE transfers (
    id INTEGER NOT NULL CONSTRAINT transfers_pkey PRIMARY KEY,
    token_hash BLOB NOT NULL CONSTRAINT transfers_token_hash_size CHECK (length(token_hash) = 32),
    user_id INTEGER NOT NULL CONSTRAINT transfers_user_id_fkey REFERENCES users (id),
    created_by INTEGER NOT NULL CONSTRAINT transfers_created_by_fkey REFERENCES users (id),
    kind TEXT NOT NULL CONSTRAINT transfers_kind_known CHECK (kind IN ('device', 'recovery')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX transfers_token_hash ON transfers (token_hash);
CREATE INDEX transfers_user_id ON transfers (user_id, id);
CREATE INDEX transfers_expires_at ON transfers (expires_at);

CREATE TABLE invites (
    id INTEGER NOT NULL CONSTRAINT invites_pkey PRIMARY KEY,
    code TEXT NOT NULL CONSTRAINT invites_code_not_blank CHECK (code <> ''),
    role TEXT NOT NULL CONSTRAINT invites_role_known CHECK (role IN ('member', 'guest')),
    created_by INTEGER NOT NULL CONSTRAINT invites_created_by_fkey REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    max_uses INTEGER CONSTRAINT invites_max_uses_positive CHECK (max_uses > 0),
    uses INTEGER NOT NULL DEFAULT 0,
    revoked_at INTEGER,
    CONSTRAINT invites_not_overused CHECK (uses >= 0 AND (max_uses IS NULL OR uses <= max_uses))
) STRICT;
CREATE UNIQUE INDEX invites_code ON invites (code);

-- The rooms a guest is added to.
CREATE TABLE invite_rooms (
    invite_id INTEGER NOT NULL CONSTRAINT invite_rooms_invite_id_fkey REFERENCES invites (id),
    room_id INTEGER NOT NULL CONSTRAINT invite_rooms_room_id_fkey REFERENCES rooms (id),
    CONSTRAINT invite_rooms_pkey PRIMARY KEY (invite_id, room_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE bans (
    id INTEGER NOT NULL CONSTRAINT bans_pkey PRIMARY KEY,
    user_id INTEGER NOT NULL CONSTRAINT bans_user_id_fkey REFERENCES users (id),
    banned_by INTEGER NOT NULL CONSTRAINT bans_banned_by_fkey REFERENCES users (id),
    reason TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    lifted_at INTEGER,
    lifted_by INTEGER CONSTRAINT bans_lifted_by_fkey REFERENCES users (id),
    CONSTRAINT bans_lifted_together CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX bans_one_living ON bans (user_id) WHERE lifted_at IS NULL;

CREATE TABLE banned_addresses (
    ban_id INTEGER NOT NULL CONSTRAINT banned_addresses_ban_id_fkey REFERENCES bans (id),
    address TEXT NOT NULL CONSTRAINT banned_addresses_address_not_blank CHECK (address <> ''),
    CONSTRAINT banned_addresses_pkey PRIMARY KEY (ban_id, address)
) STRICT, WITHOUT ROWID;

ALTER TABLE bot_keys ADD COLUMN created_by INTEGER CONSTRAINT bot_keys_created_by_fkey REFERENCES users (id);

-- Who did what, written with what was done. Without foreign keys: it outlives what it tells of.
CREATE TABLE audit (
    id INTEGER NOT NULL CONSTRAINT audit_pkey PRIMARY KEY,
    at INTEGER NOT NULL,
    actor_id INTEGER,
    via TEXT NOT NULL CONSTRAINT audit_via_known CHECK (via IN ('session', 'bot_key', 'nobody', 'operator', 'system')),
    credential_id INTEGER,
    action TEXT NOT NULL CONSTRAINT audit_action_not_blank CHECK (action <> ''),
    target_kind TEXT,
    target_id INTEGER,
    room_id INTEGER,
    address TEXT,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
-- The trail is read by time; what is asked besides comes first.
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_actor_id ON audit (actor_id, at, id);
CREATE INDEX audit_action ON audit (action, at, id);
CREATE INDEX audit_target_kind ON audit (target_kind, at, id);
CREATE INDEX audit_target ON audit (target_kind, target_id, at, id);

CREATE TRIGGER audit_refuse_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never changed');
END;
-- INSERT OR REPLACE takes the row away that is in its place, and asks no trigger for deletions.
CREATE TRIGGER audit_refuse_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is never changed');
END;
-- What is older than 30 days may be given up, by retention alone.
CREATE TRIGGER audit_refuse_delete BEFORE DELETE ON audit
WHEN old.at > (unixepoch() - 2592000) * 1000
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is kept for at least 30 days');
END;
