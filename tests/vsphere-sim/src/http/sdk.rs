//! `/sdk`: SOAP over HTTP.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::methods::{self, Context};
use crate::options::ExpiredAnswer;
use crate::plan::Trouble;
use crate::wire::envelope::{self, Call};
use crate::wire::{Fault, Object, Outcome, Value, object};
use crate::world::Shared;

use super::body::Body;
use super::line::Line;
use super::{Entrance, NoAnswer, Reply, keep, plain, respond, versions, xml};

/// No request of a client is longer.
const LONGEST_REQUEST: usize = 4 << 20;
const COOKIE: &str = "vmware_soap_session";

pub async fn answer(request: Request<Incoming>, line: &Arc<Line>, entrance: &Entrance) -> Reply {
    if request.method() != Method::POST {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "only POST"));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LONGEST_REQUEST).collect().await else {
        return Err(NoAnswer);
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let method = envelope::method_name(&body).unwrap_or_default();
    let headers = parts.headers.clone();
    keep(
        entrance,
        &Request::from_parts(parts, ()),
        &method,
        body.clone(),
    );
    let shared = &entrance.shared;
    let troubles = shared.faults.call(&method);
    let echo = troubles.iter().find_map(|trouble| match trouble {
        Trouble::Echo(status) => StatusCode::from_u16(*status).ok(),
        _ => None,
    });
    if let Some(status) = echo {
        return Ok(plain(status, &body));
    }
    if let Some(reply) = before(shared, &headers, line, &troubles).await {
        return reply;
    }
    let mut context = Context {
        shared: shared.clone(),
        session: session_of(shared, &headers),
        user_agent: text(&headers, header::USER_AGENT.as_str()),
        new_cookie: None,
    };
    let busy = context.session.as_ref().map(|key| Busy::new(shared, key));
    let outcome = unpanicked(perform(&mut context, &headers, &body)).await;
    drop(busy);
    let mut response = written(outcome);
    if let Some(cookie) = &context.new_cookie {
        let cookie = format!("{COOKIE}=\"{cookie}\"; Path=/; HttpOnly; Secure;");
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, value);
        }
    }
    if shared.read().options.mangled_text {
        mangle(&mut response);
    }
    after(line, &troubles, response).await
}

/// Sends replacement characters as bytes that are no UTF-8.
fn mangle(response: &mut Response<Body>) {
    if let Body::Full(Some(text)) = response.body_mut() {
        let mut mangled = Vec::with_capacity(text.len());
        for (index, part) in String::from_utf8_lossy(text).split('\u{fffd}').enumerate() {
            if index > 0 {
                mangled.push(0xfc);
            }
            mangled.extend_from_slice(part.as_bytes());
        }
        *text = mangled.into();
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

/// The value of the session's cookie in a request.
fn cookie_of(headers: &HeaderMap) -> Option<String> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = all
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.trim_matches('"').to_owned())
}

pub fn session_of(shared: &Arc<Shared>, headers: &HeaderMap) -> Option<String> {
    let cookie = cookie_of(headers)?;
    let mut world = shared.read();
    world.expire_idle_sessions();
    let now = world.clock.now();
    let session = world.session_of_cookie(&cookie)?;
    session.calls += 1;
    session.last_active = now;
    Some(session.key.clone())
}

/// A call of a session that is being answered.
struct Busy {
    shared: Arc<Shared>,
    key: String,
}

