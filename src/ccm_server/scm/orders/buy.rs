//! Purchases (CCM API 4.1.3.1 and 7.1.1). Nothing is paid for: what is bought is PAID at once, with `is_auto_pay` or
//! without. The reference has no status of a certificate that is ordered and not paid for, so there is none here.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::Input;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::fields::BAD_COUNT;
use crate::ccm_server::scm::orders::late::Late;
use crate::ccm_server::scm::{tag_fields, tags};
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::model::Timestamp;

/// 4.1.3.1 and 7.1.1
pub(in crate::ccm_server) async fn purchase(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = &call.body;
    let product = Product::read(body)?;
    let count = body.integer("order_number").unwrap_or(1);
    let order_id = match body.optional("order_id") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => order_id(call.now),
    };
    let ids: Vec<String> = (0..count).map(|_| text::scm_id()).collect();
    let purchase = Purchase {
        account: call.account().to_owned(),
        ids: ids.clone(),
        order_id: order_id.clone(),
        product,
    };
    match call.shared.faults.faults().late_effect {
        None => purchase.carry_out(call.shared, call.now).await?,
        Some(time) => {
            purchase.check(call.shared).await?;
            call.shared
                .life
                .put_off(call.now + time, Late::Purchase(purchase));
        }
    }
    let cert: Vec<Value> = ids.iter().map(|id| json!({"cert_id": id})).collect();
    Ok(Answer::ok(json!({"order_id": order_id, "cert": cert})))
}

/// What is bought by one request, and by whom.
pub(super) struct Purchase {
    account: String,
    ids: Vec<String>,
    order_id: String,
    product: Product,
}

impl Purchase {
    /// Refuses what the account may not have, without effect.
    async fn check(&self, shared: &Shared) -> Result<(), Failure> {
        if !self.product.is_free() {
            return Ok(());
        }
        let mut connection = shared.db.read().acquire().await?;
        within_quota(&mut connection, &self.account, self.ids.len()).await
    }

    /// Makes the certificates; their tags come with them, or later where that was asked for.
    pub(super) async fn carry_out(
        mut self,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let late = shared.faults.faults().late_tags;
        let tags = match late {
            Some(_) => std::mem::take(&mut self.product.tags),
            None => Vec::new(),
        };
        let (account, ids) = (self.account.clone(), self.ids.clone());
        let write = shared.db.write(|connection| {
            Box::pin(async move {
                if self.product.is_free() {
                    within_quota(connection, &self.account, self.ids.len()).await?;
                }
                for id in &self.ids {
                    insert(
                        connection,
                        &self.account,
                        id,
                        &self.order_id,
                        &self.product,
                        now,
                    )
                    .await?;
                }
                Ok::<_, Failure>(())
            })
        });
        write.await?;
        if let Some(time) = late {
            shared
                .life
                .put_off(now + time, Late::Tags { account, ids, tags });
        }
        Ok(())
    }
}

/// What is bought.
struct Product {
    brand: String,
    kind: String,
    domain_type: String,
    years: i64,
    domains: i64,
    primary: Option<String>,
    singles: Option<i64>,
    wildcards: Option<i64>,
    /// Keys and values.
    tags: Vec<(String, String)>,
}

impl Product {
    fn read(body: &Input) -> Result<Self, Failure> {
        if !body.boolean("agree_privacy_protection") {
            return Err(Failure::because(
                code("SCM.0005"),
                "agree_privacy_protection must be true",
            ));
        }
        let product = Self {
            brand: body.text("cert_brand").to_owned(),
            kind: body.text("cert_type").to_owned(),
            domain_type: body.text("domain_type").to_owned(),
            years: body.integer("effective_time").unwrap_or(1),
            domains: body.integer("domain_numbers").unwrap_or(1),
            primary: body.optional("primary_domain_type").map(str::to_owned),
            singles: body.integer("single_domain_number"),
            wildcards: body.integer("wildcard_domain_number"),
            tags: read_tags(body)?,
        };
        product.check()?;
        Ok(product)
    }

