//! Three certificates on one nginx, and one of them is bad: whoever finds it, the other two are served within the same
//! run, the bad one stays as it was and is told of, and no client notices.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use renewd::model::Waiting;
use renewd::pki::pem;
use renewd::plan::{Plan, Verdict};
use renewd::sys::clock::{Clock, ManualClock};

use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{Rig, healthy, id};
use crate::support::nginx::{Load, Nginx, Site};
use crate::support::tmpfs::Tmpfs;
use crate::support::world::served;

const MEMBERS: [&str; 3] = ["api", "shop", "www"];
/// The one that will be bad.
const BAD: &str = "shop";

fn host(name: &str) -> String {
    format!("{name}.example.test")
}

/// What is special about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    /// It has the house rule, which its configuration test, run elsewhere, does not know.
    Strict,
    /// Each certificate has a directory of its own outside of the state directory.
    Loose,
}

struct Three {
    rig: Rig,
    how: How,
    roots: Vec<Vec<u8>>,
    /// Where the bad one's issuer may be.
    other: Ccm,
    before: Vec<String>,
}

impl Three {
    /// All three are served.
    async fn live() -> Self {
        Self::live_where(How::Plain).await
    }

    async fn live_where(how: How) -> Self {
        let mut rig = Rig::new(Wanted::new().at("2027-04-01")).await;
        let other = Wanted::new().clock(Arc::clone(&rig.clock)).start().await;
        let root = rig.world.ccm.root_pem().await;
        std::fs::write(rig.world.agent.path().join("roots.pem"), &root).unwrap();
        for (file, secret) in [("ak2", other.access_key()), ("sk2", other.secret_key())] {
            crate::support::agent::write_secret(&rig.world.agent.path().join(file), secret);
        }
        let prefix = rig.world.agent.path().join("nginx");
        rig.world.nginx = Nginx::prepare(&prefix, &sites(&rig, how, None));
        rig.world.nginx.tell_all();
        rig.world.write_reload(true);
        let mut three = Self {
            roots: vec![pem::certificates(&root).unwrap().remove(0)],
            rig,
            how,
            other,
            before: Vec::new(),
        };
        three.write_test(&three.rig.world.nginx.test().join(" "));
        three.write_policy("ec-p256", "corp");
        three.rig.tick().await;
        if how == How::Strict {
            let rule = three.write_rule();
            three.rig.world.nginx.start_with(&[("OPENSSL_CONF", &rule)]);
        } else {
            three.rig.world.nginx.start();
        }
        three.rig.clock.advance(renewd::model::Seconds::minutes(2));
        let plan = three.rig.tick().await;
        assert!(healthy(&plan), "{:#?}", three.rig.told());
        three.before = three.serials();
        three
    }

    /// With this key and issuer of the bad one.
    fn write_policy(&self, key: &str, issuer: &str) {
        let world = &self.rig.world;
        let mut text = world.issuer();
        text.push_str(&format!(
            r#"
[issuer.pca.other]
endpoint = "{}"
ca = "{}"
access_key = "file:{{dir}}/ak2"
secret_key = "file:{{dir}}/sk2"
"#,
            self.other.endpoint(),
            self.other.issuing()
        ));
        for name in MEMBERS {
            let (issuer, key) = match name {
                BAD => (issuer, key),
                _ => ("corp", "ec-p256"),
            };
            text.push_str(&format!(
                r#"
[certificate.{name}]
issuer = "{issuer}"
names = ["{}"]
key_algorithm = "{key}"
targets = ["web"]
validity = "30d"
"#,
                host(name)
            ));
        }
        text.push_str(&format!(
            r#"
[target.nginx.web]
test = ["{{dir}}/test"]
reload = ["{{dir}}/reload"]
connect = "{}"
deadline = "3s"
roots = "{{dir}}/roots.pem"

{}"#,
            world.nginx.address(),
            match self.how {
                How::Plain | How::Strict =>
                    "[target.nginx.web.export.layout.site]\nlayout = \"nginx\"\n",
                How::Loose =>
                    "[target.nginx.web.export.pem.site]
fullchain = \"{dir}/etc/{certificate}/server.crt\"
key = \"{dir}/etc/{certificate}/server.key\"
",
            }
        ));
        world.agent.write_policy(&text);
    }

    fn serials(&self) -> Vec<String> {
        let address = self.rig.world.nginx.address();
        MEMBERS.map(|name| served(&address, &host(name))).into()
    }

