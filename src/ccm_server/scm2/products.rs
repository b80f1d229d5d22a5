//! What SCM sells, as version 2 lists it (CCM API 7.1.5 and 7.1.6).
//!
//! Made of the brands of 4.1.3.1, so that everything here can be bought there, and of the certificate types and years of
//! 7.1.5. There is no wildcard with extended validation: no CA may issue one (CA/Browser Forum, EV Guidelines 9.2.2).

use serde_json::{Value, json};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm2::project;

/// One product.
struct Product {
    /// In the reference's form, such as `00301-106005-0--0`.
    id: String,
    brand: &'static str,
    kind: &'static str,
    domain_type: &'static str,
    years: i64,
    name: String,
}

/// 7.1.5
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let all = products().map(|product| {
        json!({
            "cert_type": product.kind,
            "cert_brand": product.brand,
            "domain_type": product.domain_type,
            "product_id": product.id,
            "effective_time": product.years,
            "product_name": product.name,
        })
    });
    Ok(Answer::ok(
        json!({"type_list": all.collect::<Vec<Value>>()}),
    ))
}

/// 7.1.6
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    let id = call.path.text("product_id");
    let found = products().find(|product| product.id == id);
    let product = found
        .ok_or_else(|| Failure::because(code("SCM.0094"), format!("there is no product {id}")))?;
    Ok(Answer::ok(json!({
        "cert_type": product.kind,
        "cert_brand": product.brand,
        "domain_type": product.domain_type,
        "effective_time": product.years,
    })))
}

fn products() -> impl Iterator<Item = Product> {
    let kinds = BRANDS
        .into_iter()
        .flat_map(|brand| KINDS.into_iter().map(move |kind| (brand, kind)));
    let sold = kinds.flat_map(|(brand, (kind, short, domains))| {
        let each = domains
            .iter()
            .flat_map(move |domain| [1, 2].map(|years| (brand, kind, short, *domain, years)));
        each.collect::<Vec<_>>()
    });
    (1..)
        .zip(sold)
        .map(|(number, (brand, kind, short, domain, years))| {
            let (domain_type, word) = domain;
            Product {
                id: format!("00301-{:06}-0--0", FIRST + number),
                brand,
                kind,
                domain_type,
                years,
                name: format!("{}.{word}.{short}.{years}", brand.to_ascii_lowercase()),
            }
        })
}

/// The reference's own number stays out of the way of ours.
const FIRST: u32 = 106_100;
const BRANDS: [&str; 6] = [
    "GEOTRUST",
    "GLOBALSIGN",
    "SYMANTEC",
    "CFCA",
    "TRUSTASIA",
    "VTRUS",
];
const SINGLE: (&str, &str) = ("SINGLE_DOMAIN", "single");
const MULTI: (&str, &str) = ("MULTI_DOMAIN", "multi");
const WILDCARD: (&str, &str) = ("WILDCARD", "wildcard");
/// A type of certificate, its short name, and the types of domains that it is sold for.
type Kind = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);
const KINDS: [Kind; 2] = [
    ("OV_SSL_CERT", "ov", &[SINGLE, MULTI, WILDCARD]),
    ("EV_SSL_CERT", "ev", &[SINGLE, MULTI]),
];
