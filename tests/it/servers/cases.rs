//! The rows of the table in `servers.rs`: the same cases for whichever server stands there, each under load, with the
//! requests of its clients counted and the server alive at its end.
#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::path::{Path, PathBuf};

use renewd::model::{
    CertificateId, ErrorClass, KeyAlgorithm, Name, Reload, Rollout, RolloutStep, Seconds,
};

use super::{NAME, Revision, Served, argv, no_request_failed, write_foreign};
use crate::deploy::stand::validity;

/// How a server is led astray behind renewd's back.
pub(super) struct Ways {
    /// Its own configuration.
    pub(super) conf: PathBuf,
    /// What it does not understand at the end of that, and a part of what its test says about it, if it says anything.
    pub(super) broken: (&'static str, Option<&'static str>),
    /// Shell commands: has it read the files in [`foreign`] from now on, and its own again; and tells it.
    pub(super) to_foreign: String,
    pub(super) to_own: String,
    pub(super) tell: String,
}

/// Where somebody else's certificate lies.
pub(super) fn foreign(dir: &Path) -> PathBuf {
    dir.join("foreign")
}

impl Ways {
    /// Of a server that reads its configuration anew when it is told.
    pub(super) fn by_configuration(
        served: &Served,
        conf: &Path,
        broken: (&'static str, &'static str),
        tell: &str,
    ) -> Self {
        let dir = &served.stand.dir;
        let live = served.stand.live_path("www").display().to_string();
        let good = fs::read_to_string(conf).unwrap();
        let bad = good.replace(&live, &foreign(dir).display().to_string());
        assert_ne!(bad, good);
        let copy = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).unwrap();
            format!("cp {} {}", path.display(), conf.display())
        };
        Self {
            conf: conf.to_owned(),
            broken: (broken.0, Some(broken.1)),
            to_foreign: copy("foreign.conf", &bad),
            to_own: copy("own.conf", &good),
            tell: tell.to_owned(),
        }
    }
}

impl Served {
    /// All rows, from a server that serves `old`; answers what it serves at the end.
    pub(super) async fn withstands_everything(&mut self, ways: &Ways, old: Revision) -> Revision {
        let mut new = old;
        self.case("success", async |it| new = it.renews().await)
            .await;
        let old = new.clone();
        self.case("broken server configuration", async |it| {
            new = it.meets_a_broken_configuration(ways, &old).await;
        })
        .await;
        let old = new.clone();
        self.case("mismatched pair", async |it| {
            it.refuses_another_key(&old).await;
        })
        .await;
        self.case("wrong names", async |it| it.refuses_other_names(&old).await)
            .await;
        self.case("reload that hangs", async |it| {
            it.survives_a_reload_that_hangs(&old).await;
        })
        .await;
        self.case("reload without effect", async |it| {
            it.survives_a_reload_without_effect(&old).await;
        })
        .await;
        self.case("foreign certificate, undo", async |it| {
            it.finds_a_foreign_certificate(ways, &old).await;
        })
        .await;
        self.waits_while_it_is_down(&mut new).await;
        let proven = new.clone();
        self.case("success after it was down", async |it| {
            it.assert_serves(it.port, &proven).await;
            new = it.renews().await;
        })
        .await;
        new
    }

    /// Under load, of which nothing may fail.
    #[expect(clippy::print_stdout, reason = "what was counted is for people")]
    async fn case(&mut self, name: &str, run: impl AsyncFnOnce(&mut Self)) {
        self.stand.log.clear();
        let load = self.load();
        run(self).await;
        let kind = self.stand.target.kind;
        let requests = no_request_failed(load);
        println!("{kind:?}: {name}: {requests} requests, 0 failed");
        assert!(
            self.server.runs(),
            "{kind:?} is not alive at the end of: {name}"
        );
    }

    async fn renews(&mut self) -> Revision {
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.ended(&rollout, "live");
        for port in self.tls_ports.clone() {
            self.assert_serves(port, &new).await;
        }
        new
    }

    /// Found by the test, all is undone. Where neither test nor reload read it, it hinders nobody. Answers what is served.
    async fn meets_a_broken_configuration(&mut self, ways: &Ways, old: &Revision) -> Revision {
        let good = fs::read_to_string(&ways.conf).unwrap();
        let (broken, says) = ways.broken;
        fs::write(&ways.conf, format!("{good}{broken}\n")).unwrap();
        let Some(says) = says else {
            let new = self.renews().await;
            fs::write(&ways.conf, good).unwrap();
            return new;
        };
        let new = self.issue();
        let rollout = self.roll(&new).await;
        fs::write(&ways.conf, good).unwrap();
        self.ended(&rollout, "rolled-back");
        assert!(!self.stand.steps().contains(&"reload"));
        let error = self.stand.error(RolloutStep::Test);
        assert!(error.output.contains(says), "{error:?}");
        self.assert_serves(self.port, old).await;
        old.clone()
    }

