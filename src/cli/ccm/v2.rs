//! `renewd ccm scm v2 …`: the former face of the API, chapter 7.

use serde_json::json;

use crate::ccm::{
    ApplyV2, BuyV2, LowerMethod, Modify, OrderQuery, Page, PushV2, ScmV2, Supplement, UploadV2,
};
use crate::cli::args::Arguments;
use crate::cli::ccm::account::{Wanted, connect, variable};
use crate::cli::ccm::args::Ccm;
use crate::cli::ccm::args_scm::Application;
use crate::cli::ccm::args_v2::{V2, V2Command};
use crate::cli::ccm::confirm::confirm;
use crate::cli::ccm::scm::scm_limit;
use crate::cli::ccm::show::{Columns, Shown};
use crate::cli::ccm::{failed, files};
use crate::cli::{Exit, Failure};

/// One operation with its answer.
pub(super) async fn run(arguments: &Arguments, ccm: &Ccm, v2: &V2) -> Result<Shown, Failure> {
    let project = match &v2.project {
        Some(project) => Some(project.clone()),
        None => variable(PROJECT)?,
    };
    let Some(project) = project else {
        let text =
            format!("chapter 7 has a project in every path: give --project, or set {PROJECT}");
        return Err(Failure::new(Exit::Usage, text));
    };
    let client = connect(arguments, ccm, Wanted::Scm)?;
    let scm = ScmV2::new(client, project);
    match &v2.command {
        V2Command::Buy {
            brand,
            kind,
            domain_type,
            years,
            domains,
            count,
            agree_privacy,
        } => {
            let what = format!(
                "{count} certificate(s) {kind} of {brand} for {years} year(s) will be bought at {}, for money.",
                scm.host()
            );
            confirm(ccm.yes, &what)?;
            let request = BuyV2 {
                cert_brand: brand.clone(),
                cert_type: kind.clone(),
                domain_type: domain_type.clone(),
                effective_time: *years,
                domain_numbers: *domains,
                order_number: *count,
                agree_privacy_protection: *agree_privacy,
            };
            Shown::record(&scm.buy(&request).await.map_err(failed)?)
        }
        V2Command::List {
            status,
            content,
            sort,
            order,
            paging,
        } => {
            let query = OrderQuery {
                order_status: status.as_ref().map(|status| status.as_str()),
                content: content.as_deref(),
                sort_key: sort.clone(),
                sort_dir: order.clone(),
                limit: Some(scm_limit(paging)?),
                offset: (paging.offset > 0).then_some(paging.offset),
            };
            if paging.all {
                let all = scm.all(&query).await.map_err(failed)?;
                return Shown::listing("order_list", &all, ORDERS);
            }
            let page = scm.list(&query).await.map_err(failed)?;
            Shown::page("order_list", &Page::from(page), ORDERS)
        }
        V2Command::Modify { id, what, value } => {
            let request = Modify {
                modify_key: what.clone(),
                modify_value: value.clone(),
            };
            Shown::record(&scm.modify(id, &request).await.map_err(failed)?)
        }
        V2Command::Apply {
            id,
            application,
            method,
            auto_dns,
        } => {
            let request = ApplyV2 {
                domain_method: Some(LowerMethod(method.clone())),
                auto_dns_auth: auto_dns.then_some(true),
                ..applied(application)?
            };
            Shown::record(&scm.apply(id, &request).await.map_err(failed)?)
        }
        V2Command::Save { id, application } => {
            let saved = scm.save(id, &applied(application)?).await;
            Shown::record(&saved.map_err(failed)?)
        }
        V2Command::Upload { name, cert, key } => {
            let (cert, key) = (files::text(cert)?, files::key(key)?);
            let request = UploadV2 {
                cert_name: name,
                cert: &cert,
                private_key: key.expose_str().unwrap_or_default(),
            };
            let id = scm.upload(&request).await.map_err(failed)?;
            Shown::record(&json!({"cert_id": id}))
        }
        V2Command::Download { id, output, force } => {
            files::may_write(output, *force)?;
            let archive = scm.download(id).await.map_err(failed)?;
            files::write(output, *force, archive.expose())?;
            Ok(Shown::Done(format!(
                "the archive is in {}",
                output.display()
            )))
        }
        V2Command::Push {
            id,
            service,
            target_project,
        } => {
            let request = PushV2 {
                service_type: service.clone(),
                remote_project: target_project.clone(),
            };
            Shown::record(&scm.push(id, &request).await.map_err(failed)?)
        }
        V2Command::Supplement {
            id,
            has,
            add,
            email,
        } => {
            let request = Supplement {
                ori_sans: has.clone(),
                add_sans: add.clone(),
                email: email.clone(),
            };
            Shown::record(&scm.supplement(id, &request).await.map_err(failed)?)
        }
        other => simple(&scm, ccm, other).await,
    }
}

