//! Property paths: `config.hardware.device`, `config.extraConfig["a.b"].value`.

use crate::wire::{Fault, Outcome, schema};

pub struct Segment {
    pub name: String,
    /// The key of one element of a list.
    pub key: Option<String>,
}

pub fn invalid(path: &str) -> Fault {
    Fault::new(
        "InvalidProperty",
        format!("The property path \"{path}\" is not valid."),
    )
    .with("name", path)
}

/// Reads a path, and checks it against what the types say.
pub fn parse(kind: &str, path: &str) -> Outcome<Vec<Segment>> {
    let segments = split(path).ok_or_else(|| invalid(path))?;
    let first = segments.first().ok_or_else(|| invalid(path))?;
    let mut of = schema()
        .property(kind, &first.name)
        .ok_or_else(|| invalid(path))?
        .of
        .clone();
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            // Behind a list without a key there is nothing; what the tables do not hold is let pass.
            if of.list {
                return Err(invalid(path));
            }
            if !schema().is_data(&of.base) {
                break;
            }
            match schema().field(&of.base, &segment.name) {
                Some(field) => of = field.of.clone(),
                None => return Err(invalid(path)),
            }
        }
        if segment.key.is_some() {
            if !of.list {
                return Err(invalid(path));
            }
            of = of.element();
        }
    }
    Ok(segments)
}

fn split(path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = path;
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, mut tail) = rest.split_at(end);
        if name.is_empty() {
            return None;
        }
        let mut key = None;
        if let Some(inner) = tail.strip_prefix("[\"") {
            let (found, after) = inner.split_once("\"]")?;
            key = Some(found.to_owned());
            tail = after;
        } else if let Some(inner) = tail.strip_prefix('[') {
            let (found, after) = inner.split_once(']')?;
            key = Some(found.to_owned());
            tail = after;
        }
        segments.push(Segment {
            name: name.to_owned(),
            key,
        });
        match tail.strip_prefix('.') {
            Some(next) => rest = next,
            None if tail.is_empty() => return Some(segments),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_hold_dots() {
        let segments = parse(
            "VirtualMachine",
            "config.extraConfig[\"cinder.volume.id\"].value",
        )
        .unwrap();
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[1].key.as_deref(), Some("cinder.volume.id"));
    }

    #[test]
    fn a_path_that_the_types_do_not_have_is_invalid() {
        for path in [
            "colour",
            "config.colour",
            "config.hardware.device.key",
            "",
            "config..name",
            "name[\"x\"]",
        ] {
            assert!(parse("VirtualMachine", path).is_err(), "{path}");
        }
    }
}
