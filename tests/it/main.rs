//! The integration tests: one crate, a module a topic.

mod capi;
mod fixture;
mod floors;
mod header;
mod peer;
mod peers;
mod refusals;
mod roundtrip;
mod stage;
mod tls;
mod transport;
mod vmdk;
