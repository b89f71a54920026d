-- Version 6: the rulesets of tenants, and which of them was published when.

CREATE TABLE lavender.rulesets (
    upload bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    files bigint NOT NULL,
    text_bytes bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    uploaded_at bigint NOT NULL,
    bundle bytea NOT NULL,
    UNIQUE (tenant, digest)
);
CREATE INDEX ON lavender.rulesets (tenant, upload);

CREATE TABLE lavender.publications (
    tenant text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    actor text NOT NULL,
    reason text,
    published_at bigint NOT NULL,
    PRIMARY KEY (tenant, revision)
);
