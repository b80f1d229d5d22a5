//! HAProxy by its sockets: certificates by the runtime API, and the reload by the master's socket.
//!
//! The runtime API changes what is in memory only, so it goes together with the files: they are committed before.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::deploy::manifest::MOST_BYTES;
use crate::pki::Secret;
use crate::sys::error_chain as causes;
use crate::sys::fs;

/// Hands the content of each file to HAProxy under the name by which its configuration knows it, one after the other.
/// Returns what it said.
///
/// # Errors
/// Why this way is not open, or what was refused; what was begun is given up, and a reload is needed.
pub(super) async fn update(
    socket: &Path,
    files: &[PathBuf],
    within: Duration,
) -> Result<String, String> {
    if files.is_empty() {
        return Err("no export of the target has key and certificate in one file".to_owned());
    }
    let mut known = ask(socket, b"show ssl cert\n", within).await?;
    if let Some(left) = begun(&known) {
        // Of somebody who was killed between two commands. While it is open no other can be begun, and it may be of a file
        // that is not in this set.
        let abort = format!("abort ssl cert {left}\n");
        ask(socket, abort.as_bytes(), within).await?;
        known = ask(socket, b"show ssl cert\n", within).await?;
    }
    let mut open = Vec::new();
    for path in files {
        let name = usable(path)?;
        if !known.lines().any(|line| line == name) {
            return Err(format!("HAProxy does not use {name} yet"));
        }
        open.push((name, payload(path, name).await?));
    }
    let mut said = String::new();
    for (name, payload) in &open {
        // One transaction at a time: HAProxy has no other, and takes what is set meanwhile for the one that is open.
        let created = format!("for certificate {name}!");
        let outcome = match expect(socket, payload.expose(), &created, within).await {
            Ok(_) => {
                let command = format!("commit ssl cert {name}\n");
                expect(socket, command.as_bytes(), "Success!", within).await
            }
            refused => refused,
        };
        match outcome {
            Ok(answer) => said.push_str(answer.trim_start()),
            Err(problem) => {
                // A transaction that was refused from the start cannot be given up; nothing depends on the answer.
                let abort = format!("abort ssl cert {name}\n");
                let _ = ask(socket, abort.as_bytes(), within).await;
                return Err(problem);
            }
        }
    }
    Ok(said)
}

/// The file of the one transaction that is open: `*` and its name, below a line `# transaction`.
fn begun(known: &str) -> Option<&str> {
    let mut open = known.lines().filter_map(|line| line.strip_prefix('*'));
    open.find(|name| usable(Path::new(name)).is_ok())
}

/// Whether a master process is there to be told.
///
/// # Errors
/// Why not: its socket is not there, or nobody listens at it. Whatever else is wrong with it the reload will say.
pub(super) async fn master_runs(socket: &Path, within: Duration) -> Result<(), String> {
    match timeout(within, UnixStream::connect(socket)).await {
        Ok(Err(error))
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Err(format!("nobody listens at {} ({error})", socket.display()))
        }
        _ => Ok(()),
    }
}

/// Tells the master process to reload. Older ones (before 2.7) close the connection without a word, and what came of it is
/// for the probe to see.
///
/// # Errors
/// The socket cannot be used, or the master says that it failed.
pub(super) async fn reload(socket: &Path, within: Duration) -> Result<String, String> {
    let answer = ask(socket, b"reload\n", within).await?;
    if answer.contains("Success=0") {
        return Err(format!("HAProxy did not take it: {}", answer.trim()));
    }
    Ok(answer)
}

async fn expect(
    socket: &Path,
    command: &[u8],
    wanted: &str,
    within: Duration,
) -> Result<String, String> {
    let answer = ask(socket, command, within).await?;
    if answer.contains(wanted) {
        return Ok(answer);
    }
    let lines: Vec<&str> = answer.split_whitespace().collect();
    Err(format!("HAProxy refused it: {}", shorten(&lines.join(" "))))
}

/// One command, one answer: HAProxy closes the connection behind it.
async fn ask(socket: &Path, command: &[u8], within: Duration) -> Result<String, String> {
    let failed = |problem: String| format!("failed to speak to {}: {problem}", socket.display());
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(command).await?;
        let mut answer = Vec::new();
        stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(within, exchange)
        .await
        .map_err(|_| failed(format!("no answer within {} s", within.as_secs())))?
        .map_err(|error| failed(error.to_string()))
}

/// The commands are separated by spaces, and there is more than one character with a meaning.
fn usable(path: &Path) -> Result<&str, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+:".contains(c);
    match path.to_str() {
        Some(name) if name.chars().all(plain) => Ok(name),
        _ => Err(format!("{} is no name for a command", path.display())),
    }
}

/// The command with the file behind it; an empty line ends it.
async fn payload(path: &Path, name: &str) -> Result<Secret, String> {
    let (path, name) = (path.to_owned(), name.to_owned());
    let read = move || {
        let bytes = Secret::new(fs::read(&path, MOST_BYTES).map_err(|error| causes(&error))?);
        let begin = format!("set ssl cert {name} <<\n");
        // Sized once, so that no copy of the key is left behind by growing.
        let mut command = Vec::with_capacity(begin.len() + bytes.expose().len() + 2);
        command.extend_from_slice(begin.as_bytes());
        for line in bytes.expose().split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                command.extend_from_slice(line);
                command.push(b'\n');
            }
        }
        command.push(b'\n');
        Ok(Secret::new(command))
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| causes(&error))?
}

fn shorten(text: &str) -> String {
    text.chars().take(LONGEST_ANSWER).collect()
}

/// Of an answer in a message.
const LONGEST_ANSWER: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_transaction_is_found_in_the_list() {
        let list = "# transaction\n*/etc/ssl/gone.pem\n\n# filename\n/etc/ssl/www.pem\n";
        assert_eq!(begun(list), Some("/etc/ssl/gone.pem"));
        assert_eq!(begun("# filename\n/etc/ssl/www.pem\n"), None);
        assert_eq!(begun("*a b; c\n"), None);
    }
}
