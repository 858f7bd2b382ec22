-- What a receiver answered, kept until it can be posted, so that nobody asks again. Names equal those on PostgreSQL.
ALTER TABLE outbox ADD COLUMN answer TEXT;
