//! From elements to values, as strictly as a server that knows its types: order, names, types, all required ones there.

use super::fault::{Fault, Outcome};
use super::schema::{Field, Type, schema};
use super::value::{Object, Ref, Value, object};
use super::xml::Element;

pub const VIM25: &str = "urn:vim25";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";

/// Reads the children of `element` as the fields, in their order.
pub fn sequence(element: &Element, kind: &str, fields: &[&Field]) -> Outcome<Object> {
    if !element.text.trim().is_empty() {
        return Err(refused(element, "has text where elements are expected"));
    }
    let mut result = object(kind);
    let mut rest = element.children.iter().peekable();
    for field in fields {
        let mut found = Vec::new();
        while let Some(child) = rest.next_if(|child| child.name == field.name) {
            if child.namespace != VIM25 {
                return Err(refused(
                    child,
                    &format!("is of namespace \"{}\", not {VIM25}", child.namespace),
                ));
            }
            found.push(single(child, &field.of.element())?);
            if !field.of.list {
                break;
            }
        }
        if field.of.list {
            if !found.is_empty() {
                result.put(&field.name, Value::List(found));
            } else if !field.of.optional {
                return Err(missing(element, kind, field));
            }
        } else if let Some(value) = found.pop() {
            result.put(&field.name, value);
        } else if !field.of.optional {
            return Err(missing(element, kind, field));
        }
    }
    match rest.next() {
        Some(child) => Err(Fault::invalid_request(format!(
            "Unexpected element tag \"{}\" seen within {} ({kind}): unknown there, repeated, or out of its order",
            child.name, element.name
        ))),
        None => Ok(result),
    }
}

/// The WSDL asks for one element at least of a list that is not optional.
fn missing(element: &Element, kind: &str, field: &Field) -> Fault {
    Fault::invalid_request(format!(
        "Required property {} is missing from {} ({kind})",
        field.name, element.name
    ))
}

fn refused(element: &Element, why: &str) -> Fault {
    Fault::invalid_request(format!("The element \"{}\" {why}", element.name))
}

fn single(element: &Element, of: &Type) -> Outcome<Value> {
    if element.nil {
        return Err(refused(element, "is nil"));
    }
    if of.reference {
        return managed(element, &of.base).map(Value::Ref);
    }
    if of.base == "anyType" {
        return any(element);
    }
    if let Some((space, name)) = &element.xsi_type {
        if schema().is_data(&of.base) {
            if space != VIM25 || !schema().data_is_a(name, &of.base) {
                let text = format!(
                    "is of type {{{space}}}{name}, which is no {} known here",
                    of.base
                );
                return Err(Fault::new("InvalidType", refused(element, &text).message)
                    .with("argument", name));
            }
            return composite(element, name);
        }
        if name != &of.base || (space != VIM25 && space != XSD) {
            return Err(refused(
                element,
                &format!("is of type {{{space}}}{name}, not {}", of.base),
            ));
        }
    }
    if schema().is_data(&of.base) {
        return composite(element, &of.base);
    }
    if let Some(words) = schema().words(&of.base) {
        let text = element.text.trim();
        if !words.iter().any(|word| word == text) {
            return Err(refused(
                element,
                &format!("is \"{text}\", which is no {}", of.base),
            ));
        }
        return leaf(element).map(|text| Value::Text(text.to_owned()));
    }
    primitive(element, &of.base)
}

fn composite(element: &Element, kind: &str) -> Outcome<Value> {
    sequence(element, kind, &schema().fields(kind)).map(Value::Object)
}

fn any(element: &Element) -> Outcome<Value> {
    let Some((space, name)) = &element.xsi_type else {
        return Err(refused(
            element,
            "is of any type and does not say which (xsi:type)",
        ));
    };
    if space == XSD {
        return primitive(element, name).map(|value| Value::Typed(name.clone(), Box::new(value)));
    }
    if space != VIM25 || !schema().is_data(name) {
        return Err(refused(
            element,
            &format!("is of the unknown type {{{space}}}{name}"),
        ));
    }
    composite(element, name)
}

