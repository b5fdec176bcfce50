//! HTTP against a server that plays scripts.

use crate::peer::{Connection, Peer};
use bytes::Bytes;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use url::Url;
use vmdk_backup::error::{Error, Kind, Result};
use vmdk_backup::log::Log;
use vmdk_backup::runtime::Runtime;
use vmdk_backup::transport::http::{Http, HttpOptions};
use vmdk_backup::transport::tls::Trust;

/// Longer than anything here takes that is not meant to stall.
const PATIENT: Duration = Duration::from_secs(60);

/// Short enough to wait for, where a stall is what is tested.
const STALL: Duration = Duration::from_millis(300);

fn options() -> HttpOptions {
    HttpOptions {
        trust: Trust::Insecure,
        connect_timeout: PATIENT,
        proxy: None,
        plain_endpoint: true,
        log: Log::default(),
    }
}

fn url(peer: &Peer) -> Url {
    Url::parse(&format!("http://{}/secret/disk.vmdk", peer.authority())).unwrap()
}

fn get_url(http: Http, url: Url, stall: Duration) -> Result<Vec<u8>> {
    let runtime = Runtime::new().unwrap();
    runtime.run(&mut || Ok(()), async move {
        let mut download = http
            .get(&url, Some("vmware_soap_session=\"52ab\""), stall)
            .await?;
        let mut body = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    })
}

fn get(peer: &Peer, stall: Duration) -> Result<Vec<u8>> {
    get_url(Http::new(&options()).unwrap(), url(peer), stall)
}

/// A server that reads a request and says `answer`, then closes.
fn saying(answer: impl Into<String>) -> Peer {
    let answer = answer.into();
    Peer::plain(move |connection| {
        connection.head()?;
        connection.write(&answer)
    })
}

fn answering(status: &'static str, body: &'static str) -> Peer {
    Peer::plain(move |connection| {
        connection.head()?;
        connection.answer(status, body)
    })
}

#[test]
fn a_body_arrives_whole_with_its_length_or_in_chunks() {
    assert_eq!(get(&answering("200 OK", "abc"), PATIENT).unwrap(), b"abc");
    let chunked = saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    );
    assert_eq!(get(&chunked, PATIENT).unwrap(), b"abc");
}

#[test]
fn a_body_that_breaks_off_is_a_broken_connection() {
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    ] {
        let error = get(&saying(broken), PATIENT).unwrap_err();
        assert_eq!(error.kind(), Kind::Connection, "{error}");
        assert!(error.message().contains("after 3"), "{error}");
    }
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let peer = Peer::plain(|connection| {
        connection.head()?;
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")?;
        connection.hold();
        Ok(())
    });
    let error = get(&peer, STALL).unwrap_err();
    assert_eq!(error.kind(), Kind::Stalled, "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_request_bears_the_cookie_and_asks_for_no_compression() {
    let seen = Arc::new(Mutex::new(String::new()));
    let peer = {
        let seen = seen.clone();
        Peer::plain(move |connection| {
            *seen.lock().unwrap() = connection.head()?.to_lowercase();
            connection.answer("200 OK", "")
        })
    };
    get(&peer, PATIENT).unwrap();
    let seen = seen.lock().unwrap();
    assert!(
        seen.contains("cookie: vmware_soap_session=\"52ab\"\r\n"),
        "{seen}"
    );
    assert!(!seen.contains("accept-encoding"), "{seen}");
}

#[test]
fn a_compressed_body_is_refused() {
    let peer = saying("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n");
    let error = get(&peer, PATIENT).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}

#[test]
fn an_unwelcome_status_is_an_error_of_its_kind() {
    for (status, kind, retryable) in [
        ("204 No Content", Kind::Fault, false),
        ("206 Partial Content", Kind::Fault, false),
        ("401 Unauthorized", Kind::Auth, true),
        ("403 Forbidden", Kind::Auth, false),
        ("404 Not Found", Kind::NotFound, false),
        ("429 Too Many Requests", Kind::Connection, true),
        ("500 Internal Server Error", Kind::Fault, true),
        ("503 Service Unavailable", Kind::Connection, true),
        ("507 Insufficient Storage", Kind::NoSpace, false),
    ] {
        let peer = answering(status, "<html><p>it is\nso</p></html>");
        let error = get(&peer, PATIENT).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{error}"
        );
        let start = format!("GET {}: the server answered {status}", peer.authority());
        assert!(error.message().starts_with(&start), "{error}");
        assert!(!error.message().contains("secret"), "{error}");
        if !status.starts_with("204") {
            assert!(error.message().contains(": it is so"), "{error}");
        }
    }
}

