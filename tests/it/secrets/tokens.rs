//! The same for a user's password, the tokens that it gives, and what renewd-ccm keeps of both.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::secrets::{Secrets, Server, WRONG, assert_kept};
use crate::support::agent::{Agent, write_secret};

#[test]
fn passwords_and_tokens_are_nowhere_else_either() {
    let mut server = Server::start();
    let wire = Wire::tap(&server.endpoint);
    let agent = agent(&server, &wire);
    let mut secrets = Secrets::default();
    let password = server.user["password"].as_str().unwrap().to_owned();
    secrets.add("the password", password.as_bytes());
    secrets.add("the wrong password", WRONG.as_bytes());
    let mut said = Vec::new();
    let mut run = |arguments: &[&str], password: &str, code: i32| {
        write_secret(&agent.path().join("password"), password);
        let mut command = agent.command(arguments);
        command.env("RENEWD_LOG", "trace").env("RUST_LOG", "trace");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        let text = text.concat();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        said.push((arguments.join(" "), text));
        secrets.collect(&agent);
    };
    run(&["once"], &password, 0);
    run(&["renew", "www", "--wait", "0s"], WRONG, 77);
    run(&["renew", "www"], &password, 0);
    run(&["status"], &password, 0);
    run(&["history", "www", "--json"], &password, 0);
    let logged = said.iter().map(|(_, text)| text.len()).sum::<usize>();
    assert!(logged > 10_000, "next to nothing was logged");

    let seen = wire.seen();
    assert!(seen.contains(&password), "the tap saw nothing");
    let tokens = headers(&seen, "x-subject-token");
    assert!(tokens.len() >= 2, "{tokens:?}");
    for (number, token) in tokens.iter().enumerate() {
        secrets.add(&format!("token {number}"), token.as_bytes());
        // Its beginning would be enough for somebody who may ask often.
        secrets.add(
            &format!("half of token {number}"),
            &token.as_bytes()[..token.len() / 2],
        );
    }
    said.push(("renewd-ccm".to_owned(), server.stop()));
    assert_kept(&secrets, &said, &agent, &server);
}

fn agent(server: &Server, wire: &Wire) -> Agent {
    let text = |key: &str| server.user[key].as_str().unwrap();
    let policy = format!(
        r#"
[issuer.pca.corp]
endpoint = "{0}"
ca = "renewd-ccm Issuing CA"
settle = "1s"

[issuer.pca.corp.password]
iam_endpoint = "{0}"
user = "{1}"
password = "file:{{dir}}/password"
domain = "{2}"
project = "{3}"

[certificate.www]
issuer = "corp"
names = ["www.example.test"]
key = "ccm"
targets = ["store"]

[target.files.store.export.layout.tomcat]
layout = "tomcat"

[target.files.store.export.layout.iis]
layout = "iis"
directory = "iis"
"#,
        wire.endpoint,
        text("name"),
        text("account"),
        text("project")
    );
    Agent::new(&policy)
}

/// The values of a header, wherever it stands.
fn headers(seen: &str, name: &str) -> Vec<String> {
    let lines = seen.lines().filter_map(|line| line.split_once(": "));
    let mut values: Vec<String> = lines
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect();
    values.dedup();
    values
}

/// Everything that goes to and fro between renewd and the server.
struct Wire {
    endpoint: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    fn tap(endpoint: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, server) = (Arc::clone(&seen), endpoint.replace("http://", ""));
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(&server).unwrap();
                let pairs = [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                ];
                for (from, to) in pairs {
                    let record = Arc::clone(&record);
                    thread::spawn(move || pass(from, to, &record));
                }
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            seen,
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, record: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        record.lock().unwrap().extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
