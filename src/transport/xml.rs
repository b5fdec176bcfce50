//! XML in: the part of it that SOAP permits, as a tree.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// An element of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The local name.
    pub name: String,
    /// The local part of `xsi:type`.
    pub kind: Option<String>,
    /// The attributes without a prefix.
    pub attributes: Vec<(String, String)>,
    /// The text directly inside; none where there are elements inside.
    pub text: String,
    /// The elements directly inside, in order.
    pub children: Vec<Node>,
}

impl Node {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at a path of names (`config.hardware`), the first of each name.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .try_fold(self, |node, name| node.child(name))
    }

    /// The text of the element at `path`.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|node| node.text.as_str())
    }

    /// The text of the element at `path`, where it is a `T`.
    pub fn parse_at<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text_at(path)?.trim().parse().ok()
    }

    /// Whether the element at `path` says true.
    pub fn flag_at(&self, path: &str) -> bool {
        self.text_at(path)
            .is_some_and(|text| matches!(text.trim(), "true" | "1"))
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// vSphere's deepest answers nest some 20 elements.
const DEEPEST: usize = 64;

/// An element costs some hundred bytes of memory, but as few as four in the answer; an attribute five.
const MOST_PARTS: usize = 1 << 20;

/// Far beyond what vSphere sends.
const MOST_ATTRIBUTES: usize = 32;

/// Why a text is not such XML.
#[derive(Debug)]
pub(super) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<quick_xml::Error> for Malformed {
    fn from(error: quick_xml::Error) -> Self {
        Malformed(error.to_string())
    }
}

fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

/// Stands for bytes that are no UTF-8 and for references to characters that XML forbids. It is one
/// of these characters itself, so that no value a caller may give equals one that was damaged.
const UNDECODABLE: char = '\u{1a}';

/// The document as text, never longer than it was. A server's names come from anywhere: one that
/// is no UTF-8 must not make the others unreadable.
fn decode(document: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(document) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(document.len());
    for chunk in document.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(UNDECODABLE);
        }
    }
    Cow::Owned(text)
}

/// The root element of a document without document type, and with no other entities than the
/// five of XML.
pub(super) fn parse(document: &[u8]) -> Result<Node, Malformed> {
    let text = decode(document);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let mut tree = Tree::default();
    loop {
        match reader.read_event()? {
            Event::Start(start) => tree.open(&start)?,
            // That the names agree is checked by the reader.
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                tree.text(resolve(&reference)?.encode_utf8(&mut [0; 4]))?
            }
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !encoding.eq_ignore_ascii_case("utf-8")
                {
                    return malformed(format!("the answer is in {encoding}, not in UTF-8"));
                }
            }
            Event::DocType(_) => return malformed("a document type is not permitted in SOAP"),
            Event::PI(_) => return malformed("an instruction is not permitted in SOAP"),
            Event::Comment(_) => {}
            Event::Eof => return tree.finish(),
            _ => return malformed("something unknown to XML"),
        }
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    if reference.is_char_ref() {
        let text = reference.xml10_content();
        return numbered(&text);
    }
    Ok(match &*reference.xml10_content() {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        other => return malformed(format!("the entity {other} is not permitted in SOAP")),
    })
}

/// The character that a numeric reference (`#65`, `#x41`) stands for.
fn numbered(reference: &str) -> Result<char, Malformed> {
    let digits = reference.strip_prefix('#').unwrap_or_default();
    let (digits, radix) = match digits.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|char| char.is_digit(radix)) {
        return malformed(format!("the reference {reference} is no number"));
    }
    let number = u32::from_str_radix(digits, radix).ok();
    let char = number.and_then(char::from_u32);
    Ok(char.filter(|char| *char != '\0').unwrap_or(UNDECODABLE))
}

#[derive(Default)]
struct Tree {
    open: Vec<Node>,
    root: Option<Node>,
    /// Elements and attributes so far.
    parts: usize,
}

