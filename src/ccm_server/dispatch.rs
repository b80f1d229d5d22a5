//! The way of one request: found, read, faulted if that is wanted, authenticated, checked, carried out, answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::auth;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::faults::Fault;
use crate::ccm_server::field;
use crate::ccm_server::http::Limits;
use crate::ccm_server::openapi;
use crate::ccm_server::operation::{Call, Operation, Payload, Service};
use crate::ccm_server::pca;
use crate::ccm_server::peers::{Peer, Places};
use crate::ccm_server::route::{self, Found};
use crate::ccm_server::seen::Seen;
use crate::ccm_server::server::Shared;
use crate::ccm_server::signature::{self, Signed};
use crate::ccm_server::text;

/// Answers a request; `None` drops the connection.
pub(super) async fn handle(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
    limits: Limits,
    stop: CancellationToken,
) -> Option<Response<Full<Bytes>>> {
    let request_id = text::random_hex::<16>();
    let method = request.method().as_str().to_owned();
    let path = request.uri().path().to_owned();
    let found = route::find(&method, &path);
    let name = found
        .as_ref()
        .map_or_else(|| pca::operation_of(&path), |found| found.operation.chapter);
    let service = found
        .as_ref()
        .map_or_else(|| by_path(&path), |found| found.operation.service);
    let fault = found
        .as_ref()
        .and_then(|found| shared.faults.draw(found.operation.chapter));
    let outcome = match fault {
        Some(Fault::LostRequest) => None,
        Some(Fault::Stalled) => {
            stop.cancelled().await;
            None
        }
        Some(Fault::RateLimited) => {
            let throttled = Failure::new(code("APIGW.0308"));
            Some(Err(
                throttled.retry_after(shared.faults.faults().retry_after)
            ))
        }
        Some(Fault::ServerError) => Some(Err(Failure::because(
            service.unknown_error(),
            "this failure was asked for",
        ))),
        Some(Fault::LostResponse | Fault::Withheld) | None => match found {
            Some(found) => Some(carry_out(request, found, Arc::clone(&shared), limits).await),
            None => match fetched(&method, &path, &shared).await {
                Ok(Some(object)) => Some(Ok(object)),
                Err(failure) => Some(Err(failure)),
                Ok(None) => Some(Err(Failure::because(
                    code("APIGW.0101"),
                    format!("there is no {method} {path}"),
                ))),
            },
        },
    };
    let answer = outcome.map(|result| {
        if let Err(failure) = &result {
            let (code, detail) = (failure.code(service).name, failure.detail());
            tracing::debug!(%request_id, %method, %path, code, detail, "request refused");
        }
        result.unwrap_or_else(|failure| failure.answer(service, &request_id))
    });
    let lost = matches!(fault, Some(Fault::LostResponse | Fault::Withheld));
    let dropped = answer.is_none() || lost;
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    tracing::info!(%request_id, %method, %path, status, fault = fault.map(Fault::name), "request");
    shared.log.add(Seen {
        operation: name.to_owned(),
        status: if dropped { 0 } else { status },
        request_id: request_id.clone(),
        fault,
    });
    if fault == Some(Fault::Withheld) {
        stop.cancelled().await;
    }
    if dropped {
        return None;
    }
    answer.map(|answer| {
        let response = respond(disguise(answer, &shared), &request_id);
        dated(response, &shared)
    })
}

