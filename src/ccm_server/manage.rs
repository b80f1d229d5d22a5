//! The management listener: what a rehearsal arranges while the server runs, as JSON over HTTP. It listens on loopback only
//! and asks nobody who he is; what comes through a browser is refused.
//!
//! | request | does |
//! |---|---|
//! | `GET /clock`, `POST /clock` | shows the clock; lets time pass |
//! | `GET /applications`, `GET /applications/ID` | what was applied for, with the records to show |
//! | `POST /applications/ID/approve`, `…/reject` | decides about the present stage |
//! | `POST /look` | looks at everything that is due, and answers when that is done |
//! | `GET /reviews`, `POST /reviews/CLASS` | how long reviews take and how they end |
//! | `GET /faults`, `POST /faults` | the plan of faults |
//! | `GET /requests` | the requests of the API that were seen last |
//! | `GET /scm/root` | the root of SCM's certificates, PEM |

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::ccm_server::failure::Failure;
use crate::ccm_server::faults::{Fault, Faults};
use crate::ccm_server::http::Limits;
use crate::ccm_server::operation::Service;
use crate::ccm_server::scm::{self, Class, Outcome, Review};
use crate::ccm_server::server::Shared;
use crate::ccm_server::x509::{self, LineEnd};
use crate::model::{Seconds, Timestamp};

/// Answers a request.
pub(super) async fn handle(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
    limits: Limits,
) -> Response<Full<Bytes>> {
    let (parts, incoming) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path().to_owned();
    let done = async {
        not_by_a_browser(&parts.headers)?;
        let body = Limited::new(incoming, LARGEST).collect();
        let body = tokio::time::timeout(limits.body, body)
            .await
            .map_err(|_| Refusal::bad("the body did not arrive in time"))?
            .map_err(|error| Refusal::bad(&format!("the body could not be read: {error}")))?
            .to_bytes();
        let body = fields(&body)?;
        answer(&shared, &method, &path, &body).await
    };
    // In a task's place, not in one: who manages waits for the answer.
    let (status, body) = match done.await {
        Ok(body) => (StatusCode::OK, body),
        Err(refusal) => (refusal.status, json!({"error": refusal.text})),
    };
    tracing::info!(%method, %path, status = status.as_u16(), "management request");
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Why nothing was done.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn of(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            text: text.to_owned(),
        }
    }
    fn bad(text: &str) -> Self {
        Self::of(StatusCode::BAD_REQUEST, text)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = failure.code(Service::Scm);
        let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::of(status, failure.detail().unwrap_or(code.message))
    }
}

/// Pages of other sites can send requests to loopback, by its address or by a name of theirs that leads there.
fn not_by_a_browser(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    });
    let ours = match name {
        Some("localhost") => true,
        Some(name) => {
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    if ours && !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    Err(Refusal::of(
        StatusCode::FORBIDDEN,
        "requests must name a loopback address as their host, and come from no web page",
    ))
}

fn fields(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refusal::bad("the body must be a JSON object")),
        Err(error) => Err(Refusal::bad(&format!("the body is no JSON: {error}"))),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    method: &str,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let now = shared.clock.now();
    match (method, parts.as_slice()) {
        ("GET", ["clock"]) => Ok(json!({"now": now.to_string()})),
        ("POST", ["clock"]) => {
            only(body, &["advance_seconds", "set"])?;
            move_clock(shared, body).await
        }
        ("GET", ["applications"]) => {
            let all = scm::applications(shared, None, now).await?;
            Ok(json!({"applications": all}))
        }
        ("GET", ["applications", id]) => one(shared, id, now).await,
        ("POST", ["applications", id, "approve"]) => {
            only(body, &[])?;
            scm::approve(shared, id, now).await?;
            one(shared, id, now).await
        }
        ("POST", ["applications", id, "reject"]) => {
            only(body, &["reason"])?;
            let reason = text(body, "reason")?.unwrap_or("the application was rejected");
            scm::reject(shared, id, reason, now).await?;
            one(shared, id, now).await
        }
        ("POST", ["look"]) => {
            only(body, &[])?;
            scm::look_at_applications(shared).await?;
            Ok(json!({"now": now.to_string()}))
        }
        ("GET", ["reviews"]) => Ok(reviews(shared)),
        ("POST", ["reviews", class]) => {
            let class = Class::named(class).ok_or_else(nowhere)?;
            let review = review(shared.life.review(class), body)?;
            scm::set_review(shared, class, review, now).await?;
            Ok(reviews(shared))
        }
        ("GET", ["faults"]) => Ok(json!({"plan": shared.faults.faults().to_string()})),
        ("POST", ["faults"]) => {
            only(body, &["plan"])?;
            let plan = text(body, "plan")?.ok_or_else(|| Refusal::bad("plan is missing"))?;
            let plan: Faults = plan
                .parse()
                .map_err(|error| Refusal::bad(&format!("{error}")))?;
            let shown = plan.to_string();
            shared.faults.replace(plan);
            Ok(json!({"plan": shown}))
        }
        ("GET", ["requests"]) => Ok(requests(shared)),
        ("GET", ["scm", "root"]) => {
            let root = scm::root_certificate(shared, now).await?;
            Ok(json!({"certificate": x509::encode("CERTIFICATE", &root, LineEnd::Lf)}))
        }
        _ => Err(nowhere()),
    }
}

