-- What an agent said of itself last.
ALTER TABLE lavender.agents ADD COLUMN heartbeat text, ADD COLUMN heartbeat_at bigint;
