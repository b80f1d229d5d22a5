//! Makes the certificate of an application that passed.

use sqlx::SqliteConnection;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::apply::count_wildcards;
use crate::ccm_server::scm::orders::form::Form;
use crate::ccm_server::scm::orders::order::{Order, domains, seal_form};
use crate::ccm_server::scm::orders::renewal::Ends;
use crate::ccm_server::scm::orders::{ca, renewal, stage};
use crate::ccm_server::scm::{csr, key_label};
use crate::ccm_server::server::Shared;
use crate::ccm_server::x509::{
    self, BasicConstraints, ExtendedUsage, Facts, Hash, KeyUsage, LineEnd, Template,
};
use crate::model::{KeyAlgorithm, Name, Timestamp};
use crate::pki::{PrivateKey, Secret};

/// Issues; false when the application was changed meanwhile. An application whose CSR or key is not usable any more ends.
pub(super) async fn issue(
    shared: &Shared,
    order: &Order,
    from: &'static str,
    now: Timestamp,
) -> Result<bool, Failure> {
    let Some(mut form) = order.form(&shared.vault)? else {
        let reason = "the applicant has withdrawn what was said for the application";
        return stage::fail(shared, order, from, reason, now).await;
    };
    let names = {
        let mut connection = shared.db.read().acquire().await?;
        domains(&mut connection, &order.id).await?
    };
    let names: Vec<String> = names.into_iter().map(|name| name.domain).collect();
    form.sans = names.iter().skip(1).cloned().collect();
    let ends = match ends(shared, order, from, now).await? {
        Ok(ends) => ends,
        Err(reason) => return stage::fail(shared, order, from, reason, now).await,
    };
    let keys = match keys(shared, order, &form).await {
        Ok(keys) => keys,
        Err(failure) => {
            let reason = failure.detail().unwrap_or("the key cannot be used");
            return stage::fail(shared, order, from, reason, now).await;
        }
    };
    let made = certify(shared, order, &form, &keys, ends.not_after, now).await?;
    let ready = Ready {
        id: order.id.clone(),
        attempt: order.attempt,
        from,
        sealed_form: seal_form(&shared.vault, &order.id, &form)?,
        form,
        facts: x509::facts(&made.certificate)?,
        certificate: made.certificate,
        chain: made.chain,
        key: keys.sealed,
        ends,
    };
    let write = shared
        .db
        .write(|connection| Box::pin(async move { ready.put(connection, now).await }));
    let done = write.await?;
    if done {
        tracing::info!(certificate = %order.id, until = %ends.not_after, "issued an SSL certificate");
    }
    Ok(done)
}

/// When it ends: a supplement with the certificate it replaces, a next one by what was paid. `Err`: it would not live.
async fn ends(
    shared: &Shared,
    order: &Order,
    from: &str,
    now: Timestamp,
) -> Result<Result<Ends, &'static str>, Failure> {
    if from == "SUPPLEMENTCHECKING" {
        let end = order.not_after.map(Timestamp).unwrap_or(now);
        let ends = Ends {
            not_after: end,
            paid_until: order.paid_until.map_or(end, Timestamp),
            renew_at: order.renew_at.map(Timestamp),
        };
        return Ok(if end > now { Ok(ends) } else { Err(ENDED) });
    }
    let (Some(paid), Some(before)) = (order.paid_until, &order.renews) else {
        return Ok(Ok(Ends::first(now, order.years.unwrap_or(1))));
    };
    let before: Option<Option<i64>> =
        sqlx::query_scalar("SELECT not_after FROM scm_certificate WHERE id = $1")
            .bind(before)
            .fetch_optional(shared.db.read())
            .await?;
    let before = before.flatten().map_or(now, Timestamp);
    let ends = Ends::next(now, before, Timestamp(paid));
    let late = "what was paid for ended before the next certificate was issued";
    Ok(if ends.not_after > now {
        Ok(ends)
    } else {
        Err(late)
    })
}

/// The key that is certified; sealed, where it is ours.
struct Keys {
    spki: Vec<u8>,
    rsa: bool,
    sealed: Option<Vec<u8>>,
}

/// The applicant's, by the CSR; that which is here already; or a new one.
async fn keys(shared: &Shared, order: &Order, form: &Form) -> Result<Keys, Failure> {
    if let Some(request) = form.request(shared).await? {
        let sealed = match known(shared, order, &request.spki).await? {
            Some(key) => Some(shared.vault.seal(&key_label(&order.id), key.expose())?),
            None => None,
        };
        return Ok(Keys {
            spki: request.spki,
            rsa: request.key_family == "RSA",
            sealed,
        });
    }
    let label = key_label(&order.id);
    let key = match &order.key {
        Some(sealed) => {
            let known = shared.vault.open(&label, sealed)?;
            PrivateKey::from_pkcs8(known.expose())?
        }
        None => {
            let algorithm = form.key_algorithm();
            shared
                .heavy(move || PrivateKey::generate(algorithm))
                .await?
        }
    };
    Ok(Keys {
        spki: key.public_key().to_vec(),
        rsa: matches!(
            key.algorithm(),
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096
        ),
        sealed: Some(shared.vault.seal(&label, key.pkcs8())?),
    })
}

