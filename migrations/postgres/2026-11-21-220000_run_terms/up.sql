-- What an open run was admitted with, and indexes that don't grow with the runs that are over, of which there is no end.
-- Names of constraints and indexes equal those on the other database.

-- What its assistant was when it was asked for: as often, as much and as dear as was set aside (AI-15). There as long as the run is open.
CREATE TABLE run_terms (
    run_id BIGINT NOT NULL CONSTRAINT run_terms_pkey PRIMARY KEY
        CONSTRAINT run_terms_run_id_fkey REFERENCES runs (id),
    -- How often the engine is asked at most, and tokens of one request.
    requests BIGINT NOT NULL CONSTRAINT run_terms_requests_positive CHECK (requests > 0),
    prompt_tokens BIGINT NOT NULL CONSTRAINT run_terms_prompt_tokens_positive CHECK (prompt_tokens > 0),
    output_tokens BIGINT NOT NULL CONSTRAINT run_terms_output_tokens_positive CHECK (output_tokens > 0),
    -- Micro-dollars per million tokens.
    prompt_price BIGINT NOT NULL CONSTRAINT run_terms_prompt_price_not_negative CHECK (prompt_price >= 0),
    completion_price BIGINT NOT NULL CONSTRAINT run_terms_completion_price_not_negative CHECK (completion_price >= 0)
);

-- Found by the message that asks, whoever is asked.
DROP INDEX runs_one_per_prompt;
CREATE UNIQUE INDEX runs_one_per_prompt ON runs (prompt_id, assistant_id)
    WHERE kind = 'answer' AND regenerates IS NULL;
-- One at a time speaks in a room; what nobody hears before it is done goes on beside it.
DROP INDEX runs_one_at_work;
CREATE UNIQUE INDEX runs_one_at_work ON runs (room_id) WHERE state = 'running' AND message_id IS NOT NULL;
CREATE INDEX runs_running ON runs (id) WHERE state = 'running';
CREATE INDEX spending_period ON spending (period);
