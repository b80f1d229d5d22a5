//! SIGKILL under load, many times: whatever 32 clients were answered is there afterwards, and the state is sound. Some issue
//! private certificates, some buy, import, tag and push SSL certificates, in version 3 and 2, some keep CSRs, some make CAs, and
//! some ask IAM for tokens and keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use crate::ccm_server::front::killed_faces::{self, User};
use crate::ccm_server::front::killed_others::{self, Fact};
use crate::ccm_server::http::{Peer, Send, get};
use crate::ccm_server::openssl::{EC, csr};
use crate::ccm_server::process::{self, Process, fresh};

const CERTIFICATES: &str = "/v1/private-certificates";

/// What a certificate must be found as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Issued,
    Revoked,
    Deleted,
    /// It was asked for, and the server was killed before it answered: as it was, or done.
    OneOf(Known, Known),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Issued,
    Revoked,
    Deleted,
}

impl State {
    fn permits(self, found: Known) -> bool {
        match self {
            Self::Issued => found == Known::Issued,
            Self::Revoked => found == Known::Revoked,
            Self::Deleted => found == Known::Deleted,
            Self::OneOf(before, after) => found == before || found == after,
        }
    }
}

/// One client: issues, revokes every second one, deletes every third, until the server is gone.
async fn client(
    server: Arc<Process>,
    body: Value,
    answered: Arc<AtomicUsize>,
) -> BTreeMap<String, State> {
    let mut known = BTreeMap::new();
    for turn in 0.. {
        let issue = Send::new("POST", "/v1/private-certificates/csr").json(&body);
        let Ok(reply) = issue.by_user(&*server).attempt(&*server).await else {
            return known;
        };
        let id = reply.expect(200).text("certificate_id");
        answered.fetch_add(1, Ordering::Relaxed);
        known.insert(id.clone(), State::Issued);
        let mut before = Known::Issued;
        if turn % 2 == 1 {
            let revoke = Send::new("POST", &format!("{CERTIFICATES}/{id}/revoke"));
            let revoke = revoke.json(&json!({"reason": "SUPERSEDED"}));
            let Ok(reply) = revoke.by_user(&*server).attempt(&*server).await else {
                known.insert(id, State::OneOf(before, Known::Revoked));
                return known;
            };
            reply.expect(204);
            answered.fetch_add(1, Ordering::Relaxed);
            known.insert(id.clone(), State::Revoked);
            before = Known::Revoked;
        }
        if turn % 3 == 2 {
            let delete = Send::new("DELETE", &format!("{CERTIFICATES}/{id}"));
            let Ok(reply) = delete.by_user(&*server).attempt(&*server).await else {
                known.insert(id, State::OneOf(before, Known::Deleted));
                return known;
            };
            reply.expect(204);
            answered.fetch_add(1, Ordering::Relaxed);
            known.insert(id, State::Deleted);
        }
    }
    known
}

/// Everything that the server has.
async fn found(peer: &impl Peer) -> BTreeMap<String, Known> {
    let mut all = BTreeMap::new();
    for offset in (0..).step_by(1000) {
        let target = format!("{CERTIFICATES}?limit=1000&offset={offset}");
        let page = get(peer, &target).await.expect(200).body;
        let items = page["certificates"].as_array().unwrap().clone();
        for item in &items {
            let known = match item["status"].as_str().unwrap() {
                "ISSUED" => Known::Issued,
                "REVOKED" => Known::Revoked,
                other => panic!("{other}"),
            };
            all.insert(item["certificate_id"].as_str().unwrap().to_owned(), known);
        }
        if items.len() < 1000 {
            let total = usize::try_from(page["total"].as_u64().unwrap()).unwrap();
            assert_eq!(total, all.len(), "the total is that of the pages");
            return all;
        }
    }
    all
}

