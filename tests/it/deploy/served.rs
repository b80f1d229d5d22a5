//! A stand with a real nginx that serves what is rolled out.

use std::path::{Path, PathBuf};

use renewd::model::{CertificateId, Probe, Reload, RevisionId, Rollout, RolloutStep, Seconds};

use crate::deploy::stand::{Stand, pem, serial_in};
use crate::support::nginx::{Load, Nginx, Site};

pub(crate) type Revision = (CertificateId, RevisionId);

/// Where nginx finds its certificates.
#[derive(Clone, Copy)]
pub(crate) enum Variant {
    /// Below the link.
    Live,
    /// In files of its own.
    Loose,
}

/// A stand with an nginx that serves `www` (the default) and `shop`.
pub(crate) struct Served {
    pub(crate) stand: Stand,
    pub(crate) nginx: Nginx,
    pub(crate) etc: PathBuf,
    variant: Variant,
}

impl Served {
    /// Nothing runs and nothing is deployed yet.
    pub(crate) fn new(dir: &Path, variant: Variant) -> Self {
        let etc = dir.join("etc");
        let exports = match variant {
            Variant::Live => vec![pem("pem", "fullchain.pem", "key.pem")],
            Variant::Loose => {
                let at = |name: &str| etc.join(name).display().to_string();
                vec![pem(
                    "pem",
                    &at("{certificate}/fullchain.pem"),
                    &at("{certificate}/key.pem"),
                )]
            }
        };
        let mut stand = Stand::new(dir, exports);
        let sites = ["www", "shop"].map(|name| {
            let at = |file: &str| match variant {
                Variant::Live => stand.live_path(&format!("{name}/{file}")),
                Variant::Loose => etc.join(name).join(file),
            };
            let served = match name {
                "www" => vec!["www.test", "127.0.0.1"],
                _ => vec!["shop.test", "*.shop.test"],
            };
            Site::new(&served, &at("fullchain.pem"), &at("key.pem"))
        });
        let nginx = Nginx::prepare(&dir.join("nginx"), &sites);
        stand.target.test = Some(nginx.test());
        stand.target.reload = Some(Reload::Command(nginx.reload()));
        stand.target.probe = Probe::Tls {
            connect: nginx.address().into(),
            deadline: Seconds(10),
            roots: None,
            wildcard_label: "renewd-probe".into(),
            prelude: renewd::model::Prelude::default(),
        };
        Self {
            stand,
            nginx,
            etc,
            variant,
        }
    }

    pub(crate) fn issue(&self) -> [Revision; 2] {
        [
            self.stand.issue("www", &["www.test", "127.0.0.1"]),
            self.stand.issue(
                "shop",
                &[
                    "shop.test",
                    "*.shop.test",
                    "spiffe://test/shop",
                    "ops@shop.test",
                ],
            ),
        ]
    }

    /// With a first set that is live and proven.
    pub(crate) async fn running(dir: &Path, variant: Variant) -> (Self, [Revision; 2]) {
        let mut served = Self::new(dir, variant);
        let set = served.issue();
        let rollout = served.stand.open(&set);
        for step in [RolloutStep::Stage, RolloutStep::Commit] {
            served.stand.step(&rollout, step).await.unwrap();
        }
        served.nginx.start();
        let rollout = served.stand.drive(rollout).await;
        served.stand.live_now(&rollout);
        served.stand.log.clear();
        (served, set)
    }

    pub(crate) async fn roll(&mut self, set: &[Revision]) -> Rollout {
        let rollout = self.stand.open(set);
        self.stand.drive(rollout).await
    }

    pub(crate) fn file(&self, certificate: &str) -> PathBuf {
        match self.variant {
            Variant::Live => self
                .stand
                .live_path(&format!("{certificate}/fullchain.pem")),
            Variant::Loose => self.etc.join(certificate).join("fullchain.pem"),
        }
    }

    /// Serial that is served under a name.
    pub(crate) async fn served(&self, name: &str) -> String {
        use renewd::deploy::probe::{KeyKind, handshake};
        let seen = handshake(
            &self.nginx.address(),
            Some(name),
            KeyKind::Any,
            std::time::Duration::from_secs(10),
        )
        .await
        .unwrap();
        renewd::pki::facts(&seen.presented[0]).unwrap().serial
    }

    /// Waits until this serial is served under a name: workers of before a reload take connections for a moment.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn comes_to_serve(&self, name: &str, serial: &str) {
        for _ in 0..100 {
            if self.served(name).await == serial {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(self.served(name).await, serial, "{name}");
    }

    /// That this set is on disk and is what clients get.
    pub(crate) async fn assert_serves(&self, set: &[Revision; 2]) {
        for (revision, name) in set.iter().zip(["www.test", "shop.test"]) {
            let serial = self.stand.serial(revision);
            assert_eq!(
                serial_in(&self.file(revision.0.as_str())),
                serial,
                "on disk"
            );
            assert_eq!(self.served(name).await, serial, "served for {name}");
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load::start(
            &self.nginx.address(),
            "www.test",
            std::slice::from_ref(&self.stand.ca.root.der),
        )
    }

    pub(crate) fn deadline(&mut self, seconds: i64) {
        if let Probe::Tls { deadline, .. } = &mut self.stand.target.probe {
            *deadline = Seconds(seconds);
        }
    }
}
