-- How often what an account's list of private certificates shows has changed: what a search found before a change counts no
-- more after it. It is counted where the stock is, at no cost of its own when a certificate is issued.
ALTER TABLE stock ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER certificate_in;
DROP TRIGGER certificate_out;
CREATE TRIGGER certificate_in AFTER INSERT ON certificate BEGIN
    INSERT INTO stock (account, certificates, changes) VALUES (NEW.account, 1, 1)
        ON CONFLICT (account) DO UPDATE SET certificates = certificates + 1, changes = changes + 1;
END;
CREATE TRIGGER certificate_out AFTER DELETE ON certificate BEGIN
    UPDATE stock SET certificates = certificates - 1, changes = changes + 1 WHERE account = OLD.account;
END;
CREATE TRIGGER certificate_changed AFTER UPDATE ON certificate BEGIN
    UPDATE stock SET changes = changes + 1 WHERE account = NEW.account;
END;

-- The same for SCM: the changes of an account are the sum over its statuses.
ALTER TABLE scm_stock ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER scm_certificate_in;
DROP TRIGGER scm_certificate_out;
DROP TRIGGER scm_certificate_turn;
CREATE TRIGGER scm_certificate_in AFTER INSERT ON scm_certificate BEGIN
    INSERT INTO scm_stock (account, status, certificates, changes) VALUES (NEW.account, NEW.status, 1, 1)
        ON CONFLICT (account, status) DO UPDATE SET certificates = certificates + 1, changes = changes + 1;
END;
CREATE TRIGGER scm_certificate_out AFTER DELETE ON scm_certificate BEGIN
    UPDATE scm_stock SET certificates = certificates - 1, changes = changes + 1
        WHERE account = OLD.account AND status = OLD.status;
END;
CREATE TRIGGER scm_certificate_turn AFTER UPDATE OF status ON scm_certificate WHEN NEW.status <> OLD.status BEGIN
    UPDATE scm_stock SET certificates = certificates - 1 WHERE account = OLD.account AND status = OLD.status;
    INSERT INTO scm_stock (account, status, certificates, changes) VALUES (NEW.account, NEW.status, 1, 1)
        ON CONFLICT (account, status) DO UPDATE SET certificates = certificates + 1, changes = changes + 1;
END;
CREATE TRIGGER scm_certificate_changed AFTER UPDATE ON scm_certificate WHEN NEW.status = OLD.status BEGIN
    UPDATE scm_stock SET changes = changes + 1 WHERE account = NEW.account AND status = NEW.status;
END;

-- Whose a list of revoked certificates is: asked for with every CA that is made.
CREATE INDEX authority_list ON authority
    (account, json_extract(crl, '$.obs_bucket_name'), json_extract(crl, '$.crl_name'));
