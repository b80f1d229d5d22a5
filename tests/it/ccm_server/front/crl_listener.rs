//! The listener for lists of revoked certificates: what a client of a CA fetches before it trusts anybody, beside an API
//! that speaks TLS.

use std::time::Duration;

use renewd::ccm_server::{Limits, Server, ServerError, ServerOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ccm_server::authorities::{CAS, root, subordinate};
use crate::ccm_server::crl::{add_bucket, certificate, point_of, with_list};
use crate::ccm_server::front::tls::{own, trusting};
use crate::ccm_server::http::{Peer, client, get, post, post_nothing};
use crate::ccm_server::openssl::openssl;
use crate::ccm_server::process::{Process, fresh, new_user, run};
use crate::support::ccm::{Ccm, Wanted};

/// A CA with a list, by its id.
async fn authority(peer: &impl Peer, body: serde_json::Value) -> String {
    post(peer, CAS, &with_list(body, 7))
        .await
        .expect(200)
        .text("ca_id")
}

/// What OpenSSL says of a certificate after it has fetched the list from the address that the certificate names.
fn judged(anchor: &str, leaf: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("anchor.pem", anchor), ("leaf.pem", leaf)] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let arguments = [
        "verify",
        "-crl_check",
        "-crl_download",
        "-partial_chain",
        "-CAfile",
        "anchor.pem",
        "leaf.pem",
    ];
    let output = openssl(directory.path(), &arguments);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_fetches_the_list_of_a_server_with_tls_from_the_address_in_the_certificate() {
    let ccm = Wanted::new().tls(own()).crl_listener().start().await;
    let trust = ccm.root_pem().await;
    let peer = trusting(&ccm, &trust);
    add_bucket(&ccm, &peer).await;
    let top = authority(&peer, root("Top", "EC256", "SHA256")).await;
    let low = authority(&peer, subordinate("Low", "EC256", "SHA256", &top)).await;
    let address = ccm.running.lists().unwrap();
    let shown = get(&peer, &format!("{CAS}/{low}")).await.expect(200).body;
    let point = format!("http://{address}/obs/pki-lists/{low}.crl");
    assert_eq!(shown["crl_configuration"]["crl_dis_point"], json!(point));
    let (good, good_pem) = certificate(&peer, &low).await;
    let (bad, bad_pem) = certificate(&peer, &low).await;
    assert_eq!(point_of(&good_pem), point);
    let anchor = post_nothing(&peer, &format!("{CAS}/{low}/export")).await;
    let anchor = anchor.expect(200).text("certificate");
    let fetch = async |pem: &str| {
        let (anchor, pem) = (anchor.clone(), pem.to_owned());
        let task = tokio::task::spawn_blocking(move || judged(&anchor, &pem));
        task.await.unwrap()
    };
    let before = fetch(&bad_pem).await;
    assert!(before.contains("leaf.pem: OK"), "{before}");
    let revoke = format!("/v1/private-certificates/{bad}/revoke");
    post(&peer, &revoke, &json!({"reason": "KEY_COMPROMISE"}))
        .await
        .expect(204);
    let after = fetch(&bad_pem).await;
    assert!(after.contains("certificate revoked"), "{after}");
    let other = fetch(&good_pem).await;
    assert!(other.contains("leaf.pem: OK"), "{good}: {other}");
}

/// A server with a CA whose list is there, and the path of the list.
async fn published(limits: Limits) -> (Ccm, String) {
    let wanted = Wanted::new().limits(limits).crl_listener();
    let ccm = wanted.start().await;
    add_bucket(&ccm, &ccm).await;
    let ca = authority(&ccm, root("Top", "EC256", "SHA256")).await;
    (ccm, format!("/obs/pki-lists/{ca}.crl"))
}

#[tokio::test]
async fn nothing_but_lists_is_served_there() {
    let (ccm, list) = published(Limits::default()).await;
    let base = format!("http://{}", ccm.running.lists().unwrap());
    let ask = async |method: &str, path: &str| {
        let method = method.parse().unwrap();
        let request = client().request(method, format!("{base}{path}"));
        request.send().await.unwrap()
    };
    let whole = ask("GET", &list).await;
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()["content-type"], "application/pkix-crl");
    let length = whole.bytes().await.unwrap().len();
    let head = ask("HEAD", &list).await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.headers()["content-length"],
        length.to_string().as_str()
    );
    for (method, path) in [
        ("POST", list.as_str()),
        ("DELETE", &list),
        ("GET", "/obs/pki-lists/other.crl"),
        ("GET", "/obs/pki-lists/..%2f..%2fmaster.key"),
        ("GET", "/obs/pki-lists/"),
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/private-certificates"),
        ("GET", "/v3/scm/certificates"),
        ("POST", "/v3/auth/tokens"),
        ("GET", "/clock"),
        ("POST", "/clock"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.status(), 404, "{method} {path}");
        assert!(answer.bytes().await.unwrap().is_empty(), "{method} {path}");
    }
    // What else an administrator puts into a bucket is no list.
    let file = ccm.state().join("obs/pki-lists/notes.txt");
    std::fs::write(file, "x").unwrap();
    assert_eq!(ask("GET", "/obs/pki-lists/notes.txt").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_read_is_a_failure_of_the_server_and_not_an_absent_list() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "user");
    run(&state, &["bucket", "add", "pki-lists"]);
    // What the server reads is there, and no file: as good as one for which no descriptor is left.
    std::fs::create_dir_all(state.join("obs/pki-lists/odd.crl")).unwrap();
    let server = Process::start_with(&state, keys, &["--crl-listen", "127.0.0.1:0"]);
    let line = server.second_line();
    let lists = line.strip_prefix("lists at ").unwrap();
    for base in [lists, &server.endpoint()] {
        for (object, status) in [("odd.crl", 500), ("none.crl", 404)] {
            let url = format!("{base}/obs/pki-lists/{object}");
            let answer = client().get(&url).send().await.unwrap();
            assert_eq!(answer.status(), status, "{url}");
            let body = answer.text().await.unwrap();
            assert!(!body.contains("pki-lists/odd"), "{body}");
        }
    }
    let log = server.terminate();
    let errors = log.lines().filter(|line| line.contains("ERROR"));
    let errors: Vec<&str> = errors.filter(|line| line.contains("odd.crl")).collect();
    assert_eq!(errors.len(), 2, "{log}");
}

