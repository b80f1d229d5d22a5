//! Users on the command line: listed, allowed something else, removed; a running server knows at once.

use crate::ccm_server::http::get;
use crate::ccm_server::process::{Process, fresh, json, new_user, run};

#[tokio::test]
async fn users_are_listed_allowed_something_else_and_removed() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "first");
    let server = Process::start(&state, keys.clone());
    let list = "/v1/private-certificate-authorities";
    get(&server, list).await.expect(200);
    let allow = ["user", "allow", "first", "scm:cert:list", "pca:cert:*"];
    assert!(run(&state, &allow).status.success());
    get(&server, list).await.refused(401, "PCA.00010004");
    get(&server, "/v1/private-certificates").await.expect(200);
    let users = json(&state, &["user", "list", "--json"]);
    let user = &users["users"][0];
    assert_eq!(user["name"], "first");
    assert_eq!(user["account"], "default");
    assert_eq!(
        user["actions"],
        serde_json::json!(["scm:cert:list", "pca:cert:*"])
    );
    assert_eq!(user["access_keys"], serde_json::json!([keys.0]));
    assert!(!users.to_string().contains(&keys.1), "no secret is listed");
    let text = run(&state, &["user", "list"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("scm:cert:list pca:cert:*"), "{text}");
    assert!(run(&state, &["user", "remove", "first"]).status.success());
    get(&server, list).await.refused(401, "APIGW.0301");
    for nobody in [
        &["user", "remove", "first"][..],
        &["user", "allow", "first", "*"],
        &["user", "remove", "first", "--account", "elsewhere"],
    ] {
        let output = run(&state, nobody);
        assert_eq!(output.status.code(), Some(65), "{nobody:?}");
    }
    server.terminate();
}
