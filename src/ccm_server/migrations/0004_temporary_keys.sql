-- Access keys that end by themselves, and are good only together with their security token (CCM API 3.2).
CREATE TABLE temporary_key (
    access_key TEXT PRIMARY KEY,
    user       TEXT NOT NULL REFERENCES user (id),
    secret     BLOB NOT NULL,     -- sealed
    session    BLOB NOT NULL,     -- SHA-256 of the security token
    expires    INTEGER NOT NULL
) STRICT;
CREATE INDEX temporary_key_expires ON temporary_key (expires);
CREATE INDEX temporary_key_user ON temporary_key (user);
CREATE INDEX access_key_user ON access_key (user);
CREATE INDEX token_user ON token (user);
