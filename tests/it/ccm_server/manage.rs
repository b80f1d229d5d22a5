//! The management listener: what it shows and moves, and whom it refuses.

use renewd::ccm_server::{Server, ServerError, ServerOptions};
use serde_json::{Value, json};

use super::applicant::{Applicant, form};
use super::http::{Peer as _, client, get};
use super::process::{Process, fresh, new_user, run};

#[tokio::test]
async fn it_moves_the_clock_forward_and_never_back() {
    let world = Applicant::at("2027-01-01").await;
    let (_, clock) = world.manage("GET", "/clock", &Value::Null).await;
    assert_eq!(clock["now"], "2027-01-01T00:00:00Z");
    let (status, clock) = world
        .manage("POST", "/clock", &json!({"advance_seconds": 90}))
        .await;
    assert_eq!(
        (status, &clock["now"]),
        (200, &json!("2027-01-01T00:01:30Z"))
    );
    let (status, clock) = world
        .manage("POST", "/clock", &json!({"set": "2027-03-01"}))
        .await;
    assert_eq!(
        (status, &clock["now"]),
        (200, &json!("2027-03-01T00:00:00Z"))
    );
    for bad in [
        json!({}),
        json!({"advance_seconds": -1}),
        json!({"advance_seconds": "60"}),
        json!({"advance_seconds": 60, "set": "2028-01-01"}),
        json!({"advance_seconds": i64::MAX}),
        json!({"set": "2027-02-01"}),
        json!({"set": "tomorrow"}),
        json!({"advance": 60}),
        json!([1]),
    ] {
        let (status, said) = world.manage("POST", "/clock", &bad).await;
        assert_eq!(status, 400, "{bad}: {said}");
        assert!(said["error"].is_string(), "{said}");
    }
    // The API goes by the same clock.
    let reply = get(&world.ccm, "/v3/scm/certificates").await.expect(200);
    assert_eq!(reply.header("date"), Some("Mon, 01 Mar 2027 00:00:00 GMT"));
}