#[tokio::test]
async fn requests_for_lists_are_among_those_that_were_seen() {
    let (ccm, list) = published(Limits::default()).await;
    let lists = format!("http://{}", ccm.running.lists().unwrap());
    for (base, path) in [
        (&lists, list.as_str()),
        (&lists, "/obs/pki-lists/other.crl"),
        (&ccm.endpoint(), &list),
        (&lists, "/elsewhere"),
    ] {
        client().get(format!("{base}{path}")).send().await.unwrap();
    }
    let seen = ccm.running.requests();
    let last: Vec<(&str, u16)> = seen[seen.len() - 4..]
        .iter()
        .map(|seen| (seen.operation.as_str(), seen.status))
        .collect();
    assert_eq!(last, [("crl", 200), ("crl", 404), ("crl", 200), ("", 404)]);
    assert_eq!(ccm.running.requests_of("crl"), 3);
}

/// All that comes until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is never closed fails here, by the clock of the test alone.
    let end = tokio::time::timeout(Duration::from_secs(30), read).await;
    // Closed with our bytes unread is a reset.
    let _ = end.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_clients_hold_neither_the_listener_nor_the_api() {
    let limits = Limits {
        header: Duration::from_millis(200),
        connections: 1,
        ..Limits::default()
    };
    let (ccm, list) = published(limits).await;
    let address = ccm.running.lists().unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(format!("GET {list} HTTP/1.1\r\nHost: x\r\nX-").as_bytes())
        .await
        .unwrap();
    let answer = until_closed(&mut slow).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Its only place is free again; and the API has places of its own.
    let mut idle = TcpStream::connect(address).await.unwrap();
    get(&ccm, "/v1/private-certificates").await.expect(200);
    until_closed(&mut idle).await;
    let url = format!("http://{address}{list}");
    assert_eq!(client().get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn it_ends_with_the_server() {
    let (ccm, list) = published(Limits::default()).await;
    let address = ccm.running.lists().unwrap();
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(format!("GET {list} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut first = [0; 12];
    open.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let ((), _) = tokio::join!(ccm.stop(), until_closed(&mut open));
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn the_command_line_says_where_lists_are_and_refuses_what_no_client_could_follow() {
    let (_directory, state) = fresh();
    let refused = |options: &[&str]| {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], options].concat();
        let output = run(&state, &arguments);
        assert_eq!(output.status.code(), Some(64), "{options:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let any = refused(&["--crl-listen", "0.0.0.0:0"]);
    assert!(any.contains("--crl-url"), "{any}");
    refused(&["--crl-url", "https://lists.example"]);
    let secret = refused(&["--crl-url", "http://user:hidden@lists.example"]);
    assert!(!secret.contains("hidden"), "{secret}");
    let bare = refused(&["--public-url", "ca.example.com:8920"]);
    assert!(bare.contains("https://"), "{bare}");
    refused(&["--crl-listen", "80"]);
    assert!(!state.exists(), "a refused start leaves nothing behind");
    let keys = new_user(&state, "user");
    let options = [
        "--crl-listen",
        "127.0.0.1:0",
        "--crl-url",
        "http://lists.example",
    ];
    let server = Process::start_with(&state, keys, &options);
    let line = server.second_line();
    let address = line.strip_prefix("lists at http://").unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok(), "{line}");
    server.terminate();
}

#[test]
fn an_address_that_nobody_reaches_is_told_at_the_start() {
    let (_directory, state) = fresh();
    let keys = new_user(&state, "user");
    let told = |options: &[&str]| {
        let arguments = [&["serve", "--tls", "self"], options].concat();
        let log = Process::serve(&state, keys.clone(), &arguments).terminate();
        log.contains("where most clients may not reach this server")
    };
    let any = ["--listen", "0.0.0.0:0"];
    assert!(told(&any));
    assert!(told(&["--listen", "[::]:0"]));
    assert!(!told(&["--listen", "127.0.0.1:0"]));
    for options in [
        ["--public-url", "https://ca.example:8920"],
        ["--crl-url", "http://lists.example"],
    ] {
        assert!(!told(&[any, options].concat()), "{options:?}");
    }
}

#[tokio::test]
async fn the_address_that_was_given_stands_in_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let options = |url: &str| ServerOptions {
        crl_url: Some(url.to_owned()),
        ..ServerOptions::new(directory.path().join("ccm"))
    };
    let refused = Server::start(options("ldap://a.example")).await;
    assert!(matches!(refused, Err(ServerError::Invalid(_))));
    let wanted = Wanted::new().crl_url("http://lists.example/pki/");
    let ccm = wanted.start().await;
    add_bucket(&ccm, &ccm).await;
    let ca = authority(&ccm, root("Top", "EC256", "SHA256")).await;
    let (_, pem) = certificate(&ccm, &ca).await;
    let point = format!("http://lists.example/pki/obs/pki-lists/{ca}.crl");
    assert_eq!(point_of(&pem), point);
}
