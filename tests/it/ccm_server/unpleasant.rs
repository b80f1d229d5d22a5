//! Bad clients against the server, and the server's faults against good clients.

use std::time::Duration;

use renewd::ccm_server::{Fault, Faults, Limits};
use renewd::model::Seconds;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::authorities::{CAS, create};
use super::http::{Send, get, post, post_nothing};
use super::lifecycle::{Company, pending};
use super::openssl::{EC, csr, self_signed};
use crate::support::ccm::{Ccm, Wanted};

const LIST: &str = "/v1/private-certificates";
const BY_CSR: &str = "/v1/private-certificates/csr";

fn request(ccm: &Ccm) -> Value {
    let csr = csr(EC, &["-subj", "/CN=a.example"]);
    json!({"issuer_id": ccm.issuing(), "csr": csr, "validity": {"type": "DAY", "value": 1}})
}

/// Sends bytes and reads until the server closes the connection.
async fn raw(ccm: &Ccm, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(ccm.running.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is never closed fails here, by the clock of the test alone.
    let end = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap();
    if let Err(error) = end {
        // Closed with our bytes unread: the answer may be lost on the way.
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        return format!("reset {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn impatient() -> Limits {
    Limits {
        header: Duration::from_millis(200),
        body: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let ccm = Wanted::new().limits(impatient()).start().await;
    raw(&ccm, b"").await;
    raw(
        &ccm,
        b"GET /v1/private-certificates HTTP/1.1\r\nHost: x\r\nX-",
    )
    .await;
    let body = raw(
        &ccm,
        b"POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    )
    .await;
    assert!(body.starts_with("HTTP/1.1 400"), "{body}");
    get(&ccm, LIST).await.expect(200);
    // Of a large body some has to come at once, and the rest at a pace.
    let limits = Limits {
        body: Duration::from_secs(3600),
        request: Duration::from_secs(3600),
        slow: Duration::from_millis(200),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let answer = raw(&ccm, large_import(&known(&ccm)).as_bytes()).await;
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("too slowly"), "{answer}");
}

/// For others there is a time for the whole, which the largest body would need twice of at that pace.
#[tokio::test]
async fn a_large_body_may_take_what_its_pace_allows() {
    let limits = Limits {
        body: Duration::from_millis(100),
        request: Duration::from_millis(300),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut stream = TcpStream::connect(ccm.running.address()).await.unwrap();
    let head = large_import(&known(&ccm));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    stream.write_all(&vec![b' '; 1_000_000]).await.unwrap();
    // Longer than both, and shorter than what it is ahead.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stream.write_all(&vec![b' '; 999_999]).await.unwrap();
    let answer = async {
        let mut answer = String::new();
        let mut part = [0; 4096];
        while !answer.contains("HTTP/1.1 ") {
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "{answer}");
            answer.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
    let answer = answer.expect("it is answered");
    // It was read, and its signature is looked at.
    assert!(answer.contains("HTTP/1.1 401"), "{answer}");
}

/// The head of a request for a body of 2 MB, with this line of credentials, and one byte of it.
fn large_import(line: &str) -> String {
    format!(
        "POST /v1/private-certificate-authorities/00000000-0000-0000-0000-000000000000/import HTTP/1.1\r\n\
         Host: x\r\n{line}\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n{{"
    )
}

/// A line of credentials of the server's user, as far as can be seen without the body.
fn known(ccm: &Ccm) -> String {
    let key = ccm.access_key();
    format!("Authorization: SDK-HMAC-SHA256 Access={key}, SignedHeaders=host, Signature=00")
}

/// A CA is imported with a chain that is about as large as the reference allows.
async fn import_large(ccm: &Ccm) {
    let company = Company::new();
    let id = create(ccm, &pending("Low")).await;
    let at = format!("{CAS}/{id}");
    let request = get(ccm, &format!("{at}/csr")).await.expect(200);
    let certificate = company.certify(&request.text("csr"), "30");
    let chain = format!("{}{}", company.root(), " ".repeat(2_000_000));
    let body = json!({"certificate": certificate, "certificate_chain": chain});
    let import = format!("{at}/import");
    let done = tokio::time::timeout(Duration::from_secs(30), post(ccm, &import, &body));
    done.await.expect("it has a place").expect(204);
}

#[tokio::test]
async fn who_is_nobody_has_no_place_for_a_large_body() {
    let long = Duration::from_secs(3600);
    let limits = Limits {
        body: long,
        request: long,
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let unknown = known(&ccm).replace(ccm.access_key(), "AAAAAAAAAAAAAAAAAAAA");
    let mut open = Vec::new();
    for line in ["Authorization: x", &unknown, "X-Auth-Token: x"] {
        for _ in 0..4 {
            let mut stream = TcpStream::connect(ccm.running.address()).await.unwrap();
            stream
                .write_all(large_import(line).as_bytes())
                .await
                .unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 401", "{line}");
            open.push(stream);
        }
    }
    import_large(&ccm).await;
}

#[tokio::test]
async fn one_peer_cannot_take_all_places_for_large_bodies() {
    let long = Duration::from_secs(3600);
    let limits = Limits {
        body: long,
        request: long,
        slow: long,
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let head = large_import(&known(&ccm));
    let mut all = JoinSet::new();
    for _ in 0..12 {
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(ccm.running.address()).await.unwrap();
        other.write_all(head.as_bytes()).await.unwrap();
        all.spawn(async move {
            let mut first = [0; 12];
            other.read_exact(&mut first).await.unwrap();
            (first, other)
        });
    }
    // Who is asked for the rest of its body has its place.
    let mut inside = Vec::new();
    for _ in 0..2 {
        let (first, stream) = all.join_next().await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 100");
        inside.push(stream);
    }
    import_large(&ccm).await;
    // What is not too large for others needs no place.
    let small = json!({"certificate": "x"});
    let path = format!("{CAS}/00000000-0000-0000-0000-000000000000/import");
    post(&ccm, &path, &small).await.refused(404, "PCA.00030102");
}

#[tokio::test]
async fn who_does_not_read_its_answers_gives_its_place_back() {
    let long = Duration::from_secs(3600);
    let limits = Limits {
        connections: 1,
        header: long,
        connection: long,
        unread: Duration::from_millis(200),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut deaf = TcpStream::connect(ccm.running.address()).await.unwrap();
    // 38 MB of answers: far more than the kernel keeps for who does not read.
    let asked = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    deaf.write_all(asked.as_bytes()).await.unwrap();
    // Nothing but that time-out gives back the only place within the hour.
    get(&ccm, LIST).await.expect(200);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), deaf.read_to_end(&mut rest)).await;
    let _ = end.expect("the connection is closed");
    let rest = String::from_utf8_lossy(&rest);
    let answers = rest.matches("HTTP/1.1 200").count();
    assert!((1..200).contains(&answers), "{answers} answers");
}

#[tokio::test]
async fn no_connection_lasts_for_ever() {
    let long = Duration::from_secs(3600);
    let limits = Limits {
        connections: 1,
        header: long,
        unread: long,
        connection: Duration::from_millis(300),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut idle = TcpStream::connect(ccm.running.address()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // Nothing but its age gives back the only place within the hour.
    get(&ccm, LIST).await.expect(200);
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 404"), "{rest}");
}

#[tokio::test]
async fn no_request_lasts_for_ever() {
    let limits = Limits {
        body: Duration::from_secs(3600),
        request: Duration::from_millis(200),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut slow = TcpStream::connect(ccm.running.address()).await.unwrap();
    let head = format!(
        "POST {BY_CSR} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: x\r\nContent-Length: 10\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = slow.read_to_string(&mut answer);
    // A request that is never answered fails here, by the clock of the test alone.
    let _ = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("the connection is closed");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("took too long"), "{answer}");
}

#[tokio::test]
async fn who_reads_slowly_is_served_to_the_end() {
    let limits = Limits {
        unread: Duration::from_secs(20),
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut slow = TcpStream::connect(ccm.running.address()).await.unwrap();
    let one = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(99);
    let last = "GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    slow.write_all((one + last).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        let read = slow.read(&mut piece).await.unwrap();
        if read == 0 {
            break;
        }
        all.extend_from_slice(&piece[..read]);
        tokio::task::yield_now().await;
    }
    let all = String::from_utf8_lossy(&all);
    assert_eq!(all.matches("HTTP/1.1 200").count(), 100);
}

#[tokio::test]
async fn what_is_too_large_or_no_http_is_refused() {
    let ccm = Wanted::new().limits(impatient()).start().await;
    let large = || {
        let mut large = Send::new("POST", BY_CSR);
        large.body = vec![b' '; 1024 * 1024 + 1];
        large
    };
    // Whoever shows nothing of who it is, is not even read.
    let nobody = large().send(&ccm).await;
    nobody.refused(401, "PCA.00010001");
    large()
        .header("x-auth-token", "x")
        .send(&ccm)
        .await
        .refused(413, "APIGW.0201");
    let header = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let answer = raw(&ccm, header.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431") || answer.starts_with("reset"),
        "{answer}"
    );
    let many: String = (0..100).map(|n| format!("X-{n}: x\r\n")).collect();
    let answer = raw(
        &ccm,
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = raw(&ccm, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    get(&ccm, LIST).await.expect(200);
}

#[tokio::test]
async fn more_connections_than_places_wait_and_are_served() {
    let limits = Limits {
        connections: 2,
        ..impatient()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(ccm.running.address()).await.unwrap());
    }
    get(&ccm, LIST).await.expect(200);
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let limits = Limits {
        connections_per_peer: 2,
        ..Limits::default()
    };
    let ccm = Wanted::new().limits(limits).start().await;
    let connect = async || TcpStream::connect(ccm.running.address()).await.unwrap();
    let mut own = Vec::new();
    for _ in 0..2 {
        let mut stream = connect().await;
        // Answered, hence counted; and kept open.
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 404");
        own.push(stream);
    }
    let refused = raw(&ccm, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!refused.contains("HTTP/1.1"), "{refused}");
    // Another address of this host is another peer.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(ccm.running.address()).await.unwrap();
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // A place that is given back is given again.
    own.clear();
    let again = tokio::time::timeout(Duration::from_secs(30), async {
        while !raw(
            &ccm,
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await
        .starts_with("HTTP/1.1 404")
        {}
    });
    again.await.unwrap();
}

#[tokio::test]
async fn deeply_nested_bodies_do_no_harm() {
    let ccm = Ccm::start().await;
    for (open, close) in [("[", "]"), ("{\"auth\":", "}")] {
        let mut send = Send::new("POST", "/v3/auth/tokens");
        send.body = format!("{}1{}", open.repeat(50_000), close.repeat(50_000)).into_bytes();
        send.send(&ccm).await.expect(400);
    }
}

#[tokio::test]
async fn a_lost_response_has_had_its_effect_and_a_lost_request_has_not() {
    let faults =
        Faults::none()
            .at("4.2.2.3", 1, Fault::LostResponse)
            .at("4.2.2.3", 2, Fault::LostRequest);
    let ccm = Wanted::new().faults(faults).start().await;
    let body = request(&ccm);
    let send = || {
        Send::new("POST", BY_CSR)
            .json(&body)
            .by_user(&ccm)
            .attempt(&ccm)
    };
    assert!(send().await.is_err());
    assert_eq!(ccm.issued("a.example").await, 1);
    assert!(send().await.is_err());
    assert_eq!(ccm.issued("a.example").await, 1);
    send().await.unwrap().expect(200);
    assert_eq!(ccm.issued("a.example").await, 2);
    assert_eq!(ccm.running.requests_of("4.2.2.3"), 3);
    let seen = ccm.running.requests();
    let faults: Vec<_> = seen.iter().map(|seen| (seen.status, seen.fault)).collect();
    assert_eq!(
        faults,
        [
            (0, Some(Fault::LostResponse)),
            (0, Some(Fault::LostRequest)),
            (200, None)
        ]
    );
}

#[tokio::test]
async fn busy_broken_and_silent_servers_are_played() {
    let faults = Faults {
        retry_after: 7,
        ..Faults::none()
            .at("4.2.2.1", 1, Fault::RateLimited)
            .at("4.2.2.1", 2, Fault::ServerError)
            .at("4.1.5.1", 1, Fault::ServerError)
    };
    let ccm = Wanted::new().faults(faults).start().await;
    let limited = get(&ccm, LIST).await;
    limited.refused(429, "APIGW.0308");
    assert_eq!(limited.header("retry-after"), Some("7"));
    get(&ccm, LIST).await.refused(500, "PCA.00000001");
    get(&ccm, LIST).await.expect(200);
    get(&ccm, "/v3/scm/certificates")
        .await
        .refused(500, "SCM.0504");
}

#[tokio::test]
async fn a_silent_server_lets_its_clients_go_when_it_stops() {
    let faults = Faults::none().at("4.2.2.1", 1, Fault::Stalled);
    let ccm = Wanted::new().faults(faults).start().await;
    let send = Send::new("GET", LIST).by_user(&ccm);
    let address = ccm.running.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = send
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    stream
        .write_all(format!("GET {LIST} HTTP/1.1\r\n{headers}\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let (read, ()) = tokio::join!(stream.read_to_end(&mut answer), async {
        // The request is with the server before it stops: it was counted when it came in.
        while ccm.running.received("4.2.2.1") == 0 {
            tokio::task::yield_now().await;
        }
        ccm.stop().await;
    });
    assert_eq!((read.unwrap(), answer.len()), (0, 0));
}

#[tokio::test]
async fn issuing_takes_several_looks_when_it_is_to() {
    let faults = Faults {
        polls_until_issued: 2,
        ..Faults::none()
    };
    let ccm = Wanted::new().faults(faults).start().await;
    let id = post(&ccm, BY_CSR, &request(&ccm))
        .await
        .expect(200)
        .text("certificate_id");
    let export = format!("{LIST}/{id}/export");
    let body = json!({"type": "OTHER", "is_compressed": false});
    post(&ccm, &export, &body)
        .await
        .refused(403, "PCA.00030201");
    post(&ccm, &export, &body)
        .await
        .refused(403, "PCA.00030201");
    post(&ccm, &export, &body).await.expect(200);
    post(&ccm, &export, &body).await.expect(200);
}

#[tokio::test]
async fn answers_are_short_paged_extended_and_in_crlf_when_they_are_to() {
    let faults = Faults {
        page_limit: Some(3),
        extra_fields: true,
        crlf: true,
        token_lifetime: Some(Seconds(60)),
        ..Faults::none()
    };
    let ccm = Wanted::new().at("2027-01-01").faults(faults).start().await;
    let body = request(&ccm);
    for _ in 0..4 {
        post(&ccm, BY_CSR, &body).await.expect(200);
    }
    let page = get(&ccm, &format!("{LIST}?limit=10"))
        .await
        .expect(200)
        .body;
    assert_eq!(page["total"], 4);
    assert_eq!(page["certificates"].as_array().unwrap().len(), 3);
    assert!(
        page["certificates"][0]["distinguished_name"]
            .get("x_unheard_of")
            .is_some()
    );
    let rest = get(&ccm, &format!("{LIST}?limit=10&offset=3"))
        .await
        .expect(200)
        .body;
    assert_eq!(rest["certificates"].as_array().unwrap().len(), 1);
    let (certificate, key) = self_signed("b.example", "DNS:b.example", "3000");
    let id = ccm.import_scm("b", "ISSUED", &certificate, "", &key).await;
    let exported = post_nothing(&ccm, &format!("/v3/scm/certificates/{id}/export"))
        .await
        .expect(200);
    assert!(exported.text("private_key").contains("\r\n"));
    assert!(
        !exported
            .text("certificate")
            .replace("\r\n", "")
            .contains('\n')
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_are_all_served() {
    let ccm = std::sync::Arc::new(Ccm::start().await);
    let body = request(&ccm);
    let clients: Vec<_> = (0..48)
        .map(|_| {
            let (ccm, body) = (std::sync::Arc::clone(&ccm), body.clone());
            tokio::spawn(async move {
                let id = post(&*ccm, BY_CSR, &body)
                    .await
                    .expect(200)
                    .text("certificate_id");
                let export = json!({"type": "OTHER", "is_compressed": false});
                let path = format!("{LIST}/{id}/export");
                let exported = post(&*ccm, &path, &export)
                    .await
                    .expect(200)
                    .text("certificate");
                get(&*ccm, &format!("{LIST}?limit=1000")).await.expect(200);
                exported
            })
        })
        .collect();
    let mut certificates = std::collections::BTreeSet::new();
    for client in clients {
        certificates.insert(client.await.unwrap());
    }
    assert_eq!(
        certificates.len(),
        48,
        "each has a serial number of its own"
    );
    assert_eq!(ccm.issued("a.example").await, 48);
}
