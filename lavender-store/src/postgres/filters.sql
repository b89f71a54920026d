-- Alerts of an agent, a rule or a technique by status and severity, each in the order of time: a page is
-- merged from these, however rare what is asked for.
DROP INDEX lavender.alerts_tenant_status_observed_at_alert_id_idx;
DROP INDEX lavender.alerts_tenant_agent_observed_at_alert_id_idx;
DROP INDEX lavender.alerts_tenant_md5_observed_at_alert_id_idx;
CREATE INDEX alerts_tenant_agent ON lavender.alerts (tenant, agent, status, severity, observed_at, alert_id);
CREATE INDEX alerts_tenant_rule ON lavender.alerts (tenant, md5(rule_id), status, severity, observed_at, alert_id, agent);

ALTER TABLE lavender.alert_techniques DROP CONSTRAINT alert_techniques_pkey,
    ADD COLUMN status text COLLATE "C", ADD COLUMN severity smallint;
UPDATE lavender.alert_techniques k SET status = a.status, severity = a.severity
FROM lavender.alerts a WHERE a.alert_id = k.alert_id;
ALTER TABLE lavender.alert_techniques ALTER COLUMN status SET NOT NULL, ALTER COLUMN severity SET NOT NULL,
    ADD PRIMARY KEY (tenant, technique, status, severity, observed_at, alert_id);
-- An alert's, when its status changes.
CREATE INDEX ON lavender.alert_techniques (alert_id);
