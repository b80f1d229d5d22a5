//! Every command of `renewd ccm` sends the operation whose chapter its description names.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::ccm::{KEY, renewd};
use crate::support::contract::{self, CA, CERTIFICATE, CSR, PRIVATE, PRODUCT, PROJECT};

/// What a command line leaves out or says otherwise than the example.
type Otherwise = fn(&mut Value);

fn same(_: &mut Value) {}

/// Neither empty texts nor a flag that is false are typed.
fn without_empty(request: &mut Value) {
    let fields = request.as_object_mut().unwrap();
    fields.retain(|key, value| value != "" && key != "auto_dns_auth");
}

fn of_v2(request: &mut Value) {
    without_empty(request);
    request["domain_method"] = "dns".into();
}

const BUY: &str =
    "--brand globalsign --type ov_ssl_cert --domain-type multi_domain --domains 5 --agree-privacy";
const APPLICANT: &str = "--domain www.xzz.com --company-name Huawei_Chengdu_branch --company-province Sichuan \
    --company-city Chengdu --country CN --applicant-name Tom --applicant-phone 13212345678 \
    --applicant-email 9997342346@qq.com --company-unit Human_Resource_Dept --contact-name Jacky \
    --contact-phone 13512345678 --contact-email jk@jk.ff --agree-privacy";

