-- Alerts of a status and a severity in the order of time: what is so bad or worse is merged from these.
CREATE INDEX alerts_tenant_severity ON alerts (tenant, status, severity, observed_at, alert_id);
