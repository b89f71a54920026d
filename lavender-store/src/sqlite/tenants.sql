ALTER TABLE alerts ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN updated_at INTEGER;
UPDATE alerts SET (revision, updated_at) =
    (SELECT count(*), max(at) FROM alert_history h WHERE h.alert_id = alerts.alert_id);
-- Holds all that is counted, so that counting doesn't read what alerts are made of.
CREATE INDEX alerts_tenant ON alerts (tenant, observed_at, alert_id, severity, status, rule_id, agent);
CREATE INDEX alerts_tenant_status ON alerts (tenant, status, observed_at, alert_id);
CREATE INDEX alerts_tenant_agent ON alerts (tenant, agent, observed_at, alert_id);
CREATE INDEX alerts_tenant_rule ON alerts (tenant, rule_id, observed_at, alert_id);

-- Under which techniques an alert is found; `named` where its rule names it, not only a sub-technique of it.
CREATE TABLE alert_techniques (
    tenant TEXT NOT NULL,
    technique TEXT NOT NULL,
    observed_at INTEGER NOT NULL,
    alert_id BLOB NOT NULL,
    named INTEGER NOT NULL,
    PRIMARY KEY (tenant, technique, observed_at, alert_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_techniques_named ON alert_techniques (tenant, observed_at, technique) WHERE named = 1;
INSERT OR IGNORE INTO alert_techniques
    SELECT tenant, 'T' || substr(tag.value, 9), observed_at, alert_id, 1
    FROM alerts, json_each(body, '$.rule.tags') tag
    WHERE tag.value GLOB 'attack.[tT][0-9.][0-9.][0-9.][0-9.]*' AND substr(tag.value, 9) NOT GLOB '*[^0-9.]*';
INSERT OR IGNORE INTO alert_techniques
    SELECT tenant, substr(technique, 1, instr(technique, '.') - 1), observed_at, alert_id, 0
    FROM alert_techniques WHERE instr(technique, '.') > 0;

ALTER TABLE agents ADD COLUMN last_lost_at INTEGER;
ALTER TABLE agents ADD COLUMN rules INTEGER;
ALTER TABLE agents ADD COLUMN kinds TEXT;
ALTER TABLE agents ADD COLUMN liveness TEXT;
ALTER TABLE agents ADD COLUMN liveness_at INTEGER;

CREATE TABLE agent_transitions (
    transition INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_transitions_tenant ON agent_transitions (tenant, at, transition);
CREATE INDEX agent_transitions_agent ON agent_transitions (tenant, agent, at, transition);

CREATE TABLE tokens (
    token_id BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_tenant ON tokens (tenant, created_at, token_id);

CREATE TABLE audit (
    entry INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    change TEXT NOT NULL,
    reason TEXT
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, at, entry);
CREATE INDEX audit_actor ON audit (tenant, actor, at, entry);

-- What changed, in the order in which it was stored. The newest is never deleted, so no position is given twice.
CREATE TABLE feed (
    position INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    change TEXT NOT NULL,
    alert_id BLOB,
    transition INTEGER
) STRICT;
CREATE INDEX feed_tenant ON feed (tenant, position);
