//! Certificates that come in with their key (CCM API 4.1.5.2): checked, sealed, kept.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::text;
use crate::ccm_server::vault::{Vault, VaultError};
use crate::ccm_server::x509::{self, Facts, LineEnd};
use crate::model::{Name, Timestamp};
use crate::pki::{PrivateKey, Secret};

/// A certificate with its key, checked.
pub(in crate::ccm_server) struct Upload {
    /// The facts of the leaf.
    pub(in crate::ccm_server) facts: Facts,
    /// DER.
    certificate: Vec<u8>,
    /// PEM, issuer first.
    chain: String,
    key: PrivateKey,
}

/// What is to be imported.
pub(in crate::ccm_server) struct Import {
    /// Its name in SCM.
    pub(in crate::ccm_server) name: String,
    /// PEM; the chain may be in here as well.
    pub(in crate::ccm_server) certificate: String,
    /// PEM, issuer first; may be empty.
    pub(in crate::ccm_server) chain: String,
    /// PEM.
    pub(in crate::ccm_server) key: Secret,
    /// Whether it is refused where the same certificate is there already.
    pub(in crate::ccm_server) twin_refused: bool,
}

/// 4.1.5.2
pub(super) async fn import(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let own = |name: &str| body.text(name).to_owned();
    let wanted = Import {
        name: own("name"),
        certificate: own("certificate"),
        chain: own("certificate_chain"),
        key: Secret::from(own("private_key")),
        // The reference's meaning; the SDK's is the opposite, and neither has a code for it.
        twin_refused: body.has("duplicate_check") && !body.boolean("duplicate_check"),
    };
    let id = keep(call, wanted).await?;
    Ok(Answer::ok(json!({"certificate_id": id})))
}

/// Checks and keeps an import for the caller; answers its id.
pub(in crate::ccm_server) async fn keep(
    call: &Call<'_>,
    wanted: Import,
) -> Result<String, Failure> {
    let Import {
        name,
        certificate,
        chain,
        key,
        twin_refused,
    } = wanted;
    let upload = call
        .shared
        .heavy(move || check(&certificate, &chain, &key))
        .await?;
    if upload.facts.not_after < call.now {
        let detail = format!("it ended at {}", upload.facts.not_after);
        return Err(Failure::because(code("SCM.0042"), detail));
    }
    let id = text::scm_id();
    let kept = seal(
        &call.shared.vault,
        &id,
        call.account(),
        &name,
        "UPLOAD",
        &upload,
    )?;
    let now = call.now;
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            if twin_refused {
                no_twin(connection, &kept).await?;
            }
            insert(connection, kept, now).await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(id)
}

/// Checks that certificate, chain and key belong together. The certificate's text may hold the chain as well.
pub(in crate::ccm_server) fn check(
    certificate: &str,
    chain: &str,
    key: &Secret,
) -> Result<Upload, Failure> {
    let refuse = |name: &'static crate::ccm_server::codes::Code, text: String| {
        Err(Failure::because(name, text))
    };
    let bad_certificate = code("SCM.0006");
    let bad_chain = code("SCM.0013");
    let mut certificates = match x509::certificates(certificate) {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => return refuse(bad_certificate, "there is no CERTIFICATE block".to_owned()),
        Err(error) => return refuse(bad_certificate, error.to_string()),
    };
    let leaf = certificates.remove(0);
    match x509::certificates(chain) {
        Ok(found) if found.is_empty() && !chain.trim().is_empty() => {
            return refuse(bad_chain, "there is no CERTIFICATE block".to_owned());
        }
        Ok(found) => certificates.extend(found),
        Err(error) => return refuse(bad_chain, error.to_string()),
    }
    certificates.retain(|other| *other != leaf);
    let facts =
        x509::facts(&leaf).map_err(|error| Failure::because(bad_certificate, error.to_string()))?;
    let key = PrivateKey::from_pem(key.expose())
        .map_err(|error| Failure::because(code("SCM.0012"), error.to_string()))?;
    if key.public_key() != facts.spki {
        return Err(Failure::new(code("SCM.0014")));
    }
    let domains = names(&facts);
    if domains.is_empty() {
        return Err(Failure::new(code("SCM.0009")));
    }
    for domain in &domains {
        if !matches!(Name::parse(domain), Ok(Name::Dns(_) | Name::Ip(_))) {
            let detail = format!("{domain:?} is no domain name");
            return Err(Failure::because(code("SCM.0070"), detail));
        }
    }
    let mut below = (&leaf, facts.issuer_der.clone());
    for (nth, above) in certificates.iter().enumerate() {
        let nth = nth + 1;
        let found = match x509::facts(above) {
            Ok(found) if found.is_authority => found,
            Ok(_) => {
                return refuse(
                    bad_chain,
                    format!("certificate {nth} of the chain is no CA"),
                );
            }
            Err(error) => {
                return refuse(
                    bad_chain,
                    format!("certificate {nth} of the chain: {error}"),
                );
            }
        };
        if found.subject_der != below.1 {
            let detail =
                format!("certificate {nth} of the chain is not the issuer of the one before it");
            return refuse(code("SCM.0079"), detail);
        }
        if !x509::signed_by(below.0, above) {
            let detail = format!("certificate {nth} of the chain did not sign the one before it");
            return refuse(bad_chain, detail);
        }
        below = (above, found.issuer_der);
    }
    Ok(Upload {
        facts,
        chain: x509::encode_all(certificates.iter().map(Vec::as_slice), LineEnd::Lf),
        certificate: leaf,
        key,
    })
}

