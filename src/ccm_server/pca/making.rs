//! CAs are made here: key, certificate, row; at once, or in two steps with an activation.

use std::sync::Arc;

use serde_json::Value;
use sqlx::SqliteConnection;

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::pca::authority::{IssuedBy, active, key_label, still_active};
use crate::ccm_server::pca::lifecycle::within_quota;
use crate::ccm_server::pca::{crl, fields};
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::x509::{
    self, BasicConstraints, Hash, KeyKind, KeyUsage, Period, Request, Signer, Subject, Template,
};
use crate::model::Timestamp;
use crate::pki::PrivateKey;

/// A CA that is to be made.
pub(in crate::ccm_server) struct Blueprint {
    /// Its id.
    pub(in crate::ccm_server) id: String,
    /// Its subject, checked.
    pub(in crate::ccm_server) subject: Subject,
    /// Its key.
    pub(in crate::ccm_server) key: KeyKind,
    /// Root or subordinate.
    pub(in crate::ccm_server) root: bool,
    /// Its certificate; absent for a CA that waits for its activation.
    pub(in crate::ccm_server) certificate: Option<Certification>,
    /// As asked for; empty means the default.
    pub(in crate::ccm_server) usages: Vec<KeyUsage>,
    /// The CRL configuration as the API shows it.
    pub(in crate::ccm_server) crl: Value,
}

/// What a CA's certificate is to be.
#[derive(Debug, Clone)]
pub(in crate::ccm_server) struct Certification {
    /// The parent's id; absent for a root.
    pub(in crate::ccm_server) issuer: Option<String>,
    /// The hash of the signature.
    pub(in crate::ccm_server) hash: Hash,
    /// The validity.
    pub(in crate::ccm_server) period: Period,
    /// For a subordinate.
    pub(in crate::ccm_server) path_length: u8,
}

/// Makes a CA with its key, and with its certificate if that is wanted; answers the id.
pub(in crate::ccm_server) async fn create(
    shared: &Shared,
    account: &str,
    blueprint: Blueprint,
    now: Timestamp,
) -> Result<String, Failure> {
    let id = blueprint.id;
    let kind = blueprint.key;
    let key = shared
        .heavy(move || PrivateKey::generate(kind.algorithm()))
        .await?;
    let sealed = shared.vault.seal(&key_label(&id), key.pkcs8())?;
    let signed = match &blueprint.certificate {
        None => None,
        Some(wanted) => {
            let own = Own {
                subject: blueprint.subject.der(),
                spki: key.public_key().to_vec(),
                signer: Some(Signer::load(key.pkcs8())?),
                usages: &blueprint.usages,
                lists: blueprint.crl["enabled"] == true,
            };
            Some(certify(shared, account, own, wanted, now).await?)
        }
    };
    let row = NewAuthority {
        id: id.clone(),
        account: account.to_owned(),
        foreign: false,
        kind: if blueprint.root {
            "ROOT"
        } else {
            "SUBORDINATE"
        },
        subject: serde_json::to_string(&blueprint.subject)?,
        common_name: blueprint.subject.common_name,
        key_algorithm: kind.name().to_owned(),
        key_usages: usages_text(&blueprint.usages),
        key: Some(sealed),
        crl: blueprint.crl.to_string(),
    };
    shared
        .db
        .write(|connection| Box::pin(async move { insert(connection, row, signed, now).await }))
        .await?;
    Ok(id)
}

