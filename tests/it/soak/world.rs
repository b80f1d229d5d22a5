//! The world of the year: an issuer behind a door that can be shut, targets whose reloads and hooks can be made to fail,
//! and a calendar of troubles drawn from a seed.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and programs directly"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use renewd::ccm_server::Faults;
use renewd::engine::Engine;
use renewd::model::{Seconds, Snapshot, Timestamp};
use renewd::store::{SqliteStore, Store};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::ccm::Wanted;
use crate::support::engine::Rig;
use crate::support::tmpfs::Tmpfs;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Certificates of 47 days.
    pub(super) long: usize,
    /// Certificates of 6 days.
    pub(super) short: usize,
    /// Targets, each with its share of the certificates.
    pub(super) targets: usize,
    pub(super) days: u16,
    /// From one trouble to the next.
    pub(super) every: Seconds,
}

/// splitmix64: the same numbers for the same seed, everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn length(&mut self, least: Seconds, most: Seconds) -> Seconds {
        let spread = u64::try_from(most.0 - least.0 + 1).unwrap();
        Seconds(least.0 + i64::try_from(self.below(spread)).unwrap())
    }
}

/// What befalls the world at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Nobody answers any more.
    IssuerGone,
    IssuerBack,
    /// Services refuse whatever is new.
    ReloadsFail,
    ReloadsWork,
    HooksFail,
    HooksWork,
    /// The machine is suspended.
    Asleep {
        length: Seconds,
    },
    /// Somebody sets the clock back.
    SetBack {
        by: Seconds,
    },
    /// The process ends as it should, and begins again.
    Restart,
    /// The policy is read again.
    Reload,
}

impl Trouble {
    /// One trouble in each span, over before the next one begins.
    pub(super) fn calendar(
        scale: Scale,
        begin: Timestamp,
        random: &mut Random,
    ) -> Vec<(Timestamp, Self)> {
        let mut all = Vec::new();
        let spans = i64::from(scale.days) * Seconds::days(1).0 / scale.every.0;
        // All were obtained by then, and the last span is left to find an end.
        for span in 1..spans - 1 {
            let at = begin
                + Seconds(span * scale.every.0)
                + random.length(Seconds(0), Seconds::hours(12));
            let until = at + random.length(Seconds::hours(1), Seconds::hours(18));
            // Each kind in turn, so that a few weeks have all of them; when and for how long is drawn.
            match span % 7 {
                1 => all.extend([(at, Self::IssuerGone), (until, Self::IssuerBack)]),
                2 => {
                    // After five rollbacks of one set, some four hours later, a target waits for a person.
                    let until = at + random.length(Seconds::minutes(10), Seconds::hours(3));
                    all.extend([(at, Self::ReloadsFail), (until, Self::ReloadsWork)]);
                }
                3 => all.push((
                    at,
                    Self::Asleep {
                        length: at.until(until),
                    },
                )),
                4 => all.extend([(at, Self::HooksFail), (until, Self::HooksWork)]),
                5 => {
                    let by = random.length(Seconds::minutes(2), Seconds::hours(2));
                    all.push((at, Self::SetBack { by }));
                }
                6 => all.push((at, Self::Reload)),
                _ => all.push((at, Self::Restart)),
            }
        }
        all.sort();
        all
    }
}

/// The world.
pub(super) struct Year {
    // Unmounted before the directories that they are in are removed.
    _state: Tmpfs,
    pub(super) rig: Rig,
    _ccm: Tmpfs,
    _place: tempfile::TempDir,
    door: watch::Sender<bool>,
}

impl Year {
    /// Nothing was issued.
    pub(super) async fn begin(scale: Scale, seed: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let ccm = Tmpfs::mount(&place.path().join("ccm"), "2g");
        // Waits that the issuer asks for are the planner's: none is spent in real time.
        let faults = Faults {
            seed,
            polls_until_issued: 1,
            rate_limited: 2,
            retry_after: 30,
            server_error: 2,
            lost_request: 2,
            lost_response: 2,
            extra_fields: true,
            ..Faults::none()
        };
        // The root of a tmpfs is open to everybody, and neither program wants its state there.
        let wanted = Wanted::new().at("2027-04-01").state(&ccm.0.join("state"));
        let rig = Rig::new(wanted.faults(faults)).await;
        let state = Tmpfs::mount(&rig.world.agent.state(), "2g");
        std::fs::set_permissions(&state.0, PermissionsExt::from_mode(0o711)).unwrap();
        let (door, shown) = watch::channel(true);
        let address = open_door(rig.world.ccm.running.address(), shown).await;
        let year = Self {
            _state: state,
            rig,
            _ccm: ccm,
            _place: place,
            door,
        };
        year.write_programs();
        year.write_policy(scale, address);
        year
    }

    pub(super) fn now(&self) -> Timestamp {
        self.rig.clock_now()
    }

    /// As after a start of the process.
    pub(super) async fn engine(&self) -> Arc<Engine> {
        Arc::new((self.rig.doubting())(self.rig.policy()).await)
    }

