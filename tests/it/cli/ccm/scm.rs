//! `renewd ccm scm …` against renewd-ccm: SSL certificates from the order to the end, typed by hand, in both faces of the
//! API.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use renewd::ccm_server::NewResource;
use renewd::model::Seconds;
use renewd::sys::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::ccm_server::applicant::Applicant;
use crate::ccm_server::openssl::{EC, csr, self_signed};
use crate::support::agent::{Agent, Run, write_secret};

struct Typed {
    agent: Agent,
    world: Applicant,
}

impl Typed {
    async fn new() -> Self {
        // Commands sign by the machine's clock.
        let world = Applicant::at(&SystemClock.now().to_string()).await;
        let agent = Agent::new("");
        write_secret(&agent.path().join("ak"), world.ccm.access_key());
        write_secret(&agent.path().join("sk"), world.ccm.secret_key());
        agent.write_policy(&world.ccm.issuer("30s"));
        Self { agent, world }
    }

    #[track_caller]
    fn run(&self, line: &str) -> Run {
        let mut words = vec!["ccm", "scm"];
        words.extend(line.split_whitespace());
        self.agent.run(&words)
    }

    /// What a command that works prints.
    #[track_caller]
    fn said(&self, line: &str) -> String {
        let run = self.run(line).expect(0);
        run.stdout + &run.stderr
    }

    #[track_caller]
    fn answer(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).expect(0).json()
    }

    /// A file of the agent's directory, as a word of a line.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.agent.path().join(name);
        write_secret(&path, content);
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.agent.path().join(name)
    }

    /// Domains are proven, and a minute passes.
    async fn proven(&self, id: &str) {
        self.world.prove(id).await;
        self.world.pass(Seconds::minutes(1)).await;
    }

    /// Fails unless each chapter from the first to the last was asked for.
    #[track_caller]
    fn went_through(&self, section: &str, chapters: u32) {
        for chapter in 1..=chapters {
            let chapter = format!("{section}.{chapter}");
            let requests = self.world.ccm.running.requests_of(&chapter);
            assert!(requests > 0, "{chapter} was not asked for");
        }
    }
}

/// The one text of a listing's first entry.
#[track_caller]
fn first<'a>(answer: &'a Value, list: &str, field: &str) -> &'a str {
    let text = answer[list][0][field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {answer}"))
}

const BUY: &str = "--brand geotrust --agree-privacy";
const APPLICANT: &str = "--company-name Example --company-province Sichuan --company-city Chengdu --country CN \
    --applicant-name Tom_Li --applicant-phone 13212345678 --applicant-email tom@example.com --contact-name Jacky \
    --contact-phone 13512345678 --contact-email jacky@example.com --company-unit IT --agree-privacy";

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_lives_by_typed_commands_from_the_order_to_its_end() {
    let typed = Typed::new().await;
    let region = typed.world.ccm.user.project.clone();
    let buy = format!("buy {BUY} --type dv_ssl_cert --domain-type single_domain");
    let unasked = typed.run(&buy).expect(64);
    assert!(unasked.stderr.contains("for money"), "{}", unasked.stderr);
    assert_eq!(typed.world.ccm.running.requests_of("4.1.3.1"), 0);
    let bought = typed.answer(&format!("{buy} --yes"));
    let id = first(&bought, "cert", "cert_id");
    let apply = format!(
        "apply {id} --domain deal.example.com {APPLICANT} --method dns --key-algorithm ec_p256"
    );
    typed.said(&apply);
    typed.said(&format!("cancel {id} --yes"));
    assert_eq!(typed.answer(&format!("show {id}"))["status"], "PAID");
    typed.said(&apply);
    typed.proven(id).await;
    let shown = typed.said(&format!("show {id}"));
    assert!(
        shown.contains("ISSUED") && shown.contains("deal.example.com"),
        "{shown}"
    );

    // Only what ends soon.
    let (certificate, key) = self_signed("soon.example.com", "DNS:soon.example.com", "20");
    let certificate = typed.file("soon.pem", &certificate);
    let key = typed.file("soon.key", &key);
    let imported = typed.answer(&format!(
        "import --name soon --cert {certificate} --key {key}"
    ));
    let soon = imported["certificate_id"].as_str().unwrap();
    let listed = typed.answer("list --expired-days-since 30");
    assert_eq!(
        listed["certificates"].as_array().unwrap().len(),
        1,
        "{listed}"
    );
    assert_eq!(first(&listed, "certificates", "id"), soon);
    let listed = typed.said("list");
    assert!(listed.contains(soon) && listed.contains(id), "{listed}");

    let file = typed.path("deal.pem");
    typed.said(&format!("export {id} -o {}", file.display()));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written.contains("-----BEGIN CERTIFICATE-----") && written.contains("PRIVATE KEY-----")
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let exported = typed.said(&format!("export {id}"));
    assert!(
        exported.starts_with("-----BEGIN CERTIFICATE-----\n") && !exported.contains("PRIVATE KEY")
    );

    tags(&typed, id, soon);
    requests(&typed);
    services(&typed, id, &region).await;

    let kept = typed.run(&format!("delete {id}")).expect(64);
    assert!(kept.stderr.contains("for good"), "{}", kept.stderr);
    typed.said(&format!("delete {id} --yes"));
    let gone = typed.run(&format!("show {id}")).expect(65);
    assert!(gone.stderr.contains("SCM.0094"), "{}", gone.stderr);
    for (section, chapters) in [
        ("4.1.1", 2),
        ("4.1.2", 5),
        ("4.1.3", 1),
        ("4.1.4", 7),
        ("4.1.5", 5),
        ("4.1.6", 4),
    ] {
        typed.went_through(section, chapters);
    }
}

