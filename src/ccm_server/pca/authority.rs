//! A private CA as the state keeps it: read, made, activated, opened for signing.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::pca::fields;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::x509::{
    self, BasicConstraints, Hash, KeyKind, KeyUsage, Period, Signer, Subject, Template,
};
use crate::model::Timestamp;
use crate::pki::PrivateKey;

/// A CA.
pub(in crate::ccm_server) struct Authority {
    pub(super) id: String,
    pub(super) kind: String,
    stored_status: String,
    gen_mode: String,
    pub(super) subject: Subject,
    key_algorithm: String,
    signature_algorithm: Option<String>,
    pub(super) key_usages: Option<String>,
    path_length: Option<i64>,
    issuer: Option<String>,
    issuer_name: Option<String>,
    serial_number: Option<String>,
    not_before: Option<i64>,
    pub(super) not_after: Option<i64>,
    created: i64,
    pub(super) certificate: Option<Vec<u8>>,
    crl: String,
}

/// The columns that [`Authority::from_row`] reads; `a` is the CA, `p` its parent.
pub(super) const COLUMNS: &str = "a.id, a.kind, a.status, a.gen_mode, a.subject, a.key_algorithm, \
     a.signature_algorithm, a.key_usages, a.path_length, a.issuer, p.common_name AS issuer_name, a.serial_number, \
     a.not_before, a.not_after, a.created, a.certificate, a.crl \
     FROM authority a LEFT JOIN authority p ON p.id = a.issuer";

impl Authority {
    /// One row of [`COLUMNS`].
    pub(super) fn from_row(row: &SqliteRow) -> Result<Self, Failure> {
        let subject: String = row.get("subject");
        Ok(Self {
            id: row.get("id"),
            kind: row.get("kind"),
            stored_status: row.get("status"),
            gen_mode: row.get("gen_mode"),
            subject: serde_json::from_str(&subject)?,
            key_algorithm: row.get("key_algorithm"),
            signature_algorithm: row.get("signature_algorithm"),
            key_usages: row.get("key_usages"),
            path_length: row.get("path_length"),
            issuer: row.get("issuer"),
            issuer_name: row.get("issuer_name"),
            serial_number: row.get("serial_number"),
            not_before: row.get("not_before"),
            not_after: row.get("not_after"),
            created: row.get("created"),
            certificate: row.get("certificate"),
            crl: row.get("crl"),
        })
    }

