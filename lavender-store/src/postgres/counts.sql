-- Version 3: how many alerts there are, by severity and status in slots of five minutes, and by agent, rule and
-- technique in days.

-- Counts change often and no index has them, so a page with room keeps the new beside the old.
CREATE TABLE lavender.alert_slots (
    tenant text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    severity smallint NOT NULL,
    status text COLLATE "C" NOT NULL,
    alerts bigint NOT NULL,
    PRIMARY KEY (tenant, slot, severity, status)
) WITH (fillfactor = 70);
-- A rule's id may be longer than what an index takes, so its digest is the key.
CREATE TABLE lavender.alert_days (
    tenant text COLLATE "C" NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    day bigint NOT NULL,
    digest bytea NOT NULL,
    value text COLLATE "C" NOT NULL,
    alerts bigint NOT NULL,
    PRIMARY KEY (tenant, dimension, day, digest)
) WITH (fillfactor = 70);

-- Division cuts off towards zero; what lies before 1970 is one further down, unless nothing is cut off.
INSERT INTO lavender.alert_slots
    SELECT tenant, observed_at / 300000000000 - (observed_at % 300000000000 < 0)::int AS slot, severity, status,
        count(*)
    FROM lavender.alerts GROUP BY tenant, slot, severity, status;
INSERT INTO lavender.alert_days
    SELECT tenant, dimension, day, sha256(convert_to(value, 'UTF8')), value, count(*)
    FROM (
        SELECT tenant, 'agent' AS dimension, observed_at, agent::text AS value FROM lavender.alerts
        UNION ALL SELECT tenant, 'rule', observed_at, rule_id FROM lavender.alerts
        UNION ALL SELECT tenant, 'technique', observed_at, technique FROM lavender.alert_techniques WHERE named
    ) counted,
    LATERAL (SELECT observed_at / 86400000000000 - (observed_at % 86400000000000 < 0)::int AS day) d
    GROUP BY tenant, dimension, day, value;
