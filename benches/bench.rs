//! The benchmarks of `make bench`; results with command and machine are kept in docs/performance.md.
//!
//! `cargo bench --bench bench -- plan` runs one of them by name; without a name all run.

mod bundles;
mod ccm;
#[path = "../tests/it/support/certs.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "made for tests, which use all of it"
)]
mod certs;
mod daemon;
mod once;
mod plan;
mod rollout;

fn main() {
    // Cargo adds `--bench`.
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let mut known = false;
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            known = true;
            run();
        }
    }
    assert!(known, "no such benchmark: {names:?}");
}

const BENCHMARKS: [(&str, fn()); 6] = [
    ("plan", plan::run),
    ("bundles", bundles::run),
    ("once", once::run),
    ("ccm", ccm::run),
    ("rollout", rollout::run),
    ("daemon", daemon::run),
];
