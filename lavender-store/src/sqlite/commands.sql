-- Version 5: commands to agents, as they were signed, and what the agents reported first.

CREATE TABLE commands (
    command_id BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    action TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    signed BLOB NOT NULL,
    outcome TEXT,
    finished_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX commands_agent ON commands (tenant, agent, issued_at, command_id);
