//! Each operation is allowed by exactly its action (CCM API chapter 6), and refused without.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ccm_server::http::{Peer as _, Send, date};
use crate::support::ccm::Ccm;

/// One operation as the server describes it.
struct Operation {
    method: &'static str,
    path: String,
    chapter: String,
    action: Option<String>,
}

/// All of them.
async fn operations(ccm: &Ccm) -> Vec<Operation> {
    let document = Send::new("GET", "/openapi.json").send(ccm).await;
    let document = document.expect(200).body;
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let text = |field: &str| described[field].as_str().map(str::to_owned);
            all.push(Operation {
                method: match method.as_str() {
                    "get" => "GET",
                    "post" => "POST",
                    "put" => "PUT",
                    "delete" => "DELETE",
                    other => panic!("{other}"),
                },
                path: path.clone(),
                chapter: text("x-chapter").unwrap(),
                action: text("x-action"),
            });
        }
    }
    all
}

/// The path with ids in it that nothing has.
fn filled(ccm: &Ccm, path: &str) -> String {
    let filled = path.split('/').map(|part| match part {
        "{ca_id}" => "a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe".to_owned(),
        "{project_id}" => ccm.user.project_id.clone(),
        "{certificate_id}" if path.contains("private-certificates") => {
            "6434f74f-2d13-4e6a-89eb-93ee313f1a43".to_owned()
        }
        part if part.starts_with('{') => "scs1554192131150".to_owned(),
        part => part.to_owned(),
    });
    filled.collect::<Vec<_>>().join("/")
}

/// Whether the answer says that the user may not.
fn is_refusal(body: &Value, action: &str) -> bool {
    let lacks = format!("the user lacks the action {action}");
    body["error_detail"] == lacks.as_str()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_allowed_by_its_action_alone_and_refused_without() {
    let ccm = Ccm::start().await;
    let operations = operations(&ccm).await;
    let actions: BTreeSet<String> = operations.iter().filter_map(|o| o.action.clone()).collect();
    let admin = ccm.running.admin();
    let user = admin.add_user_with("someone", "default", "").await.unwrap();
    let secret_key = user.secret_key.expose_str().unwrap();
    let mut checked = 0;
    for operation in &operations {
        let Some(action) = &operation.action else {
            assert!(
                !operation.chapter.starts_with(|c: char| c.is_ascii_digit()),
                "{} can be called by anybody",
                operation.chapter
            );
            continue;
        };
        let call = async || {
            let send = Send::new(operation.method, &filled(&ccm, &operation.path));
            let send = send.json(&serde_json::json!({}));
            let send = send.signed(&ccm, &user.access_key, secret_key, &date(&ccm));
            send.send(&ccm).await
        };
        admin.allow("someone", "default", action).await.unwrap();
        let allowed = call().await;
        assert!(
            !is_refusal(&allowed.body, action),
            "{}: {action} alone is not enough: {}",
            operation.chapter,
            allowed.body
        );
        assert_ne!(
            allowed.status, 500,
            "{}: {}",
            operation.chapter, allowed.body
        );
        let others: Vec<&str> = actions
            .iter()
            .filter(|other| *other != action)
            .map(String::as_str)
            .collect();
        admin
            .allow("someone", "default", &others.join(" "))
            .await
            .unwrap();
        let refused = call().await;
        if operation.path.contains("/scm/") {
            refused.refused(403, "SCM.1019");
        } else {
            refused.refused(401, "PCA.00010004");
        }
        assert!(is_refusal(&refused.body, action), "{}", refused.body);
        checked += 1;
    }
    assert_eq!(checked, OPERATIONS);
    let (_, own) = ccm.keys();
    assert_ne!(own, secret_key);
}

#[tokio::test]
async fn a_reader_may_read_everything_and_change_nothing() {
    let ccm = Ccm::start().await;
    let admin = ccm.running.admin();
    let reads = "scm:*:list scm:*:get pca:*:list pca:*:get pca:*:quota pca:ca:getCsr pca:ca:export";
    let user = admin
        .add_user_with("reader", "default", reads)
        .await
        .unwrap();
    let secret_key = user.secret_key.expose_str().unwrap();
    let (mut read, mut refused) = (BTreeSet::new(), 0);
    for operation in operations(&ccm).await {
        let Some(action) = &operation.action else {
            continue;
        };
        let send = Send::new(operation.method, &filled(&ccm, &operation.path));
        let send = send.json(&serde_json::json!({}));
        let send = send.signed(&ccm, &user.access_key, secret_key, &date(&ccm));
        let reply = send.send(&ccm).await;
        if is_refusal(&reply.body, action) {
            refused += 1;
        } else {
            read.insert(operation.chapter);
        }
    }
    let wanted: BTreeSet<String> = READ.iter().map(|chapter| (*chapter).to_owned()).collect();
    assert_eq!(read, wanted);
    assert_eq!(refused, OPERATIONS - READ.len());
}

#[tokio::test]
async fn the_actions_are_those_of_chapter_6() {
    let ccm = Ccm::start().await;
    let mut served: BTreeMap<(String, String), String> = BTreeMap::new();
    for operation in operations(&ccm).await {
        if let Some(action) = operation.action {
            // Names of parameters differ between the chapters.
            let key = (operation.method.to_owned(), anonymous(&operation.path));
            served.insert(key, action);
        }
    }
    let mut compared = 0;
    for line in CHAPTER_6.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, path, action] = words.as_slice() else {
            panic!("{line}");
        };
        let key = ((*method).to_owned(), anonymous(path));
        assert_eq!(
            served.get(&key).map(String::as_str),
            Some(*action),
            "{line}"
        );
        compared += 1;
    }
    assert_eq!(compared, CHAPTER_6.lines().count());
}

