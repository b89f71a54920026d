-- What an agent said of itself last.
ALTER TABLE agents ADD COLUMN heartbeat TEXT;
ALTER TABLE agents ADD COLUMN heartbeat_at INTEGER;
