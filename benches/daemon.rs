//! What it costs that a daemon is there: how soon it is ready with ten thousand certificates, and what it takes of the host while a
//! thousand are healthy and nothing is due.
//!
//! Ten thousand are a thousand that were obtained, each nine times more in the journal under other names: the start reads the
//! policy and the journal, plans, and is over before a look at any file.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and runs programs with files of its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_cron_scheduler::{Job, JobScheduler};

use crate::once::{self, Server};

/// Prints the time from the start to READY, then memory and wake-ups while nothing is due.
pub(crate) fn run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let server = Server::start(dir);
    once::write_policy(dir, &server.address, &["site"]);
    once::once(dir);
    println!("renewd run: a daemon that has nothing to do");
    idle(dir);

    let families: Vec<String> = (0..10)
        .map(|at| {
            if at == 0 {
                "site".to_owned()
            } else {
                format!("sit{at}")
            }
        })
        .collect();
    let families: Vec<&str> = families.iter().map(String::as_str).collect();
    once::write_policy(dir, &server.address, &families);
    drop(server);
    multiply(dir, &families[1..]);
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let mut daemon = Daemon::start(dir);
            let ready = daemon.ready;
            daemon.stop();
            ready
        })
        .collect();
    times.sort();
    println!(
        "  ready with {:>6} certificates {:>8.1} ms  median {:.1} ms",
        families.len() * once::CERTIFICATES,
        times[0].as_secs_f64() * 1e3,
        times[STARTS / 2].as_secs_f64() * 1e3
    );
}

fn idle(dir: &Path) {
    let mut daemon = Daemon::start(dir);
    // The first tick looks at every file, and the first minute has what is left of it.
    std::thread::sleep(SETTLING);
    let all = woken(daemon.child.id());
    println!(
        "  {} certificates: {:.1} MiB resident (VmRSS), {:.1} of it not of files (RssAnon)",
        once::CERTIFICATES,
        kibibytes(daemon.child.id(), "VmRSS:") / 1024.0,
        kibibytes(daemon.child.id(), "RssAnon:") / 1024.0
    );
    daemon.stop();
    let polls = polls();
    println!(
        "  {all:.1} wake-ups of threads a minute; a process with the scheduler alone has {polls:.1}: {:.1} are ours",
        all - polls
    );
}

/// The same of this process while nothing but the scheduler's crate is at work in it, which looks twice a second whether it has to
/// ring, and touches no disk.
fn polls() -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _scheduler = runtime.block_on(async {
        let scheduler = JobScheduler::new().await.expect("a scheduler");
        let job = Job::new("0 * * * * *", |_, _| {}).expect("a job");
        scheduler.add(job).await.expect("a place for it");
        scheduler.start().await.expect("a start");
        scheduler
    });
    woken(std::process::id())
}

/// How often threads of a process are woken in a minute.
fn woken(process: u32) -> f64 {
    let before = switches(process);
    std::thread::sleep(WATCHED);
    let after = switches(process);
    let each = after.iter().map(|(thread, count)| {
        let before = before.get(thread).copied().unwrap_or_default();
        count.saturating_sub(before)
    });
    each.sum::<u64>() as f64 / (WATCHED.as_secs_f64() / 60.0)
}

/// A running daemon, and how long it took to be ready.
struct Daemon {
    child: Child,
    ready: Duration,
    _notices: UnixDatagram,
}

impl Daemon {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("notify");
        let _ = fs::remove_file(&socket);
        let notices = UnixDatagram::bind(&socket).expect("a socket");
        notices
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a time-out");
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_renewd"))
            .arg("--config")
            .arg(dir.join("renewd.toml"))
            .arg("run")
            .env("NOTIFY_SOCKET", &socket)
            .envs(environment(include_str!("../systemd/renewd.service")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("renewd starts");
        let mut buffer = [0; 4096];
        loop {
            let length = notices.recv(&mut buffer).expect("READY=1");
            if buffer[..length].starts_with(b"READY=1") {
                break;
            }
        }
        Self {
            child,
            ready: begun.elapsed(),
            _notices: notices,
        }
    }

    /// It must not have ended by itself.
    fn stop(&mut self) {
        assert!(self.child.try_wait().expect("its status").is_none());
        self.child.kill().expect("a signal");
        self.child.wait().expect("its end");
    }
}

/// What a shipped unit sets.
pub(crate) fn environment(
    unit: &'static str,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = unit.lines();
    let set = lines.filter_map(|line| line.strip_prefix("Environment="));
    set.flat_map(str::split_whitespace)
        .filter_map(|word| word.split_once('='))
}

/// How often each thread gave the processor away by itself since it began: each time it was woken before.
fn switches(process: u32) -> BTreeMap<String, u64> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let threads = threads.map(|thread| thread.expect("a thread").path());
    threads
        .map(|thread| {
            let status = fs::read_to_string(thread.join("status")).expect("its status");
            let count = field(&status, "voluntary_ctxt_switches:").expect("a line");
            (
                thread.display().to_string(),
                count.parse().expect("a number"),
            )
        })
        .collect()
}

fn kibibytes(process: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let text = field(&status, key).expect("a line");
    text.trim_end_matches(" kB").parse().expect("a number")
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

/// Writes what the journal knows of each certificate and target once more for each of these families.
fn multiply(dir: &Path, families: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let path = dir.join("state/state.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let journal = sqlx::SqlitePool::connect_with(options)
            .await
            .expect("the journal");
        for family in families {
            for (table, columns) in [
                ("certificates", "replace(id, 'site-', $1), replace(state, 'site-', $1)"),
                (
                    "targets",
                    "$1 || id, replace(state, 'site-', $1), last_generation",
                ),
                (
                    "revisions",
                    "NULL, replace(certificate, 'site-', $1), id, issuer, replace(facts, 'site-', $1), issued_at",
                ),
            ] {
                let own = match table {
                    "targets" => "id LIKE 'place-%'",
                    "revisions" => "certificate LIKE 'site-%'",
                    _ => "id LIKE 'site-%'",
                };
                let sql = format!("INSERT INTO {table} SELECT {columns} FROM {table} WHERE {own}");
                let new = format!("{family}-");
                let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(new);
                query.execute(&journal).await.expect(table);
            }
        }
        journal.close().await;
    });
}

const STARTS: usize = 11;
const SETTLING: Duration = Duration::from_secs(75);
const WATCHED: Duration = Duration::from_secs(180);
