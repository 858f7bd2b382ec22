ALTER TABLE bans DROP COLUMN status_before;
ALTER TABLE invites DROP COLUMN last_used_at;
