-- What somebody was when they were banned, and is again when the ban is lifted. Names equal those on SQLite.
ALTER TABLE bans ADD COLUMN status_before TEXT NOT NULL DEFAULT 'active'
    CONSTRAINT bans_status_before_known CHECK (status_before IN ('active', 'deactivated'));
