-- Assistants: where they are reached, what they were asked, what it cost, and what they ask people's clients to do.
-- Names of constraints and indexes equal those on PostgreSQL.

CREATE TABLE assistants (
    user_id INTEGER NOT NULL CONSTRAINT assistants_pkey PRIMARY KEY
        CONSTRAINT assistants_user_id_fkey REFERENCES users (id),
    base_url TEXT NOT NULL CONSTRAINT assistants_base_url_not_blank CHECK (base_url <> ''),
    -- A secret.
    api_key TEXT,
    model TEXT NOT NULL CONSTRAINT assistants_model_not_blank CHECK (model <> ''),
    instructions TEXT NOT NULL DEFAULT '',
    -- Tokens that prompt and answer have together, and the answer alone.
    context_tokens INTEGER NOT NULL CONSTRAINT assistants_context_tokens_positive CHECK (context_tokens > 0),
    output_tokens INTEGER NOT NULL CONSTRAINT assistants_output_tokens_fit
        CHECK (output_tokens > 0 AND output_tokens < context_tokens),
    -- Micro-dollars per million tokens.
    prompt_price INTEGER NOT NULL DEFAULT 0 CONSTRAINT assistants_prompt_price_not_negative CHECK (prompt_price >= 0),
    completion_price INTEGER NOT NULL DEFAULT 0
        CONSTRAINT assistants_completion_price_not_negative CHECK (completion_price >= 0),
    -- Thousandths; none is the engine's own.
    temperature_milli INTEGER CONSTRAINT assistants_temperature_known
        CHECK (temperature_milli IS NULL OR temperature_milli BETWEEN 0 AND 2000),
    -- Kinds of action requests it may make, with commas.
    tools TEXT NOT NULL DEFAULT '',
    summarises INTEGER NOT NULL DEFAULT 0,
    enabled INTEGER NOT NULL DEFAULT 1,
    -- Its endpoint failed too often: nothing is asked before.
    paused_until INTEGER,
    updated_at INTEGER NOT NULL
) STRICT;

-- `message_id` is that of the answer; it is posted in the transaction that makes the run, after it.
CREATE TABLE runs (
    id INTEGER NOT NULL CONSTRAINT runs_pkey PRIMARY KEY,
    kind TEXT NOT NULL CONSTRAINT runs_kind_known CHECK (kind IN ('answer', 'summary')),
    room_id INTEGER NOT NULL CONSTRAINT runs_room_id_fkey REFERENCES rooms (id),
    assistant_id INTEGER NOT NULL CONSTRAINT runs_assistant_id_fkey REFERENCES users (id),
    -- None: it began by itself.
    asker_id INTEGER CONSTRAINT runs_asker_id_fkey REFERENCES users (id),
    -- What it answers; of a summary the last message it is about.
    prompt_id INTEGER NOT NULL,
    -- Of a summary the first message it is about.
    start_id INTEGER,
    message_id INTEGER,
    regenerates INTEGER CONSTRAINT runs_regenerates_fkey REFERENCES runs (id),
    state TEXT NOT NULL
        CONSTRAINT runs_state_known CHECK (state IN ('queued', 'running', 'done', 'cancelled', 'interrupted', 'failed')),
    stop_asked_at INTEGER,
    stop_asked_by INTEGER CONSTRAINT runs_stop_asked_by_fkey REFERENCES users (id),
    attempts INTEGER NOT NULL DEFAULT 0 CONSTRAINT runs_attempts_not_negative CHECK (attempts >= 0),
    -- Names the process and the lease.
    holder BLOB,
    lease_until INTEGER,
    next_attempt_at INTEGER NOT NULL,
    settings_version INTEGER NOT NULL DEFAULT 0,
    settings TEXT NOT NULL DEFAULT '{}',
    partial TEXT NOT NULL DEFAULT '',
    reason TEXT,
    truncated INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    usage_estimated INTEGER NOT NULL DEFAULT 0,
    cost_micros INTEGER NOT NULL DEFAULT 0,
    reserved_tokens INTEGER NOT NULL DEFAULT 0,
    reserved_micros INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    first_token_at INTEGER,
    ended_at INTEGER,
    CONSTRAINT runs_ended_together
        CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'cancelled', 'interrupted', 'failed'))),
    CONSTRAINT runs_held_while_running CHECK ((holder IS NOT NULL) = (state = 'running'))
) STRICT;
-- One answer to a message, and one more for each that is asked for again.
CREATE UNIQUE INDEX runs_one_per_prompt ON runs (assistant_id, prompt_id)
    WHERE kind = 'answer' AND regenerates IS NULL;
