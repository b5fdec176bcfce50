//! SOAP 1.1 as vSphere speaks it: elements out, nodes in.

use std::fmt::Display;
use std::str::FromStr;
use zeroize::Zeroizing;

/// An element of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The local name.
    pub name: String,
    /// The local part of `xsi:type`.
    pub kind: Option<String>,
    /// The other attributes, by local name.
    pub attributes: Vec<(String, String)>,
    /// The text directly inside.
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

    /// Whether the element at `path` says true (`true` or `1`).
    pub fn flag_at(&self, path: &str) -> bool {
        self.text_at(path).is_some_and(is_true)
    }

    /// The attribute of that local name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Whether an `xsd:boolean` says true.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text.trim(), "true" | "1")
}

/// An element of a request. Children keep the order they were added in, which is the schema's.
#[derive(Clone, Debug)]
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: Zeroizing<String>,
    children: Vec<Element>,
}

impl Element {
    /// An element of the type the schema gives it.
    pub fn new(name: impl Into<String>) -> Self {
        Element {
            name: name.into(),
            attributes: Vec::new(),
            text: Zeroizing::default(),
            children: Vec::new(),
        }
    }

    /// An element of a type derived from the schema's (`VirtualDisk`).
    pub fn typed(name: impl Into<String>, kind: &str) -> Self {
        Element::new(name).attribute("xsi:type", format!("vim25:{kind}"))
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: impl Display) -> Self {
        self.attributes.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets the text inside.
    #[must_use]
    pub fn text(mut self, text: impl Display) -> Self {
        self.text = Zeroizing::new(text.to_string());
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// Adds a child that holds a text.
    #[must_use]
    pub fn with_text(self, name: &str, text: impl Display) -> Self {
        self.with(Element::new(name).text(text))
    }

    /// Adds a child where there is one.
    #[must_use]
    pub fn maybe(mut self, child: Option<Element>) -> Self {
        self.children.extend(child);
        self
    }
}
