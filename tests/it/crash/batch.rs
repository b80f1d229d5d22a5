//! Three certificates on two services, killed on the way there and on the way back: each is issued once, both services
//! agree, no reader of a live directory ever sees a key of another certificate. The suite visits one boundary of each
//! kind; `make soak` visits all of them, at the first and at the second service that comes there.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use crate::crash::{boundaries, boundaries_of_a_renewal, pair, soaking, way_back};
use crate::support::ccm::Ccm;
use crate::support::nginx::{Nginx, Site};
use crate::support::reader::Reader;
use crate::support::world::{World, served};
use renewd::deploy::CRASH_POINTS;

const MEMBERS: [&str; 3] = ["api", "shop", "www"];

fn host(name: &str) -> String {
    format!("{name}.example.test")
}

/// `web` reads the live directory, `edge` loose files.
struct Batch {
    world: World,
    edge: Nginx,
}

/// What was seen by all readers together.
#[derive(Default)]
struct Read {
    pairs: u64,
    straddled: u64,
    wrong: Vec<String>,
}

impl Batch {
    /// All three are served by both.
    async fn live() -> Self {
        let mut world = World::new(Ccm::start().await).await;
        let live = world.agent.live("web");
        let loose = world.agent.path().join("edge");
        let sites = |below: &std::path::Path| {
            MEMBERS.map(|name| {
                let place = below.join(name);
                let (certificate, key) = (place.join("server.crt"), place.join("server.key"));
                Site::new(&[&host(name)], &certificate, &key)
            })
        };
        world.nginx = Nginx::prepare(&world.agent.path().join("nginx"), &sites(&live));
        let edge = Nginx::prepare(&world.agent.path().join("nginx-edge"), &sites(&loose));
        world.write_reload(true);
        let mut batch = Self { world, edge };
        batch.write_edge_reload(true);
        batch.want("ec-p256");
        let agent = &batch.world.agent;
        agent.run(&["once", "--wait", "0s"]).expect(75);
        batch.world.nginx.start();
        batch.edge.start();
        let agent = &batch.world.agent;
        agent.run(&["renew", "www"]).expect(0);
        batch.assert_converged("at first");
        batch
    }

    /// Keys of this kind: another kind renews all three at once.
    fn want(&self, key: &str) {
        let mut text = self.world.issuer();
        for name in MEMBERS {
            text.push_str(&format!(
                r#"
[certificate.{name}]
issuer = "corp"
names = ["{}"]
key_algorithm = "{key}"
targets = ["web", "edge"]
validity = "30d"
"#,
                host(name)
            ));
        }
        text.push_str(&format!(
            r#"
[target.nginx.web]
test = {:?}
reload = ["{{dir}}/reload"]
connect = "{}"
deadline = "3s"
reloads_per_hour = 1000

[target.nginx.web.export.layout.site]
layout = "nginx"

[target.nginx.edge]
test = {:?}
reload = ["{{dir}}/reload-edge"]
connect = "{}"
deadline = "3s"
reloads_per_hour = 1000

[target.nginx.edge.export.layout.loose]
layout = "nginx"
directory = "{{dir}}/edge/{{certificate}}"
"#,
            self.world.nginx.test(),
            self.world.nginx.address(),
            self.edge.test(),
            self.edge.address()
        ));
        self.world.agent.write_policy(&text);
    }

    /// What tells `edge`, or says that it did and does nothing.
    fn write_edge_reload(&self, works: bool) {
        let words: Vec<String> = self
            .edge
            .reload()
            .iter()
            .map(|word| format!("'{word}'"))
            .collect();
        let body = if works {
            words.join(" ")
        } else {
            "exit 0".to_owned()
        };
        let path = self.world.agent.path().join("reload-edge");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    }