/// The private key of an applicant's CSR, where it is here: with the certificate already, with a CSR that SCM keeps (CCM API
/// 4.1.4), or with the certificate before this one.
async fn known(shared: &Shared, order: &Order, spki: &[u8]) -> Result<Option<Secret>, Failure> {
    let mut connection = shared.db.read().acquire().await?;
    let own = order.key.clone().map(|key| (key_label(&order.id), key));
    let kept = csr::sealed_key(&mut connection, &order.account, spki).await?;
    let before = match &order.renews {
        Some(before) => Order::load(&mut connection, before).await?,
        None => None,
    };
    drop(connection);
    let before = before.and_then(|order| order.key.map(|key| (key_label(&order.id), key)));
    for (label, sealed) in [own, kept, before].into_iter().flatten() {
        let opened = shared.vault.open(&label, &sealed)?;
        if PrivateKey::from_pkcs8(opened.expose()).is_ok_and(|key| key.public_key() == spki) {
            return Ok(Some(opened));
        }
    }
    Ok(None)
}

struct Made {
    certificate: Vec<u8>,
    /// PEM: the issuing CA, without the root, as public CAs hand it out.
    chain: String,
}

async fn certify(
    shared: &Shared,
    order: &Order,
    form: &Form,
    keys: &Keys,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<Made, Failure> {
    let issuer = ca::issuing(shared, now).await?;
    let names: Vec<Name> = form
        .names()
        .filter_map(|name| Name::parse(name).ok())
        .collect();
    let subject = form.subject(order.class()).der();
    let spki = keys.spki.clone();
    // Old clients of RSA encrypt with the key.
    let usages: &[KeyUsage] = if keys.rsa {
        &[KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment]
    } else {
        &[KeyUsage::DigitalSignature]
    };
    let chain = x509::encode("CERTIFICATE", &issuer.certificate, LineEnd::Lf);
    let made = shared.heavy(move || {
        let facts = x509::facts(&issuer.certificate)?;
        let template = Template {
            serial: &x509::new_serial(),
            issuer: &facts.subject_der,
            issuer_key: facts.key_id.as_deref(),
            crl: None,
            subject: &subject,
            not_before: now,
            not_after,
            spki: &spki,
            constraints: BasicConstraints::Leaf,
            usages,
            extended: &[ExtendedUsage::ServerAuth],
            names: &names,
            custom: None,
        };
        x509::issue(&template, &issuer.signer, issuer.signer.hash(Hash::Sha256))
    });
    Ok(Made {
        certificate: made.await?,
        chain,
    })
}

/// A certificate on its way into the state.
struct Ready {
    id: String,
    attempt: i64,
    from: &'static str,
    sealed_form: Vec<u8>,
    form: Form,
    facts: Facts,
    certificate: Vec<u8>,
    chain: String,
    key: Option<Vec<u8>>,
    ends: Ends,
}

impl Ready {
    async fn put(self, connection: &mut SqliteConnection, now: Timestamp) -> Result<bool, Failure> {
        if !stage::enter(connection, &self.id, self.attempt, self.from, "ISSUED", now).await? {
            return Ok(false);
        }
        count_wildcards(connection, &self.id, &self.form).await?;
        sqlx::query(
            "UPDATE scm_certificate SET sans = $1, signature_algorithm = $2, fingerprint = $3, not_before = $4, \
             not_after = $5, issued = $6, certificate = $7, chain = $8, deploy_support = $9 IS NOT NULL, key = $9 \
             WHERE id = $10",
        )
        .bind(self.form.sans.join(";"))
        .bind(self.facts.signature_algorithm)
        .bind(self.facts.fingerprint)
        .bind(self.facts.not_before.0)
        .bind(self.facts.not_after.0)
        .bind(now.0)
        .bind(self.certificate)
        .bind(self.chain.into_bytes())
        .bind(self.key)
        .bind(&self.id)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            // The next one may have been applied for since the names of a supplement were looked at.
            "UPDATE scm_order SET form = CASE WHEN form IS NULL THEN NULL ELSE $1 END, paid_until = $2, \
             renew_at = CASE WHEN $5 THEN renew_at ELSE $3 END, \
             stage_end = NULL, due = NULL, fail_reason = NULL WHERE certificate = $4",
        )
        .bind(self.sealed_form)
        .bind(self.ends.paid_until.0)
        .bind(self.ends.renew_at.map(|at| at.0))
        .bind(&self.id)
        .bind(self.from == "SUPPLEMENTCHECKING")
        .execute(&mut *connection)
        .await?;
        if self.from == "SUPPLEMENTCHECKING" {
            renewal::take_up(connection, &self.id).await?;
        }
        Ok(true)
    }
}

/// What becomes of a supplement in the end.
pub(super) const ENDED: &str = "the certificate ended before its new domains were verified";
