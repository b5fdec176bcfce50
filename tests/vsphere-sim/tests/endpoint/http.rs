//! HTTP by hand, over plain TCP: what came back, and whether it was whole.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer of HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub whole: bool,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines();
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Sends a request on a connection of its own and reads the answer as far as it goes.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    let length = if method == "GET" {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // A server that refuses may close before it has read everything; its answer counts.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    parse(&answer, end.is_ok()).ok_or_else(|| match end {
        Err(error) => error,
        Ok(_) => io::ErrorKind::UnexpectedEof.into(),
    })
}

fn parse(answer: &[u8], clean: bool) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let headers = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    let raw = &answer[end + 4..];
    let mut reply = Reply {
        status,
        headers,
        body: raw.to_vec(),
        whole: clean,
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        (reply.body, reply.whole) = unchunk(raw);
    } else if let Some(length) = reply.header("content-length") {
        reply.whole = length.parse() == Ok(raw.len());
    }
    Some(reply)
}

fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&raw[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else {
            return (body, false);
        };
        raw = &raw[end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&raw[..size.min(raw.len())]);
        match raw.get(size + 2..) {
            Some(rest) => raw = rest,
            None => return (body, false),
        }
    }
}