#[tokio::test]
async fn it_sets_faults_and_lists_requests() {
    let world = Applicant::at("2027-01-01").await;
    let (status, said) = world
        .manage(
            "POST",
            "/faults",
            &json!({"plan": "at=4.1.5.1:1:server-error"}),
        )
        .await;
    assert_eq!(status, 200, "{said}");
    get(&world.ccm, "/v3/scm/certificates")
        .await
        .refused(500, "SCM.0504");
    get(&world.ccm, "/v3/scm/certificates").await.expect(200);
    let (_, plan) = world.manage("GET", "/faults", &Value::Null).await;
    assert_eq!(
        plan["plan"],
        "seed=0,retry-after=1,at=4.1.5.1:1:server-error"
    );
    let (_, seen) = world.manage("GET", "/requests", &Value::Null).await;
    assert_eq!(seen["counts"]["4.1.5.1"], 2);
    assert_eq!(seen["requests"][0]["fault"], "server-error");
    assert_eq!(seen["requests"][1]["status"], 200);
    let (status, _) = world
        .manage("POST", "/faults", &json!({"plan": "earthquake"}))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn it_refuses_what_it_does_not_know_and_says_why() {
    let world = Applicant::at("2027-01-01").await;
    for (method, path, body, status) in [
        ("GET", "/", Value::Null, 404),
        ("DELETE", "/clock", Value::Null, 404),
        ("GET", "/applications/scs0000000000000", Value::Null, 404),
        (
            "POST",
            "/applications/scs0000000000000/approve",
            Value::Null,
            400,
        ),
        (
            "POST",
            "/applications/scs0000000000000/reject",
            json!({"why": "x"}),
            400,
        ),
        ("POST", "/reviews/xv", json!({}), 404),
        ("POST", "/reviews/dv", json!({"outcome": "maybe"}), 400),
        ("POST", "/reviews/dv", json!({"issuing_seconds": -1}), 400),
        ("POST", "/reviews/dv", json!({"issuing_secs": 1}), 400),
    ] {
        let (found, said) = world.manage(method, path, &body).await;
        assert_eq!(found, status, "{method} {path}: {said}");
    }
    // An application says nothing of the applicant's person here.
    let id = world.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    world.apply(&id, &form("www.example.com")).await.expect(200);
    let (_, all) = world.manage("GET", "/applications", &Value::Null).await;
    assert_eq!(all["applications"][0]["certificate_id"], id);
    assert!(!all.to_string().contains("tom@example.com"));
}

#[tokio::test]
async fn a_web_page_cannot_manage() {
    let world = Applicant::at("2027-01-01").await;
    let url = format!("http://{}/clock", world.ccm.running.management().unwrap());
    for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let response = client().get(&url).header(name, value).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 403, "{name}");
    }
    let response = client()
        .get(&url)
        .header("host", "localhost:80")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let large = client()
        .post(&url)
        .body("x".repeat(100_000))
        .send()
        .await
        .unwrap();
    assert_eq!(large.status().as_u16(), 400);
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let (_directory, state) = fresh();
    let options = ServerOptions {
        manage: Some("0.0.0.0:0".parse().unwrap()),
        ..ServerOptions::new(state.clone())
    };
    let refused = Server::start(options).await.err().unwrap();
    assert!(
        matches!(refused, ServerError::RemoteManagement(_)),
        "{refused}"
    );
    let refused = run(&state, &["serve", "--manage", "192.0.2.1:80"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(!state.exists(), "a refused start leaves nothing behind");
}

#[tokio::test]
async fn a_served_clock_goes_on_from_where_it_was_moved_to() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "user");
    let manage = |address: &str| format!("{address}/clock");
    let server = Process::start_with(
        &state,
        keys.clone(),
        &["--manage", "127.0.0.1:0", "--no-validation"],
    );
    let address = server
        .second_line()
        .strip_prefix("managed at ")
        .unwrap()
        .to_owned();
    let moved = client()
        .post(manage(&address))
        .body(json!({"advance_seconds": 86_400 * 400}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status().as_u16(), 200);
    let moved: Value = moved.json().await.unwrap();
    server.terminate();
    let server = Process::start_with(&state, keys, &["--manage", "127.0.0.1:0"]);
    let address = server
        .second_line()
        .strip_prefix("managed at ")
        .unwrap()
        .to_owned();
    let now: Value = client()
        .get(manage(&address))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let text = |value: &Value| value["now"].as_str().unwrap().to_owned();
    assert!(text(&now) >= text(&moved), "{now} is before {moved}");
    server.terminate();
    // SCM's root is the same for whoever asks on the command line.
    let root = run(&state, &["ca", "scm"]);
    assert!(root.status.success());
    assert!(root.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert_eq!(run(&state, &["ca", "scm"]).stdout, root.stdout);
    let bad = run(&state, &["serve", "--review", "ov=lunch"]);
    assert_eq!(bad.status.code(), Some(64));
}

#[test]
fn the_program_opens_no_port_but_that_of_the_api_unless_it_is_told_to() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "user");
    let port = |line: &str| -> u16 { line.rsplit(':').next().unwrap().parse().unwrap() };
    let server = Process::start(&state, keys.clone());
    let api = port(&server.endpoint());
    assert_eq!(server.ports(), [api].into());
    server.terminate();
    let options = ["--manage", "127.0.0.1:0"];
    let server = Process::start_with(&state, keys.clone(), &options);
    let managed = port(&server.second_line());
    assert_eq!(server.ports(), [port(&server.endpoint()), managed].into());
    server.terminate();
    let server = Process::start_with(&state, keys, &["--crl-listen", "127.0.0.1:0"]);
    let lists = port(&server.second_line());
    assert_eq!(server.ports(), [port(&server.endpoint()), lists].into());
    server.terminate();
}
