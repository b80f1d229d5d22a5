//! Proofs published and taken away by commands of the policy, in the manner of certbot's manual hooks.

use crate::model::{DomainMethod, DomainProof, ErrorClass, Seconds};
use crate::sys::process::{End, Invocation, Runner};
use crate::sys::systemd;
use crate::validation::{Every, ValidationError};

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Publishes.
    Auth,
    /// Takes away.
    Cleanup,
}

impl Call {
    const fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cleanup => "cleanup",
        }
    }
}

/// Runs the command once for each proof. One that cannot be published ends it; what is taken away is so as far as it goes.
pub(super) async fn run(
    runner: &dyn Runner,
    call: Call,
    argv: &[String],
    timeout: Seconds,
    proofs: &[DomainProof],
) -> Result<(), ValidationError> {
    let mut all = Every::default();
    for (index, proof) in proofs.iter().enumerate() {
        let invocation = Invocation {
            argv: argv.to_vec(),
            env: environment(call, proofs, index, proof),
            directory: None,
            user: None,
            timeout: timeout.to_std(),
            leaves_daemon: false,
        };
        let outcome = runner.run(&invocation).await;
        systemd::alive();
        if outcome.success() {
            continue;
        }
        let (class, end) = match outcome.end {
            // What it talks to is mostly away.
            End::Exited(status) => (ErrorClass::Transient, format!("ended with {status}")),
            End::Signalled(signal) => (
                ErrorClass::Transient,
                format!("was ended by signal {signal}"),
            ),
            End::TimedOut => (
                ErrorClass::Transient,
                format!("did not end within {timeout}"),
            ),
            End::NotStarted(why) => (
                ErrorClass::Configuration,
                format!("could not be started: {why}"),
            ),
        };
        let program = argv.first().map_or("", String::as_str);
        let mut message = format!(
            "{} command {program} for {}: it {end}",
            call.word(),
            proof.domain
        );
        if let Some(said) = last_line(&outcome.output) {
            message.push_str(&format!(", and said: {said}"));
        }
        let error = ValidationError::new(class, message);
        match call {
            Call::Auth => return Err(error),
            Call::Cleanup => all.note(Err(error)),
        }
    }
    all.done()
}

/// As `renewd.toml(5)` documents it.
fn environment(
    call: Call,
    proofs: &[DomainProof],
    index: usize,
    proof: &DomainProof,
) -> Vec<(String, String)> {
    let bare = proof.domain.strip_prefix("*.").unwrap_or(&proof.domain);
    let domains: Vec<&str> = proofs.iter().map(|proof| proof.domain.as_str()).collect();
    let mut all = vec![
        ("RENEWD_CALL", call.word().to_owned()),
        ("RENEWD_DOMAIN", proof.domain.clone()),
        ("RENEWD_METHOD", proof.method.to_string()),
        ("CERTBOT_DOMAIN", bare.to_owned()),
        ("CERTBOT_VALIDATION", proof.value.clone()),
        ("CERTBOT_ALL_DOMAINS", domains.join(",")),
        (
            "CERTBOT_REMAINING_CHALLENGES",
            (proofs.len() - index - 1).to_string(),
        ),
    ];
    match proof.method {
        DomainMethod::File => {
            let name = proof.place.rsplit('/').next().unwrap_or_default();
            all.push(("RENEWD_FILE_PATH", proof.place.clone()));
            all.push(("RENEWD_FILE_CONTENT", proof.value.clone()));
            all.push(("CERTBOT_TOKEN", name.to_owned()));
        }
        DomainMethod::Dns | DomainMethod::Email => {
            all.push(("RENEWD_RECORD_NAME", proof.place.clone()));
            all.push(("RENEWD_RECORD_TYPE", proof.record_type.clone()));
            all.push(("RENEWD_RECORD_VALUE", proof.value.clone()));
        }
    }
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value.replace('\0', "")))
        .collect()
}

/// What it said last, cut to a length.
fn last_line(output: &str) -> Option<String> {
    let mut lines = output.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty())?;
    let plain = line.chars().filter(|c| !c.is_control());
    Some(plain.take(LONGEST).collect())
}

/// Characters of its output in a message.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_what_to_publish_in_both_ways_of_speaking() {
        let proof = |domain: &str, method, place: &str| DomainProof {
            domain: domain.to_owned(),
            method,
            place: place.to_owned(),
            record_type: "TXT".to_owned(),
            value: "token".to_owned(),
        };
        let proofs = [
            proof("*.example.com", DomainMethod::Dns, "_dnsauth.example.com"),
            proof(
                "www.example.com",
                DomainMethod::File,
                "/.well-known/pki-validation/a.txt",
            ),
        ];
        let of = |index: usize| {
            let env = environment(Call::Auth, &proofs, index, &proofs[index]);
            move |name: &str| {
                let mut found = env.iter().filter(|(known, _)| known == name);
                found.next().map(|(_, value)| value.clone())
            }
        };
        let (dns, file) = (of(0), of(1));
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(dns("RENEWD_RECORD_NAME"), text("_dnsauth.example.com"));
        assert_eq!(dns("RENEWD_RECORD_VALUE"), text("token"));
        assert_eq!(dns("CERTBOT_DOMAIN"), text("example.com"));
        assert_eq!(dns("CERTBOT_REMAINING_CHALLENGES"), text("1"));
        assert_eq!(dns("RENEWD_FILE_PATH"), None);
        assert_eq!(file("CERTBOT_TOKEN"), text("a.txt"));
        assert_eq!(file("RENEWD_FILE_CONTENT"), text("token"));
        assert_eq!(file("RENEWD_METHOD"), text("FILE"));
        assert_eq!(file("RENEWD_RECORD_NAME"), None);
    }

    #[test]
    fn the_last_words_of_a_command_are_told() {
        assert_eq!(last_line("a\n b\u{1b} \n\n").as_deref(), Some("b"));
        assert_eq!(last_line("\n"), None);
    }
}