CREATE UNIQUE INDEX runs_one_regeneration ON runs (regenerates) WHERE regenerates IS NOT NULL;
-- One open answer per conversation, one at work per room.
CREATE UNIQUE INDEX runs_one_open ON runs (room_id, assistant_id, asker_id)
    WHERE state IN ('queued', 'running') AND asker_id IS NOT NULL;
CREATE UNIQUE INDEX runs_one_at_work ON runs (room_id) WHERE state = 'running';
CREATE INDEX runs_open ON runs (room_id, id) WHERE state IN ('queued', 'running');
CREATE INDEX runs_message_id ON runs (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX runs_room_id ON runs (room_id, id);
CREATE INDEX runs_created_at ON runs (created_at);

CREATE TABLE summaries (
    id INTEGER NOT NULL CONSTRAINT summaries_pkey PRIMARY KEY,
    room_id INTEGER NOT NULL CONSTRAINT summaries_room_id_fkey REFERENCES rooms (id),
    start_id INTEGER NOT NULL,
    end_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL CONSTRAINT summaries_run_id_fkey REFERENCES runs (id),
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT summaries_in_order CHECK (start_id <= end_id)
) STRICT;
CREATE UNIQUE INDEX summaries_one_per_start ON summaries (room_id, start_id);

-- How much may be used: by a user in a month, in a room in a day, by the account in a month. Scope id 0 is everybody's.
CREATE TABLE budgets (
    scope TEXT NOT NULL CONSTRAINT budgets_scope_known CHECK (scope IN ('user', 'room', 'account')),
    scope_id INTEGER NOT NULL,
    tokens_max INTEGER CONSTRAINT budgets_tokens_max_not_negative CHECK (tokens_max >= 0),
    micros_max INTEGER CONSTRAINT budgets_micros_max_not_negative CHECK (micros_max >= 0),
    updated_at INTEGER NOT NULL,
    CONSTRAINT budgets_pkey PRIMARY KEY (scope, scope_id)
) STRICT, WITHOUT ROWID;

-- What was used in a period, and what is set aside for runs that aren't over. The period is the day or the month it begins with.
CREATE TABLE spending (
    scope TEXT NOT NULL CONSTRAINT spending_scope_known CHECK (scope IN ('user', 'room', 'account')),
    scope_id INTEGER NOT NULL,
    period TEXT NOT NULL CONSTRAINT spending_period_shape CHECK (length(period) IN (7, 10)),
    spent_tokens INTEGER NOT NULL DEFAULT 0,
    spent_micros INTEGER NOT NULL DEFAULT 0,
    reserved_tokens INTEGER NOT NULL DEFAULT 0,
    reserved_micros INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT spending_pkey PRIMARY KEY (scope, scope_id, period),
    CONSTRAINT spending_not_negative
        CHECK (spent_tokens >= 0 AND spent_micros >= 0 AND reserved_tokens >= 0 AND reserved_micros >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_settings (
    user_id INTEGER NOT NULL CONSTRAINT user_settings_pkey PRIMARY KEY
        CONSTRAINT user_settings_user_id_fkey REFERENCES users (id),
    version INTEGER NOT NULL CONSTRAINT user_settings_version_positive CHECK (version > 0),
    body TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What somebody's client is asked to do.
CREATE TABLE action_requests (
    id BLOB NOT NULL CONSTRAINT action_requests_pkey PRIMARY KEY
        CONSTRAINT action_requests_id_size CHECK (length(id) = 16),
    requester_id INTEGER NOT NULL CONSTRAINT action_requests_requester_id_fkey REFERENCES users (id),
    user_id INTEGER NOT NULL CONSTRAINT action_requests_user_id_fkey REFERENCES users (id),
    room_id INTEGER CONSTRAINT action_requests_room_id_fkey REFERENCES rooms (id),
    run_id INTEGER CONSTRAINT action_requests_run_id_fkey REFERENCES runs (id),
    kind TEXT NOT NULL CONSTRAINT action_requests_kind_not_blank CHECK (kind <> ''),
    arguments TEXT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT action_requests_state_known CHECK (state IN ('pending', 'running', 'done', 'failed', 'expired')),
    result TEXT,
    created_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    ended_at INTEGER,
    CONSTRAINT action_requests_ended_together
        CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'failed', 'expired')))
) STRICT, WITHOUT ROWID;
CREATE INDEX action_requests_user_id ON action_requests (user_id, deadline) WHERE ended_at IS NULL;
CREATE INDEX action_requests_deadline ON action_requests (deadline) WHERE ended_at IS NULL;
CREATE INDEX action_requests_ended_at ON action_requests (ended_at) WHERE ended_at IS NOT NULL;
