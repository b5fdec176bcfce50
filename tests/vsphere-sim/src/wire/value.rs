//! A value of the vim25 language, as it is read from a request or written into a response.

use std::fmt;

/// A reference to a managed object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    pub kind: String,
    pub id: String,
}

/// A data object: the name of its type, and the fields that are set.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub kind: String,
    fields: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    Ref(Ref),
    Object(Object),
    List(Vec<Value>),
    /// A value in a place of any type, with the type (as the tables write it) that it says it has.
    Typed(String, Box<Value>),
}

pub fn reference(kind: &str, id: &str) -> Ref {
    Ref {
        kind: kind.to_owned(),
        id: id.to_owned(),
    }
}

pub fn object(kind: &str) -> Object {
    Object {
        kind: kind.to_owned(),
        fields: Vec::new(),
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl Object {
    /// This object with a field set.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.put(name, value);
        self
    }

    /// This object with a field set where there is a value.
    pub fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Object {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.into()));
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::text)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::int)
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::bool)
    }

    pub fn reference(&self, name: &str) -> Option<&Ref> {
        self.get(name).and_then(Value::reference)
    }

    pub fn object(&self, name: &str) -> Option<&Object> {
        self.get(name).and_then(Value::object)
    }

    /// The elements of a repeated field; none where it is not set.
    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(values)) => values,
            _ => &[],
        }
    }

    /// The objects of a repeated field.
    pub fn objects(&self, name: &str) -> impl Iterator<Item = &Object> {
        self.list(name).iter().filter_map(Value::object)
    }

    pub fn references(&self, name: &str) -> impl Iterator<Item = &Ref> {
        self.list(name).iter().filter_map(Value::reference)
    }

    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(Value::text)
    }
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Typed(_, value) => value.text(),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Typed(_, value) => value.int(),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            Value::Typed(_, value) => value.bool(),
            _ => None,
        }
    }

    pub fn reference(&self) -> Option<&Ref> {
        match self {
            Value::Ref(reference) => Some(reference),
            Value::Typed(_, value) => value.reference(),
            _ => None,
        }
    }

    pub fn object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            Value::Typed(_, value) => value.object(),
            _ => None,
        }
    }

    /// A list of references, of which none may be there.
    pub fn refs(references: impl IntoIterator<Item = Ref>) -> Value {
        Value::List(references.into_iter().map(Value::Ref).collect())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::Text(value.clone())
    }
}

impl From<Ref> for Value {
    fn from(value: Ref) -> Value {
        Value::Ref(value)
    }
}

impl From<&Ref> for Value {
    fn from(value: &Ref) -> Value {
        Value::Ref(value.clone())
    }
}

impl From<Object> for Value {
    fn from(value: Object) -> Value {
        Value::Object(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}
