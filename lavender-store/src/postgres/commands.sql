-- Version 4: commands to agents, as they were signed, and what the agents reported first.

CREATE TABLE lavender.commands (
    command_id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    action text NOT NULL,
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    signed bytea NOT NULL,
    outcome text,
    finished_at bigint
);
CREATE INDEX ON lavender.commands (tenant, agent, issued_at, command_id);
