//! Datastore paths (`[datastore] folder/file.vmdk`) and names in the inventory.

use crate::wire::{Fault, Outcome};

/// The parts of a datastore path; the path within the datastore may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatastorePath {
    pub datastore: String,
    pub path: String,
}

impl DatastorePath {
    pub fn parse(text: &str) -> Outcome<DatastorePath> {
        let bad = || Fault::bad_path(text);
        let (datastore, path) = text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(bad)?;
        let path = match path {
            "" => "",
            path => path
                .strip_prefix(' ')
                .ok_or_else(bad)?
                .trim_end_matches('/'),
        };
        let wrong = datastore.is_empty()
            || path.starts_with('/')
            || path
                .split('/')
                .any(|part| part == ".." || part == "." || (part.is_empty() && !path.is_empty()));
        if wrong {
            return Err(bad());
        }
        Ok(DatastorePath {
            datastore: datastore.to_owned(),
            path: path.to_owned(),
        })
    }

    pub fn text(datastore: &str, path: &str) -> String {
        if path.is_empty() {
            format!("[{datastore}]")
        } else {
            format!("[{datastore}] {path}")
        }
    }
}

/// The folder part of a path within a datastore.
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path within a datastore.
pub fn file_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, file)| file)
}

/// A name as the inventory keeps it: `/`, `\` and `%` are escaped, but for a `%` that begins an escape already.
pub fn escaped_name(name: &str) -> String {
    let mut result = String::new();
    for (index, letter) in name.char_indices() {
        match letter {
            '/' => result.push_str("%2f"),
            '\\' => result.push_str("%5c"),
            '%' => {
                let next = name[index..].get(..3).map(str::to_lowercase);
                let escape = matches!(next.as_deref(), Some("%2f" | "%5c" | "%25"));
                result.push_str(if escape { "%" } else { "%25" });
            }
            letter => result.push(letter),
        }
    }
    result
}

/// A name within a datastore for something of that name in the inventory.
pub fn file_name(name: &str) -> String {
    name.chars()
        .map(|letter| {
            if matches!(letter, '/' | '\\' | '%' | '[' | ']') {
                '_'
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_datastore_and_a_file() {
        let path = DatastorePath::parse("[ds 1] a/b c.vmdk").unwrap();
        assert_eq!(
            (path.datastore.as_str(), path.path.as_str()),
            ("ds 1", "a/b c.vmdk")
        );
        assert_eq!(DatastorePath::parse("[ds]").unwrap().path, "");
        assert_eq!((folder_of("a/b/c"), file_of("a/b/c")), ("a/b", "c"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "ds/a",
            "[] a",
            "[ds]a",
            "[ds] /a",
            "[ds] a/../b",
            "[ds] a//b",
        ] {
            assert_eq!(
                DatastorePath::parse(text).unwrap_err().kind(),
                "InvalidDatastorePath",
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_escaped_once() {
        assert_eq!(escaped_name("a/b\\c%d"), "a%2fb%5cc%25d");
        assert_eq!(escaped_name("a%2fb%5Cc%25d"), "a%2fb%5Cc%25d");
    }
}