#[track_caller]
fn tags(typed: &Typed, id: &str, other: &str) {
    typed.said(&format!("tag add {id} stage=live"));
    typed.said(&format!("tag batch {other} create stage=test owner=web"));
    let own = typed.said(&format!("tag list {id}"));
    assert!(own.contains("stage") && own.contains("live"), "{own}");
    let all = typed.said("tag all");
    assert!(all.contains("owner") && all.contains("test"), "{all}");
    let filter = |more: &str| {
        let found = typed.answer(&format!("tag filter {more}"));
        let found = found["resources"].as_array().unwrap().clone();
        let mut ids: Vec<String> = found
            .iter()
            .map(|one| one["resource_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(filter("--tag stage=live"), [id]);
    assert_eq!(filter("--tag stage=live,test --not owner=web"), [id]);
    assert_eq!(filter("--tag stage=test --all"), [other]);
    let counted = typed.answer("tag filter --tag stage=live,test --count");
    assert_eq!(counted["total_count"], 2);
    typed.said(&format!("tag batch {other} delete owner=web"));
    let left = typed.said(&format!("tag list {other}"));
    assert!(left.contains("stage") && !left.contains("owner"), "{left}");
}

#[track_caller]
fn requests(typed: &Typed) {
    let made =
        typed.answer("csr create --name front --domain front.example.com --sans a.example.com");
    let made = made["id"].as_str().unwrap();
    let own = csr(EC, &["-subj", "/CN=up.example.com"]);
    let own = typed.file("up.csr", &own);
    let uploaded = typed.answer(&format!("csr upload --name brought --csr {own}"));
    let uploaded = uploaded["id"].as_str().unwrap();
    typed.said(&format!("csr update {made} --name renamed"));
    let listed = typed.said("csr list");
    assert!(
        listed.contains("renamed") && listed.contains("brought"),
        "{listed}"
    );
    let shown = typed.said(&format!("csr show {made}"));
    assert!(shown.contains("a.example.com"), "{shown}");
    let file = typed.path("front.key");
    typed.said(&format!("csr key {made} -o {}", file.display()));
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.contains("PRIVATE KEY-----"));
    let keyless = typed
        .run(&format!("csr key {uploaded} --show-key"))
        .expect(65);
    assert!(keyless.stderr.contains("SCM.0059"), "{}", keyless.stderr);
    typed.said(&format!("csr delete {made} --yes"));
    let left = typed.answer("csr list");
    assert_eq!(left["csr_list"].as_array().unwrap().len(), 1);
    assert_eq!(first(&left, "csr_list", "id"), uploaded);
}

async fn services(typed: &Typed, id: &str, region: &str) {
    let listener = NewResource {
        account: "default".to_owned(),
        service: "ELB".to_owned(),
        region: region.to_owned(),
        name: "front".to_owned(),
        kind: None,
        enterprise_project: "0".to_owned(),
    };
    let admin = typed.world.ccm.running.admin();
    let listener = admin.add_resource(listener).await.unwrap();
    let listener = listener["id"].as_str().unwrap();
    typed.said(&format!(
        "push {id} --service waf --target-project {region}"
    ));
    let pushed = typed.said(&format!(
        "batch-push {id} --service elb --target-project {region} --target-project moon-1"
    ));
    assert!(
        pushed.contains("success") && pushed.contains("SCM.0204"),
        "{pushed}"
    );
    let deploy = format!("deploy {id} --service elb --target-project {region} --resource");
    let missing = typed.said(&format!("{deploy} 982b8a6a6ebc43809d82a46ca99aaeb7"));
    assert!(missing.contains("SCM.0103"), "{missing}");
    let done = typed.answer(&format!("{deploy} {listener}"));
    assert_eq!(
        done["failure_list"].as_array().map(Vec::len),
        Some(0),
        "{done}"
    );
    let found = typed.answer(&format!("deployed {id}"));
    let found = &found["results"][0];
    assert_eq!(found["total_num"], 1, "{found}");
    let there = &found["deployed_resources"][0]["region_resources"][0]["resources"][0];
    assert_eq!(there["resource_id"], listener);
    let served = admin.served(listener).await.unwrap().unwrap();
    let file = std::fs::read_to_string(typed.path("deal.pem")).unwrap();
    assert!(file.starts_with(&served.certificate));
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_is_gone_through_by_typed_commands() {
    let typed = Typed::new().await;
    let project = typed.world.ccm.user.project_id.clone();
    let v2 = |line: &str| format!("v2 {line} --project {project} --yes");
    let answer = |line: &str| typed.answer(&v2(line));
    let said = |line: &str| typed.said(&v2(line));

    let products = answer("products");
    let product = first(&products, "type_list", "product_id");
    let shown = answer(&format!("product {product}"));
    for field in ["cert_type", "cert_brand", "domain_type"] {
        assert_eq!(
            shown[field].as_str(),
            Some(first(&products, "type_list", field))
        );
    }
    let request = csr(EC, &["-subj", "/CN=www.example.com"]);
    let request = typed.file("www.csr", &request);
    let checked = answer(&format!("check-csr {request}"));
    assert_eq!(checked["domain_name"], "www.example.com");

    let bought = answer(&format!(
        "buy {BUY} --type ov_ssl_cert --domain-type multi_domain --domains 3"
    ));
    let id = first(&bought, "cert", "cert_id");
    let names = "--domain www.example.com --sans a.example.com";
    said(&format!("save {id} {names} {APPLICANT}"));
    let picture = typed.file("licence.png", "a picture");
    said(&format!("upload-authentication {id} tl {picture}"));
    let kept = answer(&format!("read {id}"));
    assert_eq!(kept["domain_name"], "www.example.com");
    let apply = format!("apply {id} {names} {APPLICANT} --method dns");
    said(&apply);
    let wanted = said(&format!("verify {id}"));
    assert!(wanted.contains("_dnsauth.www.example.com"), "{wanted}");
    said(&format!("cancel {id}"));
    said(&apply);
    typed.proven(id).await;
    said(&format!("modify {id} cert_name typed"));
    let listed = answer("list --content typed");
    assert_eq!(first(&listed, "order_list", "cert_id"), id);
    assert_eq!(first(&listed, "order_list", "order_status"), "ISSUED");
    let shown = said(&format!("show {id}"));
    assert!(shown.contains("typed"), "{shown}");

    let archive = typed.path("typed.zip");
    said(&format!("download {id} -o {}", archive.display()));
    assert!(std::fs::read(&archive).unwrap().starts_with(b"PK"));
    said(&format!(
        "push {id} --service waf --target-project cn-north-4"
    ));
    let pushes = said(&format!("push-history {id}"));
    assert!(pushes.contains("WAF"), "{pushes}");
    said(&format!(
        "supplement {id} --has a.example.com --add b.example.com --email tom@example.com"
    ));
    typed.proven(id).await;
    let shown = answer(&format!("show {id}"));
    let names = shown["domain_name"].as_str().unwrap();
    assert!(names.contains("b.example.com"), "{names}");
    said(&format!("withdraw-consent {id}"));
    said(&format!("revoke {id} --reason lost"));
    typed.world.look().await;
    let listed = answer("list --status revoke");
    assert_eq!(first(&listed, "order_list", "cert_id"), id);

    let (certificate, key) = self_signed("own.example.com", "DNS:own.example.com", "90");
    let certificate = typed.file("own.pem", &certificate);
    let key = typed.file("own.key", &key);
    let own = answer(&format!(
        "upload --name own --cert {certificate} --key {key}"
    ));
    let own = own["cert_id"].as_str().unwrap();
    said(&format!("delete {own}"));
    let gone = typed.run(&v2(&format!("show {own}"))).expect(65);
    assert!(gone.stderr.contains("SCM.0094"), "{}", gone.stderr);
    typed.went_through("7.1", 21);
}
