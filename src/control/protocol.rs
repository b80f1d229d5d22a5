//! The words: what a line may ask, and how it is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::engine::{Revocation, Wanted};
use crate::model::{CertificateId, JobName, RevisionId, Seconds, UnknownReason};

/// Of the protocol. A client says which one it speaks in each request.
pub const VERSION: u64 = 1;

/// A request, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Handed back in each line that belongs to it.
    pub id: Option<Value>,
    /// The policy file that the client goes by, where it has one; another one than the daemon's is refused.
    pub policy: Option<String>,
    /// What is asked.
    pub operation: Operation,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// What `renewd status` shows.
    Status,
    /// The alerts that stand.
    Alerts,
    /// What happened last.
    Recent,
    /// Everything that happens from now on.
    Events,
    /// Something to be done, with the time to wait for what cannot be done yet.
    Do(Wanted, Seconds),
}

impl Operation {
    /// Whether it changes something, for which reading rights are not enough.
    #[must_use]
    pub const fn acts(&self) -> bool {
        matches!(self, Self::Do(..))
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people.
    pub message: String,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// No line of JSON with the right fields.
    BadRequest,
    /// A version of the protocol that this daemon does not speak.
    Version,
    /// An operation that there is not.
    UnknownOperation,
    /// This user may not.
    Forbidden,
    /// The client goes by another policy file than the daemon.
    OtherPolicy,
    /// Too many clients.
    Busy,
    /// It could not be done; the message says why.
    Failed,
    /// The daemon ends.
    Stopping,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl Fault {
    pub(super) fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

#[derive(Deserialize)]
struct Written {
    v: Option<u64>,
    op: Option<String>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    wait: Option<u64>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    now: bool,
}

/// Understands a line.
///
/// # Errors
/// The fault with the request's `id`, where that could be made out.
pub fn parse(line: &[u8]) -> Result<Request, (Option<Value>, Fault)> {
    let written: Written = serde_json::from_slice(line).map_err(|error| {
        let message = format!("not a request: {error}");
        (None, Fault::new(FaultCode::BadRequest, message))
    })?;
    // It comes back in every line; a number or a word is enough to tell requests apart.
    let id = match written.id {
        Some(id @ (Value::String(_) | Value::Number(_))) if id.to_string().len() <= LONGEST_ID => {
            Some(id)
        }
        None => None,
        Some(_) => {
            let message = format!("`id` must be a text or a number of at most {LONGEST_ID} bytes");
            return Err((None, Fault::new(FaultCode::BadRequest, message)));
        }
    };
    let failed = |code, message: String| (id.clone(), Fault::new(code, message));
    match written.v {
        Some(VERSION) => {}
        Some(other) => {
            let message = format!("version {other} is not spoken here, only {VERSION}");
            return Err(failed(FaultCode::Version, message));
        }
        None => {
            let message = format!("`v`, the version of the protocol ({VERSION}), is missing");
            return Err(failed(FaultCode::BadRequest, message));
        }
    }
    let Some(op) = written.op else {
        let message = "`op` is missing".to_owned();
        return Err(failed(FaultCode::BadRequest, message));
    };
    let bad = |message: String| failed(FaultCode::BadRequest, message);
    let name = || {
        let missing = || bad(format!("`{op}` wants a `name`"));
        written.name.as_deref().ok_or_else(missing)
    };
    let wait = Seconds(i64::try_from(written.wait.unwrap_or(0)).unwrap_or(i64::MAX));
    let operation = match op.as_str() {
        "status" => Operation::Status,
        "alerts" => Operation::Alerts,
        "recent" => Operation::Recent,
        "events" => Operation::Events,
        "reload" => Operation::Do(Wanted::Reload, wait),
        "once" => Operation::Do(Wanted::Once, wait),
        "renew" => {
            let name = CertificateId::new(name()?).map_err(|error| bad(error.to_string()))?;
            Operation::Do(Wanted::Renew(name), wait)
        }
        "rollback" => {
            let name = CertificateId::new(name()?).map_err(|error| bad(error.to_string()))?;
            let to = written.to.as_deref().map(RevisionId::new).transpose();
            let to = to.map_err(|error| bad(error.to_string()))?;
            let force = written.force;
            Operation::Do(Wanted::Rollback { name, to, force }, wait)
        }
        "release" => {
            let name = CertificateId::new(name()?).map_err(|error| bad(error.to_string()))?;
            let force = written.force;
            Operation::Do(Wanted::Release { name, force }, wait)
        }
        "revoke" => {
            let name = CertificateId::new(name()?).map_err(|error| bad(error.to_string()))?;
            let revision = written.to.as_deref().map(RevisionId::new).transpose();
            let missing = || bad("`revoke` wants a `reason`".to_owned());
            let reason = written.reason.as_deref().ok_or_else(missing)?;
            let revocation = Revocation {
                name,
                revision: revision.map_err(|error| bad(error.to_string()))?,
                reason: reason
                    .parse()
                    .map_err(|error: UnknownReason| bad(error.to_string()))?,
                at_once: written.now,
            };
            Operation::Do(Wanted::Revoke(revocation), wait)
        }
        "jobs-run" => {
            let name: Result<JobName, _> = name()?.parse();
            let name = name.map_err(|error| bad(error.to_string()))?;
            Operation::Do(Wanted::Job(name), wait)
        }
        other => {
            let message = format!("there is no operation {other:?}");
            return Err(failed(FaultCode::UnknownOperation, message));
        }
    };
    Ok(Request {
        id,
        policy: written.policy,
        operation,
    })
}

impl Request {
    /// As a line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut fields = Map::new();
        fields.insert("v".to_owned(), VERSION.into());
        let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
        if let Some(id) = &self.id {
            put("id", id.clone());
        }
        if let Some(policy) = &self.policy {
            put("policy", policy.as_str().into());
        }
        let op = match &self.operation {
            Operation::Status => "status",
            Operation::Alerts => "alerts",
            Operation::Recent => "recent",
            Operation::Events => "events",
            Operation::Do(wanted, wait) => {
                put("wait", wait.0.max(0).into());
                match wanted {
                    Wanted::Reload => "reload",
                    Wanted::Once => "once",
                    Wanted::Renew(name) => {
                        put("name", name.as_str().into());
                        "renew"
                    }
                    Wanted::Rollback { name, to, force } => {
                        put("name", name.as_str().into());
                        put("force", (*force).into());
                        if let Some(to) = to {
                            put("to", to.as_str().into());
                        }
                        "rollback"
                    }
                    Wanted::Release { name, force } => {
                        put("name", name.as_str().into());
                        put("force", (*force).into());
                        "release"
                    }
                    Wanted::Revoke(wanted) => {
                        put("name", wanted.name.as_str().into());
                        put("reason", wanted.reason.as_str().into());
                        put("now", wanted.at_once.into());
                        if let Some(revision) = &wanted.revision {
                            put("to", revision.as_str().into());
                        }
                        "revoke"
                    }
                    Wanted::Job(name) => {
                        put("name", name.as_str().into());
                        "jobs-run"
                    }
                }
            }
        };
        put("op", op.into());
        Value::Object(fields).to_string()
    }
}

/// The line that ends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Carried out; the fields depend on the operation.
    Done(Map<String, Value>),
    /// Not carried out.
    Refused(Fault),
}

impl Answer {
    pub(super) fn to_line(&self, id: Option<&Value>) -> String {
        let fields = match self {
            Self::Done(fields) => {
                let mut all = fields.clone();
                all.insert("ok".to_owned(), true.into());
                all
            }
            Self::Refused(fault) => {
                let mut all = Map::new();
                all.insert("ok".to_owned(), false.into());
                let error = json!({ "code": fault.code, "message": fault.message });
                all.insert("error".to_owned(), error);
                all
            }
        };
        with_head(fields, id)
    }
}

/// The line of something that happened.
pub(super) fn event_line(event: Value, id: Option<&Value>) -> String {
    let mut fields = Map::new();
    fields.insert("event".to_owned(), event);
    with_head(fields, id)
}

fn with_head(mut fields: Map<String, Value>, id: Option<&Value>) -> String {
    fields.insert("v".to_owned(), VERSION.into());
    if let Some(id) = id {
        fields.insert("id".to_owned(), id.clone());
    }
    Value::Object(fields).to_string()
}

/// A line of whoever serves, as a client reads it.
pub(super) fn read_answer(line: &[u8]) -> Result<Result<Value, Answer>, String> {
    #[derive(Deserialize)]
    struct Error {
        code: FaultCode,
        message: String,
    }
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Value::Object(mut fields) = value else {
        return Err("not an object".to_owned());
    };
    if let Some(event) = fields.remove("event") {
        return Ok(Ok(event));
    }
    match fields.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(Err(Answer::Done(fields))),
        Some(false) => {
            let error = fields.remove("error").unwrap_or_default();
            let error: Error = serde_json::from_value(error).map_err(|error| error.to_string())?;
            Ok(Err(Answer::Refused(Fault::new(error.code, error.message))))
        }
        None => Err("neither an event nor an answer".to_owned()),
    }
}