    /// What the journal knows now.
    pub(super) async fn known(&self) -> Option<Snapshot> {
        let journal = self.rig.world.agent.state().join("state.db");
        let store = SqliteStore::open_read_only(&journal).await.unwrap()?;
        let snapshot = store.snapshot().await.unwrap();
        store.close().await.unwrap();
        Some(snapshot)
    }

    pub(super) fn pass_until(&self, moment: Timestamp) {
        self.rig.clock.set(moment.max(self.now() + Seconds(1)));
    }

    pub(super) fn set_back(&self, by: Seconds) {
        self.rig.clock.jump(Seconds(-by.0));
    }

    /// Shuts and opens the door; breaks and mends the programs.
    pub(super) fn happens(&self, trouble: &Trouble) {
        let mark = |name: &str, there: bool| {
            let path = self.path().join(name);
            if there {
                std::fs::write(path, "").unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        };
        match trouble {
            Trouble::IssuerGone => self.door.send_replace(false),
            Trouble::IssuerBack => self.door.send_replace(true),
            Trouble::ReloadsFail => {
                mark("no-reload", true);
                true
            }
            Trouble::ReloadsWork => {
                mark("no-reload", false);
                true
            }
            Trouble::HooksFail => {
                mark("no-hook", true);
                true
            }
            Trouble::HooksWork => {
                mark("no-hook", false);
                true
            }
            other @ (Trouble::Asleep { .. }
            | Trouble::SetBack { .. }
            | Trouble::Restart
            | Trouble::Reload) => {
                unreachable!("{other:?} is not of the world")
            }
        };
    }

    pub(super) fn path(&self) -> &Path {
        self.rig.world.agent.path()
    }

    /// Mails that tell of something, and digests.
    pub(super) fn mails(&self) -> (u64, u64) {
        let sent = std::fs::read(self.path().join("mails")).unwrap_or_default();
        let count = |kind| sent.iter().filter(|byte| **byte == kind).count();
        let [mails, digests] = [b'.', b'd'].map(|kind| u64::try_from(count(kind)).unwrap());
        (mails, digests)
    }

    /// Where a certificate lies.
    pub(super) fn live(&self, target: &str, certificate: &str) -> PathBuf {
        let live = self.rig.world.agent.live(target);
        live.join(certificate).join("fullchain.pem")
    }

    fn write_programs(&self) {
        let dir = self.path().display();
        for (name, body) in [
            // The service refuses what is new, and goes on with what it has. Where the way back fails as well, a target
            // waits for a person, which is no matter of time.
            (
                "reload-it",
                format!(
                    "cd '{dir}'; now=$(readlink \"state/targets/$1/live\")\n\
                     if test -e no-reload && test \"$now\" != \"$(cat \"good-$1\")\"; then exit 1; fi\n\
                     echo \"$now\" >\"good-$1\""
                ),
            ),
            ("hook", format!("test ! -e '{dir}/no-hook'")),
            // A byte for each, by which digests are told from the rest.
            (
                "sendmail",
                format!(
                    "if grep -qi '^subject:.* digest: '; then cat >/dev/null; printf d >>'{dir}/mails'; else printf . >>'{dir}/mails'; fi"
                ),
            ),
        ] {
            let path = self.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn write_policy(&self, scale: Scale, door: SocketAddr) {
        let issuer = self.rig.world.ccm.issuer("30s");
        let endpoint = self.rig.world.ccm.endpoint();
        let mut text = issuer.replace(&endpoint, &format!("http://{door}"));
        // What an account is asked in a second of real time is no matter of the year.
        text.push_str(
            "requests_per_second = 1000\n\n[alert.email.ops]\nsendmail = \"{dir}/sendmail\"\nfrom = \"renewd@web1.example.test\"\nto = [\"ops@example.test\"]\n\n[job.digest]\nschedule = \"0 7 * * *\"\n",
        );
        for at in 0..scale.targets {
            let _ = write!(
                text,
                r#"
[target.command.t{at:02}]
reload = ["{{dir}}/reload-it", "t{at:02}"]
probe = "none"
[target.command.t{at:02}.hooks]
post = ["{{dir}}/hook"]
[target.command.t{at:02}.export.pem.all]
fullchain = "fullchain.pem"
key = "key.pem"
"#
            );
        }
        for at in 0..scale.long + scale.short {
            let (name, days) = name(scale, at);
            let _ = write!(
                text,
                r#"
[certificate.{name}]
issuer = "corp"
names = ["{name}.example.test"]
validity = "{days}d"
targets = ["t{:02}"]
"#,
                at % scale.targets
            );
        }
        self.rig.world.agent.write_policy(&text);
    }
}

/// Name and days of the certificate with this number.
pub(super) fn name(scale: Scale, at: usize) -> (String, u16) {
    if at < scale.long {
        (format!("l{at:04}"), 47)
    } else {
        (format!("s{:04}", at - scale.long), 6)
    }
}

/// Passes connections on while it is open; shut, it cuts them and takes new ones only to close them.
async fn open_door(to: SocketAddr, open: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut open = open.clone();
            tokio::spawn(async move {
                if !*open.borrow() {
                    return;
                }
                let Ok(mut server) = TcpStream::connect(to).await else {
                    return;
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut server) => {}
                    _ = open.wait_for(|open| !open) => {}
                }
            });
        }
    });
    address
}
