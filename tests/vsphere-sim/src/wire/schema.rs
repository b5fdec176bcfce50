//! The tables of types and methods: which elements there are, in which order, of which type.
//!
//! The facts lie in `schema/*.txt`, a line (with indented continuations) for each:
//! `data NAME : PARENT = field type, ...`, `managed NAME : PARENT = property type, ...`,
//! `method OWNER.NAME ( parameter type, ... ) -> type`, `enum NAME = word ...`.
//! In a type `&` is a reference to a managed object, `[]` a repeated element, `?` an optional one.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The type of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    pub base: String,
    pub reference: bool,
    pub list: bool,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub of: Type,
}

#[derive(Debug)]
struct Composite {
    parent: String,
    fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Method {
    pub owner: String,
    pub name: String,
    pub parameters: Vec<Field>,
    /// `None` where the method returns nothing.
    pub result: Option<Type>,
}

#[derive(Debug, Default)]
pub struct Schema {
    data: HashMap<String, Composite>,
    managed: HashMap<String, Composite>,
    methods: HashMap<String, Method>,
    enums: HashMap<String, Vec<String>>,
}

const TABLES: [&str; 8] = [
    include_str!("schema/session.txt"),
    include_str!("schema/property.txt"),
    include_str!("schema/inventory.txt"),
    include_str!("schema/machine.txt"),
    include_str!("schema/device.txt"),
    include_str!("schema/storage.txt"),
    include_str!("schema/ovf.txt"),
    include_str!("schema/fault.txt"),
];

/// What every managed object has, beneath the published tables: pyVmomi reads properties by it.
const FETCH: &str = "method ManagedObject.Fetch ( prop string ) -> anyType?";

/// What servers answer in a namespace of their own, which is in no published table either: govc asks for it.
const INTERNAL: [&str; 3] = [
    "data VirtualDiskUnitInfo : DynamicData = name string",
    "data VirtualDiskInfo : DynamicData = unit VirtualDiskUnitInfo, diskType string, parent string?",
    "method VirtualDiskManager.QueryVirtualDiskInfo_Task ( name string, datacenter &Datacenter?, includeParents boolean ) -> &Task",
];

/// Whether a method is called in the internal namespace.
pub fn is_internal(method: &str) -> bool {
    method == "QueryVirtualDiskInfo_Task"
}

/// The types that are written as plain text in XML Schema's own namespace.
pub const PRIMITIVES: [&str; 10] = [
    "string", "boolean", "byte", "short", "int", "long", "float", "double", "dateTime", "anyURI",
];

pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::parse);
    &SCHEMA
}

impl Type {
    pub fn parse(text: &str) -> Type {
        let (text, optional) = match text.strip_suffix('?') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (text, list) = match text.strip_suffix("[]") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (base, reference) = match text.strip_prefix('&') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        Type {
            base: base.to_owned(),
            reference,
            list,
            optional,
        }
    }

    /// One element of a repeated one.
    pub fn element(&self) -> Type {
        Type {
            list: false,
            ..self.clone()
        }
    }

    /// The type's name in an `xsi:type` attribute, prefix included.
    pub fn wire_name(&self) -> String {
        let base = if self.reference {
            "ManagedObjectReference"
        } else {
            &self.base
        };
        if self.list {
            let mut letters = base.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            return format!(
                "ArrayOf{}{}",
                first.map(String::from).unwrap_or_default(),
                letters.as_str()
            );
        }
        if PRIMITIVES.contains(&base) || base == "base64Binary" {
            format!("xsd:{base}")
        } else {
            base.to_owned()
        }
    }
}

