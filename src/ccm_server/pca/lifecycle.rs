//! How a private CA comes from elsewhere and how it ends (CCM API 4.2.1.3, 4.2.1.5, 4.2.1.7 and 4.2.1.11 to 4.2.1.13).

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::{Code, code};
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authority::Authority;
use crate::ccm_server::pca::making::UNLIMITED;
use crate::ccm_server::pca::{crl, publish};
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, Facts, Hash, LineEnd};
use crate::model::{Seconds, Timestamp};

/// 4.2.1.3: how many CAs there are and may be. What a foreign CSR made counts for neither.
pub(super) async fn quota(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let used = in_use(&mut connection, call.account(), call.now).await?;
    Ok(Answer::ok(resources("CERTIFICATE_AUTHORITY", used, QUOTA)))
}

/// A quota as both services of PCA answer it.
pub(super) fn resources(kind: &str, used: i64, quota: i64) -> Value {
    json!({"quotas": {"resources": [{"type": kind, "used": used, "quota": quota}]}})
}

/// Refuses when the account has as many CAs as it may.
pub(super) async fn within_quota(
    connection: &mut SqliteConnection,
    account: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    if in_use(connection, account, now).await? < QUOTA {
        return Ok(());
    }
    let detail = format!("the account has {QUOTA} CAs, and no more are allowed");
    Err(Failure::because(code("PCA.00030001"), detail))
}

async fn in_use(
    connection: &mut SqliteConnection,
    account: &str,
    now: Timestamp,
) -> Result<i64, Failure> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM authority WHERE account = $1 AND listed = 1 AND (delete_at IS NULL OR delete_at > $2)",
    );
    Ok(count
        .bind(account)
        .bind(now.0)
        .fetch_one(connection)
        .await?)
}

/// 4.2.1.5: at once where nothing was ever signed, else after so many days in which it can be restored.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let days = call.query.integer("pending_days").unwrap_or(LEAST_DAYS);
    let end = call.now + Seconds::days(days);
    change(call, &["PENDING", "DISABLED"], move |found, connection| {
        Box::pin(async move {
            let statement = if found.is_pending() {
                sqlx::query("DELETE FROM authority WHERE id = $1").bind(found.id)
            } else {
                sqlx::query("UPDATE authority SET status = 'DELETED', delete_at = $1 WHERE id = $2")
                    .bind(end.0)
                    .bind(found.id)
            };
            statement.execute(connection).await?;
            Ok(())
        })
    })
    .await?;
    let id = call.path.text("ca_id").to_ascii_lowercase();
    call.shared.signers.forget(&id);
    call.shared.issuers.forget(&id);
    bury(call.shared, call.now).await?;
    Ok(Answer::no_content())
}

/// 4.2.1.12
pub(super) async fn restore(call: &Call<'_>) -> Result<Answer, Failure> {
    change(call, &["DELETED"], |found, connection| {
        Box::pin(async move {
            let restored =
                "UPDATE authority SET status = 'DISABLED', delete_at = NULL WHERE id = $1";
            sqlx::query(restored)
                .bind(found.id)
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await?;
    Ok(Answer::no_content())
}

/// Forgets the opened keys of CAs that have none any more: a request of before their end may have opened one after it.
pub(in crate::ccm_server) async fn forget_buried(shared: &Shared) {
    let open = Value::from(shared.signers.ids()).to_string();
    let ids = sqlx::query_scalar(
        "SELECT id FROM authority WHERE id IN (SELECT value FROM json_each($1)) AND key IS NULL",
    );
    let ids: Result<Vec<String>, sqlx::Error> = ids.bind(open).fetch_all(shared.db.read()).await;
    match ids {
        Ok(ids) => {
            for id in ids {
                shared.signers.forget(&id);
                shared.issuers.forget(&id);
            }
        }
        Err(error) => tracing::error!(%error, "failed to look for CAs whose keys are erased"),
    }
}

/// Erases the keys of CAs whose days are over. Their certificates stay: what they signed still needs its chain.
pub(in crate::ccm_server) async fn bury(shared: &Shared, now: Timestamp) -> Result<(), Failure> {
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            let due = "UPDATE authority SET key = NULL, listed = 0 WHERE delete_at <= $1 AND listed = 1 RETURNING id";
            let ids: Vec<String> = sqlx::query_scalar(due)
                .bind(now.0)
                .fetch_all(connection)
                .await?;
            Ok::<_, Failure>(ids)
        })
    });
    for id in write.await? {
        shared.signers.forget(&id);
        shared.issuers.forget(&id);
        shared.obs.forget(&id);
    }
    Ok(())
}

