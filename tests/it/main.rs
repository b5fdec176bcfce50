//! The integration tests: one crate, a module a topic.

mod capi;
mod examples;
mod fixture;
mod floors;
mod header;
mod refusals;
mod roundtrip;
mod stage;
mod vmdk;
