//! Passwords of keystores: given by the administrator, or made once and kept.

use crate::deploy::layout::Layout;
use crate::deploy::{SecretResolver, StepError};
use crate::model::{
    CertificateId, ExportKind, ExportLayout, ExportSpec, PasswordSource, TrustFormat,
};
use crate::pki::{Secret, password};
use crate::sys::entropy;
use crate::sys::fs::{self, Attributes};

/// The password of one keystore; `None` for a form that has none.
pub(super) fn of(
    layout: &Layout,
    resolve: &SecretResolver,
    export: &ExportSpec,
    certificate: &CertificateId,
) -> Result<Option<Secret>, StepError> {
    match source(&export.kind) {
        None => Ok(None),
        Some(PasswordSource::Given(reference)) => match resolve(reference) {
            Ok(secret) => Ok(Some(secret)),
            Err(problem) => Err(StepError::configuration(format!(
                "failed to read the password of export {}: {problem}",
                export.name
            ))),
        },
        Some(PasswordSource::Generated) => kept(layout, export, certificate).map(Some),
    }
}

/// The same, for looking at what is there: none is made, and one that cannot be read is none.
pub(super) fn existing(
    layout: &Layout,
    resolve: &SecretResolver,
    export: &ExportSpec,
    certificate: &CertificateId,
) -> Option<Secret> {
    match source(&export.kind)? {
        PasswordSource::Given(reference) => resolve(reference).ok(),
        PasswordSource::Generated => {
            CertificateId::new(&export.name).ok()?;
            read(layout, export, certificate).ok()?
        }
    }
}

fn source(kind: &ExportKind) -> Option<&PasswordSource> {
    match kind {
        ExportKind::Pem(_) => None,
        ExportKind::Pfx { password, .. } | ExportKind::Jks { password, .. } => Some(password),
        ExportKind::Trust {
            format, password, ..
        } => match format {
            TrustFormat::Pem => None,
            TrustFormat::Jks | TrustFormat::Pkcs12(_) => Some(password),
        },
        ExportKind::Layout {
            layout, password, ..
        } => match layout {
            ExportLayout::Tomcat | ExportLayout::Iis => Some(password),
            ExportLayout::Nginx | ExportLayout::Apache | ExportLayout::Other => None,
        },
    }
}

/// Durable before it is used: a keystore whose password is lost is lost.
fn kept(
    layout: &Layout,
    export: &ExportSpec,
    certificate: &CertificateId,
) -> Result<Secret, StepError> {
    // The name becomes a directory; the rules of ids make it safe.
    if let Err(problem) = CertificateId::new(&export.name) {
        let text = format!("the name {:?} of an export {problem}", export.name);
        return Err(StepError::configuration(text));
    }
    let path = layout.password(&export.name, certificate);
    if let Some(kept) = read(layout, export, certificate)? {
        return Ok(kept);
    }
    let made = password::generate(&mut entropy::fill);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory, 0o700)?;
        fs::sweep(directory)?;
    }
    fs::write_atomic(&path, made.expose(), &Attributes::PRIVATE)?;
    Ok(made)
}

fn read(
    layout: &Layout,
    export: &ExportSpec,
    certificate: &CertificateId,
) -> Result<Option<Secret>, StepError> {
    let path = layout.password(&export.name, certificate);
    let Some(bytes) = fs::read_if_exists(&path, MOST_BYTES)? else {
        return Ok(None);
    };
    let bytes = Secret::new(bytes);
    let text = bytes.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    Ok((!text.is_empty()).then(|| Secret::new(text.to_vec())))
}

const MOST_BYTES: u64 = 4096;