fn nowhere() -> Refusal {
    Refusal::of(
        StatusCode::NOT_FOUND,
        "there is nothing of this method and path; renewd-ccm(8) lists what there is",
    )
}

/// A misspelt field must not be taken for a wish that was met.
fn only(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Refusal::bad(&format!("there is no field {name:?} here"))),
    }
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(&format!("{name} must be a string"))),
    }
}

async fn one(shared: &Shared, id: &str, now: Timestamp) -> Result<Value, Refusal> {
    let found = scm::applications(shared, Some(id), now).await?;
    let missing = || Refusal::of(StatusCode::NOT_FOUND, "there is no order of this id");
    found.into_iter().next().ok_or_else(missing)
}

async fn move_clock(shared: &Shared, body: &Map<String, Value>) -> Result<Value, Refusal> {
    let now = shared.clock.now();
    let wanted = "write either advance_seconds, a whole number, or set, a later moment such as 2027-04-01T12:00:00Z";
    let by = match (body.get("advance_seconds"), text(body, "set")?) {
        (Some(number), None) => number.as_i64().map(Seconds),
        (None, Some(moment)) => Timestamp::parse(moment).ok().map(|at| now.until(at)),
        _ => None,
    };
    let by = by
        .filter(|by| (Seconds(0)..=FARTHEST).contains(by))
        .ok_or_else(|| Refusal::bad(wanted))?;
    if !shared.clock.shift(by) {
        return Err(Refusal::of(
            StatusCode::CONFLICT,
            "the clock of this server is the machine's, and cannot be moved",
        ));
    }
    if let Some(whole) = shared.clock.shifted() {
        let write = shared.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(SHIFT)
                .bind(whole.0.to_string().into_bytes())
                .execute(connection)
                .await
            })
        });
        write.await.map_err(Failure::from)?;
    }
    shared.life.ring();
    Ok(json!({"now": shared.clock.now().to_string()}))
}

/// Sets a clock that can be moved to where an earlier server of this state had it: certificates of the future would
/// otherwise be of the past again.
pub(super) async fn restore_clock(shared: &Shared) -> Result<(), sqlx::Error> {
    let (Some(_), Some(kept)) = (shared.clock.shifted(), kept(shared).await?) else {
        return Ok(());
    };
    shared.clock.shift(kept);
    tracing::warn!(now = %shared.clock.now(), "the clock goes on from where it was moved to");
    Ok(())
}

async fn kept(shared: &Shared) -> Result<Option<Seconds>, sqlx::Error> {
    let kept: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
        .bind(SHIFT)
        .fetch_optional(shared.db.read())
        .await?;
    let number = kept.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    Ok(number.map(Seconds))
}

fn reviews(shared: &Shared) -> Value {
    let all = shared.life.reviews().into_iter();
    let all = all.map(|(class, review)| (class.name().to_owned(), review.json()));
    Value::Object(all.collect())
}

/// The review with what the body changes in it.
fn review(mut review: Review, body: &Map<String, Value>) -> Result<Review, Refusal> {
    let times = [
        ("checking_seconds", &mut review.checking),
        ("issuing_seconds", &mut review.issuing),
        ("revoking_seconds", &mut review.revoking),
    ];
    let names: Vec<&str> = times
        .iter()
        .map(|(name, _)| *name)
        .chain(["outcome"])
        .collect();
    only(body, &names)?;
    for (name, time) in times {
        let Some(given) = body.get(name) else {
            continue;
        };
        let seconds = given.as_i64().map(Seconds);
        let sound = seconds.filter(|time| (Seconds(0)..=scm::LONGEST_REVIEW).contains(time));
        *time = sound.ok_or_else(|| {
            Refusal::bad(&format!(
                "{name} must be a whole number from 0 to {}",
                scm::LONGEST_REVIEW.0
            ))
        })?;
    }
    if let Some(outcome) = text(body, "outcome")? {
        review.outcome = Outcome::named(outcome)
            .ok_or_else(|| Refusal::bad("outcome must be pass, fail or hold"))?;
    }
    Ok(review)
}

fn requests(shared: &Shared) -> Value {
    let last = shared.log.last();
    let last: Vec<Value> = last
        .iter()
        .map(|seen| {
            json!({
                "operation": seen.operation,
                "status": seen.status,
                "request_id": seen.request_id,
                "fault": seen.fault.map(Fault::name),
            })
        })
        .collect();
    json!({"requests": last, "counts": shared.log.counts()})
}

/// Bytes of a body.
const LARGEST: usize = 64 * 1024;
/// Moves beyond a century are slips.
const FARTHEST: Seconds = Seconds::days(36_525);
/// Where the move of the clock is kept.
const SHIFT: &str = "clock_shift";
