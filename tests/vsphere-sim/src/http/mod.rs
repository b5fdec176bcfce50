//! The sockets: one listener for the endpoint, one for each data host.

pub mod body;
mod control;
mod folder;
pub mod line;
pub mod nfc;
pub mod sdk;
mod versions;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::record::Recorded;
use crate::world::Shared;
use body::Body;
use line::{Line, Wire};

/// A peer that does not speak is let go after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// What a connection needs to know about where it came in.
#[derive(Clone)]
pub struct Entrance {
    pub shared: Arc<Shared>,
    pub tls: Option<Arc<ServerConfig>>,
    /// The data host, beginning with 0; `None` for the endpoint.
    pub data_host: Option<usize>,
}

/// The request is not answered: the connection ends.
#[derive(Debug)]
pub struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ends without an answer")
    }
}

impl std::error::Error for NoAnswer {}

pub type Reply = Result<Response<Body>, NoAnswer>;

/// Accepts connections until the runtime goes down.
pub async fn serve(listener: TcpListener, entrance: Entrance) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(connection(tcp, entrance.clone()));
            }
            // Out of descriptors, most likely: those who are connected may let some go.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(tcp: TcpStream, entrance: Entrance) {
    let _ = tcp.set_nodelay(true);
    let line = Arc::new(Line::default());
    let wire = Wire::new(tcp, line.clone());
    match &entrance.tls {
        None => talk(TokioIo::new(wire), line, entrance).await,
        Some(config) => {
            // A handshake that fails is the client's business.
            if let Ok(tls) = TlsAcceptor::from(config.clone()).accept(wire).await {
                talk(TokioIo::new(tls), line, entrance).await;
            }
        }
    }
}

async fn talk<S>(stream: TokioIo<S>, line: Arc<Line>, entrance: Entrance)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request| answer(request, line.clone(), entrance.clone()));
    // However a connection ends is what the client asked for, or what the fault plan did.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(stream, service)
        .await;
}

async fn answer(request: Request<Incoming>, line: Arc<Line>, entrance: Entrance) -> Reply {
    let path = request.uri().path().to_owned();
    if let Some(rest) = path.strip_prefix("/nfc/") {
        record(
            &entrance,
            &request,
            request.method().as_str(),
            String::new(),
        );
        return nfc::answer(request, rest, &line, &entrance).await;
    }
    if entrance.data_host.is_some() {
        return Ok(plain(
            StatusCode::NOT_FOUND,
            "there is only /nfc on this host",
        ));
    }
    match path.as_str() {
        "/sdk" | "/sdk/" => sdk::answer(request, &line, &entrance).await,
        "/sdk/vimServiceVersions.xml" => {
            let listed = versions::listed(&entrance.shared.read().options.api_version);
            Ok(xml(StatusCode::OK, listed))
        }
        path if path.starts_with("/folder/") => {
            record(
                &entrance,
                &request,
                request.method().as_str(),
                String::new(),
            );
            folder::answer(request, &line, &entrance).await
        }
        path if path.starts_with("/sim/") && entrance.shared.read().options.control => {
            control::answer(&request, &entrance).await
        }
        _ => {
            record(
                &entrance,
                &request,
                request.method().as_str(),
                String::new(),
            );
            Ok(plain(StatusCode::NOT_FOUND, "there is nothing here"))
        }
    }
}

/// Keeps a request for the tests to look at.
pub fn record(entrance: &Entrance, request: &Request<Incoming>, method: &str, body: String) {
    keep(entrance, request, method, body);
}

fn keep<B>(entrance: &Entrance, request: &Request<B>, method: &str, body: String) {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let action = request
        .headers()
        .get("soapaction")
        .map(text)
        .unwrap_or_default();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let recorded = Recorded {
        method: method.to_owned(),
        path: request.uri().path().to_owned(),
        soap_action: action,
        body,
        headers: headers.collect(),
        data_host: entrance.data_host,
    };
    let mut requests = entrance
        .shared
        .requests
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    requests.push(recorded);
}

pub fn plain(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

pub fn xml(status: StatusCode, text: String) -> Response<Body> {
    respond(status, "text/xml; charset=utf-8", text)
}

pub fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache"),
    );
    response
}

/// A listener that the runtime of the simulator can use.
pub fn listen(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
