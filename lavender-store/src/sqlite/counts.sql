-- How many alerts there are: by severity and status in slots of five minutes, and by agent, rule and technique in days.
CREATE TABLE alert_slots (
    tenant TEXT NOT NULL,
    slot INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    status TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    PRIMARY KEY (tenant, slot, severity, status)
) STRICT, WITHOUT ROWID;
CREATE TABLE alert_days (
    tenant TEXT NOT NULL,
    dimension TEXT NOT NULL,
    day INTEGER NOT NULL,
    value TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    PRIMARY KEY (tenant, dimension, day, value)
) STRICT, WITHOUT ROWID;

-- Division cuts off towards zero; what lies before 1970 is one further down, unless nothing is cut off.
INSERT INTO alert_slots
    SELECT tenant, observed_at / 300000000000 - (observed_at % 300000000000 < 0) AS slot, severity, status, count(*)
    FROM alerts GROUP BY tenant, slot, severity, status;
INSERT INTO alert_days
    SELECT tenant, 'agent', observed_at / 86400000000000 - (observed_at % 86400000000000 < 0) AS day, agent, count(*)
    FROM alerts GROUP BY tenant, day, agent;
INSERT INTO alert_days
    SELECT tenant, 'rule', observed_at / 86400000000000 - (observed_at % 86400000000000 < 0) AS day, rule_id, count(*)
    FROM alerts GROUP BY tenant, day, rule_id;
INSERT INTO alert_days
    SELECT tenant, 'technique', observed_at / 86400000000000 - (observed_at % 86400000000000 < 0) AS day, technique,
        count(*)
    FROM alert_techniques WHERE named = 1 GROUP BY tenant, day, technique;