    /// A key of another certificate never gets to the server: Apache would end at it, Tomcat serve nothing any more.
    async fn refuses_another_key(&mut self, old: &Revision) {
        let new = self.issue();
        let key = |(certificate, id): &Revision| {
            let path = format!("state/revisions/{certificate}/{id}/key.pem");
            self.stand.dir.join(path)
        };
        fs::copy(key(old), key(&new)).unwrap();
        let rollout = self.roll(&new).await;
        self.is_refused(&rollout, "key", old).await;
    }

    /// Neither does a certificate for other names than the policy's.
    async fn refuses_other_names(&mut self, old: &Revision) {
        let names = std::iter::once(Name::parse(NAME).unwrap()).collect();
        let id = CertificateId::new("www").unwrap();
        let before = self.stand.deployer.clone();
        self.stand.deployer = before.clone().asking_for([(id, names)].into());
        let other = self.stand.issue("www", &["other.test"]);
        let rollout = self.roll(&other).await;
        self.stand.deployer = before;
        let says = "is for other.test, the policy wants www.test";
        self.is_refused(&rollout, says, old).await;
    }

    async fn is_refused(&self, rollout: &Rollout, says: &str, old: &Revision) {
        self.ended(rollout, "abandoned");
        assert_eq!(self.stand.steps(), ["stage"]);
        let error = self.stand.error(RolloutStep::Stage);
        assert_eq!(error.class, ErrorClass::Rejected, "{}", error.message);
        assert!(error.message.contains(says), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    /// A reload that hangs is killed, and the set before it comes back.
    async fn survives_a_reload_that_hangs(&mut self, old: &Revision) {
        let once = self.stand.dir.join("hung-once").display().to_string();
        // On the way back nobody needs telling: it never was told of the new set.
        let script = format!("test -e {once} || {{ touch {once}; sleep 600; }}");
        let reload = Reload::Command(argv(&["/bin/sh", "-c", &script]));
        let reload = self.stand.target.reload.replace(reload);
        let patience = std::mem::replace(&mut self.stand.target.command_timeout, Seconds(5));
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.stand.target.reload = reload;
        self.stand.target.command_timeout = patience;
        self.ended(&rollout, "rolled-back");
        let error = self.stand.error(RolloutStep::Reload);
        assert!(error.message.contains("was killed"), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    /// It says that it worked and does nothing.
    async fn survives_a_reload_without_effect(&mut self, old: &Revision) {
        let nothing = Reload::Command(argv(&["/bin/true"]));
        let reload = self.stand.target.reload.replace(nothing);
        let probe = self.stand.target.probe.clone();
        self.deadline(1);
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.stand.target.reload = reload;
        self.stand.target.probe = probe;
        self.ended(&rollout, "rolled-back");
        let error = self.stand.error(RolloutStep::Verify);
        let serial = self.stand.serial(old);
        assert!(error.message.contains(&serial), "{}", error.message);
        self.assert_serves(self.port, old).await;
    }

    /// What is served after the reload is neither the new nor the old one, but somebody else's for the same name, until
    /// the server is told on the way back.
    async fn finds_a_foreign_certificate(&mut self, ways: &Ways, old: &Revision) {
        let dir = self.stand.dir.clone();
        let material = self
            .stand
            .material(&[NAME], KeyAlgorithm::EcP256, validity());
        write_foreign(&foreign(&dir), &material);
        let once = dir.join("foreign-once");
        fs::write(&once, "").unwrap();
        let script = format!(
            "if rm {} 2>/dev/null; then {}; else {}; fi; {}",
            once.display(),
            ways.to_foreign,
            ways.to_own,
            ways.tell
        );
        let reload = Reload::Command(argv(&["/bin/sh", "-c", &script]));
        let before = self.stand.target.reload.replace(reload);
        let probe = self.stand.target.probe.clone();
        self.deadline(3);
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.stand.target.reload = before;
        self.stand.target.probe = probe;
        self.ended(&rollout, "rolled-back");
        let error = self.stand.error(RolloutStep::Verify);
        let serial = renewd::pki::facts(&material.leaf).unwrap().serial;
        assert!(error.message.contains(&serial), "{}", error.message);
        for port in self.tls_ports.clone() {
            self.assert_serves(port, old).await;
        }
    }

    /// Nobody starts it, the rollout waits, and is proven once it comes up.
    async fn waits_while_it_is_down(&mut self, live: &mut Revision) {
        self.stand.log.clear();
        self.server.stop();
        let new = self.issue();
        let rollout = self.roll(&new).await;
        self.ended(&rollout, "awaiting-service");
        let error = self.stand.error(RolloutStep::Reload);
        assert!(
            !error.service_runs && error.message.contains("does not run"),
            "{error:?}"
        );
        assert!(!self.server.runs());
        assert!(std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err());
        self.start();
        for step in [RolloutStep::Test, RolloutStep::Reload, RolloutStep::Verify] {
            self.stand.step(&rollout, step).await.unwrap();
        }
        for port in self.tls_ports.clone() {
            self.assert_serves(port, &new).await;
        }
        self.stand.live.clone_from(&rollout.revisions);
        self.stand.generation = Some(rollout.generation);
        *live = new;
    }
}
