//! Services without probe and `pid_file`: whether there is somebody to tell is found out in other ways, and a service that
//! does not run is waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use renewd::deploy::Deployer;
use renewd::model::{Probe, Reload, RolloutStep, SecretRef};
use renewd::pki::Secret;
use renewd::sys::process::{End, Invocation, Outcome, Runner};

use crate::deploy::stand::{Stand, pem, serial_in};
use crate::support::nginx::{Nginx, Site};

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_does_not_run_and_is_not_probed_is_waited_for_and_not_undone() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "site.crt", "site.key")]);
    let live = |name: &str| stand.live_path("www").join(name);
    let site = Site::new(&["www.test"], &live("site.crt"), &live("site.key"));
    let mut nginx = Nginx::prepare(&dir.path().join("nginx"), &[site]);
    stand.target.test = Some(nginx.test());
    stand.target.reload = Some(Reload::Command(nginx.reload()));
    assert_eq!(
        (&stand.target.probe, &stand.target.pid_file),
        (&Probe::None, &None)
    );
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    nginx.start();
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);

    nginx.stop();
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "awaiting-service", "{:?}", stand.log);
    let error = stand.error(RolloutStep::Reload);
    assert!(error.message.contains("does not run"), "{error:?}");
    assert!(error.output.contains("nginx: [error]"), "{error:?}");
    assert_eq!(
        serial_in(&stand.live_path("www/site.crt")),
        stand.serial(&new)
    );

    // Started by somebody, it is told.
    nginx.start();
    for step in [RolloutStep::Test, RolloutStep::Reload] {
        stand.step(&rollout, step).await.unwrap();
    }

    // Another failure of the same command is one.
    nginx.stop();
    nginx.break_configuration();
    let error = stand.step(&rollout, RolloutStep::Reload).await.unwrap_err();
    assert!(error.service_runs, "{error:?}");
}

/// A systemctl that says what a unit is, and takes every reload.
#[derive(Default)]
struct Systemctl {
    state: Mutex<(&'static str, i32)>,
    asked: Mutex<Vec<String>>,
    /// The next configuration test fails.
    broken: AtomicBool,
}

impl Runner for Systemctl {
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let words = invocation.argv.join(" ");
        let (state, status) = *self.state.lock().unwrap();
        let asks = words.contains("is-active");
        let broken = words.contains("configtest") && self.broken.swap(false, Ordering::SeqCst);
        self.asked.lock().unwrap().push(words);
        Box::pin(async move {
            Outcome {
                end: End::Exited(if asks { status } else { i32::from(broken) }),
                output: if asks {
                    format!("{state}\n")
                } else {
                    String::new()
                },
                elapsed: Duration::ZERO,
            }
        })
    }
}

#[tokio::test]
async fn systemd_is_asked_whether_the_unit_of_a_reload_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "site.crt", "site.key")]);
    let systemctl = Arc::new(Systemctl::default());
    let runner: Arc<dyn Runner> = Arc::<Systemctl>::clone(&systemctl);
    let state = dir.path().join("state");
    stand.deployer = Deployer::new(state, runner, Arc::new(|_| Err("no secrets".to_owned())));
    let argv = ["/usr/bin/systemctl", "reload", "apache2"].map(str::to_owned);
    stand.target.reload = Some(Reload::Command(argv.into()));
    for (state, status, ends) in [
        ("active", 0, "live"),
        ("reloading", 0, "live"),
        // Nobody knows: the reload itself tells.
        (
            "System has not been booted with systemd as init system",
            1,
            "live",
        ),
        ("failed", 3, "awaiting-service"),
        ("inactive", 4, "awaiting-service"),
    ] {
        *systemctl.state.lock().unwrap() = (state, status);
        systemctl.asked.lock().unwrap().clear();
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        assert_eq!(rollout.phase.code(), ends, "{state}: {:?}", stand.log);
        assert_eq!(
            serial_in(&stand.live_path("www/site.crt")),
            stand.serial(&new)
        );
        let mut asked = vec!["/usr/bin/systemctl is-active apache2"];
        if ends == "live" {
            asked.push("/usr/bin/systemctl reload apache2");
        }
        // What waits is in place, as a journal would know.
        stand.live.clone_from(&rollout.revisions);
        stand.generation = Some(rollout.generation);
        assert_eq!(*systemctl.asked.lock().unwrap(), asked, "{state}");
    }
}

fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn a_restart_starts_nobody_who_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "site.crt", "site.key")]);
    let systemctl = Arc::new(Systemctl::default());
    let runner: Arc<dyn Runner> = Arc::<Systemctl>::clone(&systemctl);
    let state = dir.path().join("state");
    let secret = |_: &SecretRef| Ok(Secret::from("pw".to_owned()));
    stand.deployer = Deployer::new(state, runner, Arc::new(secret));
    stand.target.test = Some(words(&["/usr/sbin/apachectl", "configtest"]));
    stand.target.restart = Some(words(&["/usr/bin/systemctl", "restart", "apache2"]));
    let restarts = || {
        let asked = systemctl.asked.lock().unwrap();
        asked.iter().filter(|said| said.contains("restart")).count()
    };
    let is = |state, status| *systemctl.state.lock().unwrap() = (state, status);

    // The restart is the only way, and the unit is up.
    is("active", 0);
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(restarts(), 1);

    // It is down: the files wait for its start.
    is("inactive", 3);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "awaiting-service", "{:?}", stand.log);
    assert_eq!(restarts(), 1);
    // What waits is in place, as a journal would know.
    stand.live.clone_from(&rollout.revisions);
    stand.generation = Some(rollout.generation);

    // Down, and the new set fails its test: the way back starts nobody either.
    stand.target.reload = Some(Reload::Command(words(&[
        "/usr/bin/systemctl",
        "reload",
        "apache2",
    ])));
    systemctl.broken.store(true, Ordering::SeqCst);
    let next = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&next));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "rolled-back", "{:?}", stand.log);
    assert_eq!(restarts(), 1);
    assert_eq!(
        serial_in(&stand.live_path("www/site.crt")),
        stand.serial(&new)
    );

    // A Tomcat whose manager is not there does not run.
    stand.target.reload = Some(Reload::Tomcat {
        manager: "127.0.0.1:1".to_owned(),
        path: "/manager/text".to_owned(),
        user: "renewd".to_owned(),
        password: SecretRef::Env("pw".into()),
    });
    let rollout = stand.open(std::slice::from_ref(&next));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "awaiting-service", "{:?}", stand.log);
    assert_eq!(restarts(), 1);
}

#[tokio::test]
async fn an_haproxy_that_does_not_run_and_is_not_probed_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = |name: &str| dir.path().join(name);
    // Nobody listens there any more.
    drop(std::os::unix::net::UnixListener::bind(socket("stale")).unwrap());
    let _master = std::os::unix::net::UnixListener::bind(socket("master")).unwrap();
    let by = |otherwise| Reload::Haproxy {
        admin_socket: socket("admin"),
        otherwise: Box::new(otherwise),
    };
    let unit = Reload::Command(words(&["/usr/bin/systemctl", "reload", "haproxy"]));
    for (reload, state, ends) in [
        (by(unit.clone()), ("inactive", 3), "awaiting-service"),
        (by(unit), ("active", 0), "live"),
        (
            by(Reload::HaproxyMaster(socket("none"))),
            ("", 0),
            "awaiting-service",
        ),
        (
            by(Reload::HaproxyMaster(socket("stale"))),
            ("", 0),
            "awaiting-service",
        ),
        (
            Reload::HaproxyMaster(socket("stale")),
            ("", 0),
            "awaiting-service",
        ),
    ] {
        let at = tempfile::tempdir().unwrap();
        let mut stand = Stand::new(at.path(), vec![pem("pem", "site.crt", "site.key")]);
        let systemctl = Arc::new(Systemctl::default());
        *systemctl.state.lock().unwrap() = state;
        let runner: Arc<dyn Runner> = Arc::<Systemctl>::clone(&systemctl);
        let secrets = Arc::new(|_: &SecretRef| Err("no secrets".to_owned()));
        stand.deployer = Deployer::new(at.path().join("state"), runner, secrets);
        stand.target.reload = Some(reload.clone());
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        assert_eq!(rollout.phase.code(), ends, "{reload:?}: {:?}", stand.log);
    }
    // Somebody is there, and whatever he says is for the reload to hear.
    let mut stand = Stand::new(dir.path(), vec![pem("pem", "site.crt", "site.key")]);
    stand.target.reload = Some(Reload::HaproxyMaster(socket("master")));
    stand.target.command_timeout = renewd::model::Seconds(1);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    let error = stand.step(&rollout, RolloutStep::Reload).await.unwrap_err();
    assert!(error.service_runs, "{error:?}");
}
