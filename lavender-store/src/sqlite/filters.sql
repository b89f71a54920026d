-- Alerts of an agent, a rule or a technique by status and severity, each in the order of time: a page is merged from
-- these, however rare what is asked for.
DROP INDEX alerts_tenant_status;
DROP INDEX alerts_tenant_agent;
DROP INDEX alerts_tenant_rule;
CREATE INDEX alerts_tenant_agent ON alerts (tenant, agent, status, severity, observed_at, alert_id);
CREATE INDEX alerts_tenant_rule ON alerts (tenant, rule_id, status, severity, observed_at, alert_id, agent);

ALTER TABLE alert_techniques RENAME TO alert_techniques_before;
DROP INDEX alert_techniques_named;
CREATE TABLE alert_techniques (
    tenant TEXT NOT NULL,
    technique TEXT NOT NULL,
    status TEXT NOT NULL,
    severity INTEGER NOT NULL,
    observed_at INTEGER NOT NULL,
    alert_id BLOB NOT NULL,
    named INTEGER NOT NULL,
    PRIMARY KEY (tenant, technique, status, severity, observed_at, alert_id)
) STRICT, WITHOUT ROWID;
INSERT INTO alert_techniques
    SELECT k.tenant, k.technique, a.status, a.severity, k.observed_at, k.alert_id, k.named
    FROM alert_techniques_before k JOIN alerts a USING (alert_id);
DROP TABLE alert_techniques_before;
CREATE INDEX alert_techniques_named ON alert_techniques (tenant, observed_at, technique) WHERE named = 1;
-- An alert's, when its status changes.
CREATE INDEX alert_techniques_alert ON alert_techniques (alert_id);