    /// Serials by member, of the loose files, each of which is a pair.
    fn loose(&self) -> BTreeMap<&'static str, String> {
        MEMBERS
            .map(|name| {
                let place = self.world.agent.path().join("edge").join(name);
                (
                    name,
                    pair(&place.join("server.crt"), &place.join("server.key")),
                )
            })
            .into()
    }

    /// Serials by member, of what a service serves.
    fn serves(&self, nginx: &Nginx) -> BTreeMap<&'static str, String> {
        let address = nginx.address();
        MEMBERS
            .map(|name| (name, served(&address, &host(name))))
            .into()
    }

    fn newest(&self) -> BTreeMap<&'static str, String> {
        let all = self.world.agent.run(&["status", "--json"]).expect(0).json();
        let of = |name: &str| {
            let all = all["certificates"].as_array().unwrap();
            let found = all.iter().find(|one| one["name"] == name).unwrap();
            found["serial"].as_str().unwrap().to_owned()
        };
        MEMBERS.map(|name| (name, of(name))).into()
    }

    async fn issued(&self) -> usize {
        let mut sum = 0;
        for name in MEMBERS {
            sum += self.world.ccm.issued(&host(name)).await;
        }
        sum
    }

    #[track_caller]
    fn assert_converged(&self, at: &str) {
        let all = self.world.agent.run(&["status", "--json"]).expect(0).json();
        for one in all["certificates"].as_array().unwrap() {
            assert_eq!(one["verdict"], "healthy", "{at}: {one}");
        }
        let newest = self.newest();
        assert_eq!(self.serves(&self.world.nginx), newest, "{at}: web");
        assert_eq!(self.serves(&self.edge), newest, "{at}: edge");
        let keys = std::fs::read_dir(self.world.agent.state().join("keys")).unwrap();
        assert_eq!(keys.count(), 0, "{at}: keys of closed orders stay");
    }

    /// Readers of every pair: of the live directories of both, and by path.
    fn readers(&self) -> Vec<Reader> {
        let agent = &self.world.agent;
        let file = |name: &str, kind: &str| format!("{name}/server.{kind}");
        let pairs = MEMBERS.map(|name| (file(name, "crt"), file(name, "key")));
        let mut readers = vec![Reader::each(&agent.live("web"), &pairs).paced()];
        for place in [agent.live("web"), agent.path().join("edge")] {
            let [certificate, key] = ["crt", "key"].map(|kind| place.join(file("shop", kind)));
            readers.push(Reader::by_paths(&certificate, &key));
        }
        readers
    }
}

fn stop(readers: Vec<Reader>) -> Read {
    let mut all = Read::default();
    for reader in readers {
        let seen = reader.stop();
        assert!(
            seen.pairs > 100 && seen.certificates.len() > 1,
            "a reader saw too little: {seen:?}"
        );
        all.pairs += seen.pairs;
        all.straddled += seen.straddled;
        all.wrong.extend(seen.wrong);
    }
    all
}

/// Kinds of keys in turn.
fn other(key: &str) -> &'static str {
    if key == "ec-p256" {
        "ec-p384"
    } else {
        "ec-p256"
    }
}

/// At the first service that comes there, or at the second.
const TURNS: [&str; 2] = ["return", "1*off->return"];

fn points_there() -> Vec<(String, &'static str)> {
    if soaking() {
        let points = boundaries_of_a_renewal();
        let points = points.into_iter().filter(|point| !way_back(point));
        return points
            .flat_map(|point| TURNS.map(|turn| (point.clone(), turn)))
            .collect();
    }
    [
        ("order.submit.effect", TURNS[1]),
        ("rollout.open.done", TURNS[0]),
        ("rollout.stage.renamed", TURNS[1]),
        ("rollout.commit.saved", TURNS[1]),
        ("rollout.commit.linked", TURNS[0]),
        ("rollout.commit.effect", TURNS[0]),
        ("rollout.commit.file", TURNS[1]),
        ("rollout.reload.effect", TURNS[1]),
        ("rollout.verify.effect", TURNS[0]),
    ]
    .map(|(point, turn)| (point.to_owned(), turn))
    .into()
}

/// Which of the services go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// The one that reads the live directory; the other one goes on.
    Web,
    /// The one with loose files as well.
    Both,
}