impl Tree {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        self.count()?;
        if self.root.is_some() {
            return malformed("there is a second root element");
        }
        if self.open.len() == DEEPEST {
            return malformed(format!("more than {DEEPEST} elements within one another"));
        }
        let mut node = Node {
            name: local(start.name().as_ref()).to_owned(),
            ..Node::default()
        };
        // The reader's own check for duplicates takes quadratic time.
        for (count, attribute) in start.attributes().with_checks(false).enumerate() {
            if count == MOST_ATTRIBUTES {
                return malformed(format!("more than {MOST_ATTRIBUTES} attributes"));
            }
            let attribute = attribute.map_err(quick_xml::Error::from)?;
            let key: &str = attribute.key.as_ref();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0)?;
            // One takes as much memory as an element, and as few bytes in the answer.
            self.count()?;
            match key.split_once(':') {
                None if key == "xmlns" => {}
                None if node.attribute(key).is_some() => {
                    return malformed(format!("the attribute {key} stands twice"));
                }
                None => node.attributes.push((key.to_owned(), value.into_owned())),
                // Of the attributes with a prefix only xsi:type says something.
                Some((prefix, "type")) if prefix != "xmlns" => {
                    node.kind = Some(local(value.trim()).to_owned());
                }
                Some(_) => {}
            }
        }
        self.open.push(node);
        Ok(())
    }

    fn count(&mut self) -> Result<(), Malformed> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return malformed(format!("more than {MOST_PARTS} elements and attributes"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let Some(mut node) = self.open.pop() else {
            return malformed("an element ends that did not begin");
        };
        if !node.children.is_empty() {
            // The white space between elements.
            node.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        match self.open.last_mut() {
            Some(node) => node.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return malformed("there is text outside of the root element"),
        }
        Ok(())
    }

    fn finish(self) -> Result<Node, Malformed> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => malformed("the answer ends within an element"),
        }
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::is_expressible;

    fn refused(document: &str) -> String {
        parse(document.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_tree_has_local_names_types_and_resolved_text() {
        let root = parse(
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<s:a xmlns:s=\"urn:s\">\n\
             <b xsi:type=\"v:Disk\" type=\"VM\">a &lt;&#x41;&#66;<![CDATA[<&]]></b>\n<b/>\
             <c><d> 7 </d><e>true</e></c></s:a><!-- end -->\n"
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(root.name, "a");
        assert_eq!(root.text, "");
        let b = root.child("b").unwrap();
        assert_eq!(b.kind.as_deref(), Some("Disk"));
        assert_eq!(b.attribute("type"), Some("VM"));
        assert_eq!(b.text, "a <AB<&");
        assert_eq!(root.children_named("b").count(), 2);
        assert_eq!(root.parse_at::<i32>("c.d"), Some(7));
        assert!(root.flag_at("c.e"));
        assert!(!root.flag_at("c.x"));
    }

    #[test]
    fn a_document_type_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"xx\">]><a>&x;</a>";
        assert!(refused(bomb).contains("document type"));
    }

    #[test]
    fn only_the_five_entities_are_known() {
        assert!(refused("<a>&nbsp;</a>").contains("nbsp"));
        assert!(parse(b"<a b=\"&nbsp;\"/>").is_err());
        assert!(refused("<a>&#xg;</a>").contains("#xg"));
        assert!(refused("<a>&#;</a>").contains("no number"));
    }

    #[test]
    fn there_is_one_root_and_nothing_beside_it() {
        assert!(refused("<a/><b/>").contains("second root"));
        assert!(refused("<a/>x").contains("outside"));
        assert!(refused("x<a/>").contains("outside"));
        assert!(refused("<a/>&lt;").contains("outside"));
        refused("");
        refused("<a><b></b>");
        refused("<a></b></a>");
        refused("</a>");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(nested(DEEPEST).as_bytes()).is_ok());
        assert!(refused(&nested(DEEPEST + 1)).contains("within one another"));
        let many = |count| format!("<a>{}</a>", "<b/>".repeat(count));
        assert!(parse(many(MOST_PARTS - 1).as_bytes()).is_ok());
        assert!(refused(&many(MOST_PARTS)).contains("elements"));
        let with_attributes = |count| format!("<a>{}</a>", "<b c=\"\" d=\"\"/>".repeat(count));
        assert!(refused(&with_attributes(MOST_PARTS / 3 + 1)).contains("attributes"));
    }

    #[test]
    fn attributes_are_bounded_and_stand_once() {
        assert!(refused("<a b=\"1\" b=\"2\"/>").contains("twice"));
        let many: String = (0..=MOST_ATTRIBUTES)
            .map(|n| format!(" a{n}=\"\""))
            .collect();
        assert!(refused(&format!("<a{many}/>")).contains("attributes"));
    }

    #[test]
    fn other_encodings_are_refused() {
        assert!(refused("<?xml version=\"1.0\" encoding=\"latin1\"?><a/>").contains("latin1"));
    }

    #[test]
    fn what_cannot_be_decoded_damages_its_own_value_only() {
        let document = b"<a><b>M\xfcller</b><b>good</b><b>cut\xc3</b><b>\xed\xa0\x80</b>\
            <b>&#0;&#xd800;&#x110000;&#99999999999;</b><b>&#65;&#x42;</b></a>";
        let root = parse(document).unwrap();
        let texts: Vec<&str> = root.children.iter().map(|b| b.text.as_str()).collect();
        let damaged = ["M\u{1a}ller", "good", "cut\u{1a}"];
        assert_eq!(texts[..3], damaged);
        assert_eq!(texts[3].chars().collect::<Vec<_>>(), [UNDECODABLE; 3]);
        assert_eq!(texts[4].chars().collect::<Vec<_>>(), [UNDECODABLE; 4]);
        assert_eq!(texts[5], "AB");
        let expressible: Vec<bool> = texts.iter().map(|text| is_expressible(text)).collect();
        assert_eq!(expressible, [false, true, false, false, false, true]);
        assert!(decode(&[0xff; 1000]).len() <= 1000);
    }
}
