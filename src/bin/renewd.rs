//! The agent.

fn main() -> std::process::ExitCode {
    renewd::cli::main()
}