impl Schema {
    fn parse() -> Schema {
        let mut schema = Schema::default();
        schema.add(FETCH);
        INTERNAL.iter().for_each(|line| schema.add(line));
        for table in TABLES {
            let joined = table.replace("\n    ", " ");
            for line in joined
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty())
            {
                schema.add(line);
            }
        }
        schema
    }

    fn add(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "method" {
            let (head, tail) = rest
                .split_once(" (")
                .expect("a method's line has parameters");
            let (parameters, result) = tail
                .rsplit_once(") -> ")
                .expect("a method's line has a result");
            let (owner, name) = head.split_once('.').expect("a method's line has an owner");
            let method = Method {
                owner: owner.to_owned(),
                name: name.to_owned(),
                parameters: fields(parameters),
                result: (result != "void").then(|| Type::parse(result)),
            };
            self.methods.insert(name.to_owned(), method);
            return;
        }
        let (head, tail) = rest.split_once('=').expect("a type's line has a body");
        if word == "enum" {
            let words = tail.split_whitespace().map(str::to_owned).collect();
            self.enums.insert(head.trim().to_owned(), words);
            return;
        }
        let (name, parent) = head.split_once(':').expect("a type's line has a parent");
        let composite = Composite {
            parent: parent.trim().to_owned(),
            fields: fields(tail),
        };
        let map = if word == "data" {
            &mut self.data
        } else {
            &mut self.managed
        };
        map.insert(name.trim().to_owned(), composite);
    }

    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.get(name)
    }

    pub fn is_data(&self, name: &str) -> bool {
        self.data.contains_key(name)
    }

    pub fn is_managed(&self, name: &str) -> bool {
        self.managed.contains_key(name) || name == "ManagedObject"
    }

    pub fn words(&self, name: &str) -> Option<&[String]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    /// All fields of a data type, those of its ancestors first: the order of the wire.
    pub fn fields(&self, name: &str) -> Vec<&Field> {
        inherited(&self.data, name)
    }

    /// All properties of a managed object's type.
    pub fn properties(&self, name: &str) -> Vec<&Field> {
        inherited(&self.managed, name)
    }

    pub fn property(&self, kind: &str, name: &str) -> Option<&Field> {
        self.properties(kind)
            .into_iter()
            .find(|field| field.name == name)
    }

    pub fn field(&self, kind: &str, name: &str) -> Option<&Field> {
        self.fields(kind)
            .into_iter()
            .find(|field| field.name == name)
    }

    pub fn data_is_a(&self, name: &str, ancestor: &str) -> bool {
        is_a(&self.data, name, ancestor)
    }

    pub fn managed_is_a(&self, name: &str, ancestor: &str) -> bool {
        ancestor == "ManagedObject" || is_a(&self.managed, name, ancestor)
    }
}

fn fields(text: &str) -> Vec<Field> {
    text.split(',')
        .filter_map(|part| part.trim().split_once(' '))
        .map(|(name, of)| Field {
            name: name.to_owned(),
            of: Type::parse(of.trim()),
        })
        .collect()
}

fn inherited<'s>(map: &'s HashMap<String, Composite>, name: &str) -> Vec<&'s Field> {
    let mut chain = Vec::new();
    let mut next = map.get(name);
    while let Some(composite) = next {
        chain.push(composite);
        next = map.get(&composite.parent);
    }
    chain
        .into_iter()
        .rev()
        .flat_map(|composite| &composite.fields)
        .collect()
}

fn is_a(map: &HashMap<String, Composite>, name: &str, ancestor: &str) -> bool {
    let mut name = name;
    loop {
        if name == ancestor {
            return true;
        }
        match map.get(name) {
            Some(composite) => name = &composite.parent,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_ancestors_come_first() {
        let names: Vec<&str> = schema()
            .fields("VirtualDisk")
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(names[..3], ["key", "deviceInfo", "backing"]);
        assert!(names.contains(&"capacityInBytes"));
    }

    #[test]
    fn a_type_says_what_it_is_on_the_wire() {
        assert_eq!(
            Type::parse("&Datastore[]?").wire_name(),
            "ArrayOfManagedObjectReference"
        );
        assert_eq!(Type::parse("string[]").wire_name(), "ArrayOfString");
        assert_eq!(
            Type::parse("VirtualDevice[]").wire_name(),
            "ArrayOfVirtualDevice"
        );
        assert_eq!(Type::parse("dateTime?").wire_name(), "xsd:dateTime");
    }

    #[test]
    fn subtypes_are_known() {
        assert!(schema().data_is_a("ParaVirtualSCSIController", "VirtualDevice"));
        assert!(schema().managed_is_a("ClusterComputeResource", "ManagedEntity"));
        assert!(!schema().managed_is_a("Folder", "VirtualMachine"));
    }
}
