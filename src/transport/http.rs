//! HTTP to one endpoint or data host.

use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::transport::failure::{self, Unresolved, request_label};
use crate::transport::tls::{self, Fingerprint, Trust};
use crate::transport::upload;
use crate::transport::verify::Proof;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use url::Url;

/// How connections are made.
#[derive(Clone)]
pub struct HttpOptions {
    /// What proves that the server is the right one.
    pub trust: Trust,
    /// Until a connection stands: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// The proxy's URL; `None` = no proxy, whatever the environment says.
    pub proxy: Option<String>,
    /// Whether the endpoint is reached without TLS, so that nobody can trust what it vouches for.
    pub plain_endpoint: bool,
    /// Where records go.
    pub log: Log,
}

/// Connections to servers that are trusted in one way. Cloning shares them.
#[derive(Clone)]
pub struct Http(Arc<Shared>);

struct Shared {
    client: Client,
    proof: Proof,
    options: HttpOptions,
    /// Host and port of the proxy.
    proxy: Option<String>,
}

/// Less than what servers keep idle connections for: one that the server is about to close
/// takes a request down with it.
const POOL_IDLE: Duration = Duration::from_secs(10);

impl Http {
    /// Reads what the trust needs; connects to nothing.
    ///
    /// # Errors
    /// Those of the CA file; [`Kind::InvalidArgument`] for a proxy that cannot be used.
    pub fn new(options: &HttpOptions) -> Result<Http> {
        Http::with(options.trust.load()?, None, options.clone())
    }

    /// Connections to a data host, which is who it should be when its certificate has the
    /// `thumbprint` that the endpoint vouched for, or verifies as the endpoint's does.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn for_data_host(&self, thumbprint: Option<Fingerprint>) -> Result<Http> {
        let shared = &self.0;
        // An endpoint that is itself unproven can vouch for nobody.
        let vouched = thumbprint.filter(|_| !shared.options.plain_endpoint);
        Http::with(shared.proof.clone(), vouched, shared.options.clone())
    }

    fn with(proof: Proof, vouched: Option<Fingerprint>, options: HttpOptions) -> Result<Http> {
        let mut builder = Client::builder()
            .user_agent(concat!("vmdk-backup/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::client_config(&proof, vouched)?)
            .dns_resolver(Resolver)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(options.connect_timeout)
            // Otherwise the kernel ends uploads that the server does not take for 30 s.
            .tcp_user_timeout(None)
            .pool_idle_timeout(POOL_IDLE);
        let mut proxy = None;
        if let Some(url) = &options.proxy {
            let (used, label) = parse_proxy(url, &options.log)?;
            builder = builder.proxy(used);
            proxy = Some(label);
        }
        let client = builder
            .build()
            .map_err(|error| Error::new(Kind::InvalidArgument, format!("set up HTTP: {error}")))?;
        Ok(Http(Arc::new(Shared {
            client,
            proof,
            options,
            proxy,
        })))
    }

    /// Asks for `url`; when this returns, the status was 200 and the body begins.
    ///
    /// # Errors
    /// [`Kind::Connection`], [`Kind::Tls`], [`Kind::Stalled`] when nothing comes for `stall`, and
    /// by the status [`Kind::Auth`], [`Kind::NotFound`] or [`Kind::Fault`].
    pub async fn get(&self, url: &Url, cookie: Option<&str>, stall: Duration) -> Result<Download> {
        let label = request_label("GET", url);
        let request = with_cookie(self.0.client.get(url.clone()), cookie)?;
        let limit = self.0.options.connect_timeout + stall;
        let sent = within(limit, &label, "no answer", request.send()).await?;
        let response = sent.map_err(|error| self.failed(&label, &error))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&label, response, stall).await);
        }
        refuse_encoding(&label, response.headers())?;
        self.log(|| format!("{label}: {}", length_text(&response)));
        Ok(Download {
            label,
            length: response.content_length(),
            response,
            received: 0,
            stall,
        })
    }

    /// Sends exactly `length` bytes, taken from `body` until its sender is dropped, and reads the
    /// server's verdict. `on_bytes` grows as the connection takes them.
    ///
    /// A connection that takes nothing for `stall` while there is something to take, or no
    /// verdict for `stall` after the last byte, ends it; a slow feeder does not.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when `body` is shorter or longer than `length`; [`Kind::Connection`],
    /// also when the server answers before it has everything; else as [`Http::get`].
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one of the request's parts"
    )]
    pub async fn post(
        &self,
        url: &Url,
        cookie: Option<&str>,
        content_type: &str,
        length: u64,
        body: Receiver<Bytes>,
        stall: Duration,
        on_bytes: Arc<AtomicU64>,
    ) -> Result<()> {
        let label = request_label("POST", url);
        let request = self
            .0
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, content_type);
        let request = with_cookie(request, cookie)?;
        let upload = upload::Upload {
            label: &label,
            length,
            stall,
            connect_timeout: self.0.options.connect_timeout,
            proxy: self.0.proxy.as_deref(),
        };
        upload.send(request, body, on_bytes).await?;
        self.log(|| format!("{label}: took {length} bytes"));
        Ok(())
    }

    /// Sends a small request that is answered within `limit`, whatever the status.
    pub(super) async fn exchange(&self, exchange: Exchange<'_>) -> Result<Answer> {
        let label = request_label("POST", exchange.url);
        let request = self
            .0
            .client
            .post(exchange.url.clone())
            .header(header::CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
            .header("SOAPAction", format!("\"{}\"", exchange.action))
            .body(exchange.body);
        let request = with_cookie(request, exchange.cookie)?;
        let answered = async {
            let response = request.send().await;
            let response = response.map_err(|error| self.failed(&label, &error))?;
            refuse_encoding(&label, response.headers())?;
            let status = response.status();
            let headers = response.headers().clone();
            let body = read_all(&label, response, exchange.largest_answer).await?;
            Ok(Answer {
                label: label.clone(),
                status,
                headers,
                body,
            })
        };
        within(exchange.limit, &label, "no answer", answered).await?
    }

    fn failed(&self, label: &str, error: &reqwest::Error) -> Error {
        failure::transport(label, error, self.0.proxy.as_deref())
    }

    fn log(&self, text: impl FnOnce() -> String) {
        self.0.options.log.record(Level::Debug, text);
    }
}

