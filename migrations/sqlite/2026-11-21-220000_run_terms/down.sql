DROP INDEX spending_period;
DROP INDEX runs_running;
DROP INDEX runs_one_at_work;
CREATE UNIQUE INDEX runs_one_at_work ON runs (room_id) WHERE state = 'running';
DROP INDEX runs_one_per_prompt;
CREATE UNIQUE INDEX runs_one_per_prompt ON runs (assistant_id, prompt_id)
    WHERE kind = 'answer' AND regenerates IS NULL;
DROP TABLE run_terms;
