-- When somebody came in by it last: a used up invitation is over since then.
ALTER TABLE invites ADD COLUMN last_used_at INTEGER;

-- What lifting the ban leads back to.
ALTER TABLE bans ADD COLUMN status_before TEXT NOT NULL DEFAULT 'active'
    CONSTRAINT bans_status_before_known CHECK (status_before IN ('active', 'deactivated'));
