//! The benchmarks of `make bench`; results with command and machine are kept in docs/performance.md.

mod bundles;

fn main() {
    bundles::run();
}