#[test]
fn a_redirection_is_named_and_not_followed() {
    let elsewhere = Peer::plain(|_| panic!("the redirection was followed"));
    let location = format!("http://{}/other-secret", elsewhere.authority());
    let peer = saying(format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ));
    let error = get(&peer, PATIENT).unwrap_err();
    assert!(
        error
            .message()
            .contains(&format!("to {}", elsewhere.authority())),
        "{error}"
    );
    assert!(!error.message().contains("secret"), "{error}");
}

#[test]
fn a_refused_connection_names_host_and_port() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let error = get_url(Http::new(&options()).unwrap(), url, PATIENT).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    assert_eq!(
        error.message(),
        format!("GET 127.0.0.1:{port}: connection refused")
    );
}

#[test]
fn a_name_that_does_not_resolve_is_named_with_the_remedy() {
    // A label of more than 63 characters can be no name: nobody has to be asked.
    let host = format!("{}.invalid", "x".repeat(64));
    let url = Url::parse(&format!("http://{host}/")).unwrap();
    let error = get_url(Http::new(&options()).unwrap(), url, PATIENT).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    assert!(
        error.message().contains(&format!("make {host} resolvable")),
        "{error}"
    );
}

#[test]
fn a_connection_closed_without_an_answer_is_a_broken_connection() {
    let peer = Peer::plain(|connection| connection.head().map(drop));
    let error = get(&peer, PATIENT).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_page_that_repeats_the_ticket_is_shown_without_it() {
    let peer = Peer::plain(|connection| {
        let head = connection.head()?;
        let path = head.split(' ').nth(1).unwrap();
        connection.answer("404 Not Found", &format!("<p>{path} is not here</p>"))
    });
    let mut url = url(&peer);
    url.set_path("/nfc/52ab0f52-8a3e-4bd1-9b1c-f35cd8b1b0b5/disk-0.vmdk");
    let error = get_url(Http::new(&options()).unwrap(), url, PATIENT).unwrap_err();
    assert!(
        error.to_string().contains("disk-0.vmdk is not here"),
        "{error}"
    );
    assert!(!error.to_string().contains("52ab0f52"), "{error}");
}

#[test]
fn a_proxy_is_used_where_one_is_given() {
    let proxy = Peer::plain(|connection| {
        let head = connection.head()?;
        connection.answer("200 OK", head.lines().next().unwrap())
    });
    let http = Http::new(&HttpOptions {
        proxy: Some(format!("http://{}", proxy.authority())),
        ..options()
    });
    let url = Url::parse("http://behind.invalid/disk").unwrap();
    let body = get_url(http.unwrap(), url, PATIENT).unwrap();
    assert_eq!(body, b"GET http://behind.invalid/disk HTTP/1.1");
}

fn through(proxy: &str, url: &str) -> Error {
    let http = Http::new(&HttpOptions {
        proxy: Some(format!("http://{proxy}")),
        ..options()
    });
    get_url(http.unwrap(), Url::parse(url).unwrap(), PATIENT).unwrap_err()
}

#[test]
fn a_proxy_that_refuses_is_reported_as_the_proxy() {
    const SERVER: &str = "https://vc.invalid/disk";
    for (status, kind, words) in [
        (
            "407 Proxy Authentication Required",
            Kind::Auth,
            "other credentials",
        ),
        ("403 Forbidden", Kind::Connection, "refused to connect"),
        ("502 Bad Gateway", Kind::Connection, "refused to connect"),
    ] {
        let peer = answering(status, "no");
        let error = through(&peer.authority(), SERVER);
        assert_eq!(error.kind(), kind, "{error}");
        let named = format!("the proxy {}", peer.authority());
        assert!(error.message().contains(&named), "{error}");
        assert!(error.message().contains(words), "{error}");
        assert!(!error.message().contains("the server answered"), "{error}");
        assert!(error.message().contains("proxy's"), "no remedy: {error}");
    }
    let plain = answering("407 Proxy Authentication Required", "no");
    let error = through(&plain.authority(), "http://vc.invalid/disk");
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert!(
        error.message().contains("the proxy answered 407"),
        "{error}"
    );
}

#[test]
fn a_proxy_that_cannot_be_reached_is_reported_as_the_proxy() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let unknown = format!("{}.invalid", "x".repeat(64));
    for (proxy, words) in [
        (format!("127.0.0.1:{port}"), "connection refused"),
        (format!("{unknown}:3128"), "does not resolve"),
    ] {
        for server in ["https://127.0.0.1:1/disk", "http://127.0.0.1:1/disk"] {
            let error = through(&proxy, server);
            assert_eq!(error.kind(), Kind::Connection, "{error}");
            let named = format!("the proxy {proxy}");
            assert!(error.message().contains(&named), "{error}");
            assert!(error.message().contains(words), "{error}");
        }
    }
}

