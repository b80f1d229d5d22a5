//! Private certificates are made here: applied for (CCM API 4.2.2.2), or by CSR (4.2.2.3).

use std::sync::Arc;

use serde_json::json;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::db::Once;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::authorities::{path_length, period, subject, usages};
use crate::ccm_server::pca::authority::active;
use crate::ccm_server::pca::certificates::{QUOTA, within_quota};
use crate::ccm_server::pca::fields;
use crate::ccm_server::pca::issuers::Issuer;
use crate::ccm_server::pca::making::{self, Certification, SUBORDINATE_YEARS};
use crate::ccm_server::text;
use crate::ccm_server::x509::{
    self, BasicConstraints, ExtendedUsage, Hash, KeyKind, KeyUsage, LineEnd, Period, Request,
    Subject, Template,
};
use crate::model::{Name, Timestamp};
use crate::pki::PrivateKey;

/// 4.2.2.2: the key is made here, and exported with the certificate later.
pub(super) async fn apply(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let issuer = Issuer::of(call).await?;
    let mut subject = subject(&body.object("distinguished_name"))?;
    subject.inherit(&issuer.subject);
    let kind = KeyKind::named(body.text("key_algorithm"))
        .ok_or_else(|| Failure::new(fields::BAD_KEY_ALGORITHM))?;
    let hash = Hash::named(body.text("signature_algorithm"))
        .ok_or_else(|| Failure::new(fields::BAD_HASH))?;
    let names: Result<Vec<Name>, Failure> = body
        .objects("subject_alternative_names")
        .iter()
        .map(alternative)
        .collect();
    let purposes = body.object("extended_key_usage");
    let extended = ExtendedUsage::NAMED.into_iter();
    let wanted = Wanted {
        names: names?,
        usages: usages(body),
        extended: extended
            .filter(|(name, _)| purposes.boolean(name))
            .map(|(_, usage)| usage)
            .collect(),
        custom: custom(&body.object("customized_extension"))?,
        hash,
        period: period(&body.object("validity"))?,
    };
    let id = text::uuid();
    let key = call
        .shared
        .heavy(move || PrivateKey::generate(kind.algorithm()))
        .await?;
    let sealed = call.shared.vault.seal(&key_label(&id), key.pkcs8())?;
    let whose = Whose {
        subject_der: subject.der(),
        subject,
        spki: key.public_key().to_vec(),
        key_algorithm: kind.name(),
        key: Some(sealed),
    };
    issue(call, id, issuer, move || Ok((whose, wanted))).await
}

/// 4.2.2.3: what is certified comes from the CSR alone; `subject_alternative_names` of the body is ignored.
pub(super) async fn by_csr(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    if body.text("type") == "INTERMEDIATE_CA" {
        return authority_by_csr(call).await;
    }
    let issuer = Issuer::of(call).await?;
    let csr = body.text("csr").to_owned();
    let period = period(&body.object("validity"))?;
    let read = move || {
        let request = parsed(&csr)?;
        request
            .subject
            .check()
            .map_err(|error| Failure::because(fields::BAD_NAME, error.to_string()))?;
        let wanted = Wanted {
            names: request.names,
            usages: request.usages,
            extended: request.extended,
            custom: None,
            hash: Hash::Sha384,
            period,
        };
        let whose = Whose {
            subject_der: request.subject_der,
            subject: request.subject,
            spki: request.spki,
            key_algorithm: request.key_family,
            key: None,
        };
        Ok((whose, wanted))
    };
    issue(call, text::uuid(), issuer, read).await
}

/// 4.2.2.3 with the type `INTERMEDIATE_CA`: the answer's id is that of a CA.
async fn authority_by_csr(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let issuer = Issuer::of(call).await?;
    let request = parse(call).await?;
    request
        .subject
        .check()
        .map_err(|error| Failure::because(fields::BAD_NAME, error.to_string()))?;
    let wanted = Certification {
        issuer: Some(issuer.id.clone()),
        hash: Hash::Sha384,
        period: period(&body.object("validity"))?,
        path_length: path_length(body),
    };
    let made = making::certify_foreign(call.shared, call.account(), request, &wanted, call.now);
    Ok(Answer::ok(json!({"certificate_id": made.await?})))
}

/// 4.2.2.4
pub(super) async fn parse_csr(call: &Call<'_>) -> Result<Answer, Failure> {
    let request = parse(call).await?;
    Ok(Answer::ok(json!({
        "key_algorithm": request.key_family,
        "key_algorithm_length": request.key_bits,
        "signature_algorithm": request.signature,
        "public_key": x509::public_key_pem(&request.spki, LineEnd::CrLf),
        "distinguished_name": request.subject.json(),
    })))
}

