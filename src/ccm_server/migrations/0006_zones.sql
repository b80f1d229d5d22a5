-- Public zones that stand for Huawei Cloud DNS: those that an account holds.
CREATE TABLE dns_zone (
    name    TEXT PRIMARY KEY,  -- in lower case, without a dot at its end
    account TEXT NOT NULL REFERENCES account (id),
    created INTEGER NOT NULL
) STRICT;

-- Where the server wrote the record that proves a name by itself; absent: nowhere. The record is made of the name and the
-- token of its order, and ends with both.
ALTER TABLE scm_domain ADD COLUMN zone TEXT REFERENCES dns_zone (name);
CREATE INDEX scm_domain_zone ON scm_domain (zone) WHERE zone IS NOT NULL;
