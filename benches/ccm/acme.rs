//! A client of ACME that does the least, for Pebble: an account for each connection, its authorization once, then order
//! after order.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

/// Certificates per second; `None` without Pebble.
pub(super) async fn rate(dir: &Path, connections: usize, time: Duration) -> Option<f64> {
    let pebble = Pebble::start(dir)?;
    let mut accounts = Vec::new();
    for number in 0..connections {
        accounts.push(Account::open(&pebble, number).await);
    }
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let begin = Instant::now();
    let clients: Vec<_> = accounts
        .into_iter()
        .map(|mut account| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    account.certificate().await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no client fails");
    }
    Some(count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
}

/// Pebble with nothing to wait for; ends when dropped.
struct Pebble {
    child: Child,
    port: u16,
}

impl Pebble {
    fn start(dir: &Path) -> Option<Self> {
        let dir = dir.join("pebble");
        fs::create_dir_all(&dir).expect("a directory");
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let own = params.self_signed(&key).expect("a certificate");
        fs::write(dir.join("cert.pem"), own.pem()).expect("a file");
        fs::write(dir.join("key.pem"), key.serialize_pem()).expect("a file");
        let free = || {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            socket.local_addr().expect("a port").port()
        };
        let (port, management) = (free(), free());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.join("cert.pem"),
            "privateKey": dir.join("key.pem"),
            "httpPort": 5002, "tlsPort": 5001, "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        fs::write(dir.join("config.json"), config.to_string()).expect("a file");
        let child = Command::new("pebble")
            .arg("-config")
            .arg(dir.join("config.json"))
            .env("PEBBLE_VA_ALWAYS_VALID", "1")
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "100")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let pebble = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pebble)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection with an account of its own.
struct Account {
    client: reqwest::Client,
    key: EcdsaKeyPair,
    jwk: Value,
    id: Option<String>,
    nonce: String,
    directory: Value,
    name: String,
    csr: String,
}

impl Account {
    async fn open(pebble: &Pebble, number: usize) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            // Pebble's certificate is of this run alone.
            .tls_danger_accept_invalid_certs(true)
            .build()
            .expect("a client");
        let url = format!("https://127.0.0.1:{}/dir", pebble.port);
        let directory = client.get(url).send().await.expect("an answer");
        let directory: Value = directory.json().await.expect("JSON");
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref());
        let key = key.expect("a key");
        let point = key.public_key().as_ref();
        let jwk = json!({
            "crv": "P-256", "kty": "EC", "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
        });
        let name = format!("host-{number}.example.test");
        let own = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new([name.clone()]).expect("a name");
        let csr = params.serialize_request(&own).expect("a request");
        let nonce = client.head(directory["newNonce"].as_str().expect("a URL"));
        let nonce = nonce.send().await.expect("an answer");
        let mut account = Self {
            nonce: nonce_of(&nonce),
            csr: BASE64.encode(csr.der()),
            client,
            key,
            jwk,
            id: None,
            directory,
            name,
        };
        let url = account.url("newAccount");
        let agreed = json!({"termsOfServiceAgreed": true}).to_string();
        let made = account.post(&url, &agreed);
        account.id = Some(made.await.1);
        account.authorize().await;
        account
    }

    fn url(&self, name: &str) -> String {
        self.directory[name].as_str().expect("a URL").to_owned()
    }

    /// A signed request; body and `Location`.
    async fn post(&mut self, url: &str, payload: &str) -> (Value, String) {
        let mut protected = json!({"alg": "ES256", "nonce": self.nonce, "url": url});
        match &self.id {
            Some(id) => protected["kid"] = id.as_str().into(),
            None => protected["jwk"] = self.jwk.clone(),
        }
        let protected = BASE64.encode(protected.to_string());
        let payload = BASE64.encode(payload);
        let signature = self.key.sign(
            &SystemRandom::new(),
            format!("{protected}.{payload}").as_bytes(),
        );
        let signature = BASE64.encode(signature.expect("a signature").as_ref());
        let body = json!({"protected": protected, "payload": payload, "signature": signature});
        let request = self.client.post(url).body(body.to_string());
        let request = request.header("content-type", "application/jose+json");
        let answer = request.send().await.expect("an answer");
        self.nonce = nonce_of(&answer);
        let location = answer.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok());
        let location = location.unwrap_or_default().to_owned();
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{url}: {status} {text}");
        (serde_json::from_str(&text).unwrap_or_default(), location)
    }

    async fn order(&mut self) -> (Value, String) {
        let url = self.url("newOrder");
        let wanted = json!({"identifiers": [{"type": "dns", "value": self.name}]});
        self.post(&url, &wanted.to_string()).await
    }

    /// The first order proves the name; later ones reuse that.
    async fn authorize(&mut self) {
        let (order, _) = self.order().await;
        let url = order["authorizations"][0]
            .as_str()
            .expect("a URL")
            .to_owned();
        let (authorization, _) = self.post(&url, "").await;
        let challenge = authorization["challenges"][0]["url"].as_str();
        let challenge = challenge.expect("a URL").to_owned();
        self.post(&challenge, "{}").await;
        while self.post(&url, "").await.0["status"] != "valid" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn certificate(&mut self) {
        let (order, location) = self.order().await;
        let finalize = order["finalize"].as_str().expect("a URL").to_owned();
        let payload = json!({"csr": self.csr}).to_string();
        let (mut order, _) = self.post(&finalize, &payload).await;
        while order["certificate"].is_null() {
            order = self.post(&location, "").await.0;
        }
        let url = order["certificate"].as_str().expect("a URL").to_owned();
        self.post(&url, "").await;
    }
}

fn nonce_of(answer: &reqwest::Response) -> String {
    let nonce = answer.headers().get("replay-nonce");
    let nonce = nonce.and_then(|value| value.to_str().ok());
    nonce.expect("a nonce").to_owned()
}
