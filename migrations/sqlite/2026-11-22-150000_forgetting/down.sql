DROP INDEX messages_deleted_at;
