DROP INDEX runs_summaries;
DROP INDEX runs_one_by_itself;
DROP INDEX runs_one_summary;
DROP INDEX summaries_end_id;
ALTER TABLE summaries DROP COLUMN whole;