/// Chapter, what is typed (`_` for a blank within a word, `{…}` for ids and files), and how it differs from the example.
fn commands() -> Vec<(&'static str, String, Otherwise)> {
    let row = |chapter, typed: &str, otherwise: Otherwise| (chapter, typed.to_owned(), otherwise);
    let plain = |chapter, typed: &str| (chapter, typed.to_owned(), same as Otherwise);
    vec![
        row(
            "4.1.1.1",
            "scm apply {cert} --domain www.test.com --company-name Company_XX --company-province Sichuan \
             --company-city Chengdu --country CN --applicant-name xx --applicant-phone 12312345678 \
             --applicant-email example@test.com --company-unit IT --contact-name test --contact-phone 12312345678 \
             --contact-email example@test.com --agree-privacy --method dns",
            without_empty,
        ),
        plain("4.1.1.2", "scm cancel {cert}"),
        row(
            "4.1.2.1",
            "scm tag filter --tag key1=value1,value2",
            |request| {
                request["limit"] = 50.into();
                request["offset"] = 0.into();
            },
        ),
        plain(
            "4.1.2.2",
            "scm tag batch {cert} create key1=value1 key2=value2",
        ),
        plain("4.1.2.3", "scm tag add {cert} key1=value1"),
        plain("4.1.2.4", "scm tag list {cert}"),
        plain("4.1.2.5", "scm tag all"),
        plain("4.1.3.1", &format!("scm buy {BUY}")),
        plain(
            "4.1.4.1",
            "scm csr create --name CSRxxxx --domain xxx.com --algorithm rsa_2048 --usage enterprise",
        ),
        plain(
            "4.1.4.2",
            "scm csr list --name xx --algorithm EC_P256 --limit 20 --offset 40",
        ),
        plain("4.1.4.3", "scm csr show {csr}"),
        plain("4.1.4.4", "scm csr update {csr} --name CSRxxxx"),
        plain("4.1.4.5", "scm csr delete {csr}"),
        row(
            "4.1.4.6",
            "scm csr upload --name csrxxxx --csr {csr.pem} --key {key.pem}",
            |request| {
                request["csr"] = CSR_PEM.into();
                request["private_key"] = KEY.into();
            },
        ),
        plain("4.1.4.7", "scm csr key {csr} --show-key"),
        plain(
            "4.1.5.1",
            "scm list --expired-days-since 30 --status issued --sort certExpiredTime --order asc --deployable --shared --offset 50",
        ),
        row(
            "4.1.5.2",
            "scm import --name test_cert --cert {cert.pem} --key {key.pem}",
            |request| {
                request["certificate"] = CERT_PEM.into();
                request["private_key"] = KEY.into();
            },
        ),
        plain("4.1.5.3", "scm show {cert}"),
        plain("4.1.5.4", "scm delete {cert}"),
        plain("4.1.5.5", "scm export {cert}"),
        plain(
            "4.1.6.1",
            "scm push {cert} --service waf --target-project cn-north-7",
        ),
        plain(
            "4.1.6.2",
            "scm batch-push {cert} --service waf --target-project cn-north-7",
        ),
        plain(
            "4.1.6.3",
            "scm deploy {cert} --service elb --target-project cn-north-7 --resource 982b8a6a6ebc43809d82a46ca99aaeb7",
        ),
        plain("4.1.6.4", "scm deployed scs1665472591541 --service waf"),
        plain(
            "4.2.1.1",
            "pca ca list --type root --status actived --name pca --sort common_name --order asc --limit 5 --offset 10",
        ),
        row(
            "4.2.1.2",
            "pca ca create --type root --common-name demoRootRSA --country CN --state sichuan --locality chengdu \
             --organization HW --organizational-unit dew --key-algorithm rsa4096 --signature-algorithm sha512 \
             --validity 3y --crl-bucket demoBucket --crl-days 8",
            |request| request["crl_configuration"]["enabled"] = true.into(),
        ),
        plain("4.2.1.3", "pca ca quota"),
        plain("4.2.1.4", "pca ca show {ca}"),
        plain("4.2.1.5", "pca ca delete {ca} --days 9"),
        plain(
            "4.2.1.6",
            "pca ca activate {ca} --parent c718fe5f-d44a-467f-80f1-948348ff4132 --path-length 3 --validity 1y",
        ),
        plain("4.2.1.7", "pca ca csr {ca}"),
        plain("4.2.1.8", "pca ca disable {ca}"),
        plain("4.2.1.9", "pca ca enable {ca}"),
        plain("4.2.1.10", "pca ca export {ca}"),
        row(
            "4.2.1.11",
            "pca ca import {ca} --cert {cert.pem} --chain {cert.pem}",
            |request| {
                *request = json!({"certificate": CERT_PEM, "certificate_chain": CERT_PEM});
            },
        ),
        plain("4.2.1.12", "pca ca restore {ca}"),
        plain("4.2.1.13", "pca ca revoke {ca} --reason key_compromise"),
        plain(
            "4.2.2.1",
            "pca cert list --name test --status issued --sort not_after --order asc --limit 100 --offset 200",
        ),
        plain(
            "4.2.2.2",
            "pca cert apply --ca 2cb2878b-6cd1-460d-bd25-afe655159bdc --common-name TestCert --country CN \
             --state Sichuan --locality Chengdu --organization Huawei --organizational-unit CloudBU \
             --key-algorithm rsa2048 --validity 3y --ip 156.127.116.38 --key-usage digitalSignature \
             --key-usage nonRepudiation",
        ),
        row(
            "4.2.2.3",
            "pca cert issue --ca 2cb2878b-6cd1-460d-bd25-afe655159bdc --csr {csr.pem} --validity 3y",
            |request| request["csr"] = CSR_PEM.into(),
        ),
        row("4.2.2.4", "pca cert parse {csr.pem}", |request| {
            request["csr"] = CSR_PEM.into()
        }),
        plain("4.2.2.5", "pca cert quota"),
        plain("4.2.2.6", "pca cert show {private}"),
        plain("4.2.2.7", "pca cert delete {private}"),
        plain("4.2.2.8", "pca cert export {private}"),
        plain(
            "4.2.2.9",
            "pca cert revoke {private} --reason key_compromise",
        ),
        plain("4.2.3.1", "pca obs agency"),
        plain("4.2.3.2", "pca obs grant"),
        plain("4.2.3.3", "pca obs buckets"),
        plain("7.1.1", &format!("scm v2 buy {BUY}")),
        plain(
            "7.1.2",
            "scm v2 list --content scs --status issued --sort certUpdateTime --order desc --limit 20 --offset 3",
        ),
        plain("7.1.3", "scm v2 show {cert}"),
        plain("7.1.4", "scm v2 modify {cert} cert_name ssssaaaa"),
        plain("7.1.5", "scm v2 products"),
        plain("7.1.6", "scm v2 product {product}"),
        row(
            "7.1.7",
            &format!("scm v2 apply {{cert}} {APPLICANT} --method dns"),
            of_v2,
        ),
        row("7.1.8", "scm v2 check-csr {csr.pem}", |request| {
            request["csr"] = CSR_PEM.into()
        }),
        row(
            "7.1.9",
            &format!("scm v2 save {{cert}} {APPLICANT}"),
            without_empty,
        ),
        plain("7.1.10", "scm v2 read {cert}"),
        plain("7.1.11", "scm v2 cancel {cert}"),
        plain("7.1.12", "scm v2 delete {cert}"),
        plain("7.1.13", "scm v2 upload-authentication {cert} bl {picture}"),
        plain("7.1.14", "scm v2 download {cert} -o {archive}"),
        row(
            "7.1.15",
            "scm v2 upload --name test --cert {cert.pem} --key {key.pem}",
            |request| {
                request["cert"] = CERT_PEM.into();
                request["private_key"] = KEY.into();
            },
        ),
        plain(
            "7.1.16",
            "scm v2 revoke {cert} --reason certificate_information_filled_incorrectly",
        ),
        plain(
            "7.1.17",
            "scm v2 push {cert} --service waf --target-project ap-southeast-1",
        ),
        plain("7.1.18", "scm v2 push-history {cert}"),
        plain("7.1.19", "scm v2 withdraw-consent {cert}"),
        plain(
            "7.1.20",
            "scm v2 supplement {cert} --has abc.com;xyz.com --add example.domain.com --email example@xx.com",
        ),
        plain("7.1.21", "scm v2 verify {cert}"),
    ]
}