/// 4.2.1.7
pub(super) async fn export_csr(call: &Call<'_>) -> Result<Answer, Failure> {
    let pending = find(call, &["PENDING"]).await?;
    let signer = pending.signer(call.shared).await?;
    let subject = pending.subject.der();
    let made = call
        .shared
        .heavy(move || x509::request_of_authority(&subject, &signer, Hash::Sha256));
    let csr = x509::encode("CERTIFICATE REQUEST", &made.await?, LineEnd::CrLf);
    Ok(Answer::ok(json!({"csr": csr})))
}

/// 4.2.1.11: the certificate that somebody else made from the CSR.
pub(super) async fn import(call: &Call<'_>) -> Result<Answer, Failure> {
    let pending = find(call, &["PENDING"]).await?;
    let spki = pending.signer(call.shared).await?.spki().to_vec();
    let certificate = x509::certificates(call.body.text("certificate"))
        .map_err(|error| Failure::because(BAD_CERTIFICATE, error.to_string()))?;
    let [certificate] = certificate.as_slice() else {
        let detail = "certificate must hold one certificate in PEM, and the others go into certificate_chain";
        return Err(Failure::because(BAD_CERTIFICATE, detail));
    };
    let facts = x509::facts(certificate)
        .map_err(|error| Failure::because(BAD_CERTIFICATE, error.to_string()))?;
    fits(&facts, &spki, pending.has_lists()?, call.now)?;
    let given = call.body.text("certificate_chain").trim();
    let chain = x509::certificates(given)
        .map_err(|error| Failure::because(BAD_CHAIN, error.to_string()))?;
    if chain.is_empty() && !given.is_empty() {
        let detail = "certificate_chain holds no certificate in PEM";
        return Err(Failure::because(BAD_CHAIN, detail));
    }
    leads_up(certificate, &chain)?;
    let row = Imported {
        common_name: facts.subject.common_name.clone(),
        subject: serde_json::to_string(&facts.subject)?,
        signature_algorithm: hash_of(&facts.signature_algorithm),
        path_length: facts.path_length.map_or(UNLIMITED, i64::from),
        serial: facts.serial,
        not_before: facts.not_before,
        not_after: facts.not_after,
        issuer_name: facts.issuer_name,
        certificate: certificate.clone(),
        chain: x509::encode_all(chain.iter().map(Vec::as_slice), LineEnd::Lf),
    };
    let now = call.now;
    change(call, &["PENDING"], move |found, connection| {
        Box::pin(put(connection, found.id, row, now))
    })
    .await?;
    publish::publish_of(call.shared, &pending.id, call.now).await;
    Ok(Answer::no_content())
}

/// A certificate from elsewhere on its way into the state.
struct Imported {
    common_name: String,
    subject: String,
    signature_algorithm: Option<&'static str>,
    path_length: i64,
    serial: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    issuer_name: String,
    certificate: Vec<u8>,
    chain: String,
}

