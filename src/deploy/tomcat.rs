//! Tomcat by the text interface of its manager: `sslReload` reads the certificates of all connectors again.
//!
//! HTTP/1.0 by hand, to this host alone: one request, one answer, and nothing between. What counts is the text, since the
//! manager answers with pages of HTML for people when it fails, with status 200 among others.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::deploy::StepError;
use crate::model::ErrorClass;
use crate::pki::Secret;

/// Where the manager is and as whom it is asked.
pub(super) struct Manager<'a> {
    /// `host:port`.
    pub(super) address: &'a str,
    /// Of the text interface, such as `/manager/text`.
    pub(super) path: &'a str,
    /// With the role `manager-script`.
    pub(super) user: &'a str,
    pub(super) password: &'a Secret,
}

/// Has all certificates read again and returns what the manager said.
///
/// # Errors
/// It cannot be reached, or its answer is anything but `OK - …`.
pub(super) async fn reload(manager: &Manager<'_>, within: Duration) -> Result<String, StepError> {
    let &Manager { address, path, .. } = manager;
    let failed = |class, problem: String| {
        StepError::new(
            class,
            format!("failed to reload by Tomcat's manager at {address}{path}: {problem}"),
        )
    };
    let connect = timeout(within, TcpStream::connect(address)).await;
    let stream = match connect {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(StepError {
                service_runs: false,
                ..failed(ErrorClass::Transient, error.to_string())
            });
        }
        Err(_) => return Err(failed(ErrorClass::Transient, silent(within))),
    };
    let answer = match timeout(within, exchange(stream, &request(manager))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(failed(ErrorClass::Transient, error.to_string())),
        Err(_) => return Err(failed(ErrorClass::Transient, silent(within))),
    };
    judge(&answer, manager.user).map_err(|(class, problem)| failed(class, problem))
}

fn silent(within: Duration) -> String {
    format!("no answer within {} s", within.as_secs())
}

fn request(manager: &Manager<'_>) -> Secret {
    let Manager {
        address,
        path,
        user,
        password,
    } = manager;
    let mut pair = Vec::with_capacity(user.len() + 1 + password.expose().len());
    pair.extend_from_slice(user.as_bytes());
    pair.push(b':');
    pair.extend_from_slice(password.expose());
    let credentials = Secret::from(STANDARD.encode(Secret::new(pair).expose()));
    let head = format!(
        "GET {path}/sslReload HTTP/1.0\r\nHost: {address}\r\nUser-Agent: renewd\r\nAuthorization: Basic "
    );
    let mut text = Vec::with_capacity(head.len() + credentials.expose().len() + 4);
    text.extend_from_slice(head.as_bytes());
    text.extend_from_slice(credentials.expose());
    text.extend_from_slice(b"\r\n\r\n");
    Secret::new(text)
}

async fn exchange(mut stream: TcpStream, request: &Secret) -> std::io::Result<String> {
    stream.write_all(request.expose()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str, user: &str) -> Result<String, (ErrorClass, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" && body.starts_with("OK -") {
        return Ok(body.trim_end().to_owned());
    }
    let told = telling(body);
    Err(match status {
        "401" | "403" => (
            ErrorClass::Authentication,
            format!("user {user} is refused (status {status}); it needs the role manager-script"),
        ),
        "404" => (
            ErrorClass::Configuration,
            "there is no manager (status 404); is it deployed there?".to_owned(),
        ),
        _ => (
            ErrorClass::Configuration,
            format!("the answer (status {status}) is not OK: {told}"),
        ),
    })
}

/// Of a page for people the message, of anything else the first line.
fn telling(body: &str) -> String {
    let message = body
        .split_once("<b>Message</b>")
        .and_then(|(_, rest)| rest.split_once("</p>"))
        .map(|(message, _)| message);
    let line = message.or_else(|| body.lines().find(|line| !line.trim().is_empty()));
    let mut text = String::new();
    let mut in_tag = false;
    for c in line.unwrap_or("nothing").chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            c if in_tag || c.is_control() => {}
            c => text.push(c),
        }
    }
    text.trim().chars().take(LONGEST_LINE).collect()
}

/// Of an answer.
const MOST_BYTES: u64 = 64 * 1024;
/// Of a message.
const LONGEST_LINE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_begins_with_ok_is_success() {
        let judge = |status: &str, body: &str| {
            judge(
                &format!("HTTP/1.1 {status} x\r\nContent-Type: text/plain\r\n\r\n{body}"),
                "deploy",
            )
        };
        assert_eq!(
            judge("200", "OK - Reloaded TLS configuration\n").unwrap(),
            "OK - Reloaded TLS configuration"
        );
        let page = "<!doctype html><title>x</title><p><b>Message</b> keystore <b>password</b> was incorrect</p>";
        for (status, body, class, says) in [
            (
                "200",
                page,
                ErrorClass::Configuration,
                "keystore password was incorrect",
            ),
            ("200", "FAIL - no", ErrorClass::Configuration, "FAIL - no"),
            ("200", "", ErrorClass::Configuration, "nothing"),
            (
                "500",
                "OK - not really",
                ErrorClass::Configuration,
                "status 500",
            ),
            ("401", page, ErrorClass::Authentication, "deploy"),
            ("404", page, ErrorClass::Configuration, "no manager"),
        ] {
            let (got, problem) = judge(status, body).unwrap_err();
            assert_eq!(got, class, "{problem}");
            assert!(problem.contains(says), "{problem}");
        }
    }
}
