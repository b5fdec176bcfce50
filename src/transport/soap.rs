//! SOAP 1.1 as vSphere speaks it: elements out, a response or a fault in.

use crate::error::{Error, Kind, Result};
pub use crate::transport::element::Element;
use crate::transport::failure;
use crate::transport::http::{Answer, Exchange, Http};
use crate::transport::xml;
pub use crate::transport::xml::Node;
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::SET_COOKIE;
use std::fmt::{self, Write};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// Counts what would be written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn write_envelope(out: &mut impl Write, operation: Option<&str>, body: &Element) -> fmt::Result {
    out.write_str(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xmlns:vim25=\"urn:vim25\">",
    )?;
    if let Some(operation) = operation {
        let header = Element::new("operationID").text(operation);
        out.write_str("<soapenv:Header>")?;
        header.write(out)?;
        out.write_str("</soapenv:Header>")?;
    }
    out.write_str("<soapenv:Body>")?;
    body.write(out)?;
    out.write_str("</soapenv:Body></soapenv:Envelope>")
}

/// The envelope, in memory that is overwritten when it was sent: there may be a password in it.
fn envelope(operation: Option<&str>, body: &Element) -> Bytes {
    let mut length = Length(0);
    let mut text = Zeroizing::new(String::new());
    // Writing to memory does not fail. Measured first, since growing would leave copies behind.
    let written = write_envelope(&mut length, operation, body).and_then(|()| {
        text.reserve_exact(length.0);
        write_envelope(&mut *text, operation, body)
    });
    debug_assert!(written.is_ok());
    Bytes::from_owner(Sent(text))
}

struct Sent(Zeroizing<String>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// One call of a method.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a Url,
    /// The API version the server is to speak (`urn:vim25/8.0.3.0`).
    pub action: &'a str,
    /// The session's cookie.
    pub cookie: Option<&'a str>,
    /// What the call is named in the server's logs.
    pub operation: Option<&'a str>,
    /// Whether the arguments are secret: then no error repeats words of the answer, which may
    /// repeat the request.
    pub secret: bool,
    /// The method, with its arguments inside.
    pub method: Element,
    /// Until the answer is there.
    pub limit: Duration,
}

/// What a method's call came to.
pub struct Reply {
    /// The response element, or the fault.
    pub outcome: std::result::Result<Node, Fault>,
    /// The values of the `Set-Cookie` headers.
    pub cookies: Vec<Zeroizing<String>>,
    /// The HTTP status.
    pub status: u16,
}

/// The server refuses, or failed.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The fault's type (`NotAuthenticated`); empty where the server gives none.
    pub kind: String,
    /// What the server says to people.
    pub message: String,
    /// The fault's own fields.
    pub detail: Node,
}

/// The largest answer that is held in memory; a page of a hundred machines takes some 2 MB.
const LARGEST_ANSWER: usize = 64 << 20;

/// Calls a method.
///
/// # Errors
/// Those of the transport, and [`Kind::Fault`] when the answer is not SOAP. A fault is no error
/// here: what it means is for the caller to say.
pub async fn call(http: &Http, request: Request<'_>) -> Result<Reply> {
    let method = request.method.attribute("xmlns", "urn:vim25");
    let exchange = Exchange {
        url: request.url,
        action: request.action,
        cookie: request.cookie,
        body: envelope(request.operation, &method),
        limit: request.limit,
        largest_answer: LARGEST_ANSWER,
    };
    let answer = http.exchange(exchange).await?;
    let cookies = answer.headers.get_all(SET_COOKIE).iter();
    let cookies = cookies.filter_map(|value| Some(Zeroizing::new(value.to_str().ok()?.to_owned())));
    Ok(Reply {
        cookies: cookies.collect(),
        status: answer.status.as_u16(),
        outcome: open(&answer, &method.name, request.secret)?,
    })
}

/// The response or fault within an answer.
fn open(answer: &Answer, method: &str, secret: bool) -> Result<std::result::Result<Node, Fault>> {
    let label = &answer.label;
    let page = if secret { &[][..] } else { &answer.body };
    let content = xml::parse(&answer.body)
        .map_err(|malformed| match secret {
            true => "it cannot be read".to_owned(),
            false => malformed.to_string(),
        })
        .and_then(|root| content_of(root).ok_or_else(|| "there is no SOAP body in it".into()));
    if let Ok(fault) = &content
        && fault.name == "Fault"
    {
        return Ok(Err(read_fault(fault)));
    }
    if answer.status != StatusCode::OK {
        return Err(failure::status(label, answer.status, &answer.headers, page));
    }
    let content = content.map_err(|why| {
        let excerpt = failure::excerpt(page);
        let message = format!("{label}: the answer is not SOAP: {why}: {excerpt}");
        // A proxy's page or half an answer: the next one may be whole.
        Error::new(Kind::Fault, message)
            .remedy("check that host and port are those of a vCenter or an ESXi host")
            .retryable()
    })?;
    if content.name.strip_suffix("Response") != Some(method) {
        let message = format!("{label}: the answer is not one to {method}");
        return Err(Error::new(Kind::Fault, message));
    }
    Ok(Ok(content))
}

