//! A private CA as the state keeps it: found, shown, opened for signing.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::x509::{self, Signer, Subject};
use crate::model::Timestamp;

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
    /// When it will be gone, where its deletion is scheduled.
    delete_at: Option<i64>,
    revoked: Option<i64>,
    /// PEM, above a certificate that was imported.
    foreign_chain: Option<String>,
    pub(super) certificate: Option<Vec<u8>>,
    crl: String,
}

/// The columns that [`Authority::from_row`] reads; `a` is the CA, `p` its parent.
pub(super) const COLUMNS: &str = "a.id, a.kind, a.status, a.gen_mode, a.subject, a.key_algorithm, \
     a.signature_algorithm, a.key_usages, a.path_length, a.issuer, coalesce(p.common_name, a.foreign_issuer) AS issuer_name, \
     a.serial_number, a.not_before, a.not_after, a.created, a.delete_at, a.revoked, a.foreign_chain, a.certificate, a.crl \
     FROM authority a LEFT JOIN authority p ON p.id = a.issuer";

/// Those whose deletion is due are gone, whether or not they were buried yet; a moment follows.
pub(super) const NOT_GONE: &str = "(a.delete_at IS NULL OR a.delete_at > ";

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
            delete_at: row.get("delete_at"),
            revoked: row.get("revoked"),
            foreign_chain: row.get("foreign_chain"),
            certificate: row.get("certificate"),
            crl: row.get("crl"),
        })
    }

    /// The CA of this id in the account; `code` is the refusal when there is none.
    pub(super) async fn find(
        connection: &mut SqliteConnection,
        account: &str,
        id: &str,
        now: Timestamp,
        code: &'static crate::ccm_server::codes::Code,
    ) -> Result<Self, Failure> {
        let sql = format!("SELECT {COLUMNS} WHERE a.id = $1 AND a.account = $2 AND {NOT_GONE}$3)");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_ascii_lowercase())
            .bind(account)
            .bind(now.0)
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

    /// Refuses to change what only has its certificate here: a CA of somebody's own CSR (CCM API 4.2.2.3).
    pub(super) fn must_be_here(&self) -> Result<(), Failure> {
        if self.gen_mode != "CSR" {
            return Ok(());
        }
        let detail = format!(
            "the CA {} was made from somebody's CSR: only its details and its certificate can be had",
            self.id
        );
        Err(Failure::because(code("PCA.00030201"), detail))
    }

    /// The configuration of its CRL as the API shows it.
    pub(super) fn crl(&self) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.crl)?)
    }

    /// Whether it is to sign lists of revoked certificates.
    pub(super) fn has_lists(&self) -> Result<bool, Failure> {
        Ok(self.crl()?["enabled"] == true)
    }

    /// The hash of signatures, in the API's words; empty while it is pending.
    pub(super) fn signature_algorithm(&self) -> &str {
        self.signature_algorithm.as_deref().unwrap_or_default()
    }

    /// Who issued it, where that is one of these.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether it never had a certificate.
    pub(super) fn is_pending(&self) -> bool {
        self.stored_status == "PENDING"
    }

    /// Whether its issuer has taken its certificate back.
    pub(super) const fn is_revoked(&self) -> bool {
        self.revoked.is_some()
    }

    /// Whether somebody else issued its certificate.
    pub(super) fn is_imported(&self) -> bool {
        self.gen_mode == "IMPORT"
    }

    /// As the API answers it (CCM API 4.2.1.1 and 4.2.1.4).
    pub(super) fn json(&self, now: Timestamp) -> Result<Value, Failure> {
        let crl = self.crl()?;
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
            "delete_time": self.delete_at.map(text::millis),
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
        let mut foreign = self.foreign_chain.clone();
        while let Some(id) = next {
            let sql = "SELECT certificate, issuer, foreign_chain FROM authority WHERE id = $1";
            let row = sqlx::query(sql)
                .bind(&id)
                .fetch_one(&mut *connection)
                .await?;
            chain.extend(row.get::<Option<Vec<u8>>, _>(0));
            next = row.get(1);
            foreign = row.get(2);
            // Issuers are chosen among CAs that exist already, so there is no circle; this bounds a damaged state.
            if chain.len() > DEEPEST {
                break;
            }
        }
        if let Some(above) = foreign {
            chain.extend(x509::certificates(&above)?);
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

/// The CA of this id, to issue with; refused where there is none or it is not ACTIVED.
pub(super) async fn active(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
    now: Timestamp,
) -> Result<Authority, Failure> {
    let found = Authority::find(connection, account, id, now, code("PCA.00030103")).await?;
    found.must_be(now, &["ACTIVED"])?;
    Ok(found)
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

/// How what a CA issues points at it.
pub(super) struct IssuedBy {
    /// Its subject as it stands in its certificate, byte for byte.
    pub(super) subject: Vec<u8>,
    /// Its key's identifier as it stands there: who certified an imported CA may have made it another way (RFC 5280
    /// §4.2.1.1).
    pub(super) key_id: Option<Vec<u8>>,
    /// Where its list of revoked certificates is.
    pub(super) crl: Option<String>,
}

impl IssuedBy {
    /// As the CA's certificate has it.
    pub(super) fn of(issuer: &Authority) -> Result<Self, Failure> {
        let certificate = issuer.certificate.as_deref();
        let certificate = certificate.ok_or_else(|| Failure::new(code("PCA.00030103")))?;
        let facts = x509::facts(certificate)?;
        Ok(Self {
            subject: facts.subject_der,
            key_id: facts.key_id,
            crl: issuer.crl()?["crl_dis_point"].as_str().map(str::to_owned),
        })
    }
}

/// Where a CA's key is sealed for.
pub(super) fn key_label(id: &str) -> String {
    format!("authority.key/{id}")
}

/// A root and the seven levels that path lengths allow.
const DEEPEST: usize = 8;
