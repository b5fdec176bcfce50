//! Faults: what a method, a task or a lease answers when it could not.

use super::schema::schema;
use super::value::{Object, Ref, Value, object, reference};

/// The code of nearly all faults.
pub const SERVER_FAULT: &str = "ServerFaultCode";

pub type Outcome<T> = Result<T, Fault>;

/// A fault of the vim25 language and the text a person reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// SOAP's own code, for a fault that ends a call.
    pub code: &'static str,
    pub detail: Object,
    pub message: String,
}

impl Fault {
    pub fn new(kind: &str, message: impl Into<String>) -> Fault {
        Fault {
            code: SERVER_FAULT,
            detail: object(kind),
            message: message.into(),
        }
    }

    /// A fault for a plan, with something in each of the fields that it must have.
    pub fn planned(kind: &str) -> Fault {
        let mut fault = Fault::new(kind, format!("A planned fault: {kind}."));
        for field in schema()
            .fields(kind)
            .into_iter()
            .filter(|field| !field.of.optional && !field.of.list)
        {
            let value = match field.of.base.as_str() {
                "string" => Value::from("planned"),
                "int" | "long" => Value::from(0),
                "boolean" => Value::from(false),
                base if field.of.reference => Value::from(reference(base, "planned")),
                base => match schema().words(base).and_then(<[String]>::first) {
                    Some(word) => Value::from(word),
                    None => continue,
                },
            };
            fault.detail.put(&field.name, value);
        }
        fault
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Fault {
        self.detail.put(name, value);
        self
    }

    pub fn kind(&self) -> &str {
        &self.detail.kind
    }

    /// The fault as it stands within a data object.
    pub fn localized(&self) -> Object {
        object("LocalizedMethodFault")
            .with("fault", self.detail.clone())
            .with("localizedMessage", self.message.clone())
    }

    pub fn invalid_request(message: impl Into<String>) -> Fault {
        Fault::new("InvalidRequest", message)
    }

    pub fn invalid_argument(parameter: &str) -> Fault {
        Fault::new(
            "InvalidArgument",
            format!("A specified parameter was not correct: {parameter}"),
        )
        .with("invalidProperty", parameter)
    }

    pub fn not_authenticated() -> Fault {
        Fault::new("NotAuthenticated", "The session is not authenticated.")
    }

    pub fn no_permission(target: &Ref, privilege: &str) -> Fault {
        Fault::new(
            "NoPermission",
            format!("Permission to perform this operation was denied: {privilege}."),
        )
        .with("object", target)
        .with("privilegeId", privilege)
    }

    pub fn not_found(target: &Ref) -> Fault {
        Fault::new(
            "ManagedObjectNotFound",
            format!(
                "The object '{target}' has already been deleted or has not been completely created"
            ),
        )
        .with("obj", target)
    }

    pub fn not_supported(what: &str) -> Fault {
        Fault::new(
            "NotSupported",
            format!("The operation is not supported on the object: {what}."),
        )
    }

    pub fn duplicate_name(name: &str, of: &Ref) -> Fault {
        Fault::new(
            "DuplicateName",
            format!("The name '{name}' already exists."),
        )
        .with("name", name)
        .with("object", of)
    }

    pub fn invalid_state(what: &str) -> Fault {
        Fault::new(
            "InvalidState",
            format!("The operation is not allowed in the current state: {what}."),
        )
    }

    pub fn power_state(existing: &str, requested: Option<&str>) -> Fault {
        let mut fault = Fault::new(
            "InvalidPowerState",
            format!(
                "The attempted operation cannot be performed in the current state ({existing})."
            ),
        );
        if let Some(requested) = requested {
            fault = fault.with("requestedState", requested);
        }
        fault.with("existingState", existing)
    }

    pub fn file(kind: &str, path: &str) -> Fault {
        let text = match kind {
            "FileLocked" => format!("Unable to access file {path} since it is locked"),
            "FileNotFound" => format!("File {path} was not found"),
            "FileAlreadyExists" => {
                format!("Cannot complete the operation because the file {path} already exists")
            }
            _ => format!("Cannot access file {path}"),
        };
        Fault::new(kind, text).with("file", path)
    }

    pub fn no_disk_space(path: &str, datastore: &str) -> Fault {
        Fault::new(
            "NoDiskSpace",
            format!("Insufficient disk space on datastore '{datastore}'."),
        )
        .with("file", path)
        .with("datastore", datastore)
    }

    pub fn bad_path(path: &str) -> Fault {
        Fault::new(
            "InvalidDatastorePath",
            format!("Invalid datastore path '{path}'."),
        )
        .with("datastorePath", path)
    }

    /// What stands for a defect or a failure of the simulator itself.
    pub fn system(reason: impl Into<String>) -> Fault {
        let reason = reason.into();
        Fault::new(
            "SystemError",
            format!("A general system error occurred: {reason}"),
        )
        .with("reason", reason)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::system(error.to_string())
    }
}