/// The one element in an envelope's body.
fn content_of(root: Node) -> Option<Node> {
    let envelope = (root.name == "Envelope").then_some(root)?;
    let mut body = envelope
        .children
        .into_iter()
        .filter(|child| child.name == "Body");
    body.next()?.children.into_iter().next()
}

fn read_fault(fault: &Node) -> Fault {
    let detail = fault
        .child("detail")
        .and_then(|detail| detail.children.first());
    let kind = detail.map(|detail| match &detail.kind {
        Some(kind) => kind.clone(),
        None => detail.name.trim_end_matches("Fault").to_owned(),
    });
    Fault {
        kind: kind.unwrap_or_default(),
        message: fault
            .text_at("faultstring")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        detail: detail.cloned().unwrap_or_default(),
    }
}

/// A node for the tests of what reads nodes.
#[cfg(test)]
pub(crate) fn parse_node(text: &str) -> Node {
    xml::parse(text.as_bytes()).unwrap()
}

/// The response or fault in the body of an answer.
#[cfg(fuzzing)]
pub(crate) fn open_body(
    status: StatusCode,
    body: &[u8],
    method: &str,
) -> Result<std::result::Result<Node, Fault>> {
    let answer = Answer {
        label: String::new(),
        status,
        headers: Default::default(),
        body: body.to_vec(),
    };
    open(&answer, method, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    fn text(element: &Element) -> String {
        String::from_utf8(envelope(Some("op<1"), element).to_vec()).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            label: "POST vc:443".into(),
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn enveloped(body: &str) -> String {
        format!("<e:Envelope xmlns:e=\"x\"><e:Header/><e:Body>{body}</e:Body></e:Envelope>")
    }

    #[test]
    fn an_envelope_keeps_the_order_and_reads_back() {
        let method = Element::new("CreateVM_Task")
            .with(
                Element::new("_this")
                    .attribute("type", "Folder")
                    .text("group-v3"),
            )
            .with(
                Element::typed("device", "VirtualDisk")
                    .with_text("key", -101)
                    .maybe(None)
                    .maybe(Some(Element::new("unit").text(0))),
            )
            .with_text("name", "a<b>&\"c\"\r\n\u{1}");
        let root = xml::parse(text(&method).as_bytes()).unwrap();
        assert_eq!(root.text_at("Header.operationID"), Some("op<1"));
        let sent = root.at("Body.CreateVM_Task").unwrap();
        let names: Vec<_> = sent
            .children
            .iter()
            .map(|child| child.name.as_str())
            .collect();
        assert_eq!(names, ["_this", "device", "name"]);
        assert_eq!(
            sent.at("device").unwrap().kind.as_deref(),
            Some("VirtualDisk")
        );
        assert_eq!(sent.parse_at("device.key"), Some(-101));
        assert_eq!(sent.at("device").unwrap().children[1].name, "unit");
        assert_eq!(sent.text_at("name"), Some("a<b>&\"c\"\r\n\u{fffd}"));
    }

    #[test]
    fn a_fault_is_told_by_its_type() {
        let body = enveloped(
            "<e:Fault><faultcode>ServerFaultCode</faultcode><faultstring> no login </faultstring>\
             <detail><InvalidLoginFault xmlns=\"urn:vim25\" xsi:type=\"InvalidLogin\"/></detail></e:Fault>",
        );
        let fault = open(&answer(500, &body), "Login", false)
            .unwrap()
            .unwrap_err();
        assert_eq!(
            (fault.kind.as_str(), fault.message.as_str()),
            ("InvalidLogin", "no login")
        );
        let untyped = body.replace(" xsi:type=\"InvalidLogin\"", "");
        let fault = open(&answer(500, &untyped), "Login", false)
            .unwrap()
            .unwrap_err();
        assert_eq!(fault.kind, "InvalidLogin");
        let bare = enveloped("<e:Fault><faultstring>no</faultstring></e:Fault>");
        assert_eq!(
            open(&answer(500, &bare), "Login", false)
                .unwrap()
                .unwrap_err()
                .kind,
            ""
        );
    }

    #[test]
    fn a_response_must_answer_the_method_that_was_called() {
        let body = enveloped("<LoginResponse><returnval>1</returnval></LoginResponse>");
        let response = open(&answer(200, &body), "Login", false).unwrap().unwrap();
        assert_eq!(response.text_at("returnval"), Some("1"));
        assert!(open(&answer(200, &body), "Logout", false).is_err());
        assert!(open(&answer(500, &body), "Login", false).is_err());
    }

    #[test]
    fn a_page_for_people_is_an_error_that_shows_its_words() {
        let page = "<html><body><h1>It works!</h1></body></html>";
        let error = open(&answer(200, page), "Login", false).err().unwrap();
        assert_eq!(error.kind(), Kind::Fault);
        assert!(error.message().contains("not SOAP"), "{error}");
        assert!(error.message().contains("It works!"), "{error}");
        let error = open(&answer(503, page), "Login", false).err().unwrap();
        assert_eq!(error.kind(), Kind::Connection);
        assert!(error.is_retryable());
    }
    #[test]
    fn an_answer_to_a_secret_request_is_not_repeated() {
        for status in [200, 500, 503] {
            for page in ["s3cret", "<a>s3cret</a>", "<a b=\"&s3cret;\"/>"] {
                let error = open(&answer(status, page), "Login", true).unwrap_err();
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
    }
}
