//! Letters by SMTP, with lettre, or by this host's own sendmail(8).
//!
//! TLS is demanded or absent, never opportunistic. lettre's own time-out ends with the connection, so that each exchange
//! is under one of ours. One envelope for one recipient: what the server says is about that one alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;

use crate::model::{EmailPolicy, Message, Relay, SecretRef, Security, SmtpPolicy, Timestamp};
use crate::notify::{self, BoxFuture, Notifier, Receipt, SendError};
use crate::pki::Secret;
use crate::sys::process::{End, Invocation};
use crate::sys::{error_chain, fs, outside};

/// The notifier.
pub struct Email {
    relay: Relay,
    credentials: Option<Credentials>,
    roots: Option<Vec<u8>>,
    from: Mailbox,
    limit: Duration,
    /// What a server must not be quoted with.
    hidden: Vec<Secret>,
    open: Option<AsyncSmtpConnection>,
}

impl Email {
    /// Letters from one address, each exchange within `limit`. Connects to nobody yet.
    ///
    /// # Errors
    /// [`SendError::Unreachable`] when the password or the roots cannot be read.
    pub fn new(
        policy: &EmailPolicy,
        limit: Duration,
        resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>,
    ) -> Result<Self, SendError> {
        let mut hidden = Vec::new();
        let mut credentials = None;
        let mut roots = None;
        if let Relay::Smtp(server) = &policy.relay {
            if let Some((user, reference)) = &server.login {
                let secret = resolve(reference).map_err(SendError::Unreachable)?;
                let password = secret.expose_str().ok_or_else(|| {
                    SendError::Unreachable(
                        "the password of the mail server is not UTF-8".to_owned(),
                    )
                })?;
                let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
                hidden.push(encode(&format!("\0{user}\0{password}")).into());
                hidden.push(encode(password).into());
                hidden.push(password.to_owned().into());
                credentials = Some(Credentials::new(user.clone(), password.to_owned()));
            }
            let read = |path: &PathBuf| {
                fs::read(path, LARGEST_ROOTS)
                    .map_err(|error| SendError::Unreachable(error_chain(&error)))
            };
            roots = server.roots.as_ref().map(read).transpose()?;
        }
        Ok(Self {
            credentials,
            roots,
            from: Mailbox::new(Some(SENDER.to_owned()), address(&policy.from)?),
            limit,
            hidden,
            open: None,
            relay: policy.relay.clone(),
        })
    }

    async fn hand_in(&mut self, message: &Message, recipient: &str) -> Result<Receipt, SendError> {
        let to = address(recipient).map_err(|error| SendError::Refused(error.to_string()))?;
        let message = self.mail(message, to.clone())?;
        match self.relay.clone() {
            Relay::Smtp(server) => self.by_server(&server, to, &message).await,
            Relay::Sendmail(program) => self.by_program(&program, recipient, &message).await,
        }
    }