/// A request whose body and answer are held in memory.
pub(super) struct Exchange<'a> {
    pub(super) url: &'a Url,
    pub(super) action: &'a str,
    pub(super) cookie: Option<&'a str>,
    pub(super) body: Bytes,
    pub(super) limit: Duration,
    pub(super) largest_answer: usize,
}

/// What came back.
pub(super) struct Answer {
    pub(super) label: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A body on its way in.
pub struct Download {
    label: String,
    response: Response,
    length: Option<u64>,
    received: u64,
    stall: Duration,
}

impl Download {
    /// The length the server promised. Without one, nothing here can tell a whole body from one
    /// whose end is missing.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Kind::Connection`] when the body ends before its promised length; [`Kind::Stalled`] when
    /// nothing comes for the stall time-out.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let next = within(
            self.stall,
            &self.label,
            "nothing came",
            self.response.chunk(),
        )
        .await?;
        let chunk = next.map_err(|error| {
            let of = self
                .length
                .map_or(String::new(), |length| format!(" of {length}"));
            let label = format!("{}: after {}{of} bytes", self.label, self.received);
            failure::transport(&label, &error, None)
        })?;
        if let Some(bytes) = &chunk {
            self.received += bytes.len() as u64;
        }
        Ok(chunk)
    }
}

/// Resolves on tokio's threads, and names the host that does not resolve.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 stands for the one in the URL.
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs),
                Err(error) => Err(Unresolved {
                    host: name.as_str().to_owned(),
                    reason: error.to_string(),
                }
                .into()),
            }
        })
    }
}

/// The proxy, and its host and port.
fn parse_proxy(proxy: &str, log: &Log) -> Result<(reqwest::Proxy, String)> {
    // Neither the text nor a part of it is repeated: there may be a password anywhere in it.
    let invalid = |why: &str| Error::new(Kind::InvalidArgument, format!("the proxy's URL {why}"));
    let url = Url::parse(proxy).map_err(|error| invalid(&format!("cannot be read: {error}")))?;
    if let Some(password) = url.password() {
        log.hide(
            password,
            &[url.host_str().unwrap_or_default(), url.username()],
        );
    }
    // A proxy reached by TLS would be judged by the endpoint's trust, which cannot be meant.
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err(invalid("is not of the form http://host:port"));
    }
    // A password with a slash or the like in it makes a host of the user's name, or of its own
    // beginning, which would stand in messages.
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("has something after host and port").remedy(
            "write special characters of user and password in percent encoding, '/' as %2F",
        ));
    }
    let host = url.host_str().unwrap_or_default();
    let label = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
    let proxy = reqwest::Proxy::all(url).map_err(|_| invalid("cannot be used"))?;
    Ok((proxy, label))
}

fn with_cookie(request: RequestBuilder, cookie: Option<&str>) -> Result<RequestBuilder> {
    let Some(cookie) = cookie else {
        return Ok(request);
    };
    let mut value = HeaderValue::from_str(cookie)
        .map_err(|_| Error::new(Kind::Fault, "the server's cookie cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(request.header(header::COOKIE, value))
}

/// Waits for `future`, but not longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    label: &str,
    what: &str,
    future: impl Future<Output = T>,
) -> Result<T> {
    timeout(limit, future)
        .await
        .map_err(|_| failure::stalled(label, what, limit))
}

/// The body, which may not be larger than `largest`.
async fn read_all(label: &str, mut response: Response, largest: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| failure::transport(label, &error, None))? else {
            return Ok(body);
        };
        if body.len() + chunk.len() > largest {
            let message = format!("{label}: the answer is larger than {largest} bytes");
            return Err(Error::new(Kind::Fault, message));
        }
        body.extend_from_slice(&chunk);
    }
}

/// The error for a status that is not what was asked for.
pub(super) async fn refusal(label: &str, mut response: Response, stall: Duration) -> Error {
    let status = response.status();
    let headers = response.headers().clone();
    let mut body = Vec::new();
    // The status is the news; a body that breaks off or never ends adds nothing to it.
    while body.len() < failure::EXCERPT_BYTES {
        match timeout(stall, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    let body = failure::without_path(&body, response.url());
    failure::status(label, status, &headers, body.as_bytes())
}

fn refuse_encoding(label: &str, headers: &HeaderMap) -> Result<()> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    match encoding.map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            let message = format!("{label}: content-encoding {other}, which was not asked for");
            Err(Error::new(Kind::Unsupported, message).remedy("remove the proxy that compresses"))
        }
    }
}

fn length_text(response: &Response) -> String {
    match response.content_length() {
        Some(length) => format!("{length} bytes follow"),
        None => "a body of unknown length follows".into(),
    }
}
