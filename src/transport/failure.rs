//! What went wrong on the way to a server, in words a user can act on.

use crate::error::{Error, Kind, Passing};
use crate::transport::handshake;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, io};
use url::Url;

/// A host name that does not resolve; made by the resolver, found again in [`transport`].
#[derive(Debug)]
pub(super) struct Unresolved {
    pub(super) host: String,
    pub(super) reason: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name {} does not resolve: {}",
            self.host, self.reason
        )
    }
}

impl StdError for Unresolved {}

/// The method and `host:port` of a request, for messages. Never the path: that of a disk in a
/// lease gives access to whoever knows it.
pub(super) fn request_label(method: &str, url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port_or_known_default() {
        Some(port) => format!("{method} {host}:{port}"),
        None => format!("{method} {host}"),
    }
}

/// The error a failed exchange stands for; `label` is that of its request, and all its connections
/// are made by way of `proxy`, where there is one.
pub(super) fn transport(label: &str, error: &reqwest::Error, proxy: Option<&str>) -> Error {
    let known = match proxy.filter(|_| error.is_connect()) {
        Some(proxy) => by_proxy(proxy, error),
        None => classify(error),
    };
    let known = known.context(label);
    if error.is_connect() && known.is_retryable() {
        return known.passing(Passing::Untouched);
    }
    known
}

fn classify(error: &reqwest::Error) -> Error {
    if let Some(known) = causes(error).find_map(known_cause) {
        return known;
    }
    if error.is_timeout() {
        return Error::new(Kind::Connection, "no connection in time")
            .remedy("check the network between this machine and the server")
            .retryable();
    }
    // The outermost text repeats the URL.
    let innermost = causes(error).last().map(ToString::to_string);
    let message = innermost.unwrap_or_else(|| "the exchange failed".into());
    Error::new(Kind::Connection, message).retryable()
}

/// A connection that does not stand: before TLS begins, it is the proxy's. Its refusals are told
/// apart by their words alone, since their type is private.
fn by_proxy(proxy: &str, error: &reqwest::Error) -> Error {
    let refusal = causes(error)
        .map(ToString::to_string)
        .find_map(|text| Some(text.strip_prefix("tunnel error: ")?.to_owned()));
    let known = classify(error);
    match refusal.as_deref() {
        Some("proxy authorization required") => unwelcome_at(proxy),
        Some("unsuccessful") => Error::new(
            Kind::Connection,
            format!("the proxy {proxy} refused to connect to the server"),
        )
        .remedy("permit this host and port in the proxy's rules, or connect without the proxy")
        .retryable(),
        _ if known.kind() == Kind::Tls => known,
        _ => {
            let remedy = "check the proxy's address and that it runs, or connect without it";
            known
                .context(format_args!("the proxy {proxy}"))
                .remedy(remedy)
        }
    }
}

fn unwelcome_at(proxy: &str) -> Error {
    let message = format!("the proxy {proxy} asks for other credentials (407)");
    Error::new(Kind::Auth, message).remedy(PROXY_CREDENTIALS)
}

const PROXY_CREDENTIALS: &str =
    "write the proxy's user and password into its URL: http://user:password@host:port";

fn known_cause(cause: &(dyn StdError + 'static)) -> Option<Error> {
    if let Some(unresolved) = cause.downcast_ref::<Unresolved>() {
        let remedy = format!(
            "make {} resolvable on this machine, by DNS or /etc/hosts",
            unresolved.host
        );
        return Some(Error::new(Kind::Connection, unresolved.to_string()).remedy(remedy));
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(handshake::explain(tls));
    }
    let io = cause.downcast_ref::<io::Error>()?;
    let message = match io.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::UnexpectedEof => "connection closed early",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::TimedOut => "connection timed out",
        // Its inner error, if any, comes next.
        _ if io.get_ref().is_some() => return None,
        _ => return Some(Error::new(Kind::Connection, io.to_string()).retryable()),
    };
    Some(Error::new(Kind::Connection, message).retryable())
}

/// The chain of causes, with the errors that `io::Error` hides from `source`.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// Nothing moved for `stall`.
pub(super) fn stalled(label: &str, what: &str, stall: Duration) -> Error {
    let message = format!("{label}: {what} for {} s", stall.as_secs_f64());
    Error::new(Kind::Stalled, message).retryable()
}

/// As much of an unwelcome answer's body as is read.
pub(super) const EXCERPT_BYTES: usize = 16 << 10;

/// How much of it stands in a message.
const EXCERPT_CHARS: usize = 200;

/// The error an unwelcome status stands for.
pub(super) fn status(label: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let kind = match status.as_u16() {
        401 | 403 | 407 => Kind::Auth,
        404 | 410 => Kind::NotFound,
        507 => Kind::NoSpace,
        408 | 425 | 429 | 502..=504 => Kind::Connection,
        _ => Kind::Fault,
    };
    let answering = if status.as_u16() == 407 {
        "the proxy"
    } else {
        "the server"
    };
    let mut message = format!("{label}: {answering} answered {status}");
    if status.is_redirection() {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        // Only where it leads: the rest of the address may be a secret.
        let target = location.and_then(|to| Url::parse(to).ok());
        let target = target.map_or("elsewhere".into(), |url| request_label("to", &url));
        message += &format!(" (a redirection {target}, which is not followed)");
    }
    // A proxy that asks for other credentials may repeat those that it got.
    let body = if status.as_u16() == 407 { &[] } else { body };
    let excerpt = excerpt(body);
    if !excerpt.is_empty() {
        message += &format!(": {excerpt}");
    }
    let passing = match status.as_u16() {
        429 | 503 => Passing::Overload,
        // A session that was lost is none any more; a server that starts or stops has no pages.
        401 | 500 => Passing::Later,
        _ if kind == Kind::Connection => Passing::Later,
        _ => Passing::No,
    };
    let error = Error::new(kind, message).passing(passing);
    match status.as_u16() {
        407 => error.remedy(PROXY_CREDENTIALS),
        _ => error,
    }
}

/// Shorter parts of a path are words of the language.
const SHORTEST_TICKET: usize = 16;

/// An answer's body without what it repeats of the request's path, which may be a ticket.
pub(super) fn without_path(body: &[u8], url: &Url) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    let parts = url.path().split('/');
    for part in parts.filter(|part| part.len() >= SHORTEST_TICKET) {
        text = text.replace(part, "[hidden]");
    }
    text
}

/// The words of a text or HTML body, on one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
    let mut words = String::new();
    let mut tag = false;
    for char in text.chars() {
        match char {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                words.push(' ');
            }
            _ if tag => {}
            _ if char.is_control() => words.push(' '),
            _ => words.push(char),
        }
    }
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(EXCERPT_CHARS) {
        line.truncate(end);
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_words_of_a_page() {
        let page =
            b"<html><head><title>503</title></head>\r\n<body a=\"b\">too  many\x07 files</body>";
        assert_eq!(excerpt(page), "503 too many files");
    }

    #[test]
    fn an_excerpt_is_short() {
        let line = excerpt("ä".repeat(5000).as_bytes());
        assert_eq!(line.chars().count(), EXCERPT_CHARS + 3);
    }

    #[test]
    fn a_request_is_named_without_its_path() {
        let url = Url::parse("https://[::1]/nfc/52ab-secret/disk-0.vmdk").unwrap();
        assert_eq!(request_label("GET", &url), "GET [::1]:443");
    }
}
