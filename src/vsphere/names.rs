//! Names of inventory objects, as people write them and as the server keeps them.
//!
//! A server keeps `/`, `\` and `%` as `%2f`, `%5c` and `%25`. It escapes the first two itself, but
//! takes a `%` that begins one of these sequences as an escape (API reference of
//! `ManagedEntity.name`): a plain name has to be escaped before it is sent, and whatever is read has
//! to be unescaped. Every name that crosses this border passes through here.

use super::Moref;
use super::property::Properties;
use crate::transport::soap::Element;

const ESCAPES: [(char, &str); 3] = [('/', "%2f"), ('\\', "%5c"), ('%', "%25")];

/// The name as the server keeps it.
pub fn escape(plain: &str) -> String {
    let mut kept = String::with_capacity(plain.len());
    for char in plain.chars() {
        match ESCAPES.iter().find(|(special, _)| *special == char) {
            Some((_, escaped)) => kept.push_str(escaped),
            None => kept.push(char),
        }
    }
    kept
}

/// The name as people write it. A `%` that begins no escape stands for itself.
pub fn unescape(kept: &str) -> String {
    let mut plain = String::with_capacity(kept.len());
    let mut rest = kept;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let known = escape.get(..3).and_then(|three| {
            let found = ESCAPES.iter();
            let mut found = found.filter(|(_, escaped)| escaped.eq_ignore_ascii_case(three));
            found.next().map(|(special, _)| *special)
        });
        plain.push(known.unwrap_or('%'));
        rest = &escape[if known.is_some() { 3 } else { 1 }..];
    }
    plain.push_str(rest);
    plain
}

/// The plain names of a path below a folder. In a path, `%2f` is a slash within a name.
pub fn path(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split('/').filter(|part| !part.is_empty());
    parts.map(unescape)
}

/// Whether `text` names the object: by its moref or by its plain name.
pub fn is_named(moref: &Moref, name: &str, text: &str) -> bool {
    moref.value == text || name == text
}

impl Properties {
    /// The plain name of an inventory object; empty where the server does not say.
    pub fn name(&self) -> String {
        self.text("name").map(unescape).unwrap_or_default()
    }

    /// The plain name, or the moref of an object whose name the server does not say.
    pub fn name_or(&self, moref: &Moref) -> String {
        Some(self.name())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| moref.value.clone())
    }
}

impl Element {
    /// An element that holds the plain name of an inventory object.
    pub fn inventory_name(element: &str, plain: &str) -> Element {
        Element::new(element).text(escape(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_names_are_unescaped() {
        assert_eq!(unescape("a%2fb%5Cc%25d"), "a/b\\c%d");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%é"), "%zz%é");
        assert_eq!(escape("a/b\\c%d"), "a%2fb%5cc%25d");
    }

    #[test]
    fn every_name_comes_back_as_it_was_written() {
        // All texts of up to five of the characters that could be mistaken for one another.
        let alphabet = ['%', '2', '5', 'f', 'F', 'c', '/', '\\', 'é'];
        let mut texts = vec![String::new()];
        let mut begin = 0;
        for _ in 0..5 {
            let end = texts.len();
            for at in begin..end {
                for char in alphabet {
                    texts.push(format!("{}{char}", texts[at]));
                }
            }
            begin = end;
        }
        for text in texts {
            let kept = escape(&text);
            assert!(!kept.contains(['/', '\\']), "{text}");
            assert_eq!(unescape(&kept), text);
        }
    }

    #[test]
    fn a_path_names_folders_with_slashes_by_their_escapes() {
        let names: Vec<String> = path("/a//b%2fc/100%/%25d/").collect();
        assert_eq!(names, ["a", "b/c", "100%", "%d"]);
    }
}
