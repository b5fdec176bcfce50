//! The integration tests: one crate, a module a topic.

mod fixture;
mod floors;
mod header;
mod peer;
mod refusals;
mod roundtrip;
mod session;
mod tls;
mod transport;
mod vmdk;
