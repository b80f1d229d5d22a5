//! The CCM-compatible server.

fn main() -> std::process::ExitCode {
    renewd::ccm_server::cli::main()
}
