//! Completions, read by bash itself.

use std::process::Command;

use crate::support::agent::Run;

#[test]
fn bash_completes_commands_options_and_words() {
    for (program, name, typed, expected) in [
        (
            env!("CARGO_BIN_EXE_renewd"),
            "renewd",
            "stat",
            "status\nstate",
        ),
        (
            env!("CARGO_BIN_EXE_renewd"),
            "renewd",
            "status --wat",
            "--watch",
        ),
        (
            env!("CARGO_BIN_EXE_renewd"),
            "renewd",
            "completions fi",
            "fish",
        ),
        (
            env!("CARGO_BIN_EXE_renewd"),
            "renewd",
            "ccm pca cert exp",
            "export",
        ),
        (
            env!("CARGO_BIN_EXE_renewd"),
            "renewd",
            "ccm pca cert export --type TOM",
            "TOMCAT",
        ),
        (
            env!("CARGO_BIN_EXE_renewd-ccm"),
            "renewd-ccm",
            "ser",
            "serve",
        ),
    ] {
        let script = format!(
            r#"set -e
eval "$({program} completions bash)"
COMP_WORDS=({name} {typed})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
last=${{COMP_WORDS[COMP_CWORD]}}
$(complete -p {name} | sed 's/.*-F \([^ ]*\).*/\1/') {name} "$last" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\n' "${{COMPREPLY[@]}}""#
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let run = Run::new(&output).expect(0);
        assert_eq!(run.stdout.trim(), expected, "{typed}");
    }
    for shell in ["zsh", "fish"] {
        for program in [
            env!("CARGO_BIN_EXE_renewd"),
            env!("CARGO_BIN_EXE_renewd-ccm"),
        ] {
            let output = Command::new(program).args(["completions", shell]).output();
            let text = Run::new(&output.unwrap()).expect(0).stdout;
            assert!(text.contains("completions"), "{shell}: {text}");
        }
    }
}
