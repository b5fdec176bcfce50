//! A small tree of XML elements, with namespaces resolved: what a request is before its types are known.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Deeper trees than this are no request.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct Element {
    pub namespace: String,
    pub name: String,
    /// The value of `xsi:type`: the namespace its prefix stands for, and the name.
    pub xsi_type: Option<(String, String)>,
    /// The attribute `type` of no namespace: the kind of managed object a reference is to.
    pub kind: Option<String>,
    pub nil: bool,
    /// All other attributes, by their local names.
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The same with another namespace in the place of one.
    pub fn renamed(&self, from: &str, to: &str) -> Element {
        let namespace = if self.namespace == from {
            to
        } else {
            &self.namespace
        };
        Element {
            namespace: namespace.to_owned(),
            children: self
                .children
                .iter()
                .map(|child| child.renamed(from, to))
                .collect(),
            ..self.clone()
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a whole document.
pub fn parse(text: &str) -> Result<Element, String> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let (namespace, event) = reader
            .read_resolved_event()
            .map_err(|error| error.to_string())?;
        let namespace = match namespace {
            ResolveResult::Bound(Namespace(name)) => name.to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(prefix) => {
                return Err(format!("unknown namespace prefix {prefix}"));
            }
        };
        match event {
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return Err("nested too deeply".to_owned());
                }
                open.push(element(&reader, namespace, &start)?);
            }
            Event::Empty(start) => {
                let element = element(&reader, namespace, &start)?;
                parent(&mut open)?.children.push(element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or("an end without a start")?;
                parent(&mut open)?.children.push(element);
            }
            Event::Text(part) => parent(&mut open)?
                .text
                .push_str(&part.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(part) => parent(&mut open)?.text.push_str(&part),
            Event::GeneralRef(name) => {
                let letter = match name.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(letter) => letter,
                    None => {
                        predefined(&name).ok_or_else(|| format!("unknown entity {}", &*name))?
                    }
                };
                parent(&mut open)?.text.push(letter);
            }
            Event::DocType(_) => return Err("a document type is not allowed".to_owned()),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match (
        open.len(),
        open.pop().and_then(|mut document| document.children.pop()),
    ) {
        (1, Some(root)) => Ok(root),
        _ => Err("the document ends within an element".to_owned()),
    }
}

fn parent(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut()
        .ok_or_else(|| "an end without a start".to_owned())
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// What servers take a prefix within `xsi:type` for that the request does not declare: govmomi and suds write
/// `xsd:string` without a declaration.
fn customary(prefix: &str) -> Option<&'static str> {
    match prefix {
        "xsd" | "xs" => Some("http://www.w3.org/2001/XMLSchema"),
        "vim25" => Some("urn:vim25"),
        _ => None,
    }
}

fn element(
    reader: &NsReader<&[u8]>,
    namespace: String,
    start: &BytesStart<'_>,
) -> Result<Element, String> {
    let mut element = Element {
        namespace,
        name: start.local_name().as_ref().to_owned(),
        ..Element::default()
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| error.to_string())?
            .into_owned();
        let (space, local) = reader.resolver().resolve_attribute(attribute.key);
        match (space, local.as_ref()) {
            (ResolveResult::Bound(Namespace(XSI)), "type") => {
                let (space, local) = reader.resolver().resolve_element(QName(&value));
                let space = match space {
                    ResolveResult::Bound(Namespace(name)) => name.to_owned(),
                    ResolveResult::Unbound => String::new(),
                    ResolveResult::Unknown(prefix) => customary(&prefix)
                        .ok_or_else(|| format!("unknown namespace prefix {prefix}"))?
                        .to_owned(),
                };
                element.xsi_type = Some((space, local.as_ref().to_owned()));
            }
            (ResolveResult::Bound(Namespace(XSI)), "nil") => {
                element.nil = value == "true" || value == "1"
            }
            (ResolveResult::Unbound, "type") => element.kind = Some(value),
            (_, local) => element.attributes.push((local.to_owned(), value)),
        }
    }
    Ok(element)
}

/// Appends text, escaped for the inside of an element or an attribute.
pub fn escape(into: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            '\r' => into.push_str("&#13;"),
            // What XML 1.0 cannot carry at all.
            letter if (letter as u32) < 0x20 && letter != '\n' && letter != '\t' => into.push('?'),
            letter => into.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_entities_are_resolved() {
        let text = r#"<a:x xmlns:a="urn:one" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"
            ><a:y i:type="a:Kind" type="Folder">1 &lt; &#x32;</a:y></a:x>"#;
        let root = parse(text).unwrap();
        let child = root.child("y").unwrap();
        assert_eq!(child.namespace, "urn:one");
        assert_eq!(
            child.xsi_type,
            Some(("urn:one".to_owned(), "Kind".to_owned()))
        );
        assert_eq!(child.kind.as_deref(), Some("Folder"));
        assert_eq!(child.text, "1 < 2");
    }

    #[test]
    fn a_customary_prefix_of_a_type_need_not_be_declared() {
        let typed = |name: &str| {
            let text = format!(
                r#"<x xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="{name}"/>"#
            );
            parse(&text).map(|element| element.xsi_type)
        };
        let schema = "http://www.w3.org/2001/XMLSchema";
        for (name, space) in [
            ("xsd:string", schema),
            ("xs:int", schema),
            ("vim25:Kind", "urn:vim25"),
        ] {
            assert_eq!(typed(name).unwrap().unwrap().0, space, "{name}");
        }
        assert!(typed("other:string").is_err());
        // Only there: elements and attributes need their declarations.
        assert!(parse("<xsd:x/>").is_err());
    }

    #[test]
    fn a_document_that_ends_early_is_refused() {
        assert!(parse("<a><b></b>").is_err());
        assert!(parse("<a><b>").is_err());
        assert!(parse("").is_err());
    }
}
