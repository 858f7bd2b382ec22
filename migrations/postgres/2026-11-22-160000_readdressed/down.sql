ALTER TABLE assistants DROP COLUMN base_url_changed_at;
