//! `renewd ccm scm …`: certificates, orders, CSRs, tags, other services.

use serde_json::json;

use crate::ccm::{
    Apply, BatchPush, BatchTags, Buy, CreateCsr, CsrQuery, Deploy, Deployed, ExportedPem,
    FilterTags, Import, Match, Push, Resource, Scm, ScmQuery, Tag, TagChoice, UploadCsr, Values,
};
use crate::cli::args::Arguments;
use crate::cli::ccm::account::{Wanted, connect};
use crate::cli::ccm::args::{Ccm, Output, Paging};
use crate::cli::ccm::args_scm::{
    Application, BuyCertificates, CreateCsrArgs, CsrCommand, DeployCertificate, FilterByTags,
    ListCertificates, ScmCommand, TagCommand,
};
use crate::cli::ccm::confirm::confirm;
use crate::cli::ccm::show::{Columns, Shown, pem};
use crate::cli::ccm::{failed, files};
use crate::cli::{Exit, Failure};
use crate::pki::Secret;

/// One operation with its answer.
pub(super) async fn run(
    arguments: &Arguments,
    ccm: &Ccm,
    command: &ScmCommand,
) -> Result<Shown, Failure> {
    let scm = || connect(arguments, ccm, Wanted::Scm).map(Scm::new);
    match command {
        ScmCommand::List(query) => list(&scm()?, query).await,
        ScmCommand::Show { id } => {
            Shown::record(&scm()?.show_certificate(id).await.map_err(failed)?)
        }
        ScmCommand::Import {
            name,
            cert,
            chain,
            key,
        } => {
            let (cert, key) = (files::text(cert)?, files::key(key)?);
            let chain = files::maybe_text(chain.as_deref())?;
            let (certificate, behind) = first_and_rest(&cert);
            let import = Import {
                name,
                certificate,
                certificate_chain: chain.as_deref().or(behind),
                private_key: key.expose_str().unwrap_or_default(),
            };
            let id = scm()?.import_certificate(&import).await.map_err(failed)?;
            Shown::record(&json!({"certificate_id": id}))
        }
        ScmCommand::Export { id, output } => {
            let scm = scm()?;
            files::prepare(output)?;
            let exported = scm.export_certificate(id).await.map_err(failed)?;
            export_pem(&exported, output)
        }
        ScmCommand::Delete { id } => {
            let scm = scm()?;
            let what = format!("Certificate {id} and its key will be deleted for good.");
            confirm(ccm.yes, &what)?;
            scm.delete_certificate(id).await.map_err(failed)?;
            Ok(Shown::Done(format!("certificate {id} is deleted")))
        }
        ScmCommand::Buy(wanted) => {
            let scm = scm()?;
            let what = format!(
                "{} certificate(s) {} of {} for {} year(s) will be bought at {}, for money.",
                wanted.count,
                wanted.kind,
                wanted.brand,
                wanted.years,
                scm.host()
            );
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.buy(&purchase(wanted)).await.map_err(failed)?)
        }
        ScmCommand::Apply {
            id,
            application,
            method,
            key_algorithm,
            auto_dns,
        } => {
            let request = Apply {
                domain_method: method.clone(),
                key_algorithm: key_algorithm.clone(),
                auto_dns_auth: auto_dns.then_some(true),
                ..applied(application)?
            };
            Shown::record(&scm()?.apply(id, &request).await.map_err(failed)?)
        }
        ScmCommand::Cancel { id } => {
            let scm = scm()?;
            let what = format!("The application for certificate {id} will be withdrawn.");
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.cancel(id).await.map_err(failed)?)
        }
        ScmCommand::Push {
            id,
            service,
            target_project,
        } => {
            let request = Push {
                target_project: target_project.clone(),
                target_service: service.clone(),
            };
            scm()?.push(id, &request).await.map_err(failed)?;
            Ok(Shown::Done(format!(
                "certificate {id} is pushed to {service} of {target_project}"
            )))
        }
        ScmCommand::BatchPush {
            id,
            service,
            target_projects,
        } => {
            let request = BatchPush {
                target_projects: target_projects.clone(),
                target_service: service.clone(),
            };
            let answer = scm()?.batch_push(id, &request).await.map_err(failed)?;
            Shown::list("results", &answer.results, PUSHED)
        }
        ScmCommand::Deploy(wanted) => deploy(&scm()?, wanted).await,
        ScmCommand::Deployed { ids, services } => {
            let request = Deployed {
                certificate_ids: ids.clone(),
                service_names: services.clone(),
            };
            let answer = scm()?.deployed(&request).await.map_err(failed)?;
            Shown::record(&answer)
        }
        ScmCommand::Csr(command) => csr(&scm()?, ccm, command).await,
        ScmCommand::Tag(command) => tag(&scm()?, command).await,
        // Carried out by `v2`, which the caller asks first.
        ScmCommand::V2(_) => Err(Failure::new(Exit::Bug, "a command of v2 came to scm")),
    }
}