/// What SQLite itself says, after it has read its log as a start does.
async fn sound(state: &Path, facts: &[Fact]) {
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for check in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let rows = sqlx::query(check).fetch_all(&mut connection).await.unwrap();
        let said: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(said.is_empty() || said == ["ok"], "{check}: {said:?}");
    }
    killed_others::consistent(&mut connection).await;
    killed_others::check(&mut connection, facts).await;
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_under_the_load_of_32_clients_lose_nothing_that_was_answered() {
    let (_directory, state) = fresh();
    let user = process::json(&state, &["user", "add", "loader", "--json"]);
    let text = |field: &str| user[field].as_str().unwrap().to_owned();
    let keys = (text("access_key"), text("secret_key"));
    let user = User(Arc::new(user));
    let issuing = process::json(&state, &["ca", "init", "--json"])["issuing_ca_id"].clone();
    let request = csr(EC, &["-subj", "/CN=load.example"]);
    let body =
        json!({"issuer_id": issuing, "csr": request, "validity": {"type": "DAY", "value": 1}});
    let mut known: BTreeMap<String, State> = BTreeMap::new();
    let mut facts: Vec<Fact> = Vec::new();
    let mut in_doubt = 0;
    for round in 0..KILLS {
        let server = Arc::new(Process::start_with(&state, keys.clone(), OPTIONS));
        if round % 10 == 0 {
            check(&known, &found(&*server).await);
            killed_others::found(&*server, &facts).await;
        }
        let answered = Arc::new(AtomicUsize::new(0));
        let others: Vec<_> = OTHERS
            .iter()
            .flat_map(|(count, kind)| std::iter::repeat_n(*kind, *count))
            .map(|kind| {
                let (server, answered) = (Arc::clone(&server), Arc::clone(&answered));
                let user = user.clone();
                match kind {
                    Other::Scm => {
                        tokio::spawn(killed_others::scm(server, answered, round % 2 == 0))
                    }
                    Other::Authorities => {
                        tokio::spawn(killed_others::authorities(server, answered))
                    }
                    Other::Csrs => tokio::spawn(killed_faces::csrs(server, answered)),
                    Other::Version2 => {
                        tokio::spawn(killed_faces::version_2(server, answered, user))
                    }
                    Other::Iam => tokio::spawn(killed_faces::iam(server, answered, user)),
                }
            })
            .collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (server, answered) = (Arc::clone(&server), Arc::clone(&answered));
                tokio::spawn(client(server, body.clone(), answered))
            })
            .collect();
        // Each round at another moment: between the first answers and some hundred.
        let enough = 1 + (round * 37) % 90;
        while answered.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        server.signal(Signal::SIGKILL);
        for client in clients {
            let its = client.await.unwrap();
            in_doubt += its
                .values()
                .filter(|s| matches!(s, State::OneOf(..)))
                .count();
            known.extend(its);
        }
        let from = facts.len();
        for client in others {
            facts.extend(client.await.unwrap());
        }
        drop(server);
        // Each round what it did, at the end everything.
        sound(&state, &facts[from..]).await;
    }
    sound(&state, &facts).await;
    let server = Process::start_with(&state, keys, OPTIONS);
    killed_others::found(&server, &facts).await;
    let found = found(&server).await;
    check(&known, &found);
    let count = known.len();
    assert!(count >= KILLS, "only {count} certificates");
    let kinds: [(&str, Kind); 9] = [
        ("orders", |fact| matches!(fact, Fact::Bought(_))),
        ("applications", |fact| matches!(fact, Fact::Applied(_))),
        ("imports", |fact| matches!(fact, Fact::Imported(_))),
        ("pushes", |fact| matches!(fact, Fact::Pushed(_))),
        ("CAs", |fact| matches!(fact, Fact::Authority(_))),
        ("tokens", |fact| matches!(fact, Fact::Token(_))),
        ("temporary keys", |fact| matches!(fact, Fact::Temporary(..))),
        (
            "CSRs",
            |fact| matches!(fact, Fact::Known(known) if known.is_of_a_csr()),
        ),
        (
            "others",
            |fact| matches!(fact, Fact::Known(known) if !known.is_of_a_csr()),
        ),
    ];
    let counts = kinds.map(|(name, kind)| (name, facts.iter().filter(|fact| kind(fact)).count()));
    // How many is the machine's matter; none would mean that the load leaves a kind out.
    assert!(counts.iter().all(|(_, some)| *some >= 1), "{counts:?}");
    println!(
        "{count} private certificates answered, {in_doubt} in doubt, {} there; {} other answers, of them {counts:?}",
        found.len(),
        facts.len()
    );
    server.terminate();
}

fn check(known: &BTreeMap<String, State>, found: &BTreeMap<String, Known>) {
    for (id, state) in known {
        let have = found.get(id).copied().unwrap_or(Known::Deleted);
        assert!(
            state.permits(have),
            "{id} must be {state:?} and is {have:?}"
        );
    }
}

/// Tells what was answered apart.
type Kind = fn(&Fact) -> bool;

const KILLS: usize = 50;
/// 32 in all.
const CLIENTS: usize = 13;
/// Those beside them. Of CAs one each and round: an account may have a hundred.
const OTHERS: &[(usize, Other)] = &[
    (8, Other::Scm),
    (1, Other::Authorities),
    (3, Other::Csrs),
    (5, Other::Version2),
    (2, Other::Iam),
];

/// What a client does.
#[derive(Clone, Copy)]
enum Other {
    Scm,
    Authorities,
    Csrs,
    Version2,
    Iam,
}

/// Applications are issued at once.
const OPTIONS: &[&str] = &["--no-validation"];
