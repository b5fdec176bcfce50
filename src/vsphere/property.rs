//! Properties of managed objects, by the PropertyCollector.

use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::transport::soap::{Element, Node};
pub use crate::vsphere::below::below;
pub use crate::vsphere::updates::wait;
use crate::vsphere::{Moref, Session, endpoint, fault};
use std::str::FromStr;

/// What was read of one object.
#[derive(Clone, Debug, Default)]
pub struct Properties(Vec<(String, Node)>);

impl Properties {
    /// The value of the property at `path`, where it has one.
    pub fn get(&self, path: &str) -> Option<&Node> {
        let found = self.0.iter().find(|(known, _)| known == path);
        found.map(|(_, value)| value)
    }

    /// The value as text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).map(|node| node.text.as_str())
    }

    /// The value as a reference.
    pub fn moref(&self, path: &str) -> Option<Moref> {
        self.get(path).and_then(Moref::from_node)
    }

    /// The value as an array of references.
    pub fn morefs(&self, path: &str) -> Vec<Moref> {
        let array = self.get(path).map_or(&[][..], |array| &array.children);
        array.iter().filter_map(Moref::from_node).collect()
    }

    /// The value, where it is a `T`.
    pub fn parse<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// Sets the value, or takes it away.
    pub(super) fn set(&mut self, path: &str, value: Option<Node>) {
        self.0.retain(|(known, _)| known != path);
        self.0.extend(value.map(|value| (path.to_owned(), value)));
    }
}

/// Objects in one answer; the rest follows in further ones.
const PAGE: u32 = 100;

/// A server that never comes to an end is stopped after that many answers.
const MOST_PAGES: usize = 10_000;

/// Reads properties of one object. Those it does not have are absent.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such object; [`Kind::Auth`] when the user may not read one
/// of the properties.
pub async fn read(session: &Session, object: &Moref, paths: &[&str]) -> Result<Properties> {
    let spec = filter("specSet", &object.kind, paths).with(object_set(object));
    let mut found = retrieve_some(session, spec).await?.into_iter();
    let Some(content) = found.find(|content| content.object == *object) else {
        let message = format!("the server says nothing of {object}");
        return Err(Error::new(Kind::NotFound, message).with_object(&object.value));
    };
    for missing in &content.missing {
        missing.check(object)?;
    }
    Ok(content.properties)
}

/// Reads the same properties of many objects of one type. Objects that are gone are left out.
///
/// # Errors
/// Those of the call.
pub async fn read_each(
    session: &Session,
    objects: &[Moref],
    paths: &[&str],
) -> Result<Vec<(Moref, Properties)>> {
    let Some(first) = objects.first() else {
        return Ok(Vec::new());
    };
    let mut spec = filter("specSet", &first.kind, paths);
    for object in objects {
        spec = spec.with(object_set(object));
    }
    let spec = spec.with_text("reportMissingObjectsInResults", true);
    Ok(readable(session, retrieve_some(session, spec).await?))
}

/// Destroys an object that dies with the session at the latest, which is why a failure is only
/// logged.
pub(super) async fn destroy(session: &Session, object: &Moref, method: &str) {
    if let Err(error) = session.call_once(object, method, Vec::new()).await {
        session.log().record(Level::Debug, || error.to_string());
    }
}

/// The reference a method returned.
pub(super) fn returned_moref(response: &Node, method: &str) -> Result<Moref> {
    let returned = response.child("returnval").and_then(Moref::from_node);
    returned.ok_or_else(|| Error::new(Kind::Fault, format!("{method} returned no object")))
}

/// A `PropertyFilterSpec` for objects of one type, to which object sets are to be added.
pub(super) fn filter(name: &str, kind: &str, paths: &[&str]) -> Element {
    let mut properties = Element::new("propSet")
        .with_text("type", kind)
        .with_text("all", false);
    for path in paths {
        properties = properties.with_text("pathSet", path);
    }
    Element::new(name).with(properties)
}

pub(super) fn object_set(object: &Moref) -> Element {
    Element::new("objectSet").with(Element::moref("obj", object))
}

/// One object in an answer.
pub(super) struct Content {
    object: Moref,
    properties: Properties,
    missing: Vec<Missing>,
}

/// A property that the server did not give.
pub(super) struct Missing {
    path: String,
    reason: Error,
}

impl Missing {
    pub(super) fn read(node: &Node) -> Missing {
        let empty = Node::default();
        Missing {
            path: node.text_at("path").unwrap_or_default().to_owned(),
            reason: fault::localized(node.child("fault").unwrap_or(&empty)),
        }
    }