async fn list(scm: &Scm, wanted: &ListCertificates) -> Result<Shown, Failure> {
    let query = ScmQuery {
        status: wanted.status.as_ref().map(|status| status.as_str()),
        sort_key: wanted.sort.as_ref().map(|sort| sort.as_str()),
        sort_dir: wanted.order.as_ref().map(|order| order.as_str()),
        expired_days_since: wanted.expired_days_since,
        deploy_support: wanted.deployable.then_some(true),
        owned_by_self: wanted.shared.then_some(false),
        limit: scm_limit(&wanted.paging)?,
        offset: wanted.paging.offset,
    };
    if wanted.paging.all {
        let all = scm.all_certificates(&query).await.map_err(failed)?;
        return Shown::listing("certificates", &all, CERTIFICATES);
    }
    let page = scm.list_certificates(&query).await.map_err(failed)?;
    Shown::page("certificates", &page, CERTIFICATES)
}

/// SCM has three sizes of a page.
pub(super) fn scm_limit(paging: &Paging) -> Result<u32, Failure> {
    if [10, 20, 50].contains(&paging.limit) {
        Ok(paging.limit)
    } else {
        let text = format!("--limit {}: SCM gives 10, 20 or 50 at once", paging.limit);
        Err(Failure::new(Exit::Usage, text))
    }
}

fn purchase(wanted: &BuyCertificates) -> Buy {
    Buy {
        cert_brand: wanted.brand.clone(),
        cert_type: wanted.kind.clone(),
        domain_type: wanted.domain_type.clone(),
        effective_time: wanted.years,
        domain_numbers: wanted.domains,
        order_number: wanted.count,
        agree_privacy_protection: wanted.agree_privacy,
        primary_domain_type: wanted.primary_domain_type.clone(),
        single_domain_number: wanted.single_domains,
        wildcard_domain_number: wanted.wildcard_domains,
        is_auto_pay: wanted.auto_pay.then_some(true),
        order_id: wanted.order_id.clone(),
        tags: tags(&wanted.tags),
    }
}

/// What both faces of the API want of an application; the method of proof is the caller's to add.
fn applied(given: &Application) -> Result<Apply, Failure> {
    Ok(Apply {
        domain: given.domain.clone(),
        sans: given.sans.clone(),
        csr: files::maybe_text(given.csr.as_deref())?,
        company_name: given.company_name.clone(),
        company_unit: given.company_unit.clone(),
        company_province: given.company_province.clone(),
        company_city: given.company_city.clone(),
        country: given.country.clone(),
        applicant_name: given.applicant_name.clone(),
        applicant_phone: given.applicant_phone.clone(),
        applicant_email: given.applicant_email.clone(),
        contact_name: given.contact_name.clone(),
        contact_phone: given.contact_phone.clone(),
        contact_email: given.contact_email.clone(),
        agree_privacy_protection: given.agree_privacy,
        ..Apply::default()
    })
}

async fn deploy(scm: &Scm, wanted: &DeployCertificate) -> Result<Shown, Failure> {
    let one = |id: Option<&String>, domain: Option<&String>| Resource {
        id: id.cloned(),
        kind: wanted.kind.clone(),
        domain_name: domain.cloned(),
        enterprise_project_id: wanted.enterprise_project.clone(),
    };
    let by_id = wanted.resources.iter().map(|id| one(Some(id), None));
    let by_domain = wanted.domains.iter().map(|domain| one(None, Some(domain)));
    let request = Deploy {
        project_name: wanted.target_project.clone(),
        service_name: wanted.service.clone(),
        resources: by_id.chain(by_domain).collect(),
    };
    let answer = scm.deploy(&wanted.id, &request).await.map_err(failed)?;
    Shown::list("failure_list", &answer.failure_list, FAILURES)
}