#[test]
fn a_proxy_that_closes_is_reported_as_the_proxy() {
    let peer = Peer::plain(|connection| connection.head().map(drop));
    let error = through(&peer.authority(), "https://vc.invalid/disk");
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    let named = format!("the proxy {}", peer.authority());
    assert!(error.message().contains(&named), "{error}");
}

#[test]
fn a_proxy_that_cannot_be_meant_is_refused_without_showing_its_password() {
    for proxy in [
        "https://u:s3cret@p:1",
        "socks5://u:s3cret@p:1",
        "u:s3cret@p:1",
    ] {
        let proxy = Some(proxy.to_owned());
        let error = Http::new(&HttpOptions { proxy, ..options() })
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        assert!(!error.message().contains("s3cret"), "{error}");
    }
}

/// Uploads what `feed` sends, announced as `length` bytes.
fn post<F>(
    peer: &Peer,
    length: u64,
    stall: Duration,
    feed: impl FnOnce(mpsc::Sender<Bytes>) -> F,
) -> (Result<()>, u64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let http = Http::new(&options()).unwrap();
    let url = url(peer);
    let (sender, body) = mpsc::channel(4);
    let feed = feed(sender);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let runtime = Runtime::new().unwrap();
    let sent = runtime.run(&mut || Ok(()), async move {
        tokio::spawn(feed);
        let kind = "application/x-vnd.vmware-streamVmdk";
        http.post(&url, None, kind, length, body, stall, counter)
            .await
    });
    (sent, taken.load(Ordering::Relaxed))
}