/// A row on its way into the state.
pub(in crate::ccm_server) struct Kept {
    id: String,
    account: String,
    name: String,
    status: String,
    names: Vec<String>,
    facts: Facts,
    certificate: Vec<u8>,
    chain: String,
    key: Vec<u8>,
}

/// Seals the key of an upload and names what is kept.
pub(in crate::ccm_server) fn seal(
    vault: &Vault,
    id: &str,
    account: &str,
    name: &str,
    status: &str,
    upload: &Upload,
) -> Result<Kept, VaultError> {
    Ok(Kept {
        id: id.to_owned(),
        account: account.to_owned(),
        name: name.to_owned(),
        status: status.to_owned(),
        names: names(&upload.facts),
        facts: upload.facts.clone(),
        certificate: upload.certificate.clone(),
        chain: upload.chain.clone(),
        key: vault.seal(&key_label(id), upload.key.pkcs8())?,
    })
}

/// Keeps an upload.
pub(in crate::ccm_server) async fn insert(
    connection: &mut SqliteConnection,
    kept: Kept,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let wildcards = kept
        .names
        .iter()
        .filter(|name| name.starts_with("*."))
        .count();
    let domain_type = match (kept.names.len(), wildcards) {
        (1, 0) => "SINGLE_DOMAIN",
        (1, _) => "WILDCARD",
        _ => "MULTI_DOMAIN",
    };
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (domain, sans) = kept
        .names
        .split_first()
        .map_or(("", [].as_slice()), |(domain, sans)| {
            (domain.as_str(), sans)
        });
    let issued_here = kept.status != "UPLOAD";
    sqlx::query(
        "INSERT INTO scm_certificate (id, account, name, status, domain, sans, kind, brand, domain_type, \
         domain_count, wildcard_count, signature_algorithm, order_id, validity_period, fingerprint, not_before, \
         not_after, issued, updated, certificate, chain, key, deploy_support) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 12, $14, $15, $16, $17, $18, $19, $20, $21, \
         $4 NOT IN ('REVOKE', 'REVOKING'))",
    )
    .bind(kept.id)
    .bind(kept.account)
    .bind(kept.name)
    .bind(kept.status)
    .bind(domain)
    .bind(sans.join(";"))
    .bind(issued_here.then_some("DV_SSL_CERT"))
    .bind(issued_here.then_some("GEOTRUST"))
    .bind(domain_type)
    .bind(count(kept.names.len()))
    .bind(count(wildcards))
    .bind(kept.facts.signature_algorithm)
    .bind(issued_here.then(|| format!("CS{}", text::random_digits(15))))
    .bind(kept.facts.fingerprint)
    .bind(kept.facts.not_before.0)
    .bind(kept.facts.not_after.0)
    .bind(issued_here.then_some(now.0))
    .bind(now.0)
    .bind(kept.certificate)
    .bind(kept.chain.into_bytes())
    .bind(kept.key)
    .execute(connection)
    .await?;
    Ok(())
}

async fn no_twin(connection: &mut SqliteConnection, kept: &Kept) -> Result<(), Failure> {
    let row = sqlx::query(
        "SELECT 1 FROM scm_certificate WHERE account = $1 AND fingerprint = $2 AND certificate = $3",
    )
    .bind(&kept.account)
    .bind(&kept.facts.fingerprint)
    .bind(&kept.certificate)
        .fetch_optional(connection)
        .await?;
    match row {
        None => Ok(()),
        Some(_) => Err(Failure::because(
            code("SCM.0005"),
            "the same certificate is there already, and duplicate_check forbids a second",
        )),
    }
}

/// The domains: the common name if it is one, then the alternative names, without repetition.
fn names(facts: &Facts) -> Vec<String> {
    let common = &facts.subject.common_name;
    let common = facts
        .names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(common))
        .cloned()
        .or_else(|| {
            let sound = facts.names.is_empty() && common.contains('.') && !common.contains(' ');
            sound.then(|| common.clone())
        });
    let mut all: Vec<String> = Vec::new();
    for name in common.into_iter().chain(facts.names.iter().cloned()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Where a certificate's key is sealed for.
pub(in crate::ccm_server) fn key_label(id: &str) -> String {
    format!("scm_certificate.key/{id}")
}
