-- Version 1. Times are ns since 1970 (`timestamptz` holds only µs); counts that may need 64 bits without a sign are
-- stored as the same bits with one. Text that may hold a NUL has `\0` for it, and `\\` for a backslash.

CREATE TABLE lavender.sources (
    source integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    host text NOT NULL,
    -- Of the host's name, which may be longer than what an index takes.
    host_digest uuid NOT NULL,
    UNIQUE (tenant, agent, host_digest)
);

CREATE TABLE lavender.agents (
    tenant text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    host text NOT NULL,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    version text,
    kernel_release text,
    stopped boolean NOT NULL DEFAULT false,
    life_at bigint,
    PRIMARY KEY (tenant, agent)
);

-- The highest sequence number stored of each origin; the origin is written as its event 0.
CREATE TABLE lavender.sequences (origin uuid PRIMARY KEY, last_sequence bigint NOT NULL);

-- UTC days since 1970-01-01 that have partitions; `made` tells a day from the same day made again.
CREATE TABLE lavender.days (day integer PRIMARY KEY, made bigint GENERATED ALWAYS AS IDENTITY);

-- One partition a UTC day.
CREATE TABLE lavender.events (
    event_id uuid NOT NULL,
    observed_at bigint NOT NULL,
    boot_time bigint NOT NULL,
    sequence bigint NOT NULL,
    source integer NOT NULL,
    tid bigint NOT NULL,
    process_id uuid,
    process uuid,
    response_to uuid,
    kind text COLLATE "C" NOT NULL,
    data text NOT NULL,
    PRIMARY KEY (observed_at, event_id)
) PARTITION BY RANGE (observed_at);
CREATE INDEX ON lavender.events (source, observed_at);
CREATE INDEX ON lavender.events (process_id, observed_at) WHERE process_id IS NOT NULL;
CREATE INDEX ON lavender.events (kind, observed_at);
CREATE INDEX ON lavender.events (response_to, observed_at) WHERE response_to IS NOT NULL;

-- Every state that the events of a day show a process in, known by a digest of itself and its ancestors.
CREATE TABLE lavender.processes (
    day integer NOT NULL,
    process uuid NOT NULL,
    parent uuid,
    process_id uuid NOT NULL,
    generation bigint NOT NULL,
    seen_at bigint NOT NULL,
    pid bigint NOT NULL,
    uid bigint NOT NULL,
    "user" text,
    executable text NOT NULL,
    command_line text NOT NULL,
    container_id text,
    body text NOT NULL,
    PRIMARY KEY (process, day)
) PARTITION BY LIST (day);
CREATE INDEX ON lavender.processes (process_id, generation, seen_at);

CREATE TABLE lavender.losses (
    event_id uuid PRIMARY KEY,
    source integer NOT NULL,
    observed_at bigint NOT NULL,
    stage text NOT NULL,
    kind text NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX ON lavender.losses (observed_at);

CREATE TABLE lavender.alerts (
    alert_id uuid PRIMARY KEY,
    observed_at bigint NOT NULL,
    created_at bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    host text NOT NULL,
    rule_id text NOT NULL,
    rule_title text NOT NULL,
    severity smallint NOT NULL,
    status text COLLATE "C" NOT NULL,
    executable text,
    command_line text,
    body text NOT NULL,
    incident uuid,
    score bigint,
    repeats bigint NOT NULL,
    last_seen_at bigint
);
CREATE INDEX ON lavender.alerts (incident, observed_at, alert_id) WHERE incident IS NOT NULL;
CREATE INDEX ON lavender.alerts (observed_at, alert_id);
CREATE INDEX ON lavender.alerts (status, observed_at, alert_id);
CREATE INDEX ON lavender.alerts (tenant, observed_at, alert_id);
CREATE INDEX ON lavender.alerts (agent, observed_at, alert_id);
-- By digest: a rule's id may be longer than what an index takes.
CREATE INDEX ON lavender.alerts (md5(rule_id), observed_at, alert_id);

CREATE TABLE lavender.alert_history (
    change bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id uuid NOT NULL,
    from_status text NOT NULL,
    to_status text NOT NULL,
    actor text NOT NULL,
    reason text,
    at bigint NOT NULL
);
CREATE INDEX ON lavender.alert_history (alert_id, change);

-- Keys are bytes: in their order, and with any of them.
CREATE TABLE lavender.state (
    key bytea PRIMARY KEY,
    value bytea NOT NULL,
    version bigint NOT NULL,
    expires_at bigint
);
CREATE INDEX ON lavender.state (expires_at) WHERE expires_at IS NOT NULL;
CREATE SEQUENCE lavender.state_version;

-- The bytes of state in use, kept by a trigger: in parts, so that writers do not wait for one row.
CREATE TABLE lavender.state_totals (part integer PRIMARY KEY, bytes bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO lavender.state_totals SELECT part, 0 FROM generate_series(0, 15) AS part;
CREATE FUNCTION lavender.count_state() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    changed bigint := 0;
    held bytea;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        changed := changed - octet_length(OLD.key) - octet_length(OLD.value);
        held := OLD.key;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        changed := changed + octet_length(NEW.key) + octet_length(NEW.value);
        held := NEW.key;
    END IF;
    IF changed <> 0 THEN
        UPDATE lavender.state_totals SET bytes = bytes + changed WHERE part = get_byte(sha256(held), 0) % 16;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_state AFTER INSERT OR UPDATE OR DELETE ON lavender.state
    FOR EACH ROW EXECUTE FUNCTION lavender.count_state();

-- What a person reads: events with whose they are, who did it, and when.
CREATE VIEW lavender.readable_events AS
SELECT e.event_id, s.tenant, s.agent, s.host, e.sequence,
       to_timestamp(e.observed_at / 1000000000.0) AS observed, e.observed_at, e.kind,
       p.pid, p.uid, p."user", p.executable, p.command_line, e.data
FROM lavender.events e
JOIN lavender.sources s USING (source)
LEFT JOIN lavender.processes p
    ON p.process = e.process
    AND p.day = floor(e.observed_at / 86400000000000.0)::integer;