impl Busy {
    fn new(shared: &Arc<Shared>, key: &str) -> Busy {
        if let Some(session) = shared.read().session_mut(key) {
            session.busy += 1;
        }
        Busy {
            shared: shared.clone(),
            key: key.to_owned(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut world = self.shared.read();
        let now = world.clock.now();
        if let Some(session) = world.session_mut(&self.key) {
            session.busy = session.busy.saturating_sub(1);
            session.last_active = now;
        }
    }
}

/// What the plan does before the call has any effect.
async fn before(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    line: &Arc<Line>,
    troubles: &[Trouble],
) -> Option<Reply> {
    for trouble in troubles {
        match trouble {
            Trouble::Hold(gate) => gate.wait().await,
            Trouble::Fault(fault) => return Some(Ok(written(Err(fault.clone())))),
            Trouble::Close => {
                line.close();
                return Some(Err(NoAnswer));
            }
            Trouble::Reset => {
                line.reset();
                return Some(Err(NoAnswer));
            }
            Trouble::Status(status) => return Some(Ok(http_status(*status))),
            Trouble::Html => {
                let page = "<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>";
                return Some(Ok(respond(StatusCode::OK, "text/html", page.to_owned())));
            }
            Trouble::LoseSession => {
                if let Some(key) = session_of(shared, headers) {
                    shared.write().close_session(&key);
                }
            }
            Trouble::LeaseError(fault) => {
                let mut world = shared.write();
                let all: Vec<_> = world
                    .leases
                    .values()
                    .map(|lease| lease.reference.clone())
                    .collect();
                all.iter()
                    .for_each(|lease| world.fail_lease(lease, fault.clone()));
            }
            _ => {}
        }
    }
    None
}

/// What the plan does to the answer.
async fn after(line: &Arc<Line>, troubles: &[Trouble], mut response: Response<Body>) -> Reply {
    for trouble in troubles {
        match trouble {
            Trouble::HoldReply(gate) => gate.wait().await,
            Trouble::FaultAfter(fault) => response = written(Err(fault.clone())),
            Trouble::StatusAfter(status) => response = http_status(*status),
            Trouble::ReplyLost => {
                line.close();
                return Err(NoAnswer);
            }
            Trouble::TruncatedXml => {
                if let Body::Full(Some(text)) = response.body_mut() {
                    text.truncate(text.len() / 2);
                }
            }
            _ => {}
        }
    }
    Ok(response)
}

/// An answer of some machine between client and server, or of one that has too much to do.
pub fn http_status(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!("<html><body><h1>{status}</h1></body></html>");
    let mut response = respond(status, "text/html", text);
    if matches!(status.as_u16(), 429 | 503) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A method that panics is answered with a fault, as a server does whose worker fails, and not with a connection that ends.
async fn unpanicked<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(Fault::system("the simulated method panicked"))))
    })
    .await
}

async fn perform(
    context: &mut Context,
    headers: &HeaderMap,
    body: &str,
) -> Outcome<(Call, Option<Value>)> {
    let content_type = text(headers, header::CONTENT_TYPE.as_str());
    if !content_type.to_lowercase().starts_with("text/xml") {
        return Err(Fault::invalid_request(format!(
            "The content type is \"{content_type}\", not text/xml"
        )));
    }
    let action = text(headers, "soapaction");
    if !versions::is_known(&action) {
        let version = action.trim_matches('"');
        return Err(Fault {
            code: "VersionMismatchFaultCode",
            ..Fault::invalid_request(format!("Unsupported version URI \"{version}\""))
        });
    }
    let call = envelope::read_call(body)?;
    if context.session.is_none()
        && matches!(
            call.method.name.as_str(),
            "RetrieveProperties" | "RetrievePropertiesEx"
        )
        && context.shared.read().options.expired_answer == ExpiredAnswer::MissingSet
    {
        let result = unauthenticated_read(&call);
        return Ok((call, Some(result)));
    }
    let result = methods::dispatch(context, &call).await?;
    Ok((call, result))
}

/// How some servers answer a property read of a session that is no more: with nothing but faults in it.
fn unauthenticated_read(call: &Call) -> Value {
    let mut all = Vec::new();
    for spec in call.arguments.objects("specSet") {
        let paths: Vec<&str> = spec
            .objects("propSet")
            .flat_map(|set| set.texts("pathSet"))
            .collect();
        for target in spec
            .objects("objectSet")
            .filter_map(|set| set.reference("obj"))
        {
            let fault = Fault::not_authenticated()
                .with("object", target)
                .with("privilegeId", "System.View");
            let missing = paths.iter().map(|path| {
                object("MissingProperty")
                    .with("path", *path)
                    .with("fault", fault.localized())
            });
            let content = object("ObjectContent")
                .with("obj", target)
                .with("missingSet", missing.collect::<Vec<Object>>());
            all.push(content);
        }
    }
    if call.method.name == "RetrieveProperties" {
        return all.into();
    }
    object("RetrieveResult").with("objects", all).into()
}

fn written(outcome: Outcome<(Call, Option<Value>)>) -> Response<Body> {
    let text = match &outcome {
        Ok((call, value)) => {
            envelope::write_result(call.method, value.as_ref()).map(|text| (StatusCode::OK, text))
        }
        Err(fault) => {
            envelope::write_fault(fault).map(|text| (StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    };
    match text {
        Ok((status, text)) => xml(status, text),
        Err(defect) => {
            let fault = Fault::system(format!(
                "the simulator has made an invalid answer: {defect}"
            ));
            let text = envelope::write_fault(&fault).unwrap_or_default();
            xml(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_method_that_panics_is_a_fault() {
        let outcome: Outcome<()> = unpanicked(async { panic!("a defect") }).await;
        assert_eq!(outcome.unwrap_err().kind(), "SystemError");
    }
}