async fn csr(scm: &Scm, ccm: &Ccm, command: &CsrCommand) -> Result<Shown, Failure> {
    match command {
        CsrCommand::Create(wanted) => {
            let made = scm.create_csr(&new_csr(wanted)).await.map_err(failed)?;
            Shown::record(&made)
        }
        CsrCommand::List {
            name,
            algorithm,
            paging,
        } => {
            let query = CsrQuery {
                name: name.as_deref(),
                private_key_algo: algorithm.clone(),
                limit: scm_limit(paging)?,
                offset: paging.offset,
            };
            if paging.all {
                let all = scm.all_csrs(&query).await.map_err(failed)?;
                return Shown::listing("csr_list", &all, CSRS);
            }
            let page = scm.list_csrs(&query).await.map_err(failed)?;
            Shown::page("csr_list", &page, CSRS)
        }
        CsrCommand::Show { id } => Shown::record(&scm.show_csr(id).await.map_err(failed)?),
        CsrCommand::Update { id, name } => {
            Shown::record(&scm.rename_csr(id, name).await.map_err(failed)?)
        }
        CsrCommand::Delete { id } => {
            let what = format!("CSR {id} and its key will be deleted for good.");
            confirm(ccm.yes, &what)?;
            scm.delete_csr(id).await.map_err(failed)?;
            Ok(Shown::Done(format!("CSR {id} is deleted")))
        }
        CsrCommand::Upload { name, csr, key } => {
            let csr = files::text(csr)?;
            let key = key.as_deref().map(files::key).transpose()?;
            let request = UploadCsr {
                name,
                csr: &csr,
                private_key: key.as_ref().and_then(Secret::expose_str),
            };
            Shown::record(&scm.upload_csr(&request).await.map_err(failed)?)
        }
        CsrCommand::Key { id, output } => {
            files::prepare(output)?;
            if output.output.is_none() && !output.show_key {
                let text = "a private key is not shown just so; write it to a file with -o, or say --show-key";
                return Err(Failure::new(Exit::Usage, text));
            }
            let key = scm.show_csr_key(id).await.map_err(failed)?;
            if let Some(path) = &output.output {
                files::write(path, output.force, key.expose())?;
                return Ok(Shown::Done(format!("the key is in {}", path.display())));
            }
            let text = key.expose_str().unwrap_or_default();
            Ok(Shown::Text {
                text: pem(text),
                json: json!({"private_key": text}),
            })
        }
    }
}

fn new_csr(wanted: &CreateCsrArgs) -> CreateCsr {
    CreateCsr {
        name: wanted.name.clone(),
        domain_name: wanted.domain.clone(),
        sans: wanted.sans.clone(),
        private_key_algo: wanted.algorithm.clone(),
        usage: wanted.usage.clone(),
        company_country: wanted.company_country.clone(),
        company_province: wanted.company_province.clone(),
        company_city: wanted.company_city.clone(),
        company_name: wanted.company_name.clone(),
    }
}

async fn tag(scm: &Scm, command: &TagCommand) -> Result<Shown, Failure> {
    match command {
        TagCommand::Add { id, tag } => {
            let tag = tags(std::slice::from_ref(tag)).remove(0);
            Shown::record(&scm.add_tag(id, &tag).await.map_err(failed)?)
        }
        TagCommand::Batch {
            id,
            action,
            tags: given,
        } => {
            let request = BatchTags {
                action: action.clone(),
                tags: tags(given),
            };
            Shown::record(&scm.batch_tags(id, &request).await.map_err(failed)?)
        }
        TagCommand::List { id } => {
            let answer = scm.list_tags(id).await.map_err(failed)?;
            Shown::list("tags", &answer.tags, &[("KEY", "key"), ("VALUE", "value")])
        }
        TagCommand::All => {
            let answer = scm.list_all_tags().await.map_err(failed)?;
            Shown::list(
                "tags",
                &answer.tags,
                &[("KEY", "key"), ("VALUES", "values")],
            )
        }
        TagCommand::Filter(wanted) => filter(scm, wanted).await,
    }
}

async fn filter(scm: &Scm, wanted: &FilterByTags) -> Result<Shown, Failure> {
    let matches = wanted.name.iter().map(|name| Match {
        key: "resource_name".to_owned(),
        value: name.clone(),
    });
    let request = FilterTags {
        without_any_tag: wanted.untagged.then_some(true),
        tags: choices(&wanted.tags),
        tags_any: choices(&wanted.any),
        not_tags: choices(&wanted.not),
        not_tags_any: choices(&wanted.not_any),
        action: Some("filter".to_owned()),
        matches: matches.collect(),
        ..FilterTags::default()
    };
    if wanted.count {
        let request = FilterTags {
            action: Some("count".to_owned()),
            ..request
        };
        let page = scm.filter_by_tags(&request).await.map_err(failed)?;
        return Shown::record(&json!({"total_count": page.total}));
    }
    if wanted.paging.all {
        let all = scm.all_by_tags(&request).await.map_err(failed)?;
        return Shown::listing("resources", &all, TAGGED);
    }
    let request = FilterTags {
        limit: Some(i64::from(scm_limit(&wanted.paging)?)),
        offset: Some(i64::try_from(wanted.paging.offset).unwrap_or(i64::MAX)),
        ..request
    };
    let page = scm.filter_by_tags(&request).await.map_err(failed)?;
    Shown::page("resources", &page, TAGGED)
}