const LONGEST_ID: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RevocationReason;

    #[track_caller]
    fn fault(line: &str) -> (Option<Value>, FaultCode) {
        let (id, fault) = parse(line.as_bytes()).expect_err(line);
        assert!(!fault.message.is_empty());
        (id, fault.code)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let name = CertificateId::new("www").expect("a name");
        let revision = RevisionId::new("0123456789abcdef").expect("an id");
        let back = |to| Wanted::Rollback {
            name: name.clone(),
            to,
            force: true,
        };
        let release = Wanted::Release {
            name: name.clone(),
            force: false,
        };
        for operation in [
            Operation::Status,
            Operation::Alerts,
            Operation::Recent,
            Operation::Events,
            Operation::Do(Wanted::Reload, Seconds(0)),
            Operation::Do(Wanted::Once, Seconds(30)),
            Operation::Do(Wanted::Renew(name.clone()), Seconds(3)),
            Operation::Do(back(None), Seconds(0)),
            Operation::Do(back(Some(revision)), Seconds(0)),
            Operation::Do(release, Seconds(0)),
            Operation::Do(
                Wanted::Revoke(Revocation {
                    name: name.clone(),
                    revision: Some(RevisionId::new("r2").unwrap()),
                    reason: RevocationReason::KeyCompromise,
                    at_once: true,
                }),
                Seconds(5),
            ),
            Operation::Do(Wanted::Job(JobName::Check), Seconds(0)),
        ] {
            let request = Request {
                id: Some("7".into()),
                policy: Some("/etc/renewd/renewd.toml".to_owned()),
                operation,
            };
            assert_eq!(parse(request.to_line().as_bytes()), Ok(request));
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        use FaultCode::{BadRequest, UnknownOperation, Version};
        for (line, expected) in [
            ("", (None, BadRequest)),
            ("{", (None, BadRequest)),
            ("[]", (None, BadRequest)),
            (r#"{"op":"status"}"#, (None, BadRequest)),
            (r#"{"v":1}"#, (None, BadRequest)),
            (r#"{"v":2,"op":"status","id":5}"#, (Some(json!(5)), Version)),
            (r#"{"v":-1,"op":"status"}"#, (None, BadRequest)),
            (
                r#"{"v":1,"op":"shell","id":"a"}"#,
                (Some(json!("a")), UnknownOperation),
            ),
            (r#"{"v":1,"op":"renew"}"#, (None, BadRequest)),
            (r#"{"v":1,"op":"renew","name":"../x"}"#, (None, BadRequest)),
            (r#"{"v":1,"op":"jobs-run","name":"x"}"#, (None, BadRequest)),
            (
                r#"{"v":1,"op":"rollback","name":"x","to":"../y"}"#,
                (None, BadRequest),
            ),
            (r#"{"v":1,"op":"release"}"#, (None, BadRequest)),
            (r#"{"v":1,"op":"status","id":{}}"#, (None, BadRequest)),
        ] {
            assert_eq!(fault(line), expected, "{line}");
        }
    }

    #[test]
    fn later_fields_are_passed_over() {
        assert!(parse(br#"{"v":1,"op":"status","colour":"red"}"#).is_ok());
    }

    proptest! {
        #[test]
        fn no_line_is_a_reason_to_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&line);
            let _ = read_answer(&line);
        }

        #[test]
        fn no_line_that_looks_like_one_is_either(
            op in "(status|renew|rollback|release|jobs-run|events|[a-z]{0,5})", name in "\\PC{0,80}", id in "\\PC{0,80}",
            v in any::<i64>(), wait in any::<i64>(),
        ) {
            let v = if v % 2 == 0 { 1 } else { v };
            let line = json!({ "v": v, "op": op, "name": name, "id": id, "wait": wait }).to_string();
            match parse(line.as_bytes()) {
                Ok(request) => prop_assert_eq!(parse(request.to_line().as_bytes()), Ok(request)),
                Err((_, fault)) => {
                    let answer = Answer::Refused(fault);
                    prop_assert_eq!(read_answer(answer.to_line(None).as_bytes()), Ok(Err(answer)));
                }
            }
        }
    }
}