    /// Fails where the property may well exist.
    pub(super) fn check(&self, object: &Moref) -> Result<()> {
        let is_gone = self.reason.fault() == Some(fault::OBJECT_NOT_FOUND);
        let kind = match self.reason.kind() {
            // Believed of no other object than this.
            _ if is_gone
                && self
                    .reason
                    .object()
                    .is_some_and(|gone| gone != object.value) =>
            {
                Kind::Fault
            }
            _ if is_gone => Kind::NotFound,
            kind @ (Kind::Auth | Kind::NotFound) => kind,
            _ => return Ok(()),
        };
        let mut error = Error::new(kind, self.reason.to_string())
            .context(format_args!("property {} of {object}", self.path))
            .with_object(&object.value);
        if let Some(fault) = self.reason.fault() {
            error = error.with_fault(fault);
        }
        Err(error)
    }
}

/// What can be read of each; objects that are gone are left out.
pub(super) fn readable(session: &Session, found: Vec<Content>) -> Vec<(Moref, Properties)> {
    let there = found.into_iter().filter_map(|content| {
        let Content {
            object,
            properties,
            missing,
        } = content;
        for Missing { path, reason } in &missing {
            if reason.fault() == Some(fault::OBJECT_NOT_FOUND) {
                return None;
            }
            session
                .log()
                .record(Level::Debug, || format!("{path} of {object}: {reason}"));
        }
        Some((object, properties))
    });
    there.collect()
}

/// As [`retrieve`], where something has to come.
async fn retrieve_some(session: &Session, spec: Element) -> Result<Vec<Content>> {
    let found = retrieve(session, spec.clone()).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    // A server that has lost the session may answer with nothing at all. Another call finds out.
    session
        .call_idempotent(&endpoint::service_instance(), "CurrentTime", Vec::new())
        .await?;
    retrieve(session, spec).await
}

/// Reads whatever `spec` selects, page by page.
pub(super) async fn retrieve(session: &Session, spec: Element) -> Result<Vec<Content>> {
    let first = retrieve_pages(session, spec.clone()).await;
    match first {
        // The pages went with the session; the first call logs in again.
        Err(error) if fault::is_session_lost(&error) => retrieve_pages(session, spec).await,
        outcome => outcome,
    }
}

async fn retrieve_pages(session: &Session, spec: Element) -> Result<Vec<Content>> {
    let collector = &session.content().property_collector;
    let options = Element::new("options").with_text("maxObjects", PAGE);
    let mut page = session
        .call_inspected(
            collector,
            "RetrievePropertiesEx",
            vec![spec, options],
            check_session,
        )
        .await?;
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(result) = take_child(page, "returnval") else {
            return Ok(found);
        };
        let token = result.text_at("token").map(str::to_owned);
        for object in result.children.into_iter().filter(|n| n.name == "objects") {
            found.push(read_content(object)?);
        }
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(found);
        };
        let arguments = vec![Element::new("token").text(token)];
        page = session
            .call_once(collector, "ContinueRetrievePropertiesEx", arguments)
            .await?;
        check_session(&page)?;
    }
    let message = format!("the server has properties in more than {MOST_PAGES} pages");
    Err(Error::new(Kind::Fault, message))
}

fn take_child(node: Node, name: &str) -> Option<Node> {
    node.children.into_iter().find(|child| child.name == name)
}

/// A server that has lost the session may answer with properties it does not tell for that reason.
fn check_session(response: &Node) -> Result<()> {
    let result = response.children_named("returnval");
    let objects = result.flat_map(|result| result.children_named("objects"));
    for missing in objects.flat_map(|object| object.children_named("missingSet")) {
        let missing = Missing::read(missing);
        if fault::is_session_lost(&missing.reason) {
            return Err(missing.reason);
        }
    }
    Ok(())
}

/// The objects of a page of properties, and what is said of each.
#[cfg(fuzzing)]
pub(crate) fn read_page(page: Node) -> Result<Vec<(Moref, Properties)>> {
    check_session(&page)?;
    let mut found = Vec::new();
    let objects = take_child(page, "returnval").unwrap_or_default().children;
    for object in objects.into_iter().filter(|node| node.name == "objects") {
        let content = read_content(object)?;
        for missing in &content.missing {
            missing.check(&content.object)?;
        }
        found.push((content.object, content.properties));
    }
    Ok(found)
}

fn read_content(content: Node) -> Result<Content> {
    let Some(object) = content.child("obj").and_then(Moref::from_node) else {
        let message = "there is an object without a reference among the properties";
        return Err(Error::new(Kind::Fault, message));
    };
    let mut properties = Vec::new();
    let mut missing = Vec::new();
    for node in content.children {
        match node.name.as_str() {
            "propSet" => {
                let name = node.text_at("name").map(str::to_owned);
                if let (Some(name), Some(value)) = (name, take_child(node, "val")) {
                    properties.push((name, value));
                }
            }
            "missingSet" => missing.push(Missing::read(&node)),
            _ => {}
        }
    }
    Ok(Content {
        object,
        properties: Properties(properties),
        missing,
    })
}
