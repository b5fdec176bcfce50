//! The integration tests: one crate, a module a topic.

mod capi;
mod floors;
mod header;
mod stage;
mod vmdk;