    async fn by_server(
        &mut self,
        server: &SmtpPolicy,
        to: Address,
        message: &[u8],
    ) -> Result<Receipt, SendError> {
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to])
            .map_err(|error| SendError::Refused(error_chain(&error)))?;
        let mut connection = match self.open.take() {
            Some(open) if !open.has_broken() => open,
            _ => within(self.limit, self.connect(server))
                .await?
                .map_err(|error| {
                    SendError::Unreachable(self.mask(&format!(
                        "{} port {}: {}",
                        server.server,
                        server.port,
                        error_chain(&error)
                    )))
                })?,
        };
        let sent = within(self.limit, connection.send(&envelope, message)).await;
        let sent = sent.map_err(|error| SendError::Unknown(error.to_string()))?;
        match sent {
            Ok(response) => {
                let lines: Vec<&str> = response.message().collect();
                self.open = Some(connection);
                let said = format!("{} {}", response.code(), lines.join(" "));
                Ok(Receipt(self.mask(&said)))
            }
            Err(error) => {
                let text = self.mask(&error_chain(&error));
                // The connection was given up by lettre; the next letter makes a new one.
                Err(match error.status().map(u16::from) {
                    // An address that this server has no way to write.
                    None if error.is_client() => SendError::Refused(text),
                    // Before any login, or after one that ended: not about this letter (RFC 4954, 6).
                    Some(421 | 530 | 535 | 538) => SendError::Unreachable(text),
                    None => SendError::Unknown(text),
                    Some(_) if error.is_permanent() => SendError::Refused(text),
                    Some(_) => SendError::Later(text),
                })
            }
        }
    }

    /// As sendmail(8) takes it over: the recipient as an argument, the message with its headers on standard input, a
    /// single dot no end of it.
    async fn by_program(
        &self,
        program: &Path,
        recipient: &str,
        message: &[u8],
    ) -> Result<Receipt, SendError> {
        let words = [
            program.to_string_lossy().into_owned(),
            "-i".to_owned(),
            "-f".to_owned(),
            self.from.email.to_string(),
            "--".to_owned(),
            recipient.to_owned(),
        ];
        let invocation = Invocation {
            argv: words.to_vec(),
            env: Vec::new(),
            directory: None,
            user: None,
            timeout: self.limit,
            leaves_daemon: false,
        };
        // Mail programs are spoken to with the line ends of this system.
        let text = String::from_utf8_lossy(message).replace("\r\n", "\n");
        let outcome = outside::feed(&invocation, text.as_bytes()).await;
        let said = self.mask(outcome.output.trim());
        let with = |what: &str| format!("{}: {what} {said}", program.display());
        match outcome.end {
            End::Exited(0) => Ok(Receipt(with("taken over").trim().to_owned())),
            // EX_DATAERR, EX_NOUSER, EX_NOHOST of sysexits(3).
            End::Exited(code @ (65 | 67 | 68)) => {
                Err(SendError::Refused(with(&format!("exit status {code}:"))))
            }
            End::Exited(code) => Err(SendError::Later(with(&format!("exit status {code}:")))),
            End::Signalled(signal) => Err(SendError::Later(with(&format!("signal {signal}:")))),
            End::TimedOut => Err(SendError::Unknown(with("took too long:"))),
            End::NotStarted(why) => Err(SendError::Unreachable(with(&why))),
        }
    }

    async fn connect(
        &self,
        policy: &SmtpPolicy,
    ) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        // As the resolver wants addresses: without brackets.
        let name = policy.server.trim_matches(['[', ']']);
        let server = (name, policy.port);
        let hello = ClientId::default();
        let limit = Some(self.limit);
        let mut connection = match policy.security {
            Security::Tls => {
                let tls = Some(self.parameters(name)?);
                AsyncSmtpConnection::connect_tokio1(server, limit, &hello, tls, None).await?
            }
            Security::StartTls => {
                let tls = self.parameters(name)?;
                let mut plain =
                    AsyncSmtpConnection::connect_tokio1(server, limit, &hello, None, None).await?;
                plain.starttls(tls, &hello).await?;
                plain
            }
            Security::None => {
                AsyncSmtpConnection::connect_tokio1(server, limit, &hello, None, None).await?
            }
        };
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if let Err(error) = connection.auth(&mechanisms, credentials).await {
                connection.abort().await;
                return Err(error);
            }
        }
        Ok(connection)
    }

    fn parameters(&self, name: &str) -> Result<TlsParameters, lettre::transport::smtp::Error> {
        let mut builder = TlsParameters::builder(name.to_owned());
        if let Some(roots) = &self.roots {
            builder = builder.certificate_store(CertificateStore::None);
            for root in pem_pieces(roots) {
                builder = builder.add_root_certificate(Certificate::from_pem(&root)?);
            }
        }
        builder.build_rustls()
    }

    fn mail(&self, message: &Message, to: Address) -> Result<Vec<u8>, SendError> {
        let date = message.letters.iter().map(|letter| letter.date).max();
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(notify::subject(message))
            .message_id(Some(message.id.clone()))
            .date(moment(date.unwrap_or(Timestamp(0))))
            .header(AutoSubmitted);
        if !message.references.is_empty() {
            builder = builder
                .in_reply_to(message.references.join(" "))
                .references(message.references.join(" "));
        }
        let body = MultiPart::alternative_plain_html(notify::text(message), notify::html(message));
        let message = builder
            .multipart(body)
            .map_err(|error| SendError::Refused(error_chain(&error)))?;
        Ok(message.formatted())
    }

    /// A server may quote what it was sent.
    fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.hidden.iter().filter_map(Secret::expose_str) {
            text = text.replace(secret, "***");
        }
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST_ANSWER)
            .collect()
    }
}

