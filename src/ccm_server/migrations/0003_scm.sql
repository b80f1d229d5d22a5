-- CSRs of SCM (CCM API 4.1.4), made here or brought along.
CREATE TABLE scm_csr (
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,  -- 32 hexadecimal digits
    account          TEXT NOT NULL REFERENCES account (id),
    name             TEXT NOT NULL,
    domain           TEXT NOT NULL,
    sans             TEXT NOT NULL,         -- separated by semicolons, without the domain itself
    key_algorithm    TEXT NOT NULL,         -- RSA_2048 and so on
    usage            TEXT NOT NULL,         -- PERSONAL, ENTERPRISE
    company_country  TEXT,
    company_province TEXT,
    company_city     TEXT,
    company_name     TEXT,
    csr              TEXT NOT NULL,         -- PEM
    spki             BLOB NOT NULL,         -- the public key in it, DER
    key              BLOB,                  -- PKCS #8, sealed; absent when it was kept elsewhere
    created          INTEGER NOT NULL,
    updated          INTEGER NOT NULL
) STRICT;
CREATE INDEX scm_csr_created ON scm_csr (account, created);
-- For the question whether the key of an application's CSR is here.
CREATE INDEX scm_csr_spki ON scm_csr (account, spki);

-- Tags of SCM's certificates (CCM API 4.1.2); they end with their certificate.
CREATE TABLE scm_tag (
    certificate TEXT NOT NULL REFERENCES scm_certificate (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    account     TEXT NOT NULL REFERENCES account (id),
    PRIMARY KEY (certificate, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX scm_tag_key ON scm_tag (account, key, value);

-- Certificates that were pushed to a service of a region, as that service holds them: with their key, and independent
-- of what becomes of the original.
CREATE TABLE scm_copy (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,  -- 32 hexadecimal digits, the service's own
    account     TEXT NOT NULL REFERENCES account (id),
    service     TEXT NOT NULL,         -- ELB, WAF, CDN
    region      TEXT NOT NULL,         -- `global` for CDN
    original    TEXT NOT NULL,         -- the id in SCM
    name        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    certificate BLOB NOT NULL,         -- DER
    chain       BLOB NOT NULL,         -- PEM
    key         BLOB NOT NULL,         -- PKCS #8, sealed
    pushed      INTEGER NOT NULL,
    UNIQUE (original, service, region)
) STRICT;
CREATE INDEX scm_copy_account ON scm_copy (account);

-- What stands for a listener of ELB, a domain of WAF, a domain of CDN.
CREATE TABLE scm_resource (
    seq                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    account            TEXT NOT NULL REFERENCES account (id),
    service            TEXT NOT NULL,
    region             TEXT NOT NULL,
    name               TEXT NOT NULL,  -- the domain for WAF and CDN
    kind               TEXT,           -- of WAF: cloud, premium
    enterprise_project TEXT NOT NULL,
    copy               TEXT REFERENCES scm_copy (id),  -- what it serves
    created            INTEGER NOT NULL,
    UNIQUE (account, service, region, name)
) STRICT;
CREATE INDEX scm_resource_copy ON scm_resource (copy) WHERE copy IS NOT NULL;

-- The last pushes of each certificate (CCM API 7.1.18).
CREATE TABLE scm_push (
    seq         INTEGER PRIMARY KEY,
    certificate TEXT NOT NULL REFERENCES scm_certificate (id) ON DELETE CASCADE,
    service     TEXT NOT NULL,
    region      TEXT,  -- absent for CDN, which has none
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX scm_push_certificate ON scm_push (certificate, seq);

-- How many certificates an account has in SCM, by stored status: asked for with every page of the list.
CREATE TABLE scm_stock (
    account      TEXT NOT NULL REFERENCES account (id),
    status       TEXT NOT NULL,
    certificates INTEGER NOT NULL,
    PRIMARY KEY (account, status)
) STRICT, WITHOUT ROWID;
INSERT INTO scm_stock (account, status, certificates)
    SELECT account, status, count(*) FROM scm_certificate GROUP BY account, status;
CREATE TRIGGER scm_certificate_in AFTER INSERT ON scm_certificate BEGIN
    INSERT INTO scm_stock (account, status, certificates) VALUES (NEW.account, NEW.status, 1)
        ON CONFLICT (account, status) DO UPDATE SET certificates = certificates + 1;
END;
CREATE TRIGGER scm_certificate_out AFTER DELETE ON scm_certificate BEGIN
    UPDATE scm_stock SET certificates = certificates - 1 WHERE account = OLD.account AND status = OLD.status;
END;
CREATE TRIGGER scm_certificate_turn AFTER UPDATE OF status ON scm_certificate WHEN NEW.status <> OLD.status BEGIN
    UPDATE scm_stock SET certificates = certificates - 1 WHERE account = OLD.account AND status = OLD.status;
    INSERT INTO scm_stock (account, status, certificates) VALUES (NEW.account, NEW.status, 1)
        ON CONFLICT (account, status) DO UPDATE SET certificates = certificates + 1;
END;

-- The orders of the list, each with and without a status and for what can be deployed, so that a page is read off an
-- index; the sequence number, which every index ends with, decides among equals. The wider ones are for filters.
CREATE INDEX scm_certificate_status ON scm_certificate (account, status, not_after);
CREATE INDEX scm_certificate_turned ON scm_certificate (account, status, updated);
CREATE INDEX scm_certificate_window ON scm_certificate (account, not_after, not_before, updated);
CREATE INDEX scm_certificate_deployable ON scm_certificate (account, updated) WHERE deploy_support = 1;
CREATE INDEX scm_certificate_deployable_end
    ON scm_certificate (account, not_after, status, updated, not_before) WHERE deploy_support = 1;
CREATE INDEX scm_certificate_content ON scm_certificate (account, name, domain, sans, status, not_after, updated);
CREATE INDEX scm_certificate_free ON scm_certificate (account) WHERE kind = 'DV_SSL_CERT_BASIC';
-- For the question whether the same certificate is there already.
CREATE INDEX scm_certificate_fingerprint ON scm_certificate (account, fingerprint);