    fn check(&self) -> Result<(), Failure> {
        let refuse = |code, text: &str| Err(Failure::because(code, text.to_owned()));
        let multi = self.domain_type == "MULTI_DOMAIN";
        let extended = self.kind.starts_with("EV");
        if extended && self.domain_type == "WILDCARD" {
            // CA/Browser Forum, EV Guidelines §9.2.2.
            return refuse(
                code("SCM.0051"),
                "no CA sells EV certificates for wildcards",
            );
        }
        if multi && self.domains < 2 {
            return refuse(BAD_COUNT, "MULTI_DOMAIN takes domain_numbers from 2 to 100");
        }
        if !multi && self.domains != 1 {
            return refuse(
                BAD_COUNT,
                "SINGLE_DOMAIN and WILDCARD take domain_numbers 1",
            );
        }
        let split = self.primary.is_some() || self.singles.is_some() || self.wildcards.is_some();
        if split && !multi {
            let text = "primary_domain_type, single_domain_number and wildcard_domain_number are for MULTI_DOMAIN only";
            return refuse(BAD_COUNT, text);
        }
        let further = self.singles.unwrap_or(0) + self.wildcards.unwrap_or(0);
        if (self.singles.is_some() || self.wildcards.is_some()) && further + 1 != self.domains {
            let text = "single_domain_number and wildcard_domain_number must make domain_numbers with the primary domain";
            return refuse(BAD_COUNT, text);
        }
        let wild = self.wildcards.is_some() || self.primary.as_deref() == Some("WILDCARD_DOMAIN");
        if extended && wild {
            return refuse(
                code("SCM.0051"),
                "no CA sells EV certificates for wildcards",
            );
        }
        Ok(())
    }

    /// DigiCert's free test certificate.
    fn is_free(&self) -> bool {
        self.brand == "SYMANTEC"
            && self.kind == "DV_SSL_CERT_BASIC"
            && self.domain_type == "SINGLE_DOMAIN"
    }

    /// How many wildcards it may bind; where the kinds were left open, that is seen when it is applied for.
    fn wildcard_count(&self) -> i64 {
        match self.domain_type.as_str() {
            "WILDCARD" => 1,
            _ => {
                let primary = self.primary.as_deref() == Some("WILDCARD_DOMAIN");
                self.wildcards.unwrap_or(0) + i64::from(primary)
            }
        }
    }
}

fn read_tags(body: &Input) -> Result<Vec<(String, String)>, Failure> {
    let mut keys = BTreeSet::new();
    let mut tags = Vec::new();
    for tag in body.objects("tags") {
        let (key, value) = (tag.text("key"), tag.text("value"));
        if key.is_empty() {
            return Err(Failure::because(code("SCM.0306"), "a tag has no key"));
        }
        if !keys.insert(key.to_owned()) {
            let detail = format!("there are two tags with the key {key:?}");
            return Err(Failure::because(code("SCM.0507"), detail));
        }
        tag_fields::check_key(key)?;
        tag_fields::check_value(value)?;
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

async fn within_quota(
    connection: &mut SqliteConnection,
    account: &str,
    more: usize,
) -> Result<(), Failure> {
    let left = free_left(connection, account).await?;
    if i64::try_from(more).unwrap_or(i64::MAX) <= left {
        return Ok(());
    }
    let detail = format!("of {FREE} free certificates, the account may take {left} more");
    Err(Failure::because(code("SCM.0011"), detail))
}

/// How many free certificates the account may still take. What follows a certificate of the same order was taken with it.
pub(in crate::ccm_server) async fn free_left(
    connection: &mut SqliteConnection,
    account: &str,
) -> Result<i64, Failure> {
    let used: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM scm_certificate c JOIN scm_order o ON o.certificate = c.id WHERE c.account = $1 \
         AND c.brand = 'SYMANTEC' AND c.kind = 'DV_SSL_CERT_BASIC' AND c.domain_type = 'SINGLE_DOMAIN' \
         AND o.renews IS NULL",
    )
    .bind(account)
    .fetch_one(connection)
    .await?;
    Ok((FREE - used).max(0))
}

async fn insert(
    connection: &mut SqliteConnection,
    account: &str,
    id: &str,
    order_id: &str,
    product: &Product,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO scm_certificate (id, account, name, status, domain, sans, kind, brand, domain_type, domain_count, \
         wildcard_count, order_id, validity_period, updated, deploy_support) \
         VALUES ($1, $2, $3, 'PAID', '', '', $4, $5, $6, $7, $8, $9, 12, $10, 0)",
    )
    .bind(id)
    .bind(account)
    .bind(format!("scm-{}", text::random_hex::<3>()))
    .bind(&product.kind)
    .bind(&product.brand)
    .bind(&product.domain_type)
    .bind(product.domains)
    .bind(product.wildcard_count())
    .bind(order_id)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO scm_order (certificate, years, primary_kind, singles, wildcards) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(product.years)
    .bind(&product.primary)
    .bind(product.singles)
    .bind(product.wildcards)
    .execute(&mut *connection)
    .await?;
    for (key, value) in &product.tags {
        tags::put(connection, account, id, key, value).await?;
    }
    Ok(())
}

/// `CS`, the minute, and five letters or digits, such as `CS1803192259ROA8U`.
fn order_id(now: Timestamp) -> String {
    let digits: String = now
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let minute = digits.get(2..12).unwrap_or_default();
    let tail =
        text::random::<5>().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    format!("CS{minute}{}", tail.iter().collect::<String>())
}

/// 32 of them, so that every one is equally likely.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Free certificates of an account; the reference's example of 7.1.2 has 19 left of them.
const FREE: i64 = 20;
