-- A message that is deleted takes the summaries along that know it. Those it was only hidden from until now go here.
DELETE FROM summaries WHERE EXISTS (
    SELECT 1 FROM messages m JOIN runs r ON r.id = summaries.run_id
    WHERE m.room_id = summaries.room_id AND m.id <= summaries.end_id AND m.deleted_at >= r.created_at
);

-- What was deleted lately in a room.
CREATE INDEX messages_deleted_at ON messages (room_id, deleted_at) WHERE deleted_at IS NOT NULL;
