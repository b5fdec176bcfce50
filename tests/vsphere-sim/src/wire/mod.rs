//! The vim25 language: its types, its values, its faults, and the XML they travel in.

pub mod envelope;
pub mod fault;
pub mod read;
pub mod schema;
pub mod value;
pub mod write;
pub mod xml;

pub use fault::{Fault, Outcome};
pub use schema::schema;
pub use value::{Object, Ref, Value, object, reference};
