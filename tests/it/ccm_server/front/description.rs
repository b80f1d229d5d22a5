//! The description of the API at `/openapi.json`.

use serde_json::Value;

use crate::ccm_server::http::Send;
use crate::support::ccm::Ccm;

#[tokio::test]
async fn the_api_describes_itself_to_anybody() {
    let ccm = Ccm::start().await;
    let reply = Send::new("GET", "/openapi.json")
        .send(&ccm)
        .await
        .expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = &reply.body;
    assert_eq!(document["openapi"], "3.1.0");
    let path = &document["paths"]["/v1/private-certificates/{certificate_id}/export"]["post"];
    assert_eq!(path["x-chapter"], "4.2.2.8");
    assert_eq!(path["operationId"], "pca-v1.ExportCertificate");
    let body = &path["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(
        body["properties"]["type"]["enum"].as_array().unwrap().len(),
        5
    );
    let answer = &path["responses"]["200"]["content"];
    assert!(answer["application/zip"].is_object() && answer["application/json"].is_object());
    let parameter = &path["parameters"][0];
    assert_eq!(
        (&parameter["in"], &parameter["required"]),
        (&Value::from("path"), &Value::from(true))
    );
    let open = &document["paths"]["/v3/auth/tokens"]["post"];
    assert_eq!(open["security"], serde_json::json!([]));
    let unknown = Send::new("POST", "/openapi.json").send(&ccm).await;
    unknown.refused(404, "APIGW.0101");
}

#[tokio::test]
async fn limits_enumerations_and_codes_of_the_tables_are_in_the_description() {
    let ccm = Ccm::start().await;
    let document = Send::new("GET", "/openapi.json").send(&ccm).await.body;
    let list = &document["paths"]["/v3/scm/certificates"]["get"]["parameters"];
    let find = |name: &str| {
        let mut all = list.as_array().unwrap().iter();
        all.find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
    };
    assert_eq!(find("offset")["maximum"], 100);
    assert_eq!(find("limit")["enum"], serde_json::json!([10, 20, 50]));
    assert_eq!(find("status")["x-error-code"], "SCM.0072");
    let refusal = &document["components"]["responses"]["PCA-404"];
    assert!(
        refusal["description"]
            .as_str()
            .unwrap()
            .contains("`PCA.00030102`")
    );
    let codes =
        &refusal["content"]["application/json"]["schema"]["properties"]["error_code"]["enum"];
    assert!(codes.as_array().unwrap().contains(&"APIGW.0101".into()));
}
