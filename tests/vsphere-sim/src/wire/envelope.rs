//! The SOAP envelope around a call and around its answer.

use super::fault::{Fault, Outcome};
use super::read::{self, VIM25};
use super::schema::{Method, is_internal, schema};
use super::value::{Object, Ref, Value};
use super::write;
use super::xml::{self, escape};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The namespace of methods that are not published.
const INTERNAL: &str = "urn:internalvim25";
const OPEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
    xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" \
    xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
    xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n";
const CLOSE: &str = "\n</soapenv:Body>\n</soapenv:Envelope>";

/// A call, with its target and its arguments checked against the method's parameters.
pub struct Call {
    pub method: &'static Method,
    pub this: Ref,
    pub arguments: Object,
}

/// The name of the method that a request calls; known also where the call itself is refused.
pub fn method_name(text: &str) -> Option<String> {
    let envelope = xml::parse(text).ok()?;
    Some(envelope.child("Body")?.children.first()?.name.clone())
}

/// Reads a request. What is not a SOAP call at all is refused as vCenter's parser does, with InvalidRequest.
pub fn read_call(text: &str) -> Outcome<Call> {
    let envelope = xml::parse(text)
        .map_err(|error| Fault::invalid_request(format!("XML parse error: {error}")))?;
    if envelope.namespace != SOAP || envelope.name != "Envelope" {
        return Err(Fault::invalid_request(
            "The document is no SOAP 1.1 envelope",
        ));
    }
    let mut parts = envelope.children.iter();
    let mut body = parts.next();
    if body.is_some_and(|part| part.namespace == SOAP && part.name == "Header") {
        body = parts.next();
    }
    let body = body.filter(|part| part.namespace == SOAP && part.name == "Body");
    let body = body.ok_or_else(|| Fault::invalid_request("The envelope has no body"))?;
    let [call] = body.children.as_slice() else {
        return Err(Fault::invalid_request("The body is not one call"));
    };
    let internal = call.namespace == INTERNAL && is_internal(&call.name);
    let renamed = internal.then(|| call.renamed(INTERNAL, VIM25));
    let call = renamed.as_ref().unwrap_or(call);
    if call.namespace != VIM25 {
        return Err(Fault::invalid_request(format!(
            "The call is of namespace \"{}\", not {VIM25}",
            call.namespace
        )));
    }
    let method = schema().method(&call.name).ok_or_else(|| {
        Fault::invalid_request(format!("Unable to resolve WSDL method name {}", call.name))
    })?;
    let Some((this, arguments)) = call
        .children
        .split_first()
        .filter(|(first, _)| first.name == "_this")
    else {
        return Err(Fault::invalid_request("The call does not begin with _this"));
    };
    if this.namespace != VIM25 {
        return Err(Fault::invalid_request(format!(
            "_this is of namespace \"{}\"",
            this.namespace
        )));
    }
    let this = read::this(this)?;
    let without_this = xml::Element {
        children: arguments.to_vec(),
        ..call.clone()
    };
    let fields: Vec<_> = method.parameters.iter().collect();
    let arguments = read::sequence(&without_this, &method.name, &fields)?;
    if schema().is_managed(&this.kind) && !schema().managed_is_a(&this.kind, &method.owner) {
        return Err(Fault::new(
            "MethodNotFound",
            format!("A {} has no method {}", this.kind, method.name),
        )
        .with("receiver", &this)
        .with("method", &method.name));
    }
    Ok(Call {
        method,
        this,
        arguments,
    })
}

/// The envelope of a method's result.
pub fn write_result(method: &Method, value: Option<&Value>) -> Result<String, String> {
    let mut text = OPEN.to_owned();
    text.push_str(&format!("<{}Response xmlns=\"{VIM25}\">", method.name));
    match (&method.result, value) {
        (Some(of), Some(value)) => write::element(&mut text, "returnval", value, of)?,
        (Some(of), None) if !of.optional && !of.list => {
            return Err(format!("{} must return something", method.name));
        }
        (None, Some(_)) => return Err(format!("{} returns nothing", method.name)),
        (_, None) => {}
    }
    text.push_str(&format!("</{}Response>", method.name));
    text.push_str(CLOSE);
    Ok(text)
}

/// The envelope of a fault.
pub fn write_fault(fault: &Fault) -> Result<String, String> {
    let mut text = OPEN.to_owned();
    text.push_str(&format!(
        "<soapenv:Fault><faultcode>{}</faultcode><faultstring>",
        fault.code
    ));
    escape(&mut text, &fault.message);
    text.push_str("</faultstring><detail>");
    let name = format!("{}Fault", fault.kind());
    let mut inner = String::new();
    write::fields(&mut inner, &fault.detail)?;
    text.push_str(&format!(
        "<{name} xmlns=\"{VIM25}\" xsi:type=\"{}\">{inner}</{name}>",
        fault.kind()
    ));
    text.push_str("</detail></soapenv:Fault>");
    text.push_str(CLOSE);
    Ok(text)
}