fn points_back() -> Vec<(String, Back)> {
    if !soaking() {
        return [
            ("rollout.restore.linked", Back::Web),
            ("rollout.restore.file", Back::Both),
            ("rollout.reload-back.effect", Back::Both),
            ("rollout.verify-back.effect", Back::Web),
        ]
        .map(|(point, back)| (point.to_owned(), back))
        .into();
    }
    let mut points = boundaries("rollout", &["restore", "reload-back", "verify-back"]);
    let inside = CRASH_POINTS.iter().filter(|point| way_back(point));
    points.extend(inside.map(|point| (*point).to_owned()));
    let both = [Back::Web, Back::Both].into_iter();
    let all = both.flat_map(|back| points.iter().map(move |point| (point.clone(), back)));
    // The one that goes back alone has no loose files.
    all.filter(|(point, back)| point != "rollout.restore.file" || *back == Back::Both)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_a_batch_on_two_services_converges_to_three_new_certificates() {
    let batch = Batch::live().await;
    let agent = &batch.world.agent;
    let readers = batch.readers();
    let (mut key, mut killed) = ("ec-p256", 0);
    for (point, turn) in points_there() {
        let at = format!("{point}={turn}");
        let before = (batch.newest(), batch.issued().await);
        key = other(key);
        batch.want(key);
        let run = agent.run_with(&at, &["once", "--wait", "60s"]);
        match run.signal {
            Some(9) => killed += 1,
            // Few points are passed once only.
            _ => drop(run.expect(0)),
        }
        agent.run(&["once", "--wait", "60s"]).expect(0);
        batch.assert_converged(&at);
        let after = batch.newest();
        assert!(
            MEMBERS.iter().all(|name| after[name] != before.0[name]),
            "{at}"
        );
        assert_eq!(
            batch.issued().await,
            before.1 + 3,
            "{at}: one certificate per order"
        );
    }
    let read = stop(readers);
    println!(
        "killed {killed} times; {} matching pairs read meanwhile, {} opens by path straddled a commit, {} others",
        read.pairs,
        read.straddled,
        read.wrong.len()
    );
    assert_eq!(read.wrong, Vec::<String>::new());
    assert!(killed >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_one_of_two_services_or_both_go_back_leaves_them_with_the_old_ones() {
    let batch = Batch::live().await;
    let agent = &batch.world.agent;
    let readers = batch.readers();
    let mut key = "ec-p256";
    for (point, back) in points_back() {
        let old = batch.serves(&batch.world.nginx);
        assert_eq!(batch.serves(&batch.edge), old);
        let issued = batch.issued().await;
        // Its reload says that it went well and does nothing.
        batch.world.write_reload(false);
        batch.write_edge_reload(back == Back::Web);
        key = other(key);
        batch.want(key);
        let killed = agent.run_with(&format!("{point}=return"), &["once", "--wait", "0s"]);
        assert_eq!(killed.signal, Some(9), "{point}: {}", killed.stderr);
        let ended = agent.run(&["once", "--wait", "0s"]);
        assert_ne!(
            ended.code,
            Some(0),
            "{point}: a rollback is no success\n{}",
            ended.stderr
        );
        assert_eq!(batch.serves(&batch.world.nginx), old, "{point}: web");
        let edge = match back {
            Back::Web => batch.newest(),
            Back::Both => old,
        };
        assert_eq!(batch.serves(&batch.edge), edge, "{point}: edge");
        assert_eq!(batch.loose(), edge, "{point}: the files of edge");
        assert_eq!(batch.issued().await, issued + 3, "{point}");
        // A person mends it and asks again.
        batch.world.write_reload(true);
        batch.write_edge_reload(true);
        agent.run(&["renew", "www", "--wait", "60s"]).expect(0);
        batch.assert_converged(&point);
    }
    let read = stop(readers);
    println!(
        "killed at {} boundaries of the way back; {} matching pairs read meanwhile, {} opens by path straddled a commit, {} others",
        points_back().len(),
        read.pairs,
        read.straddled,
        read.wrong.len()
    );
    assert_eq!(read.wrong, Vec::<String>::new());
}
