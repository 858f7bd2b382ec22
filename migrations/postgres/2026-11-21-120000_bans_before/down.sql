ALTER TABLE bans DROP COLUMN status_before;
