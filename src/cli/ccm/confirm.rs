//! Asking before what costs money or cannot be undone. Where nobody can be asked, nothing is done without `--yes`.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::{Exit, Failure};

/// Goes on if `yes`, or if the person at the terminal says so. `what` is a whole sentence.
///
/// # Errors
/// 64 where nobody can be asked, and where the answer is no.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let text = format!("{what} Nobody is here to be asked; say --yes to have it done");
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut question = anstream::stderr().lock();
    let _ = write!(question, "{what} Go on? [y/N] ");
    let _ = question.flush();
    drop(question);
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && is_yes(&answer) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "nothing was done"))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", " yes \r\n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yesterday", "ja"] {
            assert!(!is_yes(no), "{no:?}");
        }
        assert!(confirm(true, "").is_ok());
    }
}
