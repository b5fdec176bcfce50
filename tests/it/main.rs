//! The integration tests: one crate, a module a topic.

mod floors;
mod header;
mod vmdk;
