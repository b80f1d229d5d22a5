//! What child processes must do.

use super::*;

fn shell(script: &str, timeout: Duration) -> Invocation {
    Invocation {
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        env: Vec::new(),
        directory: None,
        user: None,
        timeout,
        leaves_daemon: true,
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn run(script: &str, timeout: Duration) -> Outcome {
    SystemRunner.run(&shell(script, timeout)).await
}

/// Whether a process runs; one that waits to be reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .next();
    state.is_some_and(|state| state != 'Z')
}

#[tokio::test]
async fn output_of_both_streams_is_kept_in_order() {
    let outcome = run("echo one; echo two >&2; echo three; exit 3", LONG).await;
    assert_eq!(outcome.end, End::Exited(3));
    assert_eq!(outcome.output, "one\ntwo\nthree\n");
    assert!(!outcome.success());
}

#[tokio::test]
async fn a_child_sees_only_the_minimal_environment() {
    let mut invocation = shell("env | sort; pwd; cat", LONG);
    invocation.env = vec![("WORD".into(), "value".into())];
    let outcome = SystemRunner.run(&invocation).await;
    let lines: Vec<&str> = outcome.output.lines().collect();
    // The shell itself adds PWD.
    let wanted = [
        "LANG=C.UTF-8",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "WORD=value",
        "/",
    ];
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn a_flood_of_output_keeps_beginning_and_end() {
    let outcome = run("echo first; yes | head -c 300000; echo last", LONG).await;
    assert!(outcome.success(), "{:?}", outcome.end);
    assert!(outcome.output.starts_with("first\n"));
    assert!(outcome.output.ends_with("last\n"));
    assert!(outcome.output.contains("bytes left out]"));
    assert!(outcome.output.len() < OUTPUT_LIMIT + 100);
}

#[tokio::test]
async fn a_signal_is_told_from_a_status() {
    assert_eq!(run("kill -9 $$", LONG).await.end, End::Signalled(9));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let mut invocation = shell("", LONG);
    for (program, reason) in [
        ("sh", "no absolute path"),
        ("/no/such", "/no/such"),
        ("/etc/passwd", "ermission denied"),
    ] {
        invocation.argv = vec![program.into()];
        let End::NotStarted(said) = SystemRunner.run(&invocation).await.end else {
            panic!("{program} was started");
        };
        assert!(said.contains(reason), "{said}");
    }
    invocation.argv.clear();
    let end = SystemRunner.run(&invocation).await.end;
    assert_eq!(end, End::NotStarted("no program is given".into()));
}

#[tokio::test]
async fn a_time_out_ends_children_of_children() {
    let outcome = run("sleep 600 & echo $!; wait", Duration::from_millis(300)).await;
    assert_eq!(outcome.end, End::TimedOut);
    assert!(!runs(outcome.output.trim()), "{}", outcome.output);
    assert!(outcome.elapsed < GRACE, "SIGTERM was enough");
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed() {
    let script = "trap '' TERM; sleep 600 & echo $$ $!; while :; do wait; done";
    let outcome = run(script, Duration::from_millis(300)).await;
    assert_eq!(outcome.end, End::TimedOut);
    assert!(outcome.elapsed >= GRACE);
    assert_eq!(outcome.output.split_whitespace().count(), 2);
    for pid in outcome.output.split_whitespace() {
        assert!(!runs(pid), "{pid} is still there");
    }
}

#[tokio::test]
async fn a_server_left_in_the_background_is_not_waited_for() {
    let outcome = run("setsid sleep 600 & echo $!; exit 0", LONG).await;
    assert!(outcome.success());
    assert!(outcome.elapsed < Duration::from_secs(10));
    let pid = outcome.output.trim();
    assert!(runs(pid), "it is left alone");
    let pid = Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_time_out_does_not_wait_for_what_left_the_group() {
    let script = "setsid sh -c 'echo $$; exec sleep 600' & sleep 600";
    let outcome = run(script, Duration::from_millis(500)).await;
    assert_eq!(outcome.end, End::TimedOut);
    assert!(outcome.elapsed < Duration::from_secs(20));
    let pid = Pid::from_raw(outcome.output.trim().parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_cancelled_run_kills_the_group() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("sleep 600 & echo $! >{}; wait", file.path().display());
    let invocation = shell(&script, LONG);
    let pid = tokio::select! {
        _ = SystemRunner.run(&invocation) => panic!("it ended"),
        pid = async {
            loop {
                let text = std::fs::read_to_string(file.path()).unwrap();
                if text.ends_with('\n') {
                    break text;
                }
                sleep(BETWEEN_TRIES).await;
            }
        } => pid,
    };
    timeout(LONG, async {
        while runs(pid.trim()) {
            sleep(BETWEEN_TRIES).await;
        }
    })
    .await
    .expect("the grandchild is gone");
}