fn managed(element: &Element, base: &str) -> Outcome<Ref> {
    let Some(kind) = element.kind.clone() else {
        return Err(refused(
            element,
            "is a reference without the attribute type",
        ));
    };
    if let Some((space, name)) = &element.xsi_type
        && (space != VIM25 || name != "ManagedObjectReference")
    {
        return Err(refused(
            element,
            &format!("is of type {{{space}}}{name}, not ManagedObjectReference"),
        ));
    }
    if schema().is_managed(&kind)
        && schema().is_managed(base)
        && !schema().managed_is_a(&kind, base)
    {
        return Err(refused(
            element,
            &format!("is a reference to a {kind}, not to a {base}"),
        ));
    }
    let id = leaf(element)?.trim().to_owned();
    if id.is_empty() {
        return Err(refused(element, "is an empty reference"));
    }
    Ok(Ref { kind, id })
}

/// The reference that a method is called on.
pub fn this(element: &Element) -> Outcome<Ref> {
    managed(element, "ManagedObject")
}

fn leaf(element: &Element) -> Outcome<&str> {
    if element.children.is_empty() {
        Ok(&element.text)
    } else {
        Err(refused(element, "has elements within its text"))
    }
}

fn primitive(element: &Element, base: &str) -> Outcome<Value> {
    let text = leaf(element)?;
    let number = |low: i64, high: i64| match text.trim().parse::<i64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(Value::Int(number)),
        _ => Err(refused(
            element,
            &format!("is \"{text}\", which is no {base}"),
        )),
    };
    match base {
        "string" | "anyURI" | "base64Binary" => Ok(Value::Text(text.to_owned())),
        "dateTime" if text.contains('T') => Ok(Value::Text(text.to_owned())),
        "boolean" => match text.trim() {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(refused(
                element,
                &format!("is \"{text}\", which is no boolean"),
            )),
        },
        "byte" => number(i8::MIN.into(), i8::MAX.into()),
        "short" => number(i16::MIN.into(), i16::MAX.into()),
        "int" => number(i32::MIN.into(), i32::MAX.into()),
        "long" => number(i64::MIN, i64::MAX),
        _ => Err(Fault::not_supported(&format!(
            "this simulator knows no type {base} (element {})",
            element.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xml::parse;

    fn option(inner: &str) -> Outcome<Object> {
        let text = format!(
            r#"<o xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
               xmlns:xsd="http://www.w3.org/2001/XMLSchema">{inner}</o>"#
        );
        sequence(
            &parse(&text).unwrap(),
            "OptionValue",
            &schema().fields("OptionValue"),
        )
    }

    #[test]
    fn elements_in_order_are_read() {
        let read = option(r#"<key>k</key><value xsi:type="xsd:string">v</value>"#).unwrap();
        assert_eq!(read.text("value"), Some("v"));
    }

    #[test]
    fn elements_out_of_order_are_refused() {
        let fault = option(r#"<value xsi:type="xsd:string">v</value><key>k</key>"#).unwrap_err();
        assert_eq!(fault.kind(), "InvalidRequest");
    }

    #[test]
    fn a_missing_element_is_refused() {
        assert!(option(r#"<value xsi:type="xsd:string">v</value>"#).is_err());
    }

    #[test]
    fn a_repeated_element_is_refused() {
        assert!(option("<key>k</key><key>k</key>").is_err());
    }

    #[test]
    fn a_value_of_any_type_must_say_which() {
        assert!(option("<key>k</key><value>v</value>").is_err());
    }

    #[test]
    fn an_unknown_word_of_an_enumeration_is_refused() {
        let text = r#"<o xmlns="urn:vim25"><operation>replace</operation></o>"#;
        let fields = schema().fields("VirtualDeviceConfigSpec");
        let fault =
            sequence(&parse(text).unwrap(), "VirtualDeviceConfigSpec", &fields).unwrap_err();
        assert!(
            fault.message.contains("VirtualDeviceConfigSpecOperation"),
            "{}",
            fault.message
        );
    }
}
