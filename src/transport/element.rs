//! XML out: the elements of a request.

use std::fmt::{self, Display, Write};
use zeroize::Zeroizing;

/// An element of a request. Children keep the order they were added in, which is the schema's.
#[derive(Clone)]
pub struct Element {
    pub(super) name: String,
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

    /// An element of a type derived from the schema's (`VirtualDisk`), or of an XML Schema type
    /// where the schema has any (`xsd:string`).
    pub fn typed(name: impl Into<String>, kind: &str) -> Self {
        let prefix = if kind.contains(':') { "" } else { "vim25:" };
        Element::new(name).attribute("xsi:type", format_args!("{prefix}{kind}"))
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

    pub(super) fn write(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(out, " {name}=\"")?;
            escape(out, value)?;
            out.write_char('"')?;
        }
        if self.text.is_empty() && self.children.is_empty() {
            return out.write_str("/>");
        }
        out.write_char('>')?;
        escape(out, &self.text)?;
        for child in &self.children {
            child.write(out)?;
        }
        write!(out, "</{}>", self.name)
    }
}

/// Tells no contents: they may be a password.
impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)
    }
}

/// Escapes for text and attributes alike. A carriage return would come out as a line feed, and
/// what XML cannot express at all is replaced.
fn escape(out: &mut impl Write, text: &str) -> fmt::Result {
    for char in text.chars() {
        match char {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\t' | '\n' | '\r' => write!(out, "&#{};", u32::from(char))?,
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.write_char('\u{fffd}')?,
            _ => out.write_char(char)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_shows_no_contents_in_a_debug_print() {
        let element = Element::new("Login").with_text("password", "s3cret!");
        assert_eq!(format!("{element:?}"), "<Login>");
    }
}
