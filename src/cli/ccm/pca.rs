//! `renewd ccm pca …`: private CAs and certificates, and what revocation lists need.

use serde_json::json;

use crate::ccm::{
    ActivateAuthority, AuthorityQuery, CertificateQuery, CreateAuthority, CrlWanted,
    CustomizedExtension, DistinguishedName, ExportKind, ExtendedKeyUsage, ImportAuthority, Issue,
    IssueByCsr, NameKind, Pca, Quota, SubjectAlternativeName, Validity,
};
use crate::cli::args::Arguments;
use crate::cli::ccm::account::{Wanted, connect};
use crate::cli::ccm::args::{Ccm, Output, millis};
use crate::cli::ccm::args_pca::{
    ApplyPrivate, CaCommand, CertCommand, CreateCa, ListAuthorities, ListPrivate, Name, ObsCommand,
    PcaCommand,
};
use crate::cli::ccm::confirm::confirm;
use crate::cli::ccm::scm::export_pem;
use crate::cli::ccm::show::{Columns, Shown, pem};
use crate::cli::ccm::{failed, files};
use crate::cli::{Exit, Failure};
use crate::model::Timestamp;

/// One operation with its answer.
pub(super) async fn run(
    arguments: &Arguments,
    ccm: &Ccm,
    command: &PcaCommand,
) -> Result<Shown, Failure> {
    let pca = connect(arguments, ccm, Wanted::Pca).map(Pca::new)?;
    match command {
        PcaCommand::Ca(command) => ca(&pca, ccm, command).await,
        PcaCommand::Cert(command) => cert(&pca, ccm, command).await,
        PcaCommand::Obs(ObsCommand::Agency) => {
            let granted = pca.obs_agency().await.map_err(failed)?;
            Shown::record(&json!({"agency_granted": granted}))
        }
        PcaCommand::Obs(ObsCommand::Grant) => {
            let id = pca.create_obs_agency().await.map_err(failed)?;
            Shown::record(&json!({"agency_id": id}))
        }
        PcaCommand::Obs(ObsCommand::Buckets) => {
            let buckets = pca.list_obs_buckets().await.map_err(failed)?;
            Shown::list("obs_buckets", &buckets.obs_buckets, BUCKETS)
        }
    }
}

async fn ca(pca: &Pca, ccm: &Ccm, command: &CaCommand) -> Result<Shown, Failure> {
    let done = |text: String| Ok(Shown::Done(text));
    match command {
        CaCommand::List(query) => list_authorities(pca, query).await,
        CaCommand::Create(wanted) => {
            let (kind, name) = (&wanted.kind, &wanted.name.common_name);
            let what = format!(
                "A CA ({kind}) `{name}` will be created at {}, and paid for.",
                pca.host()
            );
            confirm(ccm.yes, &what)?;
            let id = pca
                .create_authority(&new_ca(wanted))
                .await
                .map_err(failed)?;
            Shown::record(&json!({"ca_id": id}))
        }
        CaCommand::Show { id } => Shown::record(&pca.show_authority(id).await.map_err(failed)?),
        CaCommand::Quota => quota(&pca.authority_quota().await.map_err(failed)?),
        CaCommand::Delete { id, days } => {
            let what = format!(
                "CA {id} will be deleted in {days} days, at once if it is pending; then nothing that it signed can be revoked."
            );
            confirm(ccm.yes, &what)?;
            pca.delete_authority(id, *days).await.map_err(failed)?;
            done(format!("CA {id} will be deleted in {days} days"))
        }
        CaCommand::Activate {
            id,
            parent,
            path_length,
            signature_algorithm,
            validity,
            from,
        } => {
            let request = ActivateAuthority {
                issuer_id: parent.clone(),
                path_length: *path_length,
                signature_algorithm: signature_algorithm.clone(),
                validity: beginning(validity, *from),
            };
            pca.activate_authority(id, &request).await.map_err(failed)?;
            done(format!("CA {id} is active"))
        }
        CaCommand::Csr { id } => {
            let csr = pca.authority_csr(id).await.map_err(failed)?;
            Ok(Shown::Text {
                text: pem(&csr),
                json: json!({"csr": csr}),
            })
        }
        CaCommand::Disable { id } => {
            let what = format!("CA {id} will issue nothing until it is enabled again.");
            confirm(ccm.yes, &what)?;
            pca.disable_authority(id).await.map_err(failed)?;
            done(format!("CA {id} is disabled"))
        }
        CaCommand::Enable { id } => {
            pca.enable_authority(id).await.map_err(failed)?;
            done(format!("CA {id} is enabled"))
        }
        CaCommand::Export { id, output, force } => {
            let output = Output {
                output: output.clone(),
                force: *force,
                show_key: false,
            };
            files::prepare(&output)?;
            let exported = pca.export_authority(id).await.map_err(failed)?;
            export_pem(&exported, &output)
        }
        CaCommand::Import { id, cert, chain } => {
            let request = ImportAuthority {
                certificate: files::text(cert)?,
                certificate_chain: files::maybe_text(chain.as_deref())?,
            };
            pca.import_authority(id, &request).await.map_err(failed)?;
            done(format!("CA {id} has its certificate"))
        }
        CaCommand::Restore { id } => {
            pca.restore_authority(id).await.map_err(failed)?;
            done(format!(
                "CA {id} will not be deleted; it is disabled until it is enabled again"
            ))
        }
        CaCommand::Revoke { id, reason } => {
            let what =
                format!("CA {id} will be revoked, and with it every certificate that it signed.");
            confirm(ccm.yes, &what)?;
            let revoked = pca.revoke_authority(id, reason.clone()).await;
            revoked.map_err(failed)?;
            done(format!("CA {id} is revoked"))
        }
    }
}