/// Sends as many bytes as the upload takes.
async fn feed(sender: mpsc::Sender<Bytes>, mut length: usize) {
    while length > 0 {
        let chunk = Bytes::from(vec![7; length.min(300_000)]);
        length -= chunk.len();
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}

fn read_upload(connection: &mut Connection, length: usize) -> io::Result<()> {
    let head = connection.head()?.to_lowercase();
    let whole = head.contains(&format!("content-length: {length}\r\n"))
        && head.contains("content-type: application/x-vnd.vmware-streamvmdk\r\n")
        && connection.body(length)? == vec![7; length];
    match whole {
        true => connection.answer("200 OK", ""),
        false => connection.answer("400 Bad Request", &head),
    }
}

const LENGTH: usize = 1_000_000;

#[test]
fn an_upload_arrives_whole_with_its_length() {
    let peer = Peer::plain(|connection| read_upload(connection, LENGTH));
    let (sent, taken) = post(&peer, LENGTH as u64, PATIENT, |sender| feed(sender, LENGTH));
    sent.unwrap();
    assert_eq!(taken, LENGTH as u64);
}

/// Uploads `fed` bytes announced as `LENGTH`; tells the error and whether the server saw a whole
/// body.
fn post_misfit(fed: usize) -> (Error, bool) {
    let whole = Arc::new(Mutex::new(false));
    let peer = {
        let whole = whole.clone();
        Peer::plain(move |connection| {
            connection.head()?;
            connection.body(LENGTH)?;
            *whole.lock().unwrap() = true;
            connection.answer("200 OK", "")
        })
    };
    let (sent, _) = post(&peer, LENGTH as u64, PATIENT, move |sender| {
        feed(sender, fed)
    });
    drop(peer);
    let whole = *whole.lock().unwrap();
    (sent.unwrap_err(), whole)
}

#[test]
fn a_body_shorter_than_announced_is_refused() {
    for fed in [0, 1, LENGTH - 1] {
        let (error, whole) = post_misfit(fed);
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(
            error.message().contains(&format!("after {fed} of")),
            "{error}"
        );
        assert!(!whole);
    }
}

#[test]
fn a_body_longer_than_announced_never_arrives_whole() {
    for fed in [LENGTH + 1, 2 * LENGTH] {
        let (error, whole) = post_misfit(fed);
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(!whole);
    }
}

#[test]
fn a_body_that_goes_on_after_its_length_is_refused() {
    let peer = Peer::plain(|connection| read_upload(connection, 3));
    let (sent, _) = post(&peer, 3, PATIENT, |sender| async move {
        for chunk in ["aaa", "", "b"] {
            let _ = sender.send(Bytes::from(chunk)).await;
        }
    });
    assert_eq!(sent.unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_good_status_before_the_whole_body_is_no_success() {
    let peer = Peer::plain(|connection| {
        connection.head()?;
        connection.body(1000)?;
        connection.answer("200 OK", "")?;
        connection.hold();
        Ok(())
    });
    let (sent, _) = post(&peer, 2000, PATIENT, |sender| async move {
        let _ = sender.send(Bytes::from(vec![7; 1000])).await;
        sender.closed().await;
    });
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert!(error.message().contains("before the whole body"), "{error}");
}

#[test]
fn a_refusal_before_the_whole_body_is_told_as_such() {
    let peer = Peer::plain(|connection| {
        connection.head()?;
        connection.answer("507 Insufficient Storage", "the datastore is full")?;
        connection.hold();
        Ok(())
    });
    let (sent, _) = post(&peer, 2000, PATIENT, |sender| async move {
        let _ = sender.send(Bytes::from(vec![7; 1000])).await;
        sender.closed().await;
    });
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert!(error.message().contains("the datastore is full"), "{error}");
}

#[test]
fn a_server_that_takes_nothing_more_is_a_stall() {
    let peer = Peer::plain(|connection| {
        connection.head()?;
        connection.hold();
        Ok(())
    });
    // More than any socket buffers.
    let length = 256 << 20;
    let (sent, taken) = post(&peer, length as u64, STALL, move |sender| {
        feed(sender, length)
    });
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), Kind::Stalled, "{error}");
    assert!(error.message().contains("took nothing"), "{error}");
    assert!(taken < length as u64);
}

#[test]
fn a_server_that_does_not_answer_after_the_last_byte_is_a_stall() {
    let peer = Peer::plain(|connection| {
        connection.head()?;
        connection.body(LENGTH)?;
        connection.hold();
        Ok(())
    });
    let (sent, _) = post(&peer, LENGTH as u64, STALL, |sender| feed(sender, LENGTH));
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), Kind::Stalled, "{error}");
    assert!(error.message().contains("after the last byte"), "{error}");
}

#[test]
fn a_slow_feeder_is_no_stall() {
    let peer = Peer::plain(|connection| read_upload(connection, LENGTH));
    let (sent, _) = post(&peer, LENGTH as u64, STALL, |sender| async move {
        feed(sender.clone(), 1).await;
        tokio::time::sleep(STALL * 3).await;
        feed(sender.clone(), LENGTH - 1).await;
        tokio::time::sleep(STALL * 3).await;
    });
    sent.unwrap();
}

#[test]
fn an_upload_of_nothing_is_refused() {
    let peer = Peer::plain(|_| Ok(()));
    let (sent, _) = post(&peer, 0, PATIENT, |sender| feed(sender, 0));
    assert_eq!(sent.unwrap_err().kind(), Kind::InvalidArgument);
}
