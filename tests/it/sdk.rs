//! Other people's tools as clients of renewd-ccm: Huawei's own SDK, unmodified, and schemathesis.
//!
//! `scripts/install-tools.sh test` puts both into `sdk-venv` of the build directory.

mod lives;
mod schema;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program of the Python environment.
fn program(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_renewd-ccm"));
    let target = binary.ancestors().nth(2).unwrap();
    let program = target.join("sdk-venv/bin").join(name);
    assert!(
        program.exists(),
        "{} is missing: scripts/install-tools.sh test",
        program.display()
    );
    program
}

/// Where the life cycles are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Runs one beside this test's server; secrets go through standard input, never through the arguments.
async fn run(name: &str, arguments: &[&str], input: String) -> Output {
    // The SDK writes an id of its own into the home directory.
    let home = tempfile::tempdir().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "tests run other people's programs directly"
    )]
    let mut command = Command::new(program(name));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", scripts())
        .env("SCHEMATHESIS_HOOKS", "schema_checks")
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let work = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let output = work.await.unwrap();
    drop(home);
    output
}