/// The operations that need an id and little more.
async fn simple(scm: &ScmV2, ccm: &Ccm, command: &V2Command) -> Result<Shown, Failure> {
    match command {
        V2Command::Show { id } => Shown::record(&scm.show(id).await.map_err(failed)?),
        V2Command::Products => {
            let products = scm.products().await.map_err(failed)?;
            Shown::list("type_list", &products.type_list, PRODUCTS)
        }
        V2Command::Product { id } => Shown::record(&scm.product(id).await.map_err(failed)?),
        V2Command::CheckCsr { csr } => {
            let csr = files::text(csr)?;
            Shown::record(&scm.check_csr(&csr).await.map_err(failed)?)
        }
        V2Command::Read { id } => Shown::record(&scm.saved(id).await.map_err(failed)?),
        V2Command::Cancel { id } => {
            let what = format!("The application for certificate {id} will be withdrawn.");
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.cancel(id).await.map_err(failed)?)
        }
        V2Command::Delete { id } => {
            let what = format!("Certificate {id} and its key will be deleted for good.");
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.delete(id).await.map_err(failed)?)
        }
        V2Command::UploadAuthentication { id, kind, picture } => {
            let picture = files::bytes(picture)?;
            let handed_in = scm.upload_authentication(id, kind, picture).await;
            Shown::record(&handed_in.map_err(failed)?)
        }
        V2Command::Revoke { id, reason } => {
            let what = format!("Certificate {id} will be revoked.");
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.revoke(id, reason).await.map_err(failed)?)
        }
        V2Command::PushHistory { id } => {
            let history = scm.push_history(id).await.map_err(failed)?;
            Shown::list("push_history_list", &history.push_history_list, PUSHES)
        }
        V2Command::WithdrawConsent { id } => {
            let what = format!(
                "The consent to the use of the data in certificate {id} will be taken back."
            );
            confirm(ccm.yes, &what)?;
            Shown::record(&scm.cancel_privacy(id).await.map_err(failed)?)
        }
        V2Command::Verify { id } => {
            Shown::record(&scm.domain_verification(id).await.map_err(failed)?)
        }
        V2Command::Buy { .. }
        | V2Command::List { .. }
        | V2Command::Modify { .. }
        | V2Command::Apply { .. }
        | V2Command::Save { .. }
        | V2Command::Upload { .. }
        | V2Command::Download { .. }
        | V2Command::Push { .. }
        | V2Command::Supplement { .. } => Err(Failure::new(Exit::Bug, "a command went astray")),
    }
}

fn applied(given: &Application) -> Result<ApplyV2, Failure> {
    let needed = |what: &Option<String>, option: &str| {
        what.clone().ok_or_else(|| {
            let text = format!("chapter 7 needs {option} whatever is applied for");
            Failure::new(Exit::Usage, text)
        })
    };
    Ok(ApplyV2 {
        domain: given.domain.clone(),
        sans: given.sans.clone(),
        csr: files::maybe_text(given.csr.as_deref())?,
        company_name: needed(&given.company_name, "--company-name")?,
        company_unit: given.company_unit.clone(),
        company_province: needed(&given.company_province, "--company-province")?,
        company_city: needed(&given.company_city, "--company-city")?,
        country: needed(&given.country, "--country")?,
        applicant_name: given.applicant_name.clone(),
        applicant_phone: given.applicant_phone.clone(),
        applicant_email: given.applicant_email.clone(),
        contact_name: given.contact_name.clone(),
        contact_phone: given.contact_phone.clone(),
        contact_email: given.contact_email.clone(),
        auto_dns_auth: None,
        agree_privacy_protection: given.agree_privacy,
        domain_method: None,
    })
}

const PROJECT: &str = "HUAWEICLOUD_SDK_PROJECT_ID";
const ORDERS: Columns = &[
    ("ID", "cert_id"),
    ("STATUS", "order_status"),
    ("ENDS", "expired_time"),
    ("TYPE", "cert_type"),
    ("NAME", "cert_name"),
    ("DOMAIN", "domain"),
];
const PRODUCTS: Columns = &[
    ("ID", "product_id"),
    ("TYPE", "cert_type"),
    ("BRAND", "cert_brand"),
    ("NAMES", "domain_type"),
    ("YEARS", "effective_time"),
    ("NAME", "product_name"),
];
const PUSHES: Columns = &[
    ("WHEN", "push_time"),
    ("SERVICE", "push_service"),
    ("PROJECT", "push_remote_project"),
];
