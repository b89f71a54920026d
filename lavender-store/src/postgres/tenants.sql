-- Version 2: what a control plane asks for within a tenant, who may, who did, and what changed.

ALTER TABLE lavender.alerts ADD COLUMN revision bigint NOT NULL DEFAULT 0, ADD COLUMN updated_at bigint;
UPDATE lavender.alerts a SET revision = h.revision, updated_at = h.updated_at
FROM (SELECT alert_id, count(*) AS revision, max(at) AS updated_at
      FROM lavender.alert_history GROUP BY alert_id) h
WHERE a.alert_id = h.alert_id;
CREATE INDEX ON lavender.alerts (tenant, status, observed_at, alert_id);
CREATE INDEX ON lavender.alerts (tenant, agent, observed_at, alert_id);
CREATE INDEX ON lavender.alerts (tenant, md5(rule_id), observed_at, alert_id);
-- What is counted, so that counting doesn't read what alerts are made of.
CREATE INDEX ON lavender.alerts (tenant, observed_at, severity, status, agent);

-- Under which techniques an alert is found; `named` where its rule names it, not only a sub-technique of it.
CREATE TABLE lavender.alert_techniques (
    tenant text COLLATE "C" NOT NULL,
    technique text COLLATE "C" NOT NULL,
    observed_at bigint NOT NULL,
    alert_id uuid NOT NULL,
    named boolean NOT NULL,
    PRIMARY KEY (tenant, technique, observed_at, alert_id)
);
CREATE INDEX ON lavender.alert_techniques (tenant, observed_at, technique) WHERE named;
INSERT INTO lavender.alert_techniques
    SELECT tenant, 'T' || found[1], observed_at, alert_id, true
    FROM lavender.alerts, regexp_matches(body::json #>> '{rule,tags}', '"attack\.[tT]([0-9.]{4,})"', 'g') AS found
    ON CONFLICT DO NOTHING;
INSERT INTO lavender.alert_techniques
    SELECT tenant, split_part(technique, '.', 1), observed_at, alert_id, false
    FROM lavender.alert_techniques WHERE technique LIKE '%.%'
    ON CONFLICT DO NOTHING;

ALTER TABLE lavender.agents ADD COLUMN last_lost_at bigint, ADD COLUMN rules bigint, ADD COLUMN kinds text,
    ADD COLUMN liveness text COLLATE "C", ADD COLUMN liveness_at bigint;

CREATE TABLE lavender.agent_transitions (
    transition bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    from_state text,
    to_state text NOT NULL,
    reason text NOT NULL,
    at bigint NOT NULL
);
CREATE INDEX ON lavender.agent_transitions (tenant, at, transition);
CREATE INDEX ON lavender.agent_transitions (tenant, agent, at, transition);

CREATE TABLE lavender.tokens (
    token_id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    role text NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);
CREATE INDEX ON lavender.tokens (tenant, created_at, token_id);

CREATE TABLE lavender.audit (
    entry bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    change text NOT NULL,
    reason text
);
CREATE INDEX ON lavender.audit (tenant, at, entry);

-- What changed. A position is given under a lock that is held until the commit, so that whoever sees one sees every
-- one before it. The newest is never deleted, so no position is given twice.
CREATE TABLE lavender.feed (
    position bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    change text NOT NULL,
    alert_id uuid,
    transition bigint
);
CREATE INDEX ON lavender.feed (tenant, position);
