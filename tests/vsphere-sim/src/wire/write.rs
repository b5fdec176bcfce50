//! From values to XML. The order comes from the tables, so that what is sent is right by construction.

use super::schema::{Field, Type, schema};
use super::value::{Object, Ref, Value};
use super::xml::escape;

/// What could not be written, since the simulator made something that vim25 does not know.
pub type Written = Result<(), String>;

/// Writes one element (or one for each of a list) of a declared type.
pub fn element(into: &mut String, name: &str, value: &Value, of: &Type) -> Written {
    if of.list {
        let Value::List(values) = value else {
            return Err(format!("{name} is no list"));
        };
        return values
            .iter()
            .try_for_each(|value| element(into, name, value, &of.element()));
    }
    match value {
        Value::Object(object) => {
            let said = (object.kind != of.base).then_some(object.kind.as_str());
            if schema().is_data(&of.base) && !schema().data_is_a(&object.kind, &of.base) {
                return Err(format!("{name} is a {}, not a {}", object.kind, of.base));
            }
            start(into, name, said, None);
            fields(into, object)?;
        }
        Value::Typed(kind, inner) if of.base == "anyType" => {
            return typed(into, name, inner, &Type::parse(kind));
        }
        Value::Typed(_, inner) => return element(into, name, inner, of),
        Value::Ref(reference) => {
            start(
                into,
                name,
                (of.base == "anyType").then_some("ManagedObjectReference"),
                Some(reference),
            );
            escape(into, &reference.id);
        }
        Value::List(_) => return Err(format!("{name} is a list")),
        plain => {
            let said = match plain {
                _ if of.base != "anyType" => None,
                Value::Bool(_) => Some("xsd:boolean"),
                Value::Int(_) => Some("xsd:int"),
                _ => Some("xsd:string"),
            };
            if of.base != "anyType" && schema().is_data(&of.base) {
                return Err(format!("{name} is no {}", of.base));
            }
            start(into, name, said, None);
            scalar(into, plain);
        }
    }
    end(into, name);
    Ok(())
}

/// Writes an element of any type with the type it says it has.
fn typed(into: &mut String, name: &str, value: &Value, of: &Type) -> Written {
    if of.list {
        let Value::List(values) = value else {
            return Err(format!("{name} is no list"));
        };
        start(into, name, Some(&of.wire_name()), None);
        let item = if of.reference {
            "ManagedObjectReference"
        } else {
            &of.base
        };
        for value in values {
            match value {
                Value::Ref(reference) => {
                    start(into, item, Some("ManagedObjectReference"), Some(reference));
                    escape(into, &reference.id);
                    end(into, item);
                }
                Value::Object(object) => {
                    start(into, item, Some(&object.kind), None);
                    fields(into, object)?;
                    end(into, item);
                }
                plain => {
                    start(into, item, Some(&of.element().wire_name()), None);
                    scalar(into, plain);
                    end(into, item);
                }
            }
        }
    } else {
        match value {
            Value::Object(object) => {
                start(into, name, Some(&object.kind), None);
                fields(into, object)?;
            }
            Value::Ref(reference) => {
                start(into, name, Some("ManagedObjectReference"), Some(reference));
                escape(into, &reference.id);
            }
            Value::List(_) => return Err(format!("{name} is a list")),
            plain => {
                start(into, name, Some(&of.wire_name()), None);
                scalar(into, plain);
            }
        }
    }
    end(into, name);
    Ok(())
}

/// Writes the fields of an object in the order of its type.
pub fn fields(into: &mut String, object: &Object) -> Written {
    if !schema().is_data(&object.kind) {
        return Err(format!("there is no type {}", object.kind));
    }
    let known: Vec<&Field> = schema().fields(&object.kind);
    if let Some(name) = object
        .names()
        .find(|name| !known.iter().any(|field| field.name == *name))
    {
        return Err(format!("a {} has no {name}", object.kind));
    }
    for field in known {
        match object.get(&field.name) {
            Some(value) => element(into, &field.name, value, &field.of)?,
            None if field.of.optional || field.of.list => {}
            None => return Err(format!("a {} needs its {}", object.kind, field.name)),
        }
    }
    Ok(())
}

fn start(into: &mut String, name: &str, said: Option<&str>, reference: Option<&Ref>) {
    into.push('<');
    into.push_str(name);
    if let Some(reference) = reference {
        into.push_str(" type=\"");
        escape(into, &reference.kind);
        into.push('"');
    }
    if let Some(said) = said {
        into.push_str(" xsi:type=\"");
        into.push_str(said);
        into.push('"');
    }
    into.push('>');
}

fn end(into: &mut String, name: &str) {
    into.push_str("</");
    into.push_str(name);
    into.push('>');
}

fn scalar(into: &mut String, value: &Value) {
    match value {
        Value::Bool(truth) => into.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => into.push_str(&number.to_string()),
        Value::Text(text) => escape(into, text),
        Value::Typed(_, inner) => scalar(into, inner),
        Value::Ref(_) | Value::Object(_) | Value::List(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::value::{object, reference};

    #[test]
    fn fields_are_written_in_the_order_of_the_type() {
        let summary = object("OptionValue").with("value", "v").with("key", "k");
        let mut text = String::new();
        fields(&mut text, &summary).unwrap();
        assert_eq!(
            text,
            r#"<key>k</key><value xsi:type="xsd:string">v</value>"#
        );
    }

    #[test]
    fn a_field_that_the_type_does_not_have_is_a_defect() {
        let mut text = String::new();
        assert!(
            fields(
                &mut text,
                &object("OptionValue").with("key", "k").with("colour", "red")
            )
            .is_err()
        );
        assert!(fields(&mut text, &object("OptionValue")).is_err());
    }

    #[test]
    fn a_list_of_references_says_that_it_is_one() {
        let value = Value::Typed(
            "&Folder[]".to_owned(),
            Box::new(Value::refs([reference("Folder", "group-1")])),
        );
        let mut text = String::new();
        element(&mut text, "val", &value, &Type::parse("anyType")).unwrap();
        assert_eq!(
            text,
            "<val xsi:type=\"ArrayOfManagedObjectReference\"><ManagedObjectReference type=\"Folder\" \
             xsi:type=\"ManagedObjectReference\">group-1</ManagedObjectReference></val>"
        );
    }
}
