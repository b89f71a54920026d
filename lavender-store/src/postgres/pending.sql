-- Commands of which nothing is heard, by when they expire.
CREATE INDEX commands_pending ON lavender.commands (expires_at, command_id) WHERE outcome IS NULL;
