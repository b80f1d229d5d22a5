//! Who applies for SSL certificates: a server, its name server, and what one does over the API and the management listener.

use std::path::Path;
use std::sync::Arc;

use renewd::ccm_server::{Faults, ScmOptions};
use renewd::model::Seconds;
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use super::http::{Reply, client, get, post, post_nothing};
use super::resolver::{Resolver, Web};
use crate::support::ccm::{Ccm, Wanted};

pub(crate) const CERTIFICATES: &str = "/v3/scm/certificates";
const BUY: &str = "/v3/scm/certificates/buy";

/// A server with a management listener, and those whom it asks.
pub(crate) struct Applicant {
    pub(crate) ccm: Ccm,
    pub(crate) names: Resolver,
    pub(crate) web: Web,
}

impl Applicant {
    /// With a clock that stands at this moment.
    pub(crate) async fn at(moment: &str) -> Self {
        Self::with(moment, Faults::none()).await
    }
    /// The same with faults.
    pub(crate) async fn with(moment: &str, faults: Faults) -> Self {
        Self::of(Wanted::new().at(moment).faults(faults)).await
    }
    /// The same on a state that the test keeps.
    pub(crate) async fn on(state: &Path, clock: &Arc<ManualClock>) -> Self {
        Self::of(Wanted::new().clock(Arc::clone(clock)).state(state)).await
    }
    /// With the machine's clock.
    pub(crate) async fn now() -> Self {
        Self::of(Wanted::new()).await
    }
    async fn of(wanted: Wanted) -> Self {
        let (names, web) = (Resolver::start().await, Web::start().await);
        let scm = ScmOptions {
            dns_servers: vec![names.address],
            http_validation: Some(web.address),
            ..ScmOptions::default()
        };
        let ccm = wanted.scm(scm).managed().start().await;
        Self { ccm, names, web }
    }

    /// Buys one; its id.
    pub(crate) async fn buy(&self, kind: &str, domain_type: &str, domains: u32) -> String {
        self.buy_for(kind, domain_type, domains, 1).await
    }
    /// The same, for so many years.
    pub(crate) async fn buy_for(
        &self,
        kind: &str,
        domain_type: &str,
        domains: u32,
        years: u32,
    ) -> String {
        let mut body = order(kind, domain_type, domains);
        body["effective_time"] = json!(years);
        let bought = post(&self.ccm, BUY, &body).await.expect(200);
        let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
        id.to_owned()
    }
    /// Applies for it.
    pub(crate) async fn apply(&self, id: &str, body: &Value) -> Reply {
        post(&self.ccm, &format!("{CERTIFICATES}/{id}/apply"), body).await
    }
    /// Cancels the application.
    pub(crate) async fn cancel(&self, id: &str) -> Reply {
        post_nothing(&self.ccm, &format!("{CERTIFICATES}/{id}/cancel-cert")).await
    }
    /// Its details.
    pub(crate) async fn shown(&self, id: &str) -> Value {
        get(&self.ccm, &format!("{CERTIFICATES}/{id}"))
            .await
            .expect(200)
            .body
    }
    /// Its status.
    pub(crate) async fn status(&self, id: &str) -> String {
        self.shown(id).await["status"].as_str().unwrap().to_owned()
    }
    /// Certificate, chain and key.
    pub(crate) async fn exported(&self, id: &str) -> Reply {
        post_nothing(&self.ccm, &format!("{CERTIFICATES}/{id}/export")).await
    }
    /// Puts every record that the application wants into the name server, once the server has looked in vain: from then on
    /// it looks again only when time passes.
    pub(crate) async fn prove(&self, id: &str) {
        self.look().await;
        let shown = self.shown(id).await;
        let proofs = shown["authentification"].as_array().unwrap();
        assert!(!proofs.is_empty(), "{shown}");
        for proof in proofs {
            assert_eq!(proof["record_type"], "TXT");
            let text = |field: &str| proof[field].as_str().unwrap();
            self.names.put(text("record_name"), text("record_value"));
        }
    }
    /// Lets the server look at what is due, to the end.
    pub(crate) async fn look(&self) {
        self.ccm
            .running
            .admin()
            .look_at_applications()
            .await
            .unwrap();
    }
    /// Lets time pass, and the server look.
    pub(crate) async fn pass(&self, time: Seconds) {
        self.ccm.advance(time);
        self.look().await;
    }
    /// Asks the management listener.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = self.ccm.running.management().unwrap();
        let request = client().request(method.parse().unwrap(), format!("http://{address}{path}"));
        let request = if body.is_null() {
            request
        } else {
            request.body(body.to_string())
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }
    /// What the management listener knows of an application.
    pub(crate) async fn managed(&self, id: &str) -> Value {
        let (status, body) = self
            .manage("GET", &format!("/applications/{id}"), &Value::Null)
            .await;
        assert_eq!(status, 200, "{body}");
        body
    }
    /// A DV certificate that is issued for this domain.
    pub(crate) async fn issued(&self, domain: &str, years: u32) -> String {
        let id = self.buy_for("DV_SSL_CERT", "SINGLE_DOMAIN", 1, years).await;
        self.apply(&id, &form(domain)).await.expect(200);
        self.prove(&id).await;
        self.pass(Seconds::minutes(1)).await;
        assert_eq!(
            self.status(&id).await,
            "ISSUED",
            "{}",
            self.managed(&id).await
        );
        id
    }
}

/// The body of a purchase.
pub(crate) fn order(kind: &str, domain_type: &str, domains: u32) -> Value {
    json!({
        "cert_brand": "GEOTRUST", "cert_type": kind, "domain_type": domain_type, "effective_time": 1,
        "domain_numbers": domains, "order_number": 1, "agree_privacy_protection": true,
    })
}

/// The body of an application, complete for every class.
pub(crate) fn form(domain: &str) -> Value {
    json!({
        "domain": domain, "sans": "", "csr": "", "company_name": "Example Ltd", "company_unit": "IT",
        "company_province": "Sichuan", "company_city": "Chengdu", "country": "CN", "applicant_name": "Tom",
        "applicant_phone": "13212345678", "applicant_email": "tom@example.com", "contact_name": "Jacky",
        "contact_phone": "13512345678", "contact_email": "jacky@example.com", "auto_dns_auth": false,
        "agree_privacy_protection": true, "domain_method": "DNS", "key_algorithm": "EC_P256",
    })
}

/// The same with one field changed.
pub(crate) fn form_with(domain: &str, field: &str, value: &Value) -> Value {
    let mut body = form(domain);
    body[field] = value.clone();
    body
}