/// With the moment, by the clock that everything else here goes by.
pub(super) fn dated(mut response: Response<Full<Bytes>>, shared: &Shared) -> Response<Full<Bytes>> {
    let moment = jiff::Timestamp::from_second(shared.clock.now().0).unwrap_or_default();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
    if let Some(date) = date.ok().and_then(|date| HeaderValue::try_from(date).ok()) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// What is not an operation may be the description of all, or an object in a bucket.
async fn fetched(
    method: &str,
    path: &str,
    shared: &Arc<Shared>,
) -> Result<Option<Answer>, Failure> {
    if method == "GET" && path == openapi::PATH {
        Ok(Some(openapi::answer()))
    } else if method == "GET" {
        pca::fetch(shared, path).await
    } else {
        Ok(None)
    }
}

/// Carries out in a task of its own: what has begun ends, whether or not the client waits for it.
async fn carry_out(
    request: hyper::Request<Incoming>,
    found: Found,
    shared: Arc<Shared>,
    limits: Limits,
) -> Result<Answer, Failure> {
    let service = found.operation.service;
    let mut longest = limits.request;
    if is_large(&request, found.operation, limits) {
        longest += arrival(most_bytes(found.operation, limits), limits.slow);
    }
    let task = tokio::spawn(async move {
        let work = run(request, found, &shared, limits);
        match tokio::time::timeout(longest, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::because(
                service.unknown_error(),
                "the request took too long",
            )),
        }
    });
    match task.await {
        Ok(result) => result,
        Err(error) => Err(Failure::internal(&error)),
    }
}

async fn run(
    request: hyper::Request<Incoming>,
    found: Found,
    shared: &Arc<Shared>,
    limits: Limits,
) -> Result<Answer, Failure> {
    let operation = found.operation;
    let now = shared.clock.now();
    let large = is_large(&request, operation, limits);
    let (parts, incoming) = request.into_parts();
    auth::some_credentials(operation, &parts.headers)?;
    let headers = lines(&parts.headers);
    // Those that take much are few at a time, and for those who are known.
    let _place = if large {
        auth::somebody(shared, operation, &headers, now).await?;
        Some(LARGE.take(parts.extensions.get::<Peer>().copied()).await)
    } else {
        None
    };
    let body = read(incoming, operation, limits, large).await?;
    let query = parts.uri.query().unwrap_or_default();
    let signed = Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query,
        headers: &headers,
        body: &body,
    };
    let caller = auth::caller(shared, operation, &signed, now).await?;
    let otherwise = operation.service.bad_parameter();
    let call = Call {
        shared,
        caller,
        now,
        path: field::check(operation.path_fields, &found.parameters, otherwise)?,
        query: field::check(operation.query, &given(query), otherwise)?,
        body: parse(operation, &body)?,
        raw: body,
    };
    (operation.run)(&call).await
}

/// Headers as a signature covers them.
pub(super) fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    lines.collect()
}

/// The parameters of a query.
pub(super) fn given(query: &str) -> Map<String, Value> {
    let pairs = signature::pairs(query).into_iter();
    // An empty parameter is as good as none: `name=` is what forms and some tools send.
    let pairs = pairs.filter(|(_, value)| !value.is_empty());
    pairs
        .map(|(name, value)| (name, Value::String(value)))
        .collect()
}

async fn read(
    incoming: Incoming,
    operation: &Operation,
    limits: Limits,
    large: bool,
) -> Result<Bytes, Failure> {
    let service = operation.service;
    let body = Limited::new(incoming, most_bytes(operation, limits));
    let read = if large {
        // Its pace is its limit: the largest one may take more than a minute.
        Ok(at_a_pace(body, limits.slow).await)
    } else {
        let whole = async { body.collect().await.map(Collected::to_bytes) };
        tokio::time::timeout(limits.body, whole).await
    };
    match read {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::new(match operation.body {
                Payload::Raw { too_long, .. } => too_long,
                Payload::None | Payload::Json(_) => code("APIGW.0201"),
            }))
        }
        Ok(Err(error)) => Err(Failure::because(
            service.bad_parameter(),
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(Failure::because(
            service.bad_parameter(),
            "the body did not arrive in time",
        )),
    }
}