/// The query of each line above.
fn query(chapter: &str) -> &'static [(&'static str, &'static str)] {
    match chapter {
        "4.1.4.2" => &[
            ("limit", "20"),
            ("offset", "40"),
            ("name", "xx"),
            ("private_key_algo", "EC_P256"),
        ],
        "4.1.5.1" => &[
            ("limit", "50"),
            ("offset", "50"),
            ("status", "ISSUED"),
            ("sort_key", "certExpiredTime"),
            ("sort_dir", "ASC"),
            ("expired_days_since", "30"),
            ("deploy_support", "true"),
            ("owned_by_self", "false"),
        ],
        "4.2.1.1" => &[
            ("limit", "5"),
            ("offset", "10"),
            ("name", "pca"),
            ("status", "ACTIVED"),
            ("type", "ROOT"),
            ("sort_key", "common_name"),
            ("sort_dir", "ASC"),
        ],
        "4.2.1.5" => &[("pending_days", "9")],
        "4.2.2.1" => &[
            ("limit", "100"),
            ("offset", "200"),
            ("name", "test"),
            ("status", "ISSUED"),
            ("sort_key", "not_after"),
            ("sort_dir", "ASC"),
        ],
        "7.1.2" => &[
            ("limit", "20"),
            ("offset", "3"),
            ("order_status", "ISSUED"),
            ("content", "scs"),
            ("sort_key", "certUpdateTime"),
            ("sort_dir", "DESC"),
        ],
        _ => &[],
    }
}

const CERT_PEM: &str = "-----BEGIN CERTIFICATE-----\n*****\n-----END CERTIFICATE-----";
const CSR_PEM: &str =
    "-----BEGIN CERTIFICATE REQUEST-----\n*****\n-----END CERTIFICATE REQUEST-----\n";

