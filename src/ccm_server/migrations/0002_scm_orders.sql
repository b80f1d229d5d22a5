-- What was bought, beside its certificate: the order, the application, and how far its review is.
CREATE TABLE scm_order (
    certificate  TEXT PRIMARY KEY REFERENCES scm_certificate (id) ON DELETE CASCADE,
    years        INTEGER NOT NULL,
    primary_kind TEXT,                        -- SINGLE_DOMAIN or WILDCARD_DOMAIN, where that was bought
    singles      INTEGER,                     -- further plain names; absent where the kinds were left open
    wildcards    INTEGER,                     -- further wildcard names; the same
    paid_until   INTEGER,                     -- the end of the years; known from the first issue on
    origin       TEXT,                        -- the first certificate of the order; absent in the first
    renews       TEXT,                        -- the certificate before this one
    renew_at     INTEGER,                     -- when the next one is applied for
    form         BLOB,                        -- what the applicant said, JSON, sealed
    method       TEXT,                        -- DNS, FILE, EMAIL
    token        TEXT,                        -- what the applicant must show
    attempt      INTEGER NOT NULL DEFAULT 0,  -- grows with every application; what works for an older one comes too late
    submitted    INTEGER,
    stage_end    INTEGER,                     -- when the present stage of the review ends by itself
    due          INTEGER,                     -- when the server looks next; absent: somebody else must act
    fail_reason  TEXT
) STRICT;
CREATE INDEX scm_order_due ON scm_order (due) WHERE due IS NOT NULL;
CREATE INDEX scm_order_renew ON scm_order (renew_at) WHERE renew_at IS NOT NULL;
CREATE INDEX scm_order_origin ON scm_order (origin) WHERE origin IS NOT NULL;

-- The names of an application, the primary one first, and which of them are proven.
CREATE TABLE scm_domain (
    certificate TEXT NOT NULL REFERENCES scm_certificate (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    domain      TEXT NOT NULL,
    validated   INTEGER,
    problem     TEXT,  -- what was wrong at the last look
    PRIMARY KEY (certificate, position)
) STRICT, WITHOUT ROWID;

-- Papers that an applicant uploaded.
CREATE TABLE scm_paper (
    certificate TEXT NOT NULL REFERENCES scm_certificate (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL,  -- BL (account opening permit), TL (business licence)
    uploaded    INTEGER NOT NULL,
    content     BLOB NOT NULL,  -- sealed
    PRIMARY KEY (certificate, kind)
) STRICT;

-- The CA behind SCM: a root, and what it certified to issue.
CREATE TABLE scm_authority (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,     -- ROOT, ISSUING
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    certificate BLOB NOT NULL,     -- DER
    key         BLOB NOT NULL      -- PKCS #8, sealed
) STRICT;
