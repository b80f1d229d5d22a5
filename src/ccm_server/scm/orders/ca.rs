//! The CA behind SCM: a root and an issuing CA in the manner of public ones, made when the first certificate needs them,
//! with keys of their own. No API shows them; `renewd-ccm ca scm` prints the root.

use std::sync::Arc;

use sqlx::Row as _;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::x509::{
    self, BasicConstraints, Hash, KeyUsage, Signer, Subject, Template, X509Error,
};
use crate::model::{KeyAlgorithm, Seconds, Timestamp};
use crate::pki::PrivateKey;
use crate::sys::fs::Lock;

/// A CA whose key is open.
#[derive(Clone)]
pub(super) struct Ca {
    /// DER.
    pub(super) certificate: Vec<u8>,
    pub(super) signer: Arc<Signer>,
    not_after: Timestamp,
}

/// The certificate of the root as DER; made now, if nothing was issued yet.
pub(in crate::ccm_server) async fn root(
    shared: &Shared,
    now: Timestamp,
) -> Result<Vec<u8>, Failure> {
    let _alone = shared.life.making().await;
    if let Some(known) = known(shared, ROOT, now).await? {
        return Ok(known.certificate);
    }
    let _no_command = alone(shared).await?;
    Ok(root_ca(shared, now).await?.certificate)
}

/// The CA that issues.
pub(super) async fn issuing(shared: &Shared, now: Timestamp) -> Result<Ca, Failure> {
    // Two first certificates at once must have one issuer.
    let _alone = shared.life.making().await;
    if let Some(known) = known(shared, ISSUING, now).await? {
        return Ok(known);
    }
    let _no_command = alone(shared).await?;
    let root = root_ca(shared, now).await?;
    let wanted = Wanted {
        kind: ISSUING,
        name: ISSUING_NAME,
        key: KeyAlgorithm::EcP256,
        not_after: root.not_after.min(now + ISSUING_LIFE),
    };
    make(shared, wanted, Some(root), now).await
}

/// A command beside the server may be making the same.
async fn alone(shared: &Shared) -> Result<Lock, Failure> {
    let lock = shared.alone().await;
    lock.map_err(|error| Failure::internal(&error))
}

async fn root_ca(shared: &Shared, now: Timestamp) -> Result<Ca, Failure> {
    if let Some(known) = known(shared, ROOT, now).await? {
        return Ok(known);
    }
    let wanted = Wanted {
        kind: ROOT,
        name: ROOT_NAME,
        key: KeyAlgorithm::EcP384,
        not_after: now + ROOT_LIFE,
    };
    make(shared, wanted, None, now).await
}

/// The latest of a kind that outlives what it signs.
async fn known(shared: &Shared, kind: &str, now: Timestamp) -> Result<Option<Ca>, Failure> {
    let row = sqlx::query(
        "SELECT id, certificate, key, not_after FROM scm_authority WHERE kind = $1 AND not_before <= $2 AND not_after > $3 \
         ORDER BY seq DESC LIMIT 1",
    )
    .bind(kind)
    .bind(now.0)
    .bind((now + LEFT).0)
    .fetch_optional(shared.db.read())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.get(0);
    let cached = format!("scm/{id}");
    let signer = match shared.signers.get(&cached) {
        Some(signer) => signer,
        None => {
            let key = shared.vault.open(&key_label(&id), row.get(2))?;
            let signer = Arc::new(Signer::load(key.expose())?);
            shared.signers.put(&cached, Arc::clone(&signer));
            signer
        }
    };
    Ok(Some(Ca {
        certificate: row.get(1),
        signer,
        not_after: Timestamp(row.get(3)),
    }))
}

struct Wanted {
    kind: &'static str,
    name: &'static str,
    key: KeyAlgorithm,
    not_after: Timestamp,
}

async fn make(
    shared: &Shared,
    wanted: Wanted,
    above: Option<Ca>,
    now: Timestamp,
) -> Result<Ca, Failure> {
    let id = text::uuid();
    let (kind, not_after) = (wanted.kind, wanted.not_after);
    let made = shared
        .heavy(move || certify(&wanted, above.as_ref(), now))
        .await?;
    let (key, certificate) = made;
    let sealed = shared.vault.seal(&key_label(&id), key.pkcs8())?;
    let (own, der) = (id.clone(), certificate.clone());
    let write = shared.db.write::<_, sqlx::Error>(|connection| {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO scm_authority (id, kind, not_before, not_after, certificate, key) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(own)
            .bind(kind)
            .bind(now.0)
            .bind(not_after.0)
            .bind(der)
            .bind(sealed)
            .execute(connection)
            .await
        })
    });
    write.await?;
    tracing::info!(kind, until = %not_after, "made a CA for SCM");
    let signer = Arc::new(Signer::load(key.pkcs8())?);
    Ok(Ca {
        certificate,
        signer,
        not_after,
    })
}

fn certify(
    wanted: &Wanted,
    above: Option<&Ca>,
    now: Timestamp,
) -> Result<(PrivateKey, Vec<u8>), Failure> {
    let key = PrivateKey::generate(wanted.key)?;
    let own = Signer::load(key.pkcs8())?;
    let subject = Subject {
        common_name: wanted.name.to_owned(),
        organization: Some("renewd-ccm".to_owned()),
        ..Subject::default()
    };
    let subject = subject.der();
    let facts = above.map(|ca| x509::facts(&ca.certificate)).transpose()?;
    let path_length = above.map(|_| 0);
    let template = Template {
        serial: &x509::new_serial(),
        issuer: facts.as_ref().map_or(&subject, |facts| &facts.subject_der),
        issuer_key: facts.as_ref().and_then(|facts| facts.key_id.as_deref()),
        crl: None,
        subject: &subject,
        not_before: now,
        not_after: wanted.not_after,
        spki: own.spki(),
        constraints: BasicConstraints::Authority { path_length },
        usages: &[KeyUsage::KeyCertSign, KeyUsage::CrlSign],
        extended: &[],
        names: &[],
        custom: None,
    };
    let signer = above.map_or(&own, |ca| &ca.signer);
    let certificate: Result<Vec<u8>, X509Error> =
        x509::issue(&template, signer, signer.hash(Hash::Sha384));
    Ok((key, certificate?))
}

fn key_label(id: &str) -> String {
    format!("scm_authority.key/{id}")
}

const ROOT: &str = "ROOT";
const ISSUING: &str = "ISSUING";
const ROOT_NAME: &str = "renewd-ccm SCM Root CA";
const ISSUING_NAME: &str = "renewd-ccm SCM TLS CA";
/// As long as those of browsers last.
const ROOT_LIFE: Seconds = Seconds::days(25 * 365);
const ISSUING_LIFE: Seconds = Seconds::days(10 * 365);
/// A CA with less than this left is followed by a new one: more than any certificate lives.
const LEFT: Seconds = Seconds::days(400);