fn tags(given: &[(String, String)]) -> Vec<Tag> {
    let one = |(key, value): &(String, String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    given.iter().map(one).collect()
}

/// `KEY=VALUE,VALUE`, or a key alone for any value.
fn choices(given: &[(String, String)]) -> Vec<TagChoice> {
    let one = |(key, values): &(String, String)| TagChoice {
        key: key.clone(),
        values: Values(match values.as_str() {
            "" => Vec::new(),
            values => values.split(',').map(str::to_owned).collect(),
        }),
    };
    given.iter().map(one).collect()
}

/// The first certificate of a PEM text, and what follows.
fn first_and_rest(text: &str) -> (&str, Option<&str>) {
    const END: &str = "-----END CERTIFICATE-----";
    let Some(at) = text.find(END) else {
        return (text, None);
    };
    let (first, rest) = text.split_at(at + END.len());
    let rest = rest.trim();
    (first, (!rest.is_empty()).then_some(rest))
}

/// Certificate, chain and key of an export: into a file for its owner alone, or shown without the key.
pub(super) fn export_pem(exported: &ExportedPem, output: &Output) -> Result<Shown, Failure> {
    let with_key = output.output.is_some() || output.show_key;
    let key = exported.private_key.as_ref().filter(|_| with_key);
    let parts = [
        exported.certificate.as_deref(),
        exported.certificate_chain.as_deref(),
        key.and_then(Secret::expose_str),
    ];
    let text: String = parts.into_iter().flatten().map(pem).collect();
    if let Some(path) = &output.output {
        let text = Secret::from(text);
        files::write(path, output.force, text.expose())?;
        let what = match key {
            Some(_) => "certificate, chain and key are",
            None => "certificate and chain are",
        };
        return Ok(Shown::Done(format!("{what} in {}", path.display())));
    }
    let mut json = json!({
        "certificate": exported.certificate, "certificate_chain": exported.certificate_chain,
    });
    if let Some(whole) = &exported.entire_certificate {
        json["entire_certificate"] = json!(whole);
    }
    if let Some(key) = key.and_then(Secret::expose_str) {
        json["private_key"] = json!(key);
    }
    Ok(Shown::Text { text, json })
}

const CERTIFICATES: Columns = &[
    ("ID", "id"),
    ("STATUS", "status"),
    ("ENDS", "expire_time"),
    ("TYPE", "type"),
    ("NAME", "name"),
    ("DOMAIN", "domain"),
    ("MORE NAMES", "sans"),
];
const CSRS: Columns = &[
    ("ID", "id"),
    ("ALGORITHM", "private_key_algo"),
    ("MADE", "create_time"),
    ("NAME", "name"),
    ("DOMAIN", "domain_name"),
    ("MORE NAMES", "sans"),
];
const TAGGED: Columns = &[
    ("ID", "resource_id"),
    ("STATUS", "resource_detail.order_status"),
    ("NAME", "resource_name"),
    ("DOMAIN", "resource_detail.domain"),
];
const PUSHED: Columns = &[
    ("PROJECT", "project_name"),
    ("CERTIFICATE", "cert_id"),
    ("RESULT", "message"),
];
const FAILURES: Columns = &[("NOT DEPLOYED", "resource"), ("WHY", "failure_info")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_behind_the_certificate_is_told_apart() {
        let one = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----";
        assert_eq!(first_and_rest(one), (one, None));
        let both = format!("{one}\n{one}\n");
        assert_eq!(first_and_rest(&both), (one, Some(one)));
        assert_eq!(first_and_rest("x"), ("x", None));
    }

    #[test]
    fn values_of_a_tag_are_alternatives() {
        let choice = choices(&[
            ("a".to_owned(), "x,y".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        assert_eq!(choice[0].values, Values(vec!["x".into(), "y".into()]));
        assert_eq!(choice[1].values, Values(Vec::new()));
    }
}