async fn cert(pca: &Pca, ccm: &Ccm, command: &CertCommand) -> Result<Shown, Failure> {
    let done = |text: String| Ok(Shown::Done(text));
    match command {
        CertCommand::List(query) => list_certificates(pca, query).await,
        CertCommand::Apply(wanted) => {
            let id = pca.issue(&application(wanted)).await.map_err(failed)?;
            Shown::record(&json!({"certificate_id": id}))
        }
        CertCommand::Issue {
            ca,
            csr,
            validity,
            from,
            kind,
            path_length,
        } => {
            let request = IssueByCsr {
                issuer_id: ca.clone(),
                csr: files::text(csr)?,
                validity: beginning(validity, *from),
                kind: kind.clone(),
                path_length: *path_length,
                subject_alternative_names: Vec::new(),
            };
            let id = pca.issue_by_csr(&request).await.map_err(failed)?;
            Shown::record(&json!({"certificate_id": id}))
        }
        CertCommand::Parse { csr } => {
            let csr = files::text(csr)?;
            Shown::record(&pca.parse_csr(&csr).await.map_err(failed)?)
        }
        CertCommand::Quota => quota(&pca.certificate_quota().await.map_err(failed)?),
        CertCommand::Show { id } => Shown::record(&pca.show_certificate(id).await.map_err(failed)?),
        CertCommand::Delete { id } => {
            let what = format!(
                "Certificate {id} will be deleted for good; it goes on being trusted, and cannot be revoked any more."
            );
            confirm(ccm.yes, &what)?;
            pca.delete_certificate(id).await.map_err(failed)?;
            done(format!("certificate {id} is deleted"))
        }
        CertCommand::Export {
            id,
            kind,
            zip,
            output,
        } => export(pca, id, kind, *zip, output).await,
        CertCommand::Revoke { id, reason } => {
            let what = format!("Certificate {id} will be revoked.");
            confirm(ccm.yes, &what)?;
            let reason = reason.as_ref().map(|reason| reason.as_str());
            pca.revoke_certificate(id, reason).await.map_err(failed)?;
            done(format!("certificate {id} is revoked"))
        }
    }
}

/// An archive goes into a file; PEM goes there too, or is shown without its key.
async fn export(
    pca: &Pca,
    id: &str,
    kind: &ExportKind,
    zip: bool,
    output: &Output,
) -> Result<Shown, Failure> {
    let named_zip = output.output.as_ref().is_some_and(|path| {
        let extension = path.extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
    });
    let keystore = matches!(kind, ExportKind::Iis | ExportKind::Tomcat);
    files::prepare(output)?;
    if !(zip || named_zip || keystore) {
        let exported = pca.export_certificate_for(id, kind.clone()).await;
        return export_pem(&exported.map_err(failed)?, output);
    }
    let Some(path) = &output.output else {
        let text = "an archive is not shown; write it to a file with -o";
        return Err(Failure::new(Exit::Usage, text));
    };
    let archive = pca.export_certificate_zip(id, kind.clone()).await;
    files::write(path, output.force, archive.map_err(failed)?.expose())?;
    Ok(Shown::Done(format!("the archive is in {}", path.display())))
}

async fn list_authorities(pca: &Pca, wanted: &ListAuthorities) -> Result<Shown, Failure> {
    let query = AuthorityQuery {
        name: wanted.name.as_deref(),
        status: wanted.status.clone(),
        kind: wanted.kind.clone(),
        sort_key: wanted.sort.clone(),
        sort_dir: wanted.order.clone(),
        limit: wanted.paging.limit,
        offset: wanted.paging.offset,
    };
    if wanted.paging.all {
        let all = pca.all_authorities(&query).await.map_err(failed)?;
        return Shown::listing("certificate_authorities", &all, AUTHORITIES);
    }
    let page = pca.list_authorities(&query).await.map_err(failed)?;
    Shown::page("certificate_authorities", &page, AUTHORITIES)
}

