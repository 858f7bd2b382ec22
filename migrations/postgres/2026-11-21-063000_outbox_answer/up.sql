-- What a receiver answered, kept until it can be posted, so that nobody asks again. Names equal those on SQLite.
ALTER TABLE outbox ADD COLUMN answer TEXT;