    /// The CA of this id in the account; `code` is the refusal when there is none.
    pub(super) async fn find(
        connection: &mut SqliteConnection,
        account: &str,
        id: &str,
        code: &'static crate::ccm_server::codes::Code,
    ) -> Result<Self, Failure> {
        let sql = format!("SELECT {COLUMNS} WHERE a.id = $1 AND a.account = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_ascii_lowercase())
            .bind(account)
            .fetch_optional(connection)
            .await?;
        match row {
            Some(row) => Self::from_row(&row),
            None => Err(Failure::because(code, format!("there is no CA {id}"))),
        }
    }

    /// The status at a moment: an activated CA expires by itself.
    pub(super) fn status(&self, now: Timestamp) -> &str {
        let ended = self.not_after.is_some_and(|end| end < now.0);
        if self.stored_status == "ACTIVED" && ended {
            "EXPIRED"
        } else {
            &self.stored_status
        }
    }

    /// Refuses unless the status is one of these.
    pub(super) fn must_be(&self, now: Timestamp, wanted: &[&str]) -> Result<(), Failure> {
        let status = self.status(now);
        if wanted.contains(&status) {
            return Ok(());
        }
        let detail = format!(
            "the CA {} is {status}, not {}",
            self.id,
            wanted.join(" or ")
        );
        Err(Failure::because(code("PCA.00030201"), detail))
    }

    /// As the API answers it (CCM API 4.2.1.1 and 4.2.1.4).
    pub(super) fn json(&self, now: Timestamp) -> Result<Value, Failure> {
        let crl: Value = serde_json::from_str(&self.crl)?;
        Ok(json!({
            "ca_id": self.id,
            "type": self.kind,
            "status": self.status(now),
            "path_length": self.path_length,
            "issuer_id": self.issuer,
            "issuer_name": self.issuer_name,
            "key_algorithm": self.key_algorithm,
            "signature_algorithm": self.signature_algorithm,
            "freeze_flag": 0,
            "gen_mode": self.gen_mode,
            "serial_number": self.serial_number,
            "create_time": text::millis(self.created),
            "delete_time": Value::Null,
            "not_before": self.not_before.map(text::millis),
            "not_after": self.not_after.map(text::millis),
            "distinguished_name": self.subject.json(),
            "crl_configuration": crl,
        }))
    }

    /// The limit for CAs below this one that `basicConstraints` sets; a root has none.
    pub(super) fn path_length(&self) -> Option<u8> {
        let length = self
            .path_length
            .and_then(|length| u8::try_from(length).ok());
        length.filter(|_| self.kind != "ROOT")
    }

    /// The certificates above, issuer first, root last.
    pub(super) async fn chain(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let mut chain = Vec::new();
        let mut next = self.issuer.clone();
        while let Some(id) = next {
            let row = sqlx::query("SELECT certificate, issuer FROM authority WHERE id = $1")
                .bind(&id)
                .fetch_one(&mut *connection)
                .await?;
            chain.extend(row.get::<Option<Vec<u8>>, _>(0));
            next = row.get(1);
            // Issuers are chosen among CAs that exist already, so there is no circle; this bounds a damaged state.
            if chain.len() > DEEPEST {
                break;
            }
        }
        Ok(chain)
    }

    /// The opened key.
    pub(super) async fn signer(&self, shared: &Shared) -> Result<Arc<Signer>, Failure> {
        if let Some(signer) = shared.signers.get(&self.id) {
            return Ok(signer);
        }
        let row = sqlx::query("SELECT key FROM authority WHERE id = $1")
            .bind(&self.id)
            .fetch_one(shared.db.read())
            .await?;
        let Some(sealed) = row.get::<Option<Vec<u8>>, _>(0) else {
            let detail = format!("the key of the CA {} is not here", self.id);
            return Err(Failure::because(code("PCA.00030201"), detail));
        };
        let key = shared.vault.open(&key_label(&self.id), &sealed)?;
        let signer = shared.heavy(move || Signer::load(key.expose())).await?;
        let signer = Arc::new(signer);
        shared.signers.put(&self.id, Arc::clone(&signer));
        Ok(signer)
    }
}

/// A CA that is to be made.
pub(in crate::ccm_server) struct Blueprint {
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
    let id = text::uuid();
    let kind = blueprint.key;
    let key = shared
        .heavy(move || PrivateKey::generate(kind.algorithm()))
        .await?;
    let sealed = shared.vault.seal(&key_label(&id), key.pkcs8())?;
    let signed = match &blueprint.certificate {
        None => None,
        Some(wanted) => {
            let own = Own {
                subject: &blueprint.subject,
                spki: key.public_key().to_vec(),
                signer: Some(Signer::load(key.pkcs8())?),
                usages: &blueprint.usages,
            };
            Some(certify(shared, account, own, wanted, now).await?)
        }
    };
    let row = NewAuthority {
        id: id.clone(),
        account: account.to_owned(),
        kind: if blueprint.root {
            "ROOT"
        } else {
            "SUBORDINATE"
        },
        subject: serde_json::to_string(&blueprint.subject)?,
        common_name: blueprint.subject.common_name,
        key_algorithm: kind.name(),
        key_usages: usages_text(&blueprint.usages),
        key: sealed,
        crl: blueprint.crl.to_string(),
    };
    shared
        .db
        .write(|connection| Box::pin(async move { insert(connection, row, signed, now).await }))
        .await?;
    Ok(id)
}

/// The one whose certificate is made.
pub(super) struct Own<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spki: Vec<u8>,
    /// Signs a root.
    pub(super) signer: Option<Signer>,
    pub(super) usages: &'a [KeyUsage],
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
    let (signer, issuer_subject, issuer_end, path_length, years) = match &wanted.issuer {
        None => {
            let signer = own
                .signer
                .ok_or_else(|| Failure::new(code("PCA.00000004")))?;
            (Arc::new(signer), own.subject.der(), None, None, ROOT_YEARS)
        }
        Some(id) => {
            let mut connection = shared.db.read().acquire().await?;
            let missing = code("PCA.00030103");
            let parent = Authority::find(&mut connection, account, id, missing).await?;
            drop(connection);
            parent.must_be(now, &["ACTIVED"])?;
            if let Some(most) = parent.path_length()
                && wanted.path_length >= most
            {
                let detail = format!("the path length must be below the issuer's, which is {most}");
                return Err(Failure::because(fields::BAD_PATH_LENGTH, detail));
            }
            let signer = parent.signer(shared).await?;
            let der = issuer_subject(&parent)?;
            let end = parent.not_after.map(Timestamp);
            (
                signer,
                der,
                end,
                Some(wanted.path_length),
                SUBORDINATE_YEARS,
            )
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
        usages.sort_unstable();
        usages.dedup();
        usages
    };
    let subject = own.subject.der();
    let hash = signer.hash(wanted.hash);
    let (own_spki, own_serial) = (own.spki, serial.clone());
    let certificate = shared
        .heavy(move || {
            let template = Template {
                serial: &own_serial,
                issuer: &issuer_subject,
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

/// The subject of a CA as it stands in its certificate.
pub(super) fn issuer_subject(issuer: &Authority) -> Result<Vec<u8>, Failure> {
    let certificate = issuer.certificate.as_deref();
    let certificate = certificate.ok_or_else(|| Failure::new(code("PCA.00030103")))?;
    Ok(x509::facts(certificate)?.subject_der)
}

/// Where a CA's key is sealed for.
pub(super) fn key_label(id: &str) -> String {
    format!("authority.key/{id}")
}

struct NewAuthority {
    id: String,
    account: String,
    kind: &'static str,
    common_name: String,
    subject: String,
    key_algorithm: &'static str,
    key_usages: Option<String>,
    key: Vec<u8>,
    crl: String,
}

async fn insert(
    connection: &mut SqliteConnection,
    row: NewAuthority,
    signed: Option<Certified>,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO authority (id, account, listed, kind, status, gen_mode, common_name, subject, key_algorithm, \
         key_usages, created, key, crl) VALUES ($1, $2, 1, $3, 'PENDING', 'GENERATE', $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&row.id)
    .bind(row.account)
    .bind(row.kind)
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
         serial_number = $4, serial = $5, not_before = $6, not_after = $7, certificate = $8 \
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

/// Refuses when the issuer was disabled or ended while a certificate was being made.
pub(super) async fn still_active(
    connection: &mut SqliteConnection,
    issuer: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let row = sqlx::query(
        "SELECT 1 FROM authority WHERE id = $1 AND status = 'ACTIVED' AND not_after >= $2",
    )
    .bind(issuer)
    .bind(now.0)
    .fetch_optional(connection)
    .await?;
    match row {
        Some(_) => Ok(()),
        None => Err(Failure::because(
            code("PCA.00030201"),
            format!("the CA {issuer} is not ACTIVED"),
        )),
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
const UNLIMITED: i64 = 7;
/// A root and the seven levels that path lengths allow.
const DEEPEST: usize = 8;
