//! What the server must not say, and what it must still do when it is told to stop.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::{Peer as _, Send, date, get, post, post_nothing};
use super::openssl::{EC, csr, self_signed};
use super::process::{self, Process, fresh};

const IMPORT: &str = "/v3/scm/certificates/import";
const LIST: &str = "/v1/private-certificates";

/// Which of the secrets stand in the log: as they are, in base64, as bytes in numbers, or (keys) line by line.
fn betrayed<'a>(log: &str, secrets: &[(&'a str, String)]) -> Vec<&'a str> {
    let said = |secret: &str| {
        let bytes = format!("{:?}", secret.as_bytes());
        log.contains(secret)
            || log.contains(STANDARD.encode(secret).trim_end_matches('='))
            || log.contains(bytes.trim_matches(['[', ']']))
    };
    let found = secrets.iter().filter(|(_, secret)| {
        let lines = secret.lines().filter(|line| !line.starts_with("-----"));
        said(secret) || lines.filter(|line| line.len() >= 16).any(said)
    });
    found.map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn the_log_holds_no_secret_at_any_level_that_helps() {
    let (_directory, state) = fresh();
    let user = process::json(&state, &["user", "add", "user", "--json"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = (text(&user["access_key"]), text(&user["secret_key"]));
    let password = text(&user["password"]);
    let server = Process::start_logging(&state, keys.clone(), "debug");
    let mut secrets = vec![
        ("secret key", keys.1.clone()),
        ("password", password.clone()),
    ];
    let login = |password: &str| {
        let user =
            json!({"name": "user", "password": password, "domain": {"name": user["account"]}});
        Send::new("POST", "/v3/auth/tokens").json(
            &json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}),
        )
    };
    let token = login(&password).send(&server).await.expect(201);
    let token = token.header("x-subject-token").unwrap().to_owned();
    let wrong = "a-Wrong-Passw0rd-of-somebody";
    login(wrong).send(&server).await.expect(401);
    secrets.extend([
        ("token", token.clone()),
        ("wrong password", wrong.to_owned()),
    ]);
    // Used well, and where it does not fit.
    for (target, status) in [(LIST, 200), ("/v1/private-certificates?limit=x", 400)] {
        let send = Send::new("GET", target).header("x-auth-token", &token);
        send.send(&server).await.expect(status);
    }
    let false_token = format!("{token}x");
    let send = Send::new("GET", LIST).header("x-auth-token", &false_token);
    send.send(&server).await.expect(401);
    let wish =
        json!({"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}});
    let made = post(&server, "/v3.0/OS-CREDENTIAL/securitytokens", &wish).await;
    let made = made.expect(201).body;
    let [access, secret, session] =
        ["access", "secret", "securitytoken"].map(|field| text(&made["credential"][field]));
    let temporary = |secret: &str| {
        let send = Send::new("GET", LIST).header("x-security-token", &session);
        send.signed(&server, &access, secret, &date(&server))
    };
    temporary(&secret).send(&server).await.expect(200);
    temporary("not the key").send(&server).await.expect(401);
    secrets.extend([
        ("temporary secret key", secret.clone()),
        ("security token", session.clone()),
    ]);
    // A private key comes, goes, and comes with a signature that is wrong and in a body that is refused.
    let (certificate, key) = self_signed("a.example", "DNS:a.example", "30");
    let body = json!({"name": "own", "certificate": certificate, "private_key": key});
    let id = post(&server, IMPORT, &body)
        .await
        .expect(200)
        .text("certificate_id");
    let export = format!("/v3/scm/certificates/{id}/export");
    let exported = post_nothing(&server, &export).await.expect(200);
    assert!(exported.text("private_key").contains("PRIVATE KEY"));
    let send = Send::new("POST", IMPORT).json(&body);
    let send = send.signed(&server, &keys.0, "not the key", &date(&server));
    send.send(&server).await.expect(401);
    let (_, other) = self_signed("b.example", "DNS:b.example", "30");
    let unfit = json!({"name": "own", "certificate": certificate, "private_key": other});
    post(&server, IMPORT, &unfit).await.expect(400);
    secrets.extend([("private key", key), ("unfit private key", other)]);
    let log = server.terminate();
    assert_eq!(betrayed(&log, &secrets), [""; 0]);
    // The log is about these requests, refusals among them, and the search finds what is there.
    for said in [IMPORT, "/v3/auth/tokens", "request refused", "DEBUG"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for (name, secret) in &secrets {
        let body = secret.lines().nth(1).unwrap_or(secret);
        for told in [secret.clone(), STANDARD.encode(secret), body.to_owned()] {
            let log = format!("{log}\nvalue={told} end\n");
            assert!(
                betrayed(&log, &secrets).contains(name),
                "{name} is not found"
            );
        }
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_ends() {
    let (_directory, state) = fresh();
    let keys = process::new_user(&state, "user");
    let issuing = process::json(&state, &["ca", "init", "--json"])["issuing_ca_id"].clone();
    let server = Process::start(&state, keys.clone());
    let target = "/v1/private-certificates/csr";
    let request = csr(EC, &["-subj", "/CN=late.example"]);
    let body =
        json!({"issuer_id": issuing, "csr": request, "validity": {"type": "DAY", "value": 1}});
    let send = Send::new("POST", target).json(&body).by_user(&server);
    let lines = send.headers.iter();
    let headers: String = lines
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let endpoint = server.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\n{headers}content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        send.body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Said when the server begins to read the body: the request is being carried out.
    let mut begun = [0; 25];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal(Signal::SIGTERM);
    // Nobody else is let in: the server is stopping.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(&send.body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, answer) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    server.end();
    let again = Process::start(&state, keys);
    let id = answer["certificate_id"].as_str().unwrap();
    let kept = get(&again, &format!("{LIST}/{id}")).await.expect(200).body;
    assert_eq!(kept["distinguished_name"]["common_name"], "late.example");
    again.terminate();
}
