-- Since when an assistant's address leads to whom it leads now: scheme, host and port.
ALTER TABLE assistants ADD COLUMN base_url_changed_at INTEGER NOT NULL DEFAULT 0;