/// The words of a line, with ids and files in their places.
fn words(typed: &str, directory: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    // Names of the examples hold an underscore themselves.
    let kept = [
        "_ssl_cert",
        "multi_domain",
        "test_cert",
        "rsa_2048",
        "EC_P256",
        "key_compromise",
    ];
    let kept = kept
        .iter()
        .chain(&["not_after", "common_name", "cert_name"]);
    typed
        .split_whitespace()
        .map(|word| {
            let blank = !kept.clone().any(|kept| word.contains(kept));
            let word = if blank {
                word.replace('_', " ")
            } else {
                word.to_owned()
            };
            word.replace("{cert}", CERTIFICATE)
                .replace("{csr}", CSR)
                .replace("{ca}", CA)
                .replace("{private}", PRIVATE)
                .replace("{product}", PRODUCT)
                .replace("{cert.pem}", &file("cert.pem"))
                .replace("{csr.pem}", &file("csr.pem"))
                .replace("{key.pem}", &file("key.pem"))
                .replace("{picture}", &file("picture"))
                .replace("{archive}", &file("archive"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_sends_the_operation_of_its_chapter() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("cert.pem", CERT_PEM),
        ("csr.pem", CSR_PEM),
        ("key.pem", KEY),
        ("picture", "a picture"),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    for (chapter, typed, otherwise) in commands() {
        let mut contract = contract::of(chapter);
        if !contract.request.is_null() {
            otherwise(&mut contract.request);
        }
        let peer = contract.peer().await;
        let words = words(&typed, directory.path());
        let mut arguments: Vec<&str> = vec!["ccm", "--endpoint", &peer.url, "--yes", "--json"];
        arguments.extend(words.iter().map(String::as_str));
        if chapter.starts_with("7.") {
            arguments.extend(["--project", PROJECT]);
        }
        let run = renewd(&arguments);
        assert_eq!(run.code, Some(0), "{chapter} {typed}: {}", run.stderr);
        contract.was_sent_to(&peer, query(chapter));
        let shown = run.json();
        assert!(shown.is_object(), "{chapter}: {shown}");
        assert!(
            !run.stdout.contains("PRIVATE KEY") || typed.contains("--show-key"),
            "{chapter} shows a key"
        );
        // What people see instead is text, and not empty.
        if chapter != "7.1.14" {
            arguments.retain(|word| *word != "--json");
            let run = renewd(&arguments).expect(0);
            assert!(!(run.stdout + &run.stderr).trim().is_empty(), "{chapter}");
        }
    }
}

#[test]
fn each_command_names_one_chapter_and_each_chapter_has_one_command() {
    let named: Vec<(String, String)> = leaves();
    let chapters: BTreeSet<&str> = named.iter().map(|(chapter, _)| chapter.as_str()).collect();
    let all = contract::contracts();
    let wanted: BTreeSet<&str> = all.iter().map(|one| one.chapter.as_str()).collect();
    assert_eq!(named.len(), 70);
    assert_eq!(chapters, wanted);
    // The lines above are about each of them, and about the command that names the chapter.
    let typed: BTreeSet<&str> = commands().iter().map(|(chapter, ..)| *chapter).collect();
    assert_eq!(typed, wanted);
    for (chapter, typed, _) in commands() {
        let (_, command) = named.iter().find(|(named, _)| named == chapter).unwrap();
        let command = command.strip_prefix("renewd ccm ").unwrap();
        let short = format!("{typed} ");
        assert!(
            short.starts_with(&format!("{command} ")),
            "{chapter}: {command}"
        );
    }
}

/// Chapter and command of each leaf below `renewd ccm`.
pub(crate) fn leaves() -> Vec<(String, String)> {
    let command = renewd::cli::command();
    let ccm = command.find_subcommand("ccm").unwrap();
    let mut found = Vec::new();
    below(ccm, "renewd ccm", &mut found);
    found
}

fn below(command: &clap::Command, name: &str, found: &mut Vec<(String, String)>) {
    if command.has_subcommands() {
        for inner in command.get_subcommands() {
            below(inner, &format!("{name} {}", inner.get_name()), found);
        }
        return;
    }
    let about = command.get_about().unwrap().to_string();
    let chapter = about
        .rsplit_once("(CCM API ")
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or_else(|| panic!("{name} names no chapter: {about}"));
    found.push((chapter.to_owned(), name.to_owned()));
}
