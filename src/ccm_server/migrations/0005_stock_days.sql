-- How many private certificates of each status an account has, by the day of their end (days since 1970, UTC): what is
-- ISSUED or EXPIRED now is a sum over days, and a look at the certificates of today alone.
CREATE TABLE stock_day (
    account      TEXT NOT NULL REFERENCES account (id),
    status       TEXT NOT NULL,  -- as stored: ISSUED, REVOKED
    day          INTEGER NOT NULL,
    certificates INTEGER NOT NULL,
    PRIMARY KEY (account, status, day)
) STRICT, WITHOUT ROWID;
INSERT INTO stock_day (account, status, day, certificates)
    SELECT account, status, not_after / 86400, count(*) FROM certificate GROUP BY account, status, not_after / 86400;
CREATE TRIGGER certificate_day_in AFTER INSERT ON certificate BEGIN
    INSERT INTO stock_day (account, status, day, certificates) VALUES (NEW.account, NEW.status, NEW.not_after / 86400, 1)
        ON CONFLICT (account, status, day) DO UPDATE SET certificates = certificates + 1;
END;
CREATE TRIGGER certificate_day_out AFTER DELETE ON certificate BEGIN
    UPDATE stock_day SET certificates = certificates - 1
        WHERE account = OLD.account AND status = OLD.status AND day = OLD.not_after / 86400;
    DELETE FROM stock_day WHERE account = OLD.account AND status = OLD.status AND day = OLD.not_after / 86400
        AND certificates = 0;
END;
CREATE TRIGGER certificate_day_turn AFTER UPDATE OF status ON certificate WHEN NEW.status <> OLD.status BEGIN
    UPDATE stock_day SET certificates = certificates - 1
        WHERE account = OLD.account AND status = OLD.status AND day = OLD.not_after / 86400;
    DELETE FROM stock_day WHERE account = OLD.account AND status = OLD.status AND day = OLD.not_after / 86400
        AND certificates = 0;
    INSERT INTO stock_day (account, status, day, certificates) VALUES (NEW.account, NEW.status, NEW.not_after / 86400, 1)
        ON CONFLICT (account, status, day) DO UPDATE SET certificates = certificates + 1;
END;

-- Every order of the list has what filters look at, so that rows before a page are skipped in an index alone; that of names
-- is also what is looked through for a part of a name.
DROP INDEX certificate_name;
DROP INDEX certificate_end;
DROP INDEX certificate_issuer_name;
CREATE INDEX certificate_name ON certificate (account, common_name, seq, status, not_after, created);
CREATE INDEX certificate_end ON certificate (account, not_after, seq, status);
CREATE INDEX certificate_issuer_name ON certificate (account, issuer_name, seq, status, not_after);
-- What was revoked is not valid, whenever it ends.
DROP INDEX scm_certificate_window;
CREATE INDEX scm_certificate_window ON scm_certificate (account, not_after, not_before, updated, status);
