-- Version 7: the rulesets of tenants, and which of them was published when.

CREATE TABLE rulesets (
    upload INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    files INTEGER NOT NULL,
    text_bytes INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    uploaded_at INTEGER NOT NULL,
    bundle BLOB NOT NULL,
    UNIQUE (tenant, digest)
) STRICT;
CREATE INDEX rulesets_tenant ON rulesets (tenant, upload);

CREATE TABLE publications (
    tenant TEXT NOT NULL,
    revision INTEGER NOT NULL,
    digest BLOB NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    published_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, revision)
) STRICT, WITHOUT ROWID;
