-- Facts about the file itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE project (
    id      TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    name    TEXT NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE user (
    id       TEXT PRIMARY KEY,
    account  TEXT NOT NULL REFERENCES account (id),
    name     TEXT NOT NULL,
    password TEXT NOT NULL,  -- a slow hash
    actions  TEXT NOT NULL,  -- patterns of chapter 6, separated by blanks
    created  INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE access_key (
    access_key TEXT PRIMARY KEY,
    user       TEXT NOT NULL REFERENCES user (id),
    secret     BLOB NOT NULL,  -- sealed
    created    INTEGER NOT NULL
) STRICT;

CREATE TABLE token (
    digest  BLOB PRIMARY KEY,  -- SHA-256 of the token
    user    TEXT NOT NULL REFERENCES user (id),
    project TEXT REFERENCES project (id),
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX token_expires ON token (expires);

-- Private CAs, and the subordinate CA certificates that were made from a foreign CSR (listed = 0).
CREATE TABLE authority (
    seq                 INTEGER PRIMARY KEY,
    id                  TEXT NOT NULL UNIQUE,
    account             TEXT NOT NULL REFERENCES account (id),
    listed              INTEGER NOT NULL,
    kind                TEXT NOT NULL,  -- ROOT, SUBORDINATE
    status              TEXT NOT NULL,  -- PENDING, ACTIVED, DISABLED, DELETED (scheduled); EXPIRED follows from not_after
    gen_mode            TEXT NOT NULL,
    common_name         TEXT NOT NULL,
    subject             TEXT NOT NULL,  -- the six members as JSON
    key_algorithm       TEXT NOT NULL,
    signature_algorithm TEXT,
    key_usages          TEXT,           -- as asked for, as JSON, for a later activation
    path_length         INTEGER,
    issuer              TEXT REFERENCES authority (id),
    serial_number       TEXT,           -- the API's 24 digits
    serial              BLOB UNIQUE,    -- the certificate's
    not_before          INTEGER,
    not_after           INTEGER,
    created             INTEGER NOT NULL,
    certificate         BLOB,           -- DER
    key                 BLOB,           -- PKCS #8, sealed
    foreign_issuer      TEXT,           -- common name of who issued it, where that was not one of these
    foreign_chain       TEXT,           -- PEM, as imported with it
    delete_at           INTEGER,        -- the moment from which it is gone; DELETED until then
    revoked             INTEGER,
    crl                 TEXT NOT NULL,  -- the CRL configuration as JSON
    crl_number          INTEGER NOT NULL DEFAULT 0,
    crl_due             INTEGER         -- when the next list is to be made; absent without lists
) STRICT;
CREATE INDEX authority_crl ON authority (crl_due) WHERE crl_due IS NOT NULL;
CREATE INDEX authority_account ON authority (account, listed, created);

CREATE TABLE certificate (
    seq                 INTEGER PRIMARY KEY,
    id                  TEXT NOT NULL UNIQUE,
    account             TEXT NOT NULL REFERENCES account (id),
    issuer              TEXT NOT NULL REFERENCES authority (id),
    issuer_name         TEXT NOT NULL,
    status              TEXT NOT NULL,  -- ISSUED, REVOKED; EXPIRED follows from not_after
    gen_mode            TEXT NOT NULL,  -- GENERATE, CSR
    common_name         TEXT NOT NULL,
    subject             TEXT NOT NULL,
    key_algorithm       TEXT NOT NULL,
    signature_algorithm TEXT NOT NULL,
    serial_number       TEXT NOT NULL,
    serial              BLOB NOT NULL UNIQUE,
    not_before          INTEGER NOT NULL,
    not_after           INTEGER NOT NULL,
    created             INTEGER NOT NULL,
    certificate         BLOB NOT NULL,
    key                 BLOB,           -- PKCS #8, sealed; absent when it was made elsewhere
    revoked             INTEGER,
    revocation_reason   TEXT
) STRICT;
CREATE INDEX certificate_created ON certificate (account, created);
CREATE INDEX certificate_name ON certificate (account, common_name);
CREATE INDEX certificate_end ON certificate (account, not_after);

CREATE INDEX certificate_revoked ON certificate (issuer) WHERE revoked IS NOT NULL;

-- Whether PCA may write into an account's buckets, and the buckets.
CREATE TABLE agency (
    account TEXT PRIMARY KEY REFERENCES account (id),
    id      TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE bucket (
    name    TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    created INTEGER NOT NULL
) STRICT;

-- How many certificates an account has: asked for with every new one.
CREATE TABLE stock (
    account      TEXT PRIMARY KEY REFERENCES account (id),
    certificates INTEGER NOT NULL
) STRICT;
CREATE TRIGGER certificate_in AFTER INSERT ON certificate BEGIN
    INSERT INTO stock (account, certificates) VALUES (NEW.account, 1)
        ON CONFLICT (account) DO UPDATE SET certificates = certificates + 1;
END;
CREATE TRIGGER certificate_out AFTER DELETE ON certificate BEGIN
    UPDATE stock SET certificates = certificates - 1 WHERE account = OLD.account;
END;

-- What a deleted certificate leaves behind: its serial may still be revoked, and its issuer must go on saying so.
CREATE TABLE revocation (
    issuer  TEXT NOT NULL REFERENCES authority (id),
    serial  BLOB NOT NULL,
    at      INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (issuer, serial)
) STRICT;

CREATE TABLE scm_certificate (
    seq                 INTEGER PRIMARY KEY,
    id                  TEXT NOT NULL UNIQUE,
    account             TEXT NOT NULL REFERENCES account (id),
    name                TEXT NOT NULL,
    status              TEXT NOT NULL,  -- UPLOAD, ISSUED and so on; EXPIRED follows from not_after
    domain              TEXT NOT NULL,
    sans                TEXT NOT NULL,  -- separated by semicolons, without the domain itself
    kind                TEXT,           -- OV_SSL_CERT and so on
    brand               TEXT,
    domain_type         TEXT NOT NULL,
    domain_count        INTEGER NOT NULL,
    wildcard_count      INTEGER NOT NULL,
    signature_algorithm TEXT,
    order_id            TEXT,
    validity_period     INTEGER NOT NULL,
    fingerprint         TEXT,           -- SHA-1, 40 hexadecimal digits
    not_before          INTEGER,
    not_after           INTEGER,
    issued              INTEGER,
    updated             INTEGER NOT NULL,
    certificate         BLOB,           -- DER
    chain               BLOB,           -- PEM, as imported
    key                 BLOB,           -- PKCS #8, sealed
    description         TEXT,
    deploy_support      INTEGER NOT NULL,
    revoke_reason       TEXT
) STRICT;
CREATE INDEX scm_certificate_updated ON scm_certificate (account, updated);
CREATE INDEX scm_certificate_end ON scm_certificate (account, not_after);
