//! The service as it is before and without a log-in.

use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::transport::http::Http;
use crate::transport::soap::{self, Element, Node, Request};
use crate::vsphere::content::{self, ServiceContent};
use crate::vsphere::{Moref, fault};
use std::time::{Duration, Instant};
use url::Url;
use zeroize::Zeroizing;

/// Where calls go.
pub(super) struct Endpoint {
    pub(super) http: Http,
    pub(super) url: Url,
    pub(super) action: String,
    pub(super) limit: Duration,
    pub(super) log: Log,
}

/// One call of a method.
pub(super) struct Call<'a> {
    pub(super) this: &'a Moref,
    pub(super) method: &'a str,
    pub(super) arguments: &'a [Element],
    pub(super) cookie: Option<&'a str>,
    pub(super) operation: Option<&'a str>,
    /// Whether there is a password among the arguments.
    pub(super) secret: bool,
}

impl Endpoint {
    pub(super) async fn call(&self, action: &str, call: Call<'_>) -> Result<soap::Reply> {
        let started = Instant::now();
        let mut method = Element::new(call.method).with(Element::moref("_this", call.this));
        for argument in call.arguments {
            method = method.with(argument.clone());
        }
        let reply = soap::call(
            &self.http,
            Request {
                url: &self.url,
                action,
                cookie: call.cookie,
                operation: call.operation,
                secret: call.secret,
                method,
                limit: self.limit,
            },
        )
        .await;
        self.log.record(Level::Debug, || {
            let outcome = match &reply {
                Ok(reply) => match &reply.outcome {
                    Ok(_) => reply.status.to_string(),
                    Err(fault) => format!("{} {}", reply.status, fault.kind),
                },
                Err(error) => format!("{:?}", error.kind()),
            };
            let milliseconds = started.elapsed().as_millis();
            format!(
                "{} of {}: {outcome}, {milliseconds} ms",
                call.method, call.this
            )
        });
        reply
    }

    /// The server's singletons, and the cookie it may have given with them.
    pub(super) async fn retrieve_content(
        &self,
    ) -> Result<(ServiceContent, Option<Zeroizing<String>>)> {
        let this = service_instance();
        let mut refused = None;
        for action in content::FIRST_ACTIONS {
            let call = Call {
                this: &this,
                method: "RetrieveServiceContent",
                arguments: &[],
                cookie: None,
                operation: None,
                secret: false,
            };
            let reply = self.call(action, call).await?;
            match reply.outcome {
                Ok(response) => {
                    let empty = Node::default();
                    let content = response.child("returnval").unwrap_or(&empty);
                    return Ok((
                        ServiceContent::read(content)?,
                        session_cookie(&reply.cookies),
                    ));
                }
                Err(fault) => refused = Some(fault::of_call(&fault)),
            }
        }
        let refused = refused.unwrap_or_else(|| Error::new(Kind::Fault, "no version to ask for"));
        Err(refused.context("RetrieveServiceContent"))
    }
}

pub(super) fn service_instance() -> Moref {
    Moref::new("ServiceInstance", "ServiceInstance")
}

/// Stands for the session in every request.
const SESSION_COOKIE: &str = "vmware_soap_session";

/// The `name=value` of the session's cookie.
pub(super) fn session_cookie(set: &[Zeroizing<String>]) -> Option<Zeroizing<String>> {
    set.iter().find_map(|header| {
        let pair = header.split(';').next()?.trim();
        let (name, value) = pair.split_once('=')?;
        let is_it = name.trim() == SESSION_COOKIE && !value.trim_matches('"').is_empty();
        is_it.then(|| Zeroizing::new(pair.to_owned()))
    })
}

/// The part of the cookie that nobody may see.
pub(super) fn secret_of(cookie: &str) -> &str {
    let value = cookie.split_once('=').map_or(cookie, |(_, value)| value);
    value.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let headers = [
            "a=b",
            "vmware_soap_session=\"52ab\"; Path=/; HttpOnly; Secure;",
        ];
        let set: Vec<_> = headers.map(|h| Zeroizing::new(h.to_owned())).into();
        let cookie = session_cookie(&set).unwrap();
        assert_eq!(cookie.as_str(), "vmware_soap_session=\"52ab\"");
        assert_eq!(secret_of(&cookie), "52ab");
        let empty = [Zeroizing::new(
            "vmware_soap_session=\"\"; Path=/".to_owned(),
        )];
        assert!(session_cookie(&empty).is_none());
    }
}