/// Whose certificate it is.
struct Whose {
    subject_der: Vec<u8>,
    subject: Subject,
    spki: Vec<u8>,
    key_algorithm: &'static str,
    /// Sealed, if it was made here.
    key: Option<Vec<u8>>,
}

/// What goes into it.
struct Wanted {
    names: Vec<Name>,
    usages: Vec<KeyUsage>,
    extended: Vec<ExtendedUsage>,
    custom: Option<(Vec<u64>, String)>,
    hash: Hash,
    period: Period,
}

/// A certificate on its way into the state.
struct Issued {
    subject: Subject,
    key_algorithm: &'static str,
    hash: Hash,
    serial: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    certificate: Vec<u8>,
    key: Option<Vec<u8>>,
}

/// Issues what `what` says, which is read and signed in one piece of work.
async fn issue(
    call: &Call<'_>,
    id: String,
    issuer: Arc<Issuer>,
    what: impl FnOnce() -> Result<(Whose, Wanted), Failure> + Send + 'static,
) -> Result<Answer, Failure> {
    let (by, now) = (Arc::clone(&issuer), call.now);
    let work = move || {
        let (whose, wanted) = what()?;
        make(&by, whose, wanted, now)
    };
    // A way to another thread and back takes longer than a signature with P-256.
    let issued = if issuer.signer.is_quick() {
        work()?
    } else {
        call.shared.heavy(work).await?
    };
    insert(call, &id, &issuer, issued).await?;
    Ok(Answer::ok(json!({"certificate_id": id})))
}

fn make(
    issuer: &Issuer,
    whose: Whose,
    mut wanted: Wanted,
    now: Timestamp,
) -> Result<Issued, Failure> {
    let (signer, by) = (&issuer.signer, &issuer.by);
    let (not_before, not_after) = wanted
        .period
        .dates(now, SUBORDINATE_YEARS, issuer.not_after)
        .map_err(|error| Failure::because(fields::BAD_VALIDITY, error.to_string()))?;
    // Only a CA may have these, whoever asks for them.
    wanted.usages.retain(|usage| !usage.is_for_authorities());
    if wanted.usages.is_empty() {
        wanted.usages = DEFAULT_USAGES.to_vec();
    }
    let hash = signer.hash(wanted.hash);
    let serial = x509::new_serial();
    let template = Template {
        serial: &serial,
        issuer: &by.subject,
        issuer_key: by.key_id.as_deref(),
        crl: by.crl.as_deref(),
        subject: &whose.subject_der,
        not_before,
        not_after,
        spki: &whose.spki,
        constraints: BasicConstraints::Leaf,
        usages: &wanted.usages,
        extended: &wanted.extended,
        names: &wanted.names,
        custom: wanted.custom,
    };
    let certificate = x509::issue(&template, signer, hash)?;
    Ok(Issued {
        subject: whose.subject,
        key_algorithm: whose.key_algorithm,
        hash,
        serial,
        not_before,
        not_after,
        certificate,
        key: whose.key,
    })
}

/// Keeps it, unless its issuer was disabled or the account has become full in the meantime.
async fn insert(call: &Call<'_>, id: &str, issuer: &Issuer, issued: Issued) -> Result<(), Failure> {
    let gen_mode = match issued.key {
        Some(_) => "GENERATE",
        None => "CSR",
    };
    let change = Once::new(INSERT)
        .bind(id)
        .bind(call.account())
        .bind(issuer.id.as_str())
        .bind(issuer.subject.common_name.as_str())
        .bind(gen_mode)
        .bind(issued.subject.common_name.as_str())
        .bind(serde_json::to_string(&issued.subject)?)
        .bind(issued.key_algorithm)
        .bind(issued.hash.name())
        .bind(text::serial_number(call.now))
        .bind(issued.serial)
        .bind(issued.not_before.0)
        .bind(issued.not_after.0)
        .bind(call.now.0)
        .bind(issued.certificate)
        .bind(issued.key)
        .bind(QUOTA);
    if call.shared.db.once(change).await? {
        return Ok(());
    }
    call.shared.issuers.forget(&issuer.id);
    // Asked where what others have done beside it and what is not on disk yet is seen.
    let (account, issuer, now) = (call.account().to_owned(), issuer.id.clone(), call.now);
    let why = call.shared.db.write(|connection| {
        Box::pin(async move {
            active(connection, &account, &issuer, now).await?;
            within_quota(connection, &account).await
        })
    });
    why.await?;
    let detail = "what spoke against it is gone; ask again";
    Err(Failure::because(code("PCA.00000001"), detail))
}