/// Certifies a subordinate CA whose key is somewhere else (CCM API 4.2.2.3); answers its id. It is in no list and counts for
/// no quota, and has no lists of revoked certificates, which only who has its key could sign.
pub(super) async fn certify_foreign(
    shared: &Shared,
    account: &str,
    request: Request,
    wanted: &Certification,
    now: Timestamp,
) -> Result<String, Failure> {
    let id = text::uuid();
    // The reference's options; what else the CSR asks for is nothing that a CA does.
    let usages: Vec<KeyUsage> = CA_USAGES
        .into_iter()
        .filter(|usage| request.all_usages.contains(usage))
        .collect();
    let own = Own {
        subject: request.subject_der,
        spki: request.spki,
        signer: None,
        usages: &usages,
        lists: false,
    };
    let signed = certify(shared, account, own, wanted, now).await?;
    let row = NewAuthority {
        id: id.clone(),
        account: account.to_owned(),
        foreign: true,
        kind: "SUBORDINATE",
        subject: serde_json::to_string(&request.subject)?,
        common_name: request.subject.common_name,
        key_algorithm: format!("{}{}", request.key_family, request.key_bits),
        key_usages: usages_text(&usages),
        key: None,
        crl: crl::none().to_string(),
    };
    let write = shared.db.write(|connection| {
        Box::pin(async move { insert(connection, row, Some(signed), now).await })
    });
    write.await?;
    Ok(id)
}

/// The one whose certificate is made.
pub(super) struct Own<'a> {
    /// DER.
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    /// Signs a root.
    pub(super) signer: Option<Signer>,
    pub(super) usages: &'a [KeyUsage],
    /// Whether it is to sign lists of revoked certificates here.
    pub(super) lists: bool,
}

/// A finished CA certificate.
pub(super) struct Certified {
    pub(super) issuer: Option<String>,
    pub(super) hash: Hash,
    pub(super) path_length: i64,
    pub(super) serial: Vec<u8>,
    pub(super) serial_number: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) certificate: Vec<u8>,
}

/// Makes the certificate of a CA.
pub(super) async fn certify(
    shared: &Shared,
    account: &str,
    own: Own<'_>,
    wanted: &Certification,
    now: Timestamp,
) -> Result<Certified, Failure> {
    let (signer, by, issuer_end, path_length, years) = match &wanted.issuer {
        None => {
            let signer = own
                .signer
                .ok_or_else(|| Failure::new(code("PCA.00000004")))?;
            let by = IssuedBy {
                subject: own.subject.clone(),
                key_id: None,
                crl: None,
            };
            (Arc::new(signer), by, None, None, ROOT_YEARS)
        }
        Some(id) => {
            let mut connection = shared.db.read().acquire().await?;
            let parent = active(&mut connection, account, id, now).await?;
            drop(connection);
            if let Some(most) = parent.path_length()
                && wanted.path_length >= most
            {
                let detail = format!("the path length must be below the issuer's, which is {most}");
                return Err(Failure::because(fields::BAD_PATH_LENGTH, detail));
            }
            let signer = parent.signer(shared).await?;
            let by = IssuedBy::of(&parent)?;
            let end = parent.not_after.map(Timestamp);
            (signer, by, end, Some(wanted.path_length), SUBORDINATE_YEARS)
        }
    };
    let (not_before, not_after) = wanted
        .period
        .dates(now, years, issuer_end)
        .map_err(|error| Failure::because(fields::BAD_VALIDITY, error.to_string()))?;
    let serial = x509::new_serial();
    let usages: Vec<KeyUsage> = if own.usages.is_empty() || wanted.issuer.is_none() {
        CA_USAGES.to_vec()
    } else {
        // A CA certificate that may not sign certificates would contradict itself (RFC 5280 §4.2.1.9).
        let mut usages = own.usages.to_vec();
        usages.push(KeyUsage::KeyCertSign);
        if own.lists {
            // Nobody would take the list that its certificates name (RFC 5280 §6.3.3 (f)).
            usages.push(KeyUsage::CrlSign);
        }
        usages.sort_unstable();
        usages.dedup();
        usages
    };
    let subject = own.subject;
    let hash = signer.hash(wanted.hash);
    let (own_spki, own_serial) = (own.spki, serial.clone());
    let certificate = shared
        .heavy(move || {
            let template = Template {
                serial: &own_serial,
                issuer: &by.subject,
                issuer_key: by.key_id.as_deref(),
                crl: by.crl.as_deref(),
                subject: &subject,
                not_before,
                not_after,
                spki: &own_spki,
                constraints: BasicConstraints::Authority { path_length },
                usages: &usages,
                extended: &[],
                names: &[],
                custom: None,
            };
            x509::issue(&template, &signer, hash)
        })
        .await?;
    Ok(Certified {
        issuer: wanted.issuer.clone(),
        hash,
        path_length: path_length.map_or(UNLIMITED, i64::from),
        serial,
        serial_number: text::serial_number(now),
        not_before,
        not_after,
        certificate,
    })
}