impl Notifier for Email {
    fn send<'a>(
        &'a mut self,
        message: &'a Message,
        recipient: &'a str,
    ) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.hand_in(message, recipient))
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(mut open) = self.open.take() {
                let _ = within(GOODBYE, open.quit()).await;
            }
        })
    }
}

/// Bounds an exchange.
async fn within<T>(limit: Duration, exchange: impl Future<Output = T>) -> Result<T, SendError> {
    tokio::time::timeout(limit, exchange).await.map_err(|_| {
        SendError::Unreachable(format!(
            "the mail server did not finish within {} s",
            limit.as_secs()
        ))
    })
}

/// An address, its domain as the network knows it.
fn address(text: &str) -> Result<Address, SendError> {
    text.parse()
        .map_err(|_| SendError::Unreachable(format!("{text:?} is no mail address")))
}

/// Each certificate of a PEM file by itself: lettre reads one.
fn pem_pieces(file: &[u8]) -> Vec<Vec<u8>> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(file);
    let pieces = text.split_inclusive(END);
    pieces
        .filter(|piece| piece.ends_with(END))
        .map(|piece| piece.as_bytes().to_vec())
        .collect()
}

/// Mails know no moment before 1970.
fn moment(at: Timestamp) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.0).unwrap_or(0))
}

/// Tells machines that answer mails that nobody reads their answer (RFC 3834).
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Shown before the address.
const SENDER: &str = "renewd";
/// For QUIT, which changes nothing.
const GOODBYE: Duration = Duration::from_secs(2);
/// Characters of what a server said that are kept.
const LONGEST_ANSWER: usize = 500;
/// Bytes; the system's own bundle of all public roots has a quarter of it.
const LARGEST_ROOTS: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Concerned, Occasion, Seconds, Severity};

    #[test]
    fn a_mail_about_many_has_no_line_that_servers_refuse() {
        let policy = EmailPolicy {
            from: "renewd@web1.example.com".to_owned(),
            to: vec!["ops@example.com".to_owned()],
            relay: Relay::Sendmail("/usr/sbin/sendmail".into()),
        };
        let secret = |_: &SecretRef| Err("none".to_owned());
        let email = Email::new(&policy, Duration::from_secs(1), &secret).unwrap();
        let at = Timestamp(1_900_000_000);
        let letter = |n: i64| crate::model::Letter {
            host: "web1".to_owned(),
            key: format!("expiring/c{n}"),
            occasion: Occasion::Over,
            severity: Severity::Warning,
            title: format!("c{n}: {}", "ü and more ".repeat(200)),
            text: String::new(),
            certificates: vec![Concerned {
                name: format!("c{n}"),
                not_after: Some(at + Seconds::days(n)),
            }],
            digest: None,
            raised_at: at,
            date: at,
            message_id: format!("<renewd.expiring=2F{}.{n}@web1>", "long-name".repeat(8)),
            follows: Some(format!("<renewd.{}.{n}@web1>", "long-name".repeat(12))),
        };
        let message = notify::message((0..200).map(letter).collect(), Vec::new(), 0).unwrap();
        let mail = email
            .mail(&message, "ops@example.com".parse().unwrap())
            .unwrap();
        let mail = String::from_utf8(mail).unwrap();
        assert!(mail.contains("\r\nReferences: "), "{}", &mail[..500]);
        // RFC 5322, 2.1.1, without the line end.
        for line in mail.split("\r\n") {
            assert!(line.len() <= 998, "{} bytes: {}", line.len(), &line[..100]);
        }
        let headers = mail.split("\r\n\r\n").next().unwrap();
        assert!(headers.len() < 8_000, "{} bytes of headers", headers.len());
    }
}