async fn put(
    connection: &mut SqliteConnection,
    id: String,
    row: Imported,
    now: Timestamp,
) -> Result<(), Failure> {
    let result = sqlx::query(
        "UPDATE authority SET status = 'ACTIVED', gen_mode = 'IMPORT', common_name = $1, subject = $2, \
         signature_algorithm = $3, path_length = $4, serial_number = $5, serial = $6, not_before = $7, not_after = $8, \
         foreign_issuer = $9, certificate = $10, foreign_chain = $11, \
         crl_due = CASE WHEN json_extract(crl, '$.enabled') THEN 0 END WHERE id = $12",
    )
    .bind(row.common_name)
    .bind(row.subject)
    .bind(row.signature_algorithm)
    .bind(row.path_length)
    .bind(text::serial_number(now))
    .bind(row.serial)
    .bind(row.not_before.0)
    .bind(row.not_after.0)
    .bind(row.issuer_name)
    .bind(row.certificate)
    .bind(row.chain)
    .bind(id)
    .execute(connection)
    .await;
    match result {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Failure::because(
            BAD_CERTIFICATE,
            "there is a CA with a certificate of this serial number already",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a certificate that the CA could not issue with, or not sign its lists with, where it has some.
fn fits(facts: &Facts, spki: &[u8], lists: bool, now: Timestamp) -> Result<(), Failure> {
    if facts.spki != spki {
        let detail = "the certificate is for another key than that of the CSR that was exported";
        return Err(Failure::because(code("PCA.00030301"), detail));
    }
    let refuse = |detail: &str| Err(Failure::because(BAD_CERTIFICATE, detail.to_owned()));
    if !facts.is_authority {
        return refuse(
            "the certificate is none of a CA: basicConstraints says no, or is not there",
        );
    }
    if !facts.signs_certificates {
        return refuse("the keyUsage of the certificate has no keyCertSign");
    }
    if lists && !facts.signs_lists {
        return refuse(
            "the keyUsage of the certificate has no cRLSign, and the CA has a list of revoked certificates",
        );
    }
    if facts.not_after < now {
        return refuse("the certificate has expired");
    }
    if facts.not_before > now + SKEW {
        return refuse("the certificate is not valid yet");
    }
    if facts.subject.common_name.is_empty() {
        return refuse("the subject of the certificate has no common name");
    }
    Ok(())
}

/// Refuses a chain in which one did not sign the one before.
fn leads_up(certificate: &[u8], chain: &[Vec<u8>]) -> Result<(), Failure> {
    let mut below = certificate;
    for (number, above) in chain.iter().enumerate() {
        let issues =
            x509::facts(above).is_ok_and(|facts| facts.is_authority && facts.signs_certificates);
        if !issues || !x509::signed_by(below, above) {
            let detail = format!(
                "certificate {} of certificate_chain did not sign the one before it",
                number + 1
            );
            return Err(Failure::because(BAD_CHAIN, detail));
        }
        below = above;
    }
    Ok(())
}

/// The API's name of the hash in names such as `SHA256WITHRSA` and `ECDSAWITHSHA384`.
fn hash_of(signature: &str) -> Option<&'static str> {
    let mut names = Hash::NAMES.iter().copied();
    names.find(|name| signature.contains(name))
}

/// 4.2.1.13: it issues no more, and its issuer says so. The reference has no status for that: it is DISABLED for good.
pub(super) async fn revoke(call: &Call<'_>) -> Result<Answer, Failure> {
    let reason = call.body.optional("reason").unwrap_or("UNSPECIFIED");
    let (reason, now) = (reason.to_owned(), call.now);
    let states = &["ACTIVED", "DISABLED", "EXPIRED"];
    let found = find(call, states).await?;
    change(call, states, move |found, connection| {
        Box::pin(async move {
            let refuse = |detail: &str| {
                Failure::because(
                    code("PCA.00030201"),
                    format!("the CA {} {detail}", found.id),
                )
            };
            if found.kind == "ROOT" {
                return Err(refuse("is a root, and nobody above it could revoke it"));
            }
            if found.is_revoked() {
                return Err(refuse("is revoked already"));
            }
            if found.is_imported() {
                return Err(refuse("was issued elsewhere; its issuer must revoke it"));
            }
            sqlx::query(
                "INSERT OR IGNORE INTO revocation (issuer, serial, at, reason) \
                     SELECT issuer, serial, $1, $2 FROM authority WHERE id = $3",
            )
            .bind(now.0)
            .bind(reason)
            .bind(&found.id)
            .execute(&mut *connection)
            .await?;
            if let Some(issuer) = found.issuer() {
                crl::outdated(connection, issuer).await?;
            }
            sqlx::query("UPDATE authority SET status = 'DISABLED', revoked = $1 WHERE id = $2")
                .bind(now.0)
                .bind(&found.id)
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await?;
    if let Some(issuer) = found.issuer() {
        publish::publish_of(call.shared, issuer, call.now).await;
    }
    Ok(Answer::no_content())
}

/// The CA of a call, which must be ours to change and in one of these states.
pub(super) async fn find(call: &Call<'_>, wanted: &[&str]) -> Result<Authority, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let id = call.path.text("ca_id");
    let found = Authority::find(&mut connection, call.account(), id, call.now, NOT_FOUND).await?;
    found.must_be_here()?;
    found.must_be(call.now, wanted)?;
    Ok(found)
}

/// A change on its way.
type Changing<'c> = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'c>>;

/// Finds the CA of a call and changes it, in one transaction.
pub(super) async fn change(
    call: &Call<'_>,
    from: &'static [&'static str],
    how: impl for<'c> FnOnce(Authority, &'c mut SqliteConnection) -> Changing<'c> + Send + 'static,
) -> Result<(), Failure> {
    let account = call.account().to_owned();
    let id = call.path.text("ca_id").to_owned();
    let now = call.now;
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let found = Authority::find(connection, &account, &id, now, NOT_FOUND).await?;
            found.must_be_here()?;
            found.must_be(now, from)?;
            how(found, connection).await
        })
    });
    write.await
}

