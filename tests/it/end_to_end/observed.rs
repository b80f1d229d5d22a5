//! Another server that a policy observes shows something else: it is told, and nothing is undone or kept back.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use renewd::model::Seconds;
use serde_json::{Value, json};

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy};
use crate::support::nginx::{Nginx, Site};
use crate::support::world::{NAME, served};

/// A second nginx, on "another host", whose certificate is brought by somebody else.
struct Elsewhere {
    nginx: Nginx,
    files: PathBuf,
}

impl Elsewhere {
    /// Serves what is live now.
    fn new(rig: &Rig) -> Self {
        let base = rig.world.agent.path().join("elsewhere");
        let files = base.join("tls");
        let site = Site::new(
            &[NAME],
            &files.join("server.crt"),
            &files.join("server.key"),
        );
        let nginx = Nginx::prepare(&base.join("nginx"), &[site]);
        let mut elsewhere = Self { nginx, files };
        elsewhere.bring(&rig.world.agent.live("web"));
        elsewhere.nginx.start();
        elsewhere
    }

    fn bring(&self, live: &Path) {
        std::fs::create_dir_all(&self.files).unwrap();
        for file in ["server.crt", "server.key"] {
            std::fs::copy(live.join("www").join(file), self.files.join(file)).unwrap();
        }
    }

    fn reload(&self) {
        let argv = self.nginx.reload();
        let mut command = Command::new(&argv[0]);
        let told = command.args(&argv[1..]).stderr(Stdio::null()).status();
        assert!(told.unwrap().success());
    }
}

/// The target and the certificate's place on it, as scripts see them.
fn shown(rig: &Rig) -> (Value, Value) {
    let agent = &rig.world.agent;
    let list = agent.run(&["target", "list", "--json"]).expect(0).json();
    (list[0].clone(), agent.status("www")["targets"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_elsewhere_is_told_and_neither_undone_nor_waited_for() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let mut elsewhere = Elsewhere::new(&rig);
    let address = elsewhere.nginx.address();
    let policy = rig.world.policy();
    let connect = format!("connect = \"{}\"", rig.world.nginx.address());
    let observe = format!("{connect}\nobserve = [\"names\", \"{address}\"]");
    rig.world
        .agent
        .write_policy(&policy.replace(&connect, &observe));

    // It is no change of the target: nobody is told of it, and the address serves what is live.
    let reloads = rig.world.reloads();
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    let words =
        "ok web: observed elsewhere: 2 places, 0 with another certificate, 1 without an answer";
    assert_eq!(told, [words]);
    assert_eq!(rig.world.reloads(), reloads);
    let (target, place) = shown(&rig);
    assert_eq!(target["observe"], json!(["names", address]));
    let places = target["observed"]["places"].as_array().unwrap();
    let codes: Vec<&Value> = places.iter().map(|place| &place["code"]).collect();
    assert_eq!(codes, ["observed-same", "observed-silent"], "{target}");
    assert_eq!(place["observed"], "observed-silent");

    // A renewal here, and the other host keeps the old one: the rollout is live, and so is the verdict.
    let old = rig.world.served();
    rig.force("www").await;
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:?}", rig.told());
    let new = rig.world.served();
    assert_ne!(new, old);
    assert_eq!(served(&address, NAME), old);
    assert_eq!(rig.world.reloads(), reloads + 1, "nothing went back");
    let (target, place) = shown(&rig);
    assert_eq!(target["state"], "live", "{target}");
    assert_eq!(target["observed"]["code"], "observed-differs", "{target}");
    assert_eq!(place["observed"], "observed-differs", "{place}");
    assert_eq!(place["state"], "live", "{place}");
    let text = rig.world.agent.run(&["target", "list"]).expect(0).stdout;
    assert!(
        text.contains(&format!("{address} serves serial {old}")),
        "{text}"
    );
    let text = rig.world.agent.run(&["status"]).expect(0).stdout;
    assert!(text.contains("another certificate elsewhere"), "{text}");
    // Others take their time: it is looked at once more before a person hears of it.
    let told = rig.told();
    assert!(
        !told.iter().any(|line| line.starts_with("alert")),
        "{told:#?}"
    );
    let wait = rig.clock_now().until(plan.next_wake);
    assert!(wait <= Seconds::hours(1), "{wait}");

    rig.wake(&plan);
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    let alert = format!("alert warning: web: another address {address} serves serial {old}");
    assert!(
        told.iter().any(|line| line.starts_with(&alert)),
        "{told:#?}"
    );
    assert_eq!(
        (rig.world.served(), rig.world.reloads()),
        (new.clone(), reloads + 1)
    );
    rig.clock.advance(Seconds::hours(6));
    assert!(healthy(&rig.tick().await));
    assert_eq!(rig.told(), Vec::<String>::new(), "told once");

    // Once it is brought there the alert is over by itself.
    elsewhere.bring(&rig.world.agent.live("web"));
    elsewhere.reload();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while served(&address, NAME) != new {
        assert!(std::time::Instant::now() < end, "nginx does not reload");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    rig.clock.advance(Seconds::hours(6));
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    assert!(
        told.iter().any(|line| line.starts_with("resolved: web")),
        "{told:#?}"
    );
    // The binary has a clock of its own, by which the certificate is not valid yet; what it observes is the same.
    let said = rig.world.agent.run(&["target", "test", "web"]).stdout;
    assert!(said.contains("resolves to nothing"), "{said}");

    // Whoever does not answer is nobody's drift.
    elsewhere.nginx.stop();
    rig.clock.advance(Seconds::hours(6));
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    let words =
        "ok web: observed elsewhere: 2 places, 0 with another certificate, 2 without an answer";
    assert_eq!(told, [words]);

    // Without the key there is nothing to say.
    rig.world.agent.write_policy(&policy);
    assert!(healthy(&rig.tick().await));
    let (target, place) = shown(&rig);
    assert_eq!(
        (&target["observed"], &place["observed"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(rig.told(), Vec::<String>::new());
}