async fn list_certificates(pca: &Pca, wanted: &ListPrivate) -> Result<Shown, Failure> {
    let query = CertificateQuery {
        name: wanted.name.as_deref(),
        status: wanted.status.as_ref().map(|status| status.as_str()),
        sort_key: wanted.sort.clone(),
        sort_dir: wanted.order.clone(),
        limit: wanted.paging.limit,
        offset: wanted.paging.offset,
    };
    if wanted.paging.all {
        let all = pca.all_certificates(&query).await.map_err(failed)?;
        return Shown::listing("certificates", &all, CERTIFICATES);
    }
    let page = pca.list_certificates(&query).await.map_err(failed)?;
    Shown::page("certificates", &page, CERTIFICATES)
}

fn quota(quotas: &[Quota]) -> Result<Shown, Failure> {
    Shown::list("resources", quotas, QUOTAS)
}

fn new_ca(wanted: &CreateCa) -> CreateAuthority {
    let validity = wanted.validity.as_ref();
    CreateAuthority {
        kind: wanted.kind.clone(),
        distinguished_name: name(&wanted.name),
        key_algorithm: wanted.key_algorithm.clone(),
        validity: validity.map(|validity| beginning(validity, wanted.from)),
        issuer_id: wanted.parent.clone(),
        path_length: wanted.path_length,
        signature_algorithm: wanted.signature_algorithm.clone(),
        key_usages: wanted.key_usages.clone(),
        crl_configuration: wanted.crl_bucket.as_ref().map(|bucket| CrlWanted {
            enabled: true,
            crl_name: wanted.crl_name.clone(),
            obs_bucket_name: Some(bucket.clone()),
            valid_days: wanted.crl_days,
        }),
    }
}

fn application(wanted: &ApplyPrivate) -> Issue {
    let names = [
        (NameKind::Dns, &wanted.dns),
        (NameKind::Ip, &wanted.ip),
        (NameKind::Email, &wanted.email),
        (NameKind::Uri, &wanted.uri),
    ];
    let names = names.iter().flat_map(|(kind, values)| {
        values.iter().map(|value| SubjectAlternativeName {
            kind: kind.clone(),
            value: value.clone(),
        })
    });
    let extension = wanted.extension.as_ref();
    Issue {
        issuer_id: wanted.ca.clone(),
        key_algorithm: wanted.key_algorithm.clone(),
        signature_algorithm: wanted.signature_algorithm.clone(),
        distinguished_name: name(&wanted.name),
        validity: beginning(&wanted.validity, wanted.from),
        key_usages: wanted.key_usages.clone(),
        subject_alternative_names: names.collect(),
        extended_key_usage: ExtendedKeyUsage {
            server_auth: wanted.server_auth,
            client_auth: wanted.client_auth,
            code_signing: wanted.code_signing,
            email_protection: wanted.email_protection,
            time_stamping: wanted.time_stamping,
        },
        customized_extension: extension.map(|(oid, value)| CustomizedExtension {
            object_identifier: oid.clone(),
            value: value.clone(),
        }),
    }
}

fn name(given: &Name) -> DistinguishedName {
    DistinguishedName {
        common_name: Some(given.common_name.clone()),
        country: given.country.clone(),
        state: given.state.clone(),
        locality: given.locality.clone(),
        organization: given.organization.clone(),
        organizational_unit: given.organizational_unit.clone(),
    }
}

fn beginning(validity: &Validity, from: Option<Timestamp>) -> Validity {
    Validity {
        start_from: millis(from),
        ..validity.clone()
    }
}

const AUTHORITIES: Columns = &[
    ("ID", "ca_id"),
    ("TYPE", "type"),
    ("STATUS", "status"),
    ("ENDS", "not_after"),
    ("KEY", "key_algorithm"),
    ("NAME", "distinguished_name.common_name"),
    ("SIGNED BY", "issuer_name"),
];
const CERTIFICATES: Columns = &[
    ("ID", "certificate_id"),
    ("STATUS", "status"),
    ("ENDS", "not_after"),
    ("KEY", "key_algorithm"),
    ("NAME", "distinguished_name.common_name"),
    ("SIGNED BY", "issuer_name"),
];
const BUCKETS: Columns = &[("BUCKET", "bucket_name"), ("MADE", "create_time")];
const QUOTAS: Columns = &[("WHAT", "type"), ("USED", "used"), ("ALLOWED", "quota")];
