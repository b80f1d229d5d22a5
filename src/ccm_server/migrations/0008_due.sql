-- When each list of revoked certificates was made, less a day: one that a clock ahead of the time has made is not valid yet.
CREATE INDEX authority_crl_made ON authority (crl_due - 86400 * json_extract(crl, '$.valid_days')) WHERE crl_due IS NOT NULL;

-- A supplement that a review holds is looked at when its certificate ends.
UPDATE scm_order SET due = (SELECT not_after FROM scm_certificate WHERE id = scm_order.certificate)
    WHERE due IS NULL AND certificate IN (SELECT id FROM scm_certificate WHERE status = 'SUPPLEMENTCHECKING');

-- What is revoked, or about to be, is not deployed.
UPDATE scm_certificate SET deploy_support = 0 WHERE status IN ('REVOKE', 'REVOKING') AND deploy_support = 1;
