-- Summaries: a stretch of a room is summed up once at a time, and a room by itself once at a time (SUM-03).
-- Names of indexes equal those on the other database.

-- It begins where the room does, or goes on where one that does ends.
ALTER TABLE summaries ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;
CREATE INDEX summaries_end_id ON summaries (room_id, end_id);
CREATE UNIQUE INDEX runs_one_summary ON runs (room_id, start_id)
    WHERE kind = 'summary' AND state IN ('queued', 'running');
CREATE UNIQUE INDEX runs_one_by_itself ON runs (room_id)
    WHERE kind = 'summary' AND asker_id IS NULL AND state IN ('queued', 'running');
CREATE INDEX runs_summaries ON runs (room_id, start_id) WHERE kind = 'summary';