/// Reads a body that must not be behind its pace for longer than `slow`: somebody else waits for its place.
async fn at_a_pace(
    mut body: Limited<Incoming>,
    slow: Duration,
) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let mut whole = Vec::new();
    loop {
        let until = begun + arrival(whole.len(), slow);
        let frame = tokio::time::timeout_at(until, body.frame()).await;
        match frame.map_err(|_| TooSlow)? {
            None => return Ok(whole.into()),
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it arrives too slowly")]
struct TooSlow;

/// When so many bytes of a large body have to be there, and be followed by the next.
fn arrival(bytes: usize, slow: Duration) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    slow + Duration::from_secs(1).saturating_mul(bytes) / PACE
}

/// Whether the body is, or may be, larger than those of other operations.
fn is_large(request: &hyper::Request<Incoming>, operation: &Operation, limits: Limits) -> bool {
    let announced = request.body().size_hint().upper();
    most_bytes(operation, limits) > limits.body_bytes
        && announced.is_none_or(|bytes| bytes > limits.body_bytes as u64)
}

/// Of a body: the server's limit, or what the operation's own fields take where that is more (a CA with its chain of
/// 2 MiB, CCM API 4.2.1.11).
fn most_bytes(operation: &Operation, limits: Limits) -> usize {
    let fields = match operation.body {
        Payload::Json(fields) => fields,
        Payload::Raw { most, .. } => return most,
        Payload::None => return limits.body_bytes,
    };
    let own = fields.iter().map(field::Field::most_bytes).sum();
    if own > Limits::default().body_bytes {
        own
    } else {
        limits.body_bytes
    }
}

/// The fields of a body, checked.
pub(super) fn parse(operation: &Operation, body: &[u8]) -> Result<field::Input, Failure> {
    let fields = match operation.body {
        Payload::None | Payload::Raw { .. } => return Ok(field::Input::default()),
        Payload::Json(fields) => fields,
    };
    let otherwise = operation.service.bad_parameter();
    match serde_json::from_slice(body) {
        Ok(Value::Object(given)) => field::check(fields, &given, otherwise),
        Ok(_) => Err(Failure::because(
            otherwise,
            "the body must be a JSON object",
        )),
        Err(error) => Err(Failure::because(
            otherwise,
            format!("the body is no JSON object: {error}"),
        )),
    }
}

/// Whose codes an unknown path gets; only the form of the answer depends on it.
fn by_path(path: &str) -> Service {
    if path.contains("/scm/") {
        Service::Scm
    } else {
        Service::Pca
    }
}

/// The faults that change an answer.
fn disguise(mut answer: Answer, shared: &Shared) -> Answer {
    if let Body::Json(body) = &mut answer.body {
        let faults = shared.faults.faults();
        if faults.extra_fields {
            extend(body);
        }
        if faults.crlf {
            carriage_returns(body);
        }
    }
    answer
}

fn extend(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(extend);
            fields.insert(
                "x_unheard_of".to_owned(),
                serde_json::json!({"n": [1, null, "x"]}),
            );
        }
        Value::Array(items) => items.iter_mut().for_each(extend),
        _ => {}
    }
}

fn carriage_returns(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("-----BEGIN ") => {
            *text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        Value::Object(fields) => fields.values_mut().for_each(carriage_returns),
        Value::Array(items) => items.iter_mut().for_each(carriage_returns),
        _ => {}
    }
}

/// Requests that are larger than others, at the same time: of all, and of one peer.
static LARGE: Places = Places::new(8, 2);
/// Bytes of such a request that arrive in a second, at least.
const PACE: u32 = 32 * 1024;

/// An answer as it is sent.
pub(super) fn respond(answer: Answer, request_id: &str) -> Response<Full<Bytes>> {
    let (bytes, kind) = match answer.body {
        Body::Json(value) => (Bytes::from(value.to_string()), Some("application/json")),
        Body::Bytes { kind, bytes } => (bytes, Some(kind)),
        Body::Empty => (Bytes::new(), None),
    };
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let more = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in more.chain([("x-request-id", request_id)]) {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = pair {
            headers.insert(name, value);
        }
    }
    response
}