struct NewAuthority {
    id: String,
    account: String,
    /// Made from somebody's CSR.
    foreign: bool,
    kind: &'static str,
    common_name: String,
    subject: String,
    key_algorithm: String,
    key_usages: Option<String>,
    /// Sealed.
    key: Option<Vec<u8>>,
    crl: String,
}

async fn insert(
    connection: &mut SqliteConnection,
    row: NewAuthority,
    signed: Option<Certified>,
    now: Timestamp,
) -> Result<(), Failure> {
    if !row.foreign {
        within_quota(connection, &row.account, now).await?;
    }
    crl::must_be_free(connection, &row.account, &row.crl).await?;
    sqlx::query(
        "INSERT INTO authority (id, account, listed, kind, status, gen_mode, common_name, subject, key_algorithm, \
         key_usages, created, key, crl) VALUES ($1, $2, $3, $4, 'PENDING', $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(&row.id)
    .bind(row.account)
    .bind(!row.foreign)
    .bind(row.kind)
    .bind(if row.foreign { "CSR" } else { "GENERATE" })
    .bind(row.common_name)
    .bind(row.subject)
    .bind(row.key_algorithm)
    .bind(row.key_usages)
    .bind(now.0)
    .bind(row.key)
    .bind(row.crl)
    .execute(&mut *connection)
    .await?;
    match signed {
        Some(signed) => put_certificate(connection, &row.id, signed, now).await,
        None => Ok(()),
    }
}

/// Gives a pending CA its certificate.
pub(super) async fn put_certificate(
    connection: &mut SqliteConnection,
    id: &str,
    signed: Certified,
    now: Timestamp,
) -> Result<(), Failure> {
    if let Some(issuer) = &signed.issuer {
        still_active(connection, issuer, now).await?;
    }
    let changed = sqlx::query(
        "UPDATE authority SET status = 'ACTIVED', signature_algorithm = $1, path_length = $2, issuer = $3, \
         serial_number = $4, serial = $5, not_before = $6, not_after = $7, certificate = $8, \
         crl_due = CASE WHEN json_extract(crl, '$.enabled') THEN 0 END \
         WHERE id = $9 AND status = 'PENDING'",
    )
    .bind(signed.hash.name())
    .bind(signed.path_length)
    .bind(signed.issuer)
    .bind(signed.serial_number)
    .bind(signed.serial)
    .bind(signed.not_before.0)
    .bind(signed.not_after.0)
    .bind(signed.certificate)
    .bind(id)
    .execute(connection)
    .await?;
    if changed.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Failure::because(
            code("PCA.00030201"),
            format!("the CA {id} is not PENDING"),
        ))
    }
}

/// As they are kept until a later activation.
fn usages_text(usages: &[KeyUsage]) -> Option<String> {
    let names = usages.iter().map(|usage| KeyUsage::NAMES[*usage as usize]);
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// The default of CAs, and all that a root can have (CCM API 4.2.1.2).
const CA_USAGES: [KeyUsage; 3] = [
    KeyUsage::DigitalSignature,
    KeyUsage::KeyCertSign,
    KeyUsage::CrlSign,
];
/// CCM API 4.2.1.2, `validity`.
const ROOT_YEARS: i64 = 30;
/// The same; also of certificates.
pub(super) const SUBORDINATE_YEARS: i64 = 20;
/// What the API shows for a root: no limit.
pub(super) const UNLIMITED: i64 = 7;