/// One statement, since certificates are what comes most often.
const INSERT: &str = "WITH new (id, account, issuer, issuer_name, gen_mode, common_name, subject, key_algorithm, \
     signature_algorithm, serial_number, serial, not_before, not_after, created, certificate, key) \
     AS (SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     INSERT INTO certificate (id, account, issuer, issuer_name, status, gen_mode, common_name, subject, key_algorithm, \
     signature_algorithm, serial_number, serial, not_before, not_after, created, certificate, key) \
     SELECT id, account, issuer, issuer_name, 'ISSUED', gen_mode, common_name, subject, key_algorithm, \
     signature_algorithm, serial_number, serial, not_before, not_after, created, certificate, key FROM new \
     WHERE EXISTS (SELECT 1 FROM authority a WHERE a.id = new.issuer AND a.account = new.account \
     AND a.status = 'ACTIVED' AND a.not_after >= new.created) \
     AND coalesce((SELECT certificates FROM stock WHERE stock.account = new.account), 0) < ? RETURNING ?";

async fn parse(call: &Call<'_>) -> Result<Request, Failure> {
    let csr = call.body.text("csr").to_owned();
    call.shared.heavy(move || parsed(&csr)).await
}

fn parsed(csr: &str) -> Result<Request, Failure> {
    Request::parse(csr).map_err(|error| Failure::because(code("PCA.00020401"), error.to_string()))
}

/// One of `subject_alternative_names`.
fn alternative(given: &Input) -> Result<Name, Failure> {
    let value = given.text("value");
    let parsed = Name::parse(value);
    let (found, code) = match (given.text("type"), parsed) {
        ("DNS", Ok(name @ Name::Dns(_))) => (Some(name), fields::BAD_NAME_KIND),
        ("DNS", _) => (None, code("PCA.00020110")),
        ("IP", Ok(name @ Name::Ip(_))) => (Some(name), fields::BAD_NAME_KIND),
        ("IP", _) => (None, code("PCA.00020111")),
        ("EMAIL", Ok(name @ Name::Email(_))) => (Some(name), fields::BAD_NAME_KIND),
        // Any scheme will do; the parser of names only knows those with two slashes.
        ("URI", _) if value.contains(':') && value.is_ascii() && value.len() <= 253 => {
            (Some(Name::Uri(value.to_owned())), fields::BAD_NAME_KIND)
        }
        _ => (None, code("PCA.00020001")),
    };
    let kind = given.text("type");
    found.ok_or_else(|| Failure::because(code, format!("{value:?} is no name of type {kind}")))
}

/// `customized_extension`: an identifier that is nobody's yet, and a text.
fn custom(given: &Input) -> Result<Option<(Vec<u64>, String)>, Failure> {
    let (identifier, value) = match (given.optional("object_identifier"), given.optional("value")) {
        (Some(identifier), Some(value)) => (identifier, value),
        (None, None) => return Ok(None),
        _ => {
            let detail = "customized_extension needs both object_identifier and value";
            return Err(Failure::because(code("PCA.00020001"), detail));
        }
    };
    let refuse = || {
        let detail = format!(
            "customized_extension.object_identifier {identifier:?} is no object identifier of a private extension"
        );
        Failure::because(code("PCA.00020001"), detail)
    };
    let parts: Result<Vec<u64>, _> = identifier.split('.').map(str::parse).collect();
    let parts = parts.map_err(|_| refuse())?;
    let sound = match parts.as_slice() {
        [0 | 1, second, _, ..] => *second < 40,
        [2, second, _, ..] => *second < 1000,
        _ => false,
    };
    // What RFC 5280 defines is written by us and nobody else: 2.5.29 and 1.3.6.1.5.5.7.1.
    let taken = parts.starts_with(&[2, 5, 29]) || parts.starts_with(&[1, 3, 6, 1, 5, 5, 7, 1]);
    if sound && !taken {
        Ok(Some((parts, value.to_owned())))
    } else {
        Err(refuse())
    }
}

/// Where a certificate's key is sealed for.
pub(super) fn key_label(id: &str) -> String {
    format!("certificate.key/{id}")
}

/// CCM API 4.2.2.3, "private certificates".
const DEFAULT_USAGES: [KeyUsage; 2] = [KeyUsage::DigitalSignature, KeyUsage::KeyAgreement];