/// CAs of an account (CCM API 4.2.1.3).
const QUOTA: i64 = 100;
/// Of `pending_days`.
const LEAST_DAYS: i64 = 7;
/// How far the clock of who signed may be ahead of ours.
const SKEW: Seconds = Seconds(300);

pub(super) const NOT_FOUND: &Code = code("PCA.00030102");
const BAD_CERTIFICATE: &Code = code("PCA.00020402");
const BAD_CHAIN: &Code = code("PCA.00020403");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ccm_server::Faults;
    use crate::ccm_server::x509::Signer;
    use crate::model::KeyAlgorithm;
    use crate::pki::PrivateKey;
    use crate::sys::clock::SystemClock;

    async fn open(directory: &tempfile::TempDir) -> Shared {
        let (clock, faults) = (Arc::new(SystemClock), Faults::none());
        let shared = Shared::open(&directory.path().join("ccm"), None, clock, faults).await;
        shared.unwrap()
    }

    #[tokio::test]
    async fn of_a_ca_without_a_list_or_without_a_key_no_list_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Arc::new(open(&directory).await);
        let rows = "INSERT INTO account (id, name, created) VALUES ('a', 'a', 0); \
             INSERT INTO authority (id, account, listed, kind, status, gen_mode, common_name, subject, key_algorithm, created, key, crl, \
             delete_at) VALUES ('without', 'a', 1, 'ROOT', 'ACTIVED', 'GENERATE', '', '{}', 'EC256', 0, x'00', '{}', NULL), \
             ('dying', 'a', 1, 'ROOT', 'DELETED', 'GENERATE', '', '{}', 'EC256', 0, x'00', '{}', 10)";
        sqlx::raw_sql(rows).execute(shared.db.read()).await.unwrap();
        publish::publish_of(&shared, "without", Timestamp(5)).await;
        assert!(shared.obs.known().is_empty());
        shared.obs.list("dying").tried(Some(Timestamp(5)));
        bury(&shared, Timestamp(9)).await.unwrap();
        assert_eq!(shared.obs.known(), ["dying"]);
        bury(&shared, Timestamp(10)).await.unwrap();
        assert!(shared.obs.known().is_empty());
    }

    #[tokio::test]
    async fn an_opened_key_is_forgotten_once_it_is_erased() {
        let directory = tempfile::tempdir().unwrap();
        let shared = open(&directory).await;
        let rows = "INSERT INTO account (id, name, created) VALUES ('a', 'a', 0); \
             INSERT INTO authority (id, account, listed, kind, status, gen_mode, common_name, subject, key_algorithm, created, key, crl) \
             VALUES ('buried', 'a', 0, 'ROOT', 'DELETED', 'GENERATE', '', '{}', 'EC256', 0, NULL, '{}'), \
             ('open', 'a', 1, 'ROOT', 'ACTIVED', 'GENERATE', '', '{}', 'EC256', 0, x'00', '{}')";
        sqlx::raw_sql(rows).execute(shared.db.read()).await.unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
        for id in ["buried", "open", "of SCM"] {
            let signer = Arc::new(Signer::load(key.pkcs8()).unwrap());
            shared.signers.put(id, signer);
        }
        forget_buried(&shared).await;
        assert_eq!(shared.signers.ids(), ["of SCM", "open"]);
    }
}