#[tokio::test]
async fn the_manual_lists_every_action_with_its_operations() {
    let ccm = Ccm::start().await;
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations(&ccm).await {
        if let Some(action) = operation.action {
            let chapters = served.entry(action).or_default();
            chapters.insert(operation.chapter);
        }
    }
    let table = MANUAL.split_once("| action | operations |\n|---|---|\n");
    let (table, _) = table.unwrap().1.split_once("\n\n").unwrap();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", action, chapters, ""] = cells.as_slice() else {
            panic!("{line}");
        };
        let chapters = chapters.split(", ").map(str::to_owned).collect();
        let before = told.insert(action.trim_matches('`').to_owned(), chapters);
        assert!(before.is_none(), "{action} is there twice");
    }
    assert_eq!(told, served);
    let operations: usize = served.values().map(BTreeSet::len).sum();
    assert_eq!(operations, OPERATIONS);
}

fn anonymous(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    path.replace(
        "private-certificateAuthorities",
        "private-certificate-authorities",
    )
}

/// What changes nothing, hands out no key and asks no other service.
const READ: &[&str] = &[
    "4.1.2.4", "4.1.2.5", "4.1.4.2", "4.1.4.3", "4.1.5.1", "4.1.5.3", "4.2.1.1", "4.2.1.10",
    "4.2.1.3", "4.2.1.4", "4.2.1.7", "4.2.2.1", "4.2.2.5", "4.2.2.6", "4.2.3.1", "4.2.3.3",
    "7.1.10", "7.1.18", "7.1.2", "7.1.21", "7.1.3", "7.1.5", "7.1.6",
];
/// Those of the reference.
const OPERATIONS: usize = 70;
const MANUAL: &str = include_str!("../../../../docs/man/renewd-ccm.8.md");

/// CCM API 6.1, "Supported Actions".
const CHAPTER_6: &str = "\
GET /v3/scm/certificates scm:cert:list
GET /v3/scm/certificates/{certificate_id} scm:cert:get
DELETE /v3/scm/certificates/{certificate_id} scm:cert:delete
POST /v3/scm/certificates/{certificate_id}/push scm:cert:push
POST /v3/scm/certificates/import scm:cert:upload
POST /v3/scm/certificates/{certificate_id}/export scm:cert:download
GET /v2/{project_id}/scm/certlist scm:cert:list
GET /v2/{project_id}/scm/cert/{cert_id} scm:cert:get
PUT /v2/{project_id}/scm/cert/{cert_id} scm:cert:edit
DELETE /v2/{project_id}/scm/cert/{cert_id} scm:cert:delete
POST /v2/{project_id}/scm/cert/{cert_id}/push scm:cert:push
POST /v2/{project_id}/scm/cert/upload scm:cert:upload
POST /v1/private-certificateAuthorities pca:ca:create
POST /v1/private-certificateAuthorities/{ca_id}/restore pca:ca:restore
GET /v1/private-certificate-authorities/{ca_id} pca:ca:get
GET /v1/private-certificate-authorities/{ca_id}/csr pca:ca:getCsr
GET /v1/private-certificate-authorities/quotas pca:ca:quota
POST /v1/private-certificate-authorities/{ca_id}/export pca:ca:export
DELETE /v1/private-certificate-authorities/{ca_id} pca:ca:delete
POST /v1/private-certificate-authorities/{ca_id}/disable pca:ca:disable
POST /v1/private-certificate-authorities/{ca_id}/enable pca:ca:enable
POST /v1/private-certificate-authorities/{ca_id}/activate pca:ca:active
POST /v1/private-certificate-authorities/{ca_id}/import pca:ca:import
GET /v1/private-certificate-authorities pca:ca:list
GET /v1/private-certificates/{certificate_id} pca:cert:get
POST /v1/private-certificates/csr/parse pca:cert:parseCsr
POST /v1/private-certificates/{certificate_id}/export pca:cert:export
GET /v1/private-certificates/quotas pca:cert:quota
POST /v1/private-certificates pca:ca:issueCert
DELETE /v1/private-certificates/{certificate_id} pca:ca:delete
POST /v1/private-certificates/{certificate_id}/revoke pca:cert:revoke
POST /v1/private-certificates/csr pca:ca:issueCertThroughCSR
GET /v1/private-certificates pca:cert:list";