    /// Renews all under load; the good ones are served, the bad one is as it was. Answers how often nginx read its
    /// configuration meanwhile, and what was told.
    async fn renew(&self) -> (usize, Vec<String>) {
        let rig = &self.rig;
        let before = rig.world.nginx.reconfigured();
        for name in MEMBERS {
            rig.force(name).await;
        }
        rig.told();
        let hosts = MEMBERS.map(host);
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&rig.clock);
        let load = Load::in_turn(&rig.world.nginx.address(), &hosts, &self.roots, clock);
        let plan = rig.tick().await;
        let got = load.stop();
        let told = rig.told();
        assert_eq!(got.failed, Vec::<String>::new(), "{told:#?}");
        assert!(got.good > 10);
        self.assert_bad_alone(&plan, &told);
        (rig.world.nginx.reconfigured() - before, told)
    }

    #[track_caller]
    fn assert_bad_alone(&self, plan: &Plan, told: &[String]) {
        let now = self.serials();
        for (at, name) in MEMBERS.into_iter().enumerate() {
            let verdict = &plan.verdicts[&id(name)];
            if name == BAD {
                assert_eq!(now[at], self.before[at], "{told:#?}");
                let waits = matches!(verdict, Verdict::Wait(Waiting::Backoff { .. }));
                assert!(waits, "{verdict:?}");
            } else {
                assert_ne!(now[at], self.before[at], "{name}: {told:#?}");
                assert!(matches!(verdict, Verdict::Healthy { .. }), "{verdict:?}");
            }
        }
        let alerts: Vec<&String> = told
            .iter()
            .filter(|line| line.contains("set aside, so that the others go without it"))
            .collect();
        assert_eq!(alerts.len(), 1, "{told:#?}");
        assert!(alerts[0].contains("shop on web"), "{alerts:?}");
    }

    /// A house rule by OpenSSL's own means: keys of 112 bits of strength are refused, which RSA-2048 has.
    fn write_rule(&self) -> PathBuf {
        let rule = self.rig.world.agent.path().join("openssl.cnf");
        let text = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCipherString = DEFAULT@SECLEVEL=3\n";
        std::fs::write(&rule, text).unwrap();
        rule
    }

    /// What the configuration test does.
    fn write_test(&self, body: &str) {
        let path = self.rig.world.agent.path().join("test");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The bad one may have a pair of its own elsewhere.
fn sites(rig: &Rig, how: How, elsewhere: Option<&PathBuf>) -> Vec<Site> {
    let live = match how {
        How::Plain | How::Strict => rig.world.agent.live("web"),
        How::Loose => rig.world.agent.path().join("etc"),
    };
    let site = |name: &str| {
        let place = match elsewhere {
            Some(place) if name == BAD => place.clone(),
            Some(_) | None => live.join(name),
        };
        Site::new(
            &[&host(name)],
            &place.join("server.crt"),
            &place.join("server.key"),
        )
    };
    MEMBERS.map(site).into()
}

fn opened(told: &[String]) -> usize {
    let lines = told.iter();
    lines
        .filter(|line| line.starts_with("ok web: rollout opened"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_before_the_commit_names_it() {
    let three = Three::live().await;
    // By a CA that the clients of this service do not know.
    three.write_policy("ec-p256", "other");
    let (reloads, told) = three.renew().await;
    assert_eq!((reloads, opened(&told)), (1, 2), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_the_test_names_it() {
    let three = Three::live().await;
    let rule = three.write_rule();
    let nginx = three.rig.world.nginx.test().join(" ");
    three.write_test(&format!("OPENSSL_CONF={} exec {nginx}", rule.display()));
    three.write_policy("rsa-2048", "corp");
    let (reloads, told) = three.renew().await;
    assert!(
        told.iter().any(|line| line.contains("key too small")),
        "{told:#?}"
    );
    // Back to the old set, and to the new one of the good ones.
    assert_eq!((reloads, opened(&told)), (2, 2), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_names_it() {
    let three = Three::live().await;
    let world = &three.rig.world;
    // Somebody pinned its present pair by hand, and nginx serves that from now on.
    let pinned = world.agent.path().join("pinned");
    std::fs::create_dir(&pinned).unwrap();
    for file in ["server.crt", "server.key"] {
        std::fs::copy(
            world.agent.live("web").join(BAD).join(file),
            pinned.join(file),
        )
        .unwrap();
    }
    world
        .nginx
        .reconfigure(&sites(&three.rig, three.how, Some(&pinned)));
    let (reloads, told) = three.renew().await;
    // There, back, and there again without it.
    assert_eq!((reloads, opened(&told)), (3, 2), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_names_it() {
    let three = Three::live().await;
    let world = &three.rig.world;
    let live = world.agent.live("web");
    let nginx = world.nginx.test().join(" ");
    three.write_test(&format!(
        "{nginx} || exit 1
for file in {}/*/server.crt; do
  if openssl x509 -in $file -noout -text | grep -q rsaEncryption; then
    echo 'error: no RSA here' >&2
    exit 1
  fi
done",
        live.display()
    ));
    three.write_policy("rsa-2048", "corp");
    let (reloads, told) = three.renew().await;
    // All, two of them, the good one, the bad one, the third.
    assert_eq!((reloads, opened(&told)), (5, 5), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_named_for_it() {
    let three = Three::live_where(How::Strict).await;
    three.write_policy("rsa-2048", "corp");
    let (reloads, told) = three.renew().await;
    // nginx keeps all that it had when it cannot load one of them, so each probe sees an old one.
    let refused = told
        .iter()
        .filter(|line| line.starts_with("fail web: verify failed"));
    assert_eq!(refused.count(), 3, "{told:#?}");
    // All, two of them, and the bad one, each there and back; the third and the good one of the two, there.
    assert_eq!((reloads, opened(&told)), (8, 5), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_below_its_own_directory_names_it() {
    let three = Three::live_where(How::Loose).await;
    let place = three.rig.world.agent.path().join("etc").join(BAD);
    let files = ["server.crt", "server.key"].map(|file| {
        let bytes = std::fs::read(place.join(file)).unwrap();
        (place.join(file), bytes)
    });
    // The same files on a disk that is read-only from now on, with the attributes that they had.
    let disk = Tmpfs::mount(&place, "256k");
    for (path, bytes) in &files {
        std::fs::write(path, bytes).unwrap();
        let mode = if path.extension().unwrap() == "key" {
            0o600
        } else {
            0o644
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    disk.remount("ro");
    let (reloads, told) = three.renew().await;
    assert_eq!((reloads, opened(&told)), (1, 2), "{told:#?}");
    let why = told
        .iter()
        .find(|line| line.contains("set aside"))
        .unwrap_or_else(|| panic!("{told:#?}"));
    assert!(
        why.contains("etc/shop") && why.contains("read-only"),
        "{why}"
    );

    // Nobody is kept back while it stays so, and it goes in once the disk can be written.
    for name in ["api", "www"] {
        three.rig.force(name).await;
    }
    three.rig.tick().await;
    disk.remount("rw");
    three.rig.settle().await;
    let now = three.serials();
    assert!((0..3).all(|at| now[at] != three.before[at]), "{now:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_service_has_given_up_keeps_nobody_else_away() {
    let three = Three::live().await;
    let rig = &three.rig;
    // One site is taken out of nginx, which refuses what it does not know; the policy still has it.
    let mut left = sites(rig, three.how, None);
    left.retain(|site| !site.names.contains(&host(BAD)));
    left.insert(0, Site::refusing());
    rig.world.nginx.reconfigure(&left);
    rig.world.nginx.tell();
    let address = rig.world.nginx.address();
    let good = || ["api", "www"].map(|name| served(&address, &host(name)));
    let before = good();
    for name in ["api", "www"] {
        rig.force(name).await;
    }
    rig.told();
    let plan = rig.tick().await;
    let told = rig.told();
    let now = good();
    assert!((0..2).all(|at| now[at] != before[at]), "{told:#?}");
    for name in ["api", "www"] {
        let verdict = &plan.verdicts[&id(name)];
        assert!(matches!(verdict, Verdict::Healthy { .. }), "{verdict:?}");
    }
    // There, back, and there again without asking for it.
    assert_eq!(opened(&told), 2, "{told:#?}");
    assert!(
        told.iter().all(|line| !line.contains("set aside")),
        "{told:#?}"
    );
    let alert = told
        .iter()
        .find(|line| line.starts_with("alert ") && line.contains("shop.example.test"));
    assert!(alert.is_some(), "{told:#?}");

    // A check sees that it is still so, and the next renewal goes there at once.
    let engine = rig.engine().await;
    let mut snapshot = engine.observe().await.unwrap();
    engine.observe_services(&mut snapshot).await.unwrap();
    let wire = snapshot.targets["web"].wire.clone().unwrap();
    assert_eq!(wire.differences.len(), 1, "{wire:?}");
    assert_eq!(wire.differences[0].certificate, Some(id(BAD)));
    rig.force("www").await;
    rig.told();
    rig.tick().await;
    let told = rig.told();
    assert_eq!(opened(&told), 1, "{told:#?}");
    assert_ne!(good()[1], now[1], "{told:#?}");
}
